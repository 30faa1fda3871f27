# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The fingerprint: exact rows (and checksums) of every table, objects by kind, in one transaction.

Rows are counted where they are: in tables and in leaf partitions (`ONLY`), never twice through a
parent. Materialized views are counted as objects, not by rows: a restore computes them again.

The checksum of the level `full` is the sum, modulo 2^64, of a hash of each row as text, so it does
not depend on the rows' order, nor on that of the columns (a child table may get its columns in another
order when it is made again). Settings that change how values are written are fixed, so it is the same
on the copy, on this or on a newer major version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

from ..._core.errors import Refused
from ..._core.model import Fingerprint, TableFingerprint
from .catalog import USER_SCHEMA, Newest, Relation, not_of_extension
from .connection import Database, SqlError
from .names import ident, label, qualified

LARGE_OBJECTS = "pg_largeobject"

_SETTINGS = {
    "statement_timeout": "0",
    "row_security": "off",  # an error rather than a part of the rows
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "default_transaction_read_only": "off",
}

# A row whose text does not fit into 1 GB: too long a string, or more memory than the server allocates.
_TOO_LARGE = ("54000", "XX000", "53200")


def settle(database: Database) -> None:
    """Fix the session's settings that decide how values are written."""
    for name, value in _SETTINGS.items():
        database.run("SELECT set_config(%s, %s, false)", name, value)


def take(
    database: Database,
    level: str,
    tables: Sequence[Relation],
    excluded: Sequence[int],
    newest: Optional[Newest],
    warn: Callable[[str], None],
    empty: Sequence[str] = (),
) -> Fingerprint:
    """The fingerprint within the transaction that is open on `database`; `empty`: tables dumped without rows."""
    counted = {name: TableFingerprint(0, checksum=_digits(0) if level == "full" else None) for name in empty}
    counted.update({table.label: _count(database, table, level, warn) for table in tables})
    objects = {kind: count for kind, count in database.rows(_OBJECTS, list(excluded)) if count}
    if level == "full" and objects.get("large object"):
        counted[LARGE_OBJECTS] = _large_objects(database, objects["large object"], warn)
    return Fingerprint(level, counted, objects, newest_value(database, newest) if newest else None)


def check_newest(database: Database, newest: Newest) -> None:
    """Refuse a column that has no largest value, without looking at a row."""
    newest_value(database, newest, "WHERE false")


def newest_value(database: Database, newest: Newest, where: str = "") -> Optional[str]:
    column, table = ident(newest.column), qualified(newest.schema, newest.table)
    try:
        value = database.value(f"SELECT max({column})::text FROM {table} {where}")
    except SqlError as error:
        if error.sqlstate != "42883":  # undefined_function: the type has no order, or no max()
            raise
        name = f"{label(newest.schema, newest.table)}.{newest.column}"
        raise Refused(f"newest: column {name} has a type without a largest value") from None
    return None if value is None else str(value)


def _count(database: Database, table: Relation, level: str, warn: Callable[[str], None]) -> TableFingerprint:
    # A savepoint, so that one table's failure does not end the snapshot, and so that what the query
    # locked besides the table (its indexes) is free again.
    database.run("SAVEPOINT day2")
    try:
        if level == "full":
            try:
                rows, total = database.row(_checksum(database, table))
                return TableFingerprint(rows, checksum=_digits(total))
            except SqlError as error:
                if error.sqlstate not in _TOO_LARGE:
                    raise
                database.run("ROLLBACK TO SAVEPOINT day2")
                warn(f"table {table.label} holds rows too large for a checksum ({error.what}): it is compared by count")
        return TableFingerprint(database.value(f"SELECT count(*) FROM ONLY {qualified(table.schema, table.name)}"))
    finally:
        database.run("ROLLBACK TO SAVEPOINT day2")
        database.run("RELEASE SAVEPOINT day2")


def _checksum(database: Database, table: Relation) -> str:
    columns = database.column(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
        ' ORDER BY attname COLLATE "C"',
        table.oid,
    )
    row = f"ROW({', '.join('t.' + ident(column) for column in columns)})::text"
    return f'SELECT count(*), sum(hashtextextended(({row}) COLLATE "C", 0)) FROM ONLY {qualified(table.schema, table.name)} t'


def _large_objects(database: Database, count: int, warn: Callable[[str], None]) -> TableFingerprint:
    database.run("SAVEPOINT day2")
    try:
        total = database.value(
            "SELECT sum(hashtextextended((l.oid::text || ':' || encode(sha256(lo_get(l.oid)), 'hex')) COLLATE \"C\", 0))"
            " FROM pg_largeobject_metadata l"
        )
        return TableFingerprint(count, checksum=_digits(total))
    except SqlError as error:
        if error.sqlstate not in _TOO_LARGE:
            raise
        warn(f"a large object is too large for a checksum ({error.what}): they are compared by count")
        return TableFingerprint(count)
    finally:
        database.run("ROLLBACK TO SAVEPOINT day2")
        database.run("RELEASE SAVEPOINT day2")


def _digits(total: Optional[int]) -> str:
    return f"{int(total or 0) % 2**64:016x}"


# Counted only where every supported version counts alike: clones of triggers and constraints on
# partitions, functions that a range type brings along and not-null constraints are left out.
_OBJECTS = f"""
WITH gone AS (SELECT unnest(%s::oid[]) AS oid),
rel AS (
  SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE {USER_SCHEMA} AND {not_of_extension("pg_class", "c.oid")} AND c.oid NOT IN (SELECT oid FROM gone)),
tab AS (SELECT oid, relkind FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f'))
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
         WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END, count(*) FROM tab GROUP BY 1
UNION ALL SELECT 'sequence', count(*) FROM rel s WHERE relkind = 'S' AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype = 'i'
     AND d.refobjid IN (SELECT oid FROM gone))
UNION ALL SELECT 'index', count(*) FROM pg_index i JOIN tab ON tab.oid = i.indrelid
UNION ALL SELECT 'trigger', count(*) FROM pg_trigger t JOIN tab ON tab.oid = t.tgrelid
  WHERE NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL SELECT 'rule', count(*) FROM pg_rewrite r JOIN tab ON tab.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL SELECT 'policy', count(*) FROM pg_policy p JOIN tab ON tab.oid = p.polrelid
UNION ALL SELECT CASE contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, count(*)
  FROM pg_constraint k JOIN tab ON tab.oid = k.conrelid
  WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0 GROUP BY 1
UNION ALL SELECT 'statistics', count(*) FROM pg_statistic_ext s JOIN tab ON tab.oid = s.stxrelid
UNION ALL SELECT 'routine', count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE {USER_SCHEMA} AND {not_of_extension("pg_proc", "p.oid")} AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
UNION ALL SELECT 'type', count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE {USER_SCHEMA} AND {not_of_extension("pg_type", "t.oid")}
    AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
UNION ALL SELECT 'schema', count(*) FROM pg_namespace n
  WHERE {USER_SCHEMA} AND {not_of_extension("pg_namespace", "n.oid")}
UNION ALL SELECT 'extension', count(*) FROM pg_extension WHERE extname <> 'plpgsql'
UNION ALL SELECT 'event trigger', count(*) FROM pg_event_trigger t WHERE {not_of_extension("pg_event_trigger", "t.oid")}
UNION ALL SELECT 'publication', count(*) FROM pg_publication
UNION ALL SELECT 'large object', count(*) FROM pg_largeobject_metadata
"""
