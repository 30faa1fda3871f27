# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One connection to the server: statements, their errors in words, and names that may hold anything."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from ..._core import drivers
from ..._core.errors import OpsError, Refused, ToolFailed, Unavailable
from ..._core.identity import acting_as
from ..._platform.access import Access
from .flavours import Flavour

CONNECT_TIMEOUT = 10
_KEEPALIVES = {  # tcp(7); seconds, the last one milliseconds
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60000,
}

ACCESS_DENIED, NO_AUTH = 1045, 1698
DATABASE_DENIED, NO_DATABASE = 1044, 1049
TABLE_DENIED, NO_TABLE, LOCK_TIMEOUT = 1142, 1146, 1205
DEFINITION_CHANGED = 1412
UNKNOWN_VARIABLE = 1193
NO_THREAD = 1094
_GONE = (2006, 2013, 1927)  # the connection was lost, or killed
_ACCOUNT = {1820: "its password has expired", 1862: "its password has expired", 4151: "the account is locked"}


class SqlError(ToolFailed):
    """The server refused a statement; `code` is its number."""

    def __init__(self, code: int, message: str, doing: str = "") -> None:
        text = f"the server says: {message} ({code})"
        super().__init__(f"{doing}: {text}" if doing else text)
        self.code = code


def name(identifier: str) -> str:
    """An identifier in backticks; several parts are not joined."""
    return "`" + identifier.replace("`", "``") + "`"


def qualified(database: str, table: str) -> str:
    return f"{name(database)}.{name(table)}"


def text(value: str) -> str:
    """A string literal, for statements that take no parameters. The session has no ANSI_QUOTES."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


@dataclasses.dataclass
class Sql:
    """A session of ours. Every error is an `OpsError`."""

    raw: Any
    flavour: Flavour

    @property
    def id(self) -> int:
        return int(self.raw.thread_id())

    def execute(
        self, statement: str | bytes, args: Sequence[Any] | None = None, doing: str = ""
    ) -> list[tuple[Any, ...]]:
        """Run one statement; its rows."""
        with translated(doing), self.raw.cursor() as cursor:
            cursor.execute(statement, args)
            return list(cursor.fetchall())

    def record(self, statement: str) -> dict[str, Any]:
        """The first row, by the names of its columns."""
        with translated(), self.raw.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() or ()
            return {column[0]: value for column, value in zip(cursor.description, row)}

    def column(self, statement: str, args: Sequence[Any] | None = None) -> list[Any]:
        return [row[0] for row in self.execute(statement, args)]

    def value(self, statement: str, args: Sequence[Any] | None = None) -> Any:
        """The first column of the first row; None without one."""
        rows = self.execute(statement, args)
        return rows[0][0] if rows else None

    def close(self) -> None:
        with contextlib.suppress(Exception):  # whatever state it is in, it is to be gone
            self.raw.close()


@contextlib.contextmanager
def translated(doing: str = "") -> Iterator[None]:
    pymysql = drivers.pymysql()
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise _said(error, doing) from None
    except OSError as error:
        raise Unavailable(f"the connection to the server was lost ({error})") from None


def _said(error: Any, doing: str) -> OpsError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    message = str(error.args[1]) if len(error.args) > 1 else str(error)
    if code in _GONE or code == 0:
        return Unavailable(f"the connection to the server was lost ({message or type(error).__name__})")
    return SqlError(code, message, doing)


def connect(
    flavour: Flavour, access: Access, database: Optional[str] = None, run_as: Optional[str] = None, binary: bool = False
) -> Sql:
    """Open a session. `binary`: strings come as the bytes that the server sends."""
    pymysql = drivers.pymysql()
    options: dict[str, Any] = (
        {"unix_socket": access.socket} if access.socket else {"host": access.host, "port": access.port}
    )
    if flavour.name == "mysql" and pymysql.VERSION < (1, 2):
        options["ssl"] = _unverified()  # newer ones use TLS by themselves where the server offers it
    try:
        with acting_as(None if access.container else run_as):
            raw = pymysql.connect(
                user=access.user or run_as or "root",
                password=(access.password or "").encode(),  # PyMySQL would write it in Latin 1
                database=database,
                charset="utf8mb4",
                connect_timeout=CONNECT_TIMEOUT,
                autocommit=True,
                use_unicode=not binary,
                init_command=f"SET SESSION {', '.join(flavour.session)}",
                **options,
            )
    except pymysql.err.MySQLError as error:
        raise _refused(error, flavour, access, database) from None
    except RuntimeError as error:  # PyMySQL's word for a missing package, such as cryptography
        raise Unavailable(f"the driver cannot log in: {error}") from None
    if not access.socket:
        _keep_alive(raw)
    return Sql(raw, flavour)


def _keep_alive(raw: Any) -> None:
    """A server that has gone without a word is noticed within a minute. PyMySQL has no options for that."""
    with contextlib.suppress(AttributeError, OSError):  # another PyMySQL, another system: as patient as TCP is
        raw._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVES.items():
            raw._sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _unverified() -> ssl.SSLContext:
    """TLS like the tools': where the server offers it, without a look at its certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def where(access: Access) -> str:
    """The server in a message."""
    if access.socket:
        return f"the socket {access.socket}"
    return f"{access.host}:{access.port}"


def _refused(error: Any, flavour: Flavour, access: Access, database: Optional[str]) -> OpsError:
    """Why there is no session: the server is down, the user is refused, or the database is."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    message = str(error.args[1]) if len(error.args) > 1 else str(error)
    server, user = f"{flavour.title} at {where(access)}", access.user or "root"
    if code in (ACCESS_DENIED, NO_AUTH):
        how = "with the given password" if access.password else "without a password"
        return Unavailable(
            f'{server} refuses the user "{user}" {how} ({code})',
            hint="Check user and password, and that the account may log in from where this runs. "
            "An account with socket authentication needs run_as and the server's socket.",
        )
    if code in _ACCOUNT:
        return Unavailable(f'{server} refuses the user "{user}": {_ACCOUNT[code]} ({code})')
    if code == NO_DATABASE:
        return Unavailable(f'{server} has no database "{database}"', hint="Check its name in the datastore.")
    if code == DATABASE_DENIED:
        return Unavailable(
            f'the user "{user}" may not use the database "{database}", or it does not exist ({code})',
            hint=f"GRANT the user its privileges on {name(database or '')}.*, or check the name.",
        )
    if code == UNKNOWN_VARIABLE:
        return Refused(
            f"the server at {where(access)} is not {flavour.title}, or a version that is too old: {message} ({code})",
            hint="Name its engine in the datastore.",
        )
    if code < 2000 and code != 0:
        return Refused(f"{server} does not let us in: {message} ({code})")
    return Unavailable(f"{server} cannot be reached: {message}", hint="Is the server running?")
