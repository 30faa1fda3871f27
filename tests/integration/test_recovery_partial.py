# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module restore with include: what it asks, says and leaves alone, and what a kill leaves behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.integration.support import sqlite
from tests.integration.support.kills import Point, all_points
from tests.integration.support.recovery import Seed, World, bytes_below, wait_for_end_of_processes

pytestmark = [pytest.mark.sqlite, pytest.mark.files]

INCLUDE = {"main": ["orders"], "uploads": ["2026", "tuesday.txt"]}


@pytest.fixture
def changed(world: World, seed: Seed) -> World:
    """What is chosen, and what is not, is another one live than in the backup."""
    with world.open() as connection:
        connection.execute("DELETE FROM orders WHERE id > 3")
        connection.execute("INSERT INTO empty VALUES (1)")
        connection.execute("CREATE TABLE newer (id INTEGER)")
    world.add_upload("two.txt", b"now")
    world.add_upload("2026/since", b"now")
    (world.uploads / "tuesday.txt").unlink()
    return world


def expected(before: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """The chosen ones as in the backup, all else as it was."""
    mine = {**before["main"], "table orders": then["main"]["table orders"]}
    kept = {name: node for name, node in before["uploads"].items() if not name.startswith("2026")}
    chosen = {name: node for name, node in then["uploads"].items() if name.startswith(("2026", "tuesday"))}
    return {"main": mine, "uploads": {**kept, **chosen}}


def test_only_what_is_included_comes_back(changed: World, seed: Seed) -> None:
    world = changed
    (backup, then), before = list(seed.earlier.items())[-1], world.state()
    refused = world.run("restore", include=INCLUDE, backup=backup)
    assert "the target is not empty: it holds 1 objects (orders)" in refused.msg
    assert world.state() == before
    checked = world.restore(include=INCLUDE, backup=backup, check_mode=True, safety_copy="required")
    assert world.state() == before
    outcome = world.restore(include=INCLUDE, backup=backup, safety_copy="required")
    assert world.state() == expected(before, then)
    rows = len(then["main"]["table orders"])
    report = outcome["restore"]
    assert report["datastores"] == {
        "main": {
            "engine": "sqlite",
            "rows": rows,
            "tables": {"orders": rows},
            "objects": {},
            "replaced": True,
            "included": ["orders"],
        },
        "uploads": {
            "engine": "files",
            "rows": 0,
            "tables": {},
            "objects": {"byte": 3000 + 700, "file": 2},
            "replaced": True,
            "included": ["2026", "tuesday.txt"],
        },
    }
    assert checked["restore"]["datastores"] == report["datastores"]
    assert checked["diff"] == outcome["diff"]
    assert checked["diff"]["before"].splitlines() == [
        "main: table orders: 3 rows",
        "uploads: byte: 3003",
        "uploads: file: 2",
    ]
    assert checked["diff"]["after"].splitlines() == [
        f"main: table orders: {rows} rows",
        "uploads: byte: 3700",
        "uploads: file: 2",
    ]
    # The safety copy holds all of both datastores.
    world.restore(backup=report["safety_backup"])
    assert world.state() == before
    world.is_clean()


def test_without_only_just_what_include_names_is_restored(changed: World, seed: Seed) -> None:
    world = changed
    (backup, then), before = list(seed.earlier.items())[-1], world.state()
    outcome = world.restore(include={"main": ["orders"]}, backup=backup)
    assert list(outcome["restore"]["datastores"]) == ["main"]
    assert world.state() == {"main": expected(before, then)["main"], "uploads": before["uploads"]}
    outcome = world.restore(include={"main": ["empty"]}, only=["uploads"], backup=backup)
    assert outcome["restore"]["datastores"]["uploads"]["included"] == []
    assert world.state()["uploads"] == then["uploads"]
    assert world.state()["main"]["table empty"] == []
    assert ("table", "newer", "CREATE TABLE newer (id INTEGER)") in world.state()["main"]["schema"]


def test_beside_nothing_is_replaced_stopped_or_stored(changed: World, seed: Seed) -> None:
    """Without `replace`; the application holds the file open and goes on writing."""
    world = changed
    (backup, then), before, ids = list(seed.earlier.items())[-1], world.state(), world.snapshot_ids()
    with sqlite.holder(world.database, "BEGIN", "SELECT * FROM orders"):
        checked = world.run("restore", include=INCLUDE, include_suffix="_then", backup=backup, check_mode=True)
        outcome = world.run("restore", include=INCLUDE, include_suffix="_then", backup=backup)
    report = outcome["restore"]
    assert (report["stopped"], report["safety_backup"]) == ([], "")
    assert report["datastores"]["main"]["included"] == ["orders_then"]
    assert report["datastores"]["main"]["tables"] == {"orders_then": len(then["main"]["table orders"])}
    assert [one["replaced"] for one in report["datastores"].values()] == [False, False]
    assert checked["restore"]["datastores"] == report["datastores"]
    assert checked["diff"]["before"].splitlines() == ["uploads: byte: 0", "uploads: file: 0"]
    assert world.snapshot_ids() == ids
    state = world.state()
    assert state["main"].pop("table orders_then") == then["main"]["table orders"]
    state["main"]["schema"] = [one for one in state["main"]["schema"] if "_then" not in one[1]]
    assert state["main"] == before["main"]
    assert (world.uploads / "tuesday.txt_then").read_bytes() == b"tuesday" * 100
    assert {name: node for name, node in state["uploads"].items() if "_then" not in name} == before["uploads"]
    again = world.run("restore", include=INCLUDE, include_suffix="_then", backup=backup)
    assert 'there is a table "orders_then" already' in again.msg
    world.is_clean()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"include": {"main": ["ordes"]}}, r'holds no table or collection "ordes".*Did you mean orders\?'),
        ({"include": {"uploads": ["2026/on.bin"]}}, r'holds no path "2026/on.bin".*Did you mean 2026/one.bin\?'),
        ({"include": {"uploads": ["one.bin"]}}, r'holds no path "one.bin".*Did you mean 2026/one.bin\?'),
        ({"include": {"uploads": ["../data"]}}, "leads out of where it begins"),
        ({"include": {"nowhere": ["x"]}}, 'include names "nowhere", which is no datastore of'),
        ({"include": {"main": []}}, 'include of "main" is no list of names'),
        ({"include": {"main": "orders"}}, 'include of "main" is no list of names'),
        ({"include": {"main": ["orders", 5.5]}}, 'include of "main" is no list of names'),
        ({"include_suffix": "_x"}, "include_suffix is given without include"),
        ({"include": {"main": ["orders"]}, "include_suffix": "/../x"}, "cannot be the end of a name"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    changed: World, arguments: dict[str, Any], why: str, check_mode: bool
) -> None:
    before = bytes_below(changed.root / "app")
    refused = changed.restore(check_mode=check_mode, **arguments)
    assert refused.failed
    assert re.search(why, refused.msg)
    assert bytes_below(changed.root / "app") == before
    changed.is_clean()


def test_a_backup_whose_other_tables_do_not_hold_is_not_believed(changed: World, seed: Seed) -> None:
    """All of it is staged and compared, because that is what proves it."""
    world = changed
    before = world.state()

    def lose_a_row_on_the_way() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._engines.sqlite import SQLite

        staged = SQLite.staged

        def altered(self: SQLite, part: Any, scratch: str) -> Any:
            import sqlite3

            path = self._scratch_file(scratch)
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("DELETE FROM alembic_version")
            connection.close()  # which moves it from the log into the file
            return staged(self, part, scratch)

        SQLite.staged = altered  # type: ignore[method-assign]

    failed = world.restore(include={"main": ["orders"]}, prelude=lose_a_row_on_the_way)
    assert "the restored copy is not what was backed up: table alembic_version" in failed.msg
    assert world.state() == before
    world.is_clean()


A_SLICE = pytest.param([*((number, "before") for number in range(3, 16, 2)), (9, "after"), (13, "after")], id="slice")


@pytest.mark.faults
@pytest.mark.parametrize("points", [pytest.param(None, marks=pytest.mark.full, id="all"), A_SLICE])
@pytest.mark.parametrize("suffix", ["", "_then"])
def test_killed_at_any_point_it_is_whole_or_undone(
    changed: World, seed: Seed, points: Iterable[Point] | None, suffix: str
) -> None:
    world = changed
    (backup, then), before = list(seed.earlier.items())[-1], world.state()
    arguments = {"include": INCLUDE, "include_suffix": suffix, "backup": backup, "replace": not suffix}
    outcomes = set()
    for number, moment in all_points() if points is None else points:
        outcome = world.restore(kill_at=(number, moment), **arguments)
        if not outcome.killed:
            break
        wait_for_end_of_processes(world.key)
        became, _outcome = world.settle()
        outcomes.add(became)
        state = world.state()
        if became != "completed":
            assert state == before, (number, moment, became)
        elif suffix:
            assert state["main"]["table orders_then"] == then["main"]["table orders"]
            break  # a second one would meet the names that are taken now
        else:
            assert state == expected(before, then), (number, moment)
            break
        world.is_clean()
    assert "undone" in outcomes
    assert points is not None or "completed" in outcomes


def test_a_swap_that_fails_takes_the_included_ones_before_it_back(changed: World, seed: Seed) -> None:
    """The database was swapped; of the files one cannot be."""
    world = changed
    before = world.state()
    backup = list(seed.earlier)[-1]

    def fail_at_the_files() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._engines import files_swap

        def failing(entry: Any) -> None:
            raise OSError(5, "Input/output error")

        files_swap._swap_whole = failing

    failed = world.restore(include=INCLUDE, backup=backup, prelude=fail_at_the_files)
    assert "Every datastore is as it was before" in failed.msg
    assert world.state() == before
    world.is_clean()
    assert os.listdir(world.home / "restores") == []
