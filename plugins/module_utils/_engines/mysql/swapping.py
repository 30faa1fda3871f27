# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The swap: staged tables in the live database's place by RENAME TABLE, and everything around them.

In the journal's step, `phase` says what may have begun:

- `prepared`: nothing but empty databases → undo drops them;
- `dismantle`: live events, views, routines and triggers may be gone; they are in the step;
- `rename`: tables may have moved;
- `rebuild`: objects of the backup may be there.

`undo` goes by what it finds: a live table's old rows are wherever the old database has a table of that
name. Old objects are kept as definitions in the step, not beside the old tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..._core.errors import Busy, Interrupted, OpsError, Refused, Told
from ..._core.journal import Step
from ..._core.model import Json, Part
from . import accounts, catalog, change, definitions, memory
from .catalog import Named
from .connection import LOCK_TIMEOUT, Sql, SqlError, name, qualified
from .definitions import Definition
from .staging import as_they_were, make_database

if TYPE_CHECKING:
    from .server import SqlServer

_MISSING = (1146, 1356, 1305, 1054)  # what a view reads is not there (yet)
# Errors of a storage engine: the table's files are missing or damaged.
_DAMAGED = (7, 145, 1017, 1025, 1030, 1194, 1195, 1812, 1814, 1932)
PREPARED, DISMANTLE, RENAME, REBUILD, SWAPPED = "prepared", "dismantle", "rename", "rebuild", "swapped"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `undo` needs to know; kept in the step as JSON."""

    live: str
    scratch: str
    old: str
    existed: bool
    charset: tuple[str, str]  # the live database's, before
    live_tables: tuple[str, ...]  # sequences too
    staged_tables: tuple[str, ...]
    damaged: tuple[str, ...]  # live tables that cannot be opened, and so not moved
    objects: tuple[Definition, ...]  # of the live database, in the order in which they can be made
    staged_triggers: tuple[Definition, ...]  # a table with a trigger does not move
    routine_grants: tuple[tuple[str, str, str], ...]

    def to_json(self) -> Json:
        definitions_of = {key: [one.to_json() for one in getattr(self, key)] for key in ("objects", "staged_triggers")}
        return {**dataclasses.asdict(self), **definitions_of}

    @classmethod
    def from_json(cls, data: Json) -> Plan:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in data.items()
            if key in {field.name for field in dataclasses.fields(cls)}
        }
        for key in ("objects", "staged_triggers"):
            values[key] = tuple(Definition.from_json(one) for one in data[key])
        values["routine_grants"] = tuple((one[0], one[1], one[2]) for one in data["routine_grants"])
        return cls(**values)


# Forward --------------------------------------------------------------------------------------------


def swap(server: SqlServer, part: Part, scratch: str, old: str, step: Step) -> None:
    with server.session() as sql, server.session(binary=True) as raw:
        plan, staged = _prepare(server, sql, raw, scratch, old)
        events = [Definition.from_json(one) for one in part.facts.get("events", [])]
        unknown = change.unknown_modes(server.flavour, part)
        coming = [*staged, *(change.known(one, unknown) for one in events)]
        step.save(plan=plan.to_json(), phase=PREPARED)
        try:
            _forward(server, sql, raw, plan, part, coming, step)
        except (Exception, Interrupted) as error:
            undo_after(server, step, error)
            raise
    step.save(phase=SWAPPED)


def undo_after(server: SqlServer, step: Step, error: BaseException) -> None:
    """A failure undoes itself. Where even that fails, the journal still knows how."""
    try:
        server.undo(step)
    except OpsError as second:
        if isinstance(error, Told):
            error.untouched = f"Undoing it failed too: {second}"


def _prepare(server: SqlServer, sql: Sql, raw: Sql, scratch: str, old: str) -> tuple[Plan, list[Definition]]:
    """Everything that will be taken apart, read; nothing is changed."""
    live = server.database
    existed = catalog.exists(sql, live)
    if not catalog.exists(sql, scratch):
        raise Refused(f"there is no staged copy {scratch}")
    referring = catalog.referring(sql, live)
    if referring:
        raise Refused(
            f"{', '.join(referring)} refer to tables of {live} by foreign keys, and would go on referring to the old ones",
            hint="Drop those foreign keys for the time of the restore.",
        )
    tables = catalog.tables(sql, live) if existed else []
    staged = [_movable(one, scratch) for one in _read_all(server, sql, raw, scratch, events=False)]
    plan = Plan(
        live=live,
        scratch=scratch,
        old=old,
        existed=existed,
        charset=catalog.charset(sql, live) if existed else ("", ""),
        live_tables=tuple(sorted(tables_of(sql, live))),
        staged_tables=tuple(sorted(tables_of(sql, scratch))),
        damaged=tuple(catalog.damaged(sql, live, tables)),
        objects=tuple(_read_all(server, sql, raw, live, events=True)) if existed else (),
        staged_triggers=tuple(one for one in staged if one.kind == "trigger"),
        routine_grants=tuple(_routine_grants(server, sql, live)),
    )
    return plan, staged


def _read_all(server: SqlServer, sql: Sql, raw: Sql, database: str, events: bool) -> Iterable[Definition]:
    """Definitions in the order in which they can be made: what is called comes before what calls it."""
    found = [*catalog.routines(sql, database), *catalog.view_objects(sql, database), *catalog.triggers(sql, database)]
    for one in [*found, *(catalog.events(sql, database) if events else [])]:
        definition = definitions.read(raw, database, one)
        if definition is None:
            raise Refused(
                f"the {one} of {database} cannot be seen by this user",
                hint=f"GRANT {server.flavour.bodies_privilege} to it.",
            )
        yield definition


def _movable(one: Definition, scratch: str) -> Definition:
    """Without the scratch database's name where the server has printed it."""
    if one.kind == "trigger":
        return dataclasses.replace(one, sql=definitions.unqualified_trigger(one.sql))
    if one.kind == "view":
        return dataclasses.replace(one, sql=definitions.unqualified_view(one.sql, scratch))
    return one


def _routine_grants(server: SqlServer, sql: Sql, live: str) -> list[tuple[str, str, str]]:
    try:
        return accounts.routine_grants(sql, live)
    except SqlError:
        server.context.warn("privileges on single routines cannot be read, and are lost where a routine is replaced")
        return []


def _forward(
    server: SqlServer, sql: Sql, raw: Sql, plan: Plan, part: Part, coming: Sequence[Definition], step: Step
) -> None:
    facts = part.facts
    after = (facts.get("charset", "utf8mb4"), facts.get("collation", "utf8mb4_general_ci"))
    if not catalog.exists(sql, plan.old):
        make_database(sql, plan.old, *(plan.charset if plan.existed else after))
    if not plan.existed:
        make_database(sql, plan.live, *after)
    step.save(phase=DISMANTLE)
    _dismantle(sql, raw, plan.live)
    for one in catalog.triggers(sql, plan.scratch):
        definitions.drop(raw, plan.scratch, one)
    drop_damaged(server, sql, plan, plan.damaged)
    step.save(phase=RENAME)
    move_tables(server, sql, plan, step)
    step.save(phase=REBUILD)
    _charset(sql, plan.live, after)
    point_defaults(sql, plan.live, plan.scratch)
    make(server, raw, plan.live, coming)
    _grant_routines(server, sql, plan)


def move_tables(server: SqlServer, sql: Sql, plan: Plan, step: Step) -> None:
    """Live tables out, staged ones in; a live one whose files turn out to be damaged is dropped."""
    try:
        rename(server, sql, moves(plan), plan.live)
    except SqlError as error:
        if error.code not in _DAMAGED:
            raise
        found = _immovable(sql, plan)
        plan = dataclasses.replace(plan, damaged=(*plan.damaged, *found))
        step.save(plan=plan.to_json())
        drop_damaged(server, sql, plan, found)
        rename(server, sql, moves(plan), plan.live)


def moves(plan: Plan) -> list[tuple[str, str, str]]:
    """What must be renamed: source, target, table. First out, then in."""
    out = [(plan.live, plan.old, table) for table in plan.live_tables if table not in plan.damaged]
    return [*out, *((plan.scratch, plan.live, table) for table in plan.staged_tables)]


def _immovable(sql: Sql, plan: Plan) -> list[str]:
    """Live tables that the server cannot rename, although it could open them: their files are damaged."""
    found = []
    for table in plan.live_tables:
        if table not in plan.damaged:
            there, aside = qualified(plan.live, table), qualified(plan.old, table)
            try:
                sql.execute(f"RENAME TABLE {there} TO {aside}")
                sql.execute(f"RENAME TABLE {aside} TO {there}")
            except SqlError as error:
                if error.code not in _DAMAGED:
                    raise
                found.append(table)
    return found


def drop_damaged(server: SqlServer, sql: Sql, plan: Plan, tables: Sequence[str]) -> None:
    """They cannot be moved aside, so there is no other way to put something in their place."""
    if tables:
        server.context.warn(f"damaged tables cannot be moved aside and are dropped: {', '.join(tables)}")
        sql.execute("SET SESSION foreign_key_checks = 0")
        sql.execute(f"DROP TABLE {', '.join(qualified(plan.live, one) for one in tables)}")


def _dismantle(sql: Sql, raw: Sql, database: str) -> None:
    """Everything but tables. Events first: none may fire between here and there."""
    found: list[Named] = [
        *catalog.events(sql, database),
        *catalog.triggers(sql, database),
        *catalog.view_objects(sql, database),
        *reversed(catalog.routines(sql, database)),
    ]
    for one in found:
        definitions.drop(raw, database, one)


def rename(server: SqlServer, sql: Sql, wanted: Sequence[tuple[str, str, str]], live: str) -> None:
    """All tables in one statement, so that there is nothing in between; one by one only where the server
    needs too much memory for it. Killed in between, `undo` finds some tables here and some there."""
    if not wanted:
        return
    sql.execute("SET SESSION foreign_key_checks = 0")
    as_they_were(sql)
    clauses = [f"{qualified(source, table)} TO {qualified(target, table)}" for source, target, table in wanted]
    together = memory.suffices(server, sql, {source for source, _target, _table in wanted})
    for statement in [", ".join(clauses)] if together else clauses:
        try:
            sql.execute(f"RENAME TABLE {statement}")
        except SqlError as error:
            if error.code == LOCK_TIMEOUT:
                raise Busy(
                    f"the tables of {live} are in use and could not be renamed within 30 s",
                    hint="A transaction that names the database holds them: SHOW FULL PROCESSLIST shows it.",
                ) from None
            raise


def _charset(sql: Sql, database: str, wanted: tuple[str, str]) -> None:
    if catalog.charset(sql, database) != wanted:
        sql.execute(f"ALTER DATABASE {name(database)} CHARACTER SET {wanted[0]} COLLATE {wanted[1]}")


def point_defaults(sql: Sql, live: str, scratch: str) -> None:
    """Defaults that draw from a sequence name its database, which was the staged one until now."""
    rows = sql.execute(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = %s AND LOCATE(%s, COLUMN_DEFAULT) > 0",
        (live, f"{name(scratch)}."),
    )
    for table, column, default in rows:
        plain = definitions.unqualified_calls(str(default).encode(), scratch).decode()
        sql.execute(f"USE {name(live)}")
        sql.execute(f"ALTER TABLE {qualified(live, table)} ALTER COLUMN {name(column)} SET DEFAULT ({plain})")


def make(server: SqlServer, raw: Sql, database: str, coming: Sequence[Definition], lenient: bool = False) -> None:
    """Make objects in their order; views again and again, because they may read each other.

    `lenient`: a view that was invalid before cannot be made again; it is named and left out.
    """
    for kinds in (catalog.ROUTINES, ("VIEW",), ("TRIGGER",), ("EVENT",)):
        waiting = [one for one in coming if one.kind.upper() in kinds]
        while waiting:
            failed: list[tuple[Definition, SqlError]] = []
            for one in waiting:
                try:
                    definitions.create(raw, database, one)
                except SqlError as error:
                    if one.kind != "view" or error.code not in _MISSING:
                        raise
                    failed.append((one, error))
            if len(failed) == len(waiting):
                if not lenient:
                    raise failed[0][1]
                server.context.warn(
                    f"not made again, because invalid before: {', '.join(str(one) for one, error in failed)}"
                )
                break
            waiting = [one for one, error in failed]
    _warn_of_past_events(server, raw, database, [one for one in coming if one.kind == "event"])


def _warn_of_past_events(server: SqlServer, raw: Sql, database: str, wanted: Sequence[Definition]) -> None:
    """The server drops an event at once whose time is over."""
    if wanted:
        there = {
            bytes(one).decode()
            for one in raw.column(
                "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s", (database,)
            )
        }
        gone = [one.name for one in wanted if one.name not in there]
        if gone:
            server.context.warn(f"events whose time is over were not made again: {', '.join(gone)}")


def _grant_routines(server: SqlServer, sql: Sql, plan: Plan) -> None:
    """DROP took the privileges on single routines away; those that exist again get them again."""
    there = {str(one) for one in catalog.routines(sql, plan.live)}
    for routine, whom, statement in plan.routine_grants:
        if routine in there:
            accounts.grant_one(sql, statement, whom, server.context)


# Back -----------------------------------------------------------------------------------------------


def undo(server: SqlServer, step: Step) -> None:
    """The state before, from wherever the swap came to."""
    if "plan" not in step.data:
        return
    plan = Plan.from_json(step.data["plan"])
    with server.session() as sql, server.session(binary=True) as raw:
        if step.data["phase"] != PREPARED and catalog.exists(sql, plan.live):
            _undo_objects_and_tables(server, sql, raw, plan)
        if not plan.existed and catalog.exists(sql, plan.live):
            drop_if_empty(sql, plan.live)
        if catalog.exists(sql, plan.old):
            drop_if_empty(sql, plan.old)


def _undo_objects_and_tables(server: SqlServer, sql: Sql, raw: Sql, plan: Plan) -> None:
    _dismantle(sql, raw, plan.live)
    back = moves_back(plan, *(tables_of(sql, one) for one in (plan.live, plan.scratch, plan.old)))
    if not catalog.exists(sql, plan.scratch):  # what leaves the live database needs a place
        sql.execute(f"CREATE DATABASE {name(plan.scratch)}")
    rename(server, sql, back, plan.live)
    there = catalog.triggers(sql, plan.scratch)
    if tables_of(sql, plan.scratch) and len(there) < len(plan.staged_triggers):
        for one in there:  # all of them again, because their order is that in which they are made
            definitions.drop(raw, plan.scratch, one)
        make(server, raw, plan.scratch, plan.staged_triggers)
    if plan.existed:
        _charset(sql, plan.live, plan.charset)
        lost = [one for one in plan.objects if one.kind == "trigger" and is_on(one, plan.damaged)]
        make(server, raw, plan.live, [one for one in plan.objects if one not in lost], lenient=True)
        _grant_routines(server, sql, plan)


def moves_back(plan: Plan, live: set[str], scratch: set[str], old: set[str]) -> list[tuple[str, str, str]]:
    """What must be renamed, by where tables are now: source, target, table.

    A table of the old database is the live one's from before. A staged table is in the live database
    where it is not in the staged one any more, and where no old one has come back to its name.
    """
    came = [
        table
        for table in plan.staged_tables
        if table in live
        and table not in scratch
        and (table in old or table not in plan.live_tables or table in plan.damaged)
    ]
    went = [table for table in plan.live_tables if table in old]
    return [*((plan.live, plan.scratch, table) for table in came), *((plan.old, plan.live, table) for table in went)]


def tables_of(sql: Sql, database: str) -> set[str]:
    """Everything that RENAME TABLE moves."""
    return {*(one.name for one in catalog.tables(sql, database)), *catalog.sequences(sql, database)}


def is_on(one: Definition, tables: Sequence[str]) -> bool:
    table = definitions.split_trigger(one.sql)["table"].decode(errors="replace")
    return any(table in (other, name(other)) for other in tables)


def drop_if_empty(sql: Sql, database: str) -> None:
    if catalog.tables(sql, database) or catalog.sequences(sql, database):
        raise OpsError(
            f"the database {database} holds tables that nobody expected there", hint="Look at them, and drop it."
        )
    sql.execute(f"DROP DATABASE {name(database)}")


def finish(server: SqlServer, step: Step) -> None:
    """Drop what was live before, and what is left of the staged copy."""
    if "plan" not in step.data:
        return
    plan = Plan.from_json(step.data["plan"])
    prefix = server.context.scratch_prefix(server.datastore.name)
    with server.session() as sql:
        sql.execute("SET SESSION foreign_key_checks = 0")
        for database in (plan.old, plan.scratch):
            if database.startswith(prefix) and database != plan.live:
                sql.execute(f"DROP DATABASE IF EXISTS {name(database)}")
