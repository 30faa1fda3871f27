# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A MariaDB or MySQL database behind a migration."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core.errors import Busy, OpsError, Refused, Unavailable
from .._core.model import Json
from .._engines.base import Engine
from .._engines.mysql.connection import Sql
from .._engines.mysql.server import SqlServer
from .schema import Schema

_COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME"
    " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE(){chosen}"
)
_TABLES = (
    "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE(){chosen}"
)
_INDEXES = (
    "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, INDEX_TYPE, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX)"
    " FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE(){chosen} GROUP BY 1, 2, 3, 4"
)
_KEYS = (
    "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME"
    " FROM information_schema.KEY_COLUMN_USAGE"
    " WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL{chosen} ORDER BY ORDINAL_POSITION"
)
_OTHERS = (
    ("view", "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()"),
    (
        "trigger",
        "SELECT TRIGGER_NAME, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON ', EVENT_OBJECT_TABLE, ' ',"
        " ACTION_STATEMENT) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
    ),
    (
        "routine",
        "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()",
    ),
)


class MySQLDatabase:
    """A definition commits what was before it (https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html)."""

    transactional_ddl = False

    def __init__(self, engine: Engine, number: int) -> None:
        if not isinstance(engine, SqlServer):
            raise Refused(f"{engine.datastore} is not a MariaDB or MySQL server")
        self.engine = engine
        self.number = number
        self._sql: Optional[Sql] = None
        self._locked = ""

    @property
    def sql(self) -> Sql:
        if self._sql is None:
            raise OpsError("the connection to the server was not opened")
        return self._sql

    def __enter__(self) -> MySQLDatabase:
        self.engine.ping()
        self._sql = self.engine.connect(self.engine.database)
        # It is silent while a revision runs, and is closed for that after eight hours otherwise.
        self._sql.execute("SET SESSION wait_timeout = 604800")
        return self

    def __exit__(self, *details: object) -> None:
        if self._sql is not None:
            self._sql.close()  # which frees its locks
            self._sql = None

    @property
    def _name(self) -> str:
        # The lock is the server's, its name at most 64 characters; the same from every machine.
        return f"day2.migrate.{hashlib.sha256(self.engine.database.encode()).hexdigest()[:24]}"

    def lock(self, wait: float) -> None:
        if self.sql.value("SELECT GET_LOCK(%s, %s)", (self._name, int(wait))) != 1:
            raise Busy(
                f"another migration of database {self.engine.database} runs: {self._holder()} holds its lock",
                hint="Wait for it. When it does not run any more, end its connection on the server (KILL).",
            )
        self._locked = self._name

    def _holder(self) -> str:
        holder = self.sql.value("SELECT IS_USED_LOCK(%s)", (self._name,))
        with contextlib.suppress(OpsError):
            rows = self.sql.execute("SELECT USER, HOST FROM information_schema.PROCESSLIST WHERE ID = %s", (holder,))
            if rows:
                return f"connection {holder} ({rows[0][0]} from {rows[0][1]})"
        return f"connection {holder}"

    def check(self) -> None:
        if self._locked and self.sql.value("SELECT IS_USED_LOCK(%s)", (self._locked,)) != self.sql.id:
            raise Unavailable(f"the lock on database {self.engine.database} was lost")

    def proof(self) -> int:
        self.sql.value(f"SELECT GET_LOCK('day2_{self.number:x}', 0)")
        return self.number

    def same(self, told: Json) -> str:
        if told.get("dialect") not in ("mysql", "mariadb"):
            return f"it is a {told.get('dialect')} database"
        if told.get("holder") != self.sql.id:
            return "it is on another server"
        if told.get("database") != self.engine.database:
            return f"it is the database {told.get('database')} of that server"
        return ""

    def schema(self, version_table: str) -> Schema:
        objects = self._tables(version_table, ())
        for kind, question in _OTHERS:
            for name, definition in self.sql.execute(question):
                objects[f"{kind} {name}"] = _text(definition)
        return Schema(objects)

    def refreshed(self, schema: Schema, tables: Sequence[str], version_table: str) -> Schema:
        return schema.with_tables(tables, Schema(self._tables(version_table, tables)))

    def _tables(self, version_table: str, only: Sequence[str]) -> dict[str, str]:
        """All tables, or only these: a whole schema takes the server a while to tell."""
        objects: dict[str, str] = {}
        chosen = f" AND TABLE_NAME IN ({', '.join(['%s'] * len(only))})" if only else ""

        def ask(question: str) -> list[tuple[Any, ...]]:
            return self.sql.execute(question.replace("{chosen}", chosen), tuple(only) or None)

        for table, kind, engine, collation in ask(_TABLES):
            if table != version_table and kind != "VIEW":
                objects[f"table {table}"] = _text(engine, collation)
        for table, column, *definition in ask(_COLUMNS):
            if f"table {table}" in objects:
                objects[f"column {table}.{column}"] = _text(*definition)
        for table, index, *definition in ask(_INDEXES):
            if f"table {table}" in objects:
                objects[f"index {table}.{index}"] = _text(*definition)
        for table, key, column, other, referred in ask(_KEYS):
            label = f"foreign key {table}.{key}"
            objects[label] = f"{objects[label]}, " if label in objects else ""
            objects[label] += f"{column} to {other}.{referred}"
        return objects

    def rows(self, tables: Sequence[str]) -> Mapping[str, int]:
        found = self.sql.execute(
            "SELECT TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        )
        return {table: int(rows or 0) for table, rows in found if table in tables}


def _text(*parts: Any) -> str:
    return " ".join("-" if part is None else str(part) for part in parts if part != "")
