# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which restics of ours were killed: each of them may have left a lock in the repository.

A lock that is left stands in the way of everything that needs the repository alone, for ever. restic can
remove the locks that it takes for dead ones, but it also does so to a living restic in another container
or on another machine of the same name. So every restic that runs here is written down while it does, and
only what such a one left is taken away.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any, Optional

from .._core import clock
from .._core.context import Context
from .._core.process import Child, Command, identity, pid_of

GRACE = 30.0  # seconds that an interrupted restic has to take its lock away
_INTERRUPTED = 130  # its exit code after SIGINT
# It says so when it cannot take its lock away, because the store cannot be reached any more; or not, when that happens
# right after it has written the lock, while it looks for those of others.
_LOCK_LEFT = re.compile(r"error in cleanup handler|error while unlocking|unable to create lock(?!.*already locked)")
_OLD = 25 * 60  # seconds: restic takes a lock for dead after 30 minutes, wherever its owner is


class Traces:
    """The restics that run for one repository, one small file for each."""

    def __init__(self, context: Context, location: str) -> None:
        self._directory = context.home / "restic"
        self.suffix = hashlib.sha256(location.encode()).hexdigest()[:12]
        self._context = context

    def began(self, pid: int) -> Optional[Path]:
        """Write it down; where nothing may be written, nothing is."""
        process = None if self._context.check_mode or not self._context.home.is_dir() else identity(pid)
        if process is None:
            return None
        trace = self._directory / f"{pid}.{self.suffix}"
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            trace.write_text(process, encoding="ascii")
        except OSError:  # somebody who may only read, or a full disk
            with contextlib.suppress(OSError):
                trace.unlink()
            return None
        return trace

    def dead(self) -> list[Path]:
        """The traces of restics that do not run any more."""
        return [trace for trace in self._directory.glob(f"*.{self.suffix}") if not _runs(trace)]


def _runs(trace: Path) -> bool:
    try:
        process = trace.read_text(encoding="ascii")
        return bool(process) and identity(pid_of(process)) == process
    except (OSError, ValueError, IndexError):
        return False


Lock = Mapping[str, Any]  # as `restic cat lock` shows it


def left(locks: Mapping[str, Lock], dead: Sequence[Path], host: str) -> set[str]:
    """Which of these locks, by their ids, our dead ones left."""
    pids = {int(trace.name.partition(".")[0]) for trace in dead}
    return {name for name, lock in locks.items() if lock.get("hostname") == host and lock.get("pid") in pids}


def others_would_go(locks: Mapping[str, Lock], ours: Collection[str], host: str) -> bool:
    """Whether `restic unlock` would remove somebody else's lock too."""
    return any(_looks_dead(lock, host) for name, lock in locks.items() if name not in ours)


def _looks_dead(lock: Lock, host: str) -> bool:
    """As restic would judge it."""
    taken = clock.given(_whole_seconds(str(lock.get("time", ""))), "lock")
    if (clock.now() - taken).total_seconds() > _OLD:
        return True
    return lock.get("hostname") == host and identity(int(lock.get("pid", 0))) is None


def _whole_seconds(text: str) -> str:
    """Go writes nanoseconds, which Python 3.9 cannot read."""
    whole, _rest, rest = text.partition(".")
    return whole + rest.lstrip("0123456789")


class Traced(Child):
    """A running restic, which is interrupted before it is killed, so that it can take its lock away.

    One that works on two repositories (a copy) leaves a trace for each.
    """

    def __init__(self, traces: Sequence[Traces], command: Command, **options: Any) -> None:
        super().__init__(command, **options)
        self._traces = [trace for trace in (one.began(self.pid) for one in traces) if trace is not None]

    def wait(self, timeout: Optional[float] = None) -> int:
        try:
            return super().wait(timeout)
        finally:
            self._ended()

    def ended_within(self, seconds: float) -> bool:
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def interrupt(self) -> None:
        """Ask it to end; by force when it does not."""
        self.signal(SIGINT)  # restic before 0.17 leaves a lock behind after SIGTERM
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(GRACE)
        self.signal(SIGKILL)

    def kill(self) -> None:
        self._ended()
        self.interrupt()
        super().kill()

    def _ended(self) -> None:
        """It took its lock away when it ended by itself; interrupted at the wrong moment, or cut off, it does not."""
        rc = self.rc
        if rc is None or rc < 0 or rc == _INTERRUPTED or _LOCK_LEFT.search(self.stderr_tail):
            return
        for trace in self._traces:
            with contextlib.suppress(OSError):
                trace.unlink()
