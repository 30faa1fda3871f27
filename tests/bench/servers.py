# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private database servers for the benchmark, with the servers' own default durability, and their rows."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PASSWORD = "benchmark-only-password"
TABLES = 4
ROW = 500  # bytes of a row's payload


class Server(Protocol):
    """How the benchmark reaches one server: the bare tools' commands and the collection's options."""

    name: str
    filename: str

    @property
    def datastore(self) -> Mapping[str, object]: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    def dump(self, database: str) -> Sequence[str]: ...

    def load(self, database: str) -> Sequence[str]: ...

    def sql(self, statement: str, database: str = "") -> str: ...

    def fill(self, database: str, megabytes: int) -> None: ...

    def empty(self, database: str) -> None:
        """Make the database anew, without anything in it."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(argv: Sequence[str], user: pwd.struct_passwd, home: Path, server: Server) -> Iterator[None]:
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


@dataclass(frozen=True)
class MariaDB:
    port: int
    socket: str
    name: str = "MariaDB"
    filename: str = "main.sql"

    @property
    def datastore(self) -> Mapping[str, object]:
        return {"engine": "mariadb", "host": "127.0.0.1", "port": self.port, "user": "root", "password": PASSWORD}

    @property
    def environment(self) -> Mapping[str, str]:
        return {"MYSQL_PWD": PASSWORD}

    def _client(self, tool: str) -> list[str]:
        return [tool, "--host=127.0.0.1", f"--port={self.port}", "--user=root", "--default-character-set=utf8mb4"]

    def dump(self, database: str) -> Sequence[str]:
        flags = ["--single-transaction", "--skip-lock-tables", "--quick", "--hex-blob", "--routines", "--events"]
        return [*self._client("mariadb-dump"), *flags, "--triggers", database]

    def load(self, database: str) -> Sequence[str]:
        return [*self._client("mariadb"), database]

    def sql(self, statement: str, database: str = "") -> str:
        argv = [
            *self._client("mariadb"),
            "--batch",
            "--skip-column-names",
            "-e",
            statement,
            *([database] if database else []),
        ]
        return subprocess.run(
            argv, env={**os.environ, **self.environment}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def fill(self, database: str, megabytes: int) -> None:
        self.empty(database)
        rows = megabytes * 1_000_000 // TABLES // ROW
        for number in range(TABLES):
            self.sql(
                f"CREATE TABLE t{number} (id BIGINT PRIMARY KEY AUTO_INCREMENT, day DATE, amount DECIMAL(10,2), payload VARCHAR(600), KEY (day))",
                database,
            )
            # A quarter of it does not compress, like hashes and keys; the rest is text.
            self.sql(
                f"INSERT INTO t{number} SELECT seq, '2020-01-01' + INTERVAL seq % 2000 DAY, seq / 7,"
                f" CONCAT(SHA2(seq + {number}, 512), REPEAT(CONCAT('row ', seq, ' of a booking; '), 15)) FROM seq_1_to_{rows}",
                database,
            )

    def empty(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4")


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
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


@dataclass(frozen=True)
class PostgreSQL:
    port: int
    name: str = "PostgreSQL"
    filename: str = "main.pgdump"

    @property
    def datastore(self) -> Mapping[str, object]:
        return {
            "engine": "postgresql",
            "host": "127.0.0.1",
            "port": self.port,
            "user": "postgres",
            "password": PASSWORD,
        }

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PGPASSWORD": PASSWORD}

    def _client(self, tool: str) -> list[str]:
        return [tool, "--host=127.0.0.1", f"--port={self.port}", "--username=postgres", "--no-password"]

    def dump(self, database: str) -> Sequence[str]:
        return [*self._client("pg_dump"), "--format=custom", "--compress=0", database]

    def load(self, database: str) -> Sequence[str]:
        return [*self._client("pg_restore"), "--exit-on-error", f"--dbname={database}"]

    def sql(self, statement: str, database: str = "") -> str:
        argv = [*self._client("psql"), "-v", "ON_ERROR_STOP=1", "-qAt", "-d", database or "postgres", "-c", statement]
        return subprocess.run(
            argv, env={**os.environ, **self.environment}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def fill(self, database: str, megabytes: int) -> None:
        self.empty(database)
        rows = megabytes * 1_000_000 // TABLES // ROW
        for number in range(TABLES):
            self.sql(
                f"CREATE TABLE t{number} (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, day date, amount numeric(10,2), payload text)",
                database,
            )
            self.sql(
                f"INSERT INTO t{number} SELECT n, date '2020-01-01' + n % 2000, n / 7.0,"
                f" encode(sha512((n + {number})::text::bytea), 'hex') || repeat('row ' || n || ' of a booking; ', 15)"
                f" FROM generate_series(1, {rows}) AS n",
                database,
            )
            self.sql(f"CREATE INDEX ON t{number} (day)", database)
        self.sql("VACUUM ANALYZE", database)

    def empty(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
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


SERVERS = {"mariadb": mariadb, "postgresql": postgresql}
