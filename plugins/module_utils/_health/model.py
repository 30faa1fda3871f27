# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a check finds, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Optional, Union

from .._core.model import Json

OK, WARN, CRIT, UNKNOWN, SKIPPED = "ok", "warn", "crit", "unknown", "skipped"
STATUSES = (OK, WARN, CRIT, UNKNOWN, SKIPPED)
# From good to bad. Unknown is worse than a warning, because something may be broken, and better than what is known to be.
_ORDER = {SKIPPED: 0, OK: 1, WARN: 2, UNKNOWN: 3, CRIT: 4}

Value = Union[int, float, str, None]


def severity(status: str) -> int:
    """The more, the worse."""
    return _ORDER[status]


def worst(statuses: Iterable[str]) -> str:
    """The worst of them; `ok` where there is none, or only what was skipped."""
    found = max(statuses, key=severity, default=OK)
    return OK if found == SKIPPED else found


def is_good(status: str) -> bool:
    return status in (OK, SKIPPED)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a check found. `part`: which one, where a check finds several (a file system, a container).

    `warn` and `crit` are the limits that the value was compared with, in its unit.
    """

    status: str
    message: str
    value: Value = None
    unit: str = ""
    warn: Optional[float] = None
    crit: Optional[float] = None
    part: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """A finding of one run, as it is shown. Durations in seconds; `since`: when its status began (UTC)."""

    id: str
    group: str
    required: bool
    finding: Finding
    duration: float
    attempts: int
    since: str

    @property
    def status(self) -> str:
        return self.finding.status

    @property
    def weight(self) -> str:
        """What it adds to the whole: one that is not required is a warning at most."""
        return self.status if self.required or is_good(self.status) else WARN

    def to_json(self) -> Json:
        found = self.finding
        return {
            "id": self.id,
            "group": self.group,
            "status": found.status,
            "message": found.message,
            "value": found.value,
            "unit": found.unit,
            "thresholds": {"warn": found.warn, "crit": found.crit},
            "required": self.required,
            "duration": round(self.duration, 3),
            "attempts": self.attempts,
            "since": self.since,
        }
