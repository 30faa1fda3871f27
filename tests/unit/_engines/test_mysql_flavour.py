# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is MySQL's own: its words for accounts and roles, its tools, memory, and the way from one flavour to the other."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import change, grants, memory, roles, tools
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.accounts import Account
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.catalog import Column, Table
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.definitions import Definition
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.fingerprint import query
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.flavours import MARIADB, MYSQL, tool_version
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.stream import Rewriter

# Roles and accounts, as MySQL 9.7 printed them ------------------------------------------------------------

HASH = "0x24412430304124524B493F647B33722506437B0F0C500449435A5F4262726135474F7958425345"
CREATE = (
    f"CREATE USER `app`@`%` IDENTIFIED WITH 'caching_sha2_password' AS {HASH} DEFAULT ROLE `r1`@`%`,`r``2`@`localhost` "
    "REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK"
)


def test_default_roles_are_set_once_they_were_given() -> None:
    made = roles.without_default_roles(CREATE)
    assert "ROLE" not in made
    assert made == CREATE.replace(" DEFAULT ROLE `r1`@`%`,`r``2`@`localhost`", "")
    assert roles.without_default_roles(made) == made


def test_members_of_a_role_come_along_and_get_their_roles_again() -> None:
    role, inner, member, other = ("r", "%"), ("i", "%"), ("m", "10.%"), ("o", "%")
    edges = [(inner, role, False), (role, member, True), (other, ("x", "%"), False), (inner, ("root", "%"), False)]
    assert roles.with_members({inner}, edges) == {inner, role, member}
    assert roles.statements(member, {inner, role, member}, edges, {(member, role)}) == (
        "GRANT `r`@`%` TO `m`@`10.%` WITH ADMIN OPTION",
        "SET DEFAULT ROLE `r`@`%` TO `m`@`10.%`",
    )
    assert roles.statements(role, {inner, role, member}, edges, set()) == ("GRANT `i`@`%` TO `r`@`%`",)
    assert roles.statements(member, {member}, edges, {(member, role)}) == (), "a role that does not come along"


def test_an_account_survives_its_manifest() -> None:
    account = Account("m", "%", False, CREATE, (), statements=("GRANT `r`@`%` TO `m`@`%`",))
    assert Account.from_json(account.to_json()) == account
    older = {key: value for key, value in account.to_json().items() if key != "statements"}
    assert Account.from_json(older).statements == ()


def test_a_partial_revoke_takes_away_what_was_given_everywhere() -> None:
    lines = [
        "GRANT SELECT, TRIGGER, EVENT ON *.* TO `u`@`%`",
        "GRANT SHOW_ROUTINE,CONNECTION_ADMIN ON *.* TO `u`@`%`",
        "GRANT EVENT ON `shop`.* TO `u`@`%`",
        "REVOKE TRIGGER, EVENT ON `shop`.* FROM `u`@`%`",
        "REVOKE SELECT ON `mysql`.* FROM `u`@`%`",
    ]
    assert grants.held(lines, "shop") == {"SELECT", "EVENT", "SHOW_ROUTINE", "CONNECTION_ADMIN"}
    assert "TRIGGER" in grants.held(lines, "other")
    assert "SELECT" not in grants.held(lines, "mysql")


# Tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "version", "mysql"),
    [
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4", True),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "8.0.36", True),
        ("mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "10.11.19", False),
        ("mysqldump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", "11.8.3", False),
    ],
)
def test_whose_tool_it_is_is_told_by_its_version(printed: str, version: str, mysql: bool) -> None:
    assert tool_version(printed) == version
    assert MYSQL.is_mine(printed) is mysql
    assert MARIADB.is_mine(printed) is not mysql


def test_mysqldump_leaves_whole_tables_out_where_mariadbs_leaves_their_rows_out() -> None:
    assert tools.flags(MARIADB, "d", False, ["t"], ["v"])[-2:] == ["--ignore-table-data=d.t", "--ignore-table=d.v"]
    flags = tools.flags(MYSQL, "d", False, ["t"], ["v"])
    assert flags[-2:] == ["--ignore-table=d.t", "--ignore-table=d.v"]
    assert flags[0] == "--no-defaults"
    assert {"--set-gtid-purged=OFF", "--no-tablespaces", "--column-statistics", "--loose-skip-masking-policies"} < set(
        flags
    )


def test_mysqls_checksum_needs_no_md5() -> None:
    asked = query(
        "d", Table("t", "InnoDB", True), [Column("j", "json", "json", None, False)], "full", False, MYSQL.digest
    )
    assert "MD5" not in asked
    assert asked.count("SHA2(") == 2


# Memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "used", "stat", "left"),
    [
        ("max\n", "5", "", None),
        ("9223372036854771712\n", "5", "", None),
        ("1000\n", "900\n", "anon 600\ninactive_file 200\nactive_file 50\n", 350),
        ("1000\n", "900\n", "total_inactive_file 100\ninactive_file 7\ntotal_active_file 0\n", 200),
        ("1000\n", "1200\n", "", 0),
    ],
)
def test_what_a_container_may_still_use(limit: str, used: str, stat: str, left: int | None) -> None:
    assert memory.left(limit, used, stat) == left


# From one flavour to the other -------------------------------------------------------------------------


def part(flavour: str, **objects: int) -> Part:
    fingerprint = Fingerprint(tables={"t": TableFingerprint(1)}, objects=objects)
    return Part("main", flavour, flavour, "data", "sql", "main.sql", "", 1, "", fingerprint)


def test_what_mysql_does_not_have_is_refused() -> None:
    with pytest.raises(Refused, match="holds sequences, which MySQL does not have"):
        change.accepts(MYSQL, part("mariadb", sequence=1))
    (warning,) = change.accepts(MYSQL, part("mariadb", sequence=0))
    assert "MariaDB is loaded into MySQL: accounts and their privileges are not carried over" in warning
    (warning,) = change.accepts(MARIADB, part("mysql"))
    assert "a CHECK that was not enforced is enforced" in warning
    with pytest.raises(Refused, match="made of postgresql"):
        change.accepts(MYSQL, part("postgresql"))


def test_modes_that_the_other_does_not_know_are_left_out() -> None:
    unknown = change.unknown_modes(MYSQL, part("mariadb"))
    assert change.unknown_modes(MYSQL, part("mysql")) == frozenset()
    event = Definition("event", "e", b"", "utf8mb4", "utf8mb4_bin", sql_mode="STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER")
    assert change.known(event, unknown).sql_mode == "STRICT_TRANS_TABLES"
    assert change.known(event, frozenset()) is event


@pytest.mark.parametrize("size", [1, 3, 64, 300, 1 << 20])
def test_lines_for_the_other_server_alone_become_comments(size: int) -> None:
    dump = (
        b"/*M!999999\\- enable the sandbox mode */ \n"
        b"-- MariaDB dump\n"
        b"INSERT INTO t VALUES ('\\n/*M! no */');\n"
        b"/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,ANSI' */ ;\n"
        b"DELIMITER ;;\n"
        b"CREATE PROCEDURE p() BEGIN\n/*M! kept */ SELECT 1;\n/*!50003 SET sql_mode = 'NO_AUTO_CREATE_USER' */; END ;;\n"
        b"DELIMITER ;\n"
        b"/*!50003 SET sql_mode              = 'NO_AUTO_CREATE_USER' */ ;\n"
        b"/*!50003 SET sql_mode              = @saved_sql_mode */ ;\n"
        b"-- Dump completed\n"
    )
    rewriter = Rewriter([], ["NO_AUTO_CREATE_USER"])
    written = (
        b"".join(rewriter.feed(dump[start : start + size]) for start in range(0, len(dump), size)) + rewriter.end()
    )
    assert written == (
        dump.replace(b"/*M!999999", b"-- /*M!999999")
        .replace(b"STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,ANSI", b"STRICT_TRANS_TABLES,ANSI")
        .replace(b"              = 'NO_AUTO_CREATE_USER'", b"              = ''")
    )
    untouched = Rewriter([])
    assert untouched.feed(dump) + untouched.end() == dump
