# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore is whole or has not happened, wherever it is killed, interrupted or failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.kills import Point, killed_everywhere
from tests.integration.support.recovery import Seed, World, wait_for_end_of_processes

# Each write's effects are over "before" the next one; "after" matters where the phase changes.
A_SLICE = pytest.param(
    [*((number, "before") for number in range(1, 18)), (1, "after"), (3, "after"), (13, "after"), (17, "after")],
    id="slice",
)

pytestmark = [pytest.mark.faults, pytest.mark.sqlite, pytest.mark.files]


@pytest.mark.parametrize("points", [pytest.param(None, marks=pytest.mark.full, id="all"), A_SLICE])
def test_a_restore_killed_at_any_point_is_whole_or_undone_once_it_is_run_again(
    world: World, seed: Seed, points: Iterable[Point] | None
) -> None:
    """Both datastores, or none: SIGKILL before and after every write of the journal."""
    report = killed_everywhere(world, seed.earlier, points)
    assert {outcome for _point, outcome in report} == {"nothing", "undone", "completed"}
    print("\n".join(f"{point}: {outcome}" for point, outcome in report))


def test_run_again_after_a_kill_the_restore_itself_is_done(world: World, seed: Seed) -> None:
    backup, content = list(seed.earlier.items())[-1]
    killed = world.restore(backup=backup, safety_copy="required", kill_at=(9, "after"))
    assert killed.killed
    again = world.restore(backup=backup, safety_copy="required")
    assert again["restore"]["settled"] == [{"backup": backup, "phase": "swapping", "outcome": "undone"}]
    assert any("was interrupted" in warning and "undone" in warning for warning in again.warnings)
    assert world.state() == content
    world.is_clean()


def test_while_a_restore_is_unfinished_nothing_else_looks_at_the_data(world: World, seed: Seed) -> None:
    """Half swapped data must not become a backup; nor does a recent backup hide that."""
    before, ids = world.state(), world.snapshot_ids()
    for number, phase in ((2, "stopping"), (9, "swapping"), (13, "swapped")):
        assert world.restore(kill_at=(number, "after")).killed
        for module, more in (("backup", {}), ("backup", {"max_age": "1d"}), ("backup_verify", {})):
            for check_mode in (False, True):
                refused = world.run(module, check_mode=check_mode, **more)
                assert refused.failed, (module, more, check_mode)
                assert f"was interrupted while it was {phase}" in refused.msg
                assert "Run day2.ops.restore again" in refused.msg
        refused = world.run("restore", check_mode=True, replace=True)
        assert f"was interrupted while it was {phase}" in refused.msg
        assert world.snapshot_ids() == ids
        if phase != "swapped":
            assert world.settle()[0] == "undone"
            assert world.state() == before
    assert world.settle()[0] == "completed"
    assert world.state() == list(seed.earlier.values())[-1]
    world.is_clean()


@pytest.mark.parametrize("point", ["dump-1", "restore-1", "backup-1", "backup-2", "backup-3"])
def test_a_restore_that_is_interrupted_is_undone(world: World, seed: Seed, point: str) -> None:
    """SIGTERM, twice, while it stages the database or the files, and while it stores the safety copy."""
    before = world.state()
    restic = Wrapper(world)
    locks = world.repository / "locks"
    world.run("backup_verify")  # the manifest is in the cache: `dump-1` reads the database
    restic.calm()
    restic.at(point, faults.when(faults.any_file(locks), "kill -15 $PPID; kill -15 $PPID"))
    failed = world.restore(safety_copy="if_possible")  # an interruption is not an impossible copy
    assert failed.failed
    assert "interrupted by SIGTERM" in failed.msg
    assert "The live data are untouched" in failed.msg
    assert world.state() == before
    assert [one for one in world.leftovers() if "locks/" not in one] == []
    restic.calm()
    world.holds_up(seed.earlier)


def test_a_restore_interrupted_in_the_swap_is_undone(world: World, seed: Seed) -> None:
    before = world.state()

    def interrupt_at_the_second_datastore() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._engines.files import Files

        swap = Files.swap

        def interrupted(self: Files, *arguments: object) -> None:
            swap(self, *arguments)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGTERM)

        Files.swap = interrupted  # type: ignore[method-assign, assignment]

    failed = world.restore(prelude=interrupt_at_the_second_datastore)
    assert "interrupted by SIGTERM" in failed.msg
    assert "Every datastore is as it was before" in failed.msg
    assert world.state() == before
    world.is_clean()


def test_a_swap_that_fails_takes_the_swaps_before_it_back(world: World, seed: Seed) -> None:
    """The second datastore cannot be swapped: its directory may not be renamed (chattr +a) since it was staged."""
    before = world.state()
    restic = Wrapper(world)
    # After the last call of restic comes the swap; the staged copy is there by then.
    restic.at("backup-3", f'"$real" "$@"; chattr +i {world.uploads}; exit 0')
    try:
        failed = world.restore(safety_copy="required")
    finally:
        subprocess.run(["chattr", "-i", str(world.uploads)], check=True)
    assert failed.failed
    assert f'restore {world.key}: files datastore "uploads": swap' in failed.msg
    assert "Every datastore is as it was before" in failed.msg
    assert world.state() == before
    world.is_clean()
    restic.calm()
    world.holds_up(seed.earlier)


def test_what_cannot_be_undone_stays_journalled_and_is_settled_by_the_next_run(world: World, seed: Seed) -> None:
    before = world.state()
    restic = Wrapper(world)
    assert world.restore(kill_at=(9, "after")).killed
    subprocess.run(["chattr", "+i", str(world.database)], check=True)
    try:
        failed = world.restore()
    finally:
        subprocess.run(["chattr", "-i", str(world.database)], check=True)
    assert failed.failed
    assert "settle" in failed.data["stage"] or "undo" in failed.data["stage"]
    assert "journal" in failed.msg
    journals = list((world.home / "restores").rglob("journal.json"))
    assert len(journals) == 1
    assert json.loads(journals[0].read_text())["header"]["phase"] == "swapping"
    assert world.run("backup").failed
    assert world.settle()[0] == "undone"
    assert world.state() == before
    world.is_clean()
    restic.calm()


def test_a_staged_copy_that_differs_is_never_swapped(world: World, seed: Seed) -> None:
    """The second datastore's stored files do not match: the first, already staged, is left alone too."""
    before = world.state()
    restic = Wrapper(world)
    restic.at("restore-1", f'"$real" "$@"; find {world.root / "app"} -path "*.day2-*" -name two.txt -delete; exit 0')
    failed = world.restore()
    assert failed.failed
    assert "the restored copy is not what was backed up: byte:" in failed.msg
    assert "The live data are untouched" in failed.msg
    assert world.state() == before
    world.is_clean()


def test_a_stream_that_is_cut_on_its_way_is_never_swapped(world: World, seed: Seed) -> None:
    """restic ends with 0, and yet not everything has arrived."""
    before = world.state()
    world.run("backup_verify")
    restic = Wrapper(world)
    restic.at("dump-1", '"$real" "$@" | { head -c 12288; cat > /dev/null; }; exit 0')
    failed = world.restore()
    assert "what came out of the repository is not what was stored: 12288 bytes" in failed.msg
    assert f'restore {world.key}: sqlite datastore "main": load' in failed.msg
    assert world.state() == before
    world.is_clean()


def test_a_killed_restic_ends_the_restore_before_anything_is_touched(world: World, seed: Seed) -> None:
    before = world.state()
    world.run("backup_verify")
    for point in ("dump-1", "restore-1"):
        restic = Wrapper(world) if not (world.root / "wrapper").exists() else restic  # noqa: F821
        restic.calm()
        restic.at(point, faults.kill_restic_when(faults.any_file(world.repository / "locks")))
        failed = world.restore()
        assert "was killed by signal 9" in failed.msg, point
        assert "The live data are untouched" in failed.msg
        assert world.state() == before
        world.is_clean()
    restic.calm()
    wait_for_end_of_processes(world.key)
    world.holds_up(seed.earlier)
