# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is known of the runs before: since when a status holds, how often it was bad, what a check remembered.

It is in `health.json` of the application's directory, 0600. Lost, it begins anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Optional

from .._core import clock, io
from .._core.errors import OpsError
from .._core.model import Json
from .model import Finding, is_good

FILENAME = "health.json"


class History:
    """Read when a run begins; `save` writes what this run added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = clock.now()
        try:
            document = io.read_json(path) or {}
        except OpsError:  # damaged: begin anew
            document = {}
        self._results: dict[str, Json] = dict(document.get("results") or {})
        self._memory: dict[str, Json] = dict(document.get("memory") or {})
        self._when = str(document.get("when") or "")
        self._seen: dict[str, Json] = {}

    @property
    def elapsed(self) -> Optional[float]:
        """Seconds since the last run; None where there was none."""
        return (self.now - clock.from_text(self._when)).total_seconds() if self._when else None

    def remembered(self, check: str) -> Json:
        return dict(self._memory.get(check) or {})

    def remember(self, check: str, memory: Json) -> None:
        self._memory[check] = memory

    def believe(self, identifier: str, finding: Finding, failure_threshold: int) -> tuple[Finding, str]:
        """The finding as it counts, and since when: a bad one only after so many bad runs in a row."""
        before = self._results.get(identifier) or {}
        failures = 0 if is_good(finding.status) else int(before.get("failures") or 0) + 1
        if 0 < failures < failure_threshold:
            known = str(before.get("status") or "ok")
            message = f"{finding.message} ({finding.status} in {failures} of {failure_threshold} runs that it takes)"
            finding = dataclasses.replace(finding, status=known, message=message)
        since = before.get("since") if before.get("status") == finding.status else None
        seen = {"status": finding.status, "since": since or clock.text(self.now), "failures": failures}
        self._seen[identifier] = seen
        return finding, str(seen["since"])

    def save(self) -> None:
        """Only what was seen in this run: what is checked no more is forgotten."""
        checks = {identifier.split("/", 1)[0] for identifier in self._seen}
        memory: dict[str, Any] = {check: kept for check, kept in self._memory.items() if check in checks}
        io.private_directory(self.path.parent)
        io.write_json(self.path, {"when": clock.text(self.now), "results": self._seen, "memory": memory})
