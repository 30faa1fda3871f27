# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQL would lose, as a table of statements."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._migration import driver, sql_lint
from ansible_collections.day2.ops.plugins.module_utils._migration.schema import Schema


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        ("DROP TABLE orders;", ["drop-table"]),
        ("DROP TABLE IF EXISTS `orders`;", ["drop-table"]),
        ("ALTER TABLE orders DROP COLUMN price;", ["drop-column"]),
        ("ALTER TABLE orders DROP price;", ["drop-column"]),
        ("ALTER TABLE orders DROP CONSTRAINT fk_user;", []),
        ("ALTER TABLE orders DROP INDEX by_day;", []),
        ("ALTER TABLE orders ALTER COLUMN price DROP DEFAULT;", []),
        ("ALTER TABLE orders ALTER COLUMN price DROP NOT NULL;", []),
        ("TRUNCATE TABLE orders;", ["truncate"]),
        ("DELETE FROM orders;", ["delete-all-rows"]),
        ("DELETE FROM orders WHERE id = 1;", ["delete-rows"]),
        ("UPDATE orders SET price = 1;", ["update-all-rows"]),
        ("UPDATE orders SET price = 1 WHERE id = 1;", []),
        ("ALTER TABLE orders RENAME TO bookings;", ["rename-table"]),
        ("RENAME TABLE orders TO bookings;", ["rename-table"]),
        ("ALTER TABLE orders RENAME price TO cost;", ["rename-column"]),
        ("ALTER TABLE orders RENAME COLUMN price TO cost;", ["rename-column"]),
        ("ALTER TABLE orders ALTER COLUMN price TYPE BIGINT;", ["change-column"]),
        ("ALTER TABLE orders MODIFY price BIGINT NULL;", ["change-column"]),
        ("ALTER TABLE orders ADD COLUMN price INTEGER NOT NULL;", ["not-null-without-default"]),
        ("ALTER TABLE orders ADD COLUMN price INTEGER DEFAULT 0 NOT NULL;", []),
        ("ALTER TABLE orders ADD COLUMN price INTEGER;", []),
        ("ALTER TABLE orders ALTER COLUMN price SET NOT NULL;", ["set-not-null"]),
        ("CREATE INDEX by_day ON orders (day);", ["index-not-concurrently"]),
        ("CREATE INDEX CONCURRENTLY by_day ON orders (day);", []),
        ("CREATE TABLE a (id INT); CREATE INDEX i ON a (id); DROP TABLE a;", []),
        ("INSERT INTO notes VALUES ('DROP TABLE orders; DELETE FROM orders');", []),
        ("-- DROP TABLE orders;\nSELECT 1;", []),
        ("/* DROP TABLE orders; */ SELECT 1;", []),
        ("UPDATE alembic_version SET version_num='b2';", []),
        ("CREATE FUNCTION f() RETURNS void AS $$ BEGIN DELETE FROM orders; END $$ LANGUAGE plpgsql;", []),
    ],
)
def test_findings(sql: str, rules: list[str]) -> None:
    assert [one.rule for one in sql_lint.lint(sql, "postgresql")] == rules


def test_an_index_does_not_block_writers_in_other_databases() -> None:
    assert sql_lint.lint("CREATE INDEX by_day ON orders (day);", "mysql") == []


def test_statements_are_told_apart_by_semicolons_that_mean_it() -> None:
    sql = "BEGIN; INSERT INTO a VALUES ('x;''y'); CREATE FUNCTION f() AS $x$ a; b $x$; COMMIT;"
    assert list(sql_lint.statements(sql)) == [
        "INSERT INTO a VALUES ('x;''y')",
        "CREATE FUNCTION f() AS $x$ a; b $x$",
    ]


def test_touched_tables_are_those_that_are_there_before() -> None:
    sql = 'CREATE TABLE a (id INT); UPDATE a SET id = 1; ALTER TABLE "orders" ADD x INT; CREATE INDEX i ON users (id);'
    assert sql_lint.touched(sql) == ["orders", "users"]


def test_the_last_word_on_a_table_is_what_is_promised() -> None:
    sql = "CREATE TABLE a (id INT); ALTER TABLE b ADD COLUMN x INT; ALTER TABLE b ADD CONSTRAINT c CHECK (x > 1); DROP TABLE a;"
    assert sql_lint.promised(sql) == {"table a": False, "column b.x": True}
    assert sql_lint.promised(sql + "ALTER TABLE b RENAME TO d;") == {}


def test_which_tables_definitions_change() -> None:
    assert sql_lint.changed_tables(
        ["CREATE TABLE a (id INT)", "CREATE INDEX i ON `b` (x)", "ALTER TABLE s.c ADD y INT"]
    ) == [
        "a",
        "b",
        "c",
    ]
    for other in ("CREATE VIEW v AS SELECT 1", "ALTER TABLE a RENAME TO b", "DROP TABLE a, b"):
        assert sql_lint.changed_tables([other]) is None


def test_differences_name_a_table_and_not_all_that_is_in_it() -> None:
    before = Schema({"table orders": "", "column orders.id": "int", "column orders.name": "text"})
    after = Schema(
        {"table orders": "", "column orders.id": "bigint", "table new": "", "column new.id": "int", "index new.i": ""}
    )
    assert before.differences(after) == [
        "table new was made",
        "column orders.name is gone",
        "column orders.id was changed (int before, bigint now)",
    ]
    assert before.fingerprint != after.fingerprint
    assert before.fingerprint == Schema(dict(reversed(list(before.objects.items())))).fingerprint


def test_what_squawk_says_in_any_of_its_ways() -> None:
    old = '[{"rule_name": "ban-drop-table", "messages": [{"Note": "It breaks clients."}]}]'
    new = '[{"rule_name": "ban-drop-table", "message": "It breaks clients."}]'
    for text in (old, new):
        (found,) = sql_lint.parse_squawk(text)
        assert (found.rule, found.message) == ("squawk:ban-drop-table", "It breaks clients.")
    assert sql_lint.parse_squawk("") == []


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("CREATE  TABLE a\n(id INT)", "CREATE TABLE a (id INT)"),
        ("INSERT INTO users VALUES ('secret')", "INSERT INTO"),
        ("ALTER USER app IDENTIFIED BY 'secret'", "ALTER USER"),
        ("GRANT ALL ON a TO b", "GRANT ALL"),
    ],
)
def test_statements_are_shown_without_what_they_hold(statement: str, shown: str) -> None:
    assert driver._short(statement) == shown


def test_secrets_of_an_environment() -> None:
    environment = {"DATABASE_URL": "mysql://app:p@ss/word@db/app", "API_KEY": "abcdefgh", "PATH": "/bin", "KEY": "x"}
    assert driver._secrets(environment) == ["abcdefgh", "mysql://app:p@ss/word@db/app", "p@ss/word"]
