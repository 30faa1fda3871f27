# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The database behind a migration, on a connection of our own: its lock, its schema, its tables' sizes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Protocol

from .._core.errors import Refused
from .._core.model import Json
from .._engines.base import Engine
from .mysql import MySQLDatabase
from .postgresql import PostgreSQLDatabase
from .schema import Schema
from .sqlite import SQLiteDatabase

ENGINES = ("mariadb", "mysql", "postgresql", "sqlite")


class Database(Protocol):
    """Opened with `with`; leaving it frees the lock and closes the connection."""

    transactional_ddl: bool  # whether a revision that fails leaves nothing behind

    def __enter__(self) -> Database: ...

    def __exit__(self, *details: object) -> None: ...

    def lock(self, wait: float) -> None:
        """Take the database's own lock for migrations; `Busy` says who holds it."""

    def check(self) -> None:
        """Fail unless the lock is still ours."""

    def proof(self) -> int:
        """A random number under which this server alone can be told from others, by whoever asks it (see `same`)."""

    def same(self, told: Json) -> str:
        """Whether what the tool says of its database is this one: "" or why it is not."""

    def schema(self, version_table: str) -> Schema: ...

    def refreshed(self, schema: Schema, tables: Sequence[str], version_table: str) -> Schema:
        """An earlier schema with these tables as they are now; at least that."""

    def rows(self, tables: Sequence[str]) -> Mapping[str, int]:
        """The server's own estimate of rows, of those tables that exist."""


def open_database(engine: Engine) -> Database:
    """For the datastore that was described; connects when it is entered."""
    kind = engine.datastore.engine
    number = secrets.randbits(62)
    if kind in ("mariadb", "mysql"):
        return MySQLDatabase(engine, number)
    if kind == "postgresql":
        return PostgreSQLDatabase(engine, number)
    if kind == "sqlite":
        return SQLiteDatabase(engine, number)
    raise Refused(
        f"{engine.datastore} has no schema that could be migrated", hint=f"Migrations are for {', '.join(ENGINES)}."
    )
