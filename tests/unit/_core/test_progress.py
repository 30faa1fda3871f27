# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress: what is published when, rates, shares, and the line that a person reads."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.progress import Progress, State, line

MIB = 1 << 20


@dataclasses.dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Watched:
    """A progress with its clock and what it published."""

    clock: Clock = dataclasses.field(default_factory=Clock)
    states: list[State] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = Progress(self.states.append, self.clock)


def test_it_publishes_once_a_second_at_most_and_a_new_stage_at_once() -> None:
    watched = Watched()
    watched.progress.begin("dump", "main", 10 * MIB)
    for _ in range(38):
        watched.clock.now += 0.25
        watched.progress.add(1000)
    assert len(watched.states) == 1 + 9
    watched.progress.begin("commit")
    assert watched.states[-1] == State("commit")
    assert watched.states[-2].bytes == 36000 and watched.states[-2].seconds == 9.0


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    watched = Watched()
    watched.progress.begin("dump")
    for per_second in [10 * MIB] * 20 + [MIB] * 10:
        watched.clock.now += 1
        watched.progress.add(per_second)
    assert watched.states[20].rate == 10 * MIB
    assert watched.states[-1].rate == MIB


def test_a_stage_begins_at_zero() -> None:
    watched = Watched()
    watched.progress.begin("dump", "main", 5 * MIB)
    watched.clock.now += 2
    watched.progress.add(4 * MIB)
    watched.progress.begin("dump", "uploads", 100)
    assert (watched.states[-1].bytes, watched.states[-1].rate, watched.states[-1].share) == (0, 0, 0.0)


def test_what_a_tool_says_itself_is_no_estimate() -> None:
    watched = Watched()
    watched.progress.begin("dump", "uploads", 5 * MIB, estimate=True)
    watched.clock.now += 2
    watched.progress.reached(3 * MIB, 4 * MIB)
    assert watched.states[-1].share == 0.75 and not watched.states[-1].estimate
    watched.clock.now += 2
    watched.progress.reached(4 * MIB)
    assert watched.states[-1].share == 1.0


def test_nobody_is_told_where_nobody_asked() -> None:
    Progress().begin("dump")
    Progress().add(1)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State("preflight"), "preflight"),
        (State("dump", "main", 0, 4096, True), "main: dump: 0 B of about 4.0 KiB (0 %)"),
        (State("dump", "main", 3 * MIB, 0, rate=MIB), "main: dump: 3.0 MiB, 1.0 MiB/s"),
        (State("load", "main", MIB, 4 * MIB, rate=512), "main: load: 1.0 MiB of 4.0 MiB (25 %), 512 B/s"),
        (State("dump", "main", 5 * MIB, 4 * MIB, True), "main: dump: 5.0 MiB"),
        (State("load", "main", 4 * MIB - 1, 4 * MIB), "main: load: 4.0 MiB of 4.0 MiB (99 %)"),
    ],
)
def test_a_line_says_what_is_known(state: State, text: str) -> None:
    assert line(state) == text
