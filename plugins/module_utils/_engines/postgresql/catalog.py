# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is in a database: its relations, what keeps the user from dumping them, what needs what."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Optional

from ..._core.errors import Refused
from .connection import Database
from .names import choose, label, listed, qualified

# Schemas that pg_dump dumps, and what belongs to an extension (CREATE EXTENSION brings it back).
USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def not_of_extension(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid}"
        " AND e.deptype = 'e')"
    )


_RELATIONS = f"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
       row_security_active(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {USER_SCHEMA} AND {not_of_extension("pg_class", "c.oid")}
 ORDER BY n.nspname, c.relname
"""

KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "f": "foreign table",
}


@dataclasses.dataclass(frozen=True)
class Relation:
    oid: int
    schema: str
    name: str
    kind: str  # of KINDS
    unlogged: bool
    readable: bool
    filtered: bool  # row level security would hide rows from this user

    @property
    def label(self) -> str:
        return label(self.schema, self.name)


def relations(database: Database) -> list[Relation]:
    """Tables, views and sequences of the user's schemas."""
    return [
        Relation(oid, schema, name, KINDS[kind], persistence == "u", readable, filtered)
        for oid, schema, name, kind, persistence, readable, filtered in database.rows(_RELATIONS)
    ]


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which relations a dump holds."""

    kept: tuple[Relation, ...]
    excluded: tuple[Relation, ...] = ()

    @property
    def tables(self) -> list[Relation]:
        """Those with rows of their own. A partitioned table has none: its partitions are counted."""
        return [relation for relation in self.kept if relation.kind == "table"]

    @property
    def locked(self) -> list[Relation]:
        """Those that pg_dump locks."""
        return [relation for relation in self.kept if relation.kind in ("table", "partitioned table")]

    @property
    def excluded_oids(self) -> list[int]:
        return [relation.oid for relation in self.excluded]


_PARTITIONS = """
WITH RECURSIVE below AS (
  SELECT unnest(%s::bigint[]) AS oid
  UNION SELECT i.inhrelid::bigint FROM below b
    JOIN pg_inherits i ON i.inhparent = b.oid JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
SELECT oid FROM below
"""


def select(database: Database, exclude: Sequence[str]) -> Selection:
    """The dump's relations without those that `exclude` names, and without their partitions."""
    found = relations(database)
    if not exclude:
        return Selection(tuple(found))
    known = {relation.oid: (relation.schema, relation.name) for relation in found if relation.kind != "sequence"}
    named = [choose(wanted, known, "exclude_tables") for wanted in exclude]
    left_out = set(database.column(_PARTITIONS, named))
    return Selection(
        tuple(relation for relation in found if relation.oid not in left_out),
        tuple(relation for relation in found if relation.oid in left_out),
    )


_NEEDING = """
WITH excluded AS (SELECT unnest(%s::oid[]) AS oid), needing AS (
  SELECT 'view ' AS what, v.relnamespace AS schema, v.relname AS name
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
   WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
     AND d.refobjid IN (SELECT oid FROM excluded) AND v.oid NOT IN (SELECT oid FROM excluded)
  UNION SELECT 'foreign key ' || k.conname || ' of table ', t.relnamespace, t.relname
    FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
   WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM excluded)
     AND k.conrelid NOT IN (SELECT oid FROM excluded)
  UNION SELECT 'inheriting table ', t.relnamespace, t.relname
    FROM pg_inherits i JOIN pg_class t ON t.oid = i.inhrelid AND t.relkind NOT IN ('i', 'I')
   WHERE i.inhparent IN (SELECT oid FROM excluded) AND i.inhrelid NOT IN (SELECT oid FROM excluded)
  UNION SELECT 'routine ', p.pronamespace, p.proname
    FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
   WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass
     AND d.refobjid IN (SELECT oid FROM excluded))
SELECT x.what, n.nspname, x.name FROM needing x JOIN pg_namespace n ON n.oid = x.schema ORDER BY 1, 2, 3
"""


def needing(database: Database, excluded: Collection[int]) -> list[str]:
    """What is dumped and cannot be restored without the excluded tables."""
    return [what + label(schema, name) for what, schema, name in database.rows(_NEEDING, list(excluded))]


def refuse_incomplete(database: Database, selection: Selection) -> None:
    """Refuse what would make the dump fail or, worse, hold less than the database without saying so."""
    _refuse_unreadable(database, selection.kept)
    if selection.excluded:
        needing_it = needing(database, selection.excluded_oids)
        if needing_it:
            names = listed([relation.label for relation in selection.excluded])
            raise Refused(
                f"a backup without {names} could not be restored, because of {listed(needing_it)}",
                hint="Name these in exclude_tables too (views as well), or leave the table in.",
            )


def _refuse_unreadable(database: Database, kept: Iterable[Relation]) -> None:
    kept = list(kept)
    user = database.value("SELECT current_user::text")
    dumped = [relation for relation in kept if relation.kind in ("table", "partitioned table", "sequence")]
    unreadable = [f"{relation.kind} {relation.label}" for relation in dumped if not relation.readable]
    if unreadable:
        raise Refused(
            f"user {user} may not read {listed(unreadable)}, so a dump would fail",
            hint="Grant SELECT on them and USAGE on their schemas (from version 14: GRANT pg_read_all_data TO …), "
            "or use a superuser.",
        )
    filtered = [relation.label for relation in dumped if relation.filtered]
    if filtered:
        raise Refused(
            f"row level security hides rows of {listed(filtered)} from user {user}",
            hint="Use a user with BYPASSRLS or a superuser.",
        )
    hidden = database.value(_HIDDEN_LARGE_OBJECTS)
    if hidden:
        raise Refused(f"user {user} may not read {hidden} of the large objects", hint="Use their owner or a superuser.")


_HIDDEN_LARGE_OBJECTS = """
SELECT count(*) FROM pg_largeobject_metadata l
 WHERE current_setting('lo_compat_privileges')::bool IS FALSE
   AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
   AND NOT pg_has_role(l.lomowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
"""


@dataclasses.dataclass(frozen=True)
class Newest:
    """The column whose largest value tells how fresh the data are."""

    oid: int
    schema: str
    table: str
    column: str


def newest_column(database: Database, table: str, column: str, kept: Iterable[Relation]) -> Newest:
    known = {
        relation.oid: (relation.schema, relation.name) for relation in kept if relation.kind not in ("sequence", "view")
    }
    oid = choose(table, known, "newest")
    columns = database.column(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        oid,
    )
    if column not in columns:
        raise Refused(
            f'newest: table {label(*known[oid])} has no column "{column}"', hint=f"It has {listed(columns, 20)}."
        )
    return Newest(oid, *known[oid], column)


_REVISION = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num'
 WHERE c.relname = 'alembic_version' AND c.relkind IN ('r', 'p') AND {USER_SCHEMA}
   AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY n.nspname <> 'public', array_position(%s::text[], n.nspname::text) NULLS LAST, n.nspname LIMIT 1
"""


def schema_revision(database: Database, search_path: Sequence[str]) -> Optional[str]:
    """Alembic's revision: of the table in `public`, else of the first one on the search path, else of any."""
    found = database.rows(_REVISION, list(search_path))
    if not found:
        return None
    revisions = database.column(f"SELECT version_num::text FROM {qualified(*found[0])} ORDER BY 1")
    return ",".join(revisions) or None
