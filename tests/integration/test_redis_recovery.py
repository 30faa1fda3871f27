# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis on this host and in a container, through the modules: backed up, proven, restored."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.kills import Point, killed_everywhere
from tests.integration.support.recovery import wait_for_end_of_processes
from tests.integration.support.redis import IN_CONTAINER, RedisWorld, deployed, host_server, with_backups

pytestmark = pytest.mark.redis


def test_every_type_is_backed_up_proven_and_restored(redis_world: RedisWorld) -> None:
    world = redis_world
    earlier = with_backups(world, 2)
    first, second = earlier
    proof = world.run("backup_verify", backup=first)["verification"]
    assert proof["whole"] and proof["datastores"]["main"]["rows"] > 15
    world.damage()
    for backup in (first, second):
        outcome = world.restore(backup=backup)
        assert outcome["changed"]
        assert world.state() == earlier[backup]
        world.is_clean()
        world.change("after")
    wait_for_end_of_processes(world.key)


SLICE = [(4, "before"), (5, "after"), (6, "after"), (7, "before"), (8, "after"), (10, "before"), (11, "after")]


@pytest.mark.faults
@IN_CONTAINER
@pytest.mark.parametrize(
    "points", [pytest.param(SLICE, id="slice"), pytest.param(None, id="all", marks=pytest.mark.full)]
)
def test_a_restore_killed_at_any_point_is_whole_or_undone_once_it_is_run_again(
    redis_world: RedisWorld, points: Iterable[Point] | None
) -> None:
    earlier = with_backups(redis_world, 2)
    report = killed_everywhere(redis_world, earlier, points)
    print("\n".join(f"{point}: {outcome}" for point, outcome in report))
    assert {"undone", "completed"} <= {outcome for _point, outcome in report}


INSIDE = ["marked", "half copied", "copied", "exchanged", "half emptied"]


@pytest.mark.faults
@pytest.mark.parametrize("crash", [pytest.param(False, id="module"), pytest.param(True, id="module and server")])
def test_a_restore_killed_inside_the_swap_is_undone(crash: bool, tmp_path: Path) -> None:
    """Between the journal's writes too, where only the marks in the spare databases say how far it came; once
    more with a server that crashes at the same moment and comes back with its append-only file."""
    with host_server("--appendonly", "yes", "--appendfsync", "always", "--save", "") as server:
        with deployed(server, tmp_path) as world:
            earlier = with_backups(world, 1)
            ((backup, target),) = earlier.items()
            before = world.state()
            for moment in INSIDE:
                outcome = world.run(
                    "restore",
                    backup=backup,
                    replace=True,
                    safety_copy="none",
                    prelude=lambda given=moment: _kill_when(given),
                )
                assert outcome.killed, (moment, outcome.data)
                wait_for_end_of_processes(world.key)
                if crash:
                    server.restart("KILL")
                became, _outcome = world.settle()
                expected = "completed" if moment == "half emptied" else "undone"
                assert became == expected, moment
                assert world.state() == (target if became == "completed" else before), moment
                assert not world.leftovers(), moment


def _kill_when(moment: str) -> None:
    from ansible_collections.day2.ops.plugins.module_utils._engines.redis import swap

    def die(*given: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "marked":
        swap.load = die
    elif moment == "half copied":
        copy = swap._copy
        done: list[int] = []

        def once(source: Any, target: Any) -> None:
            if done:
                die()
            copy(source, target)
            done.append(1)

        swap._copy = once
    elif moment == "copied":
        swap._exchange = die
    elif moment == "exchanged":
        swap.persist = die
    else:
        flush = swap.flush
        emptied: list[int] = []

        def one_only(*given: Any, **more: Any) -> None:
            if emptied:
                die()
            flush(*given, **more)
            emptied.append(1)

        swap.flush = one_only
