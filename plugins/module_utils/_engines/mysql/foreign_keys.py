# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Foreign keys as statements: read, dropped, made again elsewhere, and the rows that would not fit one.

RENAME TABLE takes a table's foreign keys along, its own and those that point to it, so a table that is
moved alone would leave others pointing at the old one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from typing import Any

from ..._core.errors import Refused
from ..._core.model import Json
from .connection import NO_TABLE, Sql, SqlError, name, qualified

_NO_COLUMN = 1054
_RULES = re.compile(
    r" REFERENCES [^\n]*?\)((?: ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT|NO ACTION|RESTRICT))*),?$",
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """`table` and what it refers to: `parent` in `schema`, "" for the database that the table is in."""

    name: str
    table: str
    columns: tuple[str, ...]
    schema: str
    parent: str
    parents: tuple[str, ...]  # columns
    rules: str  # ON DELETE … ON UPDATE …, as the server prints them
    indexes: tuple[str, ...]  # on just these columns; the server may have made one for the foreign key

    def to_json(self) -> Json:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> ForeignKey:
        values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in data.items()}
        return cls(**values)


def of(sql: Sql, database: str) -> list[ForeignKey]:
    """All foreign keys of a database's tables."""
    columns: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
    for constraint, table, column, schema, parent, other in sql.execute(
        "SELECT CONSTRAINT_NAME, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, "
        "REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s "
        "AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        (database,),
    ):
        columns.setdefault((constraint, table, schema, parent), []).append((column, other))
    return [
        ForeignKey(
            constraint,
            table,
            tuple(pair[0] for pair in pairs),
            "" if schema == database else schema,
            parent,
            tuple(pair[1] for pair in pairs),
            _rules(sql, database, table, constraint),
            tuple(_indexes(sql, database, table, [pair[0] for pair in pairs])),
        )
        for (constraint, table, schema, parent), pairs in columns.items()
    ]


def _rules(sql: Sql, database: str, table: str, constraint: str) -> str:
    """Not from information_schema: it names a rule where the table's definition leaves the default unsaid,
    and the definition would be another one afterwards."""
    definition = str(sql.execute(f"SHOW CREATE TABLE {qualified(database, table)}")[0][1])
    start = definition.index(f"CONSTRAINT {name(constraint)} FOREIGN KEY ")
    found = _RULES.search(definition, start)
    return found[1] if found else ""


def _indexes(sql: Sql, database: str, table: str, columns: Sequence[str]) -> list[str]:
    """Names of the table's indexes on just these columns, in this order."""
    found: dict[str, list[str]] = {}
    for index, column in sql.execute(
        "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        (database, table),
    ):
        found.setdefault(index, []).append(column)
    return [index for index, held in found.items() if held == list(columns)]


def touching(keys: Sequence[ForeignKey], tables: Collection[str]) -> list[ForeignKey]:
    """Those of these tables, and those that point to them."""
    return [key for key in keys if key.table in tables or (not key.schema and key.parent in tables)]


def from_elsewhere(sql: Sql, database: str, tables: Collection[str]) -> list[str]:
    """Tables of other databases that refer to some of these."""
    rows = sql.execute(
        "SELECT DISTINCT CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME), REFERENCED_TABLE_NAME "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS "
        "WHERE UNIQUE_CONSTRAINT_SCHEMA = %s AND CONSTRAINT_SCHEMA <> %s",
        (database, database),
    )
    return sorted({str(table) for table, parent in rows if parent in tables})


def drop(sql: Sql, database: str, keys: Sequence[ForeignKey]) -> None:
    for key in keys:
        sql.execute(f"ALTER TABLE {qualified(database, key.table)} DROP FOREIGN KEY {name(key.name)}")


def make(sql: Sql, database: str, keys: Sequence[ForeignKey]) -> None:
    """Without looking at the rows, which takes no time; `orphans` has looked."""
    sql.execute("SET SESSION foreign_key_checks = 0")
    for key in keys:
        here, there = (", ".join(map(name, columns)) for columns in (key.columns, key.parents))
        sql.execute(
            f"ALTER TABLE {qualified(database, key.table)} ADD CONSTRAINT {name(key.name)} FOREIGN KEY ({here}) "
            f"REFERENCES {qualified(key.schema or database, key.parent)} ({there}){key.rules}",
            doing=f"making the foreign key {key.name} of {key.table} again",
        )
        # An index that the server had made for a nameless foreign key gives way to one of the key's name.
        lost = [one for one in key.indexes if one not in _indexes(sql, database, key.table, key.columns)]
        if lost:
            sql.execute(
                f"ALTER TABLE {qualified(database, key.table)} RENAME INDEX {name(key.name)} TO {name(lost[0])}"
            )


def orphans(sql: Sql, key: ForeignKey, child: str, parent: str) -> int:
    """Rows of the table in the database `child` whose parent is not in the database `parent`."""
    pairs = list(zip(key.columns, key.parents))
    given = " AND ".join(f"c.{name(column)} IS NOT NULL" for column, other in pairs)
    equal = " AND ".join(f"p.{name(other)} = c.{name(column)}" for column, other in pairs)
    try:
        return int(
            sql.value(
                f"SELECT COUNT(*) FROM {qualified(child, key.table)} c WHERE {given} AND NOT EXISTS "
                f"(SELECT 1 FROM {qualified(parent, key.parent)} p WHERE {equal})"
            )
        )
    except SqlError as error:
        if error.code not in (NO_TABLE, _NO_COLUMN):
            raise
        raise Refused(
            f"the foreign key {key.name} of {key.table} does not fit {key.parent}: {error.what}",
            hint=f"Include {key.table} and {key.parent}, or use include_suffix and copy over what was lost.",
        ) from None
