# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A SQLite file behind a migration."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from typing import Optional

from .._core.errors import Busy, Refused
from .._core.io import friendly_os_errors
from .._core.model import Json
from .._engines.base import Engine
from .._engines.sqlite import SQLite
from .._engines.sqlite_file import opened_live, quoted
from .schema import Schema


class SQLiteDatabase:
    """Alembic runs SQLite's definitions outside of a transaction, as Python's driver does by default."""

    transactional_ddl = False

    def __init__(self, engine: Engine, number: int) -> None:
        if not isinstance(engine, SQLite):
            raise Refused(f"{engine.datastore} is not a SQLite file")
        self.engine = engine
        self.number = number
        self._descriptor: Optional[int] = None

    def __enter__(self) -> SQLiteDatabase:
        if self.engine.path.exists():  # a first migration makes it
            self.engine.ping()
        return self

    def __exit__(self, *details: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # which frees its lock
            self._descriptor = None

    def lock(self, wait: float) -> None:
        """flock(2) on the file itself: SQLite's own locks are of another kind (fcntl), so that nothing but another
        migration is kept waiting, and it works between a container and its host. Before the first migration, on the
        directory."""
        path = self.engine.path if self.engine.path.exists() else self.engine.path.parent
        with friendly_os_errors(f"locking {path}"):
            # Kept open until the end: closing a descriptor of the file drops SQLite's own locks of this process.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Busy(
                        f"another migration of {self.engine.path} runs: its file is locked (flock)",
                        hint="Wait for it. Who holds it is in /proc/locks.",
                    ) from None
                time.sleep(0.2)

    def check(self) -> None:
        """The lock is a descriptor of this process: nobody else can free it."""

    def proof(self) -> int:
        return self.number

    def same(self, told: Json) -> str:
        if told.get("dialect") != "sqlite":
            return f"it is a {told.get('dialect')} database"
        path = self.engine.path
        status = path.stat() if path.exists() else None
        if status is None or told.get("file") != [status.st_dev, status.st_ino]:
            return f"it is the file {told.get('path') or 'in memory'}"
        return ""

    def schema(self, version_table: str) -> Schema:
        return self._read(version_table, None)

    def refreshed(self, schema: Schema, tables: Sequence[str], version_table: str) -> Schema:
        return schema.with_tables(tables, self._read(version_table, tables))

    def _read(self, version_table: str, only: Optional[Sequence[str]]) -> Schema:
        if not self.engine.path.exists():
            return Schema()
        objects = {}
        with opened_live(self.engine.path, wait=self.engine.wait) as live:
            for kind, name, table, sql in live.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
                other = only is not None and (table not in only or kind not in ("table", "index"))
                if table == version_table or name.startswith("sqlite_") or other:
                    continue
                label = name if kind in ("table", "view") else f"{table}.{name}"
                objects[f"{kind} {label}"] = " ".join((sql or "").split())
                if kind == "table":
                    for _id, column, *definition in live.execute(f"PRAGMA table_info({quoted(name)})"):
                        objects[f"column {name}.{column}"] = " ".join(map(str, definition))
        return Schema(objects)

    def rows(self, tables: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        if not self.engine.path.exists():
            return found
        with opened_live(self.engine.path, wait=self.engine.wait) as live:
            known = {name for (name,) in live.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in tables:
                if table in known:
                    found[table] = int(live.execute(f"SELECT COUNT(*) FROM {quoted(table)}").fetchone()[0])
        return found
