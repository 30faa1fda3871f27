# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a backup must know of a database besides its rows, and what would make a dump incomplete."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..._core.errors import OpsError, Refused
from ..._core.model import Description, Json
from ..base import DumpOptions
from . import accounts, catalog, definitions, fingerprint, grants, privileges, roles
from .catalog import Column, Named, Table
from .connection import LOCK_TIMEOUT, Sql, SqlError, name, qualified
from .flavours import Flavour, version_of

if TYPE_CHECKING:
    from .server import SqlServer


_DENIED = (1142, 1143, 1370)  # on a table, a column, a function that a view calls


@dataclasses.dataclass(frozen=True)
class Content:
    """What a dump will hold. `without_rows`: tables of which only the definition is stored."""

    tables: tuple[Table, ...]
    columns: Mapping[str, Sequence[Column]]
    without_rows: tuple[str, ...]
    without_views: tuple[str, ...]
    history: bool

    def column_names(self, table: str) -> list[str]:
        return [column.name for column in self.columns.get(table, [])]


def content(sql: Sql, database: str, options: DumpOptions, history: bool = True) -> Content:
    found = catalog.tables(sql, database)
    views = catalog.views(sql, database)
    tables, without = _excluded(database, options.exclude_tables, [one.name for one in found], views)
    if options.salvage:
        without = tuple(sorted({*without, *_invalid_views(sql, database, without)}))
    versioned = [one for one in found if one.versioned]
    carried = history and bool(versioned) and all(one.history for one in versioned)
    return Content(tuple(found), catalog.columns(sql, database), tables, without, carried)


def _excluded(
    database: str, asked: Sequence[str], tables: Sequence[str], views: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of tables and of views out of `table` or `database.table`; an unknown one is refused."""
    found: tuple[list[str], list[str]] = ([], [])
    for given in asked:
        short = given[len(database) + 1 :] if given.startswith(f"{database}.") and given not in tables else given
        if short in tables:
            found[0].append(short)
        elif short in views:
            found[1].append(short)
        else:
            near = difflib.get_close_matches(short, [*tables, *views], 1)
            raise Refused(
                f"exclude_tables: the database {database} has no table or view {short}",
                hint=f"Did you mean {near[0]}?" if near else "",
            )
    return tuple(sorted(set(found[0]))), tuple(sorted(set(found[1])))


def describe(server: SqlServer, options: DumpOptions) -> Description:
    """Everything that can be known before a dump; refuses what would make it incomplete."""
    flavour, database = server.flavour, server.database
    with server.session() as sql:
        version = server.version(sql)
        tool = server.dump_version
        server.tools.check(flavour.dump, tool, version)
        held = content(sql, database, options, server.carries_history)
        objects = _objects(sql, database)
        warnings = privileges.check(sql, flavour, database, objects, version)
        _check_views(sql, database, held.without_views)
        fingerprint.check_newest(server.newest, held.column_names)
        warnings += _warnings(held, tool, flavour)
        if options.salvage and held.without_views:
            warnings.append(f"invalid already, and so not in this copy: the view {', '.join(held.without_views)}")
        definers = sorted({one.definer for one in objects if one.definer})
        facts: Json = {
            **_facts(sql, database, held),
            "definers": definers,
            "mentions": _mentions(sql, database, objects),
            "accounts": [],
        }
        try:
            read = roles.read if sql.flavour.name == "mysql" else accounts.read
            facts["accounts"] = [one.to_json() for one in read(sql, database, definers)]
        except SqlError as error:
            warnings.append(
                f"the application's accounts are not in the backup, because the user may not read them ({error.code}); "
                "GRANT SELECT ON mysql.* to change that"
            )
        return Description(
            flavour=flavour.name,
            server_version=version,
            tool_version=tool,
            size=catalog.bytes_of(sql, database),
            schema_revision=catalog.schema_revision(sql, database, [one.name for one in held.tables]),
            facts=facts,
            warnings=tuple(warnings),
        )


def _objects(sql: Sql, database: str) -> list[Named]:
    return [
        *catalog.view_objects(sql, database),
        *catalog.triggers(sql, database),
        *catalog.routines(sql, database),
        *catalog.events(sql, database),
    ]


def _facts(sql: Sql, database: str, held: Content) -> Json:
    charset, collation = catalog.charset(sql, database)
    row = sql.execute("SELECT @@GLOBAL.sql_mode, @@lower_case_table_names, @@GLOBAL.max_allowed_packet")[0]
    return {
        "database": database,
        "charset": charset,
        "collation": collation,
        "sql_mode": str(row[0]),
        "lower_case_table_names": int(row[1]),
        "max_allowed_packet": int(row[2]),
        "tables": {one.name: one.engine for one in held.tables},
        "without_rows": list(held.without_rows),
        "without_views": list(held.without_views),
        "history": held.history,
        "collations": catalog.collations(sql, database),
        "foreign_keys": catalog.foreign_keys(sql, database),
    }


def _check_views(sql: Sql, database: str, without: Sequence[str]) -> None:
    """An invalid view ends a dump, and every table after it is missing; so does one over a view left out."""
    invalid = _invalid_views(sql, database, without)
    if invalid:
        listed = ", ".join(f"{view} ({code})" for view, code in invalid.items())
        raise Refused(
            f"the view {listed} is invalid, and a dump would end there",
            hint="Drop or repair it, or leave it out with exclude_tables.",
        )
    orphaned = [
        f"{view} (reads {other})"
        for view in catalog.views(sql, database)
        if view not in without
        for other in without
        if reads(_printed(sql, database, view), other)
    ]
    if orphaned:
        raise Refused(f"the view {', '.join(orphaned)} could not be restored", hint="Exclude it too.")


def _invalid_views(sql: Sql, database: str, without: Sequence[str]) -> dict[str, int]:
    """Views that cannot be read, with the server's error code."""
    invalid = {}
    for view in catalog.views(sql, database):
        if view not in without:
            try:
                # What the dump tool asks.
                sql.execute(f"SHOW FIELDS FROM {qualified(database, view)}")
                _printed(sql, database, view)
            except SqlError as error:
                if error.code in _DENIED:
                    raise Refused(
                        f"this user may not read the view {view}: {error.what}",
                        hint=f"GRANT EXECUTE, SHOW VIEW ON {name(grants.escaped(database))}.* to it.",
                    ) from None
                if error.code == LOCK_TIMEOUT:
                    raise catalog.locked(f"a table that the view {view} reads") from None
                invalid[view] = error.code
    return invalid


def _printed(sql: Sql, database: str, view: str) -> str:
    return str(sql.execute(f"SHOW CREATE VIEW {qualified(database, view)}")[0][1])


def reads(printed: str, other: str) -> bool:
    """Whether a view's text, as the server prints it, reads from a table or view."""
    return bool(re.search(rf"\b(?:from|join)\s+\(*(?:`(?:[^`]|``)*`\.)?{re.escape(name(other))}(?![.(])", printed))


def _warnings(held: Content, tool: str, flavour: Flavour) -> list[str]:
    warnings = []
    loose = [f"{one.name} ({one.engine})" for one in held.tables if not one.transactional and one.holds_rows]
    if loose:
        warnings.append(
            f"not transactional, so not of the same moment as the others, and counted before and after: {', '.join(loose)}"
        )
    elsewhere = [f"{one.name} ({one.engine})" for one in held.tables if not one.holds_rows]
    if elsewhere:
        warnings.append(
            f"only the definition is stored of tables that keep their rows elsewhere: {', '.join(elsewhere)}"
        )
    if held.without_rows:
        warnings.append(f"only the definition is stored of {', '.join(held.without_rows)} (exclude_tables)")
    floats = [
        f"{table}.{column.name}"
        for table, columns in held.columns.items()
        for column in columns
        if column.column_type in ("float", "float unsigned") and table not in held.without_rows
    ]
    if floats:
        warnings.append(
            f"{flavour.dump} writes FLOAT with six digits, which may round values of {', '.join(floats[:10])}"
        )
    versioned = [one.name for one in held.tables if one.versioned]
    if versioned and not held.history:
        warnings.append(f"only the current rows are stored of system-versioned tables: {', '.join(versioned)}")
    return warnings


def _mentions(sql: Sql, database: str, objects: Sequence[Named]) -> dict[str, list[str]]:
    """Views, routines, triggers and events whose text names a database, by that database. A view that reads
    its own database is not meant: it reads whichever it is in."""
    found: dict[str, list[str]] = {}
    for other in catalog.databases(sql):
        if other not in ("information_schema", "performance_schema"):
            named = [
                str(one)
                for one in objects
                if one.body and (one.kind != "view" or other != database) and definitions.mentions(one.body, other)
            ]
            if named:
                found[other] = named
    return found


# What the dump does not carry, or not so that it can be loaded elsewhere ------------------------------


def definitions_kept(sql: Sql, raw: Sql, database: str, held: Content) -> Json:
    """`events` are made at the swap only: an event that runs in a staged copy does to the live database
    what its body says. `rewrites`: beginnings of lines of the dump that name the database where they
    are loaded (`stream.Rewriter`)."""
    events = []
    for one in catalog.events(sql, database):
        read = definitions.read(raw, database, one)
        if read is None:
            raise OpsError(f"the {one} cannot be read")
        events.append(read.to_json())
    alter = f"ALTER DATABASE {name(database)} CHARACTER SET ".encode()
    pairs = [
        # The tool changes the database's collation around objects that were made under another one.
        (alter, b"ALTER DATABASE CHARACTER SET "),
        *_trigger_lines(sql, raw, database),
        *_column_lines(sql, database),
        *_view_lines(sql, raw, database, held),
    ]
    return {
        "events": events,
        "rewrites": [[definitions.pack(find), definitions.pack(put)] for find, put in pairs if find != put],
    }


def _trigger_lines(sql: Sql, raw: Sql, database: str) -> Iterable[tuple[bytes, bytes]]:
    for one in catalog.triggers(sql, database):
        read = definitions.read(raw, database, one)
        if read is None:
            raise OpsError(f"the {one} cannot be read")
        head = definitions.split_trigger(read.sql)
        begin = b"/*!50003 CREATE*/ /*!50017 " + head["definer"] + b"*/ /*!50003 "
        yield (
            begin + read.sql[head.start("head") : head.end()],
            begin + head["head"] + head["name"] + head["when"] + head["table"],
        )


def _column_lines(sql: Sql, database: str) -> Iterable[tuple[bytes, bytes]]:
    """DEFAULT NEXTVAL(`database`.`sequence`)."""
    tables = sql.column(
        "SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND LOCATE(%s, COLUMN_DEFAULT) > 0",
        (database, f"{name(database)}."),
    )
    for table in tables:
        for line in str(sql.execute(f"SHOW CREATE TABLE {qualified(database, table)}")[0][1]).split("\n"):
            yield line.encode(), definitions.unqualified_calls(line.encode(), database)


def _view_lines(sql: Sql, raw: Sql, database: str, held: Content) -> Iterable[tuple[bytes, bytes]]:
    for one in catalog.view_objects(sql, database):
        if one.name not in held.without_views:
            read = definitions.read(raw, database, one)
            if read is None:
                raise OpsError(f"the {one} cannot be read")
            begin = read.sql.index(b" VIEW `") + 1
            yield (
                b"/*!50001 " + read.sql[begin:],
                b"/*!50001 " + definitions.unqualified_calls(read.sql[begin:], database),
            )


def counted(sql: Sql, database: str, held: Content, events: int) -> dict[str, int]:
    """Objects in the dump and beside it, by kind."""
    return catalog.objects(sql, database, events, held.without_views)


def check_version(flavour: Flavour, version: str) -> None:
    if not flavour.is_mine(version):
        raise Refused(f"the server is {version}, not {flavour.title}", hint="Name its engine in the datastore.")
    if version_of(version) < flavour.minimum:
        least = ".".join(str(part) for part in flavour.minimum[:2])
        raise Refused(f"{flavour.title} {version} is older than {least}, the oldest that is supported")
