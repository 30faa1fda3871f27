# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The result of one run as a whole, and whether that is a failure. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from .._core import clock
from .._core.model import App, Json
from .model import CRIT, STATUSES, UNKNOWN, WARN, Result, worst

SCHEMA = 1
NEVER = "never"


def document(app: App, results: Sequence[Result], now: datetime.datetime) -> Json:
    """`schema` changes when the meaning of a key does."""
    return {
        "schema": SCHEMA,
        "app": app.name,
        "instance": app.instance,
        "generated": clock.text(now),
        "timestamp": int(now.timestamp()),
        "status": worst(result.weight for result in results),
        "counts": {status: sum(result.status == status for result in results) for status in STATUSES},
        "checks": [result.to_json() for result in results],
    }


def failure(app: App, results: Sequence[Result], fail_on: str, allow_unknown: bool) -> str:
    """Why the run fails: the checks whose weight reaches `fail_on`; unknown ones too unless they are allowed."""
    failing = {CRIT: (CRIT,), WARN: (CRIT, WARN), NEVER: ()}[fail_on]
    if fail_on != NEVER and not allow_unknown:
        failing = (*failing, UNKNOWN)
    bad = [result for result in results if result.weight in failing]
    if not bad:
        return ""
    bad.sort(key=lambda one: one.status != CRIT)
    said = "; ".join(f"{one.id} is {one.status}: {one.finding.message}" for one in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"{app.key} is not healthy: {said}{more}"
