# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private database servers on the host, with the servers' own default durability."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import rows

PASSWORD = "benchmark-only-password"
SOURCE, TARGET = "bench", "bench_restored"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(argv: Sequence[str], user: pwd.struct_passwd, home: Path, server: MariaDB | PostgreSQL) -> Iterator[None]:
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(argv, user=user.pw_uid, group=user.pw_gid, cwd=home, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                server.sql("SELECT 1")
                break
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"{server.name} did not start: {(home / 'log').read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _home(user: str) -> Iterator[tuple[Path, pwd.struct_passwd]]:
    account = pwd.getpwnam(user)
    home = Path(tempfile.mkdtemp(prefix="day2-bench-", dir=os.environ.get("TMPDIR")))
    home.chmod(0o755)
    shutil.chown(home, account.pw_uid, account.pw_gid)
    try:
        yield home, account
    finally:
        shutil.rmtree(home, ignore_errors=True)


class MySQLFamily:
    """What MariaDB on the host and MySQL in a container share: SQL, rows, and the tools' flags."""

    name: str
    filename = "main.sql"
    into = {"database": TARGET}
    environment = {"MYSQL_PWD": PASSWORD}
    dump_flags: tuple[str, ...] = ()

    def client(self, tool: str) -> list[str]:
        """The command of a tool that reaches the server; `tool` is `client` or `dump`."""
        raise NotImplementedError

    def dump(self) -> Sequence[str]:
        flags = ["--single-transaction", "--skip-lock-tables", "--quick", "--hex-blob", "--routines", "--events"]
        return [*self.client("dump"), *flags, "--triggers", *self.dump_flags, SOURCE]

    def load(self) -> Sequence[str]:
        return [*self.client("client"), TARGET]

    def sql(self, statement: str, *words: str, stdin: Path | None = None) -> str:
        argv = [*self.client("client"), "--batch", "--skip-column-names", *words, "-e", statement]
        with stdin.open() if stdin else contextlib.nullcontext(subprocess.DEVNULL) as source:
            return subprocess.run(
                argv,
                stdin=source,
                env={**os.environ, **self.environment},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()

    def fill(self, directory: Path, megabytes: int) -> None:
        self._anew(SOURCE)
        number = rows.count(megabytes)
        for table in range(rows.TABLES):
            columns = "day DATE, amount DECIMAL(10,2), reference CHAR(32), note VARCHAR(800)"
            self.sql(f"CREATE TABLE t{table} (id BIGINT PRIMARY KEY AUTO_INCREMENT, {columns}, KEY (day))", SOURCE)
            load = f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE t{table}"
            self.sql(load, "--local-infile=1", SOURCE, stdin=rows.file(directory, table, number))

    def change(self, day: int, scattered: bool) -> None:
        for table, condition in changed(day, scattered):
            self.sql(f"UPDATE {table} SET amount = amount + 1 WHERE {condition}", SOURCE)

    def clear(self) -> None:
        self._anew(TARGET)

    def content(self, restored: bool) -> object:
        sums = "COUNT(*), SUM(amount), SUM(CRC32(reference)), SUM(CRC32(note)), SUM(CRC32(day))"
        database = TARGET if restored else SOURCE
        return [self.sql(f"SELECT {sums} FROM t{table}", database) for table in range(rows.TABLES)]

    def _anew(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4")


def changed(day: int, scattered: bool) -> list[tuple[str, str]]:
    """Tables and conditions that take in one row in a hundred."""
    if scattered:
        return [(f"t{table}", f"id % 100 = {day % 100}") for table in range(rows.TABLES)]
    # A twenty-fifth of one of four tables.
    part = "(SELECT COUNT(*) / 25 FROM t1)"
    return [("t0", f"id > {day % 25} * {part} AND id <= {day % 25 + 1} * {part}")]


class MariaDB(MySQLFamily):
    name = "MariaDB on the host"

    def __init__(self, port: int, socket: str) -> None:
        self.port, self.socket = port, socket

    @property
    def datastore(self) -> Mapping[str, Any]:
        place = {"host": "127.0.0.1", "port": self.port, "user": "root", "password": PASSWORD}
        return {"engine": "mariadb", "database": SOURCE, **place}

    @property
    def versions(self) -> Sequence[str]:
        return [f"MariaDB {self.sql('SELECT VERSION()')}"]

    def client(self, tool: str) -> list[str]:
        program = {"client": "mariadb", "dump": "mariadb-dump"}[tool]
        return [program, "--host=127.0.0.1", f"--port={self.port}", "--user=root", "--default-character-set=utf8mb4"]


@contextlib.contextmanager
def mariadb() -> Iterator[MariaDB]:
    """MariaDB with a buffer pool of 1 GiB; everything else as it comes."""
    with _home("mysql") as (home, account):
        data = home / "data"
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                "--user=mysql",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = MariaDB(_free_port(), str(home / "socket"))
        init = home / "init.sql"
        init.write_text(f"ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}';\n")
        argv = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--port={server.port}", f"--socket={server.socket}"]
        argv += ["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=1G", "--max-allowed-packet=64M"]
        with _running([*argv, f"--init-file={init}", f"--pid-file={home / 'pid'}"], account, home, server):
            yield server


class PostgreSQL:
    name = "PostgreSQL on the host"
    filename = "main.pgdump"
    into = {"database": TARGET}
    environment = {"PGPASSWORD": PASSWORD}

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def datastore(self) -> Mapping[str, Any]:
        place = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "password": PASSWORD}
        return {"engine": "postgresql", "database": SOURCE, **place}

    @property
    def versions(self) -> Sequence[str]:
        return [f"PostgreSQL {self.sql('SHOW server_version')}"]

    def client(self, tool: str) -> list[str]:
        return [tool, "--host=127.0.0.1", f"--port={self.port}", "--username=postgres", "--no-password"]

    def dump(self) -> Sequence[str]:
        return [*self.client("pg_dump"), "--format=custom", "--compress=0", SOURCE]

    def load(self) -> Sequence[str]:
        return [*self.client("pg_restore"), "--exit-on-error", f"--dbname={TARGET}"]

    def sql(self, statement: str, database: str = "postgres", stdin: Path | None = None) -> str:
        argv = [*self.client("psql"), "-v", "ON_ERROR_STOP=1", "-qAt", "-d", database, "-c", statement]
        with stdin.open() if stdin else contextlib.nullcontext(subprocess.DEVNULL) as source:
            return subprocess.run(
                argv,
                stdin=source,
                env={**os.environ, **self.environment},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()

    def fill(self, directory: Path, megabytes: int) -> None:
        self._anew(SOURCE)
        number = rows.count(megabytes)
        for table in range(rows.TABLES):
            columns = "day date, amount numeric(10,2), reference text, note text"
            key = "id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
            self.sql(f"CREATE TABLE t{table} ({key}, {columns})", SOURCE)
            self.sql(f"COPY t{table} FROM STDIN", SOURCE, stdin=rows.file(directory, table, number))
            self.sql(f"CREATE INDEX ON t{table} (day)", SOURCE)
        self.sql("VACUUM ANALYZE", SOURCE)

    def change(self, day: int, scattered: bool) -> None:
        for table, condition in changed(day, scattered):
            self.sql(f"UPDATE {table} SET amount = amount + 1 WHERE {condition}", SOURCE)

    def clear(self) -> None:
        self._anew(TARGET)

    def content(self, restored: bool) -> object:
        sums = "count(*), sum(amount), sum(hashtext(reference)::bigint), sum(hashtext(note)::bigint), sum(hashtext(day::text)::bigint)"
        database = TARGET if restored else SOURCE
        return [self.sql(f"SELECT {sums} FROM t{table}", database) for table in range(rows.TABLES)]

    def _anew(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """PostgreSQL with 512 MB of shared buffers; everything else as it comes."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]))
    with _home("postgres") as (home, account):
        secret = home / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                home / "data",
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                f"--pwfile={secret}",
            ],
            user=account.pw_uid,
            group=account.pw_gid,
            cwd=home,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        server = PostgreSQL(_free_port())
        flags = [f"port={server.port}", f"unix_socket_directories={home}", "shared_buffers=512MB", "max_wal_size=4GB"]
        argv = [str(programs / "postgres"), "-D", str(home / "data"), *(part for one in flags for part in ("-c", one))]
        with _running(argv, account, home, server):
            yield server
