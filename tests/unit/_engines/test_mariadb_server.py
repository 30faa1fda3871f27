# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines and versions of the tools, the fingerprint's questions, and what an undo would move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pymysql
import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import (
    Busy,
    OpsError,
    Refused,
    ToolFailed,
    Unavailable,
)
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._core.place import ContainerPlace, HostPlace
from ansible_collections.day2.ops.plugins.module_utils._core.process import failed
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import (
    connection,
    describe,
    fingerprint,
    snapshot,
    swapping,
    tools,
)
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.catalog import Column, Table
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.flavours import MARIADB, tool_version, version_of
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.server import address
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.swapping import Plan
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.tools import Tools
from ansible_collections.day2.ops.plugins.module_utils._platform.access import Access

PASSWORD = "not-in-any-argv"
CONTEXT = Context(App("a", "b"), Path("/nowhere"))


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "10.11.19"),
        ("mysqldump  Ver 10.19 Distrib 10.6.18-MariaDB, for debian-linux-gnu (x86_64)", "10.6.18"),
        ("mariadb-dump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", "11.8.3"),
        (
            "mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64) using  EditLine wrapper",
            "10.11.19",
        ),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "8.0.36"),
        ("nonsense", ""),
    ],
)
def test_versions_of_tools(printed: str, version: str) -> None:
    assert tool_version(printed) == version


def test_versions_of_servers() -> None:
    assert version_of("10.11.19-MariaDB-0+deb12u1") == (10, 11, 19)
    assert version_of("") == (0, 0, 0)
    describe.check_version(MARIADB, "11.4.2-MariaDB")
    with pytest.raises(Refused, match=r"is older than 10\.6"):
        describe.check_version(MARIADB, "10.5.29-MariaDB")
    with pytest.raises(Refused, match=r"the server is 8\.0\.36, not MariaDB"):
        describe.check_version(MARIADB, "8.0.36")


@pytest.mark.parametrize(
    ("access", "reach"),
    [
        (
            Access(HostPlace(CONTEXT), "app", PASSWORD, host="db1", port=3307, tool_host="db1", tool_port=3307),
            ["--user=app", "--protocol=tcp", "--host=db1", "--port=3307"],
        ),
        (
            Access(HostPlace(CONTEXT), "app", PASSWORD, socket="/x.sock", tool_socket="/x.sock"),
            ["--user=app", "--protocol=socket", "--socket=/x.sock"],
        ),
        (
            Access(ContainerPlace(CONTEXT, "id", "db"), "app", PASSWORD, host="172.17.0.2", port=3306),
            ["--user=app", "--protocol=socket", "--socket=/own.sock"],
        ),
    ],
)
def test_the_tools_command_lines(access: Access, reach: list[str]) -> None:
    made = Tools(MARIADB, access, "/own.sock" if isinstance(access.place, ContainerPlace) else None)
    flags = tools.flags(MARIADB, "shop", True, ["log"], ["v"])
    dump = made.dump("shop", flags)
    assert dump[:2] == ["mariadb-dump", "--no-defaults"]
    assert dump[-1] == "shop"
    assert dump[len(dump) - 1 - len(reach) : -1] == reach
    for flag in (
        "--hex-blob",
        "--triggers",
        "--routines",
        "--ignore-table-data=shop.log",
        "--ignore-table=shop.v",
        "--dump-history",
    ):
        assert flag in dump
    assert "--events" not in dump
    assert not any(flag.startswith("--databases") for flag in dump)
    load = made.load("scratch", "SET x=1")
    assert load[:2] == ["mariadb", "--no-defaults"]
    assert "--force" not in load
    assert load[-2:] == ["--init-command=SET x=1", "scratch"]
    for argv in (dump, load):
        command = access.place.command(argv, made.environment())
        assert PASSWORD not in " ".join(command.argv)
        assert command.env["MYSQL_PWD"] == PASSWORD


class FakePlace:
    label = "container db"

    def __init__(self, error: OpsError) -> None:
        self.error = error

    def run(self, argv: list[str], **options: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ToolFailed("docker ended with 127: executable file not found", rc=127),
        Unavailable("mariadb-dump is not installed"),
    ],
)
def test_a_missing_tool_says_what_to_install(error: OpsError) -> None:
    access = Access(FakePlace(error))  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match=r"mariadb-dump.*Install mariadb-client there"):
        Tools(MARIADB, access).version("mariadb-dump")


def test_a_tool_older_than_the_server_is_refused() -> None:
    made = Tools(MARIADB, Access(HostPlace(CONTEXT)))
    made.check("mariadb-dump", "10.11.2", "10.11.19-MariaDB")
    made.check("mariadb-dump", "11.4.2", "10.11.19-MariaDB")
    for version in ("10.6.18", ""):
        with pytest.raises(Refused, match=r"on this host is older than the server \(10.11.19"):
            made.check("mariadb-dump", version, "10.11.19-MariaDB")


# Errors in words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (1045, Unavailable, 'refuses the user "app" with the given password'),
        (1698, Unavailable, "needs run_as"),
        (1049, Unavailable, 'has no database "shop"'),
        (1044, Unavailable, 'may not use the database "shop"'),
        (4151, Unavailable, "the account is locked"),
        (1862, Unavailable, "its password has expired"),
        (1040, Refused, "does not let us in"),
        (2003, Unavailable, "cannot be reached: .*Is the server running"),
    ],
)
def test_why_there_is_no_connection(code: int, kind: type[OpsError], words: str) -> None:
    error = pymysql.err.OperationalError(code, "said so")
    access = Access(HostPlace(CONTEXT), "app", PASSWORD, host="db1", port=3306)
    found = connection._refused(error, MARIADB, access, "shop")
    assert isinstance(found, kind)
    with pytest.raises(kind, match=words):
        raise found
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        ("mariadb-dump: Error 1412: Table definition has changed, please retry transaction when dumping table `t` at row: 0", Busy, "no migration runs"),
        ("mariadb-dump: Couldn't execute 'show create table `t`': Table 'd.t' doesn't exist (1146)", Busy, "no migration runs"),
        ("mariadb-dump: Error 2013: Lost connection to server during query when dumping table `t` at row: 10160", Unavailable, "lost its connection"),
        ("mariadb-dump: Got error: 2002: \"Can't connect to local server through socket\" when trying to connect", Unavailable, "lost its connection"),
        ("mariadb-dump: Couldn't execute 'SHOW FIELDS FROM `v`': View 'd.v' references invalid table(s) (1356)", ToolFailed, "exclude_tables"),
        ("mariadb-dump: Got error: 1045: \"Access denied\" when trying to connect", ToolFailed, "may not log in from where the tool runs"),
        ("", ToolFailed, "ended with 2: no message"),
    ],
)  # fmt: skip
def test_why_a_dump_failed(stderr: str, kind: type[OpsError], words: str) -> None:
    with pytest.raises(kind, match=words):
        raise snapshot.explain(("mariadb-dump",), 2, stderr, "mariadb-dump")
    assert failed(("mariadb-dump",), 2, stderr).rc == 2


# The fingerprint ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_type", "octets", "value"),
    [
        ("int", None, "CAST(`c` AS CHAR)"),
        ("datetime", None, "CAST(`c` AS CHAR)"),
        ("varchar", 200, "HEX(`c`)"),
        ("varchar", 1020, "MD5(`c`)"),
        ("enum", 4, "HEX(`c`)"),
        ("longblob", 4294967295, "MD5(`c`)"),
        ("json", None, "MD5(`c`)"),
        ("bit", None, "HEX(`c`)"),
        ("point", None, "MD5(`c`)"),
    ],
)
def test_each_kind_of_column_is_exact_and_null_is_no_value(data_type: str, octets: int | None, value: str) -> None:
    column = Column("c", data_type, data_type, octets, False)
    assert fingerprint.field(column, "MD5({})") == f"IFNULL(CONCAT('+', {value}), '-')"


def test_what_is_asked_of_a_table() -> None:
    table = Table("t`t", "InnoDB", True)
    columns = [Column("a", "int", "int(11)", None, False), Column("g", "int", "int(11)", None, True)]
    assert fingerprint.query("d", table, columns, "counts", False) == "SELECT COUNT(*) FROM `d`.`t``t`"
    full = fingerprint.query("d", table, columns, "full", False)
    assert "`a`" in full
    assert "`g`" not in full
    versioned = Table("v", "InnoDB", True, versioned=True, history=True)
    assert fingerprint.query("d", versioned, columns, "counts", True).endswith("`v` FOR SYSTEM_TIME ALL")
    assert fingerprint.query("d", versioned, columns, "counts", False).endswith("`v`")


def test_snapshots_that_differ_make_a_range() -> None:
    one, two = TableFingerprint(3, checksum="a"), TableFingerprint(5, checksum="b")
    assert fingerprint.merge([one]) == one
    assert fingerprint.merge([one, one]) == one
    assert fingerprint.merge([two, one]) == TableFingerprint(3, 5)
    assert fingerprint.merge([one, TableFingerprint(3, checksum="b")]) == TableFingerprint(3, 3)


# The swap -------------------------------------------------------------------------------------------------


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "live": "live", "scratch": "stage", "old": "old", "existed": True, "charset": ("utf8mb4", "utf8mb4_bin"),
        "live_tables": ("both", "gone"), "staged_tables": ("both", "new"), "damaged": (), "objects": (),
        "staged_triggers": (), "routine_grants": (("procedure p", "`a`@`%`", "GRANT …"),),
    }  # fmt: skip
    return Plan(**{**values, **changes})


def sets(**where: str) -> tuple[set[str], set[str], set[str]]:
    return tuple(set(where.get(key, "").split()) for key in ("live", "stage", "old"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        # Nothing was renamed yet, or everything came back.
        (sets(live="both gone", stage="both new"), []),
        # All was renamed.
        (
            sets(live="both new", old="both gone"),
            [("live", "stage", "both"), ("live", "stage", "new"), ("old", "live", "both"), ("old", "live", "gone")],
        ),
        # One by one, and killed on the way there …
        (sets(live="gone", stage="both new", old="both"), [("old", "live", "both")]),
        (sets(live="both", stage="new", old="both gone"), [("live", "stage", "both"), ("old", "live", "both"), ("old", "live", "gone")]),
        # … and on the way back.
        (sets(live="new", stage="both", old="both gone"), [("live", "stage", "new"), ("old", "live", "both"), ("old", "live", "gone")]),
        (sets(live="both", stage="both new", old="gone"), [("old", "live", "gone")]),
        # Somebody made a table meanwhile that has a staged one's name: it is not ours to move.
        (sets(live="both gone new", stage="both new"), []),
        # The staged copy was dropped after an undo that is asked for again.
        (sets(live="both gone"), []),
    ],
)  # fmt: skip
def test_an_undo_moves_what_it_finds_elsewhere(
    where: tuple[set[str], set[str], set[str]], wanted: list[tuple[str, str, str]]
) -> None:
    assert swapping.moves_back(plan(), *where) == wanted


def test_a_damaged_table_that_was_dropped_makes_room_again() -> None:
    damaged = plan(damaged=("gone",), staged_tables=("both", "gone"))
    found = swapping.moves_back(damaged, *sets(live="both gone", old="both"))
    assert found == [("live", "stage", "both"), ("live", "stage", "gone"), ("old", "live", "both")]
    assert swapping.moves(damaged) == [("live", "old", "both"), ("stage", "live", "both"), ("stage", "live", "gone")]


def test_a_plan_survives_the_journal() -> None:
    made = plan()
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("host", "found"), [("localhost", ""), ("", ""), ("10.0.0.5:41000", "10.0.0.5"), ("::1:41000", "::1")]
)
def test_addresses_of_sessions(host: str, found: str) -> None:
    assert address(host) == found


# Names that are left out ------------------------------------------------------------------------------------


def test_tables_and_views_to_leave_out() -> None:
    excluded = describe._excluded
    assert excluded("shop", ["log", "shop.orders", "v"], ["log", "orders"], ["v"]) == (("log", "orders"), ("v",))
    assert excluded("shop", ["shop.x"], ["shop.x"], []) == (("shop.x",), ())
    with pytest.raises(Refused, match=r"no table or view lgo\. Did you mean log\?"):
        excluded("shop", ["lgo"], ["log"], [])


def test_names_may_hold_anything() -> None:
    assert connection.name("a`b") == "`a``b`"
    assert connection.qualified("a-b", "c d") == "`a-b`.`c d`"
