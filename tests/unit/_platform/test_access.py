# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way into a server: which address, which socket, which password."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore
from ansible_collections.day2.ops.plugins.module_utils._core.place import ContainerPlace, HostPlace
from ansible_collections.day2.ops.plugins.module_utils._platform import access
from ansible_collections.day2.ops.plugins.module_utils._platform.access import Access
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container

from .made import container


class Docker:
    """Stands in for the engine: these containers, these networks' drivers."""

    def __init__(self, *containers: Container, driver: str = "bridge") -> None:
        self.known = containers
        self.driver = driver

    def __call__(self) -> Docker:
        return self

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def find(self, reference: str) -> Container:
        return next(one for one in self.known if reference in (one.name, one.reference))

    def inspect(self, identifier: str) -> Container | None:
        return next((one for one in self.known if one.id == identifier), None)

    def network_driver(self, network_id: str) -> str:
        return self.driver


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, warnings: list[str]) -> Context:
    return Context(App("booking", "production"), tmp_path, warnings.append)


def resolve(context: Context, port: int = 3306, application: Application | None = None, **options: Any) -> Access:
    return access.resolve(Datastore("main", "mariadb", options=options), context, application or Application(), port)


def in_container(monkeypatch: pytest.MonkeyPatch, *containers: Container, driver: str = "bridge") -> None:
    monkeypatch.setattr(access, "Docker", Docker(*containers, driver=driver))


DB = dataclasses.replace(container("db", address="172.21.0.2", aliases=["database"]), labels={})


def test_a_container_is_reached_at_its_address(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    in_container(monkeypatch, DB)
    way = resolve(context, container="booking-db-1", user="root", password="long-enough-1", database="booking")
    assert way.place == ContainerPlace(context, DB.id, DB.name, None)
    assert (way.host, way.port, way.socket) == ("172.21.0.2", 3306, None)
    assert (way.tool_host, way.tool_port, way.tool_socket) == (None, None, None)
    assert (way.user, way.password, way.database, way.container) == ("root", "long-enough-1", "booking", DB.id)
    assert set(way.hosts) == {"booking-db-1", "db", "database", "172.21.0.2"}
    assert "long-enough-1" in context.secrets.values
    assert "long-enough-1" not in repr(way)


def test_a_container_without_a_bridge_is_reached_through_its_socket(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_container(monkeypatch, DB, driver="macvlan")
    (tmp_path / "run" / "mysqld").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("/run")
    monkeypatch.setattr(access, "container_root", lambda one: tmp_path)
    with pytest.raises(Unavailable, match=r"no network address, and no socket was found.*option socket"):
        resolve(context, container="booking-db-1")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "run" / "mysqld" / "mysqld.sock"))
        way = resolve(context, container="booking-db-1")
        assert (way.host, way.port, way.socket) == (None, None, str(tmp_path / "run" / "mysqld" / "mysqld.sock"))
        assert way.tool_socket is None
        named = resolve(context, container="booking-db-1", socket="/var/run/mysqld/mysqld.sock")
        assert (named.socket, named.tool_socket) == (way.socket, "/var/run/mysqld/mysqld.sock")
    with pytest.raises(Unavailable, match=r"there is no socket /run/x\.sock in container booking-db-1"):
        resolve(context, container="booking-db-1", socket="/run/x.sock")


def test_a_container_on_the_hosts_network_is_reached_at_loopback(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_container(monkeypatch, dataclasses.replace(DB, network_mode="host", networks=()))
    assert resolve(context, container="booking-db-1").host == "127.0.0.1"


def test_a_container_in_anothers_network_is_reached_there(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = container("gate", address="172.21.0.7")
    in_container(monkeypatch, dataclasses.replace(DB, network_mode=f"container:{gate.id}", networks=()), gate)
    assert resolve(context, container="booking-db-1").host == "172.21.0.7"


def test_a_server_on_the_host_is_reached_at_loopback(context: Context) -> None:
    way = resolve(context, user="booking", password="long-enough-1")
    assert way.place == HostPlace(context, None)
    assert (way.host, way.port, way.socket) == ("127.0.0.1", 3306, None)
    assert (way.tool_host, way.tool_port) == ("127.0.0.1", 3306)
    assert {"127.0.0.1", "localhost", "::1"} <= set(way.hosts)


def test_a_given_host_and_port_are_taken(context: Context) -> None:
    way = resolve(context, host="db.example.org", password="long-enough-1")
    assert (way.host, way.port, way.hosts) == ("db.example.org", 3306, ("db.example.org",))
    assert way.container is None


def test_run_as_goes_by_the_socket(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(access, "SOCKETS", {5432: (str(tmp_path),)})
    with pytest.raises(Unavailable, match="no socket of a server with port 5432"):
        resolve(context, 5432, run_as="postgres")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        way = resolve(context, 5432, run_as="postgres")
    assert way.place == HostPlace(context, "postgres")
    assert (way.host, way.socket, way.tool_socket) == (None, str(tmp_path), str(tmp_path))
    assert str(tmp_path) in way.hosts


def test_without_a_password_the_socket_comes_first(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(access, "SOCKETS", {3306: (str(tmp_path / "m.sock"),)})
    assert resolve(context, user="root").host == "127.0.0.1"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "m.sock"))
        assert resolve(context, user="root").socket == str(tmp_path / "m.sock")
        assert resolve(context, user="root", password="long-enough-1").host == "127.0.0.1"


def env_file(tmp_path: Path, text: str) -> Application:
    (tmp_path / "x.env").write_text(text)
    return Application(env_files=(str(tmp_path / "x.env"),))


def test_a_url_gives_what_is_not_given(context: Context, tmp_path: Path) -> None:
    application = env_file(tmp_path, "DATABASE_URL='mysql+pymysql://u:p%40ss-word@db.example.org:3307/booking'\n")
    way = resolve(context, application=application, password_url="DATABASE_URL")
    assert (way.user, way.password, way.database) == ("u", "p@ss-word", "booking")
    assert (way.host, way.port) == ("db.example.org", 3307)
    assert {"p@ss-word", "p%40ss-word"} <= context.secrets.values
    given = resolve(
        context, application=application, password_url="DATABASE_URL", host="10.0.0.7", user="root", database="other"
    )
    assert (given.host, given.port, given.user, given.database) == ("10.0.0.7", 3306, "root", "other")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mysql://u@db/x", "the URL in DATABASE_URL holds no password"),
        ("just-a-password", "the value of DATABASE_URL is not a URL"),
    ],
)
def test_a_url_without_a_password_is_refused(context: Context, tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as error:
        resolve(context, application=env_file(tmp_path, f"DATABASE_URL={value}\n"), password_url="DATABASE_URL")
    assert value not in str(error.value)


@pytest.mark.parametrize(
    ("password", "words"),
    [("short12", "fewer than 8 characters"), ("production", "equals a name that is in use")],
)
def test_a_weak_password_earns_a_warning_that_does_not_show_it(
    context: Context, warnings: list[str], password: str, words: str
) -> None:
    resolve(context, host="db.example.org", password=password)
    assert len(warnings) == 1
    assert words in warnings[0]
    assert password not in warnings[0]


def test_a_good_password_and_none_at_all_earn_none(context: Context, warnings: list[str]) -> None:
    resolve(context, host="db.example.org", password="long-enough-1")
    resolve(context, host="db.example.org")
    assert warnings == []
