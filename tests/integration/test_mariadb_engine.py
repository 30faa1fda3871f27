# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB, dumped and restored on real servers: what comes back, and what must not."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pymysql
import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import mariadb_content as content
from tests.integration.support.mariadb import Mariadb, wait_until
from tests.integration.support.mariadb_engine import (
    back_up,
    engine_for,
    journal_step,
    load,
    read_step,
    restore,
    staged,
    warnings_of,
)

pytestmark = pytest.mark.mariadb


@pytest.fixture
def database(mariadb_database: str) -> str:
    return mariadb_database


@pytest.fixture
def on_host(mariadb_database_on_host: str) -> str:
    return mariadb_database_on_host


# What comes back -------------------------------------------------------------------------------------


def test_everything_in_a_database_comes_back(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    content.fill(mariadb, database, big=20_000_000)
    before = content.witness(mariadb, database)
    part = back_up(engine_for(mariadb, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    assert part.fingerprint.tables["versioned"].rows == 3, "the history of a system-versioned table counts"
    assert part.fingerprint.objects == {"event": 2, "routine": 5, "sequence": 1, "trigger": 4, "view": 4}
    assert part.schema_revision == "abc123"

    content.damage(mariadb, database)
    damaged = content.witness(mariadb, database)
    assert content.differences(before, damaged)

    engine = engine_for(mariadb, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    assert content.differences(damaged, content.witness(mariadb, database)) == [], "staging touched the live database"
    assert mariadb.value("SELECT @@GLOBAL.max_allowed_packet") == 32 << 20, "the server's limit is not what it was"

    step = journal_step(tmp_path)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    assert content.differences(before, content.witness(mariadb, database)) == []

    engine_for(mariadb, database, tmp_path).undo(read_step(tmp_path))
    assert content.differences(damaged, content.witness(mariadb, database)) == [], "undo does not bring it all back"

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert content.differences(before, content.witness(mariadb, database)) == []
    assert [name for name in mariadb.databases() if name.startswith("day2_")] == []


def test_a_lost_database_comes_back_and_its_defaults_draw_from_its_own_sequence(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host)
    before = content.witness(mariadb_on_host, on_host)
    part = back_up(engine_for(mariadb_on_host, on_host, tmp_path), tmp_path / "dump")
    mariadb_on_host.run(f"DROP DATABASE `{on_host}`")

    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    assert not engine.target().exists
    scratch = staged(engine, part, tmp_path / "dump")
    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    assert content.differences(before, content.witness(mariadb_on_host, on_host)) == []
    engine.undo(read_step(tmp_path))
    assert on_host not in mariadb_on_host.databases()

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert content.differences(before, content.witness(mariadb_on_host, on_host)) == []
    mariadb_on_host.run("INSERT INTO drawn (v) VALUES ('new')", database=on_host)


def test_a_copy_under_another_name_is_on_its_own(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host)
    mariadb_on_host.run("DROP EVENT yearly", "DROP TRIGGER named", database=on_host)  # these name the live database
    before = content.witness(mariadb_on_host, on_host)
    part = back_up(engine_for(mariadb_on_host, on_host, tmp_path), tmp_path / "dump")

    copy = f"{on_host}-copy"
    restore(engine_for(mariadb_on_host, copy, tmp_path), part, tmp_path / "dump", tmp_path)
    found = content.witness(mariadb_on_host, copy)
    assert {key: value for key, value in found.items() if "drawn" not in key and "b_draw" not in key} == {
        key: value for key, value in before.items() if "drawn" not in key and "b_draw" not in key
    }
    printed = mariadb_on_host.rows("SHOW CREATE TABLE drawn", copy)[0][1]
    assert f"nextval(`{copy}`.`numbers`)" in printed
    mariadb_on_host.run(f"DROP DATABASE `{on_host}`")
    mariadb_on_host.run("INSERT INTO drawn (v) VALUES ('new')", "INSERT INTO parted VALUES (500, 1)", database=copy)
    assert [row[0] for row in mariadb_on_host.rows("SELECT twice FROM z_base WHERE id = 3", copy)] == [6]


def test_a_copy_that_would_act_on_the_live_database_is_refused(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host)
    part = back_up(engine_for(mariadb_on_host, on_host, tmp_path), tmp_path / "dump")
    with pytest.raises(Refused, match=r"trigger named, event yearly name the database .* would act on it"):
        engine_for(mariadb_on_host, f"{on_host}-copy", tmp_path).accepts(part)
    assert engine_for(mariadb_on_host, on_host, tmp_path).accepts(part) == []


def test_a_changed_value_is_found_by_the_full_fingerprint(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    scratch = load(engine, part, tmp_path / "dump")
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    for table, change in {
        "kinds": "UPDATE kinds SET hidden = 43 WHERE id = 1",
        "parents": "UPDATE parents SET name = CONCAT(name, ' ') WHERE id = 7",
        "big": "UPDATE big SET v = CONCAT(LEFT(v, LENGTH(v) - 1), 'x')",
        "select": "UPDATE `select` SET `group by` = NULL",
    }.items():
        mariadb_on_host.run("SET sql_mode = ''", change, database=scratch)
        assert any(f"table {table}:" in line for line in part.fingerprint.differences(engine.staged(part, scratch))), (
            table
        )
    engine.drop_scratch(scratch)


def test_tables_left_out_keep_their_definition(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    with pytest.raises(Refused, match=r"has no table or view paren.*Did you mean parents"):
        engine.describe(DumpOptions(exclude_tables=("paren",)))
    with pytest.raises(Refused, match=r"a_over \(reads z_base\) could not be restored"):
        engine.describe(DumpOptions(exclude_tables=("z_base",)))
    options = DumpOptions("full", ("log", f"{on_host}.children", "z_base", "a_over"))
    part = back_up(engine, tmp_path / "dump", options)
    assert any("no rows of children, log" in line for line in engine.accepts(part))
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert mariadb_on_host.value("SELECT COUNT(*) FROM log", on_host) == 0
    assert mariadb_on_host.value("SELECT COUNT(*) FROM parents", on_host) == 200
    mariadb_on_host.run("INSERT INTO children VALUES (1, 1)", database=on_host)
    assert "z_base" not in [row[0] for row in mariadb_on_host.rows("SHOW TABLES", on_host)]


def test_how_fresh_the_data_are_is_part_of_the_fingerprint(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host)
    newest = {"table": "kinds", "column": "dt"}
    engine = engine_for(mariadb_on_host, on_host, tmp_path, newest=newest)
    part = back_up(engine, tmp_path / "dump")
    assert part.fingerprint.newest == "9999-12-31 23:59:59.999999"
    assert engine.staged(part, load(engine, part, tmp_path / "dump")).newest == part.fingerprint.newest
    with pytest.raises(Refused, match="newest: the table kinds has no column when"):
        engine_for(mariadb_on_host, on_host, tmp_path, newest={**newest, "column": "when"}).describe(DumpOptions())


# The same moment ---------------------------------------------------------------------------------------


def test_rows_written_during_a_backup_are_counted_as_the_dump_holds_them(
    mariadb: Mariadb, database: str, tmp_path: Path
) -> None:
    mariadb.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))",
        "CREATE TABLE b LIKE a",
        "INSERT INTO a (v) SELECT REPEAT('x', 200) FROM seq_1_to_20000",
        "INSERT INTO b (v) SELECT REPEAT('x', 200) FROM seq_1_to_20000",
    )
    done, longest = threading.Event(), [0.0]

    def write() -> None:
        with contextlib.closing(mariadb.connect(database, autocommit=False)) as connection:
            while not done.is_set():
                begun = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO a (v) VALUES ('w')")
                    cursor.execute("INSERT INTO b (v) VALUES ('w')")
                connection.commit()
                longest[0] = max(longest[0], time.monotonic() - begun)
                done.wait(0.002)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        parts = []
        for number in range(3):
            engine = engine_for(mariadb, database, tmp_path)
            parts.append(back_up(engine, tmp_path / f"dump{number}", DumpOptions(level="full")))
    finally:
        done.set()
        for writer in writers:
            writer.join()
    for number, part in enumerate(parts):
        tables = part.fingerprint.tables
        if tables["a"].rows_max is None:
            assert tables["a"].rows == tables["b"].rows > 20000, "not one moment"
        staged(engine_for(mariadb, database, tmp_path), part, tmp_path / f"dump{number}")
    exact = [part for part in parts if part.fingerprint.tables["a"].rows_max is None]
    assert exact, "the lock was never granted"  # on a machine that is very busy it may fail once
    assert parts[0].fingerprint.tables["a"].rows < parts[2].fingerprint.tables["a"].rows
    assert longest[0] < 5, f"a writer waited {longest[0]:.1f} s"


def test_tables_without_transactions_are_named_and_counted_as_a_range(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    assert any("old_style (MyISAM)" in line for line in engine.describe(DumpOptions()).warnings)
    grow = "INSERT INTO old_style VALUES (2, 'two'), (3, 'three')"
    part = back_up(engine, tmp_path / "dump", while_running=lambda: mariadb_on_host.run(grow, database=on_host))
    found = part.fingerprint.tables["old_style"]
    assert (found.rows, found.rows_max) == (1, 3)
    assert any("old_style: counted as a range" in line for line in warnings_of(engine))
    assert part.fingerprint.tables["parents"].rows_max is None
    staged(engine, part, tmp_path / "dump")


# What a restore must not do ------------------------------------------------------------------------------


def test_an_event_of_the_backup_never_fires_from_a_staged_copy(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    mariadb.run(
        f"CREATE DATABASE `{database}`",
        f"CREATE TABLE `{database}`.orders (id INT PRIMARY KEY)",
        f"CREATE EVENT `{database}`.purge ON SCHEDULE EVERY 1 SECOND DO DELETE FROM `{database}`.orders",
    )
    part = back_up(engine_for(mariadb, database, tmp_path), tmp_path / "dump")
    mariadb.run(f"DROP EVENT `{database}`.purge", f"INSERT INTO `{database}`.orders VALUES (1), (2)")

    engine = engine_for(mariadb, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    fired = time.monotonic() + 2.5  # the scheduler would have run it twice by then
    while time.monotonic() < fired:
        assert mariadb.value("SELECT COUNT(*) FROM orders", database) == 2
        time.sleep(0.2)
    assert mariadb.rows(f"SHOW EVENTS FROM `{scratch}`") == []

    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    mariadb.run(f"INSERT INTO `{database}`.orders VALUES (3)")
    wait_until(lambda: mariadb.value("SELECT COUNT(*) FROM orders", database) == 0, 5, "the restored event's work")
    engine.undo(step)
    assert mariadb.rows(f"SHOW EVENTS FROM `{database}`") == []
    assert mariadb.value("SELECT COUNT(*) FROM orders", database) == 2


def test_a_password_rotated_since_the_backup_stays(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    user = f"{database}-app"
    content.fill(mariadb, database, big=1000)
    mariadb.run(
        f"CREATE USER `{user}`@`%` IDENTIFIED BY 'the-old-password'",
        f"GRANT ALL ON `{database}`.* TO `{user}`@`%`",
        f"GRANT EXECUTE ON PROCEDURE `{database}`.greet TO `{user}`@`%` WITH GRANT OPTION",
    )
    part = back_up(engine_for(mariadb, database, tmp_path), tmp_path / "dump")
    mariadb.run(f"ALTER USER `{user}`@`%` IDENTIFIED BY 'the-new-password'")
    for mode in ("missing", "all"):
        engine = engine_for(mariadb, database, tmp_path)
        assert engine.create_accounts(part, mode) == []
        scratch = load(engine, part, tmp_path / "dump")
        step = journal_step(tmp_path)
        engine.swap(part, scratch, step)
        engine.grant_accounts(part, mode)
        engine.finish(step)
        assert mariadb.accepts(user, "the-new-password")
        assert not mariadb.accepts(user, "the-old-password"), f"accounts: {mode} brought a retired password back"
        given = [row[0] for row in mariadb.rows(f"SHOW GRANTS FOR `{user}`@`%`")]
        assert f"GRANT EXECUTE ON PROCEDURE `{database}`.`greet` TO `{user}`@`%` WITH GRANT OPTION" in given


def test_accounts_that_are_missing_are_made_with_what_they_may_do_here(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    server, app, role, reader = mariadb_on_host, f"{on_host}-app", f"{on_host}-role", f"{on_host}-reader"
    content.fill(server, on_host, big=1000)
    server.run(
        f"CREATE USER `{app}`@`%` IDENTIFIED BY 'app-password' WITH MAX_USER_CONNECTIONS 7",
        f"GRANT ALL ON `{on_host}`.* TO `{app}`@`%`",
        f"GRANT PROCESS, RELOAD ON *.* TO `{app}`@`%`",
        f"CREATE ROLE `{role}`",
        f"GRANT SELECT (id), INSERT ON `{on_host}`.parents TO `{role}`",
        f"GRANT EXECUTE ON FUNCTION `{on_host}`.doubled TO `{role}`",
        "SET sql_mode = ORACLE",
        f"GRANT EXECUTE ON PACKAGE `{on_host}`.tools TO `{role}`",
        "SET sql_mode = DEFAULT",
        f"CREATE USER `{reader}`@localhost IDENTIFIED VIA unix_socket",
        f"GRANT `{role}` TO `{reader}`@localhost",
        f"SET DEFAULT ROLE `{role}` FOR `{reader}`@localhost",
        f"CREATE DEFINER = `{app}`@`%` VIEW `{on_host}`.theirs AS SELECT 1 AS one",
    )
    accounts = [f"`{app}`@`%`", f"`{role}`", f"`{reader}`@localhost"]
    before = {one: server.rows(f"SHOW GRANTS FOR {one}") for one in accounts}
    part = back_up(engine_for(server, on_host, tmp_path), tmp_path / "dump")
    assert sorted(one["user"] for one in part.facts["accounts"]) == sorted([app, role, reader])
    server.run(f"DROP USER `{app}`@`%`, `{reader}`@localhost", f"DROP ROLE `{role}`", f"DROP DATABASE `{on_host}`")

    none = engine_for(server, on_host, tmp_path)
    assert none.create_accounts(part, "none") == []
    assert any(f"belong to `{app}`@`%`, which does not exist here" in line for line in warnings_of(none))

    engine = engine_for(server, on_host, tmp_path)
    restore_accounts = engine.create_accounts(part, "missing")
    assert sorted(restore_accounts) == sorted([f"{app}@%", role, f"{reader}@localhost"])
    restore(engine, part, tmp_path / "dump", tmp_path)
    after = {one: server.rows(f"SHOW GRANTS FOR {one}") for one in accounts}
    for one in accounts[1:]:
        assert sorted(after[one]) == sorted(before[one])
    assert [row[0] for row in after[accounts[0]]][1:] == [f"GRANT ALL PRIVILEGES ON `{on_host}`.* TO {accounts[0]}"]
    assert "PROCESS" not in after[accounts[0]][0][0], "a global privilege came back"
    assert "MAX_USER_CONNECTIONS 7" in after[accounts[0]][0][0]
    assert server.accepts(app, "app-password")
    hashes = [one["create"].split("'")[1] for one in part.facts["accounts"] if one["user"] == app]
    assert engine.context.secrets.strike(f"x {hashes[0]} y") == "x ******** y"


# Around it ---------------------------------------------------------------------------------------------


def test_a_question_to_the_staged_copy_changes_nothing(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    scratch = load(engine, part, tmp_path / "dump")
    assert engine.query(scratch, "SELECT COUNT(*) FROM children") == 1000
    assert engine.query(scratch, "SELECT id FROM nothing") is None
    for statement in ("DELETE FROM children", f"DELETE FROM `{on_host}`.children", "DROP TABLE children"):
        with pytest.raises(OpsError, match="READ ONLY"):
            engine.query(scratch, statement)
    with pytest.raises(Refused, match="is not a scratch database"):
        engine.drop_scratch(on_host)
    engine.drop_scratch(scratch)
    engine.drop_scratch(scratch)
    assert scratch not in mariadb_on_host.databases()


def test_what_other_runs_left_is_swept(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    mariadb_on_host.run(f"CREATE DATABASE `{on_host}`")
    left, kept, mine = (engine_for(mariadb_on_host, on_host, tmp_path) for _ in range(3))
    names = [one.context.scratch_name("main", "stage") for one in (left, kept, mine)]
    old = left.context.scratch_name("main", "old")
    for name in (*names, old):
        mariadb_on_host.run(f"CREATE DATABASE `{name}`")
    with contextlib.closing(mariadb_on_host.connect(names[0])):
        assert mine.sweep([kept.context.run_id]) == [names[0]]
    assert [name for name in mariadb_on_host.databases() if name.startswith("day2_")] == sorted([*names[1:], old])


def test_sessions_of_others_are_seen_and_ended(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    mariadb.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    engine = engine_for(mariadb, database, tmp_path)
    assert engine.sessions() == []
    with contextlib.closing(mariadb.connect(database, autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
        found = engine.sessions()
        assert [(one.user, bool(one.address)) for one in found] == [("root", True)]
        assert engine.close_sessions() == found
        assert engine.sessions() == []
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute("SELECT 1")
    assert mariadb.value("SELECT COUNT(*) FROM t", database) == 0
    reach = engine.reach()
    assert reach.database == database
    assert (reach.container is not None) == (mariadb.kind == "container")
    assert reach.port


def test_socket_authentication_as_a_system_user(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    access = {"host": None, "port": None, "user": "mysql", "password": None}
    options = {**access, "socket": mariadb_on_host.socket, "run_as": "mysql"}
    part = back_up(engine_for(mariadb_on_host, on_host, tmp_path, **options), tmp_path / "dump")
    staged(engine_for(mariadb_on_host, on_host, tmp_path, **options), part, tmp_path / "dump")
    with pytest.raises(OpsError, match='refuses the user "mysql"'):
        engine_for(mariadb_on_host, on_host, tmp_path, **{**options, "run_as": None}).ping()
