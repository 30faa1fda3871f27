# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The rows that a dump sees: a session that began together with the dump, or two around its beginning.

L locks the tables for reading, S begins its transaction, the dump tool begins its own, L unlocks: S
sees what the tool sees. L's session has limits of a few seconds, because a peer that is stopped while
it holds a lock keeps every writer waiting until the server ends its session.

Where the lock is not granted, one session begins before the tool's transaction and one after it.
Tables on which both agree are exact, the others are ranges.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Optional

from ..._core.errors import OpsError
from ..._core.process import Child
from . import connection
from .catalog import Table
from .connection import Sql, SqlError, qualified
from .stream import BEGUN

LOCK_WAIT = 2  # seconds that writers may queue behind a lock that is not granted
LOCK_LIFE = 3  # seconds after which the server ends a session that holds the lock and says nothing
HOLD = 6.0  # seconds that writers may wait for the tool to begin
ATTEMPTS = 3
PAUSE = 1.0  # between attempts, so that the writers that queued behind one get through
_HEAD = 1 << 20


class Lock:
    """LOCK TABLES … READ on all tables of a database, in a session of its own."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        sql.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}, wait_timeout = {LOCK_LIFE}")

    def take(self, database: str, tables: Sequence[Table]) -> None:
        self._sql.execute(f"LOCK TABLES {', '.join(f'{qualified(database, one.name)} READ' for one in tables)}")

    def keep(self) -> bool:
        """Tell the server that we are there; False when it has ended the session."""
        try:
            self._sql.execute("DO 0")
        except OpsError:
            return False
        return True

    def release(self) -> bool:
        """False when the lock was lost before, so that nothing was protected by it any more."""
        try:
            self._sql.execute("UNLOCK TABLES")
        except OpsError:
            return False
        finally:
            self._sql.close()
        return True


def begin(sql: Sql) -> Sql:
    """A transaction that sees the rows of now until its end."""
    sql.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    sql.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    return sql


def take_lock(
    connect: Callable[[], Sql], database: str, tables: Callable[[], Sequence[Table]]
) -> tuple[Optional[Lock], str]:
    """The lock, or why there is none."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)  # not a wait for a condition: writers shall pass in between
        named = tables()
        if not named:
            return None, ""
        sql = connect()
        try:
            lock = Lock(sql)
            lock.take(database, named)
            return lock, ""
        except SqlError as error:
            sql.close()
            if error.code in (connection.TABLE_DENIED, connection.DATABASE_DENIED):
                return None, "the user has no LOCK TABLES privilege"
            if error.code not in (connection.LOCK_TIMEOUT, connection.NO_TABLE):
                raise
            reason = f"a lock on the tables was not granted within {LOCK_WAIT} s, {ATTEMPTS} times"
        except OpsError:
            sql.close()
            raise
    return None, reason


def read_until_begun(child: Child, lock: Optional[Lock], limit: Optional[float]) -> tuple[bytes, bool]:
    """Read a dump's output until it shows that its transaction has begun (or ended). The bytes, and
    whether the lock held until then: after `limit` seconds it is given up, for the writers."""
    head, pipe = bytearray(), child.stdout.fileno()
    deadline = time.monotonic() + limit if limit is not None else None
    held = lock is not None
    while not BEGUN.search(head) and len(head) < _HEAD:
        if select.select([pipe], [], [], LOCK_LIFE / 3)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            head += chunk
        if held and lock is not None:
            late = deadline is not None and time.monotonic() > deadline
            if late or not lock.keep():
                held = False
                lock.release()
    if held and lock is not None:
        held = lock.release()
    return bytes(head), held
