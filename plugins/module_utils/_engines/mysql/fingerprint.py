# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Fingerprints: exact rows per table, and a checksum of a table's content that the server computes.

The checksum adds up the first 64 bits of each row's hash, so it does not depend on the rows' order, counts equal
rows each, and is the same wherever the same rows are loaded. It takes columns in
their ordinal order, invisible ones too; generated columns follow from the others. FLOAT counts as the
six digits that a dump carries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Optional

from ..._core.errors import Busy, Refused
from ..._core.model import TableFingerprint
from . import connection
from .catalog import Column, Table
from .connection import Sql, SqlError, name, qualified

_STRINGS = ("char", "varchar", "binary", "varbinary", "enum", "set")
_LONG = ("tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "json", "vector")
_SPATIAL = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
)
_SHORT = 255  # longer values go in by their hash, because a function's result is limited by max_allowed_packet


def field(column: Column, digest: str) -> str:
    """One column as text that two different values never share; NULL as `-`, which no value is."""
    quoted = name(column.name)
    if column.data_type in _LONG or column.data_type in _SPATIAL:
        value = digest.format(quoted)
    elif column.data_type in _STRINGS:
        value = f"HEX({quoted})" if (column.octets or _SHORT + 1) <= _SHORT else digest.format(quoted)
    elif column.data_type == "bit":
        value = f"HEX({quoted})"
    else:
        value = f"CAST({quoted} AS CHAR)"
    return f"IFNULL(CONCAT('+', {value}), '-')"


def query(
    database: str, table: Table, columns: Sequence[Column], level: str, history: bool, digest: str = "MD5({})"
) -> str:
    """Rows of one table, and its checksum at the level `full`."""
    source = qualified(database, table.name)
    if history and table.history:
        source += " FOR SYSTEM_TIME ALL"
    stored = [column for column in columns if not column.generated]
    if level != "full" or not stored:
        return f"SELECT COUNT(*) FROM {source}"
    row = digest.format(f"CONCAT_WS(',', {', '.join(field(column, digest) for column in stored)})")
    return f"SELECT COUNT(*), SUM(CAST(CONV(LEFT({row}, 16), 16, 10) AS UNSIGNED)) FROM {source}"


def read(
    sql: Sql, database: str, table: Table, columns: Sequence[Column], level: str, history: bool = False
) -> TableFingerprint:
    row = sql.execute(query(database, table, columns, level, history, sql.flavour.digest))[0]
    if len(row) == 1:
        return TableFingerprint(int(row[0]))
    return TableFingerprint(int(row[0]), checksum=f"{int(row[1] or 0):x}")


@contextlib.contextmanager
def released(sql: Sql) -> Iterator[None]:
    """Give back the metadata lock that a read takes inside a transaction: without it a schema change waits
    for us, and the application waits for the schema change."""
    sql.execute("SAVEPOINT day2")
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the error that is on its way says more
            sql.execute("ROLLBACK TO SAVEPOINT day2")


def seen(
    views: Sequence[Sql], database: str, table: Table, columns: Sequence[Column], level: str, history: bool
) -> TableFingerprint:
    """One table as all given snapshots see it: exact where they agree, a range otherwise."""
    found = []
    for sql in views:
        try:
            with released(sql):
                found.append(read(sql, database, table, columns, level, history))
        except SqlError as error:
            if error.code in (connection.DEFINITION_CHANGED, connection.NO_TABLE, 1054):
                raise Busy(
                    f"the table {table.name} was changed while it was backed up ({error.what})",
                    hint="Run the backup again when no migration runs.",
                ) from None
            raise
    return merge(found)


def merge(found: Sequence[TableFingerprint]) -> TableFingerprint:
    if all(one == found[0] for one in found):
        return found[0]
    rows = [one.rows for one in found]
    return TableFingerprint(min(rows), max(rows))


def check_newest(wanted: Optional[Mapping[str, str]], columns: Callable[[str], Sequence[str]]) -> None:
    """Refuse a column that is not there."""
    if wanted and wanted["column"] not in columns(wanted["table"]):
        table, present = wanted["table"], columns(wanted["table"])
        what = f"the table {table} has no column {wanted['column']}" if present else f"there is no table {table}"
        raise Refused(f"newest: {what}", hint=f"Its columns are {', '.join(present)}." if present else "")


def newest(sql: Sql, database: str, wanted: Optional[Mapping[str, str]]) -> Optional[str]:
    """The largest value of the column that the user named."""
    if not wanted:
        return None
    with released(sql):
        value = sql.value(
            f"SELECT CAST(MAX({name(wanted['column'])}) AS CHAR) FROM {qualified(database, wanted['table'])}"
        )
    return None if value is None else str(value)
