# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A staged copy beside the live database: made, loaded, and what a part needs to be loaded at all.

Nothing in a copy acts by itself: subscriptions are neither dumped nor restored, event triggers come last
and fire on DDL in that database only, and nobody but us may connect. What a function does that names
another database (dblink, postgres_fdw) is out of our sight; a restore calls functions only for indexes,
generated columns, check constraints and materialized views.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import IO

from ..._core.errors import Busy, Mismatch, Refused
from ..._core.model import Json, Part
from ..._core.process import Child
from . import roles
from .connection import Database, Server, SqlError
from .names import ident, listed, literal, major, numbers
from .settings import assignment, create_database
from .snapshot import end_tool
from .tools import Tool, environment, failure, restore_argv

FORMAT = "pgcustom"
DROP_LIMIT = 120  # seconds


def create(server: Server, admin: Database, part: Part, scratch: str) -> None:
    """An empty database with the same encoding and locale, into which no application may connect."""
    facts = part.facts
    owner = roles.owner_or_self(admin, facts)
    admin.run(create_database(scratch, owner, facts, admin.major))
    admin.run(f"REVOKE CONNECT, TEMPORARY ON DATABASE {ident(scratch)} FROM PUBLIC")
    for setting in facts.get("settings", ()):
        if setting.startswith("search_path="):  # so that a user's assertion finds what the application finds
            admin.run(f"ALTER DATABASE {ident(scratch)} SET {assignment(setting)}")
    if facts.get("public_schema") is False:
        with server.connect(scratch, "load") as database:
            database.run("DROP SCHEMA public")


class Load:
    """A running pg_restore, from its standard input: it reads a pipe in one stream only (`--jobs` would
    need a file)."""

    def __init__(self, server: Server, tool: Tool, scratch: str, flags: Sequence[str]) -> None:
        self._server = server
        self._scratch = scratch
        variables = environment(server.access, f"{server.program}-load")
        # Lost by a crash of the server is the copy only; the commit of the swap makes all before it durable.
        variables["PGOPTIONS"] = "-c synchronous_commit=off"
        argv = restore_argv(tool, server.access, server.user, scratch, flags)
        self._child: Child = server.access.place.spawn(argv, env=variables, stdin=subprocess.PIPE)
        self._ended = False

    @property
    def stdin(self) -> IO[bytes]:
        return self._child.stdin

    def finish(self) -> None:
        rc = self._child.wait()
        self._ended = True
        self._child.close()
        if rc != 0:
            raise failure("pg_restore", self._child, rc, _hint(self._child.stderr_tail))
        with self._server.connect(self._scratch, "load") as database:
            database.run("ANALYZE")

    def kill(self) -> None:
        if not self._ended:
            self._ended = True
            end_tool(self._server, self._child, "load")


def _hint(tail: str) -> str:
    if "end of file" in tail or "valid archive" in tail or "did not find magic" in tail:
        return "The backup's stream is cut or damaged. Use another backup."
    if "No space left" in tail or "could not extend file" in tail:
        return "Free space on the server's disk: the copy needs as much as the live database."
    return ""


def restore_flags(admin: Database, part: Part) -> tuple[list[str], list[str]]:
    """Flags for what this server lacks, and a warning for each."""
    flags, warnings = [], []
    absent = roles.missing(admin, part.facts)
    if absent:
        flags += ["--no-owner", "--no-privileges"]
        warnings.append(
            f"the roles {listed(absent)} are not on this server: the copy belongs to "
            f"{admin.value('SELECT current_user::text')} and carries no privileges"
        )
    lacking = _tablespaces_lacking(admin, part.facts)
    if lacking:
        flags.append("--no-tablespaces")
        warnings.append(f"the tablespaces {listed(lacking)} are not on this server: all goes into the default one")
    return flags, warnings


def _tablespaces_lacking(admin: Database, facts: Json) -> list[str]:
    there = admin.column("SELECT spcname::text FROM pg_tablespace")
    return [name for name in facts.get("tablespaces", ()) if name not in there]


# What the server must have --------------------------------------------------------------------------


def check(admin: Database, part: Part) -> list[str]:
    """Refuse a part that this server cannot take; warnings otherwise."""
    if part.format != FORMAT:
        raise Refused(f"the backup is in the format {part.format}, not {FORMAT}")
    if part.server_version and admin.major < major(part.server_version):
        raise Refused(
            f"the server has version {admin.version_text}, the backup comes from {part.server_version}: "
            "PostgreSQL does not restore to an older major version",
            hint=f"Use a server of version {major(part.server_version)} or newer.",
        )
    warnings = _check_rights(admin, part.facts)
    if part.server_version and major(part.server_version) < 15 <= admin.major:
        warnings.append("from version 15 on only the database's owner may create objects in the schema public")
    warnings += _check_extensions(admin, part.facts)
    _check_locale(admin, part.facts)
    lacking = _tablespaces_lacking(admin, part.facts)
    if lacking:
        warnings.append(f"the tablespaces {listed(lacking)} are not on this server: all goes into the default one")
    return warnings


def _check_rights(admin: Database, facts: Json) -> list[str]:
    user, superuser, createdb = admin.row(
        "SELECT rolname::text, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    )
    if superuser:
        return []
    if not createdb:
        raise Refused(
            f"user {user} may not create databases, and a restore makes a copy beside the live one",
            hint="Use a superuser, or grant it: ALTER ROLE … CREATEDB.",
        )
    foreign = roles.foreign_owners(admin, facts)
    if foreign:
        raise Refused(
            f"objects in the backup belong to {listed(foreign)}, and user {user} is not a member",
            hint="Restore as a superuser, or grant the membership.",
        )
    return [f"user {user} is not a superuser: extensions that are not trusted, and event triggers, cannot be restored"]


def _check_extensions(admin: Database, facts: Json) -> list[str]:
    wanted = dict(facts.get("extensions", {}))
    there: dict[str, str] = dict(admin.rows("SELECT name::text, default_version FROM pg_available_extensions"))
    absent = [name for name in wanted if name not in there]
    if absent:
        raise Refused(
            f"the server lacks the extensions {listed(absent)}",
            hint="Install their packages where the server is (the same image as the one that was backed up has them).",
        )
    older = [
        f"{name} {there[name]} (the backup has {version})"
        for name, version in wanted.items()
        if numbers(there[name]) < numbers(version)
    ]
    if older:
        raise Refused(f"the server has older versions of extensions: {listed(older)}", hint="Update their packages.")
    alone = [name for name in ("pg_cron",) if name in wanted]
    if alone:
        raise Refused(
            f"extension {alone[0]} exists in one database of a server only, so no copy can be staged beside it",
            hint="Restore on another server, into which cron.database_name names the copy.",
        )
    if "timescaledb" in wanted:
        return ["timescaledb has a restore procedure of its own, which is not followed: prove this backup first"]
    return []


_KNOWN_LOCALE = """
SELECT %s IN ('C', 'POSIX') OR EXISTS (SELECT FROM pg_database WHERE %s IN (datcollate, datctype))
"""


def _check_locale(admin: Database, facts: Json) -> None:
    if facts.get("provider") == "i" and not admin.value(
        "SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')"
    ):
        raise Refused("the server was built without ICU, and the database uses it", hint="Use a server with ICU.")
    for name in dict.fromkeys(filter(None, (facts.get("collate"), facts.get("ctype")))):
        if not admin.value(_KNOWN_LOCALE, name, name):
            _try_locale(admin, name)


def _try_locale(admin: Database, name: str) -> None:
    """Ask the server's system for a locale: it knows more than pg_collation, which is filled once."""
    admin.run("BEGIN")
    try:
        admin.run(f"CREATE COLLATION pg_temp.day2 (provider = libc, locale = {literal(name)})")
    except SqlError as error:
        # 22023 is both "no such locale" and "not for this database's encoding"; only the first has a detail.
        if error.sqlstate == "22023" and "(" in error.what:
            raise Refused(
                f"the server's system lacks the locale {name}",
                hint="Install it there (locale-gen), restart the server.",
            ) from None
    finally:
        admin.run("ROLLBACK")


def refuse_if_live(name: str, prefix: str) -> None:
    """The last guard before a database is dropped as scratch."""
    if not name.startswith(prefix) or name.endswith("_old"):
        raise Mismatch(f'"{name}" is not a scratch copy of this datastore, so it is not dropped')


def drop(admin: Database, name: str) -> None:
    """Drop a database with its sessions.

    The server waits until every backend, of other databases too, has let go of its files; one that sits in
    a COPY whose client sends nothing never does (ProcSignalBarrier). A drop that was given up leaves a
    database that nobody can enter, and that the next one drops.
    """
    admin.run("SELECT set_config('statement_timeout', %s, false)", f"{DROP_LIMIT}s")
    try:
        admin.run(f"DROP DATABASE IF EXISTS {ident(name)} WITH (FORCE)")
    except SqlError as error:
        if error.sqlstate != "57014":  # query_canceled
            raise
        raise Busy(
            f"database {name} could not be dropped within {DROP_LIMIT} s: the server waits for another session",
            hint="A load that stands still (COPY from a client that sends nothing) holds it up. "
            "End it, and run this again: what is left is dropped then.",
        ) from None
    finally:
        admin.run("SELECT set_config('statement_timeout', '0', false)")
