# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Definitions of views, routines, triggers and events: read exactly, kept in JSON, made again elsewhere.

A definition is kept in the bytes of the character set it was written in, because that is what the
server parses again; its SQL mode, character set and collations belong to it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Optional

from ..._core.errors import OpsError
from ..._core.model import Json
from .catalog import Named
from .connection import Sql, name

_IDENTIFIER = rb'(?:`(?:[^`]|``)*`|"(?:[^"]|"")*"|[0-9A-Za-z$_\x80-\xff]+)'
_SPACE = rb"(?:\s|/\*.*?\*/|--[^\n]*\n|#[^\n]*\n)"
# The server writes `CREATE DEFINER=…` and then what the user wrote, database names included.
_TRIGGER = re.compile(
    rb"(?P<create>CREATE )(?P<definer>DEFINER=" + _IDENTIFIER + rb"(?:@" + _IDENTIFIER + rb")?)(?P<gap> )"
    rb"(?P<head>TRIGGER" + _SPACE + rb"+(?:IF" + _SPACE + rb"+NOT" + _SPACE + rb"+EXISTS" + _SPACE + rb"+)?)"
    rb"(?P<database>" + _IDENTIFIER + _SPACE + rb"*\." + _SPACE + rb"*)?(?P<name>" + _IDENTIFIER + rb")"
    rb"(?P<when>"
    + _SPACE
    + rb"+(?:BEFORE|AFTER)"
    + _SPACE
    + rb"+(?:INSERT|UPDATE|DELETE)"
    + _SPACE
    + rb"+ON"
    + _SPACE
    + rb"+)"
    rb"(?P<other>" + _IDENTIFIER + _SPACE + rb"*\." + _SPACE + rb"*)?(?P<table>" + _IDENTIFIER + rb")",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = rb"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\""


@dataclasses.dataclass(frozen=True)
class Definition:
    """One object as SHOW CREATE prints it."""

    kind: str
    name: str
    sql: bytes
    client: str  # character_set_client
    collation: str  # collation_connection
    database_collation: str = ""  # the database's own when it was made: what its parameters are in
    sql_mode: str = ""
    time_zone: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def to_json(self) -> Json:
        return {**dataclasses.asdict(self), "sql": pack(self.sql)}

    @classmethod
    def from_json(cls, data: Json) -> Definition:
        return cls(**{**data, "sql": unpack(data["sql"])})


def pack(data: bytes) -> str:
    """Bytes as text for JSON: as they read where they are UTF-8."""
    try:
        shown = data.decode("utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()
    return shown if not shown.startswith("base64:") else "base64:" + base64.b64encode(data).decode()


def unpack(shown: str) -> bytes:
    return base64.b64decode(shown[7:]) if shown.startswith("base64:") else shown.encode("utf-8")


def read(raw: Sql, database: str, one: Named) -> Optional[Definition]:
    """The definition of one object, by a session that gives bytes; None when we may not see it."""
    raw.execute(f"USE {name(database)}")  # otherwise a view's names are printed with the database's
    raw.execute("SET character_set_results = NULL")  # no conversion: as it was written
    row = raw.record(f"SHOW CREATE {one.kind.upper()} {name(one.name)}")
    found = next((value for key, value in row.items() if key in _COLUMNS), None)
    if found is None:
        return None
    return Definition(
        kind=one.kind,
        name=one.name,
        sql=bytes(found),
        client=_plain(row["character_set_client"]),
        collation=_plain(row["collation_connection"]),
        database_collation=_plain(row.get("Database Collation", b"")),
        sql_mode=_plain(row.get("sql_mode", b"")),
        time_zone=_plain(row.get("time_zone", b"")),
    )


_COLUMNS = (
    "Create View",
    "SQL Original Statement",
    "Create Procedure",
    "Create Function",
    "Create Package",
    "Create Package Body",
    "Create Event",
)


def _plain(value: Any) -> str:
    return bytes(value or b"").decode("utf-8")


def create(raw: Sql, database: str, one: Definition) -> None:
    """Make it in a database, in the session's words of then."""
    # USE of the current database does not notice that its collation has changed since.
    raw.execute("USE information_schema")
    raw.execute(f"USE {name(database)}")
    with _collated(raw, database, one.database_collation):
        raw.execute("SET SESSION sql_mode = %s", (one.sql_mode,))
        if one.time_zone:
            raw.execute("SET SESSION time_zone = %s", (one.time_zone,))
        # The last one: from here on the server takes what we send as being in it.
        raw.execute(f"SET SESSION character_set_client = {one.client}, collation_connection = {one.collation}")
        try:
            raw.execute(one.sql, doing=f"making the {one}")
        finally:
            raw.execute(b"SET NAMES utf8mb4")
            raw.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")


@contextlib.contextmanager
def _collated(raw: Sql, database: str, collation: str) -> Iterator[None]:
    """The database with another collation for a moment, as the dump tool does it too."""
    current = _plain(raw.value("SELECT @@collation_database"))
    if not collation or collation == current:
        yield
        return
    raw.execute(f"ALTER DATABASE {name(database)} COLLATE {collation}")
    try:
        yield
    finally:
        raw.execute(f"ALTER DATABASE {name(database)} COLLATE {current}")


def drop(sql: Sql, database: str, one: Named) -> None:
    # Packages are words of the grammar in this mode only.
    sql.execute(f"SET SESSION sql_mode = '{'ORACLE' if one.kind.startswith('package') else ''}'")
    sql.execute(f"DROP {one.kind.upper()} IF EXISTS {name(database)}.{name(one.name)}")
    sql.execute("SET SESSION sql_mode = ''")


# Names of the database inside a definition ------------------------------------------------------------


def split_trigger(sql: bytes) -> re.Match[bytes]:
    """A trigger's definition, taken apart up to its table."""
    found = _TRIGGER.match(sql)
    if found is None:
        raise OpsError(
            f"the trigger's definition cannot be read: {sql[:120].decode(errors='replace')}",
            hint="Drop it and create it again with CREATE TRIGGER NAME … ON TABLE FOR EACH ROW ….",
        )
    return found


def unqualified_trigger(sql: bytes) -> bytes:
    """The definition without the database's name before the trigger's and the table's, so that it can be
    made in another database; what its body says is left alone."""
    found = split_trigger(sql)
    parts = ("create", "definer", "gap", "head", "name", "when", "table")
    return b"".join(found[part] for part in parts) + sql[found.end() :]


def unqualified_calls(sql: bytes, database: str) -> bytes:
    """A text that the server printed (a view, a column), without the database's name before its own
    functions and inside NEXTVAL(…): the server prints it there even where it is the current one."""
    quoted = re.escape(name(database).encode("utf-8"))
    pattern = re.compile(
        _TOKEN
        + rb"|(?P<call>\b(?:nextval|lastval|setval)\()" + quoted + rb"\."
        + rb"|(?P<function>" + quoted + rb"\.)(?=`(?:[^`]|``)*`\()"
        + rb"|`(?:[^`]|``)*`",
        re.IGNORECASE,
    )  # fmt: skip

    def shorten(found: re.Match[bytes]) -> bytes:
        if found["call"] is not None:
            return found["call"]
        return b"" if found["function"] is not None else found[0]

    return pattern.sub(shorten, sql)


def unqualified_view(sql: bytes, scratch: str) -> bytes:
    """A view of a scratch database without that name anywhere: where its definer may not read the scratch
    database, the server prints the name before every column. No alias can be called like it."""
    quoted = re.escape(name(scratch).encode("utf-8"))
    pattern = re.compile(_TOKEN + rb"|(?P<database>" + quoted + rb"\.)|`(?:[^`]|``)*`")
    return pattern.sub(lambda found: b"" if found["database"] is not None else found[0], sql)


def mentions(body: str, database: str) -> bool:
    """Whether a text that a user wrote names a database: `booking.orders`, with or without backticks."""
    plain = re.escape(database)
    quoted = re.escape(name(database))
    return bool(re.search(rf"(?:(?<![\w$`.]){plain}|{quoted})\s*\.\s*[\w$`\"]", body, re.IGNORECASE))
