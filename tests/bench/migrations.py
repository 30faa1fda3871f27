# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations: what is added to the tool's own time, for one revision and for a hundred in a row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tests.bench.figures import OURS, Job, Part, timed, version
from tests.bench.place import Place
from tests.integration.support import mariadb, postgres
from tests.integration.support.migrated import VENV, Migrated, application

ALEMBIC, TASK = "alembic upgrade", "alembic upgrade as a task"
NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
COUNTS = (1, 100)

# What a revision of a real application does: a table with an index, rows, a column that is filled.
_REVISION = """
op.create_table('NAME', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.String(80), nullable=False),
                sa.Column('at', sa.DateTime), sa.Column('price', sa.Numeric(10, 2)))
table = sa.table('NAME', sa.column('id', sa.Integer), sa.column('name', sa.String))
for number in range(20):
    op.bulk_insert(table, [{'id': number + 1, 'name': f'row {number}'}])
op.create_index('by_NAME', 'NAME', ['name'])
op.add_column('NAME', sa.Column('note', sa.Text))
op.execute("UPDATE NAME SET note = name")
"""


def measure(part: Part, place: Place, counts: tuple[int, ...], rounds: int) -> None:
    for engine, name in NAMES.items():
        with _server(engine) as server, application(engine, server) as made:
            for count in counts:
                _chain(made, count)
                job = Job(f"{name}, {count} revision{'s' if count > 1 else ''}")
                part.jobs[f"{engine} {count}"] = job
                for turn in range(rounds):
                    for contender in sorted((OURS, ALEMBIC, TASK), reverse=bool(turn % 2)):
                        job.add(contender, _once(made, place, contender, count))
    part.versions.append(version(str(VENV / "bin" / "alembic"), "--version"))


@contextlib.contextmanager
def _server(engine: str) -> Iterator[Any]:
    """Writes go through to the disk, as they do on real ones."""
    if engine == "mariadb":
        with mariadb.host_server("--innodb-flush-log-at-trx-commit=1") as server:
            yield server
    elif engine == "postgresql":
        unsafe = ("fsync", "log_statement")
        kept = [setting for setting in postgres.SETTINGS if not setting.startswith(unsafe)]
        with mock.patch.object(postgres, "SETTINGS", kept), postgres.host_server() as server:
            yield server
    else:
        yield None


def _chain(made: Migrated, count: int) -> None:
    for path in made.versions.glob("*.py"):
        path.unlink()
    for number in range(count):
        down = f"r{number - 1:03}" if number else None
        made.revision(f"r{number:03}", down, _REVISION.replace("NAME", f"t{number:03}"))


def _once(made: Migrated, place: Place, contender: str, count: int) -> float:
    """Seconds; the database is empty before, and is looked at afterwards."""
    for table in made.tables():
        made.run_sql(f"DROP TABLE {table}")
    for path in made.state.glob("migrations/*"):
        path.unlink()
    arguments = made.arguments(backup=made.backup())
    if contender == OURS:
        seconds = timed(lambda: place.task("day2.ops.migrate", arguments))
    elif contender == TASK:
        command = {"argv": [str(VENV / "bin" / "alembic"), "upgrade", "head"], "chdir": str(made.code)}
        seconds = timed(lambda: place.task("ansible.builtin.command", command, DATABASE_URL=made.url))
    else:
        seconds = timed(lambda: made.alembic("upgrade", "head").check_returncode())
    if len(made.tables()) != count + 1:
        raise RuntimeError(f"{contender} left {len(made.tables())} tables of {count + 1}")
    return seconds
