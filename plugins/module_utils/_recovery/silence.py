# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A tool that streams to or from a server which has gone without a word.

A server's machine that loses its power, or a container whose network is gone, resets no connection: the tool
waits for TCP to give up, a quarter of an hour or for ever. A stream may also stand still for good reasons (an
index is made, a table is locked), so silence alone is no failure: the server is asked whether it is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Optional

from .._core.errors import OpsError, Unavailable
from .._core.progress import Progress
from .._engines.base import Engine

LOOK = 1.0  # seconds between two looks at what has passed
QUIET = 30.0  # seconds without a byte, after which the server is asked
MISSES = 2  # so often it must not answer, one after the other


class _Watch:
    def __init__(self, engine: Engine, progress: Progress, end: Callable[[], None]) -> None:
        self.error: Optional[OpsError] = None
        self._engine, self._progress, self._end = engine, progress, end
        self._over = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        passed, since, misses = -1, time.monotonic(), 0
        while not self._over.wait(LOOK):
            if self._progress.bytes != passed:
                passed, since, misses = self._progress.bytes, time.monotonic(), 0
            elif time.monotonic() - since > QUIET:
                error = self._asked()
                misses = 0 if error is None else misses + 1
                if error is None:
                    since = time.monotonic()
                elif misses >= MISSES and not self._over.is_set():
                    self.error = error
                    self._end()
                    return

    def _asked(self) -> Optional[OpsError]:
        try:
            self._engine.ping()
        except Unavailable as error:
            return error
        except OpsError:  # it answers, and says something else: the tool will meet that itself
            return None
        return None


@contextlib.contextmanager
def watched(engine: Engine, progress: Progress, end: Callable[[], None]) -> Iterator[None]:
    """While the body streams: `end` is called when nothing passes and the server does not answer any more.
    What the body raises then is replaced by why."""
    watch = _Watch(engine, progress, end)
    watch.start()
    try:
        yield
    except OpsError:
        if watch.error is None:
            raise
        raise Unavailable(
            f"the server has gone while data were on their way: {watch.error}",
            hint="Look whether it runs and can be reached, then run this again.",
        ) from None
    finally:
        watch.stop()
