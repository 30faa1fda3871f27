# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small application again, with MariaDB, MySQL or PostgreSQL in the place of SQLite."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import mariadb, mysql, postgres
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.mysql import Mysql
from tests.integration.support.postgres import Postgres
from tests.integration.support.recovery import State, World, end_processes_of, tree_content, unique_app

ROW = 4000  # bytes of a photo


@dataclasses.dataclass
class ServerWorld(World):
    """An application whose database `name` is on a server."""

    server: Any = None
    name: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def engine(self) -> str:
        if isinstance(self.server, Mysql):
            return "mysql"
        return "mariadb" if isinstance(self.server, Mariadb) else "postgresql"

    @property
    def dump_tool(self) -> str:
        return {"mariadb": "mariadb-dump", "mysql": "mysqldump", "postgresql": "pg_dump"}[self.engine]

    @property
    def load_tool(self) -> str:
        return {"mariadb": "mariadb", "mysql": "mysql", "postgresql": "pg_restore"}[self.engine]

    @property
    def _like_mariadb(self) -> bool:
        return self.engine in ("mariadb", "mysql")

    def datastores(self) -> list[dict[str, Any]]:
        options = {**self.server.options, **self.options}
        return [
            {"name": "main", "engine": self.engine, "database": self.name, **options},
            {"name": "uploads", "engine": "files", "paths": [str(self.uploads)]},
        ]

    def deploy(self) -> None:
        for path in (self.uploads, self.env_file.parent):
            path.mkdir(parents=True)
        for statement in _MARIADB if self._like_mariadb else _POSTGRESQL:
            database = None if statement.startswith("CREATE DATABASE") else self.name
            self.execute(statement.replace("{name}", self.name), database)
        self.add_orders("first", 20)
        self.add_upload("two.txt", "grün 🚲\n".encode())

    def execute(self, statement: str, database: str | None = None) -> None:
        if self._like_mariadb:
            self.server.run(statement, database=database)
        else:
            self.server.run(statement, database or "postgres")

    def add_orders(self, item: str, count: int = 1) -> None:
        photo = (bytes(range(256)) * (ROW // 256)).hex()
        values = ", ".join(f"('{item} {number} 🚲', {self._binary(photo)})" for number in range(count))
        self.execute(f"INSERT INTO orders (item, photo) VALUES {values}", self.name)

    def _binary(self, digits: str) -> str:
        return f"x'{digits}'" if self._like_mariadb else f"'\\x{digits}'::bytea"

    def grow(self, megabytes: int) -> None:
        """Rows that hardly compress, so that a dump of them takes its time."""
        kind = "LONGTEXT" if self._like_mariadb else "TEXT"
        self.execute(f"CREATE TABLE ballast (id INT PRIMARY KEY, noise {kind})", self.name)
        for number in range(megabytes):
            self.execute(f"INSERT INTO ballast VALUES ({number}, '{os.urandom(1 << 19).hex()}')", self.name)

    def damage(self) -> None:
        self.execute("DROP TABLE orders CASCADE", self.name)
        self.execute("CREATE TABLE damage (id INT)", self.name)
        self.add_upload("damage", b"x")

    def state(self) -> State:
        return {"main": self.content(), "uploads": tree_content(self.uploads)}

    def content(self) -> State:
        """Rows by table and the definitions of everything else; not what only this server counts (ids, costs)."""
        questions = _ASK_MARIADB if self._like_mariadb else _ASK_POSTGRESQL
        rows = {what: self.server.rows(question, self.name) for what, question in questions.items()}
        for (table,) in rows["tables"]:
            rows[f"table {table}"] = self.server.rows(f"SELECT * FROM {table} ORDER BY 1", self.name)
        return rows

    def leftovers(self) -> list[str]:
        return [*super().leftovers(), *(name for name in self.server.databases() if name.startswith("day2_"))]


_MARIADB = (
    "CREATE DATABASE `{name}` CHARACTER SET utf8mb4",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, item VARCHAR(200), photo LONGBLOB) ENGINE=InnoDB",
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, order_id INT, "
    "CONSTRAINT to_order FOREIGN KEY (order_id) REFERENCES orders (id))",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
    "INSERT INTO alembic_version VALUES ('9f1c2d3e4a5b')",
    "CREATE VIEW named AS SELECT id, item FROM orders",
    "CREATE TRIGGER logged AFTER INSERT ON orders FOR EACH ROW INSERT INTO log (order_id) VALUES (NEW.id)",
    "CREATE PROCEDURE count_orders() SELECT COUNT(*) FROM orders",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM log",
)
_POSTGRESQL = (
    'CREATE DATABASE "{name}"',
    "CREATE TABLE orders (id SERIAL PRIMARY KEY, item TEXT, photo BYTEA)",
    "CREATE TABLE log (id SERIAL PRIMARY KEY, order_id INT REFERENCES orders (id))",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
    "INSERT INTO alembic_version VALUES ('9f1c2d3e4a5b')",
    "CREATE VIEW named AS SELECT id, item FROM orders",
    "CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO log (order_id) VALUES (NEW.id); RETURN NULL; END $$",
    "CREATE TRIGGER logged AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION log_it()",
)
_ASK_MARIADB = {
    "tables": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1",
    "views": "SELECT table_name, REPLACE(view_definition, DATABASE(), '') FROM information_schema.views WHERE table_schema = DATABASE()",
    "triggers": "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    "routines": "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = DATABASE()",
    "events": "SELECT event_name, event_definition, status FROM information_schema.events WHERE event_schema = DATABASE()",
    "constraints": "SELECT table_name, constraint_name, referenced_table_name FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()",
}
_ASK_POSTGRESQL = {
    "tables": "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "routines": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
}

# One of each kind in `make test`: what differs between a host and a container is held by the engines' tests.
SERVERS = [
    pytest.param("mariadb_on_host", marks=[pytest.mark.mariadb, pytest.mark.full]),
    pytest.param("mariadb_in_container", marks=[pytest.mark.mariadb, pytest.mark.docker]),
    pytest.param("mysql_in_container", marks=[pytest.mark.mysql, pytest.mark.docker, pytest.mark.full]),
    pytest.param("mysql_from_host", marks=[pytest.mark.mysql, pytest.mark.docker, pytest.mark.full]),
    pytest.param("postgres_on_host", marks=pytest.mark.postgresql),
    pytest.param("postgres_in_container", marks=[pytest.mark.postgresql, pytest.mark.docker, pytest.mark.full]),
]


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerWorld]:
    """The application on each server, deployed, with an empty repository."""
    yield from serve(request.getfixturevalue(request.param), tmp_path)


def serve(server: Mariadb | Postgres, directory: Path) -> Iterator[ServerWorld]:
    name = f"t{secrets.token_hex(4)}"
    world = ServerWorld(directory / "world", unique_app(), server=server, name=name, lock_timeout=10)
    world.root.mkdir()
    try:
        world.deploy()
        world.create_repository()
        yield world
    finally:
        end_processes_of(world.key)
        if isinstance(server, Mysql):
            mysql.remove(server, name)
        elif isinstance(server, Mariadb):
            mariadb.remove(server, name)
        else:
            postgres.remove(server, name)


def with_backups(world: ServerWorld, count: int) -> dict[str, State]:
    """So many backups, each of another state, and a change after the last one."""
    earlier = {}
    for number in range(count):
        world.change(f"day {number}")
        earlier[world.backup()] = world.state()
    world.change("today")
    return earlier
