# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Connections to one server as one user, and what their failures mean."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from ..._core import drivers
from ..._core.context import Context
from ..._core.errors import OpsError, ToolFailed, Unavailable
from ..._core.identity import acting_as
from ..._platform.access import Access

CONNECT_TIMEOUT = 10  # seconds
# A server that has gone without a word is noticed after two minutes, not after two hours.
KEEPALIVES = {"keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "4"}
Row = tuple[Any, ...]


class SqlError(ToolFailed):
    """A statement that the server refused. `sqlstate` is the server's five-character code."""

    def __init__(self, what: str, sqlstate: str = "", hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.sqlstate = sqlstate


class Unexplained(Unavailable):
    """A connection that failed for none of the usual reasons: the database may be damaged."""


class Database:
    """One connection, in autocommit mode: transactions are begun and ended by statements.

    Threads may share it. `close` ends what another thread has running.
    """

    def __init__(self, raw: Any, name: str) -> None:
        self._raw = raw
        self._lock = threading.Lock()
        self._closing = False
        self.name = name

    @property
    def version(self) -> int:
        """The server's version as a number, 150018 for 15.18."""
        return int(self._raw.info.server_version)

    @property
    def major(self) -> int:
        return self.version // 10000

    @property
    def version_text(self) -> str:
        return str(self._raw.info.parameter_status("server_version") or "").split(" ", 1)[0]

    @property
    def pid(self) -> int:
        return int(self._raw.info.backend_pid)

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        with self._cursor(sql, parameters) as cursor:
            return list(cursor.fetchall())

    def row(self, sql: str, *parameters: Any) -> Row:
        found = self.rows(sql, *parameters)
        if not found:
            raise OpsError(f"the server returned no row for: {sql}")
        return found[0]

    def value(self, sql: str, *parameters: Any) -> Any:
        return self.row(sql, *parameters)[0]

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        return [row[0] for row in self.rows(sql, *parameters)]

    def run(self, sql: str, *parameters: Any) -> None:
        with self._cursor(sql, parameters):
            pass

    def first(self, sql: str) -> Any:
        """First column of the first row of one single statement: a prepared one takes no more."""
        self._raw.prepare_threshold = 0  # without it psycopg prepares nothing, and sends all at once
        with self._cursor(sql, (), prepare=True) as cursor:
            if cursor.description is None:
                raise SqlError("the statement returns no rows")
            row = cursor.fetchone()
            return row[0] if row else None

    def close(self) -> None:
        self._closing = True
        if not self._lock.acquire(blocking=False):
            with contextlib.suppress(Exception):  # it may be broken already
                self._raw.cancel()
            self._lock.acquire(timeout=CONNECT_TIMEOUT)
        with contextlib.suppress(Exception):
            self._raw.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _cursor(self, sql: str, parameters: Sequence[Any], prepare: bool = False) -> Iterator[Any]:
        errors = drivers.psycopg()
        with self._lock:
            if self._closing:
                raise Unavailable("the connection to the server is closed")
            try:
                with self._raw.cursor() as cursor:
                    cursor.execute(sql, parameters or None, prepare=prepare)
                    yield cursor
            except errors.Error as error:
                raise _statement_error(error) from None


class Server:
    """A server as the datastore's user reaches it."""

    def __init__(self, access: Access, context: Context, program: str, run_as: Optional[str]) -> None:
        self.access = access
        self.context = context
        self.program = program  # what every connection of this run is called on the server
        self.run_as = run_as

    @property
    def user(self) -> str:
        return self.access.user or self.run_as or "postgres"

    @property
    def where(self) -> str:
        """The server's address, for messages."""
        if self.access.container:
            return self.access.place.label
        if self.access.socket:
            return f"{self.access.socket} (port {self.access.port})"
        return f"{self.access.host}:{self.access.port}"

    def connect(self, database: str, purpose: str = "ask", timeout: int = CONNECT_TIMEOUT) -> Database:
        """A connection called `PROGRAM-PURPOSE`; `Unavailable` says why there is none."""
        driver = drivers.psycopg()
        access = self.access
        settings: dict[str, Any] = {
            "host": access.socket or access.host,
            "port": access.port,
            "dbname": database,
            "user": self.user,
            "password": access.password,
            "application_name": f"{self.program}-{purpose}",
            "connect_timeout": timeout,
            "client_encoding": "utf8",
            **KEEPALIVES,
        }
        try:
            # Inside a container the socket's peer is a user of the container, whom this host may not know.
            with acting_as(None if access.container else self.run_as):
                raw = driver.connect(autocommit=True, prepare_threshold=None, **settings)
        except driver.Error as error:
            raise explain(str(error), self._attempt(database)) from None
        connection = Database(raw, database)
        # Only the system's own functions and operators, whatever a schema holds (CVE-2018-1058).
        connection.run("SELECT pg_catalog.set_config('search_path', '', false)")
        return connection

    def maintenance(self, avoid: str = "", purpose: str = "admin") -> Database:
        """A connection to a database that is neither live nor a copy, for what is done to databases."""
        refused: Optional[OpsError] = None
        for name in ("postgres", "template1"):
            if name != avoid:
                try:
                    return self.connect(name, purpose)
                except Unavailable as error:
                    refused = refused or error
        raise refused or Unavailable("there is no database to connect to for maintenance")

    def terminate(self, purpose: str) -> None:
        """End this run's own sessions of a purpose; quiet where the server is gone."""
        with contextlib.suppress(OpsError), self.maintenance(purpose="kill") as database:
            database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                f"{self.program}-{purpose}",
            )

    def _attempt(self, database: str) -> Attempt:
        return Attempt(self.where, self.user, database, self.run_as or "", self.access.password is not None)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What was tried when a connection failed."""

    where: str
    user: str
    database: str
    run_as: str = ""
    password: bool = False


_NAME_IT = "Give it with password_variable, password_url or password."

# What libpq and the server say (connection errors carry no SQLSTATE), what it means, and what to do.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"password authentication failed",
        "the server at {where} refuses the password of user {user}",
        "Is it the one that is in force now? After a rotation the variable that is named must hold the new one.",
    ),
    (r"no password supplied", "the server at {where} wants a password for user {user}, and none is given", _NAME_IT),
    (
        r"no pg_hba\.conf entry",
        "the server at {where} lets user {user} into database {database} from no such address (pg_hba.conf)",
        "Add an entry for this user, database and address to pg_hba.conf, or use another way in.",
    ),
    (
        r"(peer|ident) authentication failed",
        "the server at {where} does not take {system} for user {user} (peer authentication)",
        "Set run_as to the system user that pg_hba.conf maps to {user}, or connect with host and a password.",
    ),
    (r'database ".*" does not exist', 'there is no database "{database}" on the server at {where}', ""),
    (r'role ".*" does not exist', 'there is no user "{user}" on the server at {where}', "Correct the option user."),
    (
        r"permission denied for database",
        "user {user} may not connect to database {database}",
        "Grant it: GRANT CONNECT ON DATABASE … TO …",
    ),
    (r"is not permitted to log in", "user {user} may not log in to the server at {where}", ""),
    (
        r"not currently accepting connections",
        "database {database} accepts no connections at the moment",
        "A restore that was interrupted leaves it so: run the restore again. "
        "Otherwise: ALTER DATABASE … ALLOW_CONNECTIONS true.",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        "the server at {where} has no free connection: {message}",
        "Raise max_connections or the connection limit, or end idle sessions.",
    ),
    (r"the database system is|in recovery mode", "the server at {where} is not ready: {message}", "Try again soon."),
    (
        r"Connection refused|No such file or directory|timeout|resolve|translate host|No route to host"
        r"|unreachable|server closed the connection|Permission denied",
        "no PostgreSQL server answers at {where}: {message}",
        "Is it running, and is this its address and port?",
    ),
)


def explain(text: str, attempt: Attempt) -> Unavailable:
    """What a failed connection means, from the driver's text."""
    message = _short(text)
    values = {**dataclasses.asdict(attempt), "message": message, "system": attempt.run_as or "this system user"}
    for expression, what, hint in _MEANINGS:
        if re.search(expression, text, re.IGNORECASE):
            return Unavailable(what.format(**values), hint=hint.format(**values))
    return Unexplained(f"database {attempt.database} at {attempt.where} cannot be used as {attempt.user}: {message}")


def _short(text: str) -> str:
    """The part that says something: `Connection refused` of three lines about it."""
    lines = [line.strip() for line in text.splitlines() if " failed: " in line] or [text.strip().splitlines()[0]]
    return re.sub(r"^(FATAL|ERROR):\s*", "", lines[-1].rsplit(" failed: ", 1)[-1])


def _statement_error(error: Any) -> OpsError:
    state = error.sqlstate or ""
    primary = error.diag.message_primary or str(error).strip()
    if not state or state.startswith(("08", "57P0")):
        return Unavailable(f"the connection to the server was lost: {primary}")
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return SqlError(f"{primary}{detail}", state, error.diag.message_hint or "")
