# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL servers for tests: containers, and the same server with MySQL's tools on this host."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.support import mariadb
from tests.integration.support.mariadb import PASSWORD, Mariadb, wait_until

IMAGE = "day2-test/mysql:9"
ROOT = Path(__file__).parents[3]
TOOLS = ROOT / ".venv" / "mysql" / "bin"
SETTINGS = (
    "--event-scheduler=ON",
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-binlog=0",
    "--innodb-buffer-pool-size=64M",
    "--max-allowed-packet=32M",
    "--performance-schema=OFF",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
)


@dataclasses.dataclass(frozen=True)
class Mysql(Mariadb):
    """A running MySQL server. `kind` is `host` where the tools of this host are used for it."""

    def tools(self) -> list[str]:
        argv = ["pgrep", "-a", "-f", "mysqldump|mysql --no-defaults"]
        if self.kind == "container":
            argv = ["docker", "top", self.options["container"], "-eo", "pid,comm,args"]
        printed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout
        marks = ("mysqldump --no-defaults", "mysql --no-defaults")
        return [
            line
            for line in printed.splitlines()
            if any(mark in line for mark in marks)
            and "docker exec" not in line
            and (self.kind == "container" or f"--host={self.host}" in line)  # other workers have tools of their own
        ]


@contextlib.contextmanager
def container_server(*settings: str, flags: Sequence[str] = ()) -> Iterator[Mysql]:
    """A container like the official image's; `flags` for docker run."""
    name = f"day2t-mysql-{secrets.token_hex(4)}"
    subprocess.run(
        ["docker", "run", "-d", "--name", name, "-e", "MYSQL_ROOT_PASSWORD", *flags, IMAGE, *SETTINGS, *settings],
        env={"MYSQL_ROOT_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    try:
        wait_until(
            lambda: mariadb.inspected(name, "{{.State.Health.Status}}") == "healthy", 300, f"the health of {name}"
        )
        address = mariadb.inspected(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        server = Mysql("container", {"container": name, "user": "root", "password": PASSWORD}, address, 3306)
        wait_until(lambda: mariadb.answers(server), what="the container's answer over TCP")
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="session")
def mysql_in_container() -> Iterator[Mysql]:
    with container_server() as server:
        yield server


@pytest.fixture
def mysql_from_host(mysql_in_container: Mysql, monkeypatch: pytest.MonkeyPatch) -> Mysql:
    """The same server as one of another machine is reached: by its address, with MySQL's tools on this host."""
    subprocess.run([ROOT / "tests" / "testbed" / "mysql-tools.sh"], check=True, timeout=300)
    monkeypatch.setenv("PATH", f"{TOOLS}:{os.environ['PATH']}")
    server = mysql_in_container
    options = {"host": server.host, "port": server.port, "user": "root", "password": PASSWORD}
    return Mysql("host", options, server.host, server.port)


@pytest.fixture(params=["container", "host"])
def mysql(request: pytest.FixtureRequest) -> Mysql:
    """With the tools in the server's container, and with those of this host."""
    fixture = {"container": "mysql_in_container", "host": "mysql_from_host"}[request.param]
    server: Mysql = request.getfixturevalue(fixture)
    return server


@pytest.fixture
def mysql_database(mysql_in_container: Mysql) -> Iterator[str]:
    """The name of a database of this test's own, which does not exist yet. Whatever the test leaves under names
    that begin with it, accounts too, and any scratch, is removed afterwards."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    remove(mysql_in_container, name)


def remove(server: Mysql, prefix: str) -> None:
    left = [name for name in server.databases() if name.startswith((prefix, "day2_"))]
    server.run("SET foreign_key_checks = 0", *(f"DROP DATABASE `{name}`" for name in left))
    for user, host in server.rows("SELECT User, Host FROM mysql.user"):
        if user.startswith(prefix):
            server.run(f"DROP USER `{user}`@`{host}`")
