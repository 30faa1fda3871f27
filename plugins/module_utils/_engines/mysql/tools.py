# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The native tools where the server is: their command lines, and whether they fit the server."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..._core.errors import Refused, ToolFailed, Unavailable
from ..._core.process import Child
from ..._platform.access import Access
from .connection import Sql
from .flavours import Flavour, tool_version, version_of

_NO_DATA_WITHOUT = ("--routines",)  # what belongs to the whole database, and so into one dump only
_NOT_FOUND = (126, 127)  # docker exec's exit codes for a program that is not in the container


@dataclasses.dataclass(frozen=True)
class Tools:
    """`socket` is the server's own, for a tool in its container: the tool's default may be another one,
    and the option file that would say so is not read."""

    flavour: Flavour
    access: Access
    socket: Optional[str] = None
    run_as: Optional[str] = None
    tls: bool = False  # the account may log in with TLS only, by a socket too

    def version(self, tool: str) -> str:
        """Its version; refuses when it is not there."""
        place = self.access.place
        hint = f"Install {self.flavour.package} there, in the server's version."
        try:
            printed = place.run([tool, "--no-defaults", "--version"], timeout=60).text
        except ToolFailed as error:
            if error.rc in _NOT_FOUND:
                raise Unavailable(f"there is no {tool} on {place.label}", hint=hint) from None
            raise
        except Unavailable as error:
            error.hint = error.hint or hint
            raise
        if not self.flavour.is_mine(printed):
            other = "MariaDB" if self.flavour.name == "mysql" else "another server"
            raise Refused(
                f"{tool} on {place.label} is {other}'s, which does not do for {self.flavour.title} ({printed.strip()})",
                hint=hint,
            )
        return tool_version(printed)

    def check(self, tool: str, version: str, server: str) -> None:
        """Refuse a tool that is older than the server: it may not know what it finds."""
        if version_of(version)[:2] < version_of(server)[:2]:
            raise Refused(
                f"{tool} {version or '(of unknown version)'} on {self.access.place.label} is older than the server ({server})",
                hint=f"Install {self.flavour.package} of the server's version there.",
            )

    def environment(self) -> Mapping[str, str]:
        # MySQL's tools read ~/.mylogin.cnf in spite of --no-defaults, and its password comes before ours:
        # https://dev.mysql.com/doc/refman/8.4/en/option-file-options.html#option_general_no-defaults
        return {"MYSQL_PWD": self.access.password or "", "MYSQL_TEST_LOGIN_FILE": "/nonexistent"}

    def arguments(self) -> list[str]:
        """Whom and where; after the flags, because --no-defaults must come first."""
        access = self.access
        arguments = [f"--user={access.user or self.run_as or 'root'}"]
        if self.tls:
            arguments.append("--ssl-mode=REQUIRED")
        socket = access.tool_socket or self.socket
        if access.tool_host and not access.tool_socket:
            return [*arguments, "--protocol=tcp", f"--host={access.tool_host}", f"--port={access.tool_port or 3306}"]
        return [*arguments, "--protocol=socket", *([f"--socket={socket}"] if socket else [])]

    def spawn(self, argv: Sequence[str], stdin: Any = None) -> Child:
        place = self.access.place
        if stdin is None:
            return place.spawn(argv, env=self.environment())
        return place.spawn(argv, env=self.environment(), stdin=stdin)

    def dump(self, database: str, flags: Sequence[str]) -> list[str]:
        return [self.flavour.dump, *flags, *self.arguments(), database]

    def definitions(self, database: str, flags: Sequence[str], tables: Sequence[str]) -> bytes:
        """The dump of these tables without their rows."""
        argv = [self.flavour.dump, *(flag for flag in flags if flag not in _NO_DATA_WITHOUT), "--no-data"]
        done = self.access.place.run([*argv, *self.arguments(), database, *tables], env=self.environment())
        return done.stdout

    def load(self, database: str, init: str) -> list[str]:
        return [self.flavour.client, *self.flavour.load_flags, *self.arguments(), f"--init-command={init}", database]


def flags(
    flavour: Flavour, database: str, history: bool, without_rows: Sequence[str], views: Sequence[str]
) -> list[str]:
    """The dump's options that say what is in it; stored with the backup."""
    return [
        *flavour.dump_flags,
        *([flavour.history_flag] if history else []),
        *(f"--ignore-table{'-data' if flavour.leaves_rows_out else ''}={database}.{table}" for table in without_rows),
        *(f"--ignore-table={database}.{view}" for view in views),
    ]


def wants_tls(sql: Sql) -> bool:
    """Whether our account may log in with TLS only."""
    return " REQUIRE SSL " in f"{sql.value('SHOW CREATE USER CURRENT_USER()')} "


def own_socket(sql: Sql) -> Optional[str]:
    """Where the server listens, as it is inside its own container."""
    socket, directory = sql.execute("SELECT @@socket, @@datadir")[0]
    return posixpath.join(str(directory), str(socket)) if socket else None
