# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real stores (S3, REST in append-only mode, SFTP to a second host), and stores that fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import NEW_RESTIC, end_processes_of
from tests.integration.support.stores import S3Server, Server, StoreWorld, deployed, running

pytestmark = [pytest.mark.stores, pytest.mark.sqlite, pytest.mark.files]

OLD, NEW = "restic", str(NEW_RESTIC)
both = pytest.mark.parametrize("restic", [OLD, NEW], ids=["0.14", "current"])
# Each store once, each restic at least once; the rest is a matrix.
CELLS = [
    pytest.param("s3_server", OLD, id="s3-0.14"),
    pytest.param("rest_server", NEW, id="rest-current"),
    pytest.param("sftp_host", OLD, marks=pytest.mark.docker, id="sftp-0.14"),
    pytest.param("s3_server", NEW, marks=pytest.mark.full, id="s3-current"),
    pytest.param("rest_server", OLD, marks=pytest.mark.full, id="rest-0.14"),
    pytest.param("sftp_host", NEW, marks=[pytest.mark.docker, pytest.mark.full], id="sftp-current"),
]


@pytest.fixture
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreWorld]:
    server, restic = request.param
    world = deployed(request.getfixturevalue(server), tmp_path, restic)
    yield world
    end_processes_of(world.key)


on_each = pytest.mark.parametrize(
    "there", [pytest.param(c.values, marks=c.marks, id=c.id) for c in CELLS], indirect=True
)


def no_secret(outcome: object, world: StoreWorld) -> None:
    assert world.server is not None
    text = json.dumps(getattr(outcome, "data", outcome))
    assert world.server.password not in text
    assert world.password not in text


@on_each
def test_the_main_job(there: StoreWorld) -> None:
    world = there
    assert world.run("backup", datastores=world.datastores()).msg.count("there is no repository"), (
        "made without being asked"
    )
    world.create_repository()
    assert not world.run("backup_repository")["changed"]
    earlier = {}
    for word in ("monday", "tuesday"):
        world.change(word)
        made = world.run("backup")
        no_secret(made, world)
        earlier[made["backup"]["id"]] = world.state()
    listed = world.run("backup_info", check="all")
    no_secret(listed, world)
    assert [one["id"] for one in listed["backups"]] == sorted(earlier, reverse=True)
    assert listed["repository"]["errors"] == []
    assert world.run("backup_verify")["verification"]["whole"]
    oldest, newest = earlier
    world.damage()
    world.restore(backup=oldest)["changed"]
    assert world.state() == earlier[oldest]
    removed = world.run("backup_retention", keep_last=1, prune=True)
    if world.server is not None and world.server.kind == "rest":
        assert "does not let this host remove anything: it is append-only" in removed.msg
        assert "leave it out on this host" in removed.msg
        assert {one["id"] for one in world.backups()} == set(earlier)
        assert all(one["complete"] for one in world.backups())
    else:
        assert removed["retention"]["remove"] == [oldest]
        assert [one["id"] for one in world.backups()] == [newest]
    world.restore(backup=newest)["changed"]
    assert world.state() == earlier[newest]
    world.is_clean()


# Getting in ------------------------------------------------------------------------------------------

WRONG = {
    "secret": {"AWS_SECRET_ACCESS_KEY": "wrong-secret-0123456789"},
    "key": {"AWS_ACCESS_KEY_ID": "unknown-key-0123456789"},
}


@both
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_s3_account_is_said_soon_and_no_repository_is_made(
    s3_server: Server, tmp_path: Path, restic: str, what: str
) -> None:
    """0.18 by itself tries again for a quarter of an hour; an unknown key "does not exist", which is no missing repository."""
    world = deployed(s3_server, tmp_path, restic)
    world.environment = WRONG[what]
    for module in ("backup_repository", "backup", "backup_info"):
        begun = time.monotonic()
        failed = world.run(module)
        assert "refuses the login" in failed.msg, module
        assert "repository.environment" in failed.msg
        assert time.monotonic() - begun < 20
        no_secret(failed, world)
    assert not world.repository.exists()


@both
def test_a_wrong_rest_password_is_said(rest_server: Server, tmp_path: Path, restic: str) -> None:
    world = deployed(rest_server, tmp_path, restic)
    repository = world.arguments("backup")["repository"]
    repository["location"] = repository["location"].replace(rest_server.password, "wrong-password")
    failed = world.run("backup_repository", repository=repository)
    assert "refuses the login" in failed.msg
    assert "401" in failed.msg
    assert "wrong-password" not in json.dumps(failed.data)


@pytest.mark.docker
@both
def test_a_host_that_does_not_let_us_in_is_said(sftp_host: Server, tmp_path: Path, restic: str) -> None:
    world = deployed(sftp_host, tmp_path, restic)
    command = sftp_host.options["extended"]["sftp.command"].replace("/key ", "/known_hosts ")
    world.options = {"extended": {"sftp.command": command}}
    failed = world.run("backup_repository")
    assert "cannot be reached" in failed.msg
    assert "damaged" not in failed.msg


@both
def test_a_server_that_says_nothing_is_waited_for_no_longer_than_allowed(tmp_path: Path, restic: str) -> None:
    with running(S3Server(tmp_path / "server")) as server:
        world = deployed(server, tmp_path, restic)
        world.timeout = 2
        server.pause()
        begun = time.monotonic()
        failed = world.run("backup_info")
        assert "did not answer within 2 s" in failed.msg
        assert "repository.timeout" in failed.msg
        assert time.monotonic() - begun < 20
        server.resume()


# Gone in the middle ----------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize(
    ("restic", "verb"),
    [
        (OLD, "backup-1"),
        (NEW, "backup-2"),
        pytest.param(NEW, "backup-1", marks=pytest.mark.full),
        pytest.param(OLD, "backup-2", marks=pytest.mark.full),
        pytest.param(NEW, "backup-3", marks=pytest.mark.full),
    ],
)
def test_a_store_that_is_gone_in_the_middle_fails_the_backup_and_nothing_else(
    tmp_path: Path, restic: str, verb: str
) -> None:
    with running(S3Server(tmp_path / "server")) as server:
        world = deployed(server, tmp_path, restic)
        world.create_repository()
        world.change("monday")
        earlier = {world.backup(): world.state()}
        world.change("tuesday")
        world.add_orders("large", 5000)
        world.timeout = 3
        wrapper = Wrapper(world, restic)
        wrapper.at(verb, faults.when(faults.any_file(world.repository / "locks"), f"kill -9 {server.pid}"))
        failed = world.run("backup")
        assert "cannot be reached" in failed.msg
        assert "earlier backups are untouched" in failed.msg
        wrapper.calm()
        server.start()
        world.restic, world.timeout = restic, 60
        world.holds_up(earlier)
