# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the module `health_check`, and reading what it found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tests.integration.support import forked
from tests.integration.support.modules import Outcome


@dataclasses.dataclass
class Looked:
    """One run. Checks by their id."""

    outcome: Outcome

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.outcome.data["health"]["checks"]}

    @property
    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.outcome.data["health"]
        return found

    def status(self, check: str) -> str:
        return str(self.checks[check]["status"])

    def message(self, check: str) -> str:
        return str(self.checks[check]["message"])

    def is_crit(self, check: str, *words: str) -> None:
        """The check is critical and says why; and the module has failed by it."""
        found = self.checks[check]
        assert found["status"] == "crit", found
        for word in words:
            assert word in found["message"], found
        assert self.outcome.failed
        assert check in self.outcome.msg

    def is_ok(self, check: str, *words: str) -> None:
        found = self.checks[check]
        assert found["status"] == "ok", found
        for word in words:
            assert word in found["message"], found


def look(state_dir: Path, *checks: dict[str, Any], check_mode: bool = False, **more: Any) -> Looked:
    """At an application of which nothing is described but what is given."""
    arguments = {"app": "looked", "state_dir": str(state_dir), "checks": list(checks), **more}
    return Looked(forked.run("health_check", arguments, check_mode=check_mode))
