# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Waiting for a restic: its output, an end to its patience, and what it says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Optional

from .._core.errors import Unavailable
from .._core.process import Child
from .messages import gave_up, last_complaint, tries_again
from .traces import Traced

Reached = Callable[[int, int], None]  # bytes so far, bytes expected (0: not known)
_LOOK = 0.5  # seconds between two looks at what a running restic complains of


@dataclasses.dataclass(frozen=True)
class Result:
    argv: tuple[str, ...]
    rc: int
    stdout: bytes
    stderr_tail: str
    stderr_cut: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace").strip()


class Collector:
    """Reads a child's standard output in the background; keeps its end (the summary is the last line)."""

    def __init__(self, child: Child, reached: Optional[Reached] = None) -> None:
        self._data, self._reached = bytearray(), reached
        self._thread = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._thread.start()

    def _read(self, child: Child) -> None:
        try:
            for line in child.stdout:
                if b'"message_type":"status"' not in line:
                    self._data += line
                elif self._reached is not None:
                    _tell(line, self._reached)
        except (OSError, ValueError):
            pass  # closed by us

    def text(self) -> bytes:
        self._thread.join(timeout=30)
        return bytes(self._data)


def _tell(line: bytes, reached: Reached) -> None:
    """What a status line of `backup` or `restore` says of bytes; a figure that is zero is left out of it."""
    with contextlib.suppress(ValueError, TypeError):  # progress is no reason to fail
        status = json.loads(line)
        reached(status.get("bytes_done") or status.get("bytes_restored") or 0, status.get("total_bytes") or 0)


@contextlib.contextmanager
def watched(child: Traced, written: Optional[Callable[[int], None]]) -> Iterator[Traced]:
    """Tell once a second what it has written, for a restic whose `restore` says nothing by itself (before 0.16)."""
    ended = threading.Event()

    def watch(tell: Callable[[int], None]) -> None:
        while not ended.wait(1):
            tell(child.written)

    if written is not None:
        threading.Thread(target=watch, args=(written,), daemon=True).start()
    try:
        yield child
    finally:
        ended.set()


class Patience:
    """How long a restic is waited for that tries again and again.

    restic tries again for a quarter of an hour whatever the server says (0.18 also while it opens the
    repository, 0.14 also while it removes something). A login or a right that was refused is refused the next time
    too; a store that is away for longer than `timeout` is taken for gone.
    """

    def __init__(self, child: Traced, timeout: float) -> None:
        self._child = child
        self._timeout = timeout
        self._since: Optional[float] = None

    def is_over(self) -> bool:
        stderr = self._child.stderr_tail
        if gave_up(stderr):
            return True
        if not tries_again(stderr):
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since > self._timeout

    def watch(self) -> None:
        """Interrupt the restic, once it is over; in a thread, while another one feeds it."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._child.ended_within(_LOOK):
            if self.is_over():
                self._child.interrupt()


def collect(
    child: Traced, timeout: Optional[float], patience: float, location: str, reached: Optional[Reached] = None
) -> Result:
    """Wait for its end: at most `timeout`, and no longer than `patience` for a store that is away."""
    collector, waiting = Collector(child, reached), Patience(child, patience)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while not child.ended_within(_LOOK):
            if waiting.is_over():
                child.interrupt()
            elif deadline is not None and time.monotonic() > deadline:
                child.kill()
                raise Unavailable(
                    f"the repository {location} did not answer within {timeout:.0f} s: {last_complaint(child.stderr_tail)}",
                    hint="Check its location, the network and the server; repository.timeout says how long to wait.",
                    cmd=list(child.argv),
                    stderr_tail=child.stderr_tail,
                )
        return Result(child.argv, child.wait(60), collector.text(), child.stderr_tail, child.stderr_cut)
    except BaseException:
        child.kill()
        raise
    finally:
        child.close()
