# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Chosen tables of a staged database: moved by RENAME TABLE like all of them, with their foreign keys.

Foreign keys that touch a chosen table, on either side, are dropped before and made again after: the
backup's own ones for the chosen tables, the live ones for tables that stay. Rows that would then refer
to nothing are looked for while nothing is changed yet, and refuse the swap.

Beside (with a suffix) a table is for looking things up: no foreign keys, because their names are one set
per database and they would act on the live rows; no triggers.

The step's phases are those of a whole swap; `undo` goes by what it finds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..._core.errors import Interrupted, Refused
from ..._core.journal import Step
from ..._core.model import Json, Part
from ..base import Chosen
from ..chosen import refuse_unknown
from . import catalog, definitions, foreign_keys, swapping
from .connection import Sql, name, qualified
from .definitions import Definition
from .foreign_keys import ForeignKey
from .staging import make_database

if TYPE_CHECKING:
    from .server import SqlServer

_LONGEST = 64  # characters of a table's name
_HINT = "Include them too, or use include_suffix and copy over what was lost."


@dataclasses.dataclass(frozen=True)
class Plan:
    """`tables` is the plan of a whole swap with the chosen tables alone, under the names they will have.
    `before`, `after`: foreign keys of the live database that touch them, as they are and as they will be."""

    tables: swapping.Plan
    names: tuple[str, ...]
    suffix: str
    before: tuple[ForeignKey, ...]
    after: tuple[ForeignKey, ...]

    def to_json(self) -> Json:
        """`plan` is where the swap of whole databases keeps its own, and may change it."""
        return {
            "plan": self.tables.to_json(),
            "chosen": {
                "names": list(self.names),
                "suffix": self.suffix,
                "before": [key.to_json() for key in self.before],
                "after": [key.to_json() for key in self.after],
            },
        }

    @classmethod
    def from_json(cls, data: Json) -> Plan:
        own = data["chosen"]
        keys = {word: tuple(ForeignKey.from_json(key) for key in own[word]) for word in ("before", "after")}
        return cls(swapping.Plan.from_json(data["plan"]), tuple(own["names"]), own["suffix"], **keys)

    @property
    def touched(self) -> set[str]:
        """Names in the live database that may hold a chosen table, the old or the new one."""
        return {*self.tables.live_tables, *self.tables.staged_tables}


# Before anything is staged --------------------------------------------------------------------------


def check(server: SqlServer, part: Part, chosen: Chosen) -> list[str]:
    """Refuse what the live database does not allow; warnings."""
    refuse_unknown(part, chosen)
    empty = [one for one in part.facts.get("without_rows", []) if one in chosen.names]
    if empty:
        raise Refused(f"the backup holds no rows of {', '.join(empty)} (exclude_tables)")
    live = server.database
    with server.session() as sql:
        if not catalog.exists(sql, live):
            raise Refused(
                f"there is no database {live} to put tables into", hint="Restore the datastore as a whole, or make it."
            )
        _refuse_taken(sql, live, chosen)
        if chosen.suffix:
            return []
        _refuse_foreign(sql, live, chosen.names)
        keys = foreign_keys.touching(foreign_keys.of(sql, live), chosen.names)
        return sorted(
            {
                f"{key.table} refers to {key.parent} and stays as it is: the restore is refused if rows of it would lose theirs"
                for key in keys
                if key.table not in chosen.names
            }
        )


def _refuse_taken(sql: Sql, live: str, chosen: Chosen) -> None:
    kinds = dict(
        sql.execute("SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (live,))
    )
    for one in chosen.names:
        goal = chosen.target(one)
        kind = str(kinds.get(goal, "")).lower()
        if chosen.suffix and kind:
            raise Refused(f'there is a {kind} "{goal}" already', hint="Drop it, or choose another include_suffix.")
        if len(goal) > _LONGEST:
            raise Refused(f'"{goal}" is longer than {_LONGEST} characters', hint="Choose a shorter include_suffix.")
        if kind in ("view", "sequence"):
            raise Refused(f'"{one}" is a {kind} in the live database, and a table in the backup')


def _refuse_foreign(sql: Sql, live: str, names: Collection[str]) -> None:
    referring = foreign_keys.from_elsewhere(sql, live, names)
    if referring:
        raise Refused(
            f"{', '.join(referring)} refer to chosen tables of {live} by foreign keys, and would go on referring to the old ones",
            hint="Drop those foreign keys for the time of the restore.",
        )


# Forward --------------------------------------------------------------------------------------------


def swap(server: SqlServer, scratch: str, old: str, chosen: Chosen, step: Step) -> None:
    with server.session() as sql, server.session(binary=True) as raw:
        for session in (sql, raw):
            _keep_history(server, session)
        plan, triggers = _prepare(server, sql, raw, scratch, old, chosen)
        step.save(**plan.to_json(), phase=swapping.PREPARED)
        try:
            _forward(server, sql, raw, plan, triggers, step)
        except (Exception, Interrupted) as error:
            swapping.undo_after(server, step, error)
            raise
    step.save(phase=swapping.SWAPPED)


def _keep_history(server: SqlServer, sql: Sql) -> None:
    """A table that keeps its own history cannot be altered otherwise (MariaDB, 4119)."""
    if server.flavour.history_flag:
        sql.execute("SET SESSION system_versioning_alter_history = 'KEEP'")


def _prepare(
    server: SqlServer, sql: Sql, raw: Sql, scratch: str, old: str, chosen: Chosen
) -> tuple[Plan, list[Definition]]:
    """Everything read, and the rows looked at; nothing is changed. With it, the triggers that will be made."""
    live, names = server.database, chosen.names
    if not catalog.exists(sql, scratch):
        raise Refused(f"there is no staged copy {scratch}")
    _refuse_taken(sql, live, chosen)
    there = [] if chosen.suffix else sorted(swapping.tables_of(sql, live) & set(names))
    staged_keys, live_keys = foreign_keys.of(sql, scratch), foreign_keys.of(sql, live)
    before: list[ForeignKey] = []
    after: list[ForeignKey] = []
    triggers: list[Definition] = []
    if not chosen.suffix:
        _refuse_foreign(sql, live, names)
        before = foreign_keys.touching(live_keys, names)
        after = [key for key in staged_keys if key.table in names]
        after += [key for key in before if key.table not in names]
        _refuse_orphans(sql, after, names, live, scratch)
        _warn_of_drift(server, sql, names, live, scratch)
        triggers = [
            dataclasses.replace(one, sql=definitions.unqualified_trigger(one.sql))
            for one in _triggers(server, sql, raw, scratch, names)
        ]
    tables = swapping.Plan(
        live=live,
        scratch=scratch,
        old=old,
        existed=True,
        charset=catalog.charset(sql, live),
        live_tables=tuple(there),
        staged_tables=tuple(chosen.target(one) for one in names),
        damaged=tuple(
            catalog.damaged(sql, live, [one for one in catalog.tables(sql, live) if one.name in there]) if there else ()
        ),
        objects=tuple(_triggers(server, sql, raw, live, there)),
        staged_triggers=(),
        routine_grants=(),
    )
    return Plan(tables, names, chosen.suffix, tuple(before), tuple(after)), triggers


def _triggers(server: SqlServer, sql: Sql, raw: Sql, database: str, tables: Collection[str]) -> list[Definition]:
    found = []
    for one in catalog.triggers(sql, database):
        if one.table in tables:
            definition = definitions.read(raw, database, one)
            if definition is None:
                raise Refused(f"the {one} of {database} cannot be seen by this user")
            found.append(definition)
    return found


def _refuse_orphans(sql: Sql, keys: Sequence[ForeignKey], names: Collection[str], live: str, scratch: str) -> None:
    """Only between what is chosen and what stays; within either, the rows belong together already."""
    for key in keys:
        child = scratch if key.table in names else live
        parent = scratch if key.parent in names else live
        if key.schema or child == parent:
            continue
        rows = foreign_keys.orphans(sql, key, child, parent)
        if rows:
            raise Refused(
                f"{rows} rows of {key.table} would refer to rows of {key.parent} that are not there (foreign key {key.name})",
                hint=_HINT.replace("them", key.parent if key.table in names else key.table),
            )


def _warn_of_drift(server: SqlServer, sql: Sql, names: Sequence[str], live: str, scratch: str) -> None:
    now, then = catalog.columns(sql, live), catalog.columns(sql, scratch)
    for one in names:
        here, there = ([f"{each.name} {each.column_type}" for each in side.get(one, [])] for side in (now, then))
        if here and here != there:
            gone, back = sorted(set(here) - set(there)), sorted(set(there) - set(here))
            what = [f"without {', '.join(gone)}"] * bool(gone) + [f"with {', '.join(back)}"] * bool(back)
            server.context.warn(
                f"table {one} has other columns in the backup than it had live ({'; '.join(what) or 'in another order'}): "
                "it is as in the backup now"
            )


def _forward(server: SqlServer, sql: Sql, raw: Sql, plan: Plan, triggers: Sequence[Definition], step: Step) -> None:
    tables = plan.tables
    if not catalog.exists(sql, tables.old):
        make_database(sql, tables.old, *tables.charset)
    step.save(phase=swapping.DISMANTLE)
    _take_apart(sql, raw, tables.scratch, plan.names)
    if not plan.suffix:
        _take_apart(sql, raw, tables.live, tables.live_tables)
        foreign_keys.drop(sql, tables.live, foreign_keys.touching(foreign_keys.of(sql, tables.live), plan.names))
    else:
        _under_other_names(server, sql, plan)
    swapping.drop_damaged(server, sql, tables, tables.damaged)
    step.save(phase=swapping.RENAME)
    swapping.move_tables(server, sql, tables, step)
    step.save(phase=swapping.REBUILD)
    swapping.point_defaults(sql, tables.live, tables.scratch)
    swapping.make(server, raw, tables.live, triggers)
    foreign_keys.make(sql, tables.live, plan.after)


def _take_apart(sql: Sql, raw: Sql, database: str, tables: Collection[str]) -> None:
    """Without what would keep these tables, or follow them."""
    for one in catalog.triggers(sql, database):
        if one.table in tables:
            definitions.drop(raw, database, one)
    foreign_keys.drop(sql, database, foreign_keys.touching(foreign_keys.of(sql, database), tables))


def _under_other_names(server: SqlServer, sql: Sql, plan: Plan) -> None:
    scratch = plan.tables.scratch
    for one, goal in zip(plan.names, plan.tables.staged_tables):
        if server.flavour.name == "mysql":  # where the names of checks are one set per database
            for check_name in sql.column(
                "SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = %s "
                "AND TABLE_NAME = %s AND CONSTRAINT_TYPE = 'CHECK'",
                (scratch, one),
            ):
                sql.execute(f"ALTER TABLE {qualified(scratch, one)} DROP CHECK {name(check_name)}")
        sql.execute(f"RENAME TABLE {qualified(scratch, one)} TO {qualified(scratch, goal)}")


# Back -----------------------------------------------------------------------------------------------


def undo(server: SqlServer, step: Step) -> None:
    """The chosen tables as they were, from wherever the swap came to. The staged copy is dropped by the caller."""
    plan = Plan.from_json(step.data)
    tables = plan.tables
    with server.session() as sql, server.session(binary=True) as raw:
        for session in (sql, raw):
            _keep_history(server, session)
        if step.data["phase"] != swapping.PREPARED:
            _take_apart(sql, raw, tables.live, plan.touched)
            places = (tables.live, tables.scratch, tables.old)
            back = swapping.moves_back(tables, *(swapping.tables_of(sql, one) for one in places))
            if not catalog.exists(sql, tables.scratch):  # what leaves the live database needs a place
                sql.execute(f"CREATE DATABASE {name(tables.scratch)}")
            swapping.rename(server, sql, back, tables.live)
            kept = [one for one in tables.objects if not swapping.is_on(one, tables.damaged)]
            swapping.make(server, raw, tables.live, kept)
            foreign_keys.make(sql, tables.live, [key for key in plan.before if key.table not in tables.damaged])
        if catalog.exists(sql, tables.old):
            swapping.drop_if_empty(sql, tables.old)
