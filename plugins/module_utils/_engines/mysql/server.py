# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The verbs of an engine for a server that speaks SQL like MySQL; `Flavour` holds the differences."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Optional

from ..._core.context import Context
from ..._core.errors import Refused, Unavailable
from ..._core.journal import Step
from ..._core.model import Datastore, Description, Fingerprint, Part
from ..._core.place import Place
from ..._platform import access as ways
from ..._platform.access import Access
from ..._platform.application import Application
from ..base import Chosen, DumpOptions, Reach, Session, Target
from . import accounts, catalog, connection, describe, snapshot, staging, swapping
from . import chosen as chosen_tables
from .connection import Sql, SqlError, name
from .flavours import Flavour, version_of
from .tools import Tools, own_socket, wants_tls

PORT = 3306
_SYSTEM = ("system user", "event_scheduler", "Daemon")
_WAIT = 10.0  # seconds for killed sessions to go


class SqlServer:
    """One database on one server."""

    FLAVOUR: ClassVar[Flavour]
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
            "options": {
                "table": {"type": "str", "required": True},
                "column": {"type": "str", "required": True},
            },
        },
    }
    TRANSPORT: ClassVar[str] = "stream"

    def __init__(self, datastore: Datastore, context: Context, application: Application) -> None:
        self.datastore = datastore
        self.context = context
        self.application = application
        self._created: list[accounts.Account] = []
        self._unlogged: set[str] = set()  # scratch databases that replicas and the binary log never see

    # What it is made of ------------------------------------------------------------------------------

    @property
    def flavour(self) -> Flavour:
        return self.FLAVOUR

    @property
    def database(self) -> str:
        return str(self.datastore.options["database"])

    @property
    def newest(self) -> Optional[Mapping[str, str]]:
        return self.datastore.options.get("newest")

    @functools.cached_property
    def access(self) -> Access:
        return ways.resolve(self.datastore, self.context, self.application, PORT)

    @functools.cached_property
    def place(self) -> Place:
        return self.access.place

    @functools.cached_property
    def tools(self) -> Tools:
        socket, tls = None, False
        inside = self.access.container is not None
        if inside or self.access.tool_socket:
            with self.session() as sql:
                socket = own_socket(sql) if inside else None
                tls = self.flavour.name == "mysql" and wants_tls(sql)
        return Tools(self.flavour, self.access, socket, self.datastore.options.get("run_as"), tls)

    @functools.cached_property
    def dump_version(self) -> str:
        return self.tools.version(self.flavour.dump)

    @property
    def carries_history(self) -> bool:
        """Whether the dump tool can carry the history of system-versioned tables."""
        return bool(self.flavour.history_flag) and version_of(self.dump_version) >= self.flavour.history_since

    def connect(self, database: Optional[str] = None, binary: bool = False) -> Sql:
        return connection.connect(self.flavour, self.access, database, self.datastore.options.get("run_as"), binary)

    @contextlib.contextmanager
    def session(self, database: Optional[str] = None, binary: bool = False) -> Iterator[Sql]:
        sql = self.connect(database, binary)
        try:
            yield sql
        finally:
            sql.close()

    def version(self, sql: Sql) -> str:
        version = str(sql.value("SELECT VERSION()"))
        describe.check_version(self.flavour, version)
        return version

    # Looking -----------------------------------------------------------------------------------------

    def ping(self) -> None:
        self._check_name()
        with self.session(self.database) as sql:
            self.version(sql)

    def describe(self, options: DumpOptions) -> Description:
        self.ping()
        return describe.describe(self, options)

    def target(self, level: Optional[str] = None) -> Target:
        self._check_name()
        with self.session() as sql:
            if not catalog.exists(sql, self.database):
                return Target(exists=False)
            tables = catalog.tables(sql, self.database)
            sequences = catalog.sequences(sql, self.database)
            others = [
                *catalog.view_objects(sql, self.database),
                *catalog.routines(sql, self.database),
                *catalog.events(sql, self.database),
            ]
            objects = (*(one.name for one in tables), *sequences, *(str(one) for one in others))
            if catalog.damaged(sql, self.database, tables):
                return Target(exists=True, readable=False, objects=objects)
            found = staging.fingerprint_of(sql, self.database, level, self.newest) if level else None
            return Target(exists=True, objects=objects, fingerprint=found)

    def reach(self) -> Reach:
        access = self.access
        return Reach(
            hosts=access.hosts,
            port=access.port or self.datastore.options.get("port") or PORT,
            database=self.database,
            container=access.container,
        )

    def sessions(self) -> list[Session]:
        with self.session() as sql:
            return self._sessions(sql, self.database)

    def _sessions(self, sql: Sql, database: str) -> list[Session]:
        rows = sql.execute(
            "SELECT ID, USER, HOST, COMMAND FROM information_schema.PROCESSLIST WHERE DB = %s AND ID <> CONNECTION_ID()",
            (database,),
        )
        return [
            Session(str(id), str(user), address(str(host)))
            for id, user, host, command in rows
            if user not in _SYSTEM and not str(command).startswith("Binlog Dump")
        ]

    def _check_name(self) -> None:
        if self.database.lower() in ("mysql", "sys", "information_schema", "performance_schema"):
            raise Refused(f"{self.database} is the server's own database", hint="Name the application's database.")

    # Backing up --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, options: DumpOptions) -> Iterator[snapshot.SqlSnapshot]:
        taken = snapshot.SqlSnapshot(self, options)
        try:
            yield taken
        finally:
            taken.close()

    # Restoring ---------------------------------------------------------------------------------------

    def accepts(self, part: Part) -> list[str]:
        self._check_name()
        with self.session() as sql:
            return staging.accepts(self, sql, part)

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        return chosen_tables.check(self, part, chosen)

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        kept = self._accounts(part)
        if not kept and part.facts.get("accounts"):
            names = ", ".join(str(accounts.Account.from_json(one)) for one in part.facts["accounts"])
            self.context.warn(f"accounts are not carried over from another kind of server; make them here: {names}")
        definers = [accounts.grantee_of(one) for one in part.facts.get("definers", [])]
        with self.session() as sql:
            try:
                present = accounts.existing(sql)
            except SqlError as error:
                if kept or definers:
                    self.context.warn(f"whether the application's accounts exist was not checked: {error.what}")
                return []
            if mode != "none":
                source = str(part.facts.get("database", self.database))
                made = accounts.create(sql, kept, self.context, present, self.database, source)
                self._created += made
            else:
                made = []
            there = present | {(one.user, one.host) for one in made}
            missing = sorted({accounts.spelled(one) for one in definers if one not in there})
            if missing:
                self.context.warn(
                    f"views, routines, triggers or events belong to {', '.join(missing)}, which does not exist here: "
                    "they will fail when they are used"
                )
            return [str(one) for one in made]

    def _accounts(self, part: Part) -> list[accounts.Account]:
        """Those that the part brings. The other flavour keeps passwords that this one cannot use, and says it otherwise."""
        found = [accounts.Account.from_json(one) for one in part.facts.get("accounts", [])]
        return found if part.flavour == self.flavour.name else []

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Optional[Path]:
        """`directory` is given by a verification, whose copy never becomes live: replicas need not see it."""
        self._check_scratch(scratch)
        self.drop_scratch(scratch)
        with self.session() as sql:
            if directory is not None and self._can_unlog(sql):
                self._unlogged.add(scratch)
            self._unlog(sql, scratch)
            facts = part.facts
            staging.make_database(
                sql, scratch, facts.get("charset", "utf8mb4"), facts.get("collation", "utf8mb4_general_ci")
            )
        return None

    def load(self, part: Part, scratch: str) -> staging.ClientLoader:
        self._check_scratch(scratch)
        return staging.start(self, part, scratch, scratch not in self._unlogged)

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        with self.session() as sql:
            wanted = self.newest if part.fingerprint.newest is not None else None
            # Values of the other flavour do not print alike (JSON, FLOAT), and it has another hash.
            level = part.fingerprint.level if part.flavour == self.flavour.name else "counts"
            return staging.fingerprint_of(sql, scratch, level, wanted, part)

    def query(self, scratch: str, sql: str) -> Any:
        self._check_scratch(scratch)
        with self.session(scratch) as asked:
            # The session too: DROP ends a transaction of its own accord, and its being read-only with it.
            asked.execute("SET SESSION TRANSACTION READ ONLY")
            asked.execute("START TRANSACTION READ ONLY")
            return asked.value(sql)

    def drop_scratch(self, scratch: str) -> None:
        self._check_scratch(scratch)
        with self.session() as sql:
            self._end_sessions(sql, scratch)
            self._unlog(sql, scratch)
            sql.execute("SET SESSION foreign_key_checks = 0")
            sql.execute(f"DROP DATABASE IF EXISTS {name(scratch)}")
        self._unlogged.discard(scratch)

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        self.place.sweep()
        pattern = re.compile(re.escape(self.context.scratch_prefix(self.datastore.name)) + r"([0-9a-f]+)_stage")
        spared = {self.context.run_id, *keep}
        with self.session() as sql:
            found = [
                one for one in catalog.databases(sql) if (match := pattern.fullmatch(one)) and match[1] not in spared
            ]
        for scratch in found:
            self.drop_scratch(scratch)
        return found

    def _check_scratch(self, scratch: str) -> None:
        """Nothing that is not our scratch is ever made or dropped."""
        if not scratch.startswith(self.context.scratch_prefix(self.datastore.name)) or scratch == self.database:
            raise Refused(f"{scratch} is not a scratch database of {self.datastore}")

    def _can_unlog(self, sql: Sql) -> bool:
        if not sql.value("SELECT @@log_bin"):
            return False
        try:
            sql.execute("SET SESSION sql_log_bin = 0")
        except SqlError:
            return False
        sql.execute("SET SESSION sql_log_bin = 1")
        return True

    def _unlog(self, sql: Sql, scratch: str) -> None:
        if scratch in self._unlogged:
            sql.execute("SET SESSION sql_log_bin = 0")

    # Swapping ----------------------------------------------------------------------------------------

    def close_sessions(self) -> list[Session]:
        with self.session() as sql:
            return self._end_sessions(sql, self.database)

    def _end_sessions(self, sql: Sql, database: str) -> list[Session]:
        ended: dict[str, Session] = {}
        deadline = time.monotonic() + _WAIT
        while True:
            left = self._sessions(sql, database)
            if not left:
                return list(ended.values())
            for one in left:
                if one.id not in ended:
                    snapshot.kill_session(sql, int(one.id))
                    ended[one.id] = one
            if time.monotonic() > deadline:
                who = ", ".join(f"{one.user}@{one.address or 'localhost'} (session {one.id})" for one in left[:3])
                raise Unavailable(
                    f"sessions on the database {database} do not end: {who}",
                    hint="They may be rolling back a large transaction, or something opens new ones: stop it.",
                )
            time.sleep(0.05)

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        self._check_scratch(scratch)
        old = self.context.scratch_name(self.datastore.name, "old")
        swapping.swap(self, part, scratch, old, step)

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        self._check_scratch(scratch)
        old = self.context.scratch_name(self.datastore.name, "old")
        chosen_tables.swap(self, scratch, old, chosen, step)

    def undo(self, step: Step) -> None:
        if "chosen" in step.data:
            chosen_tables.undo(self, step)
        else:
            swapping.undo(self, step)

    def grant_accounts(self, part: Part, mode: str) -> None:
        if mode == "none":
            return
        kept = self._accounts(part)
        mine = {(one.user, one.host) for one in self._created}
        chosen = kept if mode == "all" else [one for one in kept if (one.user, one.host) in mine]
        if not chosen:
            return
        source = str(part.facts.get("database", self.database))
        with self.session() as sql:
            try:
                present = accounts.existing(sql)
            except SqlError as error:  # the data are restored, and stay so
                self.context.warn(f"privileges of the application's accounts were not given again: {error.what}")
                return
            for account in chosen:
                if (account.user, account.host) in present:
                    for deep in (False, True):
                        accounts.give(sql, account, self.context, self.database, source, deep)

    def finish(self, step: Step) -> None:
        swapping.finish(self, step)


def address(host: str) -> str:
    """`10.0.0.5:41000` → `10.0.0.5`; "" for a local socket."""
    if host in ("", "localhost"):
        return ""
    return host.rpartition(":")[0] or host
