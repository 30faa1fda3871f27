# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations with Alembic on the host, on real databases: what is run, and what is refused."""

from __future__ import annotations

import os

import pytest

from tests.integration.support import mariadb
from tests.integration.support.migrated import Migrated

BROKEN = """
op.create_table('half', sa.Column('id', sa.Integer, primary_key=True))
op.execute('ALTER TABLE there_is_no_such_table ADD COLUMN x INTEGER')
"""


def test_what_is_pending_is_run_one_by_one_and_a_second_run_changes_nothing(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.table("b2", "a1")
    planned = migrated.migrate(check=True)
    assert planned["changed"] is True
    assert [one["revision"] for one in planned["migration"]["pending"]] == ["a1", "b2"]
    assert migrated.tables() == set()  # looking makes not even the table of versions

    done = migrated.migrate()
    assert done["changed"] is True
    assert [one["revision"] for one in done["migration"]["applied"]] == ["a1", "b2"]
    assert done["migration"]["current"] == ["b2"] == migrated.at()
    assert {"t_a1", "t_b2"} <= migrated.tables()

    again = migrated.migrate()
    assert again["changed"] is False
    assert migrated.info()["migration"]["schema"] == done["migration"]["schema"] == again["migration"]["schema"]


def test_a_failing_second_statement_is_named_with_what_it_left(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.revision("b2", "a1", BROKEN)
    outcome = migrated.migrate()
    assert outcome.failed and "revision b2 failed" in outcome.msg
    told = outcome.data["migration"]
    assert told["failed"] == "b2" and [one["revision"] for one in told["applied"]] == ["a1"]
    assert migrated.at() == ["a1"]
    if migrated.engine == "postgresql":
        assert told["half_applied"] == {} and "left nothing behind" in outcome.msg
        assert "half" not in migrated.tables()
        assert migrated.migrate().data["migration"]["failed"] == "b2"  # it may be tried again
        return
    assert told["half_applied"]["left"] == ["table half was made"] and "table half was made" in outcome.msg
    assert any(one.startswith("CREATE TABLE half") for one in told["half_applied"]["statements"])

    again = migrated.migrate()  # and not "table half already exists" from the database
    assert again.failed and "left behind: table half was made" in again.msg and "Nothing was changed" in again.msg
    assert migrated.info()["migration"]["half_applied"]["left"] == ["table half was made"]

    migrated.run_sql("DROP TABLE half")
    migrated.table("b2", "a1")
    assert migrated.migrate()["migration"]["current"] == ["b2"]


def test_several_heads_are_refused_unless_they_are_allowed(migrated: Migrated) -> None:
    for name, down in (("a1", None), ("b2", "a1"), ("c3", "a1")):
        migrated.table(name, down)
    outcome = migrated.migrate()
    assert outcome.failed and "several heads" in outcome.msg and "b2" in outcome.msg and "c3" in outcome.msg
    assert migrated.tables() == set()
    assert migrated.migrate(allow_multiple_heads=True)["migration"]["current"] == ["b2", "c3"] == migrated.at()


def test_a_database_ahead_of_the_code_is_refused_and_who_brought_it_is_named(migrated: Migrated) -> None:
    migrated.table("a1", None)
    newest = migrated.table("b2", "a1")
    migrated.migrate()["migration"]
    newest.unlink()
    outcome = migrated.migrate()
    assert outcome.failed and "revision b2, which" in outcome.msg and "does not know" in outcome.msg
    assert "b2 came from" in outcome.msg
    assert migrated.at() == ["b2"]


def test_without_a_young_backup_nothing_is_run_where_nothing_can_be_rolled_back(migrated: Migrated) -> None:
    migrated.table("a1", None)
    for backup, words in ((None, "no backup is named"), ("20200101T000000Z-0a1b2c", "older than"), ("newest", "no id")):
        outcome = migrated.migrate(backup=backup)
        if migrated.engine == "postgresql":
            assert outcome["migration"]["current"] == ["a1"]
            return
        assert outcome.failed and words in outcome.msg
        assert migrated.tables() == set()
    assert migrated.migrate(backup=None, require_backup=False)["changed"] is True


def test_an_older_revision_is_gone_back_to_by_its_name(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.table("b2", "a1")
    migrated.revision("c3", "b2", "op.create_table('t_c3', sa.Column('id', sa.Integer))", "pass")
    migrated.migrate()["changed"]
    refused = migrated.migrate(revision="-1")
    assert refused.failed and "is relative" in refused.msg
    refused = migrated.migrate(revision="a1")
    assert refused.failed and "the downgrade of revision c3 is empty" in refused.msg and migrated.at() == ["c3"]
    migrated.revision("c3", "b2", "op.create_table('t_c3', sa.Column('id', sa.Integer))", "op.drop_table('t_c3')")
    done = migrated.migrate(revision="a1")
    assert [one["revision"] for one in done["migration"]["applied"]] == ["c3", "b2"]
    assert done["migration"]["current"] == ["a1"] == migrated.at()
    assert migrated.tables() == {"t_a1", "alembic_version"}


def test_a_failure_is_gone_back_from_where_that_is_asked_for(on_postgresql: Migrated) -> None:
    on_postgresql.table("a1", None)
    on_postgresql.migrate()["changed"]
    on_postgresql.table("b2", "a1")
    on_postgresql.revision("c3", "b2", BROKEN)
    outcome = on_postgresql.migrate(on_failure="downgrade")
    assert outcome.failed and "downgraded to a1, and the schema is as before" in outcome.msg
    assert outcome.data["migration"]["downgraded"] is True
    assert on_postgresql.at() == ["a1"] and on_postgresql.tables() == {"t_a1", "alembic_version"}


def test_an_application_that_stamps_past_a_failed_revision_is_found(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.migrate()["changed"]
    migrated.revision("b2", "a1", "op.add_column('t_a1', sa.Column('price', sa.Integer))")
    assert migrated.alembic("stamp", "head").returncode == 0
    assert migrated.at() == ["b2"]
    drift = migrated.info()["migration"]["drift"]
    assert drift == ["column t_a1.price is missing, although revision b2 is said to be applied"]
    outcome = migrated.migrate()
    assert outcome.failed and "column t_a1.price is missing" in outcome.msg
    # One that really ran it is not accused.
    migrated.run_sql("ALTER TABLE t_a1 ADD COLUMN price INTEGER")
    assert migrated.info()["migration"]["drift"] == []


def test_a_schema_that_was_changed_by_hand_is_found(migrated: Migrated) -> None:
    migrated.table("a1", None)
    migrated.migrate()["changed"]
    migrated.run_sql("CREATE TABLE by_hand (id INTEGER)", "ALTER TABLE t_a1 ADD COLUMN note VARCHAR(9)")
    migrated.table("b2", "a1")
    outcome = migrated.migrate()
    assert outcome.failed and "by_hand was made" in outcome.msg and "note was made" in outcome.msg
    assert migrated.at() == ["a1"]
    assert migrated.migrate(allow_drift=True)["migration"]["current"] == ["b2"]


def test_the_tools_database_must_be_the_one_that_was_described(migrated: Migrated) -> None:
    migrated.table("a1", None)
    other = migrated.url.replace(migrated.name, "postgres" if migrated.engine == "postgresql" else "mysql")
    if migrated.engine == "sqlite":
        other = f"sqlite:///{migrated.root}/elsewhere.db"
    outcome = migrated.migrate(environment={"DATABASE_URL": other})
    assert outcome.failed and "the tool's own database is not" in outcome.msg, outcome.msg
    assert migrated.tables() == set()


def test_stale_bytecode_is_not_run(on_sqlite: Migrated) -> None:
    path = on_sqlite.table("a1", None, "old1")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    on_sqlite.alembic("history")  # which writes bytecode
    assert list(on_sqlite.versions.glob("__pycache__/*.pyc"))
    on_sqlite.table("a1", None, "new1")  # of the same size
    os.utime(path, (1_000_000_000, 1_000_000_000))
    witness = on_sqlite.alembic("upgrade", "head", "--sql").stdout
    assert "old1" in witness, "without protection Python takes the old code"
    assert "new1" in on_sqlite.info()["migration"]["sql"]
    on_sqlite.migrate()["changed"]
    assert "new1" in on_sqlite.tables()


@pytest.mark.parametrize("word", ["nothing", "upgrade"])
def test_an_unknown_target_is_refused(on_sqlite: Migrated, word: str) -> None:
    on_sqlite.table("a1", None)
    outcome = on_sqlite.migrate(revision=word)
    assert outcome.failed and f"there is no revision {word}" in outcome.msg


def test_passwords_are_nowhere(on_mariadb: Migrated) -> None:
    on_mariadb.revision("a1", None, "import os\nraise ValueError(os.environ['DATABASE_URL'])")
    outcome = on_mariadb.migrate()
    assert outcome.failed and "ValueError" in outcome.msg
    assert mariadb.PASSWORD not in outcome.stdout + outcome.stderr


def test_a_password_that_only_the_application_knows_is_nowhere(on_mariadb: Migrated) -> None:
    """It is learned from the tool's own connection."""
    env = on_mariadb.code / "migrations" / "env.py"
    env.write_text(env.read_text().replace('os.environ["DATABASE_URL"]', 'open("url").read()'))
    on_mariadb.revision("a1", None, "raise ValueError(open('url').read())")
    on_mariadb.server.run(
        "CREATE USER IF NOT EXISTS other@'%' IDENTIFIED BY 'only-in-a-file'", "GRANT ALL ON *.* TO other@'%'"
    )
    (on_mariadb.code / "url").write_text(
        f"mysql+pymysql://other:only-in-a-file@127.0.0.1:{on_mariadb.server.port}/{on_mariadb.name}"
    )
    outcome = on_mariadb.migrate(environment={})
    assert outcome.failed and "ValueError: mysql+pymysql://other:" in outcome.msg
    assert "only-in-a-file" not in outcome.stdout + outcome.stderr
