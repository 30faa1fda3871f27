# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""pg_dump and pg_restore: which one, and how they are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..._core.errors import Refused, ToolFailed, Unavailable
from ..._core.place import HostPlace, Place
from ..._core.process import Child, ending, failed
from ..._platform.access import Access
from .connection import CONNECT_TIMEOUT, KEEPALIVES
from .names import conninfo, major, numbers

# Where packages put the tools of one major version. Debian's /usr/bin/pg_dump is a wrapper that chooses
# a version by the cluster it thinks is meant.
_DIRECTORIES = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
_NOT_FOUND = (126, 127)  # of docker exec, when there is no such program


@dataclasses.dataclass(frozen=True)
class Tool:
    path: str
    version: str

    @property
    def major(self) -> int:
        return major(self.version)


def find(place: Place, program: str, server: int, least: int = 0) -> Tool:
    """The tool of the server's own major version, else the next newer one that serves.

    `least`: the major version of the pg_dump that wrote the archive; an older pg_restore cannot read it.
    """
    found = []
    for path in _candidates(place, program, max(server, least)):
        tool = _probe(place, path)
        if tool is None:
            continue
        found.append(tool)
        if tool.major == max(server, least):
            break
    if not found:
        raise Unavailable(
            f"{program} is not installed on {place.label}", hint=f"Install the client tools of PostgreSQL {server}."
        )
    return best(found, program, server, least, place.label)


def best(found: Sequence[Tool], program: str, server: int, least: int, where: str) -> Tool:
    usable = [tool for tool in found if tool.major >= max(server, least)]
    newest = max(found, key=lambda tool: tool.major)
    if not usable:
        raise Refused(
            f"{program} {newest.version} on {where} is older than "
            + (f"the server ({server})" if newest.major < server else f"the pg_dump that wrote the backup ({least})"),
            hint=f"Install the client tools of PostgreSQL {max(server, least)}.",
        )
    tool = min(usable, key=lambda one: one.major)
    if tool.major >= 17 > server:
        # What pg_dump 17 and later write, only their own pg_restore reads, and that one sets
        # transaction_timeout, which older servers refuse.
        raise Refused(
            f"what {program} {tool.version} on {where} does cannot be restored on a server of version {server} "
            "(transaction_timeout is unknown there)",
            hint=f"Install the client tools of PostgreSQL {server}.",
        )
    return tool


def _candidates(place: Place, program: str, wanted: int) -> list[str]:
    paths = [f"{directory.format(major=wanted)}/{program}" for directory in _DIRECTORIES]
    if isinstance(place, HostPlace):
        return [path for path in paths if Path(path).exists()] + [program]
    return [program, *paths]


def _probe(place: Place, path: str) -> Optional[Tool]:
    try:
        text = place.run([path, "--version"], timeout=60).text
    except Unavailable:
        return None
    except ToolFailed as error:
        if error.rc in _NOT_FOUND:
            return None
        raise
    version = ".".join(str(number) for number in numbers(text.partition(")")[2] or text))
    return Tool(path, version)


def connection_flags(access: Access, user: str) -> list[str]:
    host = access.tool_socket or access.tool_host
    flags = [f"--username={user}", "--no-password"]
    if host:
        flags.append(f"--host={host}")
    if host and access.tool_port:
        flags.append(f"--port={access.tool_port}")
    return flags


def environment(access: Access, name: str) -> dict[str, str]:
    """Of a tool that the server shall know as `name`."""
    variables = {"PGAPPNAME": name, "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT)}
    if access.password is not None:
        variables["PGPASSWORD"] = access.password
    return variables


LOCK_WAIT = 3000  # milliseconds that pg_dump waits for its locks; see snapshot.py


def dump_flags(exclude: Sequence[str]) -> tuple[str, ...]:
    """What decides what the dump holds. Uncompressed, so that the repository deduplicates it."""
    return (
        "--format=custom",
        "--compress=0",
        "--no-subscriptions",
        f"--lock-wait-timeout={LOCK_WAIT}",
        *(f"--exclude-table={pattern}" for pattern in exclude),
    )


def dump_argv(tool: Tool, access: Access, user: str, database: str, snapshot: str, flags: Sequence[str]) -> list[str]:
    return [
        tool.path,
        *connection_flags(access, user),
        *flags,
        f"--snapshot={snapshot}",
        f"--dbname={conninfo(dbname=database, **KEEPALIVES)}",
    ]


def restore_argv(tool: Tool, access: Access, user: str, database: str, flags: Sequence[str]) -> list[str]:
    return [
        tool.path,
        *connection_flags(access, user),
        "--exit-on-error",
        "--no-subscriptions",
        *flags,
        f"--dbname={conninfo(dbname=database, **KEEPALIVES)}",
    ]


def reason(stderr: str) -> str:
    """The sentence of a tool's standard error that says why it ended."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if ": error: " in line or "ERROR:" in line]
    text = (errors or lines or ["no message"])[0]
    for part in ("pg_dump: error: ", "pg_restore: error: "):
        text = text.replace(part, "")
    return text


def failure(program: str, child: Child, rc: int, hint: str) -> ToolFailed:
    """The error for a tool that failed; it may have run inside `docker exec`, which is not what failed."""
    return failed(child.argv, rc, child.stderr_tail, f"{program} {ending(rc)}: {reason(child.stderr_tail)}", hint)
