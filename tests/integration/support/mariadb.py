# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB servers for tests: a private instance on this host, and a container. One database per test."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest

IMAGE = "day2-test/mariadb:10.11"
PASSWORD = "superuser-" + secrets.token_hex(6)
SETTINGS = (
    "--event-scheduler=ON",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--max-allowed-packet=32M",  # a value of 20 MB gets in, and its dump in hexadecimal does not
    "--performance-schema=OFF",
    "--character-set-server=utf8mb4",
    "--skip-name-resolve",
)


@dataclasses.dataclass(frozen=True)
class Mariadb:
    """A running server; `options` are what a datastore needs to reach it as its superuser."""

    kind: str  # host | container
    options: dict[str, Any]
    host: str  # as this test reaches it
    port: int
    socket: str = ""
    pid: int = 0
    home: Path | None = None

    def connect(
        self, database: str | None = None, user: str = "root", password: str = PASSWORD, **more: Any
    ) -> pymysql.Connection[Any]:
        """A connection over TCP, in autocommit mode."""
        values = {"charset": "utf8mb4", "autocommit": True, "connect_timeout": 10, **more}
        return pymysql.connect(
            host=self.host, port=self.port, database=database, user=user, password=password, **values
        )

    def run(self, *statements: str, database: str | None = None) -> None:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def value(self, statement: str, database: str | None = None) -> Any:
        return self.rows(statement, database)[0][0]

    def accepts(self, user: str, password: str) -> bool:
        try:
            self.connect(user=user, password=password).close()
        except pymysql.err.OperationalError:
            return False
        return True

    def databases(self) -> list[str]:
        return [row[0] for row in self.rows("SHOW DATABASES")]

    def sessions_of_tools(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT ID, INFO FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT /*!40001 SQL_NO_CACHE */%'"
        )

    def tools(self) -> list[str]:
        """Command lines of dump and load tools that run where the server is."""
        argv = ["pgrep", "-a", "-x", "mariadb|mariadb-dump"]
        if self.kind == "container":
            argv = ["docker", "top", self.options["container"], "-eo", "pid,comm,args"]
        printed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout
        marks = ("mariadb-dump", "mariadb --no-defaults")
        mine = [""] if self.kind == "container" else [f"--port={self.port}", f"--socket={self.socket}"]
        return [  # other workers have servers and tools of their own
            line
            for line in printed.splitlines()
            if any(mark in line for mark in marks) and any(one in line for one in mine)
        ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


def answers(server: Mariadb) -> bool:
    try:
        server.connect().close()
    except pymysql.err.MySQLError:
        return False
    return True


@contextlib.contextmanager
def host_server(*flags: str) -> Iterator[Mariadb]:
    """A private instance: own directory, socket and port, run as the system user mysql."""
    if not shutil.which("mariadbd"):
        pytest.fail("these tests need a MariaDB server on this host: apt-get install mariadb-server")
    user = pwd.getpwnam("mysql")
    home = Path(tempfile.mkdtemp(prefix="day2t-mariadb-"))
    home.chmod(0o755)
    shutil.chown(home, user.pw_uid, user.pw_gid)
    install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={home / 'data'}", "--skip-test-db"]
    subprocess.run(
        [*install, "--auth-root-authentication-method=normal"], check=True, stdout=subprocess.DEVNULL, timeout=120
    )
    first = home / "first.sql"
    first.write_text(
        "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\nFLUSH PRIVILEGES;\n"
        f"ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}';\n"
        f"CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n"
        "CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;\nGRANT ALL ON *.* TO mysql@localhost WITH GRANT OPTION;\n"
    )
    first.chmod(0o644)
    port, unix = free_port(), home / "server.sock"
    with (home / "log").open("wb") as output:
        process = subprocess.Popen(
            [
                *("mariadbd", "--no-defaults", f"--datadir={home / 'data'}", f"--socket={unix}", f"--port={port}"),
                *("--bind-address=127.0.0.1", f"--pid-file={home / 'pid'}", f"--init-file={first}", *SETTINGS, *flags),
            ],
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=home,
            stdout=output,
            stderr=output,
        )
    options = {"host": "127.0.0.1", "port": port, "user": "root", "password": PASSWORD}
    server = Mariadb("host", options, "127.0.0.1", port, str(unix), process.pid, home)
    try:
        wait_until(lambda: answers(server), what="the private MariaDB instance's answer")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def container_server(*settings: str, flags: Sequence[str] = ()) -> Iterator[Mariadb]:
    """A container like the official image's; `flags` for docker run."""
    name = f"day2t-mariadb-{secrets.token_hex(4)}"
    subprocess.run(
        ["docker", "run", "-d", "--name", name, "-e", "MARIADB_ROOT_PASSWORD", *flags, IMAGE, *SETTINGS, *settings],
        env={"MARIADB_ROOT_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    try:
        wait_until(lambda: inspected(name, "{{.State.Health.Status}}") == "healthy", 90, f"the health of {name}")
        address = inspected(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        options = {"container": name, "user": "root", "password": PASSWORD}
        server = Mariadb("container", options, address, 3306)
        wait_until(lambda: answers(server), what="the container's answer over TCP")
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)


def inspected(name: str, template: str) -> str:
    done = subprocess.run(
        ["docker", "inspect", "-f", template, name], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def mariadb_on_host() -> Iterator[Mariadb]:
    with host_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_in_container() -> Iterator[Mariadb]:
    with container_server() as server:
        yield server


@pytest.fixture(params=["host", pytest.param("container", marks=pytest.mark.docker)])
def mariadb(request: pytest.FixtureRequest) -> Mariadb:
    """Each of the two servers."""
    fixture = {"host": "mariadb_on_host", "container": "mariadb_in_container"}[request.param]
    server: Mariadb = request.getfixturevalue(fixture)
    return server


@pytest.fixture
def mariadb_database(mariadb: Mariadb) -> Iterator[str]:
    """The name of a database of this test's own on `mariadb`, which does not exist yet. Whatever the test
    leaves under names that begin with it, accounts too, and any scratch, is removed afterwards."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    remove(mariadb, name)


@pytest.fixture
def mariadb_database_on_host(mariadb_on_host: Mariadb) -> Iterator[str]:
    """The same for tests that need one server only."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    remove(mariadb_on_host, name)


def remove(server: Mariadb, prefix: str) -> None:
    left = [name for name in server.databases() if name.startswith((prefix, "day2_"))]
    server.run("SET foreign_key_checks = 0", *(f"DROP DATABASE `{name}`" for name in left))
    for user, host, role in server.rows("SELECT User, Host, is_role FROM mysql.user"):
        if user.startswith(prefix):
            server.run(f"DROP ROLE `{user}`" if role == "Y" else f"DROP USER `{user}`@`{host}`")
