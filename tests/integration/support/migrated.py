# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications with real Alembic (sync, async, Flask-Migrate) on real databases, in a virtual environment of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import mariadb, modules, mysql, postgres
from tests.integration.support.modules import ROOT, Outcome
from tests.integration.support.recovery import unique_app

VENV = ROOT / ".venv" / "migrate"

_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
{extra}
url = os.environ["DATABASE_URL"]
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, dialect_opts={{"paramstyle": "named"}}, target_metadata={metadata})
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata={metadata})
        with context.begin_transaction():
            context.run_migrations()
"""
_ASYNC_ENV = """
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

if context.is_offline_mode():
    context.configure(url=os.environ["DATABASE_URL"], literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(main())
"""


@dataclasses.dataclass
class Migrated:
    """An application below `root` whose revisions a test writes, and its database."""

    root: Path
    engine: str
    server: Any
    name: str  # of the database
    app: str = dataclasses.field(default_factory=unique_app)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    scheme: str = ""

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def versions(self) -> Path:
        return self.code / "migrations" / "versions"

    @property
    def file(self) -> Path:
        return self.root / "data" / "main.db"

    @property
    def state(self) -> Path:
        return self.root / "state" / f"{self.app}-production"

    @property
    def url(self) -> str:
        if self.engine == "sqlite":
            return f"{self.scheme or 'sqlite'}:///{self.file}"
        password = (postgres if self.engine == "postgresql" else mariadb).PASSWORD
        if self.engine == "mysql":
            password = mysql.PASSWORD
        user = "postgres" if self.engine == "postgresql" else "root"
        scheme = self.scheme or ("postgresql+psycopg" if self.engine == "postgresql" else "mysql+pymysql")
        return f"{scheme}://{user}:{password}@{self.server.host}:{self.server.port}/{self.name}"

    # The application ------------------------------------------------------------------------------

    def deploy(self, asynchronous: bool = False) -> None:
        self.deploy_files(asynchronous)
        self.file.parent.mkdir()
        self._make_database()

    def deploy_files(self, asynchronous: bool = False) -> None:
        self.versions.mkdir(parents=True)
        (self.code / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        env = _ASYNC_ENV if asynchronous else _ENV.format(extra="", metadata="None")
        (self.code / "migrations" / "env.py").write_text(env)

    def _make_database(self) -> None:
        if self.engine == "sqlite":
            sqlite3.connect(self.file).close()
            with contextlib.closing(sqlite3.connect(self.file)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        elif self.engine == "postgresql":
            self.server.run(f'CREATE DATABASE "{self.name}"')
        else:
            self.server.run(f"CREATE DATABASE `{self.name}` CHARACTER SET utf8mb4")

    def with_models(self, models: str) -> None:
        extra = f"from sqlalchemy import *\nmetadata = MetaData()\n{models}\n"
        (self.code / "migrations" / "env.py").write_text(_ENV.format(extra=extra, metadata="metadata"))

    def revision(self, name: str, down: str | None, upgrade: str, downgrade: str = "pass", message: str = "") -> Path:
        """A revision as a developer writes it; `upgrade` and `downgrade` are bodies of functions."""
        text = (
            f'"""{message or "make " + name}"""\nfrom alembic import op\nimport sqlalchemy as sa\n'
            f"revision = {name!r}\ndown_revision = {down!r}\n\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n\n"
            f"def downgrade():\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )
        path = self.versions / f"{name}.py"
        path.write_text(text)
        return path

    def table(self, name: str, down: str | None, table: str | None = None) -> Path:
        """A revision that makes a table, and drops it again."""
        table = table or f"t_{name}"
        return self.revision(
            name,
            down,
            f"op.create_table({table!r}, sa.Column('id', sa.Integer, primary_key=True))",
            f"op.drop_table({table!r})",
        )

    def alembic(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The tool itself, as an operator would run it."""
        return subprocess.run(
            [VENV / "bin" / "alembic", *words],
            cwd=self.code,
            env={**os.environ, "DATABASE_URL": self.url, "PYTHONDONTWRITEBYTECODE": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    # The database ---------------------------------------------------------------------------------

    def run_sql(self, *statements: str) -> None:
        if self.engine == "sqlite":
            with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
                for statement in statements:
                    connection.execute(statement)
        elif self.engine == "postgresql":
            for statement in statements:
                self.server.run(statement, self.name)
        else:
            self.server.run(*statements, database=self.name)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if self.engine == "sqlite":
            with contextlib.closing(sqlite3.connect(self.file)) as connection:
                return [tuple(row) for row in connection.execute(statement)]
        return [tuple(row) for row in self.server.rows(statement, self.name)]

    def tables(self) -> set[str]:
        questions = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
            "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        }
        default = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        return {row[0] for row in self.rows(questions.get(self.engine, default))}

    def at(self) -> list[str]:
        if "alembic_version" not in self.tables():
            return []
        return sorted(row[0] for row in self.rows("SELECT version_num FROM alembic_version"))

    # The modules ----------------------------------------------------------------------------------

    def arguments(self, **more: Any) -> dict[str, Any]:
        if self.engine == "sqlite":
            store: dict[str, Any] = {"path": str(self.file)}
        else:
            store = {**self.server.options, "database": self.name}
        return {
            "app": self.app,
            "state_dir": str(self.root / "state"),
            "datastores": [{"name": "main", "engine": self.engine, **store}],
            "venv": str(VENV),
            "directory": str(self.code),
            "environment": {"DATABASE_URL": self.url},
            **self.extra,
            **more,
        }

    def backup(self) -> str:
        """The id of a backup of now."""
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{secrets.token_hex(3)}"

    def migrate(self, *, check: bool = False, **more: Any) -> Outcome:
        return modules.run("migrate", self.arguments(**{"backup": self.backup(), **more}), check=check)

    def info(self, **more: Any) -> Outcome:
        return modules.run("migrate_info", self.arguments(**more))


@contextlib.contextmanager
def application(engine: str, server: Any, **options: Any) -> Iterator[Migrated]:
    subprocess.run([ROOT / "tests" / "tools" / "environment.sh", "migrate"], check=True, timeout=900)
    root = Path(tempfile.mkdtemp(prefix="day2t-migrate-", dir="/var/tmp"))
    made = Migrated(root, engine, server, f"m{secrets.token_hex(4)}")
    try:
        made.deploy(**options)
        yield made
    finally:
        if engine == "postgresql":
            server.drop(made.name)
        elif engine != "sqlite":
            server.run(f"DROP DATABASE IF EXISTS `{made.name}`")
        shutil.rmtree(root, ignore_errors=True)


SERVERS = {"mariadb": "mariadb_on_host", "mysql": "mysql_in_container", "postgresql": "postgres_on_host"}
ENGINES = [
    pytest.param("sqlite", marks=pytest.mark.sqlite),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mysql", marks=[pytest.mark.mysql, pytest.mark.docker, pytest.mark.full]),
]


@pytest.fixture(params=ENGINES)
def migrated(request: pytest.FixtureRequest) -> Iterator[Migrated]:
    """The application on each kind of database, without a revision."""
    server = request.getfixturevalue(SERVERS[request.param]) if request.param in SERVERS else None
    with application(request.param, server) as made:
        yield made


@pytest.fixture
def on_sqlite() -> Iterator[Migrated]:
    with application("sqlite", None) as made:
        yield made


@pytest.fixture
def on_mariadb(mariadb_on_host: Any) -> Iterator[Migrated]:
    with application("mariadb", mariadb_on_host) as made:
        yield made


@pytest.fixture
def on_postgresql(postgres_on_host: Any) -> Iterator[Migrated]:
    with application("postgresql", postgres_on_host) as made:
        yield made
