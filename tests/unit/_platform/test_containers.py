# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers: what Docker answered is understood, and a user's name finds the one that is meant."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import containers
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container, Listed, Volume

DATA = Path(__file__).parent / "data"
RECORDED: dict[str, Any] = json.loads((DATA / "inspect-20.10.json").read_text())
LISTED = [containers.parse_listed(entry) for entry in json.loads((DATA / "list-20.10.json").read_text())]


def recorded(name: str) -> Container:
    return containers.parse(RECORDED[name])


def listed(name: str, state: str = "running", service: str = "", number: int = 1, oneoff: bool = False) -> Listed:
    labels = {}
    if service:
        project, _, short = service.partition("/")
        labels = {
            "com.docker.compose.project": project,
            "com.docker.compose.service": short,
            "com.docker.compose.oneoff": str(oneoff),
            "com.docker.compose.container-number": str(number),
        }
    return Listed(f"id-of-{name}", name, state, labels)


def test_a_database_container_is_understood() -> None:
    db = recorded("db")
    assert (db.name, db.state, db.running, db.health, db.pid) == ("booking-db-1", "running", True, "healthy", 17505)
    assert (db.project, db.service, db.reference, db.oneoff) == ("booking", "db", "booking/db", False)
    assert db.env["MARIADB_ROOT_PASSWORD"] == "root-pw-123"
    assert db.addresses == ("172.21.0.2",)
    assert db.names == ("booking-db-1", "db", "database", "a4305cf18756")
    assert db.image == "mariadb:10.11"
    assert db.image_id.startswith("sha256:8cb3afdc")
    assert [(one.port, one.host_address, one.host_port) for one in db.published] == [(3306, "127.0.0.1", 33306)]
    assert [(one.type, one.volume, one.destination, one.rw) for one in db.mounts] == [
        ("bind", "", "/etc/mysql/conf.d/my.cnf", False),
        ("volume", "booking_data", "/var/lib/mysql", True),
    ]


def test_secrets_do_not_show_when_a_container_is_printed() -> None:
    assert "root-pw-123" not in repr(recorded("db"))


def test_extra_hosts_tmpfs_and_restart_policy_are_understood() -> None:
    web = recorded("web")
    assert web.extra_hosts == {"host.docker.internal": "host-gateway", "old": "10.1.2.3"}
    assert web.tmpfs == ("/tmp/cache",)
    assert web.restart_policy == "unless-stopped"
    assert web.health == ""


def test_a_newer_engines_answer_is_understood() -> None:
    # Docker 26 and newer list names for DNS apart from the aliases; a stopped container has no address.
    answer = json.loads(json.dumps(RECORDED["db"]))
    network = answer["NetworkSettings"]["Networks"]["booking_inner"]
    network.update({"Aliases": ["database"], "DNSNames": ["booking-db-1", "db", "a4305cf18756"], "IPAddress": ""})
    answer["State"].update({"Status": "exited", "ExitCode": 137, "Pid": 0})
    answer["NetworkSettings"]["Ports"] = {"3306/tcp": None}
    answer["HostConfig"].update({"ExtraHosts": ["v6=[fd00::1]"], "Tmpfs": None})
    db = containers.parse(answer)
    assert db.names == ("booking-db-1", "db", "database", "a4305cf18756")
    assert db.addresses == ()
    assert db.published == ()
    assert db.extra_hosts == {"v6": "fd00::1"}
    assert (db.running, db.exit_code) == (False, 137)


def test_links_are_understood() -> None:
    answer = json.loads(json.dumps(RECORDED["web"]))
    answer["NetworkSettings"]["Networks"]["booking_inner"]["Links"] = ["booking-db-1:sql"]
    assert containers.parse(answer).networks[0].links == {"sql": "booking-db-1"}


def test_a_path_inside_is_found_on_the_host_by_its_innermost_mount() -> None:
    db = recorded("db")
    assert db.host_path("/var/lib/mysql/booking") == Path("/var/lib/docker/volumes/booking_data/_data/booking")
    assert db.host_path("/var/lib/mysqlx") is None
    nested = dataclasses.replace(
        db, mounts=(*db.mounts, containers.Mount("bind", "/mnt/fast", "/var/lib/mysql/fast", True))
    )
    assert nested.host_path("/var/lib/mysql/fast/t.ibd") == Path("/mnt/fast/t.ibd")


def test_a_listing_gives_the_containers_own_name_not_a_links() -> None:
    entry = {"Id": "f" * 64, "Names": ["/web/db", "/db"], "State": "running", "Labels": None}
    assert containers.parse_listed(entry).name == "db"


def test_a_one_off_container_is_not_the_service() -> None:
    assert {one.reference for one in LISTED if one.oneoff} == {one.name for one in LISTED if one.oneoff} != set()
    assert [one.name for one in containers.matching("booking/db", LISTED)] == ["booking-db-1"]


def test_a_running_replica_comes_before_a_stopped_one() -> None:
    known = [
        listed("booking-db-1", "exited", "booking/db", 1),
        listed("booking-db-10", "running", "booking/db", 10),
        listed("booking-db-2", "running", "booking/db", 2),
    ]
    assert [one.name for one in containers.matching("booking/db", known)] == [
        "booking-db-2",
        "booking-db-10",
        "booking-db-1",
    ]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("bokking/db", "booking/db"),
        ("booking/dbb", "booking/db"),
        ("db", "booking/db"),
        ("booking-db-2", "booking-db-1"),
    ],
)
def test_a_missing_container_is_named_with_the_nearest_that_exist(reference: str, expected: str) -> None:
    error = str(containers.missing(reference, LISTED))
    assert f'"{reference}"' in error
    assert expected in error.partition("Did you mean")[2]


def test_where_nothing_is_near_what_there_is_gets_listed() -> None:
    assert "There are: booking" in str(containers.missing("zzzzz", LISTED))
    assert "no containers at all" in str(containers.missing("db", []))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("exited", "is not running but exited (it ended with 1). Start it"),
        ("paused", "docker unpause"),
        ("restarting", "starts over and over"),
    ],
)
def test_a_stopped_container_is_told_apart_from_a_missing_one(state: str, words: str) -> None:
    assert words in str(containers.not_running(listed("db", state), 1))


def test_a_volume_that_is_a_bind_mount_is_found_where_its_data_are() -> None:
    mountpoint = Path("/var/lib/docker/volumes/x/_data")
    plain = Volume("x", "local", mountpoint, {})
    bind = Volume("x", "local", mountpoint, {"type": "none", "o": "bind", "device": "/srv/x"})
    nfs = Volume("x", "local", mountpoint, {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/x"})
    assert [plain.path, bind.path, nfs.path] == [mountpoint, Path("/srv/x"), mountpoint]
    assert [plain.mounted_on_demand, bind.mounted_on_demand, nfs.mounted_on_demand] == [False, False, True]
    assert Volume("x", "rexray", mountpoint, {}).mounted_on_demand
