# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Redis 6 and newer, and Valkey.

A backup is the RDB file that the server streams to a replica, loaded into a throwaway server and counted
before it is stored. A restore loads it there again, copies the keys into spare databases of the live server,
and exchanges them with the live ones in one transaction. A datastore with `content: cache` is never backed
up; a restore empties it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Optional

from ..._core.context import Context
from ..._core.errors import OpsError, Refused, Unavailable, at
from ..._core.io import private_directory
from ..._core.journal import Step
from ..._core.model import Datastore, Description, Fingerprint, Json, Part
from ..._core.place import HostPlace, Place
from ..._core.sizes import readable
from ..._platform.access import resolve
from ..._platform.application import Application
from ..._platform.docker import Docker
from ..base import Chosen, DumpOptions, Reach, Session, Target
from ..sqlite_file import need_space
from . import census, dump, query, throwaway
from . import swap as swapping
from .connection import (
    Missing,
    Version,
    Way,
    address_of,
    connected,
    keyspaces,
    newer_than,
    number_of_databases,
    refuse_unfit,
    version_of,
)
from .site import Site
from .throwaway import Server

PORT = 6379
OLDEST = (6, 0)
NOTHING_STORED = "Nothing was stored, and earlier backups are untouched."


class Redis:
    """Databases of a Redis or Valkey server, on this host, in a container or elsewhere."""

    TRANSPORT: ClassVar[str] = "stream"
    CACHE: ClassVar[bool] = True  # may be marked `content: cache`
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "container": {"type": "str"},
        "host": {"type": "str"},
        "port": {"type": "int"},
        "socket": {"type": "path"},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_variable": {"type": "str", "no_log": False},
        "password_url": {"type": "str", "no_log": False},
        "databases": {"type": "list", "elements": "int"},
        "tls": {"type": "bool"},
        "tls_ca": {"type": "path"},
    }

    def __init__(self, datastore: Datastore, context: Context, application: Application) -> None:
        self.datastore = datastore
        self.context = context
        self.application = application
        self._site: Optional[Site] = None
        self._servers: dict[str, Server] = {}
        self._directories: dict[str, Path] = {}

    # What is reached -------------------------------------------------------------------------------
    @property
    def site(self) -> Site:
        """Looked up at the first use: it asks Docker and reads env files."""
        if self._site is None:
            access = resolve(self.datastore, self.context, self.application, PORT)
            self._site = Site(access, self.datastore.options, self.context, PORT)
        return self._site

    @property
    def place(self) -> Place:
        return self.site.place

    @property
    def way(self) -> Way:
        return self.site.way

    @property
    def _chosen(self) -> Optional[list[int]]:
        """The databases that the user named; None for the whole server."""
        named = self.datastore.options.get("databases")
        return sorted(set(named)) if named else None

    def _databases(self, client: Any) -> list[int]:
        return self._chosen or sorted(keyspaces(client))

    def _live(self) -> swapping.Live:
        mark = f"{self.context.scratch_prefix(self.datastore.name)}spare"
        return swapping.Live(self.way, mark, self.context.run_id, self.context.warn)

    # Looking -----------------------------------------------------------------------------------------
    def ping(self) -> None:
        with connected(self.way) as client:
            client.ping()
        with contextlib.suppress(Missing), connected(self.way) as client:  # a cache's user need not have INFO
            _refuse_old(version_of(client.info("server")))

    def describe(self, options: DumpOptions) -> Description:
        if options.exclude_tables:
            raise Refused(
                "a redis datastore has no tables to leave out: a backup is the server's own image of its data",
                hint="Remove it from exclude_tables.",
            )
        with connected(self.way) as client:
            info = client.info("everything")
            refuse_unfit(info, restoring=False)
            databases = self._databases(client)
            soft = [one for one, numbers in keyspaces(client).items() if numbers.soft]
        version = version_of(info)
        if soft and version.flavour == "valkey":
            # Measured with 9.1: "Can't store key in RDB version 11", the one for whoever does not say that he knows more.
            raise Refused(
                f"Valkey does not stream hash fields that expire to its own tool, and there are such in database {_listed(soft)}",
                hint="Until a valkey-cli can, fields of hashes must not expire.",
            )
        kind = self.site.kind(version)
        if newer_than(version, kind.version):
            raise Unavailable(
                f"the server is {version.flavour} {version.text}, and the throwaway server on this host would be the "
                f"older {kind.label}, which may not read its data",
                hint="Install the server's version on this host.",
            )
        need_space(self._home(), int(info["used_memory"]), "The dump")
        return Description(
            flavour=version.flavour,
            server_version=version.text,
            tool_version=self.site.cli_version(version),
            size=throwaway.data_size(info),
            facts={"databases": databases, "whole": self._chosen is None},
            warnings=tuple(self._warnings(info)),
        )

    def _warnings(self, info: Mapping[str, Any]) -> Iterator[str]:
        resident, most = int(info.get("used_memory_rss", 0)), self.site.memory_limit()
        if most and resident + resident // 4 > most:
            yield (
                f"the server uses {readable(resident)} of its container's {readable(most)}: what is written while a backup "
                "is made takes memory besides (copy-on-write)"
            )
        modules = info.get("modules")
        if modules:
            yield "the server has modules loaded; keys of their types cannot be backed up, and are refused when there are any"

    def target(self, level: Optional[str] = None) -> Target:
        with connected(self.way) as client:
            _refuse_old(version_of(client.info("server")))
            held = keyspaces(client)
            databases = [one for one in self._databases(client) if one in held]
            objects = tuple(f"{held[one].keys} keys in database {one}" for one in databases)
            found: Optional[Fingerprint] = None
            if level:
                try:
                    found = census.take(self.way, databases, "counts").fingerprint
                except OpsError as error:  # no right to EVAL, for instance
                    self.context.warn(f"the live keys were not counted by type: {error}")
        return Target(True, True, objects, found or (Fingerprint() if level else None))

    def reach(self) -> Reach:
        access = self.site.access
        return Reach(access.hosts, access.port or PORT, "", access.container)

    def sessions(self) -> list[Session]:
        try:
            with connected(self.way) as client:
                mine = str(client.execute_command("CLIENT", "ID"))
                listed = client.client_list()
        except Missing:
            self.context.warn(f"{self.datastore}: the user may not see who is connected (CLIENT LIST)")
            return []
        wanted = self._chosen
        return [
            Session(str(one["id"]), one.get("user", ""), address_of(one.get("addr", "")), one.get("name", ""))
            for one in listed
            if str(one["id"]) != mine
            and not set(one.get("flags", "")) & set("SM")  # replicas, and the master of this one
            and (wanted is None or int(one.get("db", 0)) in wanted)
        ]

    # Backing up --------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def snapshot(self, options: DumpOptions) -> Iterator[dump.Snapshot]:
        for running in self._servers.values():  # a restore's, whose memory this one needs; `swap` starts it again
            running.stop()
        with connected(self.way) as client:
            info = client.info("everything")
        number = number_of_databases(self.way)
        scratch = self.context.scratch_name(self.datastore.name, "dump")
        server = self._server(scratch, version_of(info), number)
        throwaway.prepare(server.directory)
        try:
            with at(untouched=NOTHING_STORED):
                need_space(self._home(), int(info["used_memory"]), "The dump")
                dump.fetch(self.site.cli(version_of(info)), server.file)
                server.start(throwaway.data_size(info))
                said = dump.check(server.place, server.kind.program, server.inside)
                counted, facts = self._count(server, options.level, said)
                server.stop()
            flags = ("checked",) if said is not None else ()
            name = f"{self.datastore.name}.rdb"
            yield dump.Snapshot(name, dump.FORMAT, flags, facts, server.file, counted)
        finally:
            server.stop()
            throwaway.remove(server.directory)

    def _count(self, server: Server, level: str, said: Optional[str]) -> tuple[Fingerprint, Json]:
        with server.connect() as client:
            held = keyspaces(client)
            dump.compare_check(said, held)
            databases = self._databases(client)
            soft = [one for one, numbers in held.items() if numbers.soft]
            counted = census.take(server.way(), databases, level, soft)
            fingerprint = counted.fingerprint
            if self._chosen is None:
                fingerprint = census.with_functions(client, fingerprint)
            facts = {
                "databases": databases,
                "whole": self._chosen is None,
                "soft": soft,
                "expiries": counted.expiries,
                "data": throwaway.data_size(client.info("memory")),
                "rdb_version": dump.rdb_version(server.file),
            }
        return fingerprint, facts

    # Restoring ---------------------------------------------------------------------------------------
    def accepts(self, part: Part) -> list[str]:
        if part.format != dump.FORMAT:
            raise Refused(f"this backup of {part.datastore} has the format {part.format}, not {dump.FORMAT}")
        written = Version(part.flavour, part.server_version)
        with connected(self.way) as client:
            here = version_of(client.info("server"))
        kind = self.site.kind(here)
        if newer_than(written, kind.version):
            raise Refused(
                f"the backup is of {written.flavour} {written.text}, and {kind.label} may not read it",
                hint="Restore onto the same version or a newer one.",
            )
        missing = set(self._chosen or ()) - set(part.facts["databases"])
        if missing and not part.facts["whole"]:
            raise Refused(
                f"the backup holds databases {_listed(part.facts['databases'])}, not {_listed(missing)}",
                hint="Name with `databases` what is to be restored.",
            )
        return []

    def fits(self, part: Part) -> None:
        """Refuse, before anything is made, what the live server cannot take in (a verification need not ask)."""
        with connected(self.way) as client:
            info = client.info("everything")
            refuse_unfit(info, restoring=True)
            version = version_of(info)
            kind = self.site.kind(version)
            if newer_than(kind.version, version):
                raise Refused(
                    f"the server is {version.flavour} {version.text}, which may not take what the newer {kind.label} on this "
                    "host hands over",
                    hint="Install the server's version on this host.",
                )
            swapping.may_swap(client)
            swapping.choose(self.way, self._to_swap(client, part))
            need = int(part.facts["data"])
            self.site.check_room(info, need, besides=need)

    def _to_swap(self, client: Any, part: Part) -> list[int]:
        """The databases that a restore of this part replaces: those that are empty in the backup too."""
        if self._chosen is not None:
            return self._chosen
        held = set(part.facts["databases"])
        return sorted(held | set(keyspaces(client)) if part.facts["whole"] else held)

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        raise Refused(
            "a redis datastore is restored as a whole: its keys belong to no tables",
            hint="Restore it `into` another server, and copy from there what you need.",
        )

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        """None: users (ACL) are the server's configuration, and in no RDB file."""
        return []

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Optional[Path]:
        if directory is not None:
            self._directories[scratch] = directory
        with connected(self.way) as client:
            version = version_of(client.info("server"))
        self.drop_scratch(scratch)
        server = self._server(scratch, version, max(part.facts["databases"] or [0]) + 1)
        need_space(server.directory, part.bytes, "The staged copy")
        throwaway.prepare(server.directory)
        self._servers[scratch] = server
        return None

    def load(self, part: Part, scratch: str) -> dump.Loader:
        server = self._servers[scratch]
        return dump.Loader(server.file, lambda: server.start(int(part.facts["data"])))

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        facts, server = part.facts, self._servers[scratch]
        found = census.take(server.way(), facts["databases"], part.fingerprint.level, facts["soft"]).fingerprint
        if facts["whole"]:
            with server.connect() as client:
                found = census.with_functions(client, found)
        return census.compare(part.fingerprint.tables, facts["expiries"], found)

    def query(self, scratch: str, sql: str) -> Any:
        return query.ask(self._servers[scratch].way(), sql)

    def drop_scratch(self, scratch: str) -> None:
        server = self._servers.pop(scratch, None)
        if server is not None:
            server.stop()
        if self.site.access.container:
            with Docker() as docker:
                docker.remove(scratch)
        throwaway.remove(self._home(scratch) / scratch)

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        HostPlace(self.context).sweep()
        self.place.sweep()
        prefix = self.context.scratch_prefix(self.datastore.name)
        spared = {self.context.run_id, *keep}
        pattern = re.compile(re.escape(prefix) + r"([0-9a-f]+)_(stage|dump)")
        found = {path.name for path in self._home().iterdir()}
        if self.site.access.container:
            with Docker() as docker:
                found |= {listed.name for listed in docker.list()}
        left = sorted(name for name in found if (match := pattern.fullmatch(name)) and match[1] not in spared)
        for name in left:
            self.drop_scratch(name)
        return left + self._sweep_spares(spared)

    def _sweep_spares(self, spared: set[str]) -> list[str]:
        """Spare databases of restores that are over: a server that crashed may have brought them back."""
        live = self._live()
        emptied = []
        with contextlib.suppress(Missing):
            for database, value in swapping.marked(live.way, live.mark).items():
                if value.partition(":")[0] not in spared:
                    swapping.flush(live.way, database, last=live.mark)
                    emptied.append(f"database {database}")
        return emptied

    # Swapping ----------------------------------------------------------------------------------------
    def close_sessions(self) -> list[Session]:
        ended = self.sessions()
        with connected(self.way) as client:
            for session in ended:
                client.execute_command("CLIENT", "KILL", "ID", session.id)
        return ended

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        server = self._servers[scratch]
        if not server.running:
            server.start(int(part.facts["data"]))
        with connected(self.way) as client:
            databases = self._to_swap(client, part)
            info = client.info("everything")
        try:
            with server.connect() as source:
                self.site.check_room(info, throwaway.data_size(source.info("memory")))
                functions = census.functions(source) if self._chosen is None and part.facts["whole"] else None
            swapping.swap(server.way(), self._live(), databases, functions, step)
        except OpsError:
            self.undo(step)
            raise
        finally:
            server.stop()

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        self.check_chosen(part, chosen)

    def undo(self, step: Step) -> None:
        swapping.undo(self._live(), step.data)

    def grant_accounts(self, part: Part, mode: str) -> None:
        """Nothing: users are the server's configuration."""

    def finish(self, step: Step) -> None:
        swapping.finish(self._live(), step.data)

    def shares(self, other: Redis) -> bool:
        """Whether a database belongs to both."""
        here, there = self.reach(), other.reach()
        same = here.port == there.port and (
            here.container == there.container if here.container else bool(set(here.hosts) & set(there.hosts))
        )
        mine, others = self._chosen, other._chosen
        return same and (mine is None or others is None or bool(set(mine) & set(others)))

    def empty(self) -> None:
        """Remove all keys of a cache; repeatable."""
        with connected(self.way) as client:
            databases = self._databases(client)
        for database in databases:
            swapping.flush(self.way, database)

    # -------------------------------------------------------------------------------------------------
    def _home(self, scratch: str = "") -> Path:
        return self._directories.get(scratch) or private_directory(self.context.home / "scratch")

    def _server(self, scratch: str, version: Version, databases: int) -> Server:
        return Server(self.site.kind(version), scratch, self._home(scratch) / scratch, self.context, databases)


def _refuse_old(version: Version) -> None:
    if version.flavour == "redis" and version.numbers[:2] < OLDEST:
        raise Unavailable(f"the server has version {version.text}, and the oldest that is supported is 6.0")


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"


__all__ = ["Redis"]
