# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL: chosen tables of a backup; what is different from MariaDB (names of checks, rules of foreign keys)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Chosen, DumpOptions

from tests.integration.support import mysql_content as content
from tests.integration.support.mariadb_content import differences
from tests.integration.support.mariadb_engine import (
    Killed,
    back_up,
    engine_for,
    journal_step,
    killed_step,
    load,
    read_step,
)
from tests.integration.support.mysql import Mysql
from tests.integration.test_mariadb_chosen import ORDERS, SINCE, Shop

pytestmark = [pytest.mark.mysql, pytest.mark.docker, pytest.mark.faults]

SHOP = (
    "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), KEY by_name (name))",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, follows INT, total DECIMAL(8,2), "
    "CONSTRAINT not_negative CHECK (total >= 0), CHECK (total < 100000), KEY by_total (total DESC), "
    "CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES customers (id) ON UPDATE CASCADE, "
    "CONSTRAINT orders_follows FOREIGN KEY (follows) REFERENCES orders (id) ON DELETE SET NULL) AUTO_INCREMENT=5000",
    "CREATE TABLE order_lines (id INT AUTO_INCREMENT PRIMARY KEY, orders INT NOT NULL, what VARCHAR(50), "
    "CONSTRAINT lines_order FOREIGN KEY (orders) REFERENCES orders (id) ON DELETE CASCADE)",
    "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, orders INT, body VARCHAR(50), "
    "FOREIGN KEY (orders) REFERENCES orders (id) ON DELETE RESTRICT)",
    "CREATE TABLE log (what VARCHAR(50))",
    "CREATE VIEW totals AS SELECT customer, SUM(total) AS total FROM orders GROUP BY customer",
    "CREATE TRIGGER first_noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES ('order 😀')",
    "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW FOLLOWS first_noted INSERT INTO log VALUES ('too')",
    "INSERT INTO customers (name) VALUES ('Ada'), ('Zoë'), ('😀')",
    "INSERT INTO orders (id, customer, total) WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 30) "
    "SELECT n, 1 + n % 3, n FROM s",
    "UPDATE orders SET follows = id - 1 WHERE id > 20",
    "INSERT INTO order_lines (orders, what) WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 90) "
    "SELECT 1 + n % 30, CONCAT('line ', n) FROM s",
    "INSERT INTO notes (orders, body) VALUES (1, 'one'), (NULL, 'none')",
)


class MysqlShop(Shop):
    def witness(self) -> dict[str, Any]:
        return content.witness(self.server, self.database)


@pytest.fixture
def shop(mysql_in_container: Mysql, mysql_database: str, tmp_path: Path) -> MysqlShop:
    server = mysql_in_container
    server.run(f"CREATE DATABASE `{mysql_database}`")
    server.run(*SHOP, database=mysql_database)
    part = back_up(engine_for(server, mysql_database, tmp_path), tmp_path / "dump", DumpOptions("full"))
    shop = MysqlShop(server, mysql_database, tmp_path, part, content.witness(server, mysql_database))
    shop.run(*SINCE)
    return shop


def mine(key: str) -> bool:
    return any(word in key for word in ("`orders`", "`order_lines`", "`totals`", "trigger"))


def test_chosen_tables_come_back_and_the_others_stay(shop: MysqlShop) -> None:
    before = shop.witness()
    shop.restore(ORDERS)
    after = shop.witness()
    wanted = {**{k: v for k, v in before.items() if not mine(k)}, **{k: v for k, v in shop.then.items() if mine(k)}}
    assert differences(wanted, after) == []
    with pytest.raises(Exception, match="foreign key constraint fails"):  # from a table that stays
        shop.run("INSERT INTO notes (orders) VALUES (777)")
    with pytest.raises(Exception, match="foreign key constraint fails"):  # to a table that stays
        shop.run("DELETE FROM customers WHERE id = 1")
    shop.run("INSERT INTO orders (customer, total) VALUES (1, 1)")
    assert shop.rows("SELECT MAX(id) FROM orders") == [(5000,)]


def test_tables_beside_are_for_looking_things_up(shop: MysqlShop) -> None:
    before = shop.witness()
    shop.restore(Chosen(ORDERS.names, "_restored"))
    after = shop.witness()
    assert differences(before, {key: after[key] for key in before}) == []
    assert after["rows `orders_restored`"] == shop.then["rows `orders`"]
    definition = str(after["definition `orders_restored`"])
    assert "KEY `by_total`" in definition
    assert "FOREIGN KEY" not in definition


def test_rows_that_would_refer_to_nothing_refuse_the_swap(shop: MysqlShop) -> None:
    shop.run("INSERT INTO orders VALUES (9000, 1, NULL, 1)", "INSERT INTO notes (orders) VALUES (9000), (9000)")
    before, engine = shop.witness(), shop.engine()
    scratch = shop.staged(engine)
    with pytest.raises(
        Refused, match=r"2 rows of notes would refer to rows of orders that are not there.*Include notes"
    ):
        engine.swap_chosen(shop.part, scratch, ORDERS, journal_step(shop.directory))
    engine.drop_scratch(scratch)
    assert differences(before, shop.witness()) == []
    assert shop.left() == []


@pytest.mark.parametrize("suffix", ["", pytest.param("_restored", marks=pytest.mark.full)])
def test_killed_at_any_write_of_the_journal_it_is_undone(shop: MysqlShop, suffix: str) -> None:
    chosen, before = Chosen(ORDERS.names, suffix), shop.witness()
    for number in range(1, 6):
        engine = shop.engine()
        scratch = load(engine, shop.part, shop.directory / "dump")
        with pytest.raises(Killed):
            engine.swap_chosen(shop.part, scratch, chosen, killed_step(shop.directory, number, after=False))
        shop.engine().undo(read_step(shop.directory))
        shop.engine().undo(read_step(shop.directory))
        assert differences(before, shop.witness()) == [], number
        engine.drop_scratch(scratch)
        assert shop.left() == []
