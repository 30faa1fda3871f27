# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MariaDB database with everything that a dump may lose, and a witness of what a database holds.

The witness reads rows as the bytes that the server sends, so it owes nothing to the engine.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .mariadb import Mariadb

Witness = dict[str, Any]

_ODD = "odd `name` \"with\" 'quotes', ü and ∑"


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def fill(server: Mariadb, database: str, big: int = 2_000_000) -> None:
    """Make the database. `big`: bytes of its largest value."""
    server.run(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for statement in (*_tables(), *_objects(database)):
            cursor.execute(statement)
        every_byte = bytes(range(256))
        cursor.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute(
            "INSERT INTO kinds (bin, vb, lb, emoji, txt, js, d, dt, ts, f, db, dc, bits, en, st, y, t, ip, uid, geo, latin, hidden) "
            "VALUES (%s, %s, %s, %s, %s, %s, '0000-00-00', '9999-12-31 23:59:59.999999', '1970-01-02 00:00:01', 0.5, "
            "3.3333333333333335, '12345678901234.567891', b'101', 'b', 'a,c', 2155, '-838:59:59', '::1', "
            "'123e4567-e89b-12d3-a456-426655440000', ST_GeomFromText('POINT(1 2)'), 'é', 42)",
            (
                every_byte[:8],
                every_byte,
                every_byte * 10,
                "😀 四字",
                "line\nbreak\r\n\ttab\\ 'q' \"d\" `b` ; -- \x00\x1a",
                '{"a": [1, "😀"]}',
            ),
        )
        cursor.execute("INSERT INTO kinds () VALUES ()")  # NULL and defaults everywhere
        cursor.execute("INSERT INTO kinds (d, dt) VALUES ('2024-02-30', '0000-00-00 00:00:00')")
        cursor.execute("SET SESSION sql_mode = DEFAULT")
        cursor.execute("INSERT INTO big VALUES (1, REPEAT(%s, %s), 'after')", (every_byte, max(1, big // 256)))
        cursor.execute("INSERT INTO parents SELECT seq, CONCAT('parent ', seq) FROM seq_1_to_200")
        cursor.execute("INSERT INTO children (id, parent) SELECT seq, 1 + seq % 200 FROM seq_1_to_1000")
        cursor.execute(f"INSERT INTO {quoted(_ODD)} VALUES (1, 'x'), (2, NULL), (2, NULL), (2, NULL)")
        cursor.execute("INSERT INTO `select` (`from`, `group by`) VALUES (1, 'reserved')")
        cursor.execute("INSERT INTO parted SELECT seq, seq * 7 FROM seq_1_to_100")
        cursor.execute("INSERT INTO drawn (v) VALUES ('a'), ('b')")
        cursor.execute("INSERT INTO versioned VALUES (1, 'first'), (2, 'second')")
        cursor.execute("UPDATE versioned SET v = 'changed' WHERE id = 1")
        cursor.execute("DELETE FROM versioned WHERE id = 2")
        cursor.execute("INSERT INTO counted VALUES (NULL), (NULL), (NULL)")
        cursor.execute("DELETE FROM counted WHERE id = 3")
        cursor.execute("INSERT INTO alembic_version VALUES ('abc123')")
        cursor.execute("INSERT INTO statements VALUES (1, %s)", ("\n".join(_statements(database)),))


def _tables() -> list[str]:
    return [
        "CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 5 CACHE 10",
        "SELECT NEXTVAL(numbers)",
        "CREATE TABLE kinds (id INT AUTO_INCREMENT PRIMARY KEY, bin BINARY(8), vb VARBINARY(300), lb LONGBLOB, "
        "emoji VARCHAR(50), txt TEXT, js JSON, d DATE, dt DATETIME(6), ts TIMESTAMP NULL, f FLOAT, db DOUBLE, "
        "dc DECIMAL(30,6), bits BIT(9), en ENUM('a','b'), st SET('a','b','c'), y YEAR, t TIME, ip INET6, uid UUID, "
        "geo GEOMETRY, latin VARCHAR(20) CHARACTER SET latin1, hidden INT INVISIBLE DEFAULT 7, "
        "gv INT AS (hidden * 2) VIRTUAL, gs INT AS (hidden * 3) STORED, CHECK (hidden < 1000))",
        "CREATE TABLE big (id INT PRIMARY KEY, v LONGBLOB, note TEXT)",
        "CREATE TABLE nothing (id INT PRIMARY KEY, v TEXT)",
        "CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(50), KEY (name))",
        # Its name comes before its parent's.
        "CREATE TABLE children (id INT PRIMARY KEY, parent INT, CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
        f"CREATE TABLE {quoted(_ODD)} (id INT, {quoted('a column, `q` ' + chr(34) + 'ü')} VARCHAR(20))",
        "CREATE TABLE `select` (`from` INT PRIMARY KEY, `group by` VARCHAR(20)) COMMENT 'two\nlines; USE x'",
        "CREATE TABLE `dash-ed` (id INT PRIMARY KEY)",
        "CREATE TABLE parted (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) "
        "(PARTITION low VALUES LESS THAN (50), PARTITION high VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE drawn (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), v VARCHAR(10))",
        "CREATE TABLE versioned (id INT PRIMARY KEY, v VARCHAR(20)) WITH SYSTEM VERSIONING",
        "CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100))",
        "CREATE TABLE old_style (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM",
        "INSERT INTO old_style VALUES (1, 'one')",
        "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
        "CREATE TABLE statements (id INT PRIMARY KEY, v TEXT)",
    ]


def _objects(database: str) -> list[str]:
    return [
        "CREATE FUNCTION doubled(x INT) RETURNS INT DETERMINISTIC RETURN x * 2",
        "CREATE PROCEDURE greet() COMMENT 'é' SELECT 'ü😀' AS greeting",
        "CREATE PROCEDURE odd()\r\nBEGIN\r\n  -- USE other\r\n  SELECT 1 FROM parents\nUSE INDEX (name);\r\nEND",
        "SET sql_mode = ORACLE",
        "CREATE PACKAGE tools AS FUNCTION one RETURN INT; END",
        "CREATE PACKAGE BODY tools AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END",
        "SET sql_mode = DEFAULT",
        "CREATE VIEW z_base AS SELECT id, doubled(id) AS twice, 'ü😀' AS sign FROM parents WHERE id <= 10",
        "CREATE VIEW a_over AS SELECT z.id, c.id AS child FROM z_base z JOIN children c ON c.parent = z.id",
        f"CREATE VIEW m_named AS SELECT `{database}`.parents.id FROM `{database}`.parents",
        "CREATE VIEW b_draw AS SELECT PREVIOUS VALUE FOR numbers AS n",
        "CREATE TRIGGER second BEFORE INSERT ON parted FOR EACH ROW INSERT INTO log (what) VALUES ('second')",
        "CREATE TRIGGER first BEFORE INSERT ON parted FOR EACH ROW PRECEDES second INSERT INTO log (what) VALUES ('first')",
        f"CREATE TRIGGER `{database}`.named\nAFTER DELETE ON `{database}`.nothing FOR EACH ROW\n"
        f"  DELETE FROM `{database}`.parents",
        "CREATE TRIGGER t_big AFTER UPDATE ON big FOR EACH ROW INSERT INTO log (what) VALUES ('😀')",
        f"CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01 00:00:00' COMMENT 'ü' DO DELETE FROM `{database}`.children",
        "CREATE EVENT off ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE DISABLE DO SELECT 1",
    ]


def _statements(database: str) -> list[str]:
    """Data that look like the lines that are watched or rewritten on their way into scratch."""
    return [
        "",
        f"USE `{database}`;",
        f"CREATE DATABASE `{database}`;",
        f"  `id` int(11) NOT NULL DEFAULT nextval(`{database}`.`numbers`),",
        "DELIMITER ;;",
        f"DROP DATABASE `{database}`;",
    ]


def damage(server: Mariadb, database: str) -> None:
    server.run(
        "SET foreign_key_checks = 0",
        "DROP TABLE children",
        "DELETE FROM parents WHERE id > 5",
        "UPDATE kinds SET emoji = 'gone'",
        "DROP VIEW a_over",
        "DROP PROCEDURE greet",
        "DROP TRIGGER first",
        "DROP EVENT off",
        "CREATE TABLE newer (id INT PRIMARY KEY)",
        "INSERT INTO newer VALUES (1)",
        "CREATE TRIGGER newer_trigger BEFORE INSERT ON newer FOR EACH ROW SET NEW.id = NEW.id + 1",
        "CREATE TABLE refers (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES newer (id))",
        "CREATE PROCEDURE newer_procedure() SELECT 2",
        "CREATE EVENT newer_event ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01 00:00:00' DO SELECT 1",
        "CREATE VIEW newer_view AS SELECT * FROM newer",
        f"ALTER DATABASE `{database}` CHARACTER SET latin1 COLLATE latin1_german1_ci",
        database=database,
    )


# The witness ---------------------------------------------------------------------------------------------


def witness(server: Mariadb, database: str) -> Witness:
    """Everything in a database, by names that say what it is; {} where there is none."""
    if database not in server.databases():
        return {}
    found: Witness = {}
    with (
        contextlib.closing(server.connect(database, use_unicode=False, conv={})) as connection,
        connection.cursor() as cursor,
    ):

        def ask(statement: str) -> list[tuple[Any, ...]]:
            cursor.execute(statement)
            return list(cursor.fetchall())

        ask("SET SESSION time_zone = '+00:00', character_set_results = NULL")
        where = f"'{database}'"
        found["database"] = ask(
            f"SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {where}"
        )
        for raw, kind in ask(
            f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {where}"
        ):
            table = quoted(raw.decode())
            if kind == b"SEQUENCE":
                found[f"sequence {table}"] = ask(f"SHOW CREATE SEQUENCE {table}") + ask(f"SELECT * FROM {table}")
                continue
            found[f"definition {table}"] = [row[1] for row in ask(f"SHOW CREATE TABLE {table}")]
            if table != "`b_draw`":
                columns = ", ".join(
                    quoted(row[0].decode())
                    for row in ask(
                        f"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {where} AND TABLE_NAME = '{raw.decode().replace(chr(39), chr(39) * 2)}' ORDER BY ORDINAL_POSITION"
                    )
                )
                history = "FOR SYSTEM_TIME ALL" if kind == b"SYSTEM VERSIONED" else ""
                found[f"rows {table}"] = sorted(ask(f"SELECT {columns} FROM {table} {history}"), key=repr)
        triggers = ask(
            f"SELECT TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {where}"
        )
        for name, order in triggers:
            made = ask(f"SHOW CREATE TRIGGER {quoted(name.decode())}")[0]
            # Names of the database before the trigger's and the table's do not matter.
            found[f"trigger {name.decode()}"] = (
                order,
                [
                    part.replace(f"`{database}`.".encode(), b"") if isinstance(part, bytes) else part
                    for part in made[:6]
                ],
            )
        for name, kind in ask(
            f"SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {where}"
        ):
            found[f"{kind.decode()} {name.decode()}"] = ask(f"SHOW CREATE {kind.decode()} {quoted(name.decode())}")
        for (name,) in ask(f"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {where}"):
            found[f"event {name.decode()}"] = ask(f"SHOW CREATE EVENT {quoted(name.decode())}")
        found["privileges on routines"] = sorted(
            ask(f"SELECT User, Host, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv WHERE Db = {where}"),
            key=repr,
        )
    return found


def differences(before: Witness, after: Witness) -> list[str]:
    lines = []
    for key in sorted(set(before) | set(after)):
        if before.get(key) != after.get(key):
            lines.append(f"{key}: {_short(before.get(key))} became {_short(after.get(key))}")
    return lines


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 1200 else f"{shown[:600]} … {shown[-600:]}"
