# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Checks in parallel, within a budget; none blocks another one, and none ends the run.

Each has a thread of its own. A check that does not come to its end is left behind: the thread is a daemon, and the
programs that it started end with the module.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .._core.argspec import Spec
from .._core.errors import OpsError
from .._core.model import Json
from .model import CRIT, UNKNOWN, Finding, is_good, worst
from .probe import Group, Options, Probe

AT_ONCE = 16
GRACE = 1.0  # seconds more than a check's own time: what it says of it is more than what can be said here

# What every check may have, whatever its group.
COMMON: Spec = {
    "id": {"type": "str"},
    "group": {"type": "str", "required": True},
    "required": {"type": "bool", "default": True},
    "timeout": {"type": "float", "default": 10.0},
    "retries": {"type": "int", "default": 0},
    "retry_delay": {"type": "float", "default": 2.0},
    "success_threshold": {"type": "int", "default": 1},
    "failure_threshold": {"type": "int", "default": 1},
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One entry of `checks`."""

    id: str
    group: Group
    options: Options
    required: bool = True
    timeout: float = 10.0
    retries: int = 0
    retry_delay: float = 2.0
    success_threshold: int = 1
    failure_threshold: int = 1


@dataclasses.dataclass
class Outcome:
    """What one check found, how long it took, and how often it was tried."""

    check: Check
    findings: Sequence[Finding] = ()
    duration: float = 0.0
    attempts: int = 0
    memory: Json = dataclasses.field(default_factory=dict)


def run(checks: Sequence[Check], probe: Callable[[Check], Probe], budget: float) -> list[Outcome]:
    """All of them, in their order. `budget`: seconds for all together."""
    deadline = time.monotonic() + budget
    turns = threading.BoundedSemaphore(AT_ONCE)
    running = [_Running(check, probe(check), turns) for check in checks]
    for one in running:
        one.start()
    return [one.outcome(deadline, budget) for one in running]


class _Running:
    def __init__(self, check: Check, probe: Probe, turns: threading.BoundedSemaphore) -> None:
        self._check, self._probe, self._turns = check, probe, turns
        self._outcome = Outcome(check)
        self._begun, self._since = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def outcome(self, deadline: float, budget: float) -> Outcome:
        """Its outcome. What does not answer in its own time is taken for broken; of what has had none nothing is known."""
        check = self._check
        self._begun.wait(max(0.0, deadline - time.monotonic()))
        longest = _longest(check)
        self._thread.join(max(0.0, min(deadline, self._since + longest + GRACE) - time.monotonic()))
        if not self._thread.is_alive():
            return self._outcome
        if time.monotonic() >= deadline:
            late = Finding(UNKNOWN, f"it did not end within the {budget:g} s for all checks (budget)")
        else:
            late = Finding(CRIT, f"no answer within {longest:g} s (timeout)")
        return Outcome(check, (late,), longest, max(1, self._outcome.attempts))

    def _run(self) -> None:
        with self._turns:
            self._since = begun = time.monotonic()
            self._begun.set()
            findings = self._until_settled()
            done = self._outcome
            done.findings, done.memory = findings, self._probe.memory
            done.duration = time.monotonic() - begun

    def _until_settled(self) -> Sequence[Finding]:
        """Try until it was good often enough in a row, or has been tried often enough."""
        check, good = self._check, 0
        findings: Sequence[Finding] = ()
        allowed = check.success_threshold + check.retries
        while self._outcome.attempts < allowed:
            if self._outcome.attempts:
                time.sleep(check.retry_delay)
            self._outcome.attempts += 1
            findings = _look(check, self._probe)
            good = good + 1 if is_good(worst(one.status for one in findings)) else 0
            if good >= check.success_threshold:
                return findings
            if not good and check.success_threshold > allowed - self._outcome.attempts:
                return findings
        if good:  # the last ones were, but not enough of them
            message = f"good {good} times in a row at last, of {check.success_threshold} that it takes"
            return [Finding(CRIT, message, part=one.part) for one in findings]
        return findings


def _longest(check: Check) -> float:
    """Seconds that a check may take with all its tries."""
    tries = check.success_threshold + check.retries
    return tries * check.group.longest(check.options, check.timeout) + (tries - 1) * check.retry_delay


def _look(check: Check, probe: Probe) -> Sequence[Finding]:
    try:
        return list(check.group.look(check.options, probe)) or [Finding(UNKNOWN, "it found nothing to look at")]
    except OpsError as error:
        return [Finding(UNKNOWN, _sentence(error))]
    except Exception as error:  # a fault of ours: said, and the others go on
        return [Finding(UNKNOWN, f"the check itself failed: {type(error).__name__}: {_first_line(error)}")]


def _sentence(error: OpsError) -> str:
    return ". ".join(part.strip().rstrip(".") for part in (error.what, error.hint) if part)


def _first_line(error: Any) -> str:
    return next(iter(str(error).splitlines()), "")[:200]
