# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A migration tool that is a command of the user's, with commands that say where it is and what is pending."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Optional

from .._core.context import Context
from .._core.errors import OpsError, Refused, ToolFailed
from .._core.process import Completed, run
from .runtime import Runtime
from .tool import Applied, Events, Failed, Look, Rendered, Step

PLACEHOLDER = "{revision}"
SPEC = {
    "current": {"type": "list", "elements": "str", "required": True},
    "pending": {"type": "list", "elements": "str", "required": True},
    "upgrade": {"type": "list", "elements": "str", "required": True},
    "downgrade": {"type": "list", "elements": "str"},
}


class CommandTool:
    """`commands`: argv by verb. `current` and `pending` print a revision per line, `pending` the next one first and
    with a message after a space if it has one."""

    def __init__(
        self, runtime: Runtime, commands: Mapping[str, Optional[Sequence[str]]], directory: str, context: Context
    ) -> None:
        self.runtime = runtime
        self.commands = commands
        self.directory = directory
        self.context = context
        self.name = "the command"
        self.version = ""
        self._cache = ""  # a fresh directory for bytecode, where the command is a Python program

    def start(self) -> None:
        pass

    def open(self) -> None:
        self._cache = f"/tmp/day2-{self.context.run_id}"
        if not self.runtime.name:
            self._cache = tempfile.mkdtemp(prefix="day2-bytecode-")
            if user := self._user():
                shutil.chown(self._cache, user)

    def look(self, target: str, proof: int, since: Sequence[str], closely: bool = False) -> Look:
        current = tuple(line.split()[0] for line in self._lines("current"))
        steps = [self._step(line) for line in self._lines("pending")]
        if target not in ("head", "heads"):
            names = [step.revision for step in steps]
            if target in names:
                steps = steps[: names.index(target) + 1]
            elif target in current:
                steps = []
            else:
                return Look(current, current, direction="downgrade", target=(target,), steps=(Step(target),))
        reached = (steps[-1].revision,) if steps else current
        return Look(current, reached, steps=tuple(steps), target=reached)

    def preview(self, steps: Sequence[Step], direction: str) -> list[Rendered]:
        reason = "a command of the user's has no SQL to show"
        return [Rendered(step.revision, "", False, reason) for step in steps]

    def compare(self) -> Optional[list[str]]:
        return None

    def migrate(self, look: Look, target: str, statement_lock_timeout: int, events: Events) -> Optional[Failed]:
        verb = "upgrade" if look.direction == "upgrade" else "downgrade"
        argv = self.commands.get(verb)
        if not argv:
            raise Refused(f"there is no {verb} among the commands", hint=f"Give commands.{verb}.")
        one_by_one = any(PLACEHOLDER in word for word in argv)
        steps = list(look.steps) if one_by_one else [Step(look.steps[-1].revision, look.steps[-1].message)]
        heads = look.current
        for step in steps:
            events.before(step, heads)
            begun = time.monotonic()
            try:
                self._run([word.replace(PLACEHOLDER, step.revision) for word in argv], None)
            except ToolFailed as error:
                return Failed(step.revision, error.what, (), error.stderr_tail)
            heads = tuple(line.split()[0] for line in self._lines("current"))
            events.after(Applied(step.revision, round(time.monotonic() - begun, 3), heads))
        return None

    def owns(self, pid: str) -> bool:
        return False

    def close(self) -> None:
        self.runtime.end()
        if self._cache and not self.runtime.name:
            shutil.rmtree(self._cache, ignore_errors=True)

    def _user(self) -> Optional[str]:
        return getattr(self.runtime, "user", None)

    def _step(self, line: str) -> Step:
        revision, _rest, message = line.partition(" ")
        return Step(revision, message.strip())

    def _lines(self, verb: str) -> list[str]:
        done = self._run(self.commands.get(verb) or [], 300)
        return [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]

    def _run(self, argv: Sequence[str], timeout: Optional[float]) -> Completed:
        environment = {**self.runtime.environment(), "PYTHONPYCACHEPREFIX": self._cache}
        words = list(argv)
        if self.directory and not self.runtime.name:
            words = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", self.directory, *words]
        try:
            return run(self.runtime.command(words, environment), timeout=timeout)
        except ToolFailed as error:
            text = error.stderr_tail.splitlines()
            error.what = (
                f"{argv[0]} in {self.runtime.label} ended with {error.rc}: {text[-1] if text else 'no message'}"
            )
            raise
        finally:
            with contextlib.suppress(OpsError):
                if self.runtime.name:
                    self.runtime.end()
