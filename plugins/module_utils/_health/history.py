# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is known of the runs before: since when a status holds, how often it was bad, what a check remembered.

It is in `health.json` of the application's directory, 0600. Lost, it begins anew. A run adds what it has seen: other runs may have
other checks.
"""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any, Optional

from .._core import clock, io
from .._core.errors import OpsError
from .._core.model import Json
from .model import Finding, is_good

FILENAME = "health.json"
KEPT = datetime.timedelta(days=30)  # so long what no run sees any more is known


class History:
    """Read when a run begins; `save` writes what this run added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = clock.now()
        self._results, self._memory = _read(path)
        self._seen: dict[str, Json] = {}
        self._remembered: dict[str, Json] = {}

    def remembered(self, check: str) -> tuple[Json, Optional[float]]:
        """What a check remembered in its last run, and the seconds since then."""
        known = self._memory.get(check)
        if not known:
            return {}, None
        return dict(known["values"]), (self.now - clock.from_text(known["when"])).total_seconds()

    def remember(self, check: str, values: Json) -> None:
        self._remembered[check] = {"when": clock.text(self.now), "values": values}

    def believe(self, identifier: str, finding: Finding, failure_threshold: int) -> tuple[Finding, str]:
        """The finding as it counts, and since when: a bad one only after so many bad runs in a row."""
        before = self._results.get(identifier) or {}
        failures = 0 if is_good(finding.status) else int(before.get("failures") or 0) + 1
        if 0 < failures < failure_threshold:
            known = str(before.get("status") or "ok")
            message = f"{finding.message} ({finding.status} in {failures} of {failure_threshold} runs that it takes)"
            finding = dataclasses.replace(finding, status=known, message=message)
        now = clock.text(self.now)
        since = before.get("since") if before.get("status") == finding.status else None
        seen = {"status": finding.status, "since": since or now, "failures": failures, "when": now}
        self._seen[identifier] = seen
        return finding, str(seen["since"])

    def save(self) -> None:
        results, memory = _read(self.path)  # another run may have ended meanwhile
        results.update(self._seen)
        memory.update(self._remembered)
        io.private_directory(self.path.parent)
        io.write_json(self.path, {"results": self._young(results), "memory": self._young(memory)})

    def _young(self, known: dict[str, Json]) -> dict[str, Json]:
        return {name: one for name, one in known.items() if self.now - clock.from_text(one["when"]) < KEPT}


def _read(path: Path) -> tuple[dict[str, Json], dict[str, Json]]:
    try:
        document: Any = io.read_json(path) or {}
        return dict(document.get("results") or {}), dict(document.get("memory") or {})
    except (OpsError, AttributeError, TypeError, ValueError):  # damaged: begin anew
        return {}, {}
