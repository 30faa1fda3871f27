# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB when something is wrong: what is refused and in which words, what is killed, who waits for whom."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mariadb import MariaDB
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import (
    consistent,
    fingerprint,
)

from tests.integration.support import mariadb_content as content
from tests.integration.support.mariadb import Mariadb, free_port, wait_until
from tests.integration.support.mariadb_engine import (
    back_up,
    engine_for,
    fork,
    forked,
    journal_step,
    load,
    restore,
    staged,
    warnings_of,
)

pytestmark = [pytest.mark.mariadb, pytest.mark.faults]

MP = pytest.MonkeyPatch


@pytest.fixture
def database(mariadb_database: str) -> str:
    return mariadb_database


@pytest.fixture
def on_host(mariadb_database_on_host: str) -> str:
    return mariadb_database_on_host


# Refused, with a reason ----------------------------------------------------------------------------------


def test_who_is_not_let_in_reads_why(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    def ping(name: str = database, **options: Any) -> None:
        engine_for(mariadb, name, tmp_path, **options).ping()

    mariadb.run(f"CREATE DATABASE `{database}`", f"CREATE USER `{database}-x`@`%` IDENTIFIED BY 'a-password'")
    with pytest.raises(Unavailable, match=r'refuses the user "root" with the given password \(1045\)'):
        ping(password="not-the-password")
    with pytest.raises(Unavailable, match='has no database "t-nowhere"'):
        ping("t-nowhere")
    with pytest.raises(Unavailable, match=r"may not use the database .*or it does not exist"):
        ping(user=f"{database}-x", password="a-password")
    with pytest.raises(Refused, match="the server's own database"):
        ping("mysql")
    with pytest.raises(Unavailable, match=r"cannot be reached: .*Is the server running"):
        ping(port=free_port())
    ping()


def test_a_user_who_cannot_see_everything_is_refused(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    user = f"{on_host}-u"
    mariadb_on_host.run(f"CREATE USER `{user}`@`%` IDENTIFIED BY 'a-password'")

    def describe() -> tuple[str, ...]:
        engine = engine_for(mariadb_on_host, on_host, tmp_path, user=user, password="a-password")
        return engine.describe(DumpOptions()).warnings

    mariadb_on_host.run(f"GRANT SELECT, LOCK TABLES, EVENT, EXECUTE ON `{on_host}`.* TO `{user}`@`%`")
    with pytest.raises(
        Refused, match=rf"no SHOW VIEW, TRIGGER privilege.*GRANT SHOW VIEW, TRIGGER ON `{on_host}`.\* TO `{user}`@`%`"
    ):
        describe()
    mariadb_on_host.run(f"GRANT SHOW VIEW, TRIGGER ON `{on_host}`.* TO `{user}`@`%`")
    with pytest.raises(Refused, match=r"cannot see the body of function doubled, .*GRANT SELECT ON mysql.proc TO"):
        describe()
    mariadb_on_host.run(f"REVOKE EXECUTE ON `{on_host}`.* FROM `{user}`@`%`")
    with pytest.raises(Refused, match="cannot see whether the database has procedures"):
        describe()
    mariadb_on_host.run(f"GRANT SELECT ON mysql.proc TO `{user}`@`%`")
    with pytest.raises(Refused, match=r"may not read the view a_over: .*doubled.*GRANT EXECUTE"):
        describe()
    mariadb_on_host.run(f"GRANT EXECUTE ON `{on_host}`.* TO `{user}`@`%`")
    assert [line for line in describe() if "accounts are not in the backup" in line]
    mariadb_on_host.run(f"REVOKE LOCK TABLES ON `{on_host}`.* FROM `{user}`@`%`")
    assert [line for line in describe() if "no LOCK TABLES privilege" in line]
    mariadb_on_host.run(f"GRANT LOCK TABLES ON `{on_host}`.* TO `{user}`@`%`")

    # The least privileges that were asked for are enough, and what they give is whole.
    engine = engine_for(mariadb_on_host, on_host, tmp_path, user=user, password="a-password")
    part = back_up(engine, tmp_path / "dump", DumpOptions("full"))
    assert part.fingerprint.objects == {"event": 2, "routine": 5, "sequence": 1, "trigger": 4, "view": 4}
    staged(engine_for(mariadb_on_host, on_host, tmp_path), part, tmp_path / "dump")


def test_an_account_with_the_documented_rights_proves_and_restores(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    """docs/engines.md."""
    content.fill(mariadb_on_host, on_host, big=1000)
    before = content.witness(mariadb_on_host, on_host)
    user = f"`{on_host}-u`@`%`"
    mariadb_on_host.run(
        f"CREATE USER {user} IDENTIFIED BY 'a-password'",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE ON `{on_host}`.* TO {user}",
        f"GRANT SELECT ON mysql.* TO {user}",
        f"GRANT ALL ON `day2\\_%`.* TO {user}",
        f"GRANT SET USER ON *.* TO {user}",
    )

    def engine() -> MariaDB:
        return engine_for(mariadb_on_host, on_host, tmp_path, user=f"{on_host}-u", password="a-password")

    part = back_up(engine(), tmp_path / "dump", DumpOptions("full"))
    prover = engine()
    prover.drop_scratch(staged(prover, part, tmp_path / "dump"))
    mariadb_on_host.run(f"GRANT ALL ON `{on_host}`.* TO {user}", f"GRANT PROCESS, CONNECTION ADMIN ON *.* TO {user}")
    content.damage(mariadb_on_host, on_host)
    restorer = engine()
    with contextlib.closing(mariadb_on_host.connect(on_host)):
        restore(restorer, part, tmp_path / "dump", tmp_path)
    assert content.differences(before, content.witness(mariadb_on_host, on_host)) == []
    assert warnings_of(restorer) == []

    # Privileges that it may not give are named, and do not stand in the way.
    other = f"`{on_host}-other`@`%`"
    mariadb_on_host.run(f"CREATE USER {other}", f"GRANT EXECUTE ON PROCEDURE `{on_host}`.odd TO {other}")
    restorer = engine()
    restore(restorer, part, tmp_path / "dump", tmp_path)
    (warning,) = warnings_of(restorer)
    assert f"GRANT EXECUTE ON PROCEDURE `{on_host}`.`odd` TO {other}" in warning


def test_privileges_by_a_role_count(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    user, role = f"{on_host}-u", f"{on_host}-r"
    mariadb_on_host.run(
        f"CREATE ROLE `{role}`",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE ON `{on_host}`.* TO `{role}`",
        f"GRANT SELECT ON mysql.* TO `{role}`",
        f"CREATE USER `{user}`@`%` IDENTIFIED BY 'a-password'",
        f"GRANT `{role}` TO `{user}`@`%`",
        f"SET DEFAULT ROLE `{role}` FOR `{user}`@`%`",
    )
    engine = engine_for(mariadb_on_host, on_host, tmp_path, user=user, password="a-password")
    part = back_up(engine, tmp_path / "dump")
    assert len(part.facts["accounts"]) == 2
    assert warnings_of(engine) == []


def test_an_invalid_view_is_refused_until_it_is_left_out(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    mariadb_on_host.run(
        "CREATE TABLE gone (id INT)", "CREATE VIEW broken AS SELECT * FROM gone", "DROP TABLE gone", database=on_host
    )
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    with pytest.raises(Refused, match=r"the view broken \(1356\) is invalid.*exclude_tables"):
        engine.describe(DumpOptions())
    part = back_up(engine, tmp_path / "dump", DumpOptions(exclude_tables=("broken",)))
    assert "the backup does not hold the view broken" in engine.accepts(part)
    # The live database has the broken view, which cannot be made again by an undo.
    scratch = load(engine, part, tmp_path / "dump")
    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    engine.undo(step)
    assert any("view broken" in line for line in warnings_of(engine))
    assert mariadb_on_host.value("SELECT COUNT(*) FROM a_over", on_host) > 0


def test_a_tool_that_is_missing_or_too_old_is_refused(
    mariadb: Mariadb, database: str, tmp_path: Path, monkeypatch: MP
) -> None:
    mariadb.run(f"CREATE DATABASE `{database}`")
    flavour = dataclasses.replace(MariaDB.FLAVOUR, dump="mariadb-dump-nowhere")
    with monkeypatch.context() as patched:
        patched.setattr(MariaDB, "FLAVOUR", flavour)
        with pytest.raises(Unavailable, match=r"mariadb-dump-nowhere.*Install mariadb-client"):
            engine_for(mariadb, database, tmp_path).describe(DumpOptions())
    old = engine_for(mariadb, database, tmp_path)
    old.dump_version = "10.5.29"
    with pytest.raises(Refused, match=r"mariadb-dump 10.5.29 on .* is older than the server \(10.11"):
        old.describe(DumpOptions())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "mysql"}, "made of mysql"),
        ({"server_version": "99.1.0-MariaDB"}, "older than the one the backup was made of"),
        ({"collations": ["utf8mb4_0900_ai_ci"]}, "does not know the collation utf8mb4_0900_ai_ci"),
        ({"tables": {"t": "ROCKSDB"}}, r"no storage engine ROCKSDB \(table t\)"),
        ({"lower_case_table_names": 1}, "lower_case_table_names is 0 here and was 1"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    mariadb_on_host.run(f"CREATE DATABASE `{on_host}`", f"CREATE TABLE `{on_host}`.t (id INT PRIMARY KEY)")
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    assert engine.accepts(part) == []
    fields = {key: value for key, value in change.items() if key in ("flavour", "server_version")}
    facts = {**part.facts, **{key: value for key, value in change.items() if key not in fields}}
    with pytest.raises(Refused, match=message):
        engine.accepts(dataclasses.replace(part, facts=facts, **fields))


def test_tables_that_others_refer_to_are_not_replaced(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    content.fill(mariadb_on_host, on_host, big=1000)
    other = f"{on_host}-other"
    mariadb_on_host.run(
        f"CREATE DATABASE `{other}`",
        f"CREATE TABLE `{other}`.theirs (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES `{on_host}`.parents (id))",
        f"CREATE VIEW `{on_host}`.far AS SELECT id FROM `{other}`.theirs",
    )
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    before = content.witness(mariadb_on_host, on_host)
    warnings = engine.accepts(part)
    assert any(f"{other}.theirs refer to tables here" in line for line in warnings)
    assert f"view far name the database {other} in their text" in warnings
    scratch = load(engine, part, tmp_path / "dump")
    with pytest.raises(Refused, match=f"{other}.theirs refer to tables of {on_host} by foreign keys"):
        engine.swap(part, scratch, journal_step(tmp_path))
    assert content.differences(before, content.witness(mariadb_on_host, on_host)) == []


# The load -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("USE `{live}`;\n", "leads out of the scratch copy"),
        ("CREATE DATABASE `x`;\n", "leads out of the scratch copy"),
        ("/*!40000 DROP DATABASE IF EXISTS `{live}`*/;\n", "leads out of the scratch copy"),
        ("DROP TABLE `no such table`;\n", r"loading ended at: ERROR 1051"),
        ("system touch {file}\n", r"loading ended at: ERROR 1064"),
        ("\\! touch {file}\n", r"loading ended at: ERROR"),
    ],
)
def test_a_stream_that_was_altered_does_no_harm(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path, statement: str, message: str
) -> None:
    mariadb_on_host.run(f"CREATE DATABASE `{on_host}`", f"CREATE TABLE `{on_host}`.t (id INT PRIMARY KEY)")
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    dump, touched = (tmp_path / "dump").read_text(), tmp_path / "touched"
    altered = statement.format(live=on_host, file=touched)
    (tmp_path / "altered").write_text(
        dump.replace("DROP TABLE IF EXISTS `t`;\n", altered + "CREATE TABLE after_it (id INT);\n", 1)
    )
    with pytest.raises(OpsError, match=message):
        load(engine, part, tmp_path / "altered")
    assert not touched.exists()
    scratch = engine.context.scratch_name("main", "stage")
    assert "after_it" not in [row[0] for row in mariadb_on_host.rows("SHOW TABLES", scratch)]
    assert mariadb_on_host.rows("SHOW TABLES", on_host) == [("t",)]


def test_a_load_that_is_killed_leaves_no_client(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    content.fill(mariadb, database, big=1000)
    engine = engine_for(mariadb, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    engine.stage(part, scratch := engine.context.scratch_name("main", "stage"))
    loader = engine.load(part, scratch)
    loader.stdin.write((tmp_path / "dump").read_bytes()[:5000])
    assert mariadb.tools()
    loader.kill()
    wait_until(lambda: not mariadb.tools(), 5, "the client's end")
    engine.drop_scratch(scratch)
    assert scratch not in mariadb.databases()


# The dump -----------------------------------------------------------------------------------------------


def rows(server: Mariadb, database: str, count: int) -> None:
    """One table whose dump does not fit into any pipe."""
    server.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500))",
        f"INSERT INTO t SELECT seq, REPEAT('x', 400) FROM seq_1_to_{count}",
        "CREATE TABLE u (id INT PRIMARY KEY)",
    )


def test_a_dump_that_is_ended_leaves_nothing_running(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    rows(mariadb, database, 50_000)
    engine = engine_for(mariadb, database, tmp_path)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        producer.stdout.read(1000)
        assert mariadb.tools()
        assert mariadb.sessions_of_tools()
        producer.kill()
        producer.kill()
        assert mariadb.sessions_of_tools() == []
        assert mariadb.tools() == []
    with engine.snapshot(DumpOptions()) as taken:
        taken.dump().stdout.read(1000)
    assert mariadb.sessions_of_tools() == [], "leaving the snapshot left its dump running"


def test_a_dump_that_waits_for_a_lock_is_ended_too(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    """It writes nothing, so nothing tells it that nobody reads any more."""
    rows(mariadb, database, 50_000)
    engine = engine_for(mariadb, database, tmp_path)
    with (
        engine.snapshot(DumpOptions()) as taken,
        contextlib.closing(mariadb.connect(database)) as other,
        other.cursor() as cursor,
    ):
        producer = taken.dump()
        cursor.execute("LOCK TABLES u WRITE")
        reading = threading.Thread(target=lambda: [None for _ in iter(lambda: producer.stdout.read(1 << 16), b"")])
        reading.start()
        wait_until(lambda: any("`u`" in row[1] for row in mariadb.sessions_of_tools()), 20, "the tool's wait")
        producer.kill()
        assert mariadb.tools() == []
        wait_until(lambda: not mariadb.sessions_of_tools(), 2, "the session's end")
        reading.join(10)
        assert not reading.is_alive()


def test_a_dump_tool_that_dies_is_an_error(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    rows(mariadb, database, 50_000)
    engine = engine_for(mariadb, database, tmp_path)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        begin = producer.stdout.read(1000)
        ((session, _statement),) = mariadb.sessions_of_tools()
        mariadb.run(f"KILL CONNECTION {session}")
        rest = b"".join(iter(lambda: producer.stdout.read(1 << 20), b""))
        with pytest.raises(OpsError, match="lost its connection to the server"):
            producer.finish()
        assert not taken.complete(begin, rest[-4096:])


def test_what_a_killed_run_left_running_is_swept(mariadb: Mariadb, database: str, tmp_path: Path) -> None:
    rows(mariadb, database, 50_000)

    def leave() -> None:
        engine = engine_for(mariadb, database, tmp_path)
        with engine.snapshot(DumpOptions()) as taken:
            taken.dump()
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(leave) == -signal.SIGKILL
    if mariadb.kind == "container":
        assert mariadb.tools(), "nothing was left to be swept"
    engine_for(mariadb, database, tmp_path).sweep()
    wait_until(lambda: not mariadb.tools(), 5, "the tool's end")
    wait_until(lambda: not mariadb.sessions_of_tools(), 5, "its session's end")


# Who waits for whom -------------------------------------------------------------------------------------


def test_a_peer_that_stops_while_it_holds_the_lock_frees_the_writers(
    mariadb: Mariadb, database: str, tmp_path: Path, monkeypatch: MP
) -> None:
    rows(mariadb, database, 100)

    def stop_with_the_lock() -> None:
        monkeypatch.setattr(consistent, "read_until_begun", lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
        engine = engine_for(mariadb, database, tmp_path)
        with engine.snapshot(DumpOptions()) as taken:
            taken.dump()

    child = fork(stop_with_the_lock)
    try:
        os.waitpid(child, os.WUNTRACED)
        begun = time.monotonic()
        mariadb.run("SET lock_wait_timeout = 60", "INSERT INTO t VALUES (0, 'after all')", database=database)
        waited = time.monotonic() - begun
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        engine_for(mariadb, database, tmp_path).sweep()
    assert waited < 8, f"a writer waited {waited:.1f} s"


def test_a_transaction_that_stays_open_makes_a_range_and_stops_nobody(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    rows(mariadb_on_host, on_host, 20_000)
    longest, done = [0.0], threading.Event()

    def write() -> None:
        number = 1_000_000
        while not done.is_set():
            begun, number = time.monotonic(), number + 1
            mariadb_on_host.run(f"INSERT INTO t VALUES ({number}, 'w')", database=on_host)
            longest[0] = max(longest[0], time.monotonic() - begun)

    with contextlib.closing(mariadb_on_host.connect(on_host, autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (0, 'open')")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            engine = engine_for(mariadb_on_host, on_host, tmp_path)
            part = back_up(engine, tmp_path / "dump")
        finally:
            done.set()
            writer.join()
    assert any("was not granted within 2 s" in line for line in warnings_of(engine))
    assert part.fingerprint.tables["u"].rows_max is None
    assert longest[0] < 6, f"a writer waited {longest[0]:.1f} s"
    staged(engine, part, tmp_path / "dump")


def test_a_table_that_stays_locked_is_named(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path, monkeypatch: MP
) -> None:
    """Neither a dump nor a look at the live data waits for it without an end, and it is not taken for damaged."""
    rows(mariadb_on_host, on_host, 10)
    monkeypatch.setattr(consistent, "LOCK_WAIT", 1)
    monkeypatch.setattr(consistent, "ATTEMPTS", 1)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    session = tuple("lock_wait_timeout=1" if "lock_wait" in one else one for one in engine.flavour.session)
    monkeypatch.setattr(type(engine), "FLAVOUR", dataclasses.replace(engine.flavour, session=session))
    with contextlib.closing(mariadb_on_host.connect(on_host)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES u WRITE")
        with engine.snapshot(DumpOptions()) as taken, pytest.raises(Busy, match="the table u is locked by another"):
            taken.dump()
        with pytest.raises(Busy, match="the table u is locked by another"):
            engine.target("counts")
    assert engine.target("counts").readable
    back_up(engine, tmp_path / "dump")


def test_without_the_lock_rows_that_move_are_a_range(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path, monkeypatch: MP
) -> None:
    rows(mariadb_on_host, on_host, 100)
    monkeypatch.setattr(consistent, "take_lock", lambda *_: (None, "no lock"))
    read = consistent.read_until_begun

    def read_and_write(*arguments: Any) -> tuple[bytes, bool]:
        found = read(*arguments)
        mariadb_on_host.run("INSERT INTO t VALUES (0, 'w')", database=on_host)
        return found

    monkeypatch.setattr(consistent, "read_until_begun", read_and_write)
    part = back_up(engine_for(mariadb_on_host, on_host, tmp_path), tmp_path / "dump", DumpOptions("full"))
    found = part.fingerprint.tables["t"]
    assert (found.rows, found.rows_max, found.checksum) == (100, 101, None)
    assert part.fingerprint.tables["u"].checksum == "0"


def test_a_schema_change_during_the_fingerprint_waits_for_nobody(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path, monkeypatch: MP
) -> None:
    rows(mariadb_on_host, on_host, 100)
    seen, go_on, read = threading.Event(), threading.Event(), fingerprint.read

    def slow(sql: Any, database: str, table: Any, *rest: Any) -> Any:
        found = read(sql, database, table, *rest)
        if table.name == "u":  # t was read before
            seen.set()
            go_on.wait(30)
        return found

    monkeypatch.setattr(fingerprint, "read", slow)
    waited = []

    def alter() -> None:
        assert seen.wait(30)
        begun = time.monotonic()
        try:
            mariadb_on_host.run(
                "SET lock_wait_timeout = 20", "ALTER TABLE t ADD COLUMN more INT, FORCE", database=on_host
            )
        finally:
            waited.append(time.monotonic() - begun)
            go_on.set()

    altering = threading.Thread(target=alter)
    altering.start()
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    part = back_up(engine, tmp_path / "dump", while_running=lambda: altering.join(60))
    assert part.fingerprint.tables["t"].rows == 100
    assert waited[0] < 5, f"ALTER TABLE waited {waited[0]:.1f} s"


def test_a_schema_change_before_the_count_is_an_error_that_says_so(
    mariadb_on_host: Mariadb, on_host: str, tmp_path: Path
) -> None:
    rows(mariadb_on_host, on_host, 100)
    engine = engine_for(mariadb_on_host, on_host, tmp_path)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        producer.stdout.read()
        producer.finish()
        mariadb_on_host.run("ALTER TABLE t ADD COLUMN more INT, FORCE", database=on_host)
        with pytest.raises(Busy, match=r"the table t was changed while it was backed up.*no migration runs"):
            taken.fingerprint()


# Damage -------------------------------------------------------------------------------------------------


def test_damaged_tables_are_replaced(mariadb_on_host: Mariadb, on_host: str, tmp_path: Path) -> None:
    server, home = mariadb_on_host, mariadb_on_host.home
    content.fill(server, on_host, big=1000)
    before = content.witness(server, on_host)
    part = back_up(engine_for(server, on_host, tmp_path), tmp_path / "dump")
    assert home is not None
    server.run("FLUSH TABLES", database=on_host)
    directory = home / "data" / on_host.replace("-", "@002d")
    (directory / "old_style.MYI").unlink()
    (directory / "counted.ibd").unlink()
    server.run("FLUSH TABLES", database=on_host)
    engine = engine_for(server, on_host, tmp_path)
    target = engine.target("counts")
    assert target.exists
    assert not target.readable
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert content.differences(before, content.witness(server, on_host)) == []
    assert any("cannot be moved aside and are dropped" in line for line in warnings_of(engine))


@pytest.fixture(autouse=True)
def no_tool_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "mariadb_on_host" in request.fixturenames:
        server: Mariadb = request.getfixturevalue("mariadb_on_host")
        assert server.sessions_of_tools() == []
