# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The fingerprint of a SQLite database: exact rows, and at level `full` a checksum of every row.

A virtual table (FTS5, R-Tree) keeps its rows in shadow tables, which are ordinary ones and counted;
the module that made it may be missing here, so the virtual table itself is only counted as an object.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core.model import Fingerprint, TableFingerprint
from .sqlite_file import quoted

_MODULUS = 1 << 256


class _Text(bytes):
    """A TEXT value as its bytes: text in a database need not be valid UTF-8."""


def tables(connection: sqlite3.Connection) -> list[str]:
    """Names of all tables that hold rows themselves, without SQLite's own."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [row[0] for row in rows]


def objects(connection: sqlite3.Connection) -> dict[str, int]:
    """Counts of views, triggers, indexes (the implied ones left out) and virtual tables."""
    rows = connection.execute(
        "SELECT CASE WHEN type = 'table' THEN 'virtual_table' ELSE type END, COUNT(*) FROM sqlite_master"
        " WHERE type IN ('view', 'trigger') OR (type = 'index' AND sql IS NOT NULL)"
        " OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL%') GROUP BY 1"
    )
    return dict(rows.fetchall())


def fingerprint(
    connection: sqlite3.Connection, level: str = "counts", newest: Optional[Mapping[str, Any]] = None
) -> Fingerprint:
    """What the connection sees now; hold a read transaction where somebody else may write."""
    sequences = _sequences(connection) if level == "full" else {}
    counted: dict[str, TableFingerprint] = {}
    for name in tables(connection):
        if level == "full":
            counted[name] = _checksum(connection, name, sequences.get(name))
        else:
            counted[name] = TableFingerprint(connection.execute(f"SELECT COUNT(*) FROM {quoted(name)}").fetchone()[0])
    return Fingerprint(level, counted, objects(connection), newest_value(connection, newest))


def newest_value(connection: sqlite3.Connection, newest: Optional[Mapping[str, Any]]) -> Optional[str]:
    if not newest:
        return None
    # Qualified, because SQLite takes an unknown "column" in double quotes for a string.
    column = f"t.{quoted(newest['column'])}"
    value = connection.execute(f"SELECT MAX({column}) FROM {quoted(newest['table'])} AS t").fetchone()[0]
    return None if value is None else str(value)


def schema_revision(connection: sqlite3.Connection) -> Optional[str]:
    """Alembic's revision (several heads separated by commas) where its table exists."""
    if "alembic_version" not in tables(connection):
        return None
    rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    return ",".join(str(row[0]) for row in rows) or None


def _sequences(connection: sqlite3.Connection) -> dict[str, Any]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        return {}
    return dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())


def _checksum(connection: sqlite3.Connection, table: str, sequence: Any) -> TableFingerprint:
    """Rows, and the sum of their SHA-256: it needs no order, so no sorting and no memory."""
    # Generated columns follow from the others, and their expressions may need functions of the application.
    columns = [quoted(row[1]) for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})") if row[6] == 0]
    total = rows = 0
    before = connection.text_factory
    connection.text_factory = _Text
    try:
        cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {quoted(table)}")
        for row in cursor:
            total = (total + int.from_bytes(hashlib.sha256(_encoded(row)).digest(), "big")) % _MODULUS
            rows += 1
    finally:
        connection.text_factory = before
    summary = b"%d %s" % (total, b"" if sequence is None else b"%d" % sequence)
    return TableFingerprint(rows, checksum=hashlib.sha256(summary).hexdigest())


def _encoded(row: Sequence[Any]) -> bytes:
    """Every value with its type and length, so that no two different rows look the same."""
    parts: list[bytes] = []
    for value in row:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, int):
            parts.append(b"i%d;" % value)
        elif isinstance(value, float):
            parts.append(b"f" + struct.pack(">d", value))
        else:
            parts.append(b"%s%d:" % (b"t" if isinstance(value, _Text) else b"b", len(value)))
            parts.append(value)
    return b"".join(parts)
