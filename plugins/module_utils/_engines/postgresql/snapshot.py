# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A consistent view: one transaction that locks, exports its snapshot, and counts what pg_dump writes.

`LOCK TABLE … ACCESS SHARE` comes before the snapshot is taken: TRUNCATE and the ALTERs that rewrite a
table are not transactional for older snapshots, and one that slips in between would make the dump hold
an empty table, with a fingerprint that agrees. The locks conflict with nothing but such statements, and
pg_dump holds the same ones until its end: a migration that starts meanwhile waits for the backup, and
what comes after it on that table waits with it. That is so for every pg_dump.

A statement that queues between our locks and pg_dump's keeps pg_dump waiting, and would wait for us:
pg_dump gives up after `LOCK_WAIT`, the locks are let go so that the statement passes, and all begins
again with a new snapshot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Optional

from ..._core.errors import OpsError, Refused
from ..._core.model import Fingerprint
from ..._core.place import ContainerPlace, Place
from ..._core.process import Child
from ..base import DumpOptions
from . import fingerprint, locks
from .catalog import Newest, Relation, Selection, newest_column
from .catalog import select as select_relations
from .connection import Database, Server, SqlError
from .names import pattern, qualified
from .tools import Tool, dump_argv, dump_flags, environment, failure

# Milliseconds for a lock while others are held. Below deadlock_timeout (1 s): a migration that holds what
# we wait for, and now wants what we hold, would be the one that the server ends.
LOCK_TIMEOUT = 500
PATIENCE = 10000  # milliseconds for one lock while nothing else is held
ATTEMPTS = 6
IDLE_LIMIT = 300  # seconds after which the server ends a snapshot whose owner is stopped or gone
HEARTBEAT = 60  # seconds
_DEADLOCK, _GONE = "40P01", "42P01"
_MAGIC, _CLOSED = b"PGDMP", bytes(5)
# A whole archive ends with the last table's end (an integer 0: sign and four bytes) or, without any data,
# with the table of contents (an offset that is not set). Rows are text and hold no zero byte.
_END = bytes(5)


@dataclasses.dataclass(frozen=True)
class Source:
    """What is dumped, with what."""

    server: Server
    database: str
    tool: Tool
    options: DumpOptions
    newest: Optional[Mapping[str, str]] = None


class Dump:
    """A running pg_dump."""

    def __init__(self, source: Source, child: Child) -> None:
        self._source = source
        self._child = child
        self.ended = False

    @property
    def stdout(self) -> IO[bytes]:
        return self._child.stdout

    def finish(self) -> Mapping[str, int]:
        rc = self._child.wait()
        self.ended = True
        self._child.close()
        if rc != 0:
            raise failure("pg_dump", self._child, rc, _hint(self._child.stderr_tail))
        return {"pg_dump": rc}

    def kill(self) -> None:
        if not self.ended:
            self.ended = True
            end_tool(self._source.server, self._child, "dump")


def end_tool(server: Server, child: Child, purpose: str) -> None:
    """End a tool here, in its container, and on the server: killing `docker exec` alone ends neither."""
    child.kill()
    place: Place = server.access.place
    if isinstance(place, ContainerPlace):
        with contextlib.suppress(OpsError):
            place.end_run()
    server.terminate(purpose)


class Snapshot:
    """The transaction S, its dump and its fingerprint.

    The custom format has a mark at its head, and no word for its end. But whatever comes last, a table's
    rows, large objects or the table of contents itself, is closed by a zero of five bytes, which rows never
    hold. Beyond that: pg_dump's exit code says that it wrote all; length and hash, that all arrived; and
    pg_restore reads every block that the table of contents lists.
    """

    filename = "database.pgdump"
    format = "pgcustom"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._database: Optional[Database] = None
        self._id = ""
        self._selection = Selection(())
        self._newest: Optional[Newest] = None
        self._standby = False
        self._dump: Optional[Dump] = None
        self._beat: Optional[_Heartbeat] = None
        self.flags: tuple[str, ...] = ()

    def __enter__(self) -> Snapshot:
        self._open()
        return self

    def __exit__(self, *details: object) -> None:
        if self._dump is not None:
            self._dump.kill()
        self._close()

    def dump(self) -> Dump:
        """Start pg_dump, and wait until it has its locks: from the first byte on it cannot meet another's."""
        source = self._source
        for _attempt in range(ATTEMPTS):
            argv = dump_argv(
                source.tool, source.server.access, source.server.user, source.database, self._id, self.flags
            )
            variables = environment(source.server.access, f"{source.server.program}-dump")
            child = source.server.access.place.spawn(argv, env=variables)
            self._dump = Dump(source, child)
            _wait_for_output(child)
            if not _gave_up_on_locks(child):
                return self._dump
            self._dump.ended = True
            child.close()
            self._close()
            self._open()
        raise locks.busy(self._source.server, self._source.database, "no consistent view could be opened")

    def fingerprint(self) -> Fingerprint:
        if self._database is None:
            raise OpsError("the snapshot is closed")
        tables = self._selection.tables
        # On a standby nobody, pg_dump neither, sees the rows of unlogged tables: they are dumped empty.
        hidden = [table for table in tables if table.unlogged] if self._standby else []
        return fingerprint.take(
            self._database,
            self._source.options.level,
            [table for table in tables if table not in hidden],
            self._selection.excluded_oids,
            self._newest,
            self._source.server.context.warn,
            [table.label for table in hidden],
        )

    def complete(self, head: bytes, end: bytes) -> bool:
        return head.startswith(_MAGIC) and end.endswith(_END)

    def _open(self) -> None:
        for _attempt in range(ATTEMPTS):
            database = self._database = self._source.server.connect(self._source.database, "read")
            try:
                if self._begin(database):
                    self._beat = _Heartbeat(database, HEARTBEAT)
                    return
                database.run("ROLLBACK")
            except SqlError as error:
                if error.sqlstate not in (locks.NOT_AVAILABLE, _DEADLOCK, _GONE):
                    self._close()
                    raise
                database.run("ROLLBACK")
                _await_locks(database, select_relations(database, self._source.options.exclude_tables).locked)
            except BaseException:
                self._close()
                raise
            self._close()
        raise locks.busy(self._source.server, self._source.database, "no consistent view could be opened")

    def _begin(self, database: Database) -> bool:
        """Lock, then take the snapshot. False: the tables changed meanwhile."""
        fingerprint.settle(database)
        _limit(database)
        exclude = self._source.options.exclude_tables
        before = select_relations(database, exclude)
        database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        database.run(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        if before.locked:
            tables = ", ".join(f"ONLY {qualified(table.schema, table.name)}" for table in before.locked)
            database.run(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        self._id = str(database.value("SELECT pg_export_snapshot()"))
        self._selection = select_relations(database, exclude)
        if [table.oid for table in self._selection.locked] != [table.oid for table in before.locked]:
            return False
        self._standby = bool(database.value("SELECT pg_is_in_recovery()"))
        newest = self._source.newest
        if newest:
            with contextlib.suppress(*((Refused,) if self._source.options.salvage else ())):
                self._newest = newest_column(database, newest["table"], newest["column"], self._selection.kept)
        self.flags = dump_flags([pattern(one.schema, one.name) for one in self._selection.excluded])
        return True

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._beat is not None:
            self._beat.stop()
            self._beat = None


_EXCLUSIVE = """
SELECT DISTINCT relation::bigint FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _await_locks(database: Database, tables: Sequence[Relation]) -> None:
    """Wait for each table that somebody holds or wants for himself, holding nothing else meanwhile."""
    wanted = set(database.column(_EXCLUSIVE))
    for table in tables:
        if table.oid in wanted:
            database.run("BEGIN")
            try:
                database.run(f"SET LOCAL lock_timeout = {PATIENCE}")
                database.run(f"LOCK TABLE ONLY {qualified(table.schema, table.name)} IN ACCESS SHARE MODE")
            except SqlError as error:
                if error.sqlstate not in (locks.NOT_AVAILABLE, _DEADLOCK, _GONE):
                    raise
            finally:
                database.run("ROLLBACK")


def _limit(database: Database) -> None:
    """Let the server end the snapshot by itself when we are stopped, dead or unreachable."""
    limits = {"idle_in_transaction_session_timeout": f"{IDLE_LIMIT}s"}
    if database.major >= 14:
        limits["client_connection_check_interval"] = "10s"
    if database.major >= 17:
        limits["transaction_timeout"] = "0"
    for name, value in limits.items():
        database.run("SELECT set_config(%s, %s, false)", name, value)


def _wait_for_output(child: Child) -> None:
    poll = select.poll()
    poll.register(child.stdout.fileno(), select.POLLIN | select.POLLHUP)
    poll.poll()


def _gave_up_on_locks(child: Child) -> bool:
    """Whether pg_dump has ended for want of its locks; it writes nothing before it has them."""
    if not child.stdout.peek(1):  # type: ignore[attr-defined]
        return child.wait() != 0 and "LOCK TABLE" in child.stderr_tail
    return False


def _hint(tail: str) -> str:
    if "out of shared memory" in tail:
        return "Raise max_locks_per_transaction on the server: a dump locks every table."
    if "server version mismatch" in tail:
        return "Install the client tools of the server's version."
    return ""


class _Heartbeat:
    """Keeps the snapshot from looking idle for as long as this process runs."""

    def __init__(self, database: Database, interval: float) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(database, interval), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self, database: Database, interval: float) -> None:
        while not self._stop.wait(interval):
            with contextlib.suppress(OpsError):  # who uses the connection sees the error, too
                database.run("SELECT 1")
