# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup, proof, restore and retention of a small application, on the oldest restic and on a current one."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import subprocess
import time
from typing import Any

import pytest

from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import (
    NEW_RESTIC,
    Seed,
    World,
    bytes_below,
    make_seed,
    sqlite_content,
    tree_content,
)

pytestmark = [pytest.mark.sqlite, pytest.mark.files]


# The main paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("restic", ["restic", str(NEW_RESTIC)], ids=["0.14", "current"])
def test_backed_up_proven_damaged_and_restored(tmp_path_factory: pytest.TempPathFactory, restic: str) -> None:
    """Every module once, on each restic: the data come back by content, and retention removes whole backups."""
    said = subprocess.run([restic, "version"], check=True, capture_output=True, text=True).stdout.split()[1]
    assert said.startswith("0.14.") if restic == "restic" else tuple(map(int, said.split("."))) >= (0, 18, 0)
    seed = make_seed(tmp_path_factory.mktemp("paths"), restic)
    world, (monday, tuesday) = seed.world, seed.earlier
    held = world.run("backup", hold="before the experiment", kind="pre_deploy", fingerprint="full")["backup"]
    wednesday = world.state()

    assertions = [
        {"datastore": "main", "sql": "SELECT COUNT(*) FROM orders WHERE item LIKE 'monday%'", "value": "3"},
        {"datastore": "main", "table": "orders", "rows": 206},
        {"datastore": "main", "sql": "SELECT MAX(paid) FROM orders", "min": 1, "max": 100},
        {"datastore": "uploads", "file": str(world.uploads / "2026" / "one.bin")},
    ]
    proof = world.run("backup_verify", backup=monday, assertions=assertions[:1])["verification"]
    assert proof["recorded"]
    proof = world.run("backup_verify", assertions=assertions)["verification"]
    assert (proof["backup"], proof["whole"], proof["level"]) == (held["id"], True, "full")
    assert [one["ok"] for one in proof["assertions"]] == [True] * 4
    assert world.state() == wednesday
    world.is_clean()

    world.damage()
    restored = world.run("restore", replace=True)["restore"]
    assert restored["backup"] == held["id"]
    assert world.state() == wednesday
    safety = restored["safety_backup"]
    listed = {one["id"]: one for one in world.backups(check="all")}
    assert list(listed) == sorted(listed, reverse=True)
    assert listed[safety]["kind"] == "safety"
    assert listed[held["id"]]["hold"] == "before the experiment"
    assert listed[held["id"]]["proof"]["whole"]
    assert world.run("backup_info", check="structure")["repository"]["errors"] == []

    world.restore(backup=tuesday)["changed"]
    assert world.state() == seed.earlier[tuesday]
    decided = world.run("backup_retention", keep_last=1, prune=True)["retention"]
    assert decided["remove"] == [tuesday, monday]
    assert {one["id"] for one in world.backups(check="all")} == {held["id"], safety}
    world.run("backup_verify")["changed"]
    world.is_clean()
    assert world.orphans() == []


def test_a_small_backup_takes_six_restic_calls_and_a_few_seconds(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the key that `restic init` makes, of which every call takes most of a second."""
    world = World(tmp_path_factory.mktemp("cost") / "world", "coach")
    world.root.mkdir()
    world.deploy()
    world.call_restic("init")
    restic = Wrapper(world)
    world.backup()
    restic.calm()
    world.change("tuesday")
    begun = time.monotonic()
    made = world.run("backup")["backup"]
    seconds = time.monotonic() - begun
    with capsys.disabled():
        print(
            f"\nfixed cost: {len(restic.calls)} restic calls and `version`, {seconds:.1f} s ({made['seconds']} s inside)"
        )
    assert len(restic.calls) + 1 <= 6, restic.calls


# Check mode ------------------------------------------------------------------------------------------


def test_check_mode_changes_nothing_at_all(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    world.run("backup_verify")
    before = bytes_below(world.root)
    calls: list[tuple[str, dict[str, Any], bool]] = [
        ("backup", {"hold": "x", "fingerprint": "full"}, True),
        ("backup", {"max_age": "1d"}, False),
        ("backup_verify", {}, False),
        ("restore", {"replace": True, "backup": older}, True),
        ("backup_retention", {"keep_last": 1, "prune": True}, True),
        ("app_lock", {}, True),
    ]
    for module, more, changed in calls:
        outcome = world.run(module, check_mode=True, **more)
        assert outcome["changed"] is changed, module
        assert bytes_below(world.root) == before, f"{module} {more} in check mode changed something"
    plan = world.run("backup", check_mode=True)["backup"]
    assert [one["name"] for one in plan["datastores"]] == ["main", "uploads"]
    assert world.run("backup_retention", check_mode=True, keep_last=1)["retention"]["remove"] == [older]
    assert world.run("restore", check_mode=True, replace=True)["restore"]["backup"] == newest


def test_check_mode_writes_no_state_directory(world: World, seed: Seed) -> None:
    shutil.rmtree(world.state_dir)
    world.run("backup", check_mode=True)["changed"]
    world.run("restore", check_mode=True, replace=True)["changed"]
    world.run("backup_verify", check_mode=True)["verification"]
    assert not world.state_dir.exists()


def test_check_mode_fails_where_the_backup_would(world: World, seed: Seed) -> None:
    datastores = world.datastores()
    datastores[0]["path"] = str(world.root / "nowhere.db")
    failed = world.run("backup", check_mode=True, datastores=datastores)
    assert f'backup {world.key}: sqlite datastore "main": preflight: there is no file' in failed.msg
    assert "Nothing was stored, and earlier backups are untouched" in failed.msg
    refused = world.run("restore", check_mode=True)
    assert "the target is not empty" in refused.msg


def test_the_diff_of_a_restore_shows_what_would_be_replaced(world: World, seed: Seed) -> None:
    older = next(iter(seed.earlier))
    world.damage()
    diff = world.run("restore", check_mode=True, replace=True, backup=older)["diff"]
    before, after = diff["before"].splitlines(), diff["after"].splitlines()
    assert "main: table damage: 0 rows" in before
    assert "main: table orders: 203 rows" in after
    assert "uploads: file: 1" in before
    assert not [line for line in after if "damage" in line]


# Which backup ----------------------------------------------------------------------------------------


def test_a_second_run_within_max_age_changes_nothing(world: World, seed: Seed) -> None:
    newest = list(seed.earlier)[-1]
    ids = world.snapshot_ids()
    again = world.run("backup", max_age="1h")
    assert again["changed"] is False
    assert again["backup"]["id"] == newest
    assert world.snapshot_ids() == ids
    time.sleep(1.1)
    assert world.run("backup", max_age="1s")["changed"]


def test_max_age_asks_for_the_datastores_named_now(world: World, seed: Seed) -> None:
    assert world.run("backup", max_age="1h", datastores=world.with_configuration())["changed"]
    assert world.run("backup", max_age="1h", datastores=world.with_configuration())["changed"] is False
    assert world.run("backup", max_age="1h", datastores=world.datastores()[:1])["changed"] is False


def test_a_backup_from_the_future_says_nothing_about_today(world: World, seed: Seed) -> None:
    """The clock was wrong by a year for one night."""
    newest = list(seed.earlier)[-1]
    a_year_ahead = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365)

    def wrong_clock() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._core import clock

        clock.now = lambda: a_year_ahead

    future = world.run("backup", prelude=wrong_clock)["backup"]["id"]
    assert future.startswith(str(a_year_ahead.year))
    assert world.run("backup", max_age="1h")["backup"]["id"] == newest
    time.sleep(1.1)
    assert world.run("backup", max_age="1s")["changed"]
    kept = world.run("backup_retention", check_mode=True, keep_last=1)["retention"]["keep"]
    assert {"id": future, "reasons": ["last", "from the future"]} in kept


def test_a_safety_copy_is_chosen_by_its_id_only(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    wednesday = world.state()
    safety = world.restore(backup=older, safety_copy="required")["restore"]["safety_backup"]
    assert safety not in seed.earlier
    assert world.restore(backup="latest")["restore"]["backup"] == newest
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).isoformat()
    assert world.restore(before=later)["restore"]["backup"] == newest
    assert world.run("backup_verify", check_mode=True)["verification"]["backup"] == newest
    assert world.run("backup", check_mode=True, max_age="1h")["backup"]["id"] == newest
    assert safety not in world.run("backup_retention", keep_last=5)["retention"]["remove"]
    world.restore(backup=safety)["changed"]
    assert world.state() == wednesday
    time.sleep(1.1)
    removed = world.run("backup_retention", keep_last=5, keep_safety_within="1s")["retention"]["remove"]
    assert removed == [safety]


def test_the_newest_proven_one_and_the_newest_before_a_time_are_found(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    refused = world.restore(backup="latest_verified")
    assert f"there is no proven backup of {world.key}" in refused.msg
    world.run("backup_verify", backup=older, only=["main"])["changed"]
    assert world.restore(backup="latest_verified").failed, "half a proof is none"
    world.run("backup_verify", backup=older)["changed"]
    assert world.restore(backup="latest_verified")["restore"]["backup"] == older
    assert world.state() == seed.earlier[older]

    begun = next(one["started"] for one in world.backups() if one["id"] == newest)
    assert world.restore(before=begun)["restore"]["backup"] == older
    with_offset = (
        datetime.datetime.fromisoformat(begun.replace("Z", "+00:00")) + datetime.timedelta(seconds=1)
    ).astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    assert world.restore(before=with_offset.isoformat())["restore"]["backup"] == newest
    assert "has no offset" in world.restore(before="2026-11-23T20:00:00").msg
    assert "Give one of the two" in world.restore(before=begun, backup=older).msg
    assert "begun before" in world.restore(before="2020-01-01T00:00:00Z").msg


def test_an_unknown_id_and_another_instances_backup_are_refused_by_name(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    refused = world.restore(backup="20200101T000000Z-aaaaaa")
    assert f"restore {world.key}: preflight: there is no backup 20200101T000000Z-aaaaaa" in refused.msg
    assert newest in refused.msg
    assert "Nothing was changed" in refused.msg

    staging = dataclasses.replace(world, extra={"instance": "staging"})
    for backup in ("latest", older):
        refused = staging.restore(backup=backup)
        assert f"{world.app} as production" in refused.msg
        assert "name it with from_instance" in refused.msg
    before = staging.state()
    assert staging.run("backup")["changed"]
    refused = staging.restore(backup=older)
    assert f"the repository holds backup {older} of {world.app} as production" in refused.msg
    assert staging.state() == before
    assert staging.restore(backup=older, from_instance="production")["restore"]["backup"] == older
    assert staging.state() == seed.earlier[older]
    assert {one["id"] for one in world.backups()} == set(seed.earlier)


# Where to --------------------------------------------------------------------------------------------


def test_data_that_are_there_are_replaced_only_when_told_so(world: World, seed: Seed) -> None:
    newest, before = list(seed.earlier)[-1], world.state()
    refused = world.run("restore")
    assert f'restore {world.key}: sqlite datastore "main": preflight: the target is not empty' in refused.msg
    assert "replace: true" in refused.msg
    assert world.state() == before
    shutil.rmtree(world.database.parent)
    world.database.parent.mkdir()
    refused = world.run("restore")
    assert 'files datastore "uploads"' in refused.msg
    shutil.rmtree(world.uploads)
    restored = world.run("restore")["restore"]
    assert restored["safety_backup"] == "", "there was nothing to keep"
    assert not any(one["replaced"] for one in restored["datastores"].values())
    assert world.state() == seed.earlier[newest]
    world.is_clean()


def test_a_redirected_restore_leaves_the_source_alone(world: World, seed: Seed) -> None:
    newest, before = list(seed.earlier)[-1], world.state()
    for path in ("copy", "uploads/inside", "."):
        target = world.root / "app" / path
        target = world.uploads if path == "." else target
        into = [{"datastore": "uploads", "paths": [str(target)]}, {"datastore": "main", "path": str(world.database)}]
        refused = world.restore(only=["main", "uploads"], into=into)
        assert "target and source are the same" in refused.msg
    for path in (world.uploads, world.uploads / "inside", world.uploads.parent):
        refused = world.restore(only=["uploads"], into=[{"datastore": "uploads", "paths": [str(path)]}])
        assert refused.failed
        assert 'files datastore "uploads"' in refused.msg
        assert "target and source" in refused.msg
    link = world.root / "link"
    link.symlink_to(world.uploads)
    assert (
        "target and source"
        in world.restore(only=["uploads"], into=[{"datastore": "uploads", "paths": [str(link)]}]).msg
    )
    assert world.state() == before

    (world.root / "app" / "copy").mkdir()
    into = [
        {"datastore": "main", "path": str(world.root / "app" / "copy" / "main.db")},
        {"datastore": "uploads", "paths": [str(world.root / "app" / "copy" / "uploads")]},
    ]
    assert world.run("restore", into=into)["restore"]["safety_backup"] == ""
    assert world.state() == before
    assert sqlite_content(world.root / "app" / "copy" / "main.db") == seed.earlier[newest]["main"]
    assert tree_content(world.root / "app" / "copy" / "uploads") == seed.earlier[newest]["uploads"]
    world.is_clean()
    again = world.run("restore", into=into)
    assert "the target is not empty" in again.msg
    assert "which is not restored" in world.restore(only=["main"], into=into).msg


def test_a_datastore_can_be_restored_alone(world: World, seed: Seed) -> None:
    older, before = next(iter(seed.earlier)), world.state()
    assert list(world.restore(backup=older, only=["uploads"])["restore"]["datastores"]) == ["uploads"]
    assert world.state() == {"main": before["main"], "uploads": seed.earlier[older]["uploads"]}
    assert 'only names "nothing"' in world.restore(only=["nothing"]).msg
    refused = world.restore(only=["config"], datastores=world.with_configuration())
    assert 'the backup holds no datastore "config"' in refused.msg
    refused = world.restore(datastores=world.datastores()[:1])
    assert 'the backup holds the datastore "uploads", which is not described' in refused.msg


def test_a_live_database_that_cannot_be_read_does_not_stand_in_the_way(world: World, seed: Seed) -> None:
    newest = list(seed.earlier)[-1]
    uploads = world.state()["uploads"]
    world.database.write_bytes(b"this is no database" * 300)
    refused = world.run("restore", replace=True)
    assert "the live data cannot be read, so no safety copy can be made" in refused.msg
    assert "safety_copy: if_possible" in refused.msg
    restored = world.run("restore", replace=True, safety_copy="if_possible")
    assert any("no safety copy was made of" in warning for warning in restored.warnings)
    assert world.state() == seed.earlier[newest]
    aside = [path for path in world.database.parent.iterdir() if "day2-old" in path.name]
    assert [path.read_bytes() for path in aside] == [b"this is no database" * 300], "what was there is kept aside"
    safety = restored["restore"]["safety_backup"]
    held = next(one for one in world.backups() if one["id"] == safety)
    assert [one["name"] for one in held["datastores"]] == ["uploads"]
    world.restore(backup=safety, only=["uploads"])["changed"]
    assert world.state()["uploads"] == uploads


# Configuration and keys ------------------------------------------------------------------------------


def test_configuration_is_restored_only_when_named_and_keeps_live_values(world: World, seed: Seed) -> None:
    """A password that was rotated since the backup does not come back."""
    datastores = world.with_configuration()
    world.backup(datastores=datastores)
    world.env_file.write_text("DB_PASSWORD='new secret'\nADDED=1\n")
    world.damage()
    damaged = world.env_file.read_text()
    restored = world.restore(datastores=datastores)["restore"]
    assert sorted(restored["datastores"]) == ["main", "uploads"]
    assert world.env_file.read_text() == damaged

    world.restore(datastores=datastores, only=["config"])["changed"]
    kept = world.env_file.read_text()
    assert "new secret" in kept
    assert "old-secret" not in kept
    assert "MODE=production" in kept, "what the live file lacks comes back"
    assert world.env_file.stat().st_mode & 0o777 == 0o640

    world.restore(datastores=datastores, only=["config"], configuration="replace")["changed"]
    assert world.env_file.read_text() == "DB_PASSWORD=old-secret\nMODE=production\n"
    world.is_clean()


def test_a_backup_under_another_data_key_is_not_restored(world: World, seed: Seed) -> None:
    """The data would come back, and nobody could read them."""
    key = "0123456789abcdef" * 4
    world.env_file.write_text(f"ENCRYPTION_KEY={key}\n")
    more = {"env_files": [str(world.env_file)], "data_keys": ["ENCRYPTION_KEY"], "uncovered": [str(world.env_file)]}
    made = world.run("backup", **more)
    assert made["changed"], made.msg
    state = world.state()
    del more["uncovered"]
    world.change("thursday")
    assert world.restore(**more)["changed"]
    assert world.state() == state
    world.env_file.write_text(f"ENCRYPTION_KEY={key[::-1]}\n")
    refused = world.restore(**more)
    assert "the data key ENCRYPTION_KEY is not the one" in refused.msg
    assert world.state() == state
    for outcome in (made, refused):
        assert key not in outcome.stdout + outcome.stderr
        assert key[::-1] not in outcome.stdout + outcome.stderr
    stored = b"".join(world.call_restic("cat", "snapshot", one["id"]).stdout for one in world.snapshots())
    assert key.encode() not in stored
    older = next(iter(seed.earlier))
    warned = world.restore(backup=older, **more)
    assert any("no fingerprint of the data key" in warning for warning in warned.warnings)


# Holds and retention ---------------------------------------------------------------------------------


def test_a_held_backup_stays_until_it_is_released(world: World, seed: Seed) -> None:
    older, newest = seed.earlier
    held = world.run("backup", hold="rollback of v1")["backup"]["id"]
    last = world.backup()
    plan = world.run("backup_retention", keep_last=1)
    assert plan["retention"]["remove"] == [newest, older]
    assert {"id": held, "reasons": ["held: rollback of v1"]} in plan["retention"]["keep"]
    released = world.run("backup_retention", release=[held])
    assert released["changed"]
    assert released["retention"]["released"] == [held]
    assert released["retention"]["remove"] == []
    assert world.run("backup_retention", keep_last=1)["retention"]["remove"] == [held]
    assert [one["id"] for one in world.backups()] == [last]
    assert world.run("backup_retention", keep_last=1)["changed"] is False
