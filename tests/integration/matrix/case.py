# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cell at work: its operation is started, stands still in the middle, and goes on when the fault is there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.matrix.cells import BACKUP, RESTORE, VERIFY, Cell
from tests.integration.matrix.subjects import Subject
from tests.integration.support import faults, modules
from tests.integration.support.faults import Wrapper
from tests.integration.support.forked import Forked
from tests.integration.support.modules import Outcome
from tests.integration.support.recovery import State

MODULES = {BACKUP: "backup", VERIFY: "backup_verify", RESTORE: "restore"}
HEAD = 100_000  # bytes that come out of the repository before the operation stands still

# The gate: restic waits at the operation's first data. A backup's tool has filled all pipes then, a load's has begun.
_GATE = """
hold() {{ touch {gate}/reached; until [ -e {gate}/go ]; do sleep 0.02; done; }}
case "$*" in
  *manifest.json*|*proof.json*) ;;
  backup\\ *|restore\\ *)
    if [ ! -e {gate}/reached ]; then echo $$ > {gate}/restic; hold; fi ;;
  dump\\ *)
    if [ ! -e {gate}/restic ]; then
      echo $$ > {gate}/restic
      rm -f {gate}/pipe; mkfifo {gate}/pipe
      {{ head -c {head}; hold; cat; }} < {gate}/pipe &
      exec "$real" "$@" > {gate}/pipe
    fi ;;
esac
"""
# The last thing that an operation stores, and an action for that moment.
_LAST = """
case "$*" in
  *{what}*) {action} ;;
esac
"""


@dataclasses.dataclass
class Case:
    """One cell with its subject, freshly planted."""

    cell: Cell
    subject: Subject
    stack: contextlib.ExitStack  # what ends before the invariants are looked at
    afterwards: contextlib.ExitStack  # what ends after that

    def __post_init__(self) -> None:
        self.world = self.subject.world
        self.wrapper = Wrapper(self.world)
        self.gate = Path(self.world.root / "gate")
        self.gate.mkdir()
        self.arguments: dict[str, Any] = {}
        if self.operation == RESTORE:
            self.arguments = {"replace": True, "safety_copy": "required"}
        self.before: State = self.world.state()
        self.target: State = list(self.subject.earlier.values())[-1]
        self.at_hand()
        self.known = set(self.subject.earlier)

    @property
    def operation(self) -> str:
        return self.cell.operation

    @property
    def module(self) -> str:
        return MODULES[self.operation]

    def at_hand(self, backup: str = "latest") -> None:
        """A manifest is read once and kept; now, so that what is read later are data."""
        if self.operation != BACKUP:
            self.world.backups(backup=backup)

    def run(self, **more: Any) -> Outcome:
        outcome: Outcome = self.world.run(self.module, **{**self.arguments, **more})
        return outcome

    def start(self, **more: Any) -> Forked:
        running: Forked = self.world.start(self.module, **{**self.arguments, **more})
        return running

    # In the middle -------------------------------------------------------------------------------

    def shut_gate(self) -> None:
        self.wrapper.at("all", _GATE.format(gate=self.gate, head=HEAD))

    def start_held(self, **more: Any) -> Forked:
        """The operation, started, and in the middle of its first data."""
        self.shut_gate()
        running = self.start(**more)
        self.wait_held(lambda: running.poll() is not None)
        return running

    def wait_held(self, ended: Callable[[], bool]) -> None:
        faults.wait_for(lambda: (self.gate / "reached").exists() or ended(), 60, "the operation's first data")
        assert (self.gate / "reached").exists(), "the operation ended before its first data"

    def go(self) -> None:
        (self.gate / "go").touch()

    def finish(self, running: Forked) -> Outcome:
        self.go()
        return running.finish(240)

    @property
    def restic_pid(self) -> int:
        return int((self.gate / "restic").read_text())

    def at_last_step(self, action: str) -> None:
        """Something happens where restic is asked to store the operation's last part."""
        what = {BACKUP: "manifest.json", VERIFY: "proof.json", RESTORE: "manifest.json"}[self.operation]
        self.wrapper.at("all", _LAST.format(what=f"stdin-filename\\ {what}", action=action))

    # The engine's tool ---------------------------------------------------------------------------

    @property
    def tool(self) -> str:
        return str(self.world.dump_tool if self.operation == BACKUP else self.world.load_tool)

    def tools(self) -> list[int]:
        return faults.running_tools(self.world.key, self.tool)

    # A controller --------------------------------------------------------------------------------

    def under_a_controller(self, **environment: str) -> tuple[int, int]:
        """The operation as the child of a process that waits for it, as Ansible does; ids of both, held in the middle."""
        self.shut_gate()
        note, arguments = self.gate / "module", self.world.arguments(self.module, **self.arguments)
        controller = os.fork()
        if controller == 0:
            try:
                process = modules.start(self.module, arguments, env=environment)
                note.with_suffix(".new").write_text(str(process.pid))
                note.with_suffix(".new").rename(note)
                process.communicate()
            finally:
                os._exit(0)
        module = int(faults.wait_for(lambda: note.exists() and note.read_text(), 30, "the module"))
        self.wait_held(lambda: not Path(f"/proc/{module}").exists())
        return controller, module


def ended(pid: int, seconds: float = 120) -> None:
    """Wait for a process that is not our child."""
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        assert time.monotonic() < until, f"the module {pid} did not end"
        time.sleep(0.02)
