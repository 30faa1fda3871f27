# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite: chosen tables of a backup, in place of the live ones or beside them; everything else stays."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._engines import sqlite_chosen
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Chosen

from tests.integration.support import sqlite
from tests.integration.support.local import Bench, dumped, killed_at, staged

pytestmark = pytest.mark.sqlite

ODD = 'odd "name" -- ; x'
# What happened to the live data after the backup: to chosen tables, and to others.
SINCE = """
DELETE FROM booking WHERE id > 5;
UPDATE booking SET price = 1;
DROP TRIGGER noted;
DROP INDEX by_customer;
UPDATE customer SET name = 'now' WHERE id = 2;
INSERT INTO plain VALUES ('since');
DELETE FROM setting;
CREATE TABLE new (x);
INSERT INTO new VALUES (1);
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "app").mkdir()
    return Bench(tmp_path)


@pytest.fixture
def path(bench: Bench) -> Path:
    return bench.root / "app" / "booking.db"


def changed(bench: Bench, path: Path, since: str = SINCE, **make: Any) -> tuple[Any, Any, str]:
    """An engine, a backup that is staged, and the live data that have changed since."""
    connection = sqlite.make(path, large=10, **make)
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    connection.executescript(since)
    connection.close()
    return engine, part, staged(engine, part, data)


def rows(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def others(content: dict[str, str], *without: str) -> dict[str, str]:
    """All rows but those of some tables (and of what is made of them)."""
    left_out = {
        "schema",
        "view expensive",
        "view more",
        "table sqlite_sequence",
        *(f"table {name}" for name in without),
    }
    return {key: value for key, value in content.items() if key not in left_out}


def definitions(path: Path, *tables: str) -> list[Any]:
    listed = ", ".join(f"'{name}'" for name in tables)
    return rows(path, f"SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name IN ({listed}) ORDER BY 1, 2")


def restored(bench: Bench, engine: Any, part: Any, scratch: str, chosen: Chosen) -> None:
    engine.check_chosen(part, chosen)
    step = bench.step()
    engine.swap_chosen(part, scratch, chosen, step)
    engine.finish(step)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_chosen_table_comes_back_and_the_others_stay(bench: Bench, path: Path, mode: str) -> None:
    sqlite.make(path, mode, large=10).close()
    booking, schema = sqlite.content(path)["table booking"], definitions(path, "booking")
    path.unlink()
    engine, part, scratch = changed(bench, path, journal_mode=mode)
    before, inode = sqlite.content(path), path.stat().st_ino
    assert before["table booking"] != booking
    restored(bench, engine, part, scratch, Chosen(("booking", "setting", ODD)))
    after = sqlite.content(path)
    assert after["table booking"] == booking
    assert definitions(path, "booking") == schema
    assert others(after, "booking", "setting", ODD) == others(before, "booking", "setting", ODD)
    assert rows(path, "SELECT COUNT(*) FROM setting") == [(3,)]
    assert rows(path, "SELECT name FROM customer WHERE id = 2") == [("now",)]
    assert after["integrity_check"] == "[[\"('text', b'ok')\"]]" or "ok" in after["integrity_check"]
    assert (path.stat().st_ino, sqlite.journal_mode(path)) == (inode, mode)
    assert bench.scratch() == [f"{scratch}.sqlite"]


def test_a_table_that_is_gone_comes_back(bench: Bench, path: Path) -> None:
    engine, part, scratch = changed(bench, path, "DROP TABLE setting; DROP TABLE plain;")
    before = sqlite.content(path)
    restored(bench, engine, part, scratch, Chosen(("setting",)))
    assert rows(path, "SELECT COUNT(*) FROM setting") == [(3,)]
    assert others(sqlite.content(path), "setting") == others(before, "setting")


def test_row_numbers_and_counters_come_back(bench: Bench, path: Path) -> None:
    """Also those that the rows alone do not tell: with a gap, and of a row that was deleted since."""
    connection = sqlite.make(path, large=10)
    connection.execute("DELETE FROM plain WHERE rowid = 3")
    connection.execute("INSERT INTO customer (id, name) VALUES (500, 'gone')")
    connection.execute("DELETE FROM customer WHERE id = 500")
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    connection.executescript("UPDATE sqlite_sequence SET seq = 900 WHERE name = 'customer'; DELETE FROM plain;")
    connection.close()
    restored(bench, engine, part, staged(engine, part, data), Chosen(("plain", "customer")))
    assert rows(path, "SELECT rowid FROM plain ORDER BY 1") == [(number,) for number in range(1, 16) if number != 3]
    assert rows(path, "SELECT seq FROM sqlite_sequence WHERE name = 'customer'") == [(500,)]


def test_a_table_beside_is_for_looking_things_up(bench: Bench, path: Path) -> None:
    """It has no foreign key that would act on the live rows, and the application may go on meanwhile."""
    engine, part, scratch = changed(bench, path)
    before = sqlite.content(path)
    chosen = Chosen(("booking", "setting", "customer", ODD), "_restored")
    restored(bench, engine, part, scratch, chosen)
    after = sqlite.content(path)
    assert {key: value for key, value in after.items() if key in before and key != "schema"} == {
        key: value for key, value in before.items() if key != "schema"
    }
    assert rows(path, "SELECT COUNT(*), MAX(price), MAX(cents), MAX(label) FROM booking_restored") == [
        (160, 137.75, 13775, "#99")
    ]
    assert rows(path, "PRAGMA foreign_key_list(booking_restored)") == []
    assert definitions(path, "booking_restored")[-1][0] == "table"
    assert ("index", "by_customer_restored") in [one[:2] for one in definitions(path, "booking_restored")]
    assert [one for one in definitions(path, "booking_restored") if one[0] == "trigger"] == []
    plan = rows(path, "EXPLAIN QUERY PLAN SELECT * FROM booking_restored WHERE id = 3")
    assert "INTEGER PRIMARY KEY" in plan[0][3]
    assert rows(path, f'SELECT COUNT(*) FROM "{ODD.replace(chr(34), chr(34) * 2)}_restored"') == [(1,)]
    with pytest.raises(Refused, match=r'there is a table "booking_restored" already.*another include_suffix'):
        engine.check_chosen(part, chosen)


def test_what_others_wrote_stays_when_a_table_beside_is_taken_back(bench: Bench, path: Path) -> None:
    engine, part, scratch = changed(bench, path)
    step = bench.step()
    engine.swap_chosen(part, scratch, Chosen(("booking",), "_restored"), step)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO new VALUES (2)")
    connection.commit()
    connection.close()
    before = sqlite.content(path)
    engine.undo(step)
    after = sqlite.content(path)
    assert set(before) - set(after) == {"table booking_restored"}
    assert rows(path, "SELECT x FROM new") == [(1,), (2,)]


# Refused -----------------------------------------------------------------------------------------


def test_rows_that_would_lose_their_parent_stop_it_and_nothing_is_changed(bench: Bench, path: Path) -> None:
    engine, part, scratch = changed(
        bench, path, "DELETE FROM customer WHERE id = 3; DELETE FROM booking WHERE customer = 3;"
    )
    before = sqlite.content(path)
    with pytest.raises(Refused, match=r"20 rows of booking would refer to rows of customer .*Include customer too"):
        engine.swap_chosen(part, scratch, Chosen(("booking",)), bench.step())
    assert sqlite.content(path) == before
    restored(bench, engine, part, scratch, Chosen(("booking", "customer")))
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert rows(path, "SELECT COUNT(*) FROM booking") == [(160,)]


def test_rows_that_stay_must_keep_their_parent(bench: Bench, path: Path) -> None:
    since = "INSERT INTO customer (id, name) VALUES (77, 'x'); INSERT INTO booking (customer, price) VALUES (77, 1);"
    engine, part, scratch = changed(bench, path, since)
    before = sqlite.content(path)
    assert any(
        "booking refers to customer and stays" in one for one in engine.check_chosen(part, Chosen(("customer",)))
    )
    with pytest.raises(Refused, match=r"1 rows of booking would refer to rows of customer .*Include booking too"):
        engine.swap_chosen(part, scratch, Chosen(("customer",)), bench.step())
    assert sqlite.content(path) == before


def test_orphans_that_were_there_before_are_no_reason_to_refuse(bench: Bench, path: Path) -> None:
    engine, part, scratch = changed(bench, path, "DELETE FROM customer WHERE id = 3;")  # not enforced by default
    restored(bench, engine, part, scratch, Chosen(("booking",)))
    assert rows(path, "SELECT COUNT(*) FROM booking") == [(160,)]


@pytest.mark.parametrize(
    ("since", "chosen", "why"),
    [
        ("", Chosen(("search_content",)), "belongs to the virtual table search"),
        ("", Chosen(("search_content",), "_x"), "belongs to the virtual table search"),
        ("CREATE TABLE plain_x (a)", Chosen(("plain",), "_x"), 'a table "plain_x" already'),
        ("CREATE VIEW plain_x AS SELECT 1", Chosen(("plain",), "_x"), 'a view "plain_x" already'),
        ("DROP TABLE plain; CREATE VIEW plain AS SELECT 1", Chosen(("plain",)), '"plain" is a view in the live file'),
    ],
)
def test_what_cannot_be_is_refused(bench: Bench, path: Path, since: str, chosen: Chosen, why: str) -> None:
    engine, part, scratch = changed(bench, path, since)
    before = sqlite.content(path)
    with pytest.raises(Refused, match=why):
        engine.check_chosen(part, chosen)
    with pytest.raises(OpsError, match=why):
        engine.swap_chosen(part, scratch, chosen, bench.step())
    assert sqlite.content(path) == before


def test_another_encoding_is_refused(bench: Bench, path: Path) -> None:
    engine, part, _scratch = changed(bench, path, encoding="UTF-16le")
    path.unlink()
    sqlite.make(path, large=10).close()
    with pytest.raises(Refused, match="live file is in UTF-8 and the backup in UTF-16le"):
        engine.check_chosen(part, Chosen(("plain",)))


@pytest.mark.parametrize(
    "since", ["ALTER TABLE setting ADD COLUMN more", "DROP TABLE setting; CREATE TABLE setting (k);"]
)
def test_another_definition_is_replaced_with_a_warning(bench: Bench, path: Path, since: str) -> None:
    engine, part, scratch = changed(bench, path, since)
    restored(bench, engine, part, scratch, Chosen(("setting",)))
    assert [row[1] for row in rows(path, "PRAGMA table_info(setting)")] == ["key", "value"]
    assert any("table setting has other columns in the backup (key, value)" in one for one in bench.warnings)


def test_a_search_index_of_the_table_earns_a_warning(bench: Bench, path: Path) -> None:
    since = "CREATE VIRTUAL TABLE found USING fts5 (value, content='plain');"
    engine, part, _scratch = changed(bench, path, since)
    assert any("virtual table found" in one for one in engine.check_chosen(part, Chosen(("plain",))))


# Killed ------------------------------------------------------------------------------------------


def killed_inside(number: int, work: Any) -> bool:
    """Killed within the transaction, right after the N-th table."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def dying(function: Any) -> Any:
            def call(*arguments: Any) -> None:
                nonlocal count
                function(*arguments)
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            return call

        sqlite_chosen._remake = dying(sqlite_chosen._remake)
        sqlite_chosen._copy = dying(sqlite_chosen._copy)
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.faults
@pytest.mark.parametrize("suffix", ["", "_restored"])
@pytest.mark.parametrize("what", ["swap", "transaction", "undo", "finish"])
def test_killed_anywhere_it_is_undone_or_finished(bench: Bench, path: Path, suffix: str, what: str) -> None:
    engine, part, scratch = changed(bench, path)
    chosen = Chosen(("booking", "setting"), suffix)
    pristine = shutil.copytree(path.parent, bench.root / "pristine")
    before = sqlite.content(path)
    number, killed = 1, True
    while killed:
        shutil.rmtree(path.parent)
        shutil.copytree(pristine, path.parent)
        swap = partial(engine.swap_chosen, part, scratch, chosen, bench.step())
        if what == "swap":
            killed = killed_at(number, swap)
        elif what == "transaction":
            killed = killed_inside(number, swap)
        else:
            swap()
            killed = killed_at(number, partial(getattr(engine, what), bench.recorded()))
        step = bench.recorded()
        (engine.finish if what == "finish" else engine.undo)(step)
        (engine.finish if what == "finish" else engine.undo)(step)
        after = sqlite.content(path)
        if what == "finish":
            assert rows(path, f"SELECT COUNT(*) FROM booking{suffix}") == [(160,)], number
        else:
            assert after == before, number
        assert bench.scratch() == [f"{scratch}.sqlite"], number
        number += 1
    assert number > 2


@pytest.mark.faults
@pytest.mark.parametrize("suffix", ["", "_restored"])
def test_a_fault_in_the_middle_is_undone(bench: Bench, path: Path, suffix: str) -> None:
    """The second table's index has the name of another one that is live."""
    since = "DROP TRIGGER noted; CREATE TRIGGER noted AFTER INSERT ON plain BEGIN SELECT 1; END;"
    if suffix:
        since = "CREATE INDEX by_customer_restored ON plain (value);"
    engine, part, scratch = changed(bench, path, since)
    before = sqlite.content(path)
    with pytest.raises(OpsError, match="already exists"):
        engine.swap_chosen(part, scratch, Chosen(("setting", "booking"), suffix), bench.step())
    assert sqlite.content(path) == before
    assert bench.scratch() == [f"{scratch}.sqlite"]
