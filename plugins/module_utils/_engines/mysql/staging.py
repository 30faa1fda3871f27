# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The staged copy: whether a part can be taken here, and its load through the native client."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Optional, cast

from ..._core.errors import OpsError, Refused, ToolFailed, Unavailable
from ..._core.model import Fingerprint, Part, TableFingerprint
from ..._core.process import Child, ending, failed
from ..._core.sizes import readable
from ..base import DumpOptions
from . import catalog, change, definitions, describe, fingerprint
from .connection import Sql, SqlError, name
from .flavours import Flavour, version_of
from .stream import Rewriter, Rewritten

if TYPE_CHECKING:
    from .server import SqlServer

# The dump's own mode turns a date such as 2024-02-30, which ALLOW_INVALID_DATES let in, into 0000-00-00.
_SQL_MODE = (
    b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;",
    b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES' */;",
)
# What a table of an older or less strict server may lack: a primary key, an index that is unique below a foreign key.
_IN_THE_WAY = ("sql_require_primary_key", "sql_generate_invisible_primary_key", "restrict_fk_on_non_standard_key")
PACKET = 1 << 30  # the most that the server allows
_HINTS = (
    ("(1227)", "The restoring user needs {definer_privilege}, to make objects of other definers."),
    ("ERROR 1227", "The restoring user needs {definer_privilege}, to make objects of other definers."),
    (
        "ERROR 1419",
        "Set log_bin_trust_function_creators of the server, or restore as a user with SUPER: "
        "with a binary log, others may not make functions and triggers.",
    ),
    (
        "ERROR 3750",
        "The server wants a primary key of every table (sql_require_primary_key); this user may not change that.",
    ),
    ("ERROR 1153", "Raise max_allowed_packet of the server; this user may not do so."),
    ("ERROR 2006", "Raise max_allowed_packet of the server; this user may not do so."),
    ("ERROR 1114", "The server's disk or tablespace is full."),
    ("ERROR 1021", "The server's disk is full."),
    # MariaDB calls a full disk "Operation not permitted" where it cannot commit.
    ("ERROR 1180", "The server could not commit: is its disk full?"),
)


def accepts(server: SqlServer, sql: Sql, part: Part) -> list[str]:
    """Refuse a part that this server or database cannot take; warnings otherwise."""
    flavour, facts = server.flavour, part.facts
    other = part.flavour != flavour.name or part.format != "sql"
    if other and not server.context.allow_flavour_change:
        raise Refused(
            f"the backup was made of {part.flavour or 'another server'} ({part.format}), and this is {flavour.title}"
        )
    changes = change.accepts(flavour, part) if other else []
    version = server.version(sql)
    server.tools.version(flavour.client)
    if not other and version_of(version)[:2] < version_of(part.server_version)[:2]:
        raise Refused(
            f"the server is {version}, older than the one the backup was made of ({part.server_version})",
            hint="Restore into a server of that version or a newer one.",
        )
    _check_collations(sql, facts.get("collations", []))
    _check_engines(sql, facts.get("tables", {}))
    cases = int(sql.value("SELECT @@lower_case_table_names"))
    if cases != facts.get("lower_case_table_names", cases):
        raise Refused(
            f"lower_case_table_names is {cases} here and was {facts['lower_case_table_names']} where the backup was made",
            hint="Names would not be found again. Restore into a server with the same setting.",
        )
    return [*changes, *_mentioned(server, sql, part), *_consequences(server, sql, part)]


def _check_collations(sql: Sql, wanted: Sequence[str]) -> None:
    unknown = sorted(set(wanted) - catalog.known_collations(sql))
    if unknown:
        raise Refused(
            f"the server does not know the collation {', '.join(unknown)}",
            hint="Restore into a newer server, or one of the kind that the backup was made of.",
        )


def _check_engines(sql: Sql, wanted: dict[str, str]) -> None:
    there = {
        str(one).upper()
        for one in sql.column("SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')")
    }
    missing = sorted(
        f"{engine} (table {table})" for table, engine in wanted.items() if engine and engine.upper() not in there
    )
    if missing:
        raise Refused(f"the server has no storage engine {', '.join(missing[:5])}", hint="Install its plugin there.")


def _mentioned(server: SqlServer, sql: Sql, part: Part) -> list[str]:
    """Objects whose text names a database. Under its own name that is the database they come alive in, and
    until then nothing runs them. Restored under another name, they would write into the one they name."""
    source = str(part.facts.get("database", server.database))
    warnings = []
    for other, named in part.facts.get("mentions", {}).items():
        if other == server.database or (other == source and source == server.database):
            continue
        listed = f"{', '.join(named[:5])}{', …' if len(named) > 5 else ''}"
        if other == source and catalog.exists(sql, source):
            raise Refused(
                f"{listed} name the database {source} in their text, and would act on it from {server.database}",
                hint="Restore under the original name, or on a server that has no such database.",
            )
        warnings.append(f"{listed} name the database {other} in their text")
    return warnings


def _consequences(server: SqlServer, sql: Sql, part: Part) -> list[str]:
    warnings = []
    excluded = part.facts.get("without_rows", [])
    if excluded:
        warnings.append(f"the backup holds no rows of {', '.join(excluded)}: they will be empty")
    without = part.facts.get("without_views", [])
    if without:
        warnings.append(f"the backup does not hold the view {', '.join(without)}")
    referring = catalog.referring(sql, server.database)
    if referring:
        warnings.append(f"{', '.join(referring)} refer to tables here by foreign keys, so that they cannot be replaced")
    if sql.value("SELECT @@log_bin") and sql.value(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
    ):
        warnings.append("replicas are connected: a restore travels to them too, the staged rows first")
    limit = int(sql.value("SELECT @@GLOBAL.max_allowed_packet"))
    if limit < 2 * int(part.facts.get("max_allowed_packet", 0)) and limit < PACKET and not may_set_globals(sql):
        warnings.append(
            f"max_allowed_packet is {readable(limit)} here and this user may not raise it: "
            "values of more than half of it could not be loaded"
        )
    return warnings


def may_set_globals(sql: Sql) -> bool:
    """Whether this user may set global variables: seen by setting one to what it is."""
    try:
        sql.execute("SET GLOBAL max_allowed_packet = @@GLOBAL.max_allowed_packet")
    except SqlError:
        return False
    return True


# Staging --------------------------------------------------------------------------------------------


def make_database(sql: Sql, database: str, charset: str, collation: str) -> None:
    sql.execute(f"CREATE DATABASE {name(database)} CHARACTER SET {charset} COLLATE {collation}")


def init_command(logged: bool, more: Sequence[str] = ()) -> str:
    """What the loading session begins with. The dump sets the checks back at its end only."""
    settings = ["foreign_key_checks=0", "unique_checks=0", *([] if logged else ["sql_log_bin=0"]), *more]
    return f"SET SESSION {', '.join(settings)}"


def as_they_were(sql: Sql) -> list[str]:
    """Settings of MySQL under which tables could not be made or renamed as they are: off for the session, where this
    user may; for another session of the same user, what sets them off there."""
    off = []
    if sql.flavour.name == "mysql":
        for variable in _IN_THE_WAY:
            if sql.execute(f"SHOW VARIABLES LIKE '{variable}'")[:1] == [(variable, "ON")]:
                with contextlib.suppress(SqlError):
                    sql.execute(f"SET SESSION {variable} = 0")
                    off.append(f"{variable}=0")
    return off


class ClientLoader:
    """The native client, reading a dump into a scratch database; it stops at the first error."""

    def __init__(
        self, server: SqlServer, child: Child, rewrites: Sequence[Sequence[str]], unknown_modes: Iterable[str] = ()
    ) -> None:
        self._server = server
        self._child = child
        pairs = [(definitions.unpack(find), definitions.unpack(put)) for find, put in rewrites]
        pairs.append(_SQL_MODE)
        self._stdin = Rewritten(child.stdin, Rewriter(pairs, unknown_modes))

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self._stdin)

    def finish(self) -> None:
        with contextlib.suppress(OSError):  # it may have ended; its exit code says why
            self._stdin.close()
        rc = self._child.wait()
        if rc != 0:
            raise _explain(self._child, rc, self._server.flavour)

    def kill(self) -> None:
        self._child.kill()
        if self._server.access.container is not None:
            with contextlib.suppress(OpsError):  # the container may be gone, and the tool with it
                self._server.access.place.end_run()


def _explain(child: Child, rc: int, flavour: Flavour) -> OpsError:
    stderr = child.stderr_tail
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["no message"]
    hint = next((hint for mark, hint in _HINTS if mark in stderr), "").format(**dataclasses.asdict(flavour))
    if "ERROR 2013" in stderr or "ERROR 2002" in stderr:
        return Unavailable(f"the connection to the server was lost while loading: {lines[-1]}")
    what = f"loading ended at: {lines[-1]}" if stderr else f"{flavour.client} {ending(rc)} while it loaded"
    error: ToolFailed = failed(child.argv, rc, stderr, what=what, hint=hint)
    return error


def start(server: SqlServer, part: Part, scratch: str, logged: bool) -> ClientLoader:
    """Start the client. A statement of the dump may be twice as long as what the server once took from the
    application (binary data are written in hexadecimal), so the limit is raised while the client connects."""
    with server.session() as sql, _packet_raised(sql):
        argv = server.tools.load(scratch, init_command(logged, as_they_were(sql)))
        child = server.tools.spawn(argv, stdin=subprocess.PIPE)
        _wait_connected(sql, child, scratch)
    return ClientLoader(server, child, part.facts.get("rewrites", []), change.unknown_modes(server.flavour, part))


@contextlib.contextmanager
def _packet_raised(sql: Sql) -> Iterator[None]:
    before = int(sql.value("SELECT @@GLOBAL.max_allowed_packet"))
    raised = False
    if before < PACKET:
        with contextlib.suppress(SqlError):  # `accepts` has warned
            sql.execute(f"SET GLOBAL max_allowed_packet = {PACKET}")
            raised = True
    try:
        yield
    finally:
        if raised:
            sql.execute(f"SET GLOBAL max_allowed_packet = {before}")


def _wait_connected(sql: Sql, child: Child, scratch: str) -> None:
    """Until the client's session is there: it takes its limits when it connects."""
    deadline = time.monotonic() + 20
    while child.rc is None and time.monotonic() < deadline:
        if sql.value("SELECT 1 FROM information_schema.PROCESSLIST WHERE DB = %s", (scratch,)):
            return
        time.sleep(0.05)


def fingerprint_of(sql: Sql, database: str, level: str, newest: Any, part: Optional[Part] = None) -> Fingerprint:
    """A whole database as it is now; a staged copy like the part that it was loaded from."""
    held = describe.content(sql, database, DumpOptions())
    without = list(part.facts.get("without_rows", [])) if part else []
    history = bool(part.facts.get("history")) if part else held.history
    tables: dict[str, TableFingerprint] = {}
    sql.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    try:
        for table in held.tables:
            if table.holds_rows:
                depth = "counts" if table.name in without else level
                with fingerprint.released(sql):
                    columns = held.columns.get(table.name, [])
                    tables[table.name] = fingerprint.read(sql, database, table, columns, depth, history)
        known = newest and newest["column"] in held.column_names(newest["table"])
        newest_value = fingerprint.newest(sql, database, newest) if known else None
    finally:
        with contextlib.suppress(OpsError):
            sql.execute("ROLLBACK")
    # Events are made at the swap; until then the ones that came with the backup count.
    events = len(part.facts.get("events", [])) if part else None
    return Fingerprint(level, tables, catalog.objects(sql, database, events), newest_value)
