# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who competes: the collection, and what one would use otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench import servers
from tests.bench.figures import OURS
from tests.bench.local import Files, SQLite
from tests.bench.place import PASSWORD, Place
from tests.bench.redis_servers import Redis
from tests.bench.subject import Streamed

MYSQL_DB = "mysql_db (gzip)"
POSTGRESQL_DB = "postgresql_db (gzip)"
MYDUMPER = "mydumper, 2 threads"
BARE = "bare pipeline to restic"
GZIP = "bare pipeline to gzip"
ARCHIVE = "archive (tar.gz)"


class Contender:
    """`home` is a directory of its own in which it stores; `prepare` is not timed."""

    name: str
    incremental = False  # a second backup goes beside the first and adds what is new
    restores = True

    def __init__(self, place: Place, subject: Any) -> None:
        self.place, self.subject = place, subject

    def prepare(self, home: Path) -> None:
        pass

    def backup(self, home: Path) -> None:
        raise NotImplementedError

    def restore(self, home: Path) -> None:
        raise NotImplementedError


class Restic(Contender):
    incremental = True

    def prepare(self, home: Path) -> None:
        self.restic(home, "init", "-q")

    def restic(self, home: Path, *words: str, cwd: Path | None = None) -> None:
        self.place.run(["restic", *words], {"RESTIC_REPOSITORY": str(home)}, cwd)


class Ours(Restic):
    """The collection's modules, each a task as a playbook runs it."""

    name = OURS

    def _module(self, name: str, home: Path, **more: object) -> None:
        arguments: Mapping[str, Any] = {
            "app": "bench",
            "state_dir": str(self.place.directory / "state"),
            "repository": {"location": str(home), "password": PASSWORD},
            "datastores": [{"name": "main", **self.subject.datastore}],
            **more,
        }
        self.place.task(f"day2.ops.{name}", arguments)

    def backup(self, home: Path) -> None:
        self._module("backup", home)

    def verify(self, home: Path) -> None:
        self._module("backup_verify", home)

    def restore(self, home: Path) -> None:
        into = [{"datastore": "main", **self.subject.into}] if self.subject.into else []
        self._module("restore", home, into=into, replace=not into)


class Bare(Restic):
    """`dump | restic backup --stdin`, and `restic dump | client`: no lock, no check, no fingerprint."""

    name = BARE
    subject: Streamed

    def backup(self, home: Path) -> None:
        store = ["restic", "backup", "-q", "--stdin", "--stdin-filename", self.subject.filename, "--host", "bench"]
        self.place.pipe(self.subject.dump(), store, self._environment(home))

    def restore(self, home: Path) -> None:
        dump = ["restic", "dump", "latest", f"/{self.subject.filename}"]
        self.place.pipe(dump, self.subject.load(), self._environment(home))

    def _environment(self, home: Path) -> dict[str, str]:
        return {**self.subject.environment, "RESTIC_REPOSITORY": str(home)}


class Gzip(Contender):
    """`dump | gzip > file` and back."""

    name = GZIP
    subject: Streamed

    def backup(self, home: Path) -> None:
        self.place.pipe(self.subject.dump(), ["gzip"], self.subject.environment, home / "dump.gz")

    def restore(self, home: Path) -> None:
        self.place.pipe(["gzip", "-dc", str(home / "dump.gz")], self.subject.load(), self.subject.environment)


class MysqlDb(Contender):
    """community.mysql.mysql_db, as its documentation shows it, with a consistent dump."""

    name = MYSQL_DB
    subject: servers.MariaDB

    def _task(self, home: Path, database: str, state: str, **more: object) -> None:
        place = {"login_host": "127.0.0.1", "login_port": self.subject.port, "login_user": "root"}
        what = {"name": database, "state": state, "target": str(home / "dump.sql.gz"), **more}
        self.place.task("community.mysql.mysql_db", {**place, "login_password": servers.PASSWORD, **what})

    def backup(self, home: Path) -> None:
        self._task(home, servers.SOURCE, "dump", single_transaction=True)

    def restore(self, home: Path) -> None:
        self._task(home, servers.TARGET, "import")


class PostgresqlDb(Contender):
    """community.postgresql.postgresql_db, likewise."""

    name = POSTGRESQL_DB
    subject: servers.PostgreSQL

    def _task(self, home: Path, database: str, state: str) -> None:
        place = {"login_host": "127.0.0.1", "login_port": self.subject.port, "login_user": "postgres"}
        what = {"name": database, "state": state, "target": str(home / "dump.sql.gz")}
        self.place.task("community.postgresql.postgresql_db", {**place, "login_password": servers.PASSWORD, **what})

    def backup(self, home: Path) -> None:
        self._task(home, servers.SOURCE, "dump")

    def restore(self, home: Path) -> None:
        self._task(home, servers.TARGET, "restore")


class Mydumper(Contender):
    """mydumper and myloader with a thread per core, compressed."""

    name = MYDUMPER
    subject: servers.MariaDB

    def _run(self, tool: str, *words: str) -> None:
        place = ["--host=127.0.0.1", f"--port={self.subject.port}", "--user=root", f"--password={servers.PASSWORD}"]
        self.place.run([tool, *place, "--threads=2", *words], {})

    def backup(self, home: Path) -> None:
        objects = ["--triggers", "--events", "--routines"]
        self._run("mydumper", f"--database={servers.SOURCE}", f"--outputdir={home}", "--compress", *objects)

    def restore(self, home: Path) -> None:
        self._run("myloader", f"--database={servers.TARGET}", f"--directory={home}", "--overwrite-tables")


class BareSQLite(Restic):
    """`sqlite3 .backup`, then restic; and the file back."""

    name = BARE
    subject: SQLite

    def backup(self, home: Path) -> None:
        copy = self.subject.copy()
        self.restic(home, "backup", "-q", "--host", "bench", copy.name, cwd=copy.parent)
        copy.unlink()

    def restore(self, home: Path) -> None:
        dump = ["restic", "dump", "latest", "/copy.db"]
        self.place.pipe(dump, ["cat"], {"RESTIC_REPOSITORY": str(home)}, self.subject.restored)


class GzipSQLite(Contender):
    """`sqlite3 .backup`, then gzip."""

    name = GZIP
    subject: SQLite

    def backup(self, home: Path) -> None:
        copy = self.subject.copy()
        self.place.pipe(["cat", str(copy)], ["gzip"], {}, home / "copy.db.gz")
        copy.unlink()

    def restore(self, home: Path) -> None:
        self.place.pipe(["cat", str(home / "copy.db.gz")], ["gzip", "-dc"], {}, self.subject.restored)


class BareRedis(Restic):
    """`redis-cli --rdb`, then restic; and the file back under a server that starts from it."""

    name = BARE
    subject: Redis

    def backup(self, home: Path) -> None:
        copy = self.place.directory / "dump.rdb"
        self.subject.copy(copy)
        self.restic(home, "backup", "-q", "--host", "bench", copy.name, cwd=copy.parent)

    def restore(self, home: Path) -> None:
        dump = ["restic", "dump", "latest", "/dump.rdb"]
        with self.subject.replaced():
            self.place.pipe(dump, ["cat"], {"RESTIC_REPOSITORY": str(home)}, self.subject.restored)


class GzipRedis(Contender):
    """`redis-cli --rdb`, then gzip."""

    name = GZIP
    subject: Redis

    def backup(self, home: Path) -> None:
        copy = self.place.directory / "dump.rdb"
        self.subject.copy(copy)
        self.place.pipe(["cat", str(copy)], ["gzip"], {}, home / "dump.rdb.gz")

    def restore(self, home: Path) -> None:
        with self.subject.replaced():
            self.place.pipe(["cat", str(home / "dump.rdb.gz")], ["gzip", "-dc"], {}, self.subject.restored)


class BareFiles(Restic):
    """`restic backup PATH` and `restic restore`."""

    name = BARE
    subject: Files

    def backup(self, home: Path) -> None:
        self.restic(home, "backup", "-q", "--host", "bench", ".", cwd=self.subject.source)

    def restore(self, home: Path) -> None:
        self.restic(home, "restore", "-q", "latest", "--target", str(self.subject.restored))


class Archive(Contender):
    """community.general.archive and ansible.builtin.unarchive."""

    name = ARCHIVE
    subject: Files

    def backup(self, home: Path) -> None:
        what = {"path": f"{self.subject.source}/", "dest": str(home / "files.tar.gz"), "format": "gz"}
        self.place.task("community.general.archive", what)

    def restore(self, home: Path) -> None:
        what = {"src": str(home / "files.tar.gz"), "dest": str(self.subject.restored), "remote_src": True}
        self.place.task("ansible.builtin.unarchive", what)
