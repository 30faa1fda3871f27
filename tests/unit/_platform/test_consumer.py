# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a datastore: found by variables, mounts and open files, without false alarms."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import consumer
from ansible_collections.day2.ops.plugins.module_utils._platform.consumer import (
    CONTAINER,
    TIMER,
    Consumer,
    Surroundings,
    Usage,
)
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Published

from .made import bind, container, volume

HERE = frozenset({"127.0.0.1", "::1", "192.0.2.10", "172.21.0.1"})
SERVER = container("db", address="172.21.0.2", aliases=["database"], published=[Published(3306, "127.0.0.1", 33306)])
IN_CONTAINER = Usage(hosts=SERVER.names, port=3306, database="booking", container=SERVER.id)
ON_HOST = Usage(hosts=("127.0.0.1", "localhost", "::1", "host1"), port=3306, database="booking")
ELSEWHERE = Usage(hosts=("db.example.org",), port=3306, database="booking")


def reason(env: dict[str, str], usage: Usage, **more: object) -> str:
    around = Surroundings(SERVER if usage.container else None, HERE)
    return consumer.variable_reason(env, usage, around, container("web", env=env, **more))  # type: ignore[arg-type]


def unit_reason(env: dict[str, str], usage: Usage) -> str:
    return consumer.variable_reason(env, usage, Surroundings(SERVER if usage.container else None, HERE))


@pytest.mark.parametrize(
    "env",
    [
        {"DATABASE_URL": "mysql+pymysql://u:p@db/booking"},
        {"DATABASE_URL": "mysql://u:p@database:3306/booking"},
        {"DATABASE_URL": "mysql://u:p@booking-db-1/booking?charset=utf8mb4"},
        {"DB_HOST": "172.21.0.2"},
        {"DB_HOST": "db", "DB_PORT": "3306"},
        {"MYSQL_HOST": "db"},
        {"DATABASE_URL": "mysql://u:p@host.docker.internal:33306/booking"},
        {"DATABASE_URL": "mysql://u:p@192.0.2.10:33306/booking"},
    ],
)
def test_a_container_whose_variables_point_to_a_servers_container_uses_it(env: dict[str, str]) -> None:
    assert reason(env, IN_CONTAINER)


@pytest.mark.parametrize(
    "env",
    [
        {"DATABASE_URL": "mysql://u:p@db/other_database"},
        {"DATABASE_URL": "mysql://u:p@other/booking"},
        {"DATABASE_URL": "mysql://u:p@db:3310/booking"},
        {"REDIS_URL": "redis://db:6379/0"},
        {"CELERY_BROKER": "amqp://db"},
        {"DATABASE_URL": "mysql://u:p@127.0.0.1/booking"},
        {"PUBLIC_URL": "https://db/booking"},
        {"DB_NAME": "db"},
        {"DATABASE_URL": "mysql://u:p@host.docker.internal/booking"},
    ],
)
def test_a_container_whose_variables_mean_something_else_does_not(env: dict[str, str]) -> None:
    assert reason(env, IN_CONTAINER) == ""


@pytest.mark.parametrize(
    ("env", "uses"),
    [
        ({"MONGODB_URI": "mongodb://u:p@db/shop?authSource=admin"}, True),
        ({"MONGODB_URI": "mongodb://u:p@other:27017,db:27017/shop"}, True),
        ({"MONGO_URL": "mongodb://root:p@db:27017/admin"}, True),
        ({"MONGO_URL": "mongodb://root:p@db:27017/?authSource=admin"}, True),
        ({"MONGO_HOST": "db"}, True),
        ({"MONGO_URL": "mongodb://u:p@db/another"}, False),
        ({"MONGO_URL": "mongodb://u:p@db:27018/shop"}, False),
        ({"DATABASE_URL": "mysql://u:p@db/shop"}, False),
    ],
)
def test_who_uses_a_mongodb_server(env: dict[str, str], uses: bool) -> None:
    assert bool(reason(env, Usage(hosts=SERVER.names, port=27017, database="shop", container=SERVER.id))) is uses


def test_names_count_only_on_a_shared_network() -> None:
    env = {"DATABASE_URL": "mysql://u:p@db/booking"}
    assert reason(env, IN_CONTAINER, network="another") == ""
    assert reason({"DB_HOST": "db"}, IN_CONTAINER, network="another") == ""


def test_links_extra_hosts_and_a_shared_network_namespace_count() -> None:
    env = {"DATABASE_URL": "mysql://u:p@sql/booking"}
    assert reason(env, IN_CONTAINER, links={"sql": "booking-db-1"})
    assert reason(env, IN_CONTAINER, network="another", mode="host", extra_hosts={"sql": "172.21.0.2"}) == ""
    assert reason(env, IN_CONTAINER, extra_hosts={"sql": "172.21.0.2"})
    assert reason({"DB_HOST": "localhost"}, IN_CONTAINER, mode=f"container:{SERVER.id}")
    assert reason({"DB_HOST": "localhost"}, IN_CONTAINER, mode="container:another") == ""


@pytest.mark.parametrize(
    ("env", "more"),
    [
        ({"DATABASE_URL": "mysql://u:p@host.docker.internal/booking"}, {}),
        ({"DATABASE_URL": "mysql://u:p@172.21.0.1:3306/booking"}, {}),
        ({"DATABASE_URL": "mysql://u:p@gate/booking"}, {"extra_hosts": {"gate": "host-gateway"}}),
        ({"DATABASE_URL": "mysql://u:p@localhost/booking"}, {"mode": "host"}),
        ({"DB_HOST": "127.0.0.1"}, {"mode": "host"}),
    ],
)
def test_a_container_that_reaches_a_server_on_the_host_uses_it(env: dict[str, str], more: dict[str, object]) -> None:
    assert reason(env, ON_HOST, **more)


@pytest.mark.parametrize(
    "env",
    [
        {"DATABASE_URL": "mysql://u:p@localhost/booking"},  # in a container that is the container itself
        {"DATABASE_URL": "mysql://u:p@127.0.0.1:3306/booking"},
        {"DATABASE_URL": "mysql://u:p@db/booking"},
        {"REDIS_HOST": "host.docker.internal"},
        {"SMTP_HOST": "172.21.0.1"},
    ],
)
def test_a_container_that_means_another_server_does_not(env: dict[str, str]) -> None:
    assert reason(env, ON_HOST) == ""


@pytest.mark.parametrize(
    ("env", "usage", "expected"),
    [
        ({"DATABASE_URL": "mysql://u:p@localhost/booking"}, ON_HOST, True),
        ({"DB_HOST": "localhost"}, ON_HOST, True),
        ({"DATABASE_URL": "mysql:///booking?unix_socket=/run/mysqld/mysqld.sock"}, ON_HOST, True),
        ({"DATABASE_URL": "mysql:///booking"}, ON_HOST, True),
        ({"DATABASE_URL": "postgresql:///booking"}, ON_HOST, False),
        ({"DATABASE_URL": "mysql:///booking?unix_socket=/srv/other.sock"}, ON_HOST, False),
        ({"REDIS_HOST": "localhost", "SMTP_HOST": "localhost"}, ON_HOST, False),
        ({"DATABASE_URL": "mysql://u:p@127.0.0.1:33306/booking"}, IN_CONTAINER, True),
        ({"DATABASE_URL": "mysql://u:p@172.21.0.2/booking"}, IN_CONTAINER, True),
        ({"DATABASE_URL": "mysql://u:p@db/booking"}, IN_CONTAINER, False),
        ({"DATABASE_URL": "mysql://u:p@db.example.org/booking"}, ELSEWHERE, True),
        ({"DATABASE_URL": "mysql://u:p@db.example.org/other"}, ELSEWHERE, False),
        ({"DATABASE_URL": "mysql://u:p@localhost/booking"}, ELSEWHERE, False),
    ],
)
def test_units_are_judged_by_their_variables(env: dict[str, str], usage: Usage, expected: bool) -> None:
    assert bool(unit_reason(env, usage)) is expected


def test_a_reason_names_the_variable_and_not_its_value() -> None:
    text = reason({"DATABASE_URL": "mysql://u:verysecret@db/booking"}, IN_CONTAINER)
    assert text == "its variable DATABASE_URL points to it"


def test_connections_are_looked_for_where_they_lead_to_the_server() -> None:
    around = Surroundings(SERVER, HERE)
    assert around.endpoints(IN_CONTAINER) == {("172.21.0.2", 3306), *((address, 33306) for address in HERE)}
    assert Surroundings(None, HERE).endpoints(ON_HOST) == {(address, 3306) for address in HERE}
    assert Surroundings(None, HERE).endpoints(ELSEWHERE) == {("db.example.org", 3306)}
    assert Surroundings(None, HERE).endpoints(Usage(paths=("/srv",))) == set()


def test_sockets_of_a_server_on_this_host() -> None:
    assert "/run/mysqld/mysqld.sock" in ON_HOST.sockets
    assert Usage(hosts=("/srv/pg",), port=5433).sockets == ("/srv/pg", "/srv/pg/.s.PGSQL.5433")
    assert ELSEWHERE.sockets == ()
    assert IN_CONTAINER.sockets == ()


# Mounts and files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "rw", "expected"),
    [
        ("uploads", True, True),
        ("uploads", False, True),  # after a rename it would go on with the old directory
        ("uploads/2026", True, True),
        ("uploads/2026", False, True),
        ("", True, True),
        ("", False, False),  # a monitor that mounts everything read-only sees the new directory
        ("uploads2", True, False),
        ("other", True, False),
    ],
)
def test_a_container_that_mounts_a_restored_path_uses_it(tmp_path: Path, source: str, rw: bool, expected: bool) -> None:
    for name in ("uploads/2026", "uploads2", "other"):
        (tmp_path / name).mkdir(parents=True)
    one = container("web", mounts=[bind(str(tmp_path / source), rw=rw)])
    assert bool(consumer.mount_reason(one, (str(tmp_path / "uploads"),))) is expected


def test_a_mount_through_a_symbolic_link_counts(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one = container("web", mounts=[bind(str(tmp_path / "link"))])
    assert consumer.mount_reason(one, (str(tmp_path / "real"),))


def test_a_volumes_reason_names_it() -> None:
    one = container("web", mounts=[volume("booking_uploads", "/app/uploads")])
    path = "/var/lib/docker/volumes/booking_uploads/_data"
    assert consumer.mount_reason(one, (path,)) == "it mounts booking_uploads at /app/uploads"
    assert consumer.mount_reason(container("web"), (path,)) == ""


def test_a_mounted_socket_counts() -> None:
    one = container("web", mounts=[bind("/run/mysqld", "/run/mysqld")])
    assert consumer.socket_mount_reason(one, ON_HOST.sockets)
    assert consumer.socket_mount_reason(container("web", mounts=[bind("/run/docker.sock")]), ON_HOST.sockets) == ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/uploads/a/b.jpg", True),
        ("/srv/uploads/a.jpg (deleted)", True),
        ("/srv/uploads", True),
        ("/srv/uploads2/a.jpg", False),
        ("/srv/app.db", True),
        ("/srv/app.db-wal", True),
        ("/srv/app.db.bak", False),
    ],
)
def test_open_files_count(path: str, expected: bool) -> None:
    assert bool(consumer.open_file_reason(path, ("/srv/uploads", "/srv/app.db"))) is expected


# The list -------------------------------------------------------------------------------------------


def test_each_consumer_is_listed_once_with_all_reasons() -> None:
    found = consumer.merged(
        [
            Consumer(CONTAINER, "web", "1", "it mounts x"),
            Consumer(CONTAINER, "web", "1", "it is connected to it"),
            Consumer(CONTAINER, "web", "1", "it is connected to it"),
            Consumer(TIMER, "x.timer", "x.timer"),
        ]
    )
    assert [str(one) for one in found] == ["container web: it mounts x; it is connected to it", "timer x.timer"]


def test_a_consumer_survives_the_journal() -> None:
    one = Consumer(CONTAINER, "web", "1", "it mounts x", again=False)
    assert Consumer.from_json(one.to_json()) == one
    assert Consumer.from_json({**one.to_json(), "of_a_later_version": 1}) == one
