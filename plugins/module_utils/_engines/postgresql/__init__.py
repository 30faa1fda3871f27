# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""PostgreSQL 13 and newer.

A backup is a pg_dump in the custom format, uncompressed, in a snapshot that the fingerprint shares; a
restore is a database beside the live one, loaded by pg_restore, compared, and renamed into its place.
What pg_dump leaves out (owner, privileges and settings of the database, roles) travels as facts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Optional

from ..._core.context import Context
from ..._core.errors import Refused, Unavailable
from ..._core.journal import Step
from ..._core.model import Datastore, Description, Fingerprint, Json, Part
from ..._core.place import Place
from ..._platform.access import Access, resolve
from ..._platform.application import Application
from ..base import Chosen, DumpOptions, Reach, Session, Target
from . import catalog, facts, fingerprint, locks, roles, tools
from . import chosen as chosen_tables
from . import stage as staging
from . import swap as swapping
from .connection import Database, Server, SqlError, Unexplained
from .names import listed, major, numbers
from .snapshot import Snapshot, Source

PORT = 5432
OLDEST = 13
_LOCK_WAIT = 30  # seconds to wait for a table of the live database
_HALF_DROPPED = -2  # the connection limit of a database whose DROP was interrupted


class PostgreSQL:
    """One database of a PostgreSQL server, on this host, in a container or elsewhere."""

    TRANSPORT: ClassVar[str] = "stream"
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "container": {"type": "str"},
        "host": {"type": "str"},
        "port": {"type": "int"},
        "socket": {"type": "path"},
        "database": {"type": "str", "required": True},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_variable": {"type": "str", "no_log": False},
        "password_url": {"type": "str", "no_log": False},
        "run_as": {"type": "str"},
        "newest": {
            "type": "dict",
            "options": {"table": {"type": "str", "required": True}, "column": {"type": "str", "required": True}},
        },
    }

    def __init__(self, datastore: Datastore, context: Context, application: Application) -> None:
        self.datastore = datastore
        self.context = context
        self.application = application
        self._server: Optional[Server] = None
        self._tools: dict[tuple[str, int], tools.Tool] = {}

    # What is reached -------------------------------------------------------------------------------
    @property
    def database(self) -> str:
        return str(self.datastore.options["database"])

    @property
    def server(self) -> Server:
        """Looked up at the first use: it asks Docker and reads env files."""
        if self._server is None:
            access: Access = resolve(self.datastore, self.context, self.application, PORT)
            self._server = Server(access, self.context, self.program, self.datastore.options.get("run_as"))
        return self._server

    @property
    def place(self) -> Place:
        return self.server.access.place

    @property
    def program(self) -> str:
        """What this run's sessions are called on the server: the prefix is this datastore's own."""
        return f"{self._family}{self.context.run_id}"

    @property
    def _family(self) -> str:
        return self.context.scratch_prefix(self.datastore.name).replace("_", "-")

    def _tool(self, program: str, server: int, least: int = 0) -> tools.Tool:
        key = (program, least)
        if key not in self._tools:
            self._tools[key] = tools.find(self.place, program, server, least)
        return self._tools[key]

    # Looking -----------------------------------------------------------------------------------------
    def ping(self) -> None:
        with self.server.connect(self.database) as database:
            self._refuse_old(database)

    def describe(self, options: DumpOptions) -> Description:
        with self.server.connect(self.database) as database:
            self._refuse_old(database)
            tool = self._tool("pg_dump", database.major)
            selection = catalog.select(database, options.exclude_tables)
            catalog.refuse_incomplete(database, selection)
            lost = self._check_newest(database, selection, options.salvage)
            known, warnings = self._shared_facts(database)
            return Description(
                flavour="postgresql",
                server_version=database.version_text,
                tool_version=tool.version,
                size=int(database.value("SELECT pg_database_size(current_database())")),
                schema_revision=catalog.schema_revision(database, facts.search_path(database)),
                facts={**facts.of_content(database), **known},
                warnings=(*lost, *warnings, *_warnings(database, selection), *_old_tool(database, tool)),
            )

    def target(self, level: Optional[str] = None) -> Target:
        with self.server.maintenance(avoid=self.database) as admin:
            found = admin.rows("SELECT datconnlimit FROM pg_database WHERE datname = %s", self.database)
        if not found:
            return Target(exists=False)
        if found[0][0] == _HALF_DROPPED:
            return Target(True, readable=False)
        objects: tuple[str, ...] = ()
        try:
            with self.server.connect(self.database) as database:
                database.run(f"SET lock_timeout = '{_LOCK_WAIT}s'")
                selection = catalog.select(database, ())
                objects = tuple(relation.label for relation in selection.kept)
                return Target(True, True, objects, self._take(database, level, selection) if level else None)
        except (SqlError, Unexplained) as error:
            if isinstance(error, SqlError) and error.sqlstate == locks.NOT_AVAILABLE:
                raise locks.busy(self.server, self.database, "the live data cannot be read") from None
            if isinstance(error, SqlError) and not _is_damage(error.sqlstate):
                raise
            self.context.warn(f"database {self.database} cannot be read: {error.what}")
            return Target(True, False, objects)

    def reach(self) -> Reach:
        access = self.server.access
        return Reach(access.hosts, access.port or PORT, self.database, access.container)

    def sessions(self) -> list[Session]:
        with self.server.maintenance(avoid=self.database) as admin:
            return swapping.sessions(admin, [self.database], self.program)

    # Backing up --------------------------------------------------------------------------------------
    def snapshot(self, options: DumpOptions) -> Snapshot:
        with self.server.connect(self.database) as database:
            tool = self._tool("pg_dump", database.major)
        return Snapshot(Source(self.server, self.database, tool, options, self.datastore.options.get("newest")))

    # Restoring ---------------------------------------------------------------------------------------
    def accepts(self, part: Part) -> list[str]:
        if self.database in ("template0", "template1"):
            raise Refused(f"{self.database} is a template of the server, not a database to restore")
        with self.server.maintenance(avoid=self.database) as admin:
            self._refuse_old(admin)
            warnings = staging.check(admin, part)
            attached = swapping.attached(admin, self.database)
            server = admin.major
        self._tool("pg_restore", server, major(part.tool_version))
        if attached:
            warnings.append(f"database {self.database} cannot be replaced while it has: {listed(attached)}")
        return warnings

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        try:
            with self.server.connect(self.database) as live:
                return chosen_tables.check(live, part, chosen)
        except Unavailable as error:
            if "there is no database" in error.what:
                error.hint = (
                    "Tables are put into a database that is there: restore the datastore as a whole, or make it."
                )
            raise

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        self._keep_secret(part.facts)
        with self.server.maintenance(avoid=self.database) as admin:
            return roles.create(admin, part.facts, mode, self.context.warn)

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Path | None:
        with self.server.maintenance(avoid=self.database) as admin:
            staging.create(self.server, admin, part, scratch)
        return None

    def load(self, part: Part, scratch: str) -> staging.Load:
        with self.server.maintenance(avoid=self.database) as admin:
            flags, warnings = staging.restore_flags(admin, part)
            server = admin.major
        for warning in warnings:
            self.context.warn(warning)
        tool = self._tool("pg_restore", server, major(part.tool_version))
        return staging.Load(self.server, tool, scratch, flags)

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        with self.server.connect(scratch, "load") as database:
            return self._take(database, part.fingerprint.level, catalog.select(database, ()))

    def query(self, scratch: str, sql: str) -> Any:
        with self.server.connect(scratch, "load") as database:
            database.run("SELECT set_config('default_transaction_read_only', 'on', false)")
            database.run("RESET search_path")
            return database.first(sql)

    def drop_scratch(self, scratch: str) -> None:
        staging.refuse_if_live(scratch, self.context.scratch_prefix(self.datastore.name))
        with self.server.maintenance(avoid=self.database) as admin:
            staging.drop(admin, scratch)

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        self.place.sweep()
        prefix = self.context.scratch_prefix(self.datastore.name)
        with self.server.maintenance(avoid=self.database) as admin:
            admin.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(application_name, %s)"
                " AND NOT starts_with(application_name, %s)",
                self._family,
                self.program,
            )
            spared = {self.context.run_id, *keep}
            left = [
                name
                for name in admin.column("SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", prefix)
                if name.endswith("_stage") and name[len(prefix) :].split("_")[0] not in spared
            ]
            for name in left:
                staging.drop(admin, name)
        return left

    # Swapping ----------------------------------------------------------------------------------------
    def close_sessions(self) -> list[Session]:
        with self.server.maintenance(avoid=self.database) as admin:
            return swapping.end_sessions(admin, [self.database], self.program)

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        old = self.context.scratch_name(self.datastore.name, "old")
        swapping.swap(self.server, part, self.database, scratch, old, step)

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        with self.server.maintenance(avoid=self.database) as admin:
            flags, _warnings = staging.restore_flags(admin, part)
            server = admin.major
        dump = self._tool("pg_dump", server)
        carrier = chosen_tables.Carrier(
            server=self.server,
            dump=dump,
            restore=self._tool("pg_restore", server, dump.major),
            flags=flags,
            prefix=self.context.scratch_name(self.datastore.name, ""),
        )
        chosen_tables.swap(carrier, self.database, scratch, chosen, step)

    def undo(self, step: Step) -> None:
        if step.data.get("way") == chosen_tables.WAY:
            chosen_tables.undo(self.server, step)
        else:
            swapping.undo(self.server, step)

    def grant_accounts(self, part: Part, mode: str) -> None:
        """Nothing: privileges on objects are in the dump, those on the database came with the swap, and
        memberships with the roles."""

    def finish(self, step: Step) -> None:
        if step.data.get("way") == chosen_tables.WAY:
            chosen_tables.finish(self.server, step)
        else:
            swapping.finish(self.server, step)

    # -------------------------------------------------------------------------------------------------
    def _newest(self, database: Database, kept: Sequence[catalog.Relation]) -> Optional[catalog.Newest]:
        option = self.datastore.options.get("newest")
        return catalog.newest_column(database, option["table"], option["column"], kept) if option else None

    def _check_newest(self, database: Database, selection: catalog.Selection, salvage: bool) -> list[str]:
        try:
            newest = self._newest(database, selection.kept)
            if newest:
                fingerprint.check_newest(database, newest)
        except Refused as error:  # of damaged data even that table may be gone
            if not salvage:
                raise
            return [f"{error.what}, so it is not recorded how fresh the data are"]
        return []

    def _take(self, database: Database, level: str, selection: catalog.Selection) -> Fingerprint:
        fingerprint.settle(database)
        try:
            newest = self._newest(database, selection.kept)
        except Refused:  # an older backup, or another database, may have no such column
            newest = None
        database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return fingerprint.take(database, level, selection.tables, (), newest, self.context.warn)

    def _shared_facts(self, database: Database) -> tuple[Json, list[str]]:
        """What catalogs say that all databases share, read where names have the server's own encoding."""
        with contextlib.ExitStack() as stack:
            admin = database
            with contextlib.suppress(Unavailable):  # a user may be confined to his database
                admin = stack.enter_context(self.server.maintenance(avoid=self.database))
            known, warnings = roles.needed(database, admin)
            self._keep_secret(known)
            return {**facts.of_database(admin, self.database), **known}, warnings

    def _keep_secret(self, known: Mapping[str, Any]) -> None:
        for role in known.get("roles", ()):
            self.context.secrets.add(role.get("password"))

    @staticmethod
    def _refuse_old(database: Database) -> None:
        if database.major < OLDEST:
            raise Unavailable(
                f"the server has version {database.version_text}, and the oldest that is supported is {OLDEST}"
            )


def _is_damage(sqlstate: str) -> bool:
    """Internal error, corrupted data or index, system error (I/O)."""
    return sqlstate.startswith(("XX", "58"))


def _warnings(database: Database, selection: catalog.Selection) -> list[str]:
    warnings = []
    foreign = [relation.label for relation in selection.kept if relation.kind == "foreign table"]
    if foreign:
        warnings.append(
            f"of the foreign tables {listed(foreign)} only the definitions are stored, their rows are elsewhere"
        )
    unlogged = [relation.label for relation in selection.kept if relation.unlogged]
    if unlogged and database.value("SELECT pg_is_in_recovery()"):
        warnings.append(
            f"the unlogged tables {listed(unlogged)} have no rows on a standby server: they are stored empty"
        )
    subscriptions = [name for name in swapping.attached(database, database.name) if name.startswith("subscription")]
    if subscriptions:
        warnings.append(f"not in the backup: {listed(subscriptions)}")
    return warnings


def _old_tool(database: Database, tool: tools.Tool) -> list[str]:
    """An older minor version dumps, but what it writes may not restore everywhere: pg_dump 15.18 writes an
    internal column option of a server 15.20 (pg_attver), which a server 15.18 refuses."""
    if numbers(tool.version) >= numbers(database.version_text):
        return []
    return [
        f"pg_dump {tool.version} is older than the server {database.version_text}: update the client tools, or the "
        "backup may restore onto servers of this version only"
    ]


__all__ = ["PostgreSQL"]
