# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap of MariaDB and MySQL, killed at each point: undone, or carried out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Step
from ansible_collections.day2.ops.plugins.module_utils._core.model import Part
from ansible_collections.day2.ops.plugins.module_utils._engines.mariadb import MariaDB
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import connection, swapping
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.server import SqlServer
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql_server import MySQL

from tests.integration.support import mariadb, mariadb_content, mysql, mysql_content
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.mariadb_content import Witness, differences
from tests.integration.support.mariadb_engine import (
    Killed,
    back_up,
    engine_for,
    forked,
    journal_step,
    killed_step,
    load,
    read_step,
)
from tests.integration.support.mysql import Mysql

pytestmark = pytest.mark.faults

MP = pytest.MonkeyPatch


@dataclasses.dataclass
class Case:
    """A damaged live database, and a backup of what it was, staged beside it."""

    server: Mariadb
    database: str
    directory: Path
    part: Part
    before: Witness
    damaged: Witness

    def engine(self) -> SqlServer:
        return engine_for(self.server, self.database, self.directory)

    def load(self, engine: SqlServer) -> str:
        return load(engine, self.part, self.directory / "dump")

    def witness(self) -> Witness:
        return content_of(self.server).witness(self.server, self.database)

    def assert_as_before_the_swap(self, engine: SqlServer, scratch: str) -> None:
        assert differences(self.damaged, self.witness()) == []
        assert sorted(name for name in self.server.databases() if name.startswith("day2_")) == [scratch]


def content_of(server: Mariadb) -> Any:
    return mysql_content if isinstance(server, Mysql) else mariadb_content


_MARIADB = pytest.param(("mariadb_on_host", None), id="mariadb", marks=pytest.mark.mariadb)
_MYSQL_MARKS = [pytest.mark.mysql, pytest.mark.docker]
_ONE_BY_ONE = pytest.param(("mysql_in_container", 0), id="mysql-one-by-one", marks=[*_MYSQL_MARKS, pytest.mark.full])
CASES = [_MARIADB, pytest.param(("mysql_in_container", None), id="mysql", marks=_MYSQL_MARKS), _ONE_BY_ONE]
# Where `make test` has seen enough on one of the two.
SLICE = [
    _MARIADB,
    pytest.param(("mysql_in_container", None), id="mysql", marks=[*_MYSQL_MARKS, pytest.mark.full]),
    _ONE_BY_ONE,
]
sliced = pytest.mark.parametrize("case", SLICE, indirect=True)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: MP) -> Iterator[Case]:
    """`one-by-one`: as if there were too many foreign keys for one RENAME TABLE over all tables."""
    fixture, at_once = request.param
    server: Mariadb = request.getfixturevalue(fixture)
    kind = MySQL if isinstance(server, Mysql) else MariaDB
    if at_once is not None:
        monkeypatch.setattr(kind, "FLAVOUR", dataclasses.replace(kind.FLAVOUR, rename_at_once=at_once))
    database = f"t-{secrets.token_hex(4)}"
    user = f"{database}-app"
    try:
        content_of(server).fill(server, database, big=1000)
        server.run(f"CREATE USER `{user}`@`%`", f"GRANT EXECUTE ON PROCEDURE `{database}`.odd TO `{user}`@`%`")
        before = content_of(server).witness(server, database)
        part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
        content_of(server).damage(server, database)
        damaged = content_of(server).witness(server, database)
        yield Case(server, database, tmp_path, part, before, damaged)
    finally:
        (mysql if isinstance(server, Mysql) else mariadb).remove(server, database)


@sliced
def test_a_swap_killed_around_any_save_is_undone(case: Case) -> None:
    engine = case.engine()
    scratch = case.load(engine)
    number, saves = 1, []
    while True:
        for after in (False, True):
            step = killed_step(case.directory, number, after)
            try:
                engine.swap(case.part, scratch, step)
            except Killed:
                saves.append(step.data.get("phase"))
                case.engine().undo(read_step(case.directory))
                case.engine().undo(read_step(case.directory))
                case.assert_as_before_the_swap(engine, scratch)
                continue
            assert saves[1::2] == ["prepared", "dismantle", "rename", "rebuild", "swapped"]
            assert differences(case.before, case.witness()) == []
            engine.finish(read_step(case.directory))
            engine.finish(read_step(case.directory))
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


@pytest.mark.parametrize("step_of", [11, pytest.param(1, marks=pytest.mark.full)])
def test_a_swap_killed_around_its_statements_is_undone(case: Case, step_of: int) -> None:
    engine = case.engine()
    scratch = case.load(engine)
    at, after = 1, True
    while True:
        step = journal_step(case.directory)
        with MP.context() as patched:
            count = statements(patched, at, after)
            try:
                engine.swap(case.part, scratch, step)
            except Killed:
                pass
            else:
                assert count() > 30
                break
        case.engine().undo(read_step(case.directory))
        case.assert_as_before_the_swap(engine, scratch)
        at, after = at + step_of, not after
    assert differences(case.before, case.witness()) == []


def test_an_undo_that_is_killed_is_done_again(case: Case) -> None:
    engine = case.engine()
    scratch = case.load(engine)
    for at in (1, 5, 12, 25, 33):
        engine.swap(case.part, scratch, journal_step(case.directory))
        with MP.context() as patched:
            statements(patched, at, after=bool(at % 2))
            with pytest.raises(Killed):
                case.engine().undo(read_step(case.directory))
        case.engine().undo(read_step(case.directory))
        case.assert_as_before_the_swap(engine, scratch)


@sliced
@pytest.mark.parametrize("phase", ["dismantle", "rename", "rebuild"])
def test_a_swap_whose_process_is_killed_is_undone(case: Case, phase: str) -> None:
    engine = case.engine()
    scratch = case.load(engine)

    def swap() -> None:
        save = Step.save

        def killing(self: Step, **data: Any) -> None:
            save(self, **data)
            if data.get("phase") == phase:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()

        Step.save = killing  # type: ignore[method-assign]
        engine.swap(case.part, scratch, journal_step(case.directory))
        time.sleep(1)

    assert forked(swap) == -signal.SIGKILL
    case.engine().undo(read_step(case.directory))
    case.assert_as_before_the_swap(engine, scratch)


@sliced
def test_a_swap_that_fails_undoes_itself(case: Case, monkeypatch: MP) -> None:
    engine = case.engine()
    scratch = case.load(engine)
    with MP.context() as patched:
        patched.setattr(swapping, "_grant_routines", lambda *_: (_ for _ in ()).throw(Refused("no")))
        with pytest.raises(OpsError):
            engine.swap(case.part, scratch, journal_step(case.directory))
    case.engine().undo(read_step(case.directory))
    case.assert_as_before_the_swap(engine, scratch)


@sliced
def test_tables_in_use_are_not_waited_for_for_ever(case: Case, monkeypatch: MP) -> None:
    kind = type(case.engine())
    session = (*(one for one in kind.FLAVOUR.session if "lock_wait" not in one), "lock_wait_timeout=1")
    monkeypatch.setattr(kind, "FLAVOUR", dataclasses.replace(kind.FLAVOUR, session=session))
    engine = case.engine()
    scratch = case.load(engine)
    with contextlib.closing(case.server.connect(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM `{case.database}`.kinds")  # without choosing the database
        with pytest.raises(Busy, match="are in use and could not be renamed"):
            engine.swap(case.part, scratch, journal_step(case.directory))
    if kind is MySQL:  # there that transaction keeps the database's collation too, which making routines again may need
        case.engine().undo(read_step(case.directory))
    case.assert_as_before_the_swap(engine, scratch)


def test_one_rename_per_table_does_the_same(case: Case, monkeypatch: MP) -> None:
    kind = type(case.engine())
    monkeypatch.setattr(kind, "FLAVOUR", dataclasses.replace(kind.FLAVOUR, rename_at_once=0))
    engine = case.engine()
    scratch = case.load(engine)
    step = journal_step(case.directory)
    engine.swap(case.part, scratch, step)
    assert differences(case.before, case.witness()) == []
    engine.undo(step)
    case.assert_as_before_the_swap(engine, scratch)
    for at in (20, 30):  # in the middle of the renames
        with MP.context() as patched:
            statements(patched, at, after=True)
            with pytest.raises(Killed):
                engine.swap(case.part, scratch, journal_step(case.directory))
        case.engine().undo(read_step(case.directory))
        case.assert_as_before_the_swap(engine, scratch)
