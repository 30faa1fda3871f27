# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL servers for tests: a private instance on this host, and a container. One database per test."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

IMAGE = "day2-test/postgres:15"
PASSWORD = "superuser-" + secrets.token_hex(6)
# wal_level: logical replication slots are one of the things that a restore must notice.
SETTINGS = ("fsync=off", "wal_level=logical", "max_prepared_transactions=4", "log_statement=all", "lc_messages=C")


@dataclasses.dataclass(frozen=True)
class Postgres:
    """A running server; `options` are what a datastore needs to reach it as its superuser."""

    kind: str  # host | container
    options: dict[str, Any]
    host: str  # as this test reaches it
    port: int
    log: Path | None = None

    def connect(self, database: str = "postgres", user: str = "postgres", password: str = PASSWORD, **more: Any) -> Any:
        """A connection over TCP, in autocommit mode."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user,
            password=password,
            autocommit=True,
            connect_timeout=10,
            **more,
        )

    def run(self, statement: str, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            connection.execute(statement)

    def rows(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            return list(connection.execute(statement).fetchall())

    def value(self, statement: str, database: str = "postgres") -> Any:
        return self.rows(statement, database)[0][0]

    def accepts(self, user: str, password: str, database: str) -> bool:
        try:
            self.connect(database, user, password).close()
        except psycopg.OperationalError:
            return False
        return True

    def databases(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT datname FROM pg_database ORDER BY 1")]

    def drop(self, database: str) -> None:
        self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)).as_string())

    def pg_dump(self, database: str, *flags: str) -> str:
        """A plain dump by the server's own tool, as an independent witness of what a database holds."""
        argv = ["pg_dump", "--username=postgres", "--no-password", *flags, database]
        if self.kind == "container":
            argv = ["docker", "exec", self.options["container"], *argv]
        else:
            argv[1:1] = ["--host", self.host, "--port", str(self.port)]
        environment = {"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=300)
        # The token of \restrict is random.
        lines = done.stdout.decode().splitlines()
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, seconds: float = 30, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


def _answers(server: Postgres) -> bool:
    try:
        server.connect().close()
    except psycopg.OperationalError:
        return False
    return True


def server_programs() -> Path:
    """Where this host's newest PostgreSQL server is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.fail("these tests need a PostgreSQL server on this host: apt-get install postgresql")
    return found[-1].parent


@contextlib.contextmanager
def host_server() -> Iterator[Postgres]:
    """A private instance: own directory, socket and port, run as the system user postgres."""
    programs, user = server_programs(), pwd.getpwnam("postgres")
    home = Path(tempfile.mkdtemp(prefix="day2t-postgres-"))
    home.chmod(0o755)
    shutil.chown(home, user.pw_uid, user.pw_gid)
    port = free_port()
    secret = home / "password"
    secret.write_text(PASSWORD)
    shutil.chown(secret, user.pw_uid, user.pw_gid)
    authentication = ("--username=postgres", "--auth-local=peer", "--auth-host=scram-sha-256", f"--pwfile={secret}")
    subprocess.run(
        [programs / "initdb", "-D", home / "data", *authentication, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
        user=user.pw_uid,
        group=user.pw_gid,
        cwd=home,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        with _running(home, "data", port) as server:
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def standby_of(server: Postgres) -> Iterator[Postgres]:
    """A hot standby of the private instance on this host."""
    home, port = Path(server.options["socket"]), free_port()
    argv = [
        "pg_basebackup",
        "-h",
        home,
        "-p",
        str(server.port),
        "-D",
        home / "standby",
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    ]
    subprocess.run([*_AS_POSTGRES, server_programs() / argv[0], *argv[1:]], cwd=home, check=True, timeout=120)
    try:
        with _running(home, "standby", port) as standby:
            yield standby
    finally:
        shutil.rmtree(home / "standby", ignore_errors=True)


# What is started this way ends with this process, however that ends.
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=INT")


@contextlib.contextmanager
def _running(home: Path, data: str, port: int) -> Iterator[Postgres]:
    flags = [f"unix_socket_directories={home}", f"port={port}", "listen_addresses=127.0.0.1", *SETTINGS]
    log = home / f"{data}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(*_AS_POSTGRES, server_programs() / "postgres", "-D", home / data),
                *(part for flag in flags for part in ("-c", flag)),
            ],
            cwd=home,
            stdout=output,
            stderr=output,
        )
    server = Postgres("host", {"socket": str(home), "port": port, "run_as": "postgres"}, "127.0.0.1", port, log)
    try:
        wait_until(lambda: _answers(server), what="the private PostgreSQL instance's answer")
        yield server
    finally:
        process.send_signal(2)  # fast shutdown
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def container_server(*flags: str) -> Iterator[Postgres]:
    """A container like the official image's; `flags` for docker run."""
    name = f"day2t-postgres-{secrets.token_hex(4)}"
    arguments = [part for setting in SETTINGS for part in ("-c", setting)]
    subprocess.run(
        ["docker", "run", "-d", "--name", name, "-e", "POSTGRES_PASSWORD", *flags, IMAGE, "postgres", *arguments],
        env={"POSTGRES_PASSWORD": PASSWORD, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    try:
        wait_until(lambda: _inspect(name, "{{.State.Health.Status}}") == "healthy", 60, f"the health of {name}")
        address = _inspect(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        server = Postgres("container", {"container": name, "user": "postgres", "password": PASSWORD}, address, 5432)
        wait_until(lambda: _answers(server), what="the container's answer over TCP")
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)


def _inspect(name: str, template: str) -> str:
    done = subprocess.run(
        ["docker", "inspect", "-f", template, name], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def postgres_on_host() -> Iterator[Postgres]:
    with host_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_in_container() -> Iterator[Postgres]:
    with container_server() as server:
        yield server


@pytest.fixture(params=["host", pytest.param("container", marks=pytest.mark.docker)])
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """Each of the two servers."""
    fixture = {"host": "postgres_on_host", "container": "postgres_in_container"}[request.param]
    server: Postgres = request.getfixturevalue(fixture)
    return server


# For what does not depend on where the server is: the container's turn is in the long matrix only.
ON_HOST = pytest.mark.parametrize(
    "postgres", ["host", pytest.param("container", marks=[pytest.mark.docker, pytest.mark.full])], indirect=True
)


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The name of a database of this test's own on `postgres`, which does not exist yet. Whatever the test
    leaves under names that begin with it, roles too, and any scratch, is removed afterwards."""
    name = f"t{secrets.token_hex(4)}"
    yield name
    remove(postgres, name)


def remove(server: Postgres, prefix: str) -> None:
    """Everything that a test left: sessions, databases whose names begin with `prefix`, scratch, roles."""
    # First the sessions: one that stands still in a COPY keeps every DROP DATABASE waiting.
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'day2-%'")
    for name in server.databases():
        if name.startswith((prefix, "day2_")):
            with server.connect() as admin:
                slots = admin.execute(
                    "SELECT slot_name FROM pg_replication_slots WHERE database = %s", (name,)
                ).fetchall()
                for (slot,) in slots:
                    admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            server.drop(name)
    for (role,) in server.rows(f"SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{prefix}')"):
        server.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)).as_string())
