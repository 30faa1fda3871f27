# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore, killed at one journal write after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.integration.support.recovery import State, World, wait_for_end_of_processes

Point = tuple[int, str]


def all_points() -> Iterator[Point]:
    number = 0
    while True:
        number += 1
        yield number, "before"
        yield number, "after"


def killed_everywhere(
    world: World, backups: dict[str, State], points: Iterable[Point] | None, **more: Any
) -> list[tuple[str, str]]:
    """Kill a restore at every point (None: all there are), settle it, and hold the data against the state before and after.

    Which backup is restored changes whenever one came through, so that before and after always differ.
    Returns what became of each point's restore.
    """
    report = []
    before = world.state()
    for number, moment in all_points() if points is None else points:
        backup, target = next((one, content) for one, content in backups.items() if content != before)
        outcome = world.restore(backup=backup, kill_at=(number, moment), **more)
        if not outcome.killed:
            assert outcome["changed"], "the restore came to its end, and well"
            break
        wait_for_end_of_processes(world.key)
        became, _outcome = world.settle()
        state = world.state()
        assert state == (target if became == "completed" else before), f"killed {moment} write {number}: {became}"
        left = world.leftovers()
        assert not left, f"killed {moment} write {number}: {left}"
        before = state
        report.append((f"{number} {moment}", became))
    return report
