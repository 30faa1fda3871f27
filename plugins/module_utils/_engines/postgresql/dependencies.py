# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What hangs on single tables: foreign keys and views (made again), and what keeps a table from being
replaced alone.

PostgreSQL knows a table by its oid, so whatever refers to one that is moved away silently goes on
referring to the old one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from ..._core.errors import Refused
from ..._core.model import Json
from .connection import Database
from .names import ident, label, listed, qualified

Name = tuple[str, str]  # schema and name


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    name: str
    table: Name
    parent: Name
    definition: str  # with every name qualified

    @property
    def drop(self) -> str:
        return f"ALTER TABLE {qualified(*self.table)} DROP CONSTRAINT IF EXISTS {ident(self.name)}"

    @property
    def make(self) -> str:
        return f"ALTER TABLE {qualified(*self.table)} ADD CONSTRAINT {ident(self.name)} {self.definition}"

    def to_json(self) -> Json:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> ForeignKey:
        return cls(data["name"], tuple(data["table"]), tuple(data["parent"]), data["definition"])


_FOREIGN_KEYS = """
SELECT k.conname::text, tn.nspname::text, t.relname::text, pn.nspname::text, p.relname::text, pg_get_constraintdef(k.oid)
  FROM pg_constraint k
  JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY(%s::oid[]) OR k.confrelid = ANY(%s::oid[]))
 ORDER BY 2, 3, 1
"""


def foreign_keys(database: Database, tables: Sequence[int]) -> list[ForeignKey]:
    """Those of these tables, and those that point to them."""
    found = database.rows(_FOREIGN_KEYS, list(tables), list(tables))
    return [
        ForeignKey(name, (schema, table), (parent_schema, parent), definition)
        for name, schema, table, parent_schema, parent, definition in found
    ]


@dataclasses.dataclass(frozen=True)
class View:
    """A view that reads a table. `CREATE OR REPLACE` keeps its oid, owner, privileges and what reads it."""

    name: Name
    options: str
    definition: str

    @property
    def make(self) -> str:
        options = f" WITH ({self.options})" if self.options else ""
        return f"CREATE OR REPLACE VIEW {qualified(*self.name)}{options} AS {self.definition}"

    def to_json(self) -> Json:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> View:
        return cls(tuple(data["name"]), data["options"], data["definition"])


_VIEWS = """
SELECT DISTINCT n.nspname::text, v.relname::text, coalesce(array_to_string(v.reloptions, ', '), ''), pg_get_viewdef(v.oid)
  FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v' JOIN pg_namespace n ON n.oid = v.relnamespace
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%s::oid[])
 ORDER BY 1, 2
"""


def views(database: Database, tables: Sequence[int]) -> list[View]:
    """Views that read one of these tables themselves."""
    return [
        View((schema, name), options, definition.rstrip().rstrip(";"))
        for schema, name, options, definition in database.rows(_VIEWS, list(tables))
    ]


_STATISTICS = """
SELECT n.nspname::text, s.stxname::text, s.stxrelid::bigint
  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = ANY(%s::oid[]) ORDER BY 1, 2
"""


def statistics(database: Database, tables: Sequence[int]) -> list[tuple[str, str, int]]:
    """Statistics objects with the oid of their table: they have a schema of their own."""
    return list(database.rows(_STATISTICS, list(tables)))


# What keeps a table from being replaced alone ---------------------------------------------------------

_RELATED = """
SELECT n.nspname, c.relname, CASE WHEN i.inhrelid = c.oid THEN
         CASE WHEN c.relispartition THEN 'a partition of ' ELSE 'inherits from ' END ELSE 'is inherited by ' END,
       (SELECT on_.nspname FROM pg_namespace on_ WHERE on_.oid = o.relnamespace), o.relname
  FROM pg_inherits i JOIN pg_class c ON c.oid = ANY(%s::oid[]) AND c.oid IN (i.inhrelid, i.inhparent)
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class o ON o.oid = CASE WHEN i.inhrelid = c.oid THEN i.inhparent ELSE i.inhrelid END
 ORDER BY 1, 2 LIMIT 1
"""

# Normal dependencies on the tables, their row types and their own sequences, of anything that is not a
# part of them, a foreign key, or a view.
_DEPENDENT = """
WITH chosen AS (SELECT unnest(%s::oid[]) AS oid),
own AS (
  SELECT oid FROM chosen
  UNION SELECT s.objid FROM pg_depend s JOIN chosen c ON s.refobjid = c.oid
    JOIN pg_class q ON q.oid = s.objid AND q.relkind = 'S'
   WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass AND s.deptype IN ('a', 'i')),
types AS (
  SELECT t.oid FROM pg_type t JOIN chosen c ON t.typrelid = c.oid
  UNION SELECT a.oid FROM pg_type a JOIN pg_type t ON a.typelem = t.oid AND a.typcategory = 'A'
    JOIN chosen c ON t.typrelid = c.oid)
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_depend d
  LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
  LEFT JOIN pg_class v ON v.oid = r.ev_class
  LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
  LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
  LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
  LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
 WHERE d.deptype = 'n'
   AND ((d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM own))
     OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM types)))
   AND coalesce(r.ev_class, k.conrelid, p.polrelid, t.tgrelid, f.adrelid,
                CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END, 0) NOT IN (SELECT oid FROM own)
   AND NOT (d.classid = 'pg_rewrite'::regclass AND v.relkind = 'v' AND d.refclassid = 'pg_class'::regclass)
   AND NOT (d.classid = 'pg_constraint'::regclass AND k.contype = 'f')
   AND NOT (d.classid = 'pg_trigger'::regclass AND t.tgisinternal)
UNION SELECT 'publication ' || b.pubname FROM pg_publication_rel l JOIN pg_publication b ON b.oid = l.prpubid
 WHERE l.prrelid IN (SELECT oid FROM chosen)
 ORDER BY 1
"""


def refuse_related(database: Database, tables: Sequence[int]) -> None:
    """Inheritance and partitions, in the live database and in the backup alike."""
    for schema, name, how, other_schema, other in database.rows(_RELATED, list(tables)):
        raise Refused(
            f"table {label(schema, name)} is not restored alone: it {'is ' if how.startswith('a ') else ''}{how}"
            f"{label(other_schema, other)}",
            hint="Restore the datastore as a whole, or beside with `into`, and copy over what was lost.",
        )


def refuse_dependent(database: Database, tables: Sequence[int]) -> None:
    found = database.column(_DEPENDENT, list(tables))
    if found:
        raise Refused(
            f"the chosen tables cannot be replaced alone while there are: {listed(found)}. They would go on with the old ones",
            hint="Drop them for the time of the restore, or use include_suffix and copy over what was lost.",
        )


def oids(database: Database, names: Collection[Name]) -> dict[Name, tuple[int, str]]:
    """Oid and kind of the relations of these names."""
    found = database.rows(
        "SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.relkind::text FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN unnest(%s::text[], %s::text[]) AS w(schema, name)"
        " ON w.schema = n.nspname AND w.name = c.relname",
        [schema for schema, name in names],
        [name for schema, name in names],
    )
    return {(schema, name): (oid, kind) for schema, name, oid, kind in found}


def places(database: Database, tables: Sequence[int]) -> dict[int, Name]:
    """Where these tables are now, by oid."""
    found = database.rows(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])",
        list(tables),
    )
    return {oid: (schema, name) for oid, schema, name in found}


def columns(database: Database, tables: Sequence[int]) -> dict[Name, list[str]]:
    """Columns with their types, by table."""
    found: dict[Name, list[str]] = {}
    for schema, table, column in database.rows(
        "SELECT n.nspname::text, c.relname::text, a.attname || ' ' || format_type(a.atttypid, a.atttypmod)"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2, a.attnum",
        list(tables),
    ):
        found.setdefault((schema, table), []).append(column)
    return found
