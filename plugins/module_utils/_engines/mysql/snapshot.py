# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One dump and its fingerprint, of the same rows."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Optional, cast

from ..._core.errors import Busy, OpsError, Unavailable
from ..._core.model import Fingerprint, Json, TableFingerprint
from ..._core.process import Child, ending, failed
from ..base import DumpOptions
from . import catalog, consistent, describe, fingerprint, tools
from .catalog import Table
from .connection import NO_THREAD, Sql, SqlError
from .stream import Continued, is_complete

if TYPE_CHECKING:
    from .server import SqlServer

_GRACE = 1.0  # seconds in which the server notices by itself that a killed tool is gone
# How mariadb-dump and mysqldump mark their reads.
_MARK = "SELECT /*!40001 SQL_NO_CACHE */%"


class DumpProducer:
    """The running dump tool."""

    def __init__(self, server: SqlServer, child: Child, head: bytes, sessions: frozenset[int]) -> None:
        self._server = server
        self._child = child
        self._sessions = sessions  # those that were there before it
        self._stdout = Continued(head, child.stdout)
        self._killed = False
        self.over = threading.Event()

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self._stdout)

    def finish(self) -> Mapping[str, int]:
        rc = self._child.wait()
        self.over.set()
        if rc != 0:
            raise explain(self._child.argv, rc, self._child.stderr_tail, self._server.flavour.dump)
        return {self._server.flavour.dump: rc}

    def kill(self) -> None:
        if self._killed:
            return
        self._killed = True
        running = self._child.rc is None
        self._child.kill()
        if self._server.access.container is not None:
            with contextlib.suppress(OpsError):  # the container may be gone, and the tool with it
                self._server.access.place.end_run()
        if running:
            with contextlib.suppress(OpsError):  # the server may be gone
                self._end_session()
        self.over.set()

    def _end_session(self) -> None:
        """The tool's session ends when the server writes to it next. One that waits for a lock is ended."""
        with self._server.session() as sql:
            deadline = time.monotonic() + _GRACE
            while True:
                left = sessions_of_tool(sql) - self._sessions
                if not left:
                    return
                if time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            for session in left:
                kill_session(sql, session)


def sessions_of_tool(sql: Sql) -> set[int]:
    """Sessions of our user in which a dump tool reads a table."""
    query = (
        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) AND INFO LIKE %s"
    )
    return {int(one) for one in sql.column(query, (_MARK,))}


def kill_session(sql: Sql, session: int) -> None:
    try:
        sql.execute(f"KILL CONNECTION {session}")
    except SqlError as error:
        if error.code != NO_THREAD:
            raise


def explain(argv: tuple[str, ...], rc: int, stderr: str, tool: str) -> OpsError:
    """Why the tool failed, in words."""
    last = stderr.splitlines()[-1] if stderr else "no message"
    error = failed(argv, rc, stderr, what=f"{tool} {ending(rc)}: {last}")
    codes = set(re.findall(r"(?:\(|[Ee]rror:? )(\d{4})\b", stderr))
    if codes & {"1412", "1146"}:
        return Busy(
            f"a table was changed while it was dumped: {last}", hint="Run the backup again when no migration runs."
        )
    if codes & {"2002", "2003", "2006", "2013"}:
        return Unavailable(
            f"{tool} lost its connection to the server: {last}", hint="Did the server or its container stop?"
        )
    if codes & {"1356", "1449"}:
        error.hint = "Drop or repair the view, or leave it out with exclude_tables."
    elif codes & {"1045", "1698"}:
        error.hint = "The account may not log in from where the tool runs."
    return error


class SqlSnapshot:
    """The rows of one moment, for one dump and one fingerprint (`consistent` says how)."""

    format = "sql"

    def __init__(self, server: SqlServer, options: DumpOptions) -> None:
        self._server = server
        self._options = options
        self._views: list[Sql] = []
        self._producer: Optional[DumpProducer] = None
        self._counting = False
        self._before: dict[str, TableFingerprint] = {}
        self._thread = threading.get_ident()
        self.filename = f"{server.datastore.name}.sql"
        with server.session() as sql:
            self._content = describe.content(sql, server.database, options, server.carries_history)
        flavour, content = server.flavour, self._content
        self.flags = tuple(
            tools.flags(flavour, server.database, content.history, content.without_rows, content.without_views)
        )
        self.facts: Json = {}

    def dump(self) -> DumpProducer:
        server = self._server
        with server.session() as sql, server.session(binary=True) as raw:
            self.facts = describe.definitions_kept(sql, raw, server.database, self._content)
            known = frozenset(sessions_of_tool(sql))
            self._before = {one.name: self._read(sql, one) for one in self._unsteady()}
        argv = server.tools.dump(server.database, self.flags)
        begun = self._definitions()
        lock, reason = consistent.take_lock(server.connect, server.database, self._locked)
        if reason:
            self._refuse_locked()
        self._views = [consistent.begin(server.connect())]
        child: Optional[Child] = None
        try:
            child = server.tools.spawn(argv)
            head, held = consistent.read_until_begun(child, lock, consistent.HOLD)
            if not held and self._locked():
                self._views.append(consistent.begin(server.connect()))
                reason = reason or "the lock on the tables was lost before the tool began"
                server.context.warn(f"{reason}: rows that moved while the dump began are counted as a range")
            self._producer = DumpProducer(server, child, begun + head, known)
        except BaseException:
            if child is not None:
                DumpProducer(server, child, b"", known).kill()
            raise
        finally:
            if lock is not None:
                lock.release()
        return self._producer

    def fingerprint(self) -> Fingerprint:
        self._counting = True
        try:
            return self._fingerprint()
        finally:
            self._counting = False

    def complete(self, head: bytes, end: bytes) -> bool:
        return is_complete(end)

    def close(self) -> None:
        """End whatever still runs: the tool, and a count that goes on in the server."""
        if self._producer is not None and not self._producer.over.is_set():
            self._producer.kill()
        if self._counting:
            with contextlib.suppress(OpsError), self._server.session() as sql:
                for view in self._views:
                    kill_session(sql, view.id)
        for view in self._views:
            view.close()

    def _definitions(self) -> bytes:
        """What comes before the dump: tables without their rows, where the tool cannot dump both at once."""
        left_out = self._content.without_rows
        if self._server.flavour.leaves_rows_out or not left_out:
            return b""
        flags = [one for one in self.flags if not one.startswith("--ignore-table=")]
        return self._server.tools.definitions(self._server.database, flags, left_out)

    def _refuse_locked(self) -> None:
        """A writer is in the way of a lock, but not of the tool; whoever has a table for himself is, and the tool
        would wait for him as long as the server lets it: a day with MariaDB, a year with MySQL."""
        with self._server.session() as sql:
            catalog.damaged(sql, self._server.database, self._locked())

    # Reading ------------------------------------------------------------------------------------------

    def _locked(self) -> list[Table]:
        return [one for one in self._content.tables if one.transactional or one.holds_rows]

    def _unsteady(self) -> list[Table]:
        """Tables that a snapshot does not hold still."""
        return [one for one in self._content.tables if not one.transactional and self._counted(one)]

    def _counted(self, table: Table) -> bool:
        return table.holds_rows and table.name not in self._content.without_rows

    def _read(self, sql: Sql, table: Table) -> TableFingerprint:
        content = self._content
        columns = content.columns.get(table.name, [])
        return fingerprint.read(sql, self._server.database, table, columns, self._options.level, content.history)

    def _fingerprint(self) -> Fingerprint:
        content, database = self._content, self._server.database
        found: dict[str, TableFingerprint] = {one: TableFingerprint(0) for one in content.without_rows}
        for table in content.tables:
            if table.transactional and self._counted(table):
                columns = content.columns.get(table.name, [])
                found[table.name] = fingerprint.seen(
                    self._views, database, table, columns, self._options.level, content.history
                )
        newest = [fingerprint.newest(view, database, self._server.newest) for view in self._views]
        with self._server.session() as sql:
            objects = describe.counted(sql, database, content, len(self.facts["events"]))
            if self._unsteady():
                self._wait_for_the_end()
                found.update(
                    {
                        one.name: fingerprint.merge([self._before[one.name], self._read(sql, one)])
                        for one in self._unsteady()
                    }
                )
        moved = [name for name, one in found.items() if one.rows_max is not None]
        if moved:
            self._server.context.warn(
                f"rows were added or removed during the dump in {', '.join(sorted(moved))}: counted as a range"
            )
        return Fingerprint(
            level=self._options.level,
            tables=found,
            objects=objects,
            newest=newest[0] if all(one == newest[0] for one in newest) else None,
        )

    def _wait_for_the_end(self) -> None:
        """Until the tool has read the tables that no snapshot holds still."""
        if self._producer is not None and threading.get_ident() != self._thread:
            self._producer.over.wait()
