# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy in a second repository: it is whole or not there, and losing it never costs the backup."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.modules import Outcome
from tests.integration.support.recovery import NEW_RESTIC, Seed, World, make_key_cheap
from tests.integration.support.stores import SECOND, S3Server, Server, deployed, running

pytestmark = [pytest.mark.stores, pytest.mark.sqlite, pytest.mark.files]

both = pytest.mark.parametrize("restic", ["restic", str(NEW_RESTIC)], ids=["0.14", "current"])


def second_of(world: World, **more: Any) -> dict[str, Any]:
    return {"location": str(world.root / "second"), "password": SECOND, "lock_timeout": 2, **more}


def make_second(world: World) -> dict[str, Any]:
    """As `prepare` makes it."""
    second = second_of(world)
    assert world.run("backup_repository", copy_repository=second)["changed"]
    make_key_cheap(world.root / "second", SECOND)
    return second


def in_second(world: World) -> World:
    """The same application, pointed at the copy alone: its own state directory, another repository."""
    return dataclasses.replace(
        world,
        password=SECOND,
        extra={
            "repository": {"location": str(world.root / "second"), "password": SECOND, "restic": world.restic},
            "state_dir": str(world.root / "another-state"),
        },
    )


def copy_of(outcome: Outcome) -> dict[str, Any]:
    copy: dict[str, Any] = outcome["backup"]["copy_repository"]
    return copy


@both
def test_the_copy_has_everything_and_restores_when_the_first_is_lost(world: World, seed: Seed, restic: str) -> None:
    world.restic = restic
    second = make_second(world)
    held = world.backup(hold="before version 5")
    world.run("backup_verify", backup=held)["verification"]
    made = world.run("backup", copy_repository=second)
    newest, content = made["backup"]["id"], world.state()
    wanted = [*seed.earlier, held, newest]
    assert copy_of(made)["status"] == "copied"
    assert copy_of(made)["copied"] == wanted, "earlier backups, oldest first"
    assert SECOND not in json.dumps(made.data)
    shown = world.run("backup_info", copy_repository=second)["copy_repository"]
    assert (shown["status"], sorted(shown["backups"]), shown["missing"]) == ("read", sorted(wanted), [])

    again = world.run("backup", copy_repository=second, max_age="1d")
    assert (again["changed"], copy_of(again)["copied"]) == (False, []), "nothing to do, so nothing is done"

    shutil.rmtree(world.repository)
    alone = in_second(world)
    listed = {one["id"]: one for one in alone.backups(check="all")}
    assert set(listed) == set(wanted)
    assert listed[held]["hold"] == "before version 5"
    assert listed[held]["proof"]["whole"]
    assert alone.run("backup_verify", backup=newest)["verification"]["whole"]
    alone.damage()
    alone.restore(backup=newest)["changed"]
    assert alone.state() == content
    oldest = next(iter(seed.earlier))
    alone.restore(backup=oldest)["changed"]
    assert alone.state() == seed.earlier[oldest]


def test_the_copy_stores_what_both_share_once(world: World, seed: Seed) -> None:
    """Files are cut alike: what was copied is not stored again when the same is backed up there directly."""
    second = make_second(world)
    world.add_upload("large", os.urandom(6 << 20))
    world.run("backup", copy_repository=second)["changed"]
    alone = in_second(world)
    added = alone.run("backup")["backup"]["stored"]
    assert added < 1 << 20, f"{added} bytes of 6 MiB that were there already were stored again"


@both
def test_a_second_store_that_is_down_is_a_warning_and_the_next_run_goes_on(
    world: World, seed: Seed, restic: str, tmp_path: Path
) -> None:
    world.restic = restic
    with running(S3Server(tmp_path / "server")) as server:
        second = {
            "location": server.location("copy"), "password": SECOND, "environment": server.environment,
            "timeout": 3, "lock_timeout": 2,
        }  # fmt: skip
        world.run("backup_repository", copy_repository=second)["changed"]
        make_key_cheap(server.place("copy"), SECOND)
        server.stop()
        made = world.run("backup", copy_repository=second)
        assert made["changed"]
        assert copy_of(made)["status"] == "failed"
        assert "cannot be reached" in copy_of(made)["message"] or "did not answer" in copy_of(made)["message"]
        assert any("the copy in s3:" in warning for warning in made.warnings)
        assert server.password not in json.dumps(made.data)
        shown = world.run("backup_info", copy_repository=second)
        assert shown["copy_repository"]["status"] == "failed"
        assert made["backup"]["id"] in {one["id"] for one in shown["backups"]}
        server.start()
        again = world.run("backup", copy_repository=second)
        assert copy_of(again)["status"] == "copied"
        assert copy_of(again)["copied"] == [*seed.earlier, made["backup"]["id"], again["backup"]["id"]]
        world.is_clean()


@both
@pytest.mark.parametrize("verb", ["copy-1", "copy-2", "copy-3"])
def test_a_copy_that_is_killed_leaves_nothing_half_and_goes_on(
    world: World, seed: Seed, restic: str, verb: str
) -> None:
    world.restic = restic
    second = make_second(world)
    wrapper = Wrapper(world, restic)
    wrapper.at(verb, f'"$real" copy "$2" ; {faults.KILL_THE_MODULE}' if verb == "copy-1" else faults.KILL_THE_MODULE)
    assert world.run("backup", copy_repository=second).killed
    wrapper.calm()
    world.restic = restic
    alone = in_second(world)
    half = alone.run("backup_info")
    assert all(one["complete"] for one in half["backups"])
    assert half["orphans"] or verb != "copy-2", "the scenario did not happen: no data are there without a manifest"
    again = world.run("backup", copy_repository=second)
    assert copy_of(again)["status"] == "copied"
    listed = alone.run("backup_info")
    assert listed["orphans"] == []
    assert {one["id"] for one in listed["backups"]} == {one["id"] for one in world.backups()}
    assert all(one["complete"] for one in listed["backups"])
    assert [name for name in os.listdir(world.root / "second" / "locks") if "tmp" not in name] == []
    for backup, content in seed.earlier.items():
        alone.restore(backup=backup)["changed"]
        assert alone.state() == content
    world.is_clean()


def test_a_restic_that_is_killed_while_it_copies_costs_the_copy_only(world: World, seed: Seed) -> None:
    second = make_second(world)
    wrapper = Wrapper(world)
    wrapper.at("copy-1", faults.kill_restic_when(faults.any_file(world.root / "second" / "locks")))
    made = world.run("backup", copy_repository=second)
    assert made["changed"]
    assert copy_of(made)["status"] == "failed"
    wrapper.calm()
    again = copy_of(world.run("backup", copy_repository=second))
    assert again["status"] == "copied"
    assert set(again["copied"]) >= set(seed.earlier), "an older backup was left out for ever"
    world.is_clean()


@both
def test_a_damaged_backup_keeps_no_other_from_its_copy(world: World, seed: Seed, restic: str) -> None:
    world.restic = restic
    second = make_second(world)
    marker = world.root / "marker"
    marker.touch()
    world.add_upload("large", os.urandom(2 << 20))
    damaged = world.backup()
    new = [
        one
        for one in (world.repository / "data").rglob("*")
        if one.is_file() and one.stat().st_mtime > marker.stat().st_mtime
    ]
    faults.flip_bytes(max(new, key=lambda path: path.stat().st_size))
    (world.uploads / "large").unlink()
    made = world.run("backup", copy_repository=second)
    assert copy_of(made)["status"] == "copied"
    assert copy_of(made)["copied"] == [*seed.earlier, made["backup"]["id"]]
    assert f"backup {damaged} is not copied" in copy_of(made)["message"]
    assert damaged in world.run("backup_info", copy_repository=second)["copy_repository"]["missing"]


def test_what_a_retention_removed_from_the_copy_stays_away(world: World, seed: Seed) -> None:
    second = make_second(world)
    made = world.run("backup", copy_repository=second)["backup"]["id"]
    alone = in_second(world)
    assert set(alone.run("backup_retention", keep_last=1)["retention"]["remove"]) == set(seed.earlier)
    assert copy_of(world.run("backup", copy_repository=second, max_age="1d"))["copied"] == []
    assert [one["id"] for one in alone.backups()] == [made]
    assert len(world.backups()) == 3, "the first one has a retention of its own"


def test_a_safety_copy_stays_on_this_host(world: World, seed: Seed) -> None:
    second = make_second(world)
    world.restore(safety_copy="required")["changed"]
    made = world.run("backup", copy_repository=second)
    kinds = {one["kind"] for one in in_second(world).backups()}
    assert kinds == {"regular"}
    assert "safety" in {one["kind"] for one in world.backups()}
    assert copy_of(made)["status"] == "copied"


def test_check_mode_copies_nothing(world: World, seed: Seed) -> None:
    second = make_second(world)
    planned = world.run("backup", check_mode=True, copy_repository=second)
    assert copy_of(planned)["status"] == "skipped"
    assert in_second(world).backups() == []


def test_no_copy_is_asked_for(world: World, seed: Seed) -> None:
    assert copy_of(world.run("backup")) == {
        "status": "skipped", "location": "", "seconds": 0.0, "message": "copy_repository is not given", "copied": [],
    }  # fmt: skip


@both
def test_passwords_and_keys_of_both_are_on_no_command_line(
    s3_server: Server, world: World, seed: Seed, restic: str, tmp_path: Path
) -> None:
    world.restic = restic
    second = {
        "location": s3_server.location(f"secret-{world.app}"),
        "password": SECOND,
        "environment": s3_server.environment,
    }
    world.run("backup_repository", copy_repository=second)["changed"]
    wrapper = Wrapper(world, restic)
    seen = tmp_path / "seen"
    wrapper.at("all", f'tr "\\0" " " < /proc/$$/cmdline >> {seen}; tr "\\0" "\\n" < /proc/$PPID/cmdline >> {seen}')
    made = world.run("backup", copy_repository=second)
    assert copy_of(made)["status"] == "copied"
    text = seen.read_text() + json.dumps(made.data)
    assert "copy" in text
    for secret in (SECOND, world.password, s3_server.password, s3_server.user):
        assert secret not in text


# Two accounts ----------------------------------------------------------------------------------------


def test_two_accounts_of_one_kind_are_refused_with_the_way_out(world: World, seed: Seed) -> None:
    """One restic has one environment."""
    world.environment = {"AWS_ACCESS_KEY_ID": "one-key-012", "AWS_SECRET_ACCESS_KEY": "one-secret-012"}
    second = {
        "location": "s3:http://127.0.0.1:1/b",
        "password": SECOND,
        "environment": {"AWS_ACCESS_KEY_ID": "other-key-012"},
    }
    for module in ("backup", "backup_repository", "backup_info"):
        refused = world.run(module, copy_repository=second)
        assert "different values of the environment variable AWS_ACCESS_KEY_ID" in refused.msg
        assert "rclone:NAME:PATH" in refused.msg
        assert "other-key-012" not in json.dumps(refused.data)
    same = {"location": str(world.repository), "password": SECOND}
    assert "are the same" in world.run("backup", copy_repository=same).msg
    assert world.snapshot_ids() == seed.snapshots


@both
def test_the_way_out_works(s3_server: Server, tmp_path: Path, restic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one S3 account to another, which is reached by way of rclone."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # rclone 1.60 cannot use one
    world = deployed(s3_server, tmp_path, restic)
    world.create_repository()
    with running(S3Server(tmp_path / "other", user="other-key-012", password="other-secret-0123")) as other:
        remote = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": f"http://127.0.0.1:{other.port}",
            "ACCESS_KEY_ID": other.user, "SECRET_ACCESS_KEY": other.password,
        }  # fmt: skip
        environment = {f"RCLONE_CONFIG_SECOND_{name}": value for name, value in remote.items()}
        second = {"location": "rclone:second:day2t/copy", "password": SECOND, "environment": environment}
        assert world.run("backup_repository", copy_repository=second)["changed"]
        made = world.run("backup", copy_repository=second)
        assert copy_of(made)["status"] == "copied", made.data
        assert other.password not in json.dumps(made.data)
        listing = subprocess.run(
            [world.restic, "snapshots", "--json", "--no-cache"], check=True, capture_output=True,
            env={**os.environ, **environment, "RESTIC_REPOSITORY": second["location"], "RESTIC_PASSWORD": SECOND},
        )  # fmt: skip
        assert len(json.loads(listing.stdout)) == 3
