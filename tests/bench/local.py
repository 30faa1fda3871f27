# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no server: a SQLite database and a directory of files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import rows
from tests.bench.figures import version
from tests.bench.servers import changed


class SQLite:
    """In write-ahead mode, with the same rows as the servers."""

    name = "SQLite"
    environment: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        self.path = directory / "source" / "app.db"
        self.restored = directory / "restored" / "app.db"
        self.path.parent.mkdir()
        self.restored.parent.mkdir()

    @property
    def datastore(self) -> Mapping[str, Any]:
        return {"engine": "sqlite", "path": str(self.path)}

    @property
    def into(self) -> Mapping[str, Any]:
        return {"path": str(self.restored)}

    @property
    def versions(self) -> Sequence[str]:
        return [f"SQLite {sqlite3.sqlite_version}", f"sqlite3 {version('sqlite3', '--version').split()[0]}"]

    def _connect(self, path: Path) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(path))

    def fill(self, directory: Path, megabytes: int) -> None:
        for file in self.path.parent.iterdir():
            file.unlink()
        number = rows.count(megabytes)
        with self._connect(self.path) as database:
            database.execute("PRAGMA journal_mode=WAL")
            for table in range(rows.TABLES):
                columns = "day TEXT, amount NUMERIC, reference TEXT, note TEXT"
                database.execute(f"CREATE TABLE t{table} (id INTEGER PRIMARY KEY, {columns})")
                database.executemany(f"INSERT INTO t{table} VALUES (?, ?, ?, ?, ?)", rows.rows(table, number))
                database.execute(f"CREATE INDEX i{table} ON t{table} (day)")
            database.commit()

    def change(self, day: int, scattered: bool) -> None:
        with self._connect(self.path) as database:
            for table, condition in changed(day, scattered):
                database.execute(f"UPDATE {table} SET amount = amount + 1 WHERE {condition}")
            database.commit()

    def clear(self) -> None:
        for file in self.restored.parent.iterdir():
            file.unlink()

    def content(self, restored: bool) -> object:
        digest = hashlib.sha256()
        with self._connect(self.restored if restored else self.path) as database:
            for table in range(rows.TABLES):
                for row in database.execute(f"SELECT * FROM t{table} ORDER BY id"):
                    digest.update(repr(row).encode())
        return digest.hexdigest()

    def copy(self) -> Path:
        """A copy by the command-line tool, which is what one would store."""
        target = self.path.parent / "copy.db"
        subprocess.run(["sqlite3", str(self.path), f".backup {target}"], check=True)
        return target


class Files:
    """Uploads: two thousand files, of which three in four do not compress, as pictures and documents do not."""

    name = "Files"
    environment: Mapping[str, str] = {}
    number = 2000

    def __init__(self, directory: Path) -> None:
        self.source, self.restored = directory / "uploads", directory / "restored"
        self.restored.mkdir()

    @property
    def datastore(self) -> Mapping[str, Any]:
        return {"engine": "files", "paths": [str(self.source)]}

    @property
    def into(self) -> Mapping[str, Any]:
        return {"paths": [str(self.restored)]}

    @property
    def versions(self) -> Sequence[str]:
        return []

    def _files(self) -> Iterator[Path]:
        for one in range(self.number):
            yield self.source / f"{one % 40:02}" / f"{one}.bin"

    def fill(self, directory: Path, megabytes: int) -> None:
        shutil.rmtree(self.source, ignore_errors=True)
        text = "\n".join(row.note for row in rows.rows(0, megabytes * 1_000_000 // 4 // 250)).encode()
        length = megabytes * 1_000_000 // self.number
        for number, path in enumerate(self._files()):
            path.parent.mkdir(parents=True, exist_ok=True)
            start = number // 4 * length % len(text)
            path.write_bytes(os.urandom(length) if number % 4 else text[start : start + length])

    def change(self, day: int, scattered: bool) -> None:
        """New files come, in a day's directory; scattered: into old ones."""
        chance = random.Random(day)
        for number in range(self.number // 100):
            path = chance.choice(list(self._files())) if scattered else self.source / f"day-{day}" / f"{number}.bin"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(next(self._files()).stat().st_size))

    def clear(self) -> None:
        shutil.rmtree(self.restored)
        self.restored.mkdir()

    def content(self, restored: bool) -> object:
        base = self.restored if restored else self.source
        return {
            str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(base.rglob("*"))
            if path.is_file()
        }
