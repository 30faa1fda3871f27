# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository that is missing, locked, full, damaged or altered: said by name, and nothing lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal, Step
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Repository

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper, altered
from tests.integration.support.recovery import NEW_RESTIC, Seed, World

pytestmark = [pytest.mark.faults, pytest.mark.sqlite, pytest.mark.files]

both = pytest.mark.parametrize("restic", ["restic", str(NEW_RESTIC)], ids=["0.14", "current"])
ALL = {"backup": {}, "backup_verify": {}, "restore": {"replace": True}, "backup_retention": {"keep_last": 1}}


# Reaching it -----------------------------------------------------------------------------------------


@both
def test_a_wrong_password_is_said_by_every_module_and_nothing_is_touched(world: World, seed: Seed, restic: str) -> None:
    world.restic = restic
    before, wrong = world.state(), dataclasses.replace(world, password="another long password")
    for module, more in {**ALL, "backup_info": {}}.items():
        failed = wrong.run(module, **more)
        assert f"the password of the repository {world.repository} is wrong" in failed.msg, module
        assert world.key in failed.msg
        assert "Check repository.password" in failed.msg
        assert wrong.password not in json.dumps(failed.data)
    assert (world.state(), world.snapshot_ids()) == (before, seed.snapshots)
    world.is_clean()


@both
def test_a_missing_repository_is_said_and_never_made(world: World, seed: Seed, restic: str) -> None:
    world.restic = restic
    before = world.state()
    shutil.move(world.repository, world.root / "elsewhere")
    for module, more in {**ALL, "backup_info": {}}.items():
        failed = world.run(module, **more)
        assert f"there is no repository at {world.repository}" in failed.msg, module
        assert world.key in failed.msg
        assert "day2.ops.prepare" in failed.msg
    assert not world.repository.exists()
    assert world.state() == before


# Locks -----------------------------------------------------------------------------------------------


@both
def test_a_repository_that_another_restic_has_locked_is_waited_for_and_then_named(
    world: World, seed: Seed, restic: str
) -> None:
    world.restic = restic
    world.lock_timeout = 1
    before = world.state()
    with faults.locked_by_another_restic(world) as other:
        for module, more in ALL.items():
            begun = time.monotonic()
            failed = world.run(module, **more)
            assert "is locked" in failed.msg, module
            assert f"locked exclusively by PID {other.pid}" in failed.msg
            assert "restic unlock" in failed.msg
            assert time.monotonic() - begun < 30
        assert world.locks(), "the other one's lock was taken away"
    assert world.state() == before
    world.holds_up(seed.earlier)


def test_a_backup_goes_on_when_the_other_restic_has_ended(world: World, seed: Seed) -> None:
    world.lock_timeout = 60
    with faults.locked_by_another_restic(world) as other:
        running = world.start("backup")
        time.sleep(1)
        assert running.poll() is None
        other.send_signal(signal.SIGCONT)
        assert running.finish()["changed"]


LOCKED = "echo 'unable to create lock in backend: repository is already locked exclusively by PID 7 on x' >&2; exit 1"


@pytest.mark.parametrize("verb", ["backup-1", "backup-2", "backup-3"])
def test_a_lock_that_comes_in_the_middle_of_a_backup_is_waited_for(world: World, seed: Seed, verb: str) -> None:
    """The listing was let in; then somebody prunes. (Its message, replayed once.)"""
    restic = Wrapper(world)
    restic.at(verb, LOCKED)
    assert world.run("backup")["backup"]["complete"]
    assert len([call for call in restic.calls if call.startswith("backup")]) == 4


@pytest.mark.parametrize("verb", ["dump-1", "restore-1"])
def test_a_lock_that_comes_in_the_middle_of_a_restore_is_waited_for(world: World, seed: Seed, verb: str) -> None:
    backup, content = next(iter(seed.earlier.items()))
    restic = Wrapper(world)
    restic.at(verb, LOCKED)
    world.restore(backup=backup)["changed"]
    assert world.state() == content
    world.is_clean()


def killed_restic(world: World, verb: str) -> None:
    """Somebody else's restic, killed while it held a lock."""
    with faults.locked_by_another_restic(world, verb) as other:
        other.kill()


def test_somebody_elses_stale_lock_is_named_and_left_alone(world: World, seed: Seed) -> None:
    """Only they know that it is dead: restic in another container may look just the same."""
    world.lock_timeout = 1
    killed_restic(world, "prune")
    before = world.locks()
    failed = world.run("backup")
    assert "is locked" in failed.msg
    assert "When it is known to be dead, run `restic unlock` yourself" in failed.msg
    assert world.locks() == before
    world.call_restic("unlock")
    world.holds_up(seed.earlier)


def somewhere_else() -> None:
    """The repository is not taken for a directory of this host."""
    Repository.directory = property(lambda self: None)  # type: ignore[assignment, method-assign]


def test_our_own_stale_lock_is_not_removed_together_with_somebody_elses(world: World, seed: Seed) -> None:
    """In a directory exactly ours goes; elsewhere only `restic unlock` can, which would take both."""
    restic = Wrapper(world)
    restic.at("backup-1", faults.kill_the_module_when(faults.any_file(world.repository / "locks")))
    assert world.run("backup").killed
    restic.calm()
    ours = set(world.locks())
    killed_restic(world, "snapshots")
    theirs = set(world.locks()) - ours
    assert (len(ours), len(theirs)) == (1, 1)
    world.lock_timeout = 1
    assert "is locked" in world.run("backup_retention", keep_last=1, prelude=somewhere_else).msg
    assert world.run("backup", prelude=somewhere_else)["changed"], "they do not need the repository for themselves"
    assert set(world.locks()) == ours | theirs
    assert world.run("backup")["changed"]
    assert set(world.locks()) == theirs
    world.call_restic("unlock")
    world.holds_up(seed.earlier)


def test_our_own_stale_lock_alone_is_removed_wherever_the_repository_is(world: World, seed: Seed) -> None:
    restic = Wrapper(world)
    restic.at("backup-1", faults.kill_the_module_when(faults.any_file(world.repository / "locks")))
    assert world.run("backup").killed
    restic.calm()
    assert len(world.locks()) == 1
    faults.wait_for(lambda: not any_zombie())
    assert world.run("backup", prelude=somewhere_else)["changed"]
    world.is_clean()


def any_zombie() -> bool:
    """A killed restic whose end nobody has taken note of yet looks alive to `restic unlock`."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if "(restic) Z" in stat.read_text():
                return True
    return False


@pytest.mark.parametrize(("verb", "more"), [("forget-1", {}), ("prune-1", {"prune": True})])
def test_retention_killed_with_the_exclusive_lock_does_not_stop_the_next_run(
    world: World, seed: Seed, verb: str, more: dict[str, Any]
) -> None:
    restic = Wrapper(world)
    restic.at(verb, faults.kill_the_module_when(faults.any_file(world.repository / "locks")))
    assert world.run("backup_retention", keep_last=1, **more).killed
    restic.calm()
    faults.wait_for(lambda: not [one for one in os.listdir("/proc") if one.isdigit() and _is_restic_of(one, world)])
    assert world.locks(), "the scenario did not happen: no lock was left"
    newest = list(seed.earlier.items())[-1]
    world.holds_up(dict([newest]))


def _is_restic_of(pid: str, world: World) -> bool:
    with contextlib.suppress(OSError):
        return f"DAY2_RUN={world.key}:".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    return False


# Space -----------------------------------------------------------------------------------------------


@pytest.fixture
def on_small_disk(world: World) -> Iterator[World]:
    """The repository on a disk of its own, of 80 MB."""
    kept = world.root / "kept"
    world.repository.rename(kept)
    with faults.small_disk(world.repository, 80):
        shutil.copytree(kept, world.repository, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield world


@pytest.mark.parametrize("verb", ["backup-1", "backup-2", "backup-3"])
def test_a_repository_that_runs_full_fails_the_backup_and_nothing_else(
    on_small_disk: World, seed: Seed, verb: str
) -> None:
    world = on_small_disk
    world.lock_timeout = 60  # a full disk is no lock that one could wait for
    world.add_upload("large", os.urandom(300_000))
    world.add_orders("large", 2000)
    restic = Wrapper(world)
    restic.at(verb, faults.fill(world.repository))
    begun = time.monotonic()
    failed = world.run("backup")
    assert f"there is no space left for the repository {world.repository}" in failed.msg
    assert "earlier backups are untouched" in failed.msg
    assert time.monotonic() - begun < 45
    restic.calm()
    (world.repository / "ballast").unlink()
    world.holds_up(seed.earlier)


def test_too_little_space_is_refused_before_anything_is_stored(on_small_disk: World, seed: Seed) -> None:
    world = on_small_disk
    (world.repository / "ballast").write_bytes(bytes(30 << 20))
    refused = world.run("backup")
    assert "MiB are free in the repository" in refused.msg
    assert "preflight" in refused.msg
    (world.repository / "ballast").unlink()
    assert world.snapshot_ids() == seed.snapshots


@pytest.mark.parametrize("module", ["restore", "backup_verify"])
def test_a_disk_that_runs_full_while_staging_leaves_the_live_data_alone(world: World, seed: Seed, module: str) -> None:
    """The state directory, where the database is staged, on a disk of its own."""
    world.add_orders("large", 40_000)  # about 11 MB
    world.backup()
    before = world.state()
    kept = world.root / "kept"
    world.state_dir.rename(kept)
    restic = Wrapper(world)
    with faults.small_disk(world.state_dir, 64):
        shutil.copytree(kept, world.state_dir, dirs_exist_ok=True)
        world.backups(backup="latest")  # its manifest is at hand
        restic.calm()
        restic.at("dump-1", faults.fill(world.state_dir))
        failed = world.run(module, **({"replace": True, "safety_copy": "none"} if module == "restore" else {}))
        assert failed.failed
        assert 'sqlite datastore "main"' in failed.msg
        assert "No space left on device" in failed.msg
        assert "live data are untouched" in failed.msg
        assert world.state() == before
        restic.calm()
        (world.state_dir / "ballast").unlink()
        world.is_clean()
        world.holds_up(seed.earlier)


@pytest.fixture
def small_state(world: World) -> Iterator[Path]:
    """The state directory on a disk of its own; the live upload differs from the newest backup's."""
    world.add_upload("later", b"restored")
    world.backup()
    (world.uploads / "later").write_bytes(b"live")
    kept = world.root / "kept"
    world.state_dir.rename(kept)
    with faults.small_disk(world.state_dir, 64):
        shutil.copytree(kept, world.state_dir, dirs_exist_ok=True)
        yield world.state_dir


@pytest.fixture
def full_at_the_swap(small_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Journal.begin

    def fill_and_begin(self: Journal, name: str, **data: Any) -> Step:
        subprocess.run(["sh", "-c", faults.fill(small_state)], check=False)
        return begin(self, name, **data)

    monkeypatch.setattr(Journal, "begin", fill_and_begin)


ONLY_UPLOADS = {"only": ["uploads"], "replace": True, "safety_copy": "none"}


@pytest.mark.usefixtures("full_at_the_swap")
def test_a_journal_goes_on_in_the_room_that_it_keeps(world: World) -> None:
    """What a restore is about to do must be written down, whoever fills the disk meanwhile."""
    restored = world.run("restore", **ONLY_UPLOADS)
    assert not restored.failed, restored.msg
    assert (world.uploads / "later").read_bytes() == b"restored"
    assert not list((world.home / "restores").iterdir())


@pytest.mark.usefixtures("full_at_the_swap")
def test_a_journal_that_cannot_be_written_even_so_is_settled_later(
    world: World, small_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "keep_room", lambda self: None)
    failed = world.run("restore", **ONLY_UPLOADS)
    assert "journal.json cannot be written (No space left on device)" in failed.msg
    assert "the journal is kept" in failed.msg
    assert (world.uploads / "later").read_bytes() == b"live"
    (small_state / "ballast").unlink()
    monkeypatch.undo()
    settled = world.run("restore", **ONLY_UPLOADS)
    assert [one["outcome"] for one in settled["restore"]["settled"]] == ["undone"]
    assert (world.uploads / "later").read_bytes() == b"restored"


def test_a_restore_does_not_begin_without_room_for_its_journal(world: World, small_state: Path) -> None:
    world.backups()
    subprocess.run(["sh", "-c", faults.fill(small_state)], check=False)
    os.truncate(small_state / "ballast", (small_state / "ballast").stat().st_size - (200 << 10))
    failed = world.run("restore", **ONLY_UPLOADS)
    assert "preflight: " in failed.msg
    assert "journal.room cannot be written (No space left on device). Nothing was changed" in failed.msg
    assert (world.uploads / "later").read_bytes() == b"live"
    assert not list((world.home / "restores").iterdir())


def test_nothing_begins_where_the_lock_cannot_be_written(world: World, small_state: Path) -> None:
    subprocess.run(["sh", "-c", faults.fill(small_state)], check=False)
    for module in ("backup", "restore"):
        failed = world.run(module)
        assert "lock: " in failed.msg
        assert "cannot be written (No space left on device). Nothing was changed" in failed.msg


def test_without_room_for_a_cache_restic_works_without_one(world: World, seed: Seed) -> None:
    """It would try each file of its cache ten times, for minutes."""
    kept = world.root / "kept"
    world.state_dir.rename(kept)
    with faults.small_disk(world.state_dir, 14):
        shutil.copytree(kept, world.state_dir, dirs_exist_ok=True)
        shutil.rmtree(world.state_dir / "cache")
        restic = Wrapper(world)
        made = world.run("backup", datastores=world.datastores()[1:])
        assert made["backup"]["complete"]
        assert [one for one in made.warnings if "less than 16.0 MiB are free" in one and "without its cache" in one]
        assert all("--no-cache" in call for call in restic.calls if not call.startswith("version"))
        assert not (world.state_dir / "cache").exists()
    kept.rename(world.state_dir)
    restic.calm()
    world.holds_up(seed.earlier)


def test_files_that_find_no_space_to_be_staged_leave_the_live_data_alone(world: World, seed: Seed) -> None:
    """The application on a disk of its own: its directories are staged beside themselves."""
    kept = world.root / "kept"
    application = world.root / "app"
    application.rename(kept)
    restic = Wrapper(world)
    with faults.small_disk(application, 48):
        subprocess.run(["cp", "-a", f"{kept}/.", str(application)], check=True)
        world.add_upload("large", os.urandom(4 << 20))
        world.backup()
        before = world.state()
        restic.calm()
        restic.at("restore-1", faults.fill(application))
        failed = world.restore()
        (application / "ballast").unlink()
        assert failed.failed
        assert 'files datastore "uploads"' in failed.msg
        assert "no space left" in failed.msg.lower()
        assert "live data are untouched" in failed.msg
        assert world.state() == before
        world.is_clean()
        restic.calm()
        world.holds_up(seed.earlier)


# Damage ----------------------------------------------------------------------------------------------


def test_a_damaged_pack_is_named_by_verification_and_check_and_other_backups_restore(world: World, seed: Seed) -> None:
    marker = world.root / "marker"
    marker.touch()
    world.add_upload("new", os.urandom(2 << 20))
    damaged = world.backup()
    packs = [path for path in (world.repository / "data").rglob("*") if path.is_file()]
    new = [path for path in packs if path.stat().st_mtime_ns > marker.stat().st_mtime_ns]
    faults.flip_bytes(max(new, key=lambda path: path.stat().st_size))
    before = world.state()

    checked = world.run("backup_info", check="all")
    assert checked["repository"]["errors"], "restic check found nothing"
    assert world.run("backup_info", check="structure")["repository"]["errors"] == []
    for module in ("backup_verify", "restore"):
        failed = world.run(module, backup=damaged, **({"replace": True} if module == "restore" else {}))
        assert f"the repository {world.repository} is damaged" in failed.msg, module
        assert 'files datastore "uploads"' in failed.msg
        assert "use another backup" in failed.msg
    assert world.state() == before
    world.is_clean()
    for backup, content in seed.earlier.items():
        assert world.run("backup_verify", backup=backup)["verification"]["whole"]
        world.restore(backup=backup)["changed"]
        assert world.state() == content


def test_a_backup_whose_data_were_removed_behind_our_back_is_not_complete(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    part = next(one for one in world.with_tag(f"backup={newest}") if "datastore=uploads" in one["tags"])
    world.call_restic("forget", part["id"])

    listed = {one["id"]: one for one in world.backups()}
    assert not listed[newest]["complete"]
    assert listed[newest]["missing"] == ["uploads"]
    refused = world.restore(backup=newest)
    assert f"backup {newest} is not complete: the data of uploads are gone" in refused.msg
    assert world.run("backup_verify", backup=newest).failed
    assert world.restore(backup="latest")["restore"]["backup"] == older
    assert world.state() == seed.earlier[older]
    made = world.run("backup", max_age="1d")
    assert made["backup"]["id"] == older, "the older one is complete and young enough"
    removed = world.run("backup_retention", keep_last=5)["retention"]
    assert removed["remove"] == [newest], "what is not complete is not kept by a rule"


def set_part(manifest: dict[str, Any], **values: Any) -> None:
    next(part for part in manifest["parts"] if part["datastore"] == "main").update(values)


ALTERED = {
    "another hash": (lambda m: set_part(m, sha256="0" * 64), "what came out of the repository is not what was stored"),
    "another length": (lambda m: set_part(m, bytes=1), "what came out of the repository is not what was stored"),
    "another id": (lambda m: m.update(id="20200101T000000Z-000000"), "says that it is 20200101T000000Z-000000"),
    "more rows": (
        lambda m: m["parts"][0]["fingerprint"]["tables"]["orders"].update(rows=1000),
        "table orders: 1000 rows expected, 206 rows found",
    ),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_manifest_restores_nothing(world: World, seed: Seed, kind: str) -> None:
    change, message = ALTERED[kind]
    _older, newest = seed.earlier
    before = world.state()
    altered(world, newest, change)
    for module, more in (("backup_verify", {}), ("restore", {"replace": True})):
        failed = world.run(module, backup=newest, **more)
        assert message in failed.msg, module
        assert world.key in failed.msg
    assert world.state() == before
    world.is_clean()
    assert not any(one["proof"] for one in world.backups())


def test_a_manifest_of_a_newer_day2_is_named_and_never_passed_over_in_silence(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    altered(world, newest, lambda m: m.update(schema=2), lambda s: s.update(schema=2, more="unknown"))
    info = world.run("backup_info")
    assert [one["id"] for one in info["backups"]] == [older]
    assert len(info["repository"]["errors"]) == 1
    assert newest in info["repository"]["errors"][0]
    assert "schema 2" in info["repository"]["errors"][0]
    refused = world.restore(backup=newest)
    assert f"backup {newest}" in refused.msg
    assert "has schema 2" in refused.msg
    assert "Update the collection" in refused.msg
    chosen = world.restore(backup="latest")
    assert chosen["restore"]["backup"] == older
    assert any(newest in warning and "schema 2" in warning for warning in chosen.warnings)
    assert world.run("backup_retention", keep_last=1)["retention"]["remove"] == []
    assert any(snapshot for snapshot in world.with_tag(f"backup={newest}"))


# Orphans ---------------------------------------------------------------------------------------------


def test_another_machines_orphan_is_reported_and_left_alone(world: World, seed: Seed) -> None:
    other = dataclasses.replace(world)
    other.extra = {"state_dir": str(world.root / "other-state")}
    restic = Wrapper(other)
    restic.at("backup-2", faults.KILL_THE_MODULE)
    assert other.run("backup").killed
    orphans = world.orphans()
    assert [one["datastore"] for one in orphans] == ["main"]
    made = world.run("backup")
    assert any("no run of this machine" in warning for warning in made.warnings)
    assert world.orphans() == orphans
    restic.calm()
    assert other.run("backup")["changed"]
    assert world.orphans() == [], "the machine's own next run takes it away"


@pytest.mark.parametrize("verb", ["forget-1", "forget-2"])
def test_retention_killed_between_manifest_and_data_leaves_no_half_backup(world: World, seed: Seed, verb: str) -> None:
    older, newest = seed.earlier
    assert world.run("backup_verify", backup=older)["changed"]  # its proof must go as well
    assert world.run("backup_verify", backup=newest)["changed"]
    restic = Wrapper(world)
    restic.at(verb, faults.KILL_THE_MODULE)
    assert world.run("backup_retention", keep_last=1).killed
    restic.calm()
    expected = {newest} if verb == "forget-2" else {older, newest}
    assert {one["id"] for one in world.backups()} == expected
    world.holds_up({newest: seed.earlier[newest]})
    world.run("backup_retention", keep_last=2)["changed"]
    assert {tag for one in world.snapshots() for tag in one["tags"] if tag == f"backup={older}"} == set()
