# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What migrate_info says before anything is done: SQL, what it would lose, how much it touches, the models."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._migration import sql_lint

from tests.integration.support.migrated import VENV, Migrated


def test_the_sql_from_the_current_revision_on_with_what_it_would_lose(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.migrate()["changed"]
    migrated.run_sql(*(f"INSERT INTO t_a1 (id) VALUES ({number})" for number in range(1, 8)))
    if migrated.engine == "postgresql":
        migrated.run_sql("ANALYZE t_a1")
    migrated.revision(
        "b2", "a1", "op.execute('DELETE FROM t_a1')\nop.create_table('added', sa.Column('id', sa.Integer))"
    )
    migrated.revision("c3", "b2", "op.drop_table('t_a1')", "pass", message="tidy up")
    told = migrated.info()["migration"]
    assert told["current"] == ["a1"] and told["heads"] == ["c3"] and told["complete"] is True
    assert told["pending"][1] == {"revision": "c3", "message": "tidy up"}
    assert "CREATE TABLE added" in told["sql"] and "CREATE TABLE t_a1" not in told["sql"]
    found = {(one["rule"], one["level"], one["revision"]) for one in told["findings"]}
    assert ("delete-all-rows", "destructive", "b2") in found and ("drop-table", "destructive", "c3") in found
    assert ("empty-downgrade", "warning", "c3") in found
    assert told["tables"]["t_a1"] >= (0 if migrated.engine == "mysql" else 1)
    assert told["needs_backup"] is (migrated.engine != "postgresql")
    assert migrated.at() == ["a1"] and "added" not in migrated.tables()
    refused = migrated.migrate(allow_destructive=False)
    assert refused.failed and "lose data" in refused.msg and migrated.at() == ["a1"]


def test_a_revision_that_reads_rows_is_marked_and_the_others_are_shown(on_sqlite: Migrated) -> None:
    on_sqlite.revision(
        "a1", None, "for row in op.get_bind().execute(sa.text('SELECT 1')):\n    op.drop_table('gone')", "pass"
    )
    on_sqlite.table("b2", "a1")
    told = on_sqlite.info()["migration"]
    assert told["complete"] is False
    assert [one["revision"] for one in told["incomplete"]] == ["a1"]
    assert "CREATE TABLE t_b2" in told["sql"]
    assert any(one["rule"] == "code" and "drop_table('gone')" in one["statement"] for one in told["findings"])


def test_looking_makes_no_file(on_sqlite: Migrated) -> None:
    on_sqlite.table("a1", None)

    def files() -> set[str]:
        # SQLite itself keeps a log and its index beside a file in WAL mode that somebody reads, as the file's owner.
        every = {str(path.relative_to(on_sqlite.root)) for path in on_sqlite.root.rglob("*") if path.is_file()}
        return every - {f"data/main.db{suffix}" for suffix in ("-wal", "-shm")}

    before = files()
    on_sqlite.info()["migration"]
    assert files() == before


def test_models_that_the_database_lacks_are_named_at_the_head(on_sqlite: Migrated) -> None:
    on_sqlite.table("a1", None, "orders")
    on_sqlite.with_models(
        "Table('orders', metadata, Column('id', Integer, primary_key=True), Column('price', Integer))"
    )
    on_sqlite.migrate()["changed"]
    assert on_sqlite.info()["migration"]["models"] == ["add_column orders price"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": "elsewhere.ini"}, "there is no"),
        ({"venv": None, "python": "/usr/bin/false"}, "ended with 1 without an answer"),
        ({"venv": None}, "neither service nor venv is given"),
        ({"environment": {}}, "DATABASE_URL"),
        ({"datastore": "other"}, 'datastore "other" is not described'),
    ],
)
def test_what_is_missing_is_named(on_sqlite: Migrated, change: dict[str, object], words: str) -> None:
    on_sqlite.table("a1", None)
    outcome = on_sqlite.info(**change)
    assert outcome.failed and words in outcome.msg, outcome.msg


def test_squawk_is_asked_where_it_is_installed(on_postgresql: Migrated) -> None:
    programs = on_postgresql.root / "state" / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "squawk").symlink_to(VENV / "bin" / "squawk")
    on_postgresql.table("a1", None)
    on_postgresql.migrate()["changed"]
    on_postgresql.revision("b2", "a1", "op.drop_table('t_a1')")
    rules = {one["rule"] for one in on_postgresql.info()["migration"]["findings"]}
    assert "squawk:ban-drop-table" in rules and "drop-table" in rules


def test_no_squawk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert sql_lint.squawk("SELECT 1", tmp_path) is None
