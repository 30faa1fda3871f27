# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Chosen tables of a staged SQLite file, put into the live one in one transaction of SQLite's own.

In place, a table comes back with the definition, indexes and triggers of the backup; the whole live file
is kept until `finish`, and undone as after a whole restore. Beside, a table is for looking things up: its
columns, primary key and plain indexes, but no foreign keys (they would act on the live tables), triggers
or checks; undo drops it.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.errors import OpsError, Refused
from .._core.journal import Step
from . import sqlite_file, sqlite_fingerprint, sqlite_swap
from .base import Chosen
from .sqlite_file import opened, opened_live, pragma, quoted, readable_errors

BESIDE = "beside"  # the method of a step whose tables were put beside the live ones
_STAGED = "day2_staged"
_WORDS = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*( [A-Za-z_][A-Za-z0-9_]*)*(\([0-9, ]*\))?$")
Violations = dict[tuple[str, str], int]  # rows without their parent, by table and the parent's table


# Before anything is staged -----------------------------------------------------------------------


def check(path: Path, encoding: Optional[str], chosen: Chosen, wait: float) -> list[str]:
    """Refuse what the live file does not allow; warnings."""
    with opened_live(path, wait=wait) as live:
        if encoding and pragma(live, "encoding") != encoding:
            raise Refused(
                f"the live file is in {pragma(live, 'encoding')} and the backup in {encoding}: SQLite cannot join them",
                hint="Restore the datastore as a whole, or into another file.",
            )
        _refuse_shadows(live, "main", chosen.names)
        _refuse_taken(live, chosen)
        return [] if chosen.suffix else [*_searched(live, chosen.names), *_referring(live, chosen.names)]


def _refuse_shadows(connection: sqlite3.Connection, schema: str, names: Sequence[str]) -> None:
    """The tables in which a virtual table keeps its content mean nothing without it."""
    for virtual in _virtual(connection, schema):
        found = [name for name in names if name.lower().startswith(f"{virtual.lower()}_")]
        if found:
            raise Refused(
                f'include: "{found[0]}" belongs to the virtual table {virtual}, which is restored with the whole datastore only'
            )


def _virtual(connection: sqlite3.Connection, schema: str) -> dict[str, str]:
    rows = connection.execute(f"SELECT name, sql FROM {schema}.sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'")
    return dict(rows.fetchall())


def _refuse_taken(connection: sqlite3.Connection, chosen: Chosen) -> None:
    for name in chosen.names:
        goal = chosen.target(name)
        found = connection.execute(
            "SELECT type FROM main.sqlite_master WHERE name = ? COLLATE NOCASE", (goal,)
        ).fetchone()
        if found and chosen.suffix:
            raise Refused(f'there is a {found[0]} "{goal}" already', hint="Drop it, or choose another include_suffix.")
        if found and found[0] != "table":
            raise Refused(f'"{goal}" is a {found[0]} in the live file, and a table in the backup')


def _searched(connection: sqlite3.Connection, names: Sequence[str]) -> list[str]:
    """Search indexes that an application keeps by triggers are not made anew with the table."""
    return [
        f"the virtual table {virtual} may be made of {name} and stays as it is: rebuild it after the restore"
        for virtual, sql in _virtual(connection, "main").items()
        for name in names
        if name.lower() in sql.lower()
    ]


def _referring(connection: sqlite3.Connection, names: Sequence[str]) -> list[str]:
    lowered = [name.lower() for name in names]
    found = []
    for table in sqlite_fingerprint.tables(connection):
        parents = {str(row[2]).lower() for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})")}
        if table.lower() not in lowered:
            found += [
                f"{table} refers to {name} and stays as it is: the restore is refused if rows of it would lose theirs"
                for name in names
                if name.lower() in parents
            ]
    return found


# Swapping ----------------------------------------------------------------------------------------


def swap(plan: sqlite_swap.Swap, chosen: Chosen, step: Step) -> None:
    """The caller undoes the step when this fails."""
    size = plan.staged.stat().st_size
    sqlite_file.need_space(plan.path.parent, size, "The restored tables")
    if chosen.suffix:
        _beside(plan, chosen, step)
    else:
        _in_place(plan, chosen, step)


def _in_place(plan: sqlite_swap.Swap, chosen: Chosen, step: Step) -> None:
    sqlite_swap.keep(plan, step)
    with _joined(plan) as live:
        _refuse_shadows(live, _STAGED, chosen.names)
        _refuse_taken(live, chosen)
        for name in chosen.names:
            _warn_of_drift(live, name, plan)
        before = _violations(live, "main"), _violations(live, _STAGED)
        for name in chosen.names:
            live.execute(f"DROP TABLE IF EXISTS main.{quoted(name)}")
            _remake(live, name)
        _refuse_orphans(before, _violations(live, "main"), chosen.names)
    step.save(phase="swapped")


def _beside(plan: sqlite_swap.Swap, chosen: Chosen, step: Step) -> None:
    with _joined(plan) as live:
        _refuse_shadows(live, _STAGED, chosen.names)
        _refuse_taken(live, chosen)  # from here on nobody else can make a table of that name
        made = [chosen.target(name) for name in chosen.names]
        step.save(method=BESIDE, phase="swapping", path=str(plan.path), made=made)
        for name in chosen.names:
            _copy(live, name, chosen)
    step.save(phase="swapped")


@contextlib.contextmanager
def _joined(plan: sqlite_swap.Swap) -> Iterator[sqlite3.Connection]:
    """The live file with the staged one attached, in one writing transaction; only the live file is written.

    An error in the body rolls it back.
    """
    with opened(plan.path, "rw", wait=plan.wait) as live, readable_errors(plan.path):
        live.execute("PRAGMA foreign_keys=OFF")  # DROP TABLE would delete what refers to it
        live.execute("PRAGMA synchronous=FULL")
        live.execute(f"ATTACH ? AS {_STAGED}", (f"{plan.staged.absolute().as_uri()}?mode=ro&immutable=1",))
        live.execute("BEGIN IMMEDIATE")
        try:
            yield live
            live.execute("COMMIT")
        except BaseException:
            if live.in_transaction:
                live.execute("ROLLBACK")
            raise


def _remake(live: sqlite3.Connection, name: str) -> None:
    """The table as the backup has it."""
    live.execute(_definition(live, name))
    _copy_rows(live, name, name, [column for column, hidden in _columns(live, name) if not hidden])
    if _sequence(live, "main") and _sequence(live, _STAGED):
        live.execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (name,))
        live.execute(
            f"INSERT INTO main.sqlite_sequence SELECT name, seq FROM {_STAGED}.sqlite_sequence WHERE name = ?", (name,)
        )
    for (sql,) in live.execute(
        f"SELECT sql FROM {_STAGED}.sqlite_master WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger')"
        " AND sql IS NOT NULL ORDER BY type, rowid",
        (name,),
    ).fetchall():
        live.execute(sql)


def _copy(live: sqlite3.Connection, name: str, chosen: Chosen) -> None:
    """The table under its other name: plain columns, primary key, indexes on columns."""
    goal = chosen.target(name)
    rows = live.execute(f"PRAGMA {_STAGED}.table_xinfo({quoted(name)})").fetchall()
    key = [quoted(row[1]) for row in sorted(rows, key=lambda row: int(row[5])) if row[5]]
    parts = [f"{quoted(row[1])} {_type(row[2])}" for row in rows if row[6] != 1]
    parts += [f"PRIMARY KEY ({', '.join(key)})"] if key else []
    live.execute(f"CREATE TABLE main.{quoted(goal)} ({', '.join(parts)})")
    _copy_rows(live, name, goal, [row[1] for row in rows if row[6] != 1])
    for index in live.execute(f"PRAGMA {_STAGED}.index_list({quoted(name)})").fetchall():
        _copy_index(live, index, goal, chosen.suffix)


def _type(declared: str) -> str:
    """A declared type may be any words; in quotes INTEGER would not make a primary key the row's number."""
    return declared if _WORDS.match(declared) else quoted(declared) if declared else ""


def _copy_index(live: sqlite3.Connection, index: Sequence[Any], goal: str, suffix: str) -> None:
    """Not of the primary key (made with the table), partial, of an expression, or in an unknown order."""
    _number, name, unique, origin, partial = index
    columns = [row for row in live.execute(f"PRAGMA {_STAGED}.index_xinfo({quoted(name)})") if row[5]]
    if origin == "pk" or partial or any(row[2] is None for row in columns):
        return
    known = {row[1] for row in live.execute("PRAGMA collation_list")}
    if all(row[4] in known for row in columns):
        order = [f"{quoted(row[2])} COLLATE {quoted(row[4])}{' DESC' if row[3] else ''}" for row in columns]
        kind = "UNIQUE INDEX" if unique else "INDEX"
        title = quoted(f"{name}{suffix}".replace("sqlite_", "", 1) if origin == "u" else name + suffix)
        live.execute(f"CREATE {kind} main.{title} ON {quoted(goal)} ({', '.join(order)})")


def _copy_rows(live: sqlite3.Connection, name: str, goal: str, columns: Sequence[str]) -> None:
    """With the rows' own numbers, by which a search index may know them."""
    number = _row_number(live, name, columns)
    listed = ", ".join([*([number] if number else []), *map(quoted, columns)])
    live.execute(f"INSERT INTO main.{quoted(goal)} ({listed}) SELECT {listed} FROM {_STAGED}.{quoted(name)}")


def _row_number(live: sqlite3.Connection, name: str, columns: Sequence[str]) -> str:
    """What a table's row number is called; "" where it has none, or the primary key is it."""
    keys = live.execute(f"PRAGMA {_STAGED}.table_info({quoted(name)})").fetchall()
    if any(row[5] for row in keys):
        return ""
    taken = [column.lower() for column in columns]
    return next((one for one in ("rowid", "_rowid_", "oid") if one not in taken), "")


def _definition(live: sqlite3.Connection, name: str) -> str:
    """SQLite keeps it without the schema's name."""
    row = live.execute(f"SELECT sql FROM {_STAGED}.sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
    if row is None:
        raise Refused(f'the staged copy holds no table "{name}"')
    return str(row[0])


def _sequence(live: sqlite3.Connection, schema: str) -> bool:
    return bool(live.execute(f"SELECT 1 FROM {schema}.sqlite_master WHERE name = 'sqlite_sequence'").fetchone())


def _columns(live: sqlite3.Connection, name: str, schema: str = _STAGED) -> list[tuple[str, int]]:
    """Names, and whether they are generated or hidden."""
    return [(row[1], row[6]) for row in live.execute(f"PRAGMA {schema}.table_xinfo({quoted(name)})")]


def _warn_of_drift(live: sqlite3.Connection, name: str, plan: sqlite_swap.Swap) -> None:
    now = [column for column, _hidden in _columns(live, name, "main")]
    then = [column for column, _hidden in _columns(live, name)]
    if now and now != then:
        plan.warn(
            f"table {name} has other columns in the backup ({', '.join(then)}) than it had live ({', '.join(now)}): "
            "it is as in the backup now"
        )


# Rows without a parent ---------------------------------------------------------------------------


def _violations(live: sqlite3.Connection, schema: str) -> Violations:
    found: Violations = {}
    tables = live.execute(f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        try:
            for row in live.execute(f"PRAGMA {schema}.foreign_key_check({quoted(table)})"):
                found[table, str(row[2])] = found.get((table, str(row[2])), 0) + 1
        except sqlite3.OperationalError:  # the parent has no such key
            found[table, ""] = 1
    return found


def _refuse_orphans(before: Sequence[Violations], after: Mapping[tuple[str, str], int], names: Sequence[str]) -> None:
    """What was without a parent before, live or in the backup, may stay so."""
    for (table, parent), rows in sorted(after.items()):
        if rows > max(one.get((table, parent), 0) for one in before):
            what = f"{rows} rows of {table} would refer to rows of {parent} that are not there"
            raise Refused(
                what if parent else f"the foreign keys of {table} would not fit the table that they refer to",
                hint=f"Include {' and '.join(sorted({table, parent} - {'', *names})) or 'more tables'} too, or use "
                "include_suffix and copy over what was lost.",
            )


# Back --------------------------------------------------------------------------------------------


def undo(step: Step, wait: float) -> None:
    """Drop what was put beside; what others wrote meanwhile stays."""
    path = Path(step.data["path"])
    if step.data["phase"] == "finished":
        raise OpsError(f"the restore of {path} is finished", hint="Drop the tables that it made.")
    if step.data["phase"] != "undone":
        with opened(path, "rw", wait=wait) as live:
            live.execute("PRAGMA foreign_keys=OFF")
            live.execute("BEGIN IMMEDIATE")
            for name in step.data["made"]:
                live.execute(f"DROP TABLE IF EXISTS main.{quoted(name)}")
            live.execute("COMMIT")
        step.save(phase="undone")


def finish(step: Step) -> None:
    if step.data["phase"] == "swapped":
        step.save(phase="finished")
