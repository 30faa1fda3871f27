# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB's backup in MySQL, and the reverse: refused unless it is allowed, and then by name what cannot be."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, ToolFailed
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import mysql as mysql_support
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.mariadb import remove as remove_mariadb
from tests.integration.support.mariadb_engine import back_up, engine_for, load, restore, warnings_of
from tests.integration.support.mysql import Mysql
from tests.integration.support.servers import ServerWorld, serve

pytestmark = [pytest.mark.mysql, pytest.mark.mariadb, pytest.mark.docker]


@pytest.fixture
def from_mariadb(mariadb_on_host: Mariadb, tmp_path: Path) -> Iterator[ServerWorld]:
    yield from serve(mariadb_on_host, tmp_path)


@pytest.fixture
def name(mysql_in_container: Mysql, mariadb_on_host: Mariadb) -> Iterator[str]:
    """Of databases on both servers."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    mysql_support.remove(mysql_in_container, name)
    remove_mariadb(mariadb_on_host, name)


def test_a_backup_of_mariadb_goes_into_mysql_when_that_is_allowed(
    from_mariadb: ServerWorld, mysql_in_container: Mysql
) -> None:
    world = from_mariadb
    world.execute(f"CREATE USER `{world.name}-app`@`%` IDENTIFIED BY 'a-password'")
    world.execute(f"GRANT ALL ON `{world.name}`.* TO `{world.name}-app`@`%`")
    world.backup()
    expected = world.content()
    there = dataclasses.replace(world, server=mysql_in_container)
    try:
        for module in ("restore", "backup_verify"):
            more = {"replace": True, "safety_copy": "none"} if module == "restore" else {}
            refused = there.run(module, **more)
            assert 'the backup holds "main" as mariadb, it is described as mysql' in refused.msg
            assert "allow_flavour_change allows that" in refused.msg
        assert world.name not in mysql_in_container.databases()
        assert there.run("backup_verify", allow_flavour_change=True)["verification"]["whole"]
        done = there.restore(allow_flavour_change=True)
        assert done["changed"]
        told = " ".join(done.warnings)
        assert "a backup of MariaDB is loaded into MySQL: accounts and their privileges are not carried over" in told
        assert f"accounts are not carried over from another kind of server; make them here: {world.name}-app@%" in told
        found = there.content()
        # MySQL prints names and bodies of views its own way.
        assert {key: value for key, value in found.items() if key not in ("views", "events")} == {
            key: value for key, value in expected.items() if key not in ("views", "events")
        }
        assert [row[0] for row in found["views"]] == ["named"]
        assert [(row[0], row[2]) for row in found["events"]] == [("nightly", "ENABLED")]
        there.add_orders("made afterwards")
        assert mysql_in_container.value("SELECT COUNT(*) FROM log", world.name) == len(expected["table log"]) + 1
        assert not there.leftovers()
    finally:
        mysql_support.remove(mysql_in_container, world.name)


def test_what_mysql_does_not_have_is_refused_by_name(
    mariadb_on_host: Mariadb, mysql_in_container: Mysql, name: str, tmp_path: Path
) -> None:
    mariadb_on_host.run(
        f"CREATE DATABASE `{name}`",
        f"USE `{name}`",
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CREATE SEQUENCE numbers",
        "CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
    )
    part = back_up(engine_for(mariadb_on_host, name, tmp_path), tmp_path / "dump")
    engine = engine_for(mysql_in_container, name, tmp_path)
    with pytest.raises(Refused, match="the backup was made of mariadb"):
        engine.accepts(part)
    engine.context.allow_flavour_change = True
    with pytest.raises(Refused, match="holds sequences and system-versioned tables, which MySQL does not have"):
        engine.accepts(part)

    # A type is known to the server alone: it says so while the scratch copy is loaded.
    mariadb_on_host.run("DROP TABLE versioned", "DROP SEQUENCE numbers", "CREATE TABLE ip (a INET6)", database=name)
    part = back_up(engine_for(mariadb_on_host, name, tmp_path), tmp_path / "dump")
    engine.accepts(part)
    with pytest.raises(ToolFailed, match=r"loading ended at: ERROR 1064 .*inet6"):
        load(engine, part, tmp_path / "dump")
    engine.drop_scratch(engine.context.scratch_name("main", "stage"))
    assert name not in mysql_in_container.databases()


def test_a_backup_of_mysql_goes_into_mariadb_where_its_collations_are_known(
    mysql_in_container: Mysql, mariadb_on_host: Mariadb, name: str, tmp_path: Path
) -> None:
    mysql_in_container.run(
        f"CREATE DATABASE `{name}` COLLATE utf8mb4_0900_ai_ci",
        f"USE `{name}`",
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
    )
    engine = engine_for(mariadb_on_host, name, tmp_path)
    engine.context.allow_flavour_change = True
    part = back_up(engine_for(mysql_in_container, name, tmp_path), tmp_path / "dump")
    with pytest.raises(Refused, match=r"does not know the collation utf8mb4_0900_ai_ci.*of the kind that the backup"):
        engine.accepts(part)

    mysql_in_container.run(
        f"DROP DATABASE `{name}`",
        f"CREATE DATABASE `{name}` COLLATE utf8mb4_unicode_ci",
        f"USE `{name}`",
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
        "SET sql_mode = 'STRICT_TRANS_TABLES,TIME_TRUNCATE_FRACTIONAL'",
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), j JSON, h INT INVISIBLE DEFAULT 7, "
        "g INT AS (CHAR_LENGTH(v)) STORED, u VARCHAR(36) DEFAULT (UUID()))",
        "INSERT INTO t (v, j) VALUES ('😀', '{\"a\":1}'), (NULL, NULL)",
        "CREATE TABLE l (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id))",
        "CREATE VIEW w AS SELECT id, v FROM t",
        "CREATE TRIGGER tr BEFORE INSERT ON l FOR EACH ROW SET NEW.t = 1",
        "CREATE PROCEDURE p() SELECT COUNT(*) FROM t",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01 00:00:00' DO DELETE FROM l",
    )
    part = back_up(engine_for(mysql_in_container, name, tmp_path), tmp_path / "dump", DumpOptions("full"))
    assert any("invisibility of columns" in line for line in engine.accepts(part))
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert mariadb_on_host.rows("SELECT id, v, j, g FROM t ORDER BY id", name) == [
        (1, "😀", '{"a": 1}', 1),
        (2, None, None, None),
    ]
    assert mariadb_on_host.rows("SELECT * FROM w ORDER BY id", name) == [(1, "😀"), (2, None)]
    mariadb_on_host.run("INSERT INTO l VALUES (5, NULL)", database=name)
    assert mariadb_on_host.rows("SELECT t FROM l", name) == [(1,)]
    assert mariadb_on_host.rows("SELECT EVENT_NAME, SQL_MODE FROM information_schema.EVENTS", name) == [
        ("e", "STRICT_TRANS_TABLES")
    ]
    assert warnings_of(engine) == []
