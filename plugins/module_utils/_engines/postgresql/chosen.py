# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Chosen tables of a staged database, carried into the live one and put in place in one transaction.

Tables do not move between databases. The chosen ones are moved into schemas of their own in the staged
copy, which pg_dump and pg_restore carry over whole: rows, indexes, constraints, privileges, sequences.
Then one transaction moves the live tables out, these in, makes the foreign keys again (the server checks
every row) and the views that read them. Old tables stay in a schema of their own until `finish`.

In the step, `point` says what may have begun: `loading` (our schemas are in the live database) or
`swapping` (the transaction); `undo` looks where the tables are, by oid, and so knows what was committed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from ..._core.errors import Interrupted, OpsError, Refused
from ..._core.journal import Step
from ..._core.model import Json, Part
from ..base import Chosen
from ..chosen import refuse_unknown
from . import dependencies
from .connection import KEEPALIVES, Database, Server, SqlError
from .dependencies import ForeignKey, Name, View
from .names import conninfo, ident, label, qualified
from .snapshot import end_tool
from .tools import Tool, connection_flags, environment, failure, restore_argv

_LABEL = re.compile(r'("(?:[^"]|"")*"|[^".]+)\.("(?:[^"]|"")*"|[^"]+)')
_LONGEST = 63  # bytes of a name
_NEEDED = "What the tables need (a type, a function, a role) may not be in the live database."
_LOCK_TIMEOUT = "30s"
_FOREIGN_KEY_VIOLATION = "23503"
WAY = "chosen"  # in the step: not the swap of whole databases
LOADING, SWAPPING, SWAPPED, UNDONE = "loading", "swapping", "swapped", "undone"


@dataclasses.dataclass(frozen=True)
class Carrier:
    """What carries tables from one database to another. `prefix` begins the names of our schemas."""

    server: Server
    dump: Tool
    restore: Tool
    flags: Sequence[str]  # of pg_restore: what this server lacks
    prefix: str


# Before anything is staged --------------------------------------------------------------------------


def check(live: Database, part: Part, chosen: Chosen) -> list[str]:
    """Refuse what the live database does not allow; warnings."""
    refuse_unknown(part, chosen)
    names = parsed(chosen)
    _refuse_taken(live, names, chosen.suffix)
    if chosen.suffix:
        return []
    there = _present(live, names)
    dependencies.refuse_related(live, there)
    dependencies.refuse_dependent(live, there)
    return sorted(
        {
            f"{label(*key.table)} refers to {label(*key.parent)} and stays as it is: the restore is refused if rows of it "
            "would lose theirs"
            for key in dependencies.foreign_keys(live, there)
            if key.table not in names
        }
    )


def parsed(chosen: Chosen) -> list[Name]:
    """Schema and name of each; a fingerprint has them as `names.label` writes them."""
    found = []
    for one in chosen.names:
        match = _LABEL.fullmatch(one)
        if match is None:
            raise Refused(
                f'include: "{one}" is no table', hint="Large objects are restored with the whole datastore only."
            )
        found.append((_plain(match[1]), _plain(match[2])))
    return found


def _plain(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def _refuse_taken(live: Database, names: Sequence[Name], suffix: str) -> None:
    schemas = set(live.column("SELECT nspname::text FROM pg_namespace"))
    for schema, _name in names:
        if schema not in schemas:
            raise Refused(f"the database has no schema {schema}", hint="Make it, or restore the datastore as a whole.")
    found = dependencies.oids(live, [(schema, name + suffix) for schema, name in names])
    for (schema, name), (_oid, kind) in found.items():
        if suffix:
            raise Refused(
                f"there is something called {label(schema, name)} already",
                hint="Drop it, or choose another include_suffix.",
            )
        if kind != "r":
            raise Refused(f"{label(schema, name)} is no ordinary table in the live database, and one in the backup")
    for _schema, name in names:
        if len((name + suffix).encode()) > _LONGEST:
            raise Refused(f'"{name + suffix}" is longer than {_LONGEST} bytes', hint="Choose a shorter include_suffix.")


def _present(database: Database, names: Sequence[Name]) -> list[int]:
    return [oid for oid, _kind in dependencies.oids(database, names).values()]


# Forward --------------------------------------------------------------------------------------------


def swap(carrier: Carrier, database: str, scratch: str, chosen: Chosen, step: Step) -> None:
    names = parsed(chosen)
    schemas = sorted({schema for schema, name in names})
    fresh = {schema: f"{carrier.prefix}new_{number}" for number, schema in enumerate(schemas)}
    kept = {schema: f"{carrier.prefix}old_{number}" for number, schema in enumerate(schemas)}
    server = carrier.server
    with server.connect(scratch, "load") as staged, server.connect(database) as live:
        _refuse_taken(live, names, chosen.suffix)
        _warn_of_drift(server, staged, live, names, chosen.suffix)
        after, moved = _pack(staged, names, fresh, chosen.suffix)
    step.save(
        way=WAY,
        live=database,
        names=[list(name) for name in names],
        suffix=chosen.suffix,
        fresh=fresh,
        kept=kept,
        point=LOADING,
    )
    try:
        _carry(carrier, scratch, database, list(fresh.values()))
        with server.connect(database, "swap") as live:
            _replace(live, step, names, after, moved)
    except (Exception, Interrupted):
        undo(server, step)
        raise
    step.save(point=SWAPPED)


def _pack(
    staged: Database, names: Sequence[Name], fresh: Mapping[str, str], suffix: str
) -> tuple[list[ForeignKey], list[Name]]:
    """Move the chosen tables of the staged copy into schemas of their own, without what would follow them.

    Returns the foreign keys that they had, and where their statistics objects belong.
    """
    tables = _present(staged, names)
    if len(tables) != len(names):
        raise OpsError("the staged copy lacks a chosen table")
    dependencies.refuse_related(staged, tables)
    keys = dependencies.foreign_keys(staged, tables)
    moved: list[Name] = []
    with _transaction(staged):
        for key in keys:
            staged.run(key.drop)
        for schema in fresh.values():
            staged.run(f"CREATE SCHEMA {ident(schema)}")
        for owner, schema in staged.rows(_OWNERS, tables):  # who gets a table must be allowed to have it there
            staged.run(f"GRANT ALL ON SCHEMA {ident(fresh[schema])} TO {ident(owner)}")
        homes = dependencies.places(staged, tables)
        for schema, name, table in dependencies.statistics(staged, tables):
            if suffix:
                staged.run(f"DROP STATISTICS {qualified(schema, name)}")
            else:
                staged.run(f"ALTER STATISTICS {qualified(schema, name)} SET SCHEMA {ident(fresh[homes[table][0]])}")
                moved.append((schema, name))
        if suffix:
            for table, trigger in staged.rows(_TRIGGERS, tables):
                staged.run(f"DROP TRIGGER {ident(trigger)} ON {qualified(*homes[table])}")
        for schema, name in names:
            staged.run(f"ALTER TABLE {qualified(schema, name)} SET SCHEMA {ident(fresh[schema])}")
    return [key for key in keys if key.table in names and not suffix], moved


_OWNERS = """
SELECT DISTINCT pg_get_userbyid(c.relowner)::text, n.nspname::text FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])
"""
_TRIGGERS = """
SELECT tgrelid::bigint, tgname::text FROM pg_trigger WHERE tgrelid = ANY(%s::oid[]) AND NOT tgisinternal
"""


def _carry(carrier: Carrier, scratch: str, database: str, schemas: Sequence[str]) -> None:
    """pg_dump of our schemas in the one database, into pg_restore in the other."""
    server, place = carrier.server, carrier.server.access.place
    dump = [
        carrier.dump.path,
        *connection_flags(server.access, server.user),
        *("--format=custom", "--compress=0", "--no-subscriptions", "--no-publications"),
        *(f"--schema={ident(schema)}" for schema in schemas),
        f"--dbname={conninfo(dbname=scratch, **KEEPALIVES)}",
    ]
    load = restore_argv(carrier.restore, server.access, server.user, database, carrier.flags)
    variables = environment(server.access, f"{server.program}-carry")
    source = place.spawn(dump, env=variables)
    tools = [source]
    try:
        target = place.spawn(load, env=variables, stdin=subprocess.PIPE)
        tools.append(target)
        with contextlib.suppress(BrokenPipeError):  # pg_restore has ended, and says why
            shutil.copyfileobj(source.stdout, target.stdin, 1 << 20)
            target.stdin.close()
            rc = source.wait()
            if rc != 0:
                raise failure("pg_dump", source, rc, "")
        rc = target.wait()
        if rc != 0:
            raise failure("pg_restore", target, rc, _NEEDED)
    except BaseException:
        for tool in tools:
            end_tool(server, tool, "carry")
        raise
    finally:
        for tool in tools:
            tool.close()


def _replace(
    live: Database, step: Step, names: Sequence[Name], after: Sequence[ForeignKey], moved: Sequence[Name]
) -> None:
    """The transaction. Whatever the server refuses in it leaves everything as it was."""
    fresh, kept, suffix = step.data["fresh"], step.data["kept"], step.data["suffix"]
    new = dependencies.oids(live, [(fresh[schema], name) for schema, name in names])
    for oid, _kind in new.values():
        live.run(f"ANALYZE {qualified(*dependencies.places(live, [oid])[oid])}")
    with _transaction(live):
        there = [] if suffix else sorted(dependencies.oids(live, names))
        for table in there:
            live.run(f"LOCK TABLE {qualified(*table)} IN ACCESS EXCLUSIVE MODE")
        old = [] if suffix else _present(live, names)
        dependencies.refuse_related(live, old)
        dependencies.refuse_dependent(live, old)
        before, views = dependencies.foreign_keys(live, old), dependencies.views(live, old)
        keys = [*after, *(key for key in before if key.table not in names)]
        step.save(
            point=SWAPPING,
            new=[new[fresh[schema], name][0] for schema, name in names],
            old=old,
            before=[key.to_json() for key in before],
            after=[key.to_json() for key in keys],
            views=[view.to_json() for view in views],
            statistics=dependencies.statistics(live, old),
            moved=[list(one) for one in moved],
        )
        for key in before:
            live.run(key.drop)
        _move_out(live, old, kept)
        if suffix:
            _rename(live, list(step.data["new"]), suffix)
        for schema, name in names:
            live.run(f"ALTER TABLE {qualified(fresh[schema], name + suffix)} SET SCHEMA {ident(schema)}")
        for schema, name in moved:
            holder = _schema_of_statistics(live, name, list(fresh.values()))
            live.run(f"ALTER STATISTICS {qualified(holder, name)} SET SCHEMA {ident(schema)}")
        _make(live, keys, views)


def _move_out(live: Database, old: Sequence[int], kept: Mapping[str, str]) -> None:
    places = dependencies.places(live, old)
    statistics = dependencies.statistics(live, old)
    for schema in sorted({schema for schema, name in places.values()}):
        live.run(f"CREATE SCHEMA {ident(kept[schema])}")
    for schema, name, table in statistics:
        live.run(f"ALTER STATISTICS {qualified(schema, name)} SET SCHEMA {ident(kept[places[table][0]])}")
    for schema, name in places.values():
        live.run(f"ALTER TABLE {qualified(schema, name)} SET SCHEMA {ident(kept[schema])}")


def _schema_of_statistics(live: Database, name: str, schemas: Sequence[str]) -> str:
    return str(
        live.value(
            "SELECT n.nspname::text FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace"
            " WHERE s.stxname = %s AND n.nspname = ANY(%s::text[])",
            name,
            list(schemas),
        )
    )


_OWN_NAMES = """
SELECT 'INDEX', n.nspname::text, c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indrelid = %s
UNION ALL SELECT 'SEQUENCE', n.nspname, c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
   AND d.deptype IN ('a', 'i')
"""


def _rename(live: Database, tables: Sequence[int], suffix: str) -> None:
    """Tables with their indexes and sequences, whose names are one set per schema."""
    for table in tables:
        for kind, schema, name in live.rows(_OWN_NAMES, table, table):
            short = name.encode()[: _LONGEST - len(suffix)].decode(errors="ignore")
            live.run(f"ALTER {kind} {qualified(schema, name)} RENAME TO {ident(short + suffix)}")
        schema, name = dependencies.places(live, [table])[table]
        live.run(f"ALTER TABLE {qualified(schema, name)} RENAME TO {ident(name + suffix)}")


def _make(live: Database, keys: Sequence[ForeignKey], views: Sequence[View]) -> None:
    for key in keys:
        try:
            live.run(key.make)
        except SqlError as error:
            table, parent = label(*key.table), label(*key.parent)
            if error.sqlstate == _FOREIGN_KEY_VIOLATION:
                raise Refused(
                    f"rows of {table} would refer to rows of {parent} that are not there: {error.what}",
                    hint=f"Include {table} and {parent}, or use include_suffix and copy over what was lost.",
                ) from None
            raise OpsError(f"the foreign key {key.name} of {table} cannot be made again: {error.what}") from None
    for view in views:
        try:
            live.run(view.make)
        except SqlError as error:
            raise Refused(
                f"the view {label(*view.name)} does not fit the table as it was: {error.what}",
                hint="Drop it for the time of the restore, or use include_suffix.",
            ) from None


def _warn_of_drift(server: Server, staged: Database, live: Database, names: Sequence[Name], suffix: str) -> None:
    if suffix:
        return
    now = dependencies.columns(live, _present(live, names))
    then = dependencies.columns(staged, _present(staged, names))
    for name in names:
        here, there = now.get(name, []), then.get(name, [])
        if here and here != there:
            gone, back = sorted(set(here) - set(there)), sorted(set(there) - set(here))
            what = [f"without {', '.join(gone)}"] * bool(gone) + [f"with {', '.join(back)}"] * bool(back)
            server.context.warn(
                f"table {label(*name)} has other columns in the backup than it had live "
                f"({'; '.join(what) or 'in another order'}): it is as in the backup now"
            )


@contextlib.contextmanager
def _transaction(database: Database) -> Iterator[None]:
    database.run("BEGIN")
    try:
        database.run(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        yield
        database.run("COMMIT")
    except BaseException:
        with contextlib.suppress(OpsError):  # the connection may be what failed
            database.run("ROLLBACK")
        raise


# Back -----------------------------------------------------------------------------------------------


def undo(server: Server, step: Step) -> None:
    """The chosen tables as they were, from the journal's data and from what is found."""
    data = step.data
    if data["point"] == UNDONE:
        return
    with server.connect(str(data["live"]), "swap") as live:
        if data["point"] != LOADING:
            _undo_swap(live, data)
        _drop_schemas(live, data["fresh"], cascade=True)
    step.save(point=UNDONE)


def _undo_swap(live: Database, data: Json) -> None:
    names: list[Name] = [tuple(name) for name in data["names"]]
    places = dependencies.places(live, [*data["new"], *data["old"]])
    homes = {(schema, name + data["suffix"]) for schema, name in names}
    if not any(places.get(oid) in homes for oid in data["new"]):
        return  # the transaction was not committed, or is undone already
    lost = [oid for oid in data["old"] if oid not in places]
    if lost:
        raise OpsError("the tables that were live before are gone", hint="Restore the safety copy instead.")
    with _transaction(live):
        if data["suffix"]:
            for oid in data["new"]:
                if oid in places:
                    live.run(f"DROP TABLE {qualified(*places[oid])}")
            return
        for key in map(ForeignKey.from_json, data["after"]):
            live.run(key.drop)
        for schema, name in data["moved"]:
            live.run(f"DROP STATISTICS IF EXISTS {qualified(schema, name)}")
        for oid in data["new"]:
            if oid in places:
                schema, name = places[oid]
                live.run(f"ALTER TABLE {qualified(schema, name)} SET SCHEMA {ident(data['fresh'][schema])}")
        origin = {new: schema for schema, new in data["kept"].items()}
        for oid in data["old"]:
            schema, name = places[oid]
            live.run(f"ALTER TABLE {qualified(schema, name)} SET SCHEMA {ident(origin[schema])}")
        for schema, name, table in data["statistics"]:
            kept = places[table][0]
            live.run(f"ALTER STATISTICS {qualified(kept, name)} SET SCHEMA {ident(schema)}")
        _make(
            live,
            [ForeignKey.from_json(key) for key in data["before"]],
            [View.from_json(view) for view in data["views"]],
        )
        _drop_schemas(live, data["kept"])


def finish(server: Server, step: Step) -> None:
    """Drop what was live before; never what something else has come to depend on."""
    data = step.data
    if data["point"] != SWAPPED:
        return
    with server.connect(str(data["live"]), "swap") as live, _transaction(live):
        inside = set(data["kept"].values())
        old = [place for place in dependencies.places(live, data["old"]).values() if place[0] in inside]
        if old:
            live.run(f"DROP TABLE {', '.join(qualified(*place) for place in old)}")
        _drop_schemas(live, data["kept"])
        _drop_schemas(live, data["fresh"])


def _drop_schemas(live: Database, schemas: Mapping[str, str], cascade: bool = False) -> None:
    for schema in schemas.values():
        live.run(f"DROP SCHEMA IF EXISTS {ident(schema)}{' CASCADE' if cascade else ''}")
