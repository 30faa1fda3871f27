# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that are killed, that meet another one, or whose server is away."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.integration.support import modules
from tests.integration.support.mariadb import wait_until
from tests.integration.support.migrated import Migrated

SLOW = """
op.create_table('half', sa.Column('id', sa.Integer, primary_key=True))
import pathlib, time
pathlib.Path({mark!r}).write_text(str(__import__('os').getpid()))
time.sleep(60)
"""


def _slow(made: Migrated, name: str, down: str | None) -> Path:
    mark = made.root / "running"
    made.revision(name, down, SLOW.format(mark=str(mark)), "op.drop_table('half')")
    return mark


def _started(made: Migrated, mark: Path) -> subprocess.Popen[str]:
    process = modules.start("migrate", made.arguments(backup=made.backup()))
    wait_until(lambda: mark.exists() and mark.read_text(), 60, "the revision runs")
    return process


def test_a_killed_run_is_known_by_what_it_left(migrated: Migrated) -> None:
    migrated.table("a1", None)
    mark = _slow(migrated, "b2", "a1")
    process = _started(migrated, mark)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not Path(f"/proc/{mark.read_text()}").exists(), 10, "the tool has ended with its module")
    assert migrated.at() == ["a1"]
    migrated.table("b2", "a1")
    again = migrated.migrate()
    if migrated.engine == "postgresql":  # rolled back by the server
        assert again["migration"]["current"] == ["b2"]
        return
    assert again.failed and "revision b2 was begun by an earlier run" in again.msg
    assert "table half was made" in again.msg
    migrated.run_sql("DROP TABLE half")
    assert migrated.migrate()["migration"]["current"] == ["b2"]


def test_a_run_that_is_asked_to_end_says_what_it_left(on_mariadb: Migrated) -> None:
    mark = _slow(on_mariadb, "a1", None)
    process = _started(on_mariadb, mark)
    process.send_signal(signal.SIGTERM)
    outcome = modules.finish(process)
    assert outcome.failed and "interrupted by SIGTERM" in outcome.msg
    assert outcome.data["migration"]["half_applied"]["left"] == ["table half was made"]


def test_a_revision_that_ends_soon_is_not_cut_short(on_mariadb: Migrated) -> None:
    mark = on_mariadb.root / "running"
    on_mariadb.revision("a1", None, SLOW.format(mark=str(mark)).replace("sleep(60)", "sleep(3)"))
    on_mariadb.table("b2", "a1")
    process = _started(on_mariadb, mark)
    process.send_signal(signal.SIGTERM)
    outcome = modules.finish(process)
    assert outcome.failed and "interrupted by SIGTERM" in outcome.msg and "left behind" not in outcome.msg
    told = outcome.data["migration"]
    assert told["half_applied"] == {} and [one["revision"] for one in told["applied"]] == ["a1"]
    assert told["current"] == on_mariadb.at() == ["a1"]
    assert [one["revision"] for one in on_mariadb.migrate()["migration"]["applied"]] == ["b2"]


def test_a_tool_that_is_killed_is_a_failure_with_what_it_left(on_mariadb: Migrated) -> None:
    mark = _slow(on_mariadb, "a1", None)
    process = _started(on_mariadb, mark)
    os.kill(int(mark.read_text()), signal.SIGKILL)  # as the kernel does when memory is short
    outcome = modules.finish(process)
    assert outcome.failed and "was killed by signal 9" in outcome.msg
    assert outcome.data["migration"]["half_applied"]["left"] == ["table half was made"]


def test_a_lock_that_another_migration_holds(migrated: Migrated) -> None:
    mark = _slow(migrated, "a1", None)
    process = _started(migrated, mark)
    try:
        other = migrated.migrate(app="other", lock_timeout=0)  # with a lock of its own for the application
        assert other.failed and "another migration of" in other.msg and "Nothing was changed" in other.msg
        same = migrated.migrate(lock_timeout=0)
        assert same.failed and f"the lock of {migrated.app}-production is held" in same.msg
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_connecting_is_tried_again_before_the_first_statement(on_sqlite: Migrated) -> None:
    """The tool's database appears after a moment; the one that was described is there all the time."""
    on_sqlite.table("a1", None)
    link = on_sqlite.root / "late" / "main.db"
    url = {"DATABASE_URL": f"sqlite:///{link}"}
    outcome = on_sqlite.migrate(environment=url, connect_delays=[])
    assert outcome.failed and "cannot connect to its database" in outcome.msg
    timer = threading.Timer(1.5, lambda: link.parent.symlink_to(on_sqlite.file.parent))
    timer.start()
    begun = time.monotonic()
    assert on_sqlite.migrate(environment=url, connect_delays=[1, 2, 4])["migration"]["current"] == ["a1"]
    assert time.monotonic() - begun > 1.5


def test_a_failing_statement_is_not_tried_again(on_mariadb: Migrated) -> None:
    count = on_mariadb.root / "count"
    on_mariadb.revision(
        "a1", None, f"open({str(count)!r}, 'a').write('x')\nop.execute('INSERT INTO nowhere VALUES (1)')"
    )
    outcome = on_mariadb.migrate()
    assert outcome.failed and count.read_text() == "x"


def test_a_statement_does_not_wait_for_a_table_for_ever(on_mariadb: Migrated) -> None:
    on_mariadb.table("a1", None)
    on_mariadb.migrate()["changed"]
    on_mariadb.revision("b2", "a1", "op.add_column('t_a1', sa.Column('x', sa.Integer))")
    holder = on_mariadb.server.connect(on_mariadb.name)
    try:
        holder.autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SELECT * FROM t_a1")
        outcome = on_mariadb.migrate(statement_lock_timeout=1)
        assert outcome.failed and "Lock wait timeout" in outcome.msg and "left nothing behind" in outcome.msg
    finally:
        holder.close()
    assert on_mariadb.migrate()["migration"]["current"] == ["b2"]


@pytest.mark.full
def test_a_hundred_revisions_in_a_row(migrated: Migrated) -> None:
    for number in range(100):
        migrated.table(f"r{number:03}", f"r{number - 1:03}" if number else None)
    done = migrated.migrate()["migration"]
    assert len(done["applied"]) == 100 and migrated.at() == ["r099"]
    assert len(migrated.tables()) == 101
