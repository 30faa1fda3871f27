# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MongoDB: mongodump's archive, staged as prefixed collections, swapped by renaming."""

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
from . import accounts, catalog, connection, fingerprint, oplog, snapshot, staging, swapping
from .connection import PORT, CommandError, Mongo
from .tools import DUMP, Tools

_OWN = ("admin", "local", "config")
_MINIMUM = (4, 4)  # renaming and names of this length
_WAIT = 10.0  # seconds for operations that were ended to go


class MongoDB:
    """One database on one server, or on the primary of a replica set."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "container": {"type": "str"},
        "host": {"type": "str"},
        "port": {"type": "int"},
        "database": {"type": "str", "required": True},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_variable": {"type": "str", "no_log": False},
        "password_url": {"type": "str", "no_log": False},
        "auth_database": {"type": "str"},
        "replica_set": {"type": "str"},
        "oplog": {"type": "bool"},
        "tls": {"type": "bool"},
        "tls_ca": {"type": "path"},
        "connect_retries": {"type": "int"},
        "connect_delay": {"type": "int"},
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
        self._reached = False

    # What it is made of ------------------------------------------------------------------------------

    @property
    def database(self) -> str:
        return str(self.datastore.options["database"])

    @property
    def newest(self) -> Optional[Mapping[str, str]]:
        return self.datastore.options.get("newest")

    @property
    def uses_oplog(self) -> bool:
        return bool(self.datastore.options.get("oplog"))

    @functools.cached_property
    def access(self) -> Access:
        return ways.resolve(self.datastore, self.context, self.application, PORT)

    @functools.cached_property
    def place(self) -> Place:
        return self.access.place

    @functools.cached_property
    def tools(self) -> Tools:
        inside = self.access.container is not None
        way = self._way(inside)
        self.context.secrets.add(way.uri())
        return Tools(self.place, way)

    def _way(self, inside: bool = False) -> connection.Way:
        application = f"day2 {self.context.run_mark}"
        return connection.way_of(self.access, self.datastore.options, application, inside)

    @contextlib.contextmanager
    def session(self) -> Iterator[Mongo]:
        """Connected; the first time with patience, because the server may be about to start."""
        options = self.datastore.options
        retries, delay = options.get("connect_retries"), options.get("connect_delay")
        mongo = connection.connect(
            self._way(),
            self.database,
            0 if self._reached else 5 if retries is None else retries,
            5 if delay is None else delay,
        )
        self._reached = True
        try:
            yield mongo
        finally:
            mongo.close()

    def server(self, mongo: Mongo) -> tuple[str, str]:
        """Flavour and version; refuses what cannot be worked with."""
        said = mongo.admin("buildInfo")
        hello = mongo.admin("hello")
        if hello.get("msg") == "isdbgrid":
            raise Refused("this is a mongos: a sharded cluster cannot be backed up by collections")
        version = str(said["version"])
        if tuple(int(one) for one in version.split(".")[:2]) < _MINIMUM:
            raise Refused(f"the server is {version}; the oldest that is supported is {_MINIMUM[0]}.{_MINIMUM[1]}")
        return ("ferretdb" if "ferretdb" in said else "mongodb"), version

    def _check_writable(self, mongo: Mongo) -> None:
        if not mongo.admin("hello").get("isWritablePrimary", False):
            raise Refused(
                "this server is a secondary of its replica set, and takes no writes",
                hint="Name the primary, or replica_set with a host outside a container.",
            )

    # Looking -----------------------------------------------------------------------------------------

    def ping(self) -> None:
        self._check_name()
        with self.session() as mongo:
            self.server(mongo)
            if not catalog.listed(mongo):
                raise Refused(
                    f"the database {self.database} holds no collections on this server",
                    hint="MongoDB does not tell an empty database from one that does not exist. Is its name right?",
                )

    def describe(self, options: DumpOptions) -> Description:
        self.ping()
        with self.session() as mongo:
            flavour, version = self.server(mongo)
            found = catalog.listed(mongo)
            catalog.check_carried(found, options.exclude_tables, mongo)
            unknown = sorted(set(options.exclude_tables) - {str(one["name"]) for one in found})
            if unknown:
                raise Refused(f"exclude_tables names {unknown[0]}, which is no collection of {self.database}")
            if self.uses_oplog:
                oplog.check(mongo)
            facts, warnings = accounts.read(mongo)
            size = mongo.command("dbStats").get("dataSize", 0)
        return Description(
            flavour=flavour,
            server_version=version,
            tool_version=self.tools.version(DUMP),
            size=int(size),
            facts={"database": self.database, **facts},
            warnings=tuple(warnings),
        )

    def target(self, level: Optional[str] = None) -> Target:
        self._check_name()
        with self.session() as mongo:
            self.server(mongo)
            objects = tuple(str(one["name"]) for one in catalog.listed(mongo))
            if not objects:
                return Target(exists=False)
            found = fingerprint.live(mongo, level, self.newest) if level else None
            return Target(exists=True, objects=objects, fingerprint=found)

    def reach(self) -> Reach:
        access = self.access
        members = () if access.container else (host for host, port in self._way().hosts)  # of a replica set
        return Reach(
            hosts=tuple(dict.fromkeys((*access.hosts, *members))),
            port=access.port or self.datastore.options.get("port") or PORT,
            database=self.database,
            container=access.container,
        )

    def sessions(self) -> list[Session]:
        with self.session() as mongo:
            return self._sessions(mongo)

    def _sessions(self, mongo: Mongo) -> list[Session]:
        """Who runs something on the database. A connection belongs to no database as long as it is idle."""
        try:
            said = mongo.current_operations()
        except CommandError as error:  # the server may lack it, the user its privilege
            if error.lacking or error.code == connection.UNAUTHORIZED:
                return []
            raise
        return sessions_of(said, self.database)

    def _check_name(self) -> None:
        if self.database in _OWN:
            raise Refused(f"{self.database} is the server's own database", hint="Name the application's database.")

    # Backing up --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, options: DumpOptions) -> Iterator[snapshot.MongoSnapshot]:
        taken = snapshot.MongoSnapshot(self, options)
        try:
            yield taken
        finally:
            taken.close()

    # Restoring ---------------------------------------------------------------------------------------

    def accepts(self, part: Part) -> list[str]:
        self._check_name()
        with self.session() as mongo:
            self._check_writable(mongo)
            return staging.accepts(self, mongo, part)

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        with self.session() as mongo:
            return swapping.check_chosen(mongo, part, chosen)

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        if mode == "none":
            return []
        with self.session() as mongo:
            source = str(part.facts.get("database", self.database))
            return accounts.create(mongo, part.facts, source, self.context)

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Optional[Path]:
        self.drop_scratch(scratch)
        return None

    def load(self, part: Part, scratch: str) -> staging.RestoreLoader:
        self._check_scratch(scratch)
        return staging.start(self, part, scratch)

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        with self.session() as mongo:
            return staging.fingerprint_of(self, mongo, part, scratch)

    def query(self, scratch: str, sql: str) -> Any:
        self._check_scratch(scratch)
        with self.session() as mongo:
            return staging.query(mongo, scratch, sql)

    def drop_scratch(self, scratch: str) -> None:
        self._check_scratch(scratch)
        with self.session() as mongo:
            staging.drop(mongo, scratch)

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        self.place.sweep()
        pattern = re.compile(
            re.escape(self.context.scratch_prefix(self.datastore.name)) + r"(?P<run>[0-9a-f]+)_stage(?=_)"
        )
        spared = {self.context.run_id, *keep}
        with self.session() as mongo:
            matches = [match for one in catalog.names(mongo) if (match := pattern.match(one))]
            found = sorted({match[0] for match in matches if match["run"] not in spared})
            for scratch in found:
                staging.drop(mongo, scratch)
        return found

    def _check_scratch(self, scratch: str) -> None:
        """Nothing that is not our scratch is ever made or dropped."""
        if not scratch.startswith(self.context.scratch_prefix(self.datastore.name)):
            raise Refused(f"{scratch} is no scratch copy of {self.datastore}")

    # Swapping ----------------------------------------------------------------------------------------

    def close_sessions(self) -> list[Session]:
        """End what runs on the database. Connections stay: the next thing on one meets what was restored."""
        ended: dict[str, Session] = {}
        deadline = time.monotonic() + _WAIT
        with self.session() as mongo:
            while True:
                left = self._sessions(mongo)
                if not left:
                    return list(ended.values())
                for one in left:
                    if one.id not in ended:
                        mongo.admin("killOp", op=int(one.id) if one.id.isdigit() else one.id)
                        ended[one.id] = one
                if time.monotonic() > deadline:
                    who = ", ".join(f"{one.user or one.program} from {one.address} ({one.id})" for one in left[:3])
                    raise Unavailable(
                        f"operations on the database {self.database} do not end: {who}",
                        hint="Something begins new ones: stop it.",
                    )
                time.sleep(0.1)

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        self._check_scratch(scratch)
        swapping.swap(self, part, scratch, self.context.scratch_name(self.datastore.name, "old"), step)

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        self._check_scratch(scratch)
        old = self.context.scratch_name(self.datastore.name, "old")
        swapping.swap_chosen(self, part, scratch, chosen, old, step)

    def undo(self, step: Step) -> None:
        swapping.undo(self, step)

    def grant_accounts(self, part: Part, mode: str) -> None:
        """Roles name databases and collections, whatever these hold: there is nothing to give again."""

    def finish(self, step: Step) -> None:
        swapping.finish(self, step)


def sessions_of(operations: Sequence[Mapping[str, Any]], database: str) -> list[Session]:
    """The clients among what currentOp lists that work on a database and are not us."""
    found = []
    for one in operations:
        program = str(one.get("appName", ""))
        namespace = str(one.get("ns", ""))
        if namespace.partition(".")[0] != database or program.startswith("day2 ") or "client" not in one:
            continue
        users = one.get("effectiveUsers") or [{}]
        address = str(one["client"]).rpartition(":")[0]
        found.append(Session(str(one.get("opid", "")), str(users[0].get("user", "")), address, program))
    return found
