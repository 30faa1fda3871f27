# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MySQL database with everything that a dump may lose. `mariadb_content` has the witness of what it holds."""

from __future__ import annotations

import contextlib

from . import mariadb_content
from .mariadb_content import Witness, quoted
from .mysql import Mysql

_ODD = "odd `name` \"with\" 'quotes', ü and ∑"
_NUMBERS = "WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {}) "


def numbers(until: int) -> str:
    """A common table expression `n` with the numbers from 1, for INSERT … SELECT."""
    return _NUMBERS.format(until)


def fill(server: Mysql, database: str, big: int = 2_000_000) -> None:
    """Make the database. `big`: bytes of its largest value."""
    server.run(
        f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        f"CREATE USER `{database}-other`@`10.1.%` IDENTIFIED BY 'the-other-password'",
        f"GRANT ALL ON `{database}`.* TO `{database}-other`@`10.1.%`",
    )
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for statement in (*_tables(), *_objects(database)):
            cursor.execute(statement)
        every_byte = bytes(range(256))
        cursor.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute(
            "INSERT INTO kinds (bin, vb, lb, emoji, txt, js, d, dt, ts, f, db, dc, bits, en, st, y, t, geo, latin, vec, hidden) "
            "VALUES (%s, %s, %s, %s, %s, %s, '0000-00-00', '9999-12-31 23:59:59.499999', '1970-01-02 00:00:01', 0.5, "
            "3.3333333333333335, '12345678901234.567891', b'101', 'b', 'a,c', 2155, '-838:59:59', "
            "ST_GeomFromText('POINT(1 2)'), 'é', STRING_TO_VECTOR('[1,2.5,-3]'), 42)",
            (
                every_byte[:8],
                every_byte,
                every_byte * 10,
                "😀 四字",
                "line\nbreak\r\n\ttab\\ 'q' \"d\" `b` ; -- \x00\x1a",
                '{"a": [1, 2.50, "😀", null], "when": true}',
            ),
        )
        cursor.execute("INSERT INTO kinds () VALUES ()")  # NULL and defaults everywhere
        cursor.execute("INSERT INTO kinds (d, dt) VALUES ('2024-02-30', '0000-00-00 00:00:00')")
        cursor.execute("SET SESSION sql_mode = DEFAULT")
        cursor.execute("INSERT INTO kinds (js) VALUES (JSON_OBJECT('d', CAST('2024-01-02' AS DATE), 'b', x'00ff'))")
        cursor.execute("INSERT INTO big VALUES (1, REPEAT(%s, %s), 'after')", (every_byte, max(1, big // 256)))
        cursor.execute(f"INSERT INTO parents {numbers(200)} SELECT seq, CONCAT('parent ', seq) FROM n")
        cursor.execute(f"INSERT INTO children (id, parent) {numbers(1000)} SELECT seq, 1 + seq % 200 FROM n")
        cursor.execute(f"INSERT INTO {quoted(_ODD)} VALUES (1, 'x'), (2, NULL), (2, NULL), (2, NULL)")
        cursor.execute("INSERT INTO `select` (`from`, `group by`) VALUES (1, 'reserved')")
        cursor.execute(f"INSERT INTO parted {numbers(100)} SELECT seq, seq * 7 FROM n")
        cursor.execute("INSERT INTO counted VALUES (NULL), (NULL), (NULL)")
        cursor.execute("DELETE FROM counted WHERE id = 3")
        cursor.execute("INSERT INTO functional (name, doc) VALUES ('Ärger', '{\"tags\": [3, 5]}'), ('b', NULL)")
        cursor.execute("INSERT INTO alembic_version VALUES ('abc123')")
        cursor.execute("INSERT INTO statements VALUES (1, %s)", ("\n".join(_statements(database)),))
        cursor.execute("ANALYZE TABLE parents UPDATE HISTOGRAM ON name WITH 16 BUCKETS")


def witness(server: Mysql, database: str) -> Witness:
    """Everything in a database. MySQL prints a column's character set beside its collation once the column was made
    from a printed definition; that is no difference."""
    found = mariadb_content.witness(server, database)
    for key, value in found.items():
        if key.startswith("definition "):
            found[key] = [one.replace(b" CHARACTER SET utf8mb4 COLLATE", b" COLLATE") for one in value]
    return found


def _tables() -> list[str]:
    return [
        "CREATE TABLE kinds (id INT AUTO_INCREMENT PRIMARY KEY, bin BINARY(8), vb VARBINARY(300), lb LONGBLOB, "
        "emoji VARCHAR(50), txt TEXT, js JSON, d DATE, dt DATETIME(6), ts TIMESTAMP NULL, f FLOAT, db DOUBLE, "
        "dc DECIMAL(30,6), bits BIT(9), en ENUM('a','b'), st SET('a','b','c'), y YEAR, t TIME, "
        "geo GEOMETRY SRID 0, latin VARCHAR(20) CHARACTER SET latin1, vec VECTOR(3), hidden INT INVISIBLE DEFAULT 7, "
        "uid VARCHAR(36) DEFAULT (UUID()), born TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, "
        "gv INT AS (hidden * 2) VIRTUAL, gs INT AS (hidden * 3) STORED, "
        "CONSTRAINT small CHECK (hidden < 1000), CONSTRAINT off CHECK (hidden > 5000) NOT ENFORCED)",
        "CREATE TABLE big (id INT PRIMARY KEY, v LONGBLOB, note TEXT)",
        "CREATE TABLE nothing (id INT PRIMARY KEY, v TEXT)",
        "CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(50), KEY (name), KEY unseen (name, id) INVISIBLE)",
        # Its name comes before its parent's.
        "CREATE TABLE children (id INT PRIMARY KEY, parent INT, CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
        f"CREATE TABLE {quoted(_ODD)} (id INT, {quoted('a column, `q` ' + chr(34) + 'ü')} VARCHAR(20))",
        "CREATE TABLE `select` (`from` INT PRIMARY KEY, `group by` VARCHAR(20)) COMMENT 'two\nlines; USE x'",
        "CREATE TABLE `dash-ed` (id INT PRIMARY KEY)",
        "CREATE TABLE parted (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) "
        "(PARTITION low VALUES LESS THAN (50), PARTITION high VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE functional (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), doc JSON, "
        "KEY lowered ((LOWER(name))), KEY tagged ((CAST(doc->'$.tags' AS UNSIGNED ARRAY))), KEY down (name DESC))",
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
        "CREATE VIEW z_base AS SELECT id, doubled(id) AS twice, 'ü😀' AS sign FROM parents WHERE id <= 10",
        "CREATE VIEW a_over AS SELECT z.id, c.id AS child FROM z_base z JOIN children c ON c.parent = z.id",
        f"CREATE VIEW m_named AS SELECT `{database}`.parents.id FROM `{database}`.parents",
        "CREATE SQL SECURITY INVOKER VIEW with_cte AS WITH few AS (SELECT id FROM parents LIMIT 3) SELECT * FROM few",
        f"CREATE DEFINER = `{database}-other`@`10.1.%` VIEW b_others AS SELECT id, doubled(id) AS twice FROM parents WHERE id = 3",
        "CREATE TRIGGER second BEFORE INSERT ON parted FOR EACH ROW INSERT INTO log (what) VALUES ('second')",
        "CREATE TRIGGER first BEFORE INSERT ON parted FOR EACH ROW PRECEDES second INSERT INTO log (what) VALUES ('first')",
        "CREATE TRIGGER third BEFORE INSERT ON parted FOR EACH ROW FOLLOWS first INSERT INTO log (what) VALUES ('third')",
        f"CREATE TRIGGER `{database}`.named\nAFTER DELETE ON `{database}`.nothing FOR EACH ROW\n"
        f"  DELETE FROM `{database}`.parents",
        f"CREATE DEFINER = `{database}-other`@`10.1.%` TRIGGER t_big AFTER UPDATE ON big FOR EACH ROW "
        "INSERT INTO log (what) VALUES ('😀')",
        f"CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01 00:00:00' COMMENT 'ü' DO DELETE FROM `{database}`.children",
        "CREATE EVENT off ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE DISABLE DO SELECT 1",
        f"ALTER DATABASE `{database}` COLLATE utf8mb4_0900_as_cs",
        # Made under another collation of the database than the others.
        "CREATE FUNCTION later(x VARCHAR(10)) RETURNS VARCHAR(10) DETERMINISTIC RETURN x",
        "CREATE TRIGGER t_log BEFORE INSERT ON log FOR EACH ROW SET NEW.what = TRIM(NEW.what)",
    ]


def _statements(database: str) -> list[str]:
    """Data that look like the lines that are watched or rewritten on their way into scratch."""
    return [
        "",
        f"USE `{database}`;",
        f"CREATE DATABASE `{database}`;",
        f"ALTER DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci ;",
        "DELIMITER ;;",
        f"DROP DATABASE `{database}`;",
    ]


def damage(server: Mysql, database: str) -> None:
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
