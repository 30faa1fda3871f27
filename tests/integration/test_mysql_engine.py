# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL, dumped and restored on a real server: what comes back, and what must not."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import mysql_content as content
from tests.integration.support.mariadb import wait_until
from tests.integration.support.mariadb_content import differences
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
from tests.integration.support.mysql import Mysql
from tests.integration.support.mysql_content import witness
from tests.integration.support.servers import serve

pytestmark = [pytest.mark.mysql, pytest.mark.docker]


@pytest.fixture
def database(mysql_database: str) -> str:
    return mysql_database


# What comes back -------------------------------------------------------------------------------------


def test_everything_in_a_database_comes_back(mysql: Mysql, database: str, tmp_path: Path) -> None:
    content.fill(mysql, database, big=20_000_000 if mysql.kind == "container" else 1_000_000)
    before = witness(mysql, database)
    part = back_up(engine_for(mysql, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    assert part.fingerprint.objects == {"event": 2, "routine": 4, "sequence": 0, "trigger": 6, "view": 5}
    assert part.fingerprint.tables["kinds"].checksum
    assert part.schema_revision == "abc123"

    content.damage(mysql, database)
    damaged = witness(mysql, database)
    assert differences(before, damaged)

    engine = engine_for(mysql, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    assert differences(damaged, witness(mysql, database)) == [], "staging touched the live database"
    assert mysql.value("SELECT @@GLOBAL.max_allowed_packet") == 32 << 20, "the server's limit is not what it was"

    step = journal_step(tmp_path)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    assert "\n".join(differences(before, witness(mysql, database))) == ""

    engine_for(mysql, database, tmp_path).undo(read_step(tmp_path))
    assert differences(damaged, witness(mysql, database)) == [], "undo does not bring it all back"

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert "\n".join(differences(before, witness(mysql, database))) == ""
    histograms = (
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = DATABASE()"
    )
    assert mysql.rows(histograms, database) == [("parents", "name")]
    assert [name for name in mysql.databases() if name.startswith("day2_")] == []


def test_a_lost_database_comes_back(mysql_in_container: Mysql, database: str, tmp_path: Path) -> None:
    server = mysql_in_container
    content.fill(server, database)
    before = witness(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    server.run(f"DROP DATABASE `{database}`")

    engine = engine_for(server, database, tmp_path)
    assert not engine.target().exists
    scratch = staged(engine, part, tmp_path / "dump")
    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    assert "\n".join(differences(before, witness(server, database))) == ""
    engine.undo(read_step(tmp_path))
    assert database not in server.databases()


def test_a_copy_under_another_name_is_on_its_own(mysql_in_container: Mysql, database: str, tmp_path: Path) -> None:
    server, copy = mysql_in_container, f"{database}-copy"
    content.fill(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    with pytest.raises(Refused, match=r"trigger named, event yearly name the database .* would act on it"):
        engine_for(server, copy, tmp_path).accepts(part)

    # These name the live database, and this one's definer may do nothing in the copy.
    server.run("DROP EVENT yearly", "DROP TRIGGER named", "DROP VIEW b_others", database=database)
    before = witness(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    restore(engine_for(server, copy, tmp_path), part, tmp_path / "dump", tmp_path)
    assert "\n".join(differences(before, witness(server, copy))) == ""
    server.run(f"DROP DATABASE `{database}`")
    server.run("INSERT INTO parted VALUES (500, 1)", database=copy)
    assert server.rows("SELECT what FROM log WHERE id > 300 OR what IN ('first', 'second', 'third')", copy)
    assert server.rows("SELECT twice FROM z_base WHERE id = 3", copy) == [(6,)]


def test_a_changed_value_is_found_by_the_full_fingerprint(
    mysql_in_container: Mysql, database: str, tmp_path: Path
) -> None:
    server = mysql_in_container
    content.fill(server, database)
    engine = engine_for(server, database, tmp_path)
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    scratch = load(engine, part, tmp_path / "dump")
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    server.run("DROP TRIGGER t_big", database=scratch)  # its definer may do nothing here
    objects = {**part.fingerprint.objects, "trigger": part.fingerprint.objects["trigger"] - 1}
    part = dataclasses.replace(part, fingerprint=dataclasses.replace(part.fingerprint, objects=objects))
    for table, change in {
        "kinds": "UPDATE kinds SET hidden = 43 WHERE id = 1",
        "parents": "UPDATE parents SET name = CONCAT(name, ' ') WHERE id = 7",
        "big": "UPDATE big SET v = CONCAT(LEFT(v, LENGTH(v) - 1), 'x')",
        "select": "UPDATE `select` SET `group by` = NULL",
        "functional": "UPDATE functional SET doc = JSON_SET(doc, '$.tags', CAST('[3, 6]' AS JSON)) WHERE id = 1",
    }.items():
        server.run("SET sql_mode = ''", change, database=scratch)
        found = part.fingerprint.differences(engine.staged(part, scratch))
        assert any(f"table {table}:" in line for line in found), table
    # The value of a column whose default is an expression is its own, not a generated one.
    again = load(engine, part, tmp_path / "dump")
    server.run("UPDATE kinds SET uid = 'altered', born = born WHERE id = 2", database=again)
    assert any("table kinds:" in line for line in part.fingerprint.differences(engine.staged(part, again)))
    engine.drop_scratch(again)


def test_tables_left_out_keep_their_definition(mysql_in_container: Mysql, database: str, tmp_path: Path) -> None:
    server = mysql_in_container
    content.fill(server, database)
    engine = engine_for(server, database, tmp_path)
    options = DumpOptions("full", ("parted", f"{database}.children", "z_base", "a_over"))
    before = witness(server, database)
    part = back_up(engine, tmp_path / "dump", options)
    assert any("no rows of children, parted" in line for line in engine.accepts(part))
    restore(engine, part, tmp_path / "dump", tmp_path)
    after = witness(server, database)
    assert (
        server.value("SELECT COUNT(*) FROM parted", database)
        == server.value("SELECT COUNT(*) FROM children", database)
        == 0
    )
    assert server.value("SELECT COUNT(*) FROM parents", database) == 200
    for kept in ("definition `children`", "definition `parted`", "trigger first", "trigger third"):
        assert after[kept] == before[kept], kept
    server.run("INSERT INTO children VALUES (1, 1)", "INSERT INTO parted VALUES (1, 1)", database=database)
    assert "definition `z_base`" not in after


def test_an_application_is_proven_lost_and_restored_by_the_modules(mysql_in_container: Mysql, tmp_path: Path) -> None:
    for world in serve(mysql_in_container, tmp_path):
        backup = world.backup(fingerprint="full")
        expected = world.state()
        proof = world.run("backup_verify")["verification"]
        assert (proof["whole"], proof["level"]) == (True, "full")
        world.execute("DROP TABLE log, orders", world.name)
        world.add_upload("later", b"x")
        assert world.restore(backup="latest_verified", kill_at=(12, "after")).killed
        assert world.settle()[0] == "undone"
        restored = world.restore(safety_copy="required")["restore"]
        assert restored["backup"] == backup
        assert restored["safety_backup"]
        assert world.state() == expected
        world.is_clean()


# The same moment ---------------------------------------------------------------------------------------


def test_rows_written_during_a_backup_are_counted_as_the_dump_holds_them(
    mysql_in_container: Mysql, database: str, tmp_path: Path
) -> None:
    server = mysql_in_container
    server.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))",
        "CREATE TABLE b LIKE a",
        "SET cte_max_recursion_depth = 100000",
        *(f"INSERT INTO {one} (v) {content.numbers(20000)} SELECT REPEAT('x', 200) FROM n" for one in "ab"),
    )
    done, longest = threading.Event(), [0.0]

    def write() -> None:
        with contextlib.closing(server.connect(database, autocommit=False)) as connection:
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
            engine = engine_for(server, database, tmp_path)
            parts.append(back_up(engine, tmp_path / f"dump{number}", DumpOptions(level="full")))
    finally:
        done.set()
        for writer in writers:
            writer.join()
    for number, part in enumerate(parts):
        tables = part.fingerprint.tables
        if tables["a"].rows_max is None:
            assert tables["a"].rows == tables["b"].rows > 20000, "not one moment"
        staged(engine_for(server, database, tmp_path), part, tmp_path / f"dump{number}")
    exact = [part for part in parts if part.fingerprint.tables["a"].rows_max is None]
    assert exact, "the lock was never granted"  # on a machine that is very busy it may fail once
    assert parts[0].fingerprint.tables["a"].rows < parts[2].fingerprint.tables["a"].rows
    assert longest[0] < 5, f"a writer waited {longest[0]:.1f} s"


# What a restore must not do ------------------------------------------------------------------------------


def test_an_event_of_the_backup_never_fires_from_a_staged_copy(
    mysql_in_container: Mysql, database: str, tmp_path: Path
) -> None:
    server = mysql_in_container
    server.run(
        f"CREATE DATABASE `{database}`",
        f"CREATE TABLE `{database}`.orders (id INT PRIMARY KEY)",
        f"CREATE EVENT `{database}`.purge ON SCHEDULE EVERY 1 SECOND DO DELETE FROM `{database}`.orders",
    )
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    server.run(f"DROP EVENT `{database}`.purge", f"INSERT INTO `{database}`.orders VALUES (1), (2)")

    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    fired = time.monotonic() + 2.5  # the scheduler would have run it twice by then
    while time.monotonic() < fired:
        assert server.value("SELECT COUNT(*) FROM orders", database) == 2
        time.sleep(0.2)
    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    server.run(f"INSERT INTO `{database}`.orders VALUES (3)")
    wait_until(lambda: server.value("SELECT COUNT(*) FROM orders", database) == 0, 5, "the restored event's work")
    engine.undo(step)
    assert server.rows(f"SHOW EVENTS FROM `{database}`") == []
    assert server.value("SELECT COUNT(*) FROM orders", database) == 2


def test_a_password_rotated_since_the_backup_stays(mysql_in_container: Mysql, database: str, tmp_path: Path) -> None:
    server, user = mysql_in_container, f"{database}-app"
    content.fill(server, database, big=1000)
    server.run(
        f"CREATE USER `{user}`@`%` IDENTIFIED BY 'the-old-password'",
        f"GRANT ALL ON `{database}`.* TO `{user}`@`%`",
        f"GRANT EXECUTE ON PROCEDURE `{database}`.greet TO `{user}`@`%` WITH GRANT OPTION",
    )
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    server.run(f"ALTER USER `{user}`@`%` IDENTIFIED BY 'the-new-password'")
    for mode in ("missing", "all"):
        engine = engine_for(server, database, tmp_path)
        assert engine.create_accounts(part, mode) == []
        scratch = load(engine, part, tmp_path / "dump")
        step = journal_step(tmp_path)
        engine.swap(part, scratch, step)
        engine.grant_accounts(part, mode)
        engine.finish(step)
        assert server.accepts(user, "the-new-password")
        assert not server.accepts(user, "the-old-password"), f"accounts: {mode} brought a retired password back"
        given = [row[0] for row in server.rows(f"SHOW GRANTS FOR `{user}`@`%`")]
        assert f"GRANT EXECUTE ON PROCEDURE `{database}`.`greet` TO `{user}`@`%` WITH GRANT OPTION" in given


def test_accounts_and_roles_that_are_missing_are_made_with_what_they_may_do_here(
    mysql_in_container: Mysql, database: str, tmp_path: Path
) -> None:
    server, app, role, reader = mysql_in_container, f"{database}-app", f"{database}-role", f"{database}-reader"
    content.fill(server, database, big=1000)
    server.run(
        f"CREATE ROLE `{role}`@localhost",
        f"GRANT SELECT (id), INSERT ON `{database}`.parents TO `{role}`@localhost",
        f"GRANT EXECUTE ON FUNCTION `{database}`.doubled TO `{role}`@localhost",
        f"CREATE USER `{app}`@`%` IDENTIFIED BY 'app-password' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7",
        f"GRANT ALL ON `{database}`.* TO `{app}`@`%`",
        f"GRANT PROCESS, RELOAD, SHOW_ROUTINE ON *.* TO `{app}`@`%`",
        f"CREATE USER `{reader}`@`%` IDENTIFIED BY 'reader-password' COMMENT 'DEFAULT ROLE'",
        f"GRANT `{role}`@localhost TO `{reader}`@`%` WITH ADMIN OPTION",
        f"SET DEFAULT ROLE `{role}`@localhost TO `{reader}`@`%`",
    )
    names = [f"`{app}`@`%`", f"`{role}`@`localhost`", f"`{reader}`@`%`"]
    before = {one: server.rows(f"SHOW GRANTS FOR {one}") for one in names}
    made = {one: server.rows(f"SHOW CREATE USER {one}") for one in names}
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    other = f"{database}-other"
    assert sorted(one["user"] for one in part.facts["accounts"]) == sorted([app, role, reader, other])
    server.run(f"DROP USER {', '.join(names)}, `{other}`@`10.1.%`", f"DROP DATABASE `{database}`")

    none = engine_for(server, database, tmp_path)
    assert none.create_accounts(part, "none") == []
    assert any(f"belong to `{other}`@`10.1.%`, which does not exist here" in line for line in warnings_of(none))

    engine = engine_for(server, database, tmp_path)
    restored = engine.create_accounts(part, "missing")
    assert sorted(restored) == sorted([f"{app}@%", f"{role}@localhost", f"{reader}@%", f"{other}@10.1.%"])
    restore(engine, part, tmp_path / "dump", tmp_path)
    after = {one: server.rows(f"SHOW GRANTS FOR {one}") for one in names}
    for one in names[1:]:
        assert sorted(after[one]) == sorted(before[one])
    assert {one: server.rows(f"SHOW CREATE USER {one}") for one in names} == made
    assert [row[0] for row in after[names[0]]] == [
        f"GRANT USAGE ON *.* TO {names[0]}",
        f"GRANT ALL PRIVILEGES ON `{database}`.* TO {names[0]}",
    ], "a global privilege came back"
    assert server.accepts(app, "app-password")
    with contextlib.closing(server.connect(database, user=reader, password="reader-password")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(id) FROM parents")
            assert cursor.fetchone() == (200,)
    hashes = [one["create"].split(" AS 0x")[1].split(" ")[0] for one in part.facts["accounts"] if one["user"] == app]
    assert engine.context.secrets.strike(f"x {hashes[0]} y") == "x ******** y"
