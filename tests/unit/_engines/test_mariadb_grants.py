# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SHOW GRANTS prints, as MariaDB 10.11 printed it: read, judged, rewritten."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import accounts, grants
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.accounts import Account
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.catalog import Named
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.flavours import MARIADB

HASH = "*DB14CBAE92D7CB2F84BD3AA7222415B564A4054A"
USAGE = f"GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '{HASH}'"
SOCKET = (
    f"GRANT PROCESS ON *.* TO `tr`@`localhost` IDENTIFIED VIA unix_socket OR mysql_native_password USING '{HASH}' "
    "REQUIRE SSL WITH MAX_USER_CONNECTIONS 5"
)


@pytest.mark.parametrize(
    ("line", "target", "statement"),
    [
        ("GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`", "shop", "GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`"),
        ("GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`", "a_b", "GRANT ALL PRIVILEGES ON `a\\_b`.* TO `app`@`%`"),
        ("GRANT SELECT ON `sh\\_p`.* TO `a`@`%`", "sh_p", "GRANT SELECT ON `sh\\_p`.* TO `a`@`%`"),
        ("GRANT SELECT ON `sh_p`.* TO `a`@`%`", "sh_p", "GRANT SELECT ON `sh_p`.* TO `a`@`%`"),
        # More databases than this one were meant, and it is this one that is restored.
        ("GRANT SELECT ON `sh%`.* TO `a`@`%` WITH GRANT OPTION", "sh_p", "GRANT SELECT ON `sh\\_p`.* TO `a`@`%` WITH GRANT OPTION"),
        ("GRANT SELECT (`id`, `a,b`), INSERT ON `shop`.`t``t` TO `a`@`%`", "x_y", "GRANT SELECT (`id`, `a,b`), INSERT ON `x_y`.`t``t` TO `a`@`%`"),
        ("GRANT EXECUTE ON PROCEDURE `shop`.`pr` TO `r1`", "shop", "GRANT EXECUTE ON PROCEDURE `shop`.`pr` TO `r1`"),
        ("GRANT EXECUTE ON PACKAGE BODY `shop`.`p` TO `r1` WITH GRANT OPTION", "c", "GRANT EXECUTE ON PACKAGE BODY `c`.`p` TO `r1` WITH GRANT OPTION"),
        (USAGE.replace("*.*", "`shop`.*"), "shop", "GRANT USAGE ON `shop`.* TO `app`@`%`"),
    ],
)  # fmt: skip
def test_a_grant_is_given_again_on_the_target_and_never_changes_how_one_logs_in(
    line: str, target: str, statement: str
) -> None:
    grant = grants.parse(line)
    assert grant is not None
    source = {"sh\\_p": "sh_p", "sh_p": "sh_p", "sh%": "sh_p"}.get(grant.pattern, "shop")
    assert grant.on(target, source) == statement


def test_only_what_concerns_the_database_is_taken_along() -> None:
    lines = [
        USAGE,
        SOCKET,
        "GRANT `r2` TO `ru`@`localhost`",
        "SET DEFAULT ROLE `r2` FOR `ru`@`localhost`",
        "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
        "GRANT SELECT ON `other`.* TO `app`@`%`",
        "GRANT SELECT ON `shop`.`t` TO `app`@`%`",
        "GRANT SELECT ON `sho_`.`t` TO `app`@`%`",
        "GRANT SELECT ON `sho_`.* TO `app`@`%`",
    ]
    kept = [(grant.pattern, grant.object) for grant in grants.restricted(lines, "shop")]
    assert kept == [("shop", "t"), ("sho_", "*")]
    assert grants.role_of(lines[2]) == "r2"
    assert grants.default_role(lines[3]) == "r2"
    assert [grants.role_of(line) for line in lines if line is not lines[2]] == [None] * 8


@pytest.mark.parametrize(
    ("pattern", "database", "meant"),
    [
        ("shop", "shop", True),
        ("shop", "shops", False),
        ("sh%", "shop", True),
        ("sho_", "shop", True),
        ("my\\_app", "my_app", True),
        ("my\\_app", "myxapp", False),
        ("my_app", "myxapp", True),
        ("a\\%", "a%", True),
        ("a\\%", "ab", False),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, database: str, meant: bool) -> None:
    assert grants.matches(pattern, database) == meant
    assert grants.matches(grants.escaped(database), database)


@pytest.mark.parametrize(
    ("lines", "lacking"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"], []),
        (["GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`"], []),
        (["GRANT ALL PRIVILEGES ON `other`.* TO `app`@`%`"], ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]),
        (["GRANT SELECT, LOCK TABLES, SHOW VIEW ON `shop`.* TO `app`@`%`"], ["TRIGGER", "EVENT"]),
        (["GRANT SELECT, EVENT ON *.* TO `a`@`%`", "GRANT SHOW VIEW, TRIGGER ON `sh%`.* TO `r`"], []),
        # On one table, or on columns, is not on everything.
        (["GRANT SELECT, SHOW VIEW, TRIGGER ON `shop`.`t` TO `a`@`%`"], ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]),
        (["GRANT SELECT (`a`), SHOW VIEW, TRIGGER, EVENT ON `shop`.* TO `a`@`%`"], ["SELECT"]),
    ],
)
def test_what_a_dumping_user_lacks(lines: list[str], lacking: list[str]) -> None:
    assert grants.lacking(MARIADB.full_privileges, grants.held(lines, "shop")) == lacking


def test_members_of_roles_belong_to_the_application() -> None:
    members = [("r2", "", "r1"), ("ru", "localhost", "r2"), ("other", "%", "r3"), ("root", "localhost", "r1")]
    found = accounts.with_members({("r1", ""), ("app", "%")}, members)
    assert found == {("r1", ""), ("app", "%"), ("r2", ""), ("ru", "localhost")}


def test_an_account_survives_the_manifest() -> None:
    grant = grants.parse("GRANT SELECT ON `shop`.* TO `app`@`%`")
    assert grant is not None
    account = Account(
        "app", "%", False, f"CREATE USER `app`@`%` IDENTIFIED BY PASSWORD '{HASH}'", (grant,), ("r1",), "r1"
    )
    assert Account.from_json(account.to_json()) == account


@pytest.mark.parametrize(
    ("given", "statement"),
    [
        ("Execute", "GRANT EXECUTE ON PROCEDURE `a-b`.`p` TO `u`@`%`"),
        (
            "Execute,Alter Routine,Grant",
            "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `a-b`.`p` TO `u`@`%` WITH GRANT OPTION",
        ),
        ("Grant", "GRANT USAGE ON PROCEDURE `a-b`.`p` TO `u`@`%` WITH GRANT OPTION"),
    ],
)
def test_privileges_on_a_routine(given: str, statement: str) -> None:
    assert accounts.routine_grant("a-b", "p", "PROCEDURE", given, ("u", "%")) == statement


def test_definers() -> None:
    assert accounts.grantee_of("app@%") == ("app", "%")
    assert accounts.grantee_of("a@b@10.0.0.1") == ("a@b", "10.0.0.1")
    assert accounts.grantee_of("role") == ("role", "")
    assert str(Named("trigger", "t")) == "trigger t"
