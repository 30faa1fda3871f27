# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A PostgreSQL database behind a migration."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core.errors import Busy, OpsError, Refused, Unavailable
from .._core.model import Json
from .._engines.base import Engine
from .._engines.postgresql import PostgreSQL
from .._engines.postgresql import connection as connections
from .schema import Schema

_OURS = (
    "n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'"
    " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e')"
)
_KINDS = {"r": "table", "p": "table", "f": "table", "v": "view", "m": "view", "S": "sequence"}
_RELATIONS = (
    "SELECT n.nspname, c.relname, c.relkind::text, CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid)"
    " ELSE '' END FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND {_OURS.format(oid='c.oid')}"
)
_COLUMNS = (
    "SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " pg_catalog.pg_get_expr(e.adbin, e.adrelid), a.attidentity::text, a.attgenerated::text"
    " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum"
    f" WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND {_OURS.format(oid='c.oid')}"
)
_INDEXES = (
    "SELECT n.nspname, t.relname, c.relname, pg_catalog.pg_get_indexdef(i.indexrelid), i.indisvalid"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace"
    f" WHERE {_OURS.format(oid='t.oid')}"
)
_CONSTRAINTS = (
    "SELECT n.nspname, t.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace"
    f" WHERE k.contype <> 'n' AND {_OURS.format(oid='t.oid')}"  # 18 has NOT NULL twice
)
_TRIGGERS = (
    "SELECT n.nspname, t.relname, g.tgname, pg_catalog.pg_get_triggerdef(g.oid)"
    " FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid"
    f" JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE NOT g.tgisinternal AND {_OURS.format(oid='t.oid')}"
)
_ROUTINES = (
    "SELECT n.nspname, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.prosrc"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    f" WHERE {_OURS.format(oid='p.oid')}"
)
_ENUMS = (
    "SELECT n.nspname, y.typname, pg_catalog.string_agg(l.enumlabel, ', ' ORDER BY l.enumsortorder)"
    " FROM pg_catalog.pg_enum l JOIN pg_catalog.pg_type y ON y.oid = l.enumtypid"
    f" JOIN pg_catalog.pg_namespace n ON n.oid = y.typnamespace WHERE {_OURS.format(oid='y.oid')} GROUP BY 1, 2"
)


class PostgreSQLDatabase:
    """A revision runs in one transaction, definitions included, unless it says otherwise itself."""

    transactional_ddl = True

    def __init__(self, engine: Engine, number: int) -> None:
        if not isinstance(engine, PostgreSQL):
            raise Refused(f"{engine.datastore} is not a PostgreSQL server")
        self.engine = engine
        self.number = number
        self._connection: Optional[connections.Database] = None
        self._locked = False

    @property
    def connection(self) -> connections.Database:
        if self._connection is None:
            raise OpsError("the connection to the server was not opened")
        return self._connection

    def __enter__(self) -> PostgreSQLDatabase:
        self.engine.ping()
        self._connection = self.engine.server.connect(self.engine.database, "migrate")
        return self

    def __exit__(self, *details: object) -> None:
        if self._connection is not None:
            self._connection.close()  # which frees its locks
            self._connection = None

    @property
    def _key(self) -> int:
        # The lock is the database's; of the session, because CREATE INDEX CONCURRENTLY ends a transaction's.
        return int.from_bytes(hashlib.sha256(b"day2.migrate").digest()[:7], "big")

    def lock(self, wait: float) -> None:
        end = time.monotonic() + wait
        while not self.connection.value("SELECT pg_catalog.pg_try_advisory_lock(%s)", self._key):
            if time.monotonic() >= end:
                raise Busy(
                    f"another migration of database {self.engine.database} runs: {self._holder()} holds its lock",
                    hint="Wait for it. When it does not run any more, end its session (pg_terminate_backend).",
                )
            time.sleep(0.2)
        self._locked = True

    def _holder(self) -> str:
        with contextlib.suppress(OpsError):
            rows = self.connection.rows(
                "SELECT a.pid, a.usename, a.client_addr, a.application_name FROM pg_catalog.pg_locks l"
                " JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
                " AND l.classid::bigint = %s AND l.objid::bigint = %s",
                self._key >> 32,
                self._key & 0xFFFFFFFF,
            )
            if rows:
                pid, user, address, program = rows[0]
                return (
                    f"session {pid} ({user}{f' from {address}' if address else ''}{f', {program}' if program else ''})"
                )
        return "another session"

    def check(self) -> None:
        if not self._locked:
            return
        held = self.connection.value(
            "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted"
            " AND pid = pg_catalog.pg_backend_pid() AND classid::bigint = %s AND objid::bigint = %s",
            self._key >> 32,
            self._key & 0xFFFFFFFF,
        )
        if not held:
            raise Unavailable(
                f"the lock on database {self.engine.database} was lost",
                hint="A pooler in transaction mode keeps no lock: describe the datastore as the server itself.",
            )

    def proof(self) -> int:
        self.connection.value("SELECT pg_catalog.pg_try_advisory_lock(%s)", self.number)
        return self.number

    def same(self, told: Json) -> str:
        if told.get("dialect") != "postgresql":
            return f"it is a {told.get('dialect')} database"
        if told.get("database") != self.engine.database:
            return f"it is the database {told.get('database')}"
        if told.get("holder") != self.connection.pid:
            return "it is on another server"
        return ""

    def schema(self, version_table: str) -> Schema:
        objects: dict[str, str] = {}
        hidden = set()
        ask = self.connection.rows
        for schema, name, kind, definition in ask(_RELATIONS):
            if name == version_table and kind == "r":
                hidden.add((schema, name))
            else:
                objects[f"{_KINDS[kind]} {schema}.{name}"] = definition
        for kind, question in (
            ("column", _COLUMNS),
            ("index", _INDEXES),
            ("constraint", _CONSTRAINTS),
            ("trigger", _TRIGGERS),
        ):
            for schema, table, name, *definition in ask(question):
                if (schema, table) not in hidden:
                    objects[f"{kind} {schema}.{table}.{name}"] = _text(definition)
        for kind, question in (("routine", _ROUTINES), ("type", _ENUMS)):
            for schema, name, *definition in ask(question):
                objects[f"{kind} {schema}.{name}"] = _text(definition)
        return Schema(objects)

    def refreshed(self, schema: Schema, tables: Sequence[str], version_table: str) -> Schema:
        return self.schema(version_table)

    def rows(self, tables: Sequence[str]) -> Mapping[str, int]:
        found = self.connection.rows(
            "SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%%'"
        )
        known = {name: int(rows) for schema, table, rows in found for name in (table, f"{schema}.{table}")}
        return {table: known[table] for table in tables if table in known}


def _text(parts: Sequence[Any]) -> str:
    return " ".join("-" if part is None else str(part) for part in parts if part != "")
