# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""How far an operation is: its stage, its datastore, bytes, rate and share; and the line that says so."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from typing import Optional

from .model import Json
from .sizes import readable

INTERVAL = 1.0  # seconds between two publications
WINDOW = 10  # publications that the rate is taken over


@dataclasses.dataclass(frozen=True)
class State:
    """What is known at one moment. `expected` is 0 where the size is not known."""

    stage: str = ""
    datastore: str = ""
    bytes: int = 0
    expected: int = 0
    estimate: bool = False  # `expected` is one: what a dump will be long is known only afterwards
    rate: int = 0  # bytes per second
    seconds: float = 0.0  # since the stage began

    @property
    def share(self) -> Optional[float]:
        """The part that is done, 0 to 1; None where the size is not known, or the estimate was too low."""
        if not self.expected or self.bytes > self.expected:
            return None
        return self.bytes / self.expected

    def to_json(self) -> Json:
        share = self.share
        return {**dataclasses.asdict(self), "share": None if share is None else round(share, 4)}


class Progress:
    """Counts what passes, and publishes it now and then. Without `publish` it tells nobody.

    The relay calls `add` for each of its chunks, so that has to cost next to nothing.
    """

    def __init__(
        self,
        publish: Optional[Callable[[State], None]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._clock = publish, clock
        self._state, self._bytes, self._begun = State(), 0, clock()
        self._marks: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)
        self._due = 0.0

    @property
    def bytes(self) -> int:
        """What has passed since the stage began."""
        return self._bytes

    def begin(self, stage: str, datastore: str = "", expected: int = 0, estimate: bool = False) -> None:
        """Another stage: published at once."""
        self._state = State(stage, datastore, expected=max(expected, 0), estimate=estimate)
        self._bytes, self._begun = 0, self._clock()
        self._marks.clear()
        self._tell(self._begun)

    def add(self, count: int) -> None:
        """So many bytes more."""
        self._bytes += count
        now = self._clock()
        if now >= self._due:
            self._tell(now)

    def reached(self, done: int, expected: int = 0) -> None:
        """So many bytes in all, and what a tool itself expects."""
        if expected:
            self._state = dataclasses.replace(self._state, expected=expected, estimate=False)
        self.add(done - self._bytes)

    def _tell(self, now: float) -> None:
        self._due = now + INTERVAL
        if self._publish is None:
            return
        self._marks.append((now, self._bytes))
        since, before = self._marks[0]
        rate = int((self._bytes - before) / (now - since)) if now > since else 0
        self._publish(
            dataclasses.replace(self._state, bytes=self._bytes, rate=max(rate, 0), seconds=round(now - self._begun, 1))
        )


def line(state: State) -> str:
    """One line for a person: `sqlite datastore "main": dump: 1.2 GiB of about 4.0 GiB (30 %), 45.0 MiB/s`."""
    amounts = []
    if state.bytes or state.expected:
        share = state.share
        if share is None:
            amounts.append(readable(state.bytes))
        else:
            about = "about " if state.estimate else ""
            amounts.append(f"{readable(state.bytes)} of {about}{readable(state.expected)} ({int(100 * share)} %)")
    if state.rate:
        amounts.append(f"{readable(state.rate)}/s")
    return ": ".join(text for text in (state.datastore, state.stage, ", ".join(amounts)) if text)
