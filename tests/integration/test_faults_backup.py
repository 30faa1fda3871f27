# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that is killed, or whose tools are, leaves earlier backups whole and the next run well."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import NEW_RESTIC, Seed, World, wait_for_end_of_processes

pytestmark = [pytest.mark.faults, pytest.mark.sqlite, pytest.mark.files]


@pytest.fixture
def restic(world: World) -> Wrapper:
    return Wrapper(world)


@pytest.fixture(params=["restic", str(NEW_RESTIC)], ids=["0.14", "current"])
def either(world: World, request: pytest.FixtureRequest) -> Wrapper:
    """Ways of ending restic differ between the versions."""
    return Wrapper(world, real=request.param)


# Where a backup of SQLite and one directory can be killed: `backup-1` stores the database, `backup-2`
# the directory, `backup-3` the manifest; `snapshots-2` is the last look.
DEATHS = {
    "before anything is stored": ("backup-1", faults.KILL_THE_MODULE),
    "between database and directory": ("backup-2", faults.KILL_THE_MODULE),
    "before the manifest": ("backup-3", faults.KILL_THE_MODULE),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_killed_backup_is_none_and_the_next_run_takes_its_data_away(
    world: World, seed: Seed, restic: Wrapper, death: str
) -> None:
    restic.at(*DEATHS[death])
    assert world.run("backup").killed
    restic.calm()
    assert {one["id"] for one in world.backups()} == set(seed.earlier)
    world.holds_up(seed.earlier)
    assert all(snapshot["tags"] for snapshot in world.snapshots())


def test_a_backup_killed_after_its_manifest_is_whole(world: World, seed: Seed, restic: Wrapper) -> None:
    state = world.state()
    restic.at("backup-3", faults.KILL_THE_MODULE_AFTERWARDS)
    assert world.run("backup").killed
    restic.calm()
    newest = world.backups()[0]
    assert newest["id"] not in seed.earlier
    assert newest["complete"]
    world.change("thursday")
    world.restore(backup=newest["id"])["changed"]
    assert world.state() == state
    world.holds_up(seed.earlier)


@pytest.mark.parametrize("verb", ["backup-1", "backup-2"])
def test_a_module_killed_while_restic_writes_leaves_no_half_backup(
    world: World, seed: Seed, either: Wrapper, verb: str
) -> None:
    either.at(verb, faults.kill_the_module_when(faults.any_file(world.repository / "locks")))
    assert world.run("backup").killed
    wait_for_end_of_processes(world.key)
    either.calm()
    assert {one["id"] for one in world.backups()} == set(seed.earlier)
    world.holds_up(seed.earlier)


@pytest.mark.parametrize("verb", ["backup-1", pytest.param("backup-2", marks=pytest.mark.full), "backup-3"])
def test_a_killed_restic_fails_the_backup_by_name_and_leaves_nothing(
    world: World, seed: Seed, either: Wrapper, verb: str
) -> None:
    either.at(verb, faults.kill_restic_when(faults.any_file(world.repository / "locks")))
    failed = world.run("backup")
    assert failed.failed
    assert f"backup {world.key}" in failed.msg
    assert "was killed by signal 9" in failed.msg
    assert "earlier backups are untouched" in failed.msg
    either.calm()
    assert world.snapshot_ids() == seed.snapshots, "the failed run left data in the repository"
    world.holds_up(seed.earlier)


@pytest.mark.parametrize("done", ["rm", "truncate -s -1", pytest.param("sed -i s/./x/", marks=pytest.mark.full)])
def test_what_is_gone_after_it_was_stored_makes_no_backup(world: World, seed: Seed, either: Wrapper, done: str) -> None:
    """Somebody's cron forgets the data while the manifest is written."""
    either.at("backup-3", f'{done} "{world.repository}/snapshots/$(ls -t {world.repository}/snapshots | head -1)"')
    failed = world.run("backup")
    assert "commit: after storing, the repository does not hold" in failed.msg
    assert "earlier backups are untouched" in failed.msg
    either.calm()
    for path in (world.repository / "snapshots").iterdir():  # what was altered is nobody's any more
        if path.name not in seed.snapshots:
            path.unlink()
    assert {one["id"] for one in world.backups()} == set(seed.earlier)
    world.holds_up(seed.earlier)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.full)])
def test_an_interrupted_backup_stores_nothing(world: World, seed: Seed, either: Wrapper, number: int) -> None:
    """Ctrl-C, a lost connection: the module is asked to end, more than once."""
    locks = world.repository / "locks"
    either.at("backup-2", faults.when(faults.any_file(locks), f"kill -{number:d} $PPID; kill -{number:d} $PPID"))
    failed = world.run("backup")
    assert failed.failed
    assert f"interrupted by {signal.Signals(number).name}" in failed.msg
    world.is_clean()
    assert world.snapshot_ids() == seed.snapshots
    either.calm()
    world.holds_up(seed.earlier)


def test_two_runs_at_once_the_second_is_refused_with_the_holders_name(
    world: World, seed: Seed, restic: Wrapper
) -> None:
    go = world.root / "go"
    restic.at("backup-1", faults.hold_until(go))
    first = world.start("backup", job="nightly")
    faults.wait_for(lambda: any(call.startswith("backup") for call in restic.calls))
    for module in ("backup", "restore", "backup_verify", "backup_retention"):
        second = world.run(module, **({"keep_last": 1} if module == "backup_retention" else {}))
        assert second.failed
        assert f"the lock of {world.key} is held by" in second.msg
        assert "backup (regular), job nightly" in second.msg
        assert "app_lock (takeover: true)" in second.msg
    go.touch()
    assert first.finish()["backup"]["complete"]
    world.holds_up(seed.earlier)


def test_a_file_that_cannot_be_read_fails_the_backup_by_its_name(world: World, seed: Seed, either: Wrapper) -> None:
    """restic stores such a snapshot all the same (exit code 3); nothing may take it for whole."""
    bad = world.uploads / "bad"
    bad.touch()
    # The memory of another process: not even root may open it like this.
    subprocess.run(["mount", "--bind", "/proc/1/mem", str(bad)], check=True)
    try:
        for more in ({}, {"allow_vanished": True}):
            failed = world.run("backup", **more)
            assert (
                f'backup {world.key}: files datastore "uploads": dump: 1 files could not be read: {bad}' in failed.msg
            )
            assert "exclude them" in failed.msg
            assert world.snapshot_ids() == seed.snapshots
    finally:
        subprocess.run(["umount", str(bad)], check=True)
    bad.unlink()
    world.holds_up(seed.earlier)


GONE = {
    "0.14": '{"message_type":"error","error":{"Op":"lstat","Path":"/x/gone","Err":2},"during":"archival","item":"/x/gone"}',
    "current": '{"message_type":"error","error":{"message":"lstat /x/gone: no such file or directory"},"during":"archival","item":"/x/gone"}',
}


@pytest.mark.parametrize("said", GONE)
def test_a_file_that_vanishes_meanwhile_is_allowed_only_when_told_so(
    world: World, seed: Seed, restic: Wrapper, said: str
) -> None:
    """As each restic says it, replayed: the moment cannot be met for certain."""
    restic.at("backup-2", f'"$real" "$@"; echo \'{GONE[said]}\' >&2; exit 3')
    failed = world.run("backup")
    assert "1 files could not be read: /x/gone" in failed.msg
    assert "with allow_vanished files may vanish meanwhile" in failed.msg
    assert world.snapshot_ids() == seed.snapshots
    restic.calm()
    restic.at("backup-2", f'"$real" "$@"; echo \'{GONE[said]}\' >&2; exit 3')
    made = world.run("backup", allow_vanished=True)
    assert made["backup"]["complete"]
    assert any("1 files vanished while they were read" in warning for warning in made.warnings)
