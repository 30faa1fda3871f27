# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other tools than plain Alembic: an async env.py, Flask-Migrate, a command of the user's."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from tests.integration.support.migrated import Migrated, application

pytestmark = pytest.mark.sqlite

FLASK = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)
Migrate(app, db)
print("the application says something at its start")
"""
FLASK_ENV = """
from alembic import context
from flask import current_app
engine = current_app.extensions["migrate"].db.engine
if context.is_offline_mode():
    context.configure(url=str(engine.url), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
# A tool as somebody might write it: files NAME.sql in their order, and a table that says which have run.
COMMAND = """#!/usr/bin/env python3
import os, pathlib, sqlite3, sys
here = pathlib.Path(__file__).parent / "sql"
database = sqlite3.connect(os.environ["DATABASE_URL"].partition("///")[2])
database.execute("CREATE TABLE IF NOT EXISTS done (name TEXT)")
done = [name for (name,) in database.execute("SELECT name FROM done")]
names = sorted(path.stem for path in here.glob("*.sql"))
verb, *words = sys.argv[1:]
if verb == "current":
    print("\\n".join(done[-1:]))
elif verb == "pending":
    print("\\n".join(f"{name} from a file" for name in names if name not in done))
else:
    database.executescript((here / f"{words[0]}.sql").read_text())
    database.execute("INSERT INTO done VALUES (?)", words)
    database.commit()
"""


@pytest.fixture
def with_async_env() -> Iterator[Migrated]:
    with application("sqlite", None, asynchronous=True) as made:
        made.scheme = "sqlite+aiosqlite"
        yield made


def test_an_async_environment(with_async_env: Migrated) -> None:
    with_async_env.table("a1", None)
    with_async_env.table("b2", "a1")
    assert "CREATE TABLE t_b2" in with_async_env.info()["migration"]["sql"]
    done = with_async_env.migrate()
    assert [one["revision"] for one in done["migration"]["applied"]] == ["a1", "b2"]
    assert with_async_env.at() == ["b2"]
    with_async_env.revision("c3", "b2", "op.create_table('half', sa.Column('id', sa.Integer))\nop.execute('nonsense')")
    outcome = with_async_env.migrate()
    assert outcome.failed and outcome.data["migration"]["half_applied"]["left"] == ["table half was made"]


def test_flask_migrate(on_sqlite: Migrated) -> None:
    (on_sqlite.code / "shop.py").write_text(FLASK)
    (on_sqlite.code / "alembic.ini").rename(on_sqlite.code / "migrations" / "alembic.ini")
    (on_sqlite.code / "migrations" / "env.py").write_text(FLASK_ENV)
    on_sqlite.table("a1", None)
    on_sqlite.table("b2", "a1")
    on_sqlite.extra = {"tool": "flask", "environment": {"DATABASE_URL": on_sqlite.url, "FLASK_APP": "shop"}}
    done = on_sqlite.migrate()
    assert done["migration"]["tool"] == "Flask-Migrate" and on_sqlite.at() == ["b2"]
    assert on_sqlite.migrate()["changed"] is False
    assert on_sqlite.migrate(revision="a1")["migration"]["current"] == ["a1"]
    outcome = on_sqlite.migrate(environment={"DATABASE_URL": on_sqlite.url, "FLASK_APP": "nothing"})
    assert outcome.failed and "nothing" in outcome.msg


def test_a_command_of_the_users(on_sqlite: Migrated) -> None:
    program = on_sqlite.code / "manage"
    program.write_text(COMMAND)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (on_sqlite.code / "sql").mkdir()
    for name in ("001", "002"):
        (on_sqlite.code / "sql" / f"{name}.sql").write_text(f"CREATE TABLE t{name} (id INTEGER);")
    on_sqlite.extra = {
        "tool": "command",
        "venv": None,
        "commands": {
            "current": ["./manage", "current"],
            "pending": ["./manage", "pending"],
            "upgrade": ["./manage", "upgrade", "{revision}"],
        },
    }
    assert on_sqlite.migrate(check=True)["migration"]["pending"][0] == {"revision": "001", "message": "from a file"}
    done = on_sqlite.migrate()
    assert [one["revision"] for one in done["migration"]["applied"]] == ["001", "002"]
    assert any("was not checked" in one for one in done.warnings)
    (on_sqlite.code / "sql" / "003.sql").write_text("CREATE TABLE half (id INTEGER); CREATE TABLE t001 (id INTEGER);")
    outcome = on_sqlite.migrate()
    assert outcome.failed and "revision 003 failed" in outcome.msg and "table t001 already exists" in outcome.msg
    assert outcome.data["migration"]["half_applied"]["left"] == ["table half was made"]
    assert on_sqlite.migrate(revision="000").failed
