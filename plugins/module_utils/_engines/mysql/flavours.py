# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What MariaDB and (later) MySQL do differently, as a table: tools, flags, sessions, accounts."""

from __future__ import annotations

import dataclasses
import re
from typing import Optional

Version = tuple[int, int, int]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
# `Ver 10.19 Distrib 10.11.19-MariaDB`, `mariadb-dump from 11.8.3-MariaDB`, `Ver 8.0.36 for Linux`
_TOOL = (re.compile(r"(?:Distrib|from) (\d+\.\d+\.\d+)"), re.compile(r"Ver (\d+\.\d+\.\d+)"))


@dataclasses.dataclass(frozen=True)
class Flavour:
    """One of the two servers."""

    name: str
    title: str
    minimum: Version
    dump: str  # the tools' names
    client: str
    package: str  # that holds the tools
    dump_flags: tuple[str, ...]
    load_flags: tuple[str, ...]
    history_flag: str  # dumps the history of system-versioned tables; "" where there are none
    history_since: Version
    session: tuple[str, ...]  # settings of every session of ours
    full_privileges: tuple[str, ...]  # without them on the database, objects are left out of a dump silently
    rename_at_once: Optional[int]  # foreign keys that one RENAME TABLE over everything may move; None: any number
    digest: str  # the hash that a checksum is made of; never changed, because backups hold them
    leaves_rows_out: bool  # whether the tool can dump a table's definition without its rows
    own_modes: tuple[str, ...]  # SQL modes that the other one does not know
    definer_privilege: str  # to make objects of other definers
    bodies_privilege: str  # shows the bodies of others' routines

    def is_mine(self, version: str) -> bool:
        """By what a server says to VERSION(), or a tool to --version."""
        return ("mariadb" in version.lower()) == (self.name == "mariadb")


def version_of(text: str) -> Version:
    """`10.11.19-MariaDB-0+deb12u1` → (10, 11, 19)."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)


def tool_version(text: str) -> str:
    """The version out of what a tool prints for --version; "" when it cannot be read."""
    for pattern in _TOOL:
        found = pattern.search(text)
        if found:
            return found[1]
    return ""


_DUMP_FLAGS = (
    # An option file could leave tables, rows or triggers out without a word.
    "--no-defaults",
    "--single-transaction",
    "--skip-lock-tables",
    "--quick",
    "--hex-blob",
    "--routines",
    "--triggers",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--no-tablespaces",
    "--tz-utc",
    # LOCK TABLES in the dump makes tables with DEFAULT NEXTVAL(…) refuse their rows (1100).
    "--skip-add-locks",
    # Without the date, an unchanged database gives an unchanged stream.
    "--skip-dump-date",
)

MARIADB = Flavour(
    name="mariadb",
    title="MariaDB",
    minimum=(10, 6, 0),
    dump="mariadb-dump",
    client="mariadb",
    package="mariadb-client",
    # From 11.4 on the tools verify TLS by themselves, which a self-signed server fails; the driver's
    # connection does not either.
    dump_flags=(*_DUMP_FLAGS, "--skip-ssl-verify-server-cert"),
    load_flags=(
        "--no-defaults",
        "--batch",
        # No client command but DELIMITER is obeyed, and bodies keep their line ends.
        "--binary-mode",
        # By default the client takes comments out of the bodies of routines.
        "--comments",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--skip-reconnect",
        "--skip-ssl-verify-server-cert",
    ),
    history_flag="--dump-history",
    history_since=(10, 11, 0),
    session=(
        "sql_mode=''",
        "time_zone='+00:00'",
        "wait_timeout=28800",
        "idle_transaction_timeout=0",
        "idle_readonly_transaction_timeout=0",
        "max_statement_time=0",
        "lock_wait_timeout=30",
    ),
    full_privileges=("SELECT", "SHOW VIEW", "TRIGGER", "EVENT"),
    rename_at_once=None,
    digest="MD5({})",
    leaves_rows_out=True,
    own_modes=(
        *("NO_AUTO_CREATE_USER", "IGNORE_BAD_TABLE_OPTIONS", "SIMULTANEOUS_ASSIGNMENT", "TIME_ROUND_FRACTIONAL"),
        *("EMPTY_STRING_IS_NULL", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "MYSQL323", "MYSQL40"),
        *("POSTGRESQL", "ORACLE", "MSSQL", "DB2", "MAXDB"),
    ),
    definer_privilege="SET USER (or SUPER)",
    bodies_privilege="SELECT ON mysql.proc",
)

MYSQL = Flavour(
    name="mysql",
    title="MySQL",
    minimum=(8, 0, 17),  # the first that prints an account's hash in a form that is text
    dump="mysqldump",
    client="mysql",
    package="mysql-client",
    dump_flags=(
        *_DUMP_FLAGS,
        # With GTIDs the tool would ask for the global lock, and the dump could not be loaded where it was made.
        "--set-gtid-purged=OFF",
        # Which columns have a histogram; the histograms themselves are computed again while loading.
        "--column-statistics",
        # From 9.7 on: the server's, not the database's, and an application may not read them.
        "--loose-skip-masking-policies",
        "--get-server-public-key",
    ),
    load_flags=(
        "--no-defaults",
        "--batch",
        "--binary-mode",
        "--comments",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--skip-reconnect",
        # Without TLS, an account of caching_sha2_password that the server has not seen for a while needs it.
        "--get-server-public-key",
    ),
    history_flag="",
    history_since=(0, 0, 0),
    session=(
        "sql_mode=''",
        "time_zone='+00:00'",
        "wait_timeout=28800",
        "max_execution_time=0",
        "lock_wait_timeout=30",
        # Otherwise sizes are those of yesterday.
        "information_schema_stats_expiry=0",
    ),
    full_privileges=("SELECT", "SHOW VIEW", "TRIGGER", "EVENT"),
    # Of the live and the staged tables. 240 took 5 s and 21 MB of the server's memory, one by one 9 s and none;
    # 254 tables with 820 on either side took 13 s and 450 MB, which killed a server that may use 1 GB.
    rename_at_once=200,
    digest="SHA2({}, 256)",  # from 9.6 on, MD5 is a component that has to be installed
    leaves_rows_out=False,
    own_modes=("TIME_TRUNCATE_FRACTIONAL",),
    definer_privilege="SET_ANY_DEFINER and ALLOW_NONEXISTENT_DEFINER (before 8.2: SET_USER_ID), and SYSTEM_USER like theirs",
    bodies_privilege="SHOW_ROUTINE ON *.*",
)

FLAVOURS = {flavour.name: flavour for flavour in (MARIADB, MYSQL)}
