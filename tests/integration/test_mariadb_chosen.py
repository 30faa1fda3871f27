# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB: chosen tables of a backup, in place of the live ones or beside them; everything else stays."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Chosen, DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import connection
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.server import SqlServer

from tests.integration.support import mariadb_content as content
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.mariadb_engine import (
    Killed,
    back_up,
    engine_for,
    journal_step,
    killed_step,
    load,
    read_step,
    staged,
    warnings_of,
)

pytestmark = [pytest.mark.mariadb, pytest.mark.faults]

MP = pytest.MonkeyPatch
ORDERS = Chosen(("orders", "order_lines"))

# orders → customers (stays), order_lines → orders (chosen), notes → orders (stays), orders → orders.
SHOP = (
    "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), KEY by_name (name))",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, follows INT, total DECIMAL(8,2), "
    "CHECK (total >= 0), KEY by_total (total), "
    "CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES customers (id) ON UPDATE CASCADE, "
    "CONSTRAINT orders_follows FOREIGN KEY (follows) REFERENCES orders (id) ON DELETE SET NULL) AUTO_INCREMENT=5000",
    "CREATE TABLE order_lines (id INT AUTO_INCREMENT PRIMARY KEY, orders INT NOT NULL, what VARCHAR(50), "
    "CONSTRAINT lines_order FOREIGN KEY (orders) REFERENCES orders (id) ON DELETE CASCADE)",
    "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, orders INT, body VARCHAR(50), "
    "FOREIGN KEY (orders) REFERENCES orders (id) ON UPDATE CASCADE)",
    "CREATE TABLE log (what VARCHAR(50))",
    "CREATE TABLE versioned (id INT PRIMARY KEY, v VARCHAR(20), parent INT, "
    "CONSTRAINT versioned_order FOREIGN KEY (parent) REFERENCES orders (id)) WITH SYSTEM VERSIONING",
    "CREATE VIEW totals AS SELECT customer, SUM(total) AS total FROM orders GROUP BY customer",
    "CREATE TRIGGER first_noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES ('order 😀')",
    "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW FOLLOWS first_noted INSERT INTO log VALUES ('too')",
    "CREATE TRIGGER counted AFTER INSERT ON notes FOR EACH ROW UPDATE orders SET total = total + 1 WHERE id = NEW.orders",
    "INSERT INTO customers (name) VALUES ('Ada'), ('Zoë'), ('😀')",
    "INSERT INTO orders (id, customer, total) SELECT seq, 1 + seq % 3, seq FROM seq_1_to_30",
    "UPDATE orders SET follows = id - 1 WHERE id > 20",
    "INSERT INTO order_lines (orders, what) SELECT 1 + seq % 30, CONCAT('line ', seq) FROM seq_1_to_90",
    "INSERT INTO notes (orders, body) VALUES (1, 'one'), (NULL, 'none')",
    "INSERT INTO versioned VALUES (1, 'then', 1)",
    "UPDATE versioned SET v = 'now'",
)
SINCE = (
    "DELETE FROM order_lines WHERE id > 10",
    "UPDATE orders SET total = 1",
    "DROP TRIGGER noted",
    "CREATE TRIGGER since BEFORE UPDATE ON orders FOR EACH ROW SET NEW.total = 2",
    "UPDATE customers SET name = 'since' WHERE id = 2",
    "INSERT INTO notes (orders, body) VALUES (2, 'since')",
    "CREATE TABLE newer (id INT PRIMARY KEY)",
)


@dataclasses.dataclass
class Shop:
    server: Mariadb
    database: str
    directory: Path
    part: Part
    then: content.Witness

    def engine(self, **options: Any) -> SqlServer:
        return engine_for(self.server, self.database, self.directory, **options)

    def run(self, *statements: str) -> None:
        self.server.run(*statements, database=self.database)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.rows(statement, self.database)

    def witness(self) -> content.Witness:
        return content.witness(self.server, self.database)

    def staged(self, engine: SqlServer) -> str:
        return staged(engine, self.part, self.directory / "dump")

    def restore(self, chosen: Chosen, engine: SqlServer | None = None) -> SqlServer:
        engine = engine or self.engine()
        engine.check_chosen(self.part, chosen)
        step = journal_step(self.directory)
        engine.swap_chosen(self.part, self.staged(engine), chosen, step)
        engine.finish(step)
        assert self.left() == []
        return engine

    def left(self) -> list[str]:
        return [one for one in self.server.databases() if one.startswith("day2")]


def make(server: Mariadb, database: str, directory: Path, since: tuple[str, ...] = SINCE) -> Shop:
    server.run(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    server.run(*SHOP, database=database)
    part = back_up(engine_for(server, database, directory), directory / "dump", DumpOptions("full"))
    shop = Shop(server, database, directory, part, content.witness(server, database))
    shop.run(*since)
    return shop


@pytest.fixture
def shop(mariadb: Mariadb, mariadb_database: str, tmp_path: Path) -> Shop:
    return make(mariadb, mariadb_database, tmp_path)


@pytest.fixture
def on_host(mariadb_on_host: Mariadb, mariadb_database_on_host: str, tmp_path: Path) -> Shop:
    return make(mariadb_on_host, mariadb_database_on_host, tmp_path)


def expected(then: content.Witness, now: content.Witness, *names: str) -> content.Witness:
    """The tables named as in the backup with their triggers, all else as it is live."""

    def of_chosen(key: str, found: content.Witness) -> bool:
        if key.startswith("trigger "):
            return found[key][1][2] is not None and any(
                f"ON `{n}`" in str(found[key]) or f"ON {n} " in str(found[key]) for n in names
            )
        return key in {f"{kind} `{name}`" for kind in ("rows", "definition") for name in names}

    kept = {key: value for key, value in now.items() if not of_chosen(key, now)}
    view = {key: value for key, value in then.items() if key == "rows `totals`"}
    return {**kept, **{key: value for key, value in then.items() if of_chosen(key, then)}, **view}


def test_chosen_tables_come_back_and_the_others_stay(shop: Shop) -> None:
    wanted = expected(shop.then, shop.witness(), "orders", "order_lines")
    assert "trigger noted" in wanted
    assert "trigger since" not in wanted
    assert content.differences(shop.witness(), wanted)
    engine = shop.restore(ORDERS)
    assert content.differences(wanted, shop.witness()) == []
    assert shop.rows("SELECT MAX(id) FROM orders") == [(30,)]
    shop.run("INSERT INTO orders (customer, total) VALUES (1, 1)")
    assert shop.rows("SELECT MAX(id) FROM orders") == [(5000,)]  # AUTO_INCREMENT as it was
    with pytest.raises(Exception, match="foreign key constraint fails"):  # from a table that stays
        shop.run("INSERT INTO notes (orders) VALUES (777)")
    with pytest.raises(Exception, match="foreign key constraint fails"):  # to a table that stays
        shop.run("DELETE FROM customers WHERE id = 1")
    assert warnings_of(engine) == []


def test_a_table_that_is_gone_comes_back_alone(on_host: Shop) -> None:
    on_host.run("DROP TABLE order_lines")
    before = on_host.witness()
    on_host.restore(Chosen(("order_lines",)))
    wanted = {**before, **{key: on_host.then[key] for key in ("rows `order_lines`", "definition `order_lines`")}}
    assert content.differences(wanted, on_host.witness()) == []


def test_a_table_with_its_own_history_comes_back(on_host: Shop) -> None:
    on_host.run("DELETE FROM versioned")
    wanted = expected(on_host.then, on_host.witness(), "versioned")
    del wanted["rows `totals`"]
    on_host.restore(Chosen(("versioned",)))
    found = on_host.witness()
    del found["rows `totals`"]
    if on_host.engine().carries_history:
        assert content.differences(wanted, found) == []
    assert on_host.rows("SELECT v FROM versioned") == [("now",)]


def test_a_table_that_draws_from_a_sequence_goes_on_with_the_live_one(on_host: Shop) -> None:
    on_host.run(
        "CREATE SEQUENCE numbers START WITH 100",
        "CREATE TABLE drawn (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), v VARCHAR(10))",
        "INSERT INTO drawn (v) VALUES ('a'), ('b')",
    )
    on_host.part = back_up(on_host.engine(), on_host.directory / "dump")
    definition = on_host.witness()["definition `drawn`"]
    on_host.run("INSERT INTO drawn (v) VALUES ('c')", "DELETE FROM drawn WHERE v = 'a'")
    on_host.restore(Chosen(("drawn",)))
    on_host.restore(Chosen(("drawn",), "_x"))
    assert on_host.rows("SELECT v FROM drawn ORDER BY id") == [("a",), ("b",)] == on_host.rows("SELECT v FROM drawn_x")
    assert on_host.witness()["definition `drawn`"] == definition
    on_host.run("INSERT INTO drawn (v) VALUES ('next')")


def test_tables_beside_are_for_looking_things_up(shop: Shop) -> None:
    before = shop.witness()
    shop.restore(Chosen(("orders", "order_lines"), "_restored"))
    after = shop.witness()
    assert content.differences(before, {key: after[key] for key in before}) == []
    assert {key for key in after if key not in before} == {
        f"{kind} `{table}_restored`" for kind in ("definition", "rows") for table in ("orders", "order_lines")
    }
    assert after["rows `orders_restored`"] == shop.then["rows `orders`"]
    definition = str(after["definition `orders_restored`"])
    assert "PRIMARY KEY" in definition
    assert "KEY `by_total`" in definition
    assert "FOREIGN KEY" not in definition
    with pytest.raises(Refused, match=r'there is a base table "orders_restored" already.*another include_suffix'):
        shop.engine().check_chosen(shop.part, Chosen(("orders",), "_restored"))


# Refused -----------------------------------------------------------------------------------------


def refused(shop: Shop, chosen: Chosen, why: str, early: bool = True) -> None:
    """Before anything is staged, or at the swap; nothing is changed either way."""
    before, engine = shop.witness(), shop.engine()
    if early:
        with pytest.raises(Refused, match=why):
            engine.check_chosen(shop.part, chosen)
    else:
        engine.check_chosen(shop.part, chosen)
        scratch = shop.staged(engine)
        with pytest.raises(Refused, match=why):
            engine.swap_chosen(shop.part, scratch, chosen, journal_step(shop.directory))
        engine.drop_scratch(scratch)
    assert content.differences(before, shop.witness()) == []
    assert shop.left() == []


def test_rows_that_would_refer_to_nothing_refuse_the_swap(shop: Shop) -> None:
    shop.run("DELETE FROM order_lines", "DELETE FROM notes", ["SET foreign_key_checks=0", " DELETE FROM versioned"][1])
    shop.run(
        "UPDATE orders SET follows = NULL",
        "DELETE FROM orders WHERE customer = 3",
        "DELETE FROM customers WHERE id = 3",
    )
    refused(
        shop, ORDERS, r"10 rows of orders would refer to rows of customers that are not there.*Include customers", False
    )
    shop.run("INSERT INTO customers VALUES (3, 'again')", "INSERT INTO orders VALUES (9000, 1, NULL, 1)")
    shop.run("INSERT INTO notes (orders) VALUES (9000), (9000)")
    assert [
        one
        for one in shop.engine().check_chosen(shop.part, ORDERS)
        if one.startswith("notes refers to orders and stays")
    ]
    refused(shop, ORDERS, r"2 rows of notes would refer to rows of orders that are not there.*Include notes", False)
    shop.restore(Chosen(("orders", "order_lines", "notes")))
    assert shop.rows("SELECT COUNT(*) FROM orders") == [(30,)]


def test_a_parent_with_another_key_refuses_the_swap(on_host: Shop) -> None:
    on_host.run(
        "ALTER TABLE orders DROP FOREIGN KEY orders_customer",
        "ALTER TABLE customers CHANGE COLUMN id number INT AUTO_INCREMENT",
    )
    refused(on_host, ORDERS, "orders_customer of orders does not fit customers", False)


def test_what_the_live_database_does_not_allow_is_refused(on_host: Shop) -> None:
    on_host.run("CREATE VIEW orders_x AS SELECT 1", "CREATE TABLE orders_y (id INT)")
    refused(on_host, Chosen(("orders",), "_x"), 'a view "orders_x" already')
    refused(on_host, Chosen(("orders",), "_y"), 'a base table "orders_y" already')
    refused(on_host, Chosen(("orders",), "_" * 60), "longer than 64 characters")
    refused(on_host, Chosen(("order",)), r'holds no table or collection "order".*Did you mean .*orders')
    refused(on_host, Chosen(("totals",)), 'holds no table or collection "totals"')
    on_host.run("DROP TABLE order_lines", "CREATE VIEW order_lines AS SELECT 1")
    refused(on_host, Chosen(("order_lines",)), '"order_lines" is a view in the live database')


def test_another_database_that_refers_to_a_chosen_table_is_named(on_host: Shop) -> None:
    other = f"{on_host.database}-other"
    on_host.server.run(
        f"CREATE DATABASE `{other}`",
        f"CREATE TABLE `{other}`.t (n INT, FOREIGN KEY (n) REFERENCES `{on_host.database}`.customers (id))",
    )
    refused(on_host, Chosen(("customers",)), rf"{other}.t refer to chosen tables")
    on_host.restore(ORDERS)


def test_a_table_without_rows_in_the_backup_does_not_empty_the_live_one(on_host: Shop) -> None:
    part = back_up(on_host.engine(), on_host.directory / "dump", DumpOptions(exclude_tables=("log",)))
    with pytest.raises(Refused, match="holds no rows of log"):
        on_host.engine().check_chosen(part, Chosen(("log",)))


def test_a_database_that_is_gone_is_refused(on_host: Shop) -> None:
    on_host.server.run(f"DROP DATABASE `{on_host.database}`")
    with pytest.raises(Refused, match=r"there is no database .* to put tables into"):
        on_host.engine().check_chosen(on_host.part, ORDERS)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("ALTER TABLE log ADD COLUMN more INT", "without more int"),
        ("ALTER TABLE log ADD COLUMN other INT, DROP COLUMN what", r"without other int.*; with what varchar\(50\)"),
    ],
)
def test_another_definition_is_replaced_with_a_warning(on_host: Shop, change: str, word: str) -> None:
    on_host.run(change)
    engine = on_host.restore(Chosen(("log",)))
    assert on_host.witness()["definition `log`"] == on_host.then["definition `log`"]
    assert re.search(f"table log has other columns .*{word}", warnings_of(engine)[0])


def test_a_damaged_table_is_replaced_alone(on_host: Shop) -> None:
    on_host.run("CREATE TABLE isam (id INT PRIMARY KEY, v INT) ENGINE=MyISAM", "INSERT INTO isam VALUES (1, 1)")
    on_host.part = back_up(on_host.engine(), on_host.directory / "dump")
    before = on_host.witness()
    on_host.run("FLUSH TABLES")
    assert on_host.server.home is not None
    (on_host.server.home / "data" / on_host.database.replace("-", "@002d") / "isam.MYI").unlink()
    on_host.run("FLUSH TABLES")
    engine = on_host.restore(Chosen(("isam",)))
    assert content.differences(before, on_host.witness()) == []
    assert any("are dropped: isam" in one for one in warnings_of(engine))


# Killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "_restored"])
def test_killed_at_any_write_of_the_journal_it_is_undone(on_host: Shop, suffix: str) -> None:
    chosen, before, phases, number = Chosen(ORDERS.names, suffix), on_host.witness(), [], 1
    while True:
        for after in (False, True):
            engine = on_host.engine()
            scratch = load(engine, on_host.part, on_host.directory / "dump")
            step = killed_step(on_host.directory, number, after)
            try:
                engine.swap_chosen(on_host.part, scratch, chosen, step)
            except Killed:
                phases.append(step.data.get("phase"))
                on_host.engine().undo(read_step(on_host.directory))
                on_host.engine().undo(read_step(on_host.directory))
                assert content.differences(before, on_host.witness()) == [], (number, after)
                engine.drop_scratch(scratch)
                assert on_host.left() == []
                continue
            assert phases[1::2] == ["prepared", "dismantle", "rename", "rebuild", "swapped"]
            assert on_host.rows(f"SELECT COUNT(*) FROM order_lines{suffix}") == [(90,)]
            engine.finish(read_step(on_host.directory))
            engine.finish(read_step(on_host.directory))
            assert on_host.left() == []
            return
        number += 1


def statements(monkeypatch: MP, at: int, after: bool) -> Callable[[], int]:
    """Ends the engine right before or after the statement with that number; counts them."""
    count, execute = 0, connection.Sql.execute

    def counting(self: connection.Sql, statement: Any, *rest: Any, **more: Any) -> Any:
        nonlocal count
        words = statement if isinstance(statement, str) else statement.decode(errors="replace")
        changes = words.startswith(("CREATE", "DROP", "ALTER", "RENAME", "GRANT"))
        count += changes
        if changes and count == at and not after:
            raise Killed
        found = execute(self, statement, *rest, **more)
        if changes and count == at and after:
            raise Killed
        return found

    monkeypatch.setattr(connection.Sql, "execute", counting)
    return lambda: count


@pytest.mark.parametrize("step_of", [5, pytest.param(1, marks=pytest.mark.full)])
def test_killed_around_its_statements_it_is_undone(on_host: Shop, step_of: int) -> None:
    before, at, after = on_host.witness(), 1, True
    while True:
        engine = on_host.engine()
        scratch = load(engine, on_host.part, on_host.directory / "dump")
        with MP.context() as patched:
            count = statements(patched, at, after)
            try:
                engine.swap_chosen(on_host.part, scratch, ORDERS, journal_step(on_host.directory))
            except Killed:
                pass
            else:
                assert count() > 15
                break
        on_host.engine().undo(read_step(on_host.directory))
        assert content.differences(before, on_host.witness()) == [], (at, after)
        engine.drop_scratch(scratch)
        assert on_host.left() == []
        at, after = at + step_of, not after


def test_an_undo_that_is_killed_is_done_again(on_host: Shop) -> None:
    before = on_host.witness()
    for at in (1, 4, 7, 9, 12):
        engine = on_host.engine()
        scratch = load(engine, on_host.part, on_host.directory / "dump")
        engine.swap_chosen(on_host.part, scratch, ORDERS, journal_step(on_host.directory))
        with MP.context() as patched:
            statements(patched, at, after=bool(at % 2))
            with pytest.raises(Killed):
                on_host.engine().undo(read_step(on_host.directory))
        on_host.engine().undo(read_step(on_host.directory))
        assert content.differences(before, on_host.witness()) == [], at
        engine.drop_scratch(scratch)


def test_a_fault_in_the_middle_is_undone(on_host: Shop, monkeypatch: MP) -> None:
    """A table that stays has a foreign key of the name that comes back with a chosen one."""
    on_host.run(
        "ALTER TABLE order_lines DROP FOREIGN KEY lines_order",
        "CREATE TABLE thief (n INT, CONSTRAINT lines_order FOREIGN KEY (n) REFERENCES customers (id))",
    )
    before, engine = on_host.witness(), on_host.engine()
    scratch = on_host.staged(engine)
    with pytest.raises(OpsError, match="making the foreign key lines_order of order_lines again"):
        engine.swap_chosen(on_host.part, scratch, ORDERS, journal_step(on_host.directory))
    assert content.differences(before, on_host.witness()) == []
    engine.drop_scratch(scratch)
    assert on_host.left() == []


def test_where_one_statement_may_not_move_everything_tables_move_one_by_one(on_host: Shop, monkeypatch: MP) -> None:
    engine = on_host.engine()
    monkeypatch.setattr(type(engine), "FLAVOUR", dataclasses.replace(engine.flavour, rename_at_once=-1))
    renames = []
    execute = connection.Sql.execute

    def listening(self: connection.Sql, statement: Any, *rest: Any, **more: Any) -> Any:
        if str(statement).startswith("RENAME"):
            renames.append(statement)
        return execute(self, statement, *rest, **more)

    monkeypatch.setattr(connection.Sql, "execute", listening)
    wanted = expected(on_host.then, on_host.witness(), "orders", "order_lines")
    on_host.restore(ORDERS, engine)
    assert content.differences(wanted, on_host.witness()) == []
    assert len(renames) == 4
