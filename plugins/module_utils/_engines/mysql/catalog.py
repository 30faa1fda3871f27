# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a database consists of, read from information_schema: tables, views, routines, triggers, events."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Optional

from ..._core.errors import Busy
from .connection import LOCK_TIMEOUT, Sql, SqlError, name, qualified

# Their rows are elsewhere (or nowhere), and the dump tool leaves them out by itself.
WITHOUT_ROWS = ("MRG_MYISAM", "MRG_ISAM", "CONNECT", "OQGRAPH", "SPIDER", "VP", "FEDERATED")
ROUTINES = ("PROCEDURE", "FUNCTION", "PACKAGE", "PACKAGE BODY")


@dataclasses.dataclass(frozen=True)
class Table:
    """A base table. `transactional`: its rows are seen as of the snapshot's beginning."""

    name: str
    engine: str
    transactional: bool
    versioned: bool = False  # keeps its own history
    history: bool = False  # … by time, so that a dump can carry it

    @property
    def holds_rows(self) -> bool:
        return self.engine.upper() not in WITHOUT_ROWS


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    data_type: str
    column_type: str
    octets: Optional[int]
    generated: bool


@dataclasses.dataclass(frozen=True)
class Named:
    """Any other object. `table`: of a trigger. `body` is None where we may not see it."""

    kind: str  # view | trigger | procedure | function | package | package body | event | sequence
    name: str
    definer: str = ""
    table: str = ""
    body: Optional[str] = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def databases(sql: Sql) -> list[str]:
    return [str(one) for one in sql.column("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]


def exists(sql: Sql, database: str) -> bool:
    # SHOW … LIKE would take the name for a pattern, and SCHEMATA compares as the file system does.
    return bool(sql.value("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (database,)))


def charset(sql: Sql, database: str) -> tuple[str, str]:
    """The database's own character set and collation."""
    row = sql.execute(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        (database,),
    )[0]
    return str(row[0]), str(row[1])


def tables(sql: Sql, database: str) -> list[Table]:
    """Base tables in the order of their names, which is the dump tool's order too."""
    transactional = set(sql.column("SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'"))
    rows = sql.execute(
        "SELECT TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME",
        (database,),
    )
    return [
        Table(
            table,
            engine or "",
            engine in transactional,
            kind == "SYSTEM VERSIONED",
            kind == "SYSTEM VERSIONED" and "TRANSACTION" not in _row_start(sql, database, table),
        )
        for table, engine, kind in rows
    ]


def _row_start(sql: Sql, database: str, table: str) -> str:
    """Says `TRANSACTION` where a table's history goes by transaction numbers, not by time."""
    definition = sql.execute(f"SHOW CREATE TABLE {qualified(database, table)}")[0][1]
    lines = [line.lower() for line in str(definition).splitlines() if "generated always as row start" in line.lower()]
    return "TRANSACTION" if any("bigint" in line for line in lines) else ""


def columns(sql: Sql, database: str) -> dict[str, list[Column]]:
    """Columns by table, in ordinal order; invisible ones too."""
    found: dict[str, list[Column]] = {}
    for table, column, data_type, column_type, octets, generated in sql.execute(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_OCTET_LENGTH, "
        # MySQL says DEFAULT_GENERATED of a column whose default is an expression: its values are its own.
        "REPLACE(EXTRA, 'DEFAULT_GENERATED', '') LIKE '%%GENERATED%%' FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
        "ORDER BY TABLE_NAME, ORDINAL_POSITION",
        (database,),
    ):
        found.setdefault(table, []).append(
            Column(column, data_type.lower(), column_type.lower(), octets, bool(generated))
        )
    return found


def sequences(sql: Sql, database: str) -> list[str]:
    return _names(sql, database, "SEQUENCE")


def views(sql: Sql, database: str) -> list[str]:
    return _names(sql, database, "VIEW")


def _names(sql: Sql, database: str, kind: str) -> list[str]:
    return sql.column(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = %s ORDER BY TABLE_NAME",
        (database, kind),
    )


def view_objects(sql: Sql, database: str) -> list[Named]:
    """`body` names the database of everything that is read, its own too."""
    return [
        Named("view", view, definer, body=body)
        for view, definer, body in sql.execute(
            "SELECT TABLE_NAME, DEFINER, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s "
            "ORDER BY TABLE_NAME",
            (database,),
        )
    ]


def triggers(sql: Sql, database: str) -> list[Named]:
    """In the order in which they must be made again to fire in the same order."""
    return [
        Named("trigger", trigger, definer, table, body)
        for trigger, definer, table, body in sql.execute(
            "SELECT TRIGGER_NAME, DEFINER, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS "
            "WHERE TRIGGER_SCHEMA = %s ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
            (database,),
        )
    ]


def routines(sql: Sql, database: str) -> list[Named]:
    """Packages come before their bodies."""
    return [
        Named(kind.lower(), routine, definer, body=body)
        for routine, kind, definer, body in sql.execute(
            "SELECT ROUTINE_NAME, ROUTINE_TYPE, DEFINER, ROUTINE_DEFINITION FROM information_schema.ROUTINES "
            "WHERE ROUTINE_SCHEMA = %s ORDER BY ROUTINE_TYPE = 'PACKAGE BODY', ROUTINE_TYPE, ROUTINE_NAME",
            (database,),
        )
    ]


def events(sql: Sql, database: str) -> list[Named]:
    return [
        Named("event", event, definer, body=body)
        for event, definer, body in sql.execute(
            "SELECT EVENT_NAME, DEFINER, EVENT_DEFINITION FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s "
            "ORDER BY EVENT_NAME",
            (database,),
        )
    ]


def objects(
    sql: Sql, database: str, events_to_come: Optional[int] = None, without: Sequence[str] = ()
) -> dict[str, int]:
    """How many there are of each kind. `events_to_come` counts events that are not made yet."""
    named = {"view": [one.name for one in view_objects(sql, database)]}
    return {
        "view": len([one for one in named["view"] if one not in without]),
        "trigger": len(triggers(sql, database)),
        "routine": len(routines(sql, database)),
        "event": len(events(sql, database)) if events_to_come is None else events_to_come,
        "sequence": len(sequences(sql, database)),
    }


def collations(sql: Sql, database: str) -> list[str]:
    """Every collation that the database's definitions name."""
    found: set[str] = {charset(sql, database)[1]}
    for table, column, schema in (
        ("TABLES", "TABLE_COLLATION", "TABLE_SCHEMA"),
        ("COLUMNS", "COLLATION_NAME", "TABLE_SCHEMA"),
        ("ROUTINES", "COLLATION_CONNECTION", "ROUTINE_SCHEMA"),
        ("ROUTINES", "DATABASE_COLLATION", "ROUTINE_SCHEMA"),
        ("TRIGGERS", "COLLATION_CONNECTION", "TRIGGER_SCHEMA"),
        ("TRIGGERS", "DATABASE_COLLATION", "TRIGGER_SCHEMA"),
        ("EVENTS", "COLLATION_CONNECTION", "EVENT_SCHEMA"),
        ("VIEWS", "COLLATION_CONNECTION", "TABLE_SCHEMA"),
    ):
        query = f"SELECT DISTINCT {column} FROM information_schema.{table} WHERE {schema} = %s AND {column} IS NOT NULL"
        found.update(sql.column(query, (database,)))
    return sorted(found)


def known_collations(sql: Sql) -> set[str]:
    known = set(
        sql.column("SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE CHARACTER_SET_NAME IS NOT NULL")
    )
    # Since 10.10, `uca1400_ai_ci` stands for many: their full names are here.
    full = "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' AND COLUMN_NAME = 'FULL_COLLATION_NAME'"
    if sql.value(full):
        known.update(
            sql.column("SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
        )
    return known


def foreign_keys(sql: Sql, database: str) -> int:
    return int(
        sql.value(
            "SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = %s AND CONSTRAINT_TYPE = 'FOREIGN KEY'",
            (database,),
        )
    )


def referring(sql: Sql, database: str) -> list[str]:
    """Tables of other databases with a foreign key into this one."""
    return sql.column(
        "SELECT DISTINCT CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME) FROM information_schema.REFERENTIAL_CONSTRAINTS "
        "WHERE UNIQUE_CONSTRAINT_SCHEMA = %s AND CONSTRAINT_SCHEMA <> %s",
        (database, database),
    )


def bytes_of(sql: Sql, database: str) -> int:
    query = "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
    return int(sql.value(query, (database,)))


def damaged(sql: Sql, database: str, found: Sequence[Table]) -> list[str]:
    """Tables that cannot be opened. `Busy` for one that another session has locked for as long as ours waits."""
    names = []
    for table in found:
        if table.holds_rows:
            try:
                sql.execute(f"SELECT 1 FROM {qualified(database, table.name)} LIMIT 1")
            except SqlError as error:
                if error.code == LOCK_TIMEOUT:
                    raise locked(f"the table {table.name}") from None
                names.append(table.name)
    return names


def locked(what: str) -> Busy:
    return Busy(
        f"{what} is locked by another session, so it cannot be read",
        hint="Does a migration run, or does a session hold LOCK TABLES? SHOW FULL PROCESSLIST shows the sessions. "
        "Wait for its end, and run this again.",
    )


def schema_revision(sql: Sql, database: str, found: Sequence[str]) -> Optional[str]:
    """Alembic's revision; several heads are joined by commas."""
    if "alembic_version" not in found:
        return None
    rows = sql.column(f"SELECT version_num FROM {name(database)}.alembic_version ORDER BY version_num")
    return ",".join(str(row) for row in rows) or None
