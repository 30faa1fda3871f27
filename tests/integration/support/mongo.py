# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that speaks MongoDB's protocol, in a container, with its tools in there or on this host. One
database per test."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from bson import json_util
from pymongo.errors import PyMongoError

from tests.integration.support.mariadb import wait_until
from tests.integration.support.modules import ROOT

IMAGE = "day2-test/mongo:7"
TOOLS = ROOT / ".venv" / "mongo" / "bin"
PASSWORD = "superuser/" + secrets.token_hex(6)  # with a character that a URL must not hold as it is


@dataclasses.dataclass(frozen=True)
class MongoServer:
    """A running server; `options` are what a datastore needs to reach it as its superuser."""

    kind: str  # where its tools run: host | container
    options: dict[str, Any]
    container: str
    address: str
    port: int = 27017

    def client(self, user: str = "root", password: str = PASSWORD) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(
            self.address,
            self.port,
            username=user,
            password=password,
            directConnection=True,
            serverSelectionTimeoutMS=3000,
            datetime_conversion="DATETIME_AUTO",
        )

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[Any]:
        client = self.client()
        try:
            yield client[name]
        finally:
            client.close()

    def accepts(self, user: str, password: str) -> bool:
        client = self.client(user, password)
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
        finally:
            client.close()
        return True

    def collections(self, database: str) -> list[str]:
        with self.database(database) as found:
            return sorted(found.list_collection_names())

    def databases(self) -> list[str]:
        client = self.client()
        try:
            return client.list_database_names()
        finally:
            client.close()

    def tools(self, database: str) -> list[str]:
        """Command lines of tools that run where the server is, and work on a database or from one."""
        argv = ["pgrep", "-a", "-x", "mongodump|mongorestore"]
        if self.kind == "container":
            argv = ["docker", "top", self.container, "-eo", "pid,comm,args"]
        printed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout
        return [line for line in printed.splitlines() if "--config" in line and database in line]


def content(server: MongoServer, database: str) -> dict[str, Any]:
    """Every document byte for byte in the order of _id, every index, every option."""
    found: dict[str, Any] = {}
    with server.database(database) as opened:
        for one in sorted(opened.list_collections(), key=lambda one: str(one["name"])):
            name = one["name"]
            raw = b"".join(opened[name].find_raw_batches({}, sort=[("_id", 1)]))
            indexes = [json_util.dumps(index) for index in opened[name].list_indexes()]
            found[name] = (one["type"], json_util.dumps(one["options"]), raw, sorted(indexes))
    return found


def _answers(server: MongoServer) -> bool:
    return server.accepts("root", PASSWORD)


@contextlib.contextmanager
def container_server(*flags: str) -> Iterator[MongoServer]:
    """A container like the official image's; `flags` for docker run."""
    name = f"day2t-mongo-{secrets.token_hex(4)}"
    values = {"MONGO_INITDB_ROOT_USERNAME": "root", "MONGO_INITDB_ROOT_PASSWORD": PASSWORD, "MONGO_FSYNC": "off"}
    variables = [word for key in values for word in ("-e", key)]
    subprocess.run(
        ["docker", "run", "-d", "--name", name, *variables, *flags, IMAGE],
        env={**values, "PATH": os.environ["PATH"]},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    try:
        wait_until(lambda: inspected(name, "{{.State.Health.Status}}") == "healthy", 120, f"the health of {name}")
        address = inspected(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        options = {"container": name, "user": "root", "password": PASSWORD}
        server = MongoServer("container", options, name, address)
        wait_until(lambda: _answers(server), 60, what="the container's answer")
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)


def from_host(server: MongoServer) -> MongoServer:
    """The same server, as one elsewhere whose tools run on this host."""
    options = {"host": server.address, "user": "root", "password": PASSWORD}
    return dataclasses.replace(server, kind="host", options=options)


def inspected(name: str, template: str) -> str:
    done = subprocess.run(
        ["docker", "inspect", "-f", template, name], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def tools_on_path() -> None:
    """No Debian has MongoDB's tools: those of the test bed serve this host."""
    if not (TOOLS / "mongodump").exists():
        pytest.fail("these tests need mongodump on this host: tests/testbed/mongo.sh")
    if str(TOOLS) not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{TOOLS}"


@pytest.fixture(scope="session")
def mongo_in_container() -> Iterator[MongoServer]:
    with container_server() as server:
        yield server


@pytest.fixture(scope="session")
def mongo_on_host(mongo_in_container: MongoServer) -> MongoServer:
    tools_on_path()
    return from_host(mongo_in_container)


@pytest.fixture(params=["host", "container"])
def mongo(request: pytest.FixtureRequest) -> MongoServer:
    """The server with its tools in each of the two places."""
    server: MongoServer = request.getfixturevalue(
        {"host": "mongo_on_host", "container": "mongo_in_container"}[request.param]
    )
    return server


@pytest.fixture
def mongo_database(mongo: MongoServer) -> Iterator[str]:
    """The name of a database of this test's own on `mongo`, which does not exist yet."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    remove(mongo, name)


@pytest.fixture
def mongo_database_in_container(mongo_in_container: MongoServer) -> Iterator[str]:
    """The same for tests that need one place only."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    remove(mongo_in_container, name)


def remove(server: MongoServer, prefix: str) -> None:
    client = server.client()
    try:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)
    finally:
        client.close()
