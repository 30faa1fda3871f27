# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL under fault: writers, schema changes, kills, stopped peers, streams that are cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, OpsError, Refused, ToolFailed
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines import postgresql
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql import (
    PostgreSQL,
    snapshot,
    stage,
    swap,
    tools,
)
from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql.catalog import Newest
from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql.connection import Database

from tests.integration.support import postgres_process
from tests.integration.support.postgres import ON_HOST, Postgres, remove, wait_until
from tests.integration.support.postgres_engine import back_up, engine_for, journal_step, load, read_step, restore

pytestmark = [pytest.mark.postgresql, pytest.mark.faults]


@pytest.fixture
def database(postgres: Postgres, postgres_database: str) -> str:
    """With two small tables."""
    postgres.run(f"CREATE DATABASE {postgres_database}")
    postgres.run(
        "CREATE TABLE a (id bigserial PRIMARY KEY, v text); CREATE TABLE b (id bigserial PRIMARY KEY, v text);"
        "INSERT INTO a (v) VALUES ('backed up'); INSERT INTO b (v) VALUES ('backed up')",
        postgres_database,
    )
    return postgres_database


@pytest.fixture
def large_database(postgres: Postgres, database: str) -> str:
    """With 3 GB that take 36 MB on disk: a dump or load of it that is not ended goes on for long."""
    postgres.run(
        "CREATE TABLE seed AS SELECT repeat('x', 100000000) AS v; CREATE TABLE large (v text);"
        "INSERT INTO large SELECT v FROM seed, generate_series(1, 30); DROP TABLE seed",
        database,
    )
    return database


def content_of(server: Postgres, database: str) -> list[tuple[Any, ...]]:
    return server.rows("SELECT 'a', v FROM a UNION ALL SELECT 'b', v FROM b ORDER BY 1, 2", database)


def our_sessions(server: Postgres, engine: PostgreSQL) -> list[tuple[Any, ...]]:
    return server.rows(
        "SELECT pid, application_name, state, query FROM pg_stat_activity"
        f" WHERE starts_with(application_name, '{engine.program}')"
    )


def tools_inside(server: Postgres) -> list[str]:
    """pg_dump and pg_restore that run where the server is."""
    argv = ["ps", "-ww", "-eo", "args"]
    if server.kind == "container":
        script = "for d in /proc/[0-9]*; do tr '\\0' ' ' <$d/cmdline 2>/dev/null; echo; done"
        argv = ["docker", "exec", server.options["container"], "sh", "-c", script]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    where = server.options.get("socket", "")
    return [line for line in lines if ("pg_dump --" in line or "pg_restore --" in line) and where in line]


# Writers ---------------------------------------------------------------------------------------------


def test_what_is_restored_is_what_was_counted_while_writers_run(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        with postgres.connect(database) as connection:
            while not stop.is_set():
                with connection.transaction():
                    connection.execute("INSERT INTO a (v) VALUES (md5(random()::text))")
                    connection.execute("INSERT INTO b (v) VALUES (md5(random()::text))")

    writers = [threading.Thread(target=write) for _writer in range(3)]
    for writer in writers:
        writer.start()
    try:
        counted = []
        for _round in range(3):
            engine = engine_for(postgres, database, tmp_path)
            part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
            scratch = load(engine, part, tmp_path / "dump")
            tables = part.fingerprint.tables
            assert part.fingerprint.differences(engine.staged(part, scratch)) == []
            assert tables["public.a"].rows == tables["public.b"].rows, "half a transaction is in the snapshot"
            counted.append(tables["public.a"].rows)
            engine.drop_scratch(scratch)
        assert counted == sorted(set(counted)), "nothing was written meanwhile, so this proved nothing"
    finally:
        stop.set()
        for writer in writers:
            writer.join()


# Schema changes --------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_background(server: Postgres, database: str, statement: str) -> Iterator[dict[str, Any]]:
    """Runs a statement in another session; `outcome`: seconds and error."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        begun = time.monotonic()
        try:
            server.run(statement, database)
        except psycopg.Error as error:
            outcome["error"] = error
        outcome["seconds"] = time.monotonic() - begun

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(60)


def waiting_for_locks(server: Postgres, database: str, what: str) -> bool:
    return bool(
        server.rows(
            f"SELECT FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock' AND query LIKE '{what}%'"
        )
    )


@pytest.mark.parametrize(
    "statement", ["TRUNCATE a", "ALTER TABLE a ALTER COLUMN v TYPE varchar USING upper(v)", "DROP TABLE a"]
)
def test_a_schema_change_during_the_backup_waits_and_is_not_in_it(
    postgres: Postgres, database: str, tmp_path: Path, statement: str
) -> None:
    """TRUNCATE and a rewriting ALTER are not transactional: without the locks both the dump and its
    fingerprint would show an empty table, and agree."""
    engine = engine_for(postgres, database, tmp_path)
    described = engine.describe(DumpOptions())
    with in_background_after(postgres, database, statement) as begin, engine.snapshot(DumpOptions()) as view:
        dump = view.dump()
        begin()
        wait_until(lambda: waiting_for_locks(postgres, database, statement[:8]), 10, "the statement's wait")
        fingerprint = view.fingerprint()
        (tmp_path / "dump").write_bytes(dump.stdout.read())
        dump.finish()
        assert fingerprint.tables["public.a"].rows == 1
    part = part_of(described, fingerprint, tmp_path / "dump")
    scratch = load(engine, part, tmp_path / "dump")
    assert postgres.rows("SELECT v FROM a", scratch) == [("backed up",)]
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    live = postgres.rows("SELECT FROM pg_class WHERE relname = 'a'", database)
    assert not live or postgres.rows("SELECT v FROM a", database) != [("backed up",)], "the change was lost"


@contextlib.contextmanager
def in_background_after(server: Postgres, database: str, statement: str) -> Iterator[Callable[[], None]]:
    thread = threading.Thread(target=lambda: server.run(statement, database))
    yield thread.start
    thread.join(60)
    assert not thread.is_alive()


def part_of(described: Any, fingerprint: Fingerprint, file: Path) -> Part:
    return Part(
        "main", "postgresql", "postgresql", "data", "pgcustom", "database.pgdump", "", file.stat().st_size, "", fingerprint,
        described.server_version, described.tool_version, facts=described.facts,
    )  # fmt: skip


def test_a_schema_change_between_our_locks_and_those_of_the_dump_passes(
    postgres_on_host: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for us, and pg_dump for it: the backup steps aside and begins again after it."""
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    monkeypatch.setattr(tools, "LOCK_WAIT", 500)
    try:
        server.run("CREATE TABLE a (v text); INSERT INTO a VALUES ('x')", name)
        engine = engine_for(server, name, tmp_path)
        with engine.snapshot(DumpOptions()) as view:
            with in_background(server, name, "ALTER TABLE a ADD COLUMN w int DEFAULT 7") as outcome:
                wait_until(lambda: waiting_for_locks(server, name, "ALTER"), 10, "the ALTER's wait")
                dump = view.dump()
                fingerprint = view.fingerprint()
                (tmp_path / "dump").write_bytes(dump.stdout.read())
                dump.finish()
            assert "error" not in outcome
            assert outcome["seconds"] < 5
        part = part_of(engine.describe(DumpOptions()), fingerprint, tmp_path / "dump")
        scratch = load(engine, part, tmp_path / "dump")
        assert server.rows("SELECT v, w FROM a", scratch) == [("x", 7)], "the dump is older than the change"
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    finally:
        remove(server, name)


def test_a_migration_is_never_the_victim_of_our_locks(postgres_on_host: Postgres, tmp_path: Path) -> None:
    """It holds what we wait for, and then wants what we hold: a deadlock that the server ends by killing one
    of the two, unless we let go before it looks (deadlock_timeout)."""
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    try:
        server.run("CREATE TABLE a (v text); CREATE TABLE z (v text)", name)
        engine = engine_for(server, name, tmp_path)
        with server.connect(name) as migration, contextlib.ExitStack() as stack:
            migration.execute("SET lock_timeout = '20s'")
            migration.execute("BEGIN; ALTER TABLE z ADD COLUMN w int")
            opened = threading.Event()

            def open_view() -> None:
                with engine.snapshot(DumpOptions()):
                    opened.set()

            opening = threading.Thread(target=open_view)
            opening.start()
            stack.callback(opening.join, 60)
            wait_until(lambda: waiting_for_locks(server, name, "LOCK TABLE"), 10, "our wait for z")
            # Past our own look for a deadlock, so that the next one to look, and to be ended, is the migration.
            migration.execute("SELECT pg_sleep(1.5)")
            migration.execute("ALTER TABLE a ADD COLUMN w int")
            assert not opened.is_set()
            migration.execute("COMMIT")
            assert opened.wait(30), "the backup did not go on after the migration"
    finally:
        remove(server, name)


def test_a_table_that_stays_locked_is_named_with_its_holder(
    postgres_on_host: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    monkeypatch.setattr(snapshot, "PATIENCE", 100)
    monkeypatch.setattr(snapshot, "ATTEMPTS", 2)
    try:
        server.run("CREATE TABLE stuck (v text)", name)
        with server.connect(name) as holder:
            holder.execute("BEGIN; LOCK TABLE stuck")
            with pytest.raises(OpsError, match=rf"stuck \(session {holder.info.backend_pid} of postgres"):
                with engine_for(server, name, tmp_path).snapshot(DumpOptions()):
                    pass
            monkeypatch.setattr(postgresql, "_LOCK_WAIT", 1)
            with pytest.raises(
                OpsError, match=rf"the live data cannot be read: public.stuck \(session {holder.info.backend_pid}"
            ):
                engine_for(server, name, tmp_path).target("counts")
    finally:
        remove(server, name)


# Streams ---------------------------------------------------------------------------------------------


def test_a_killed_dump_leaves_nothing_running(postgres: Postgres, large_database: str, tmp_path: Path) -> None:
    engine = engine_for(postgres, large_database, tmp_path)
    with engine.snapshot(DumpOptions()) as view:
        dump = view.dump()
        dump.stdout.read(100)
        assert tools_inside(postgres)
        assert any(name.endswith("-dump") for pid, name, state, query in our_sessions(postgres, engine))
        dump.kill()
        wait_until(lambda: not tools_inside(postgres), 5, "the end of pg_dump")
        wait_until(lambda: len(our_sessions(postgres, engine)) <= 1, 10, "the end of its session")
        dump.kill()
    wait_until(lambda: not our_sessions(postgres, engine), 10, "the end of the snapshot")


def test_a_snapshot_that_is_left_early_leaves_nothing_running(
    postgres: Postgres, large_database: str, tmp_path: Path
) -> None:
    engine = engine_for(postgres, large_database, tmp_path)
    with pytest.raises(KeyError):
        leave_early(engine)
    wait_until(lambda: not tools_inside(postgres), 5, "the end of pg_dump")
    wait_until(lambda: not our_sessions(postgres, engine), 10, "the end of our sessions")


def leave_early(engine: PostgreSQL) -> None:
    with engine.snapshot(DumpOptions()) as view:
        view.dump().stdout.read(100)
        raise KeyError


def test_the_next_run_ends_what_a_killed_one_left(postgres: Postgres, large_database: str, tmp_path: Path) -> None:
    request = {"verb": "dump", "options": postgres.options, "database": large_database, "directory": str(tmp_path)}
    process = postgres_process.start(request)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert tools_inside(postgres)
    finally:
        process.kill()
        process.wait()
    engine = engine_for(postgres, large_database, tmp_path)
    engine.sweep()
    wait_until(lambda: not tools_inside(postgres), 5, "the end of pg_dump")
    family = engine.program[: -len(engine.context.run_id)]
    left = f"SELECT FROM pg_stat_activity WHERE starts_with(application_name, '{family}')"
    wait_until(lambda: not postgres.rows(left), 10, "the end of its sessions")
    part = back_up(engine, tmp_path / "dump", DumpOptions(exclude_tables=("large",)))
    assert part.fingerprint.tables["public.a"].rows == 1


def test_a_count_that_still_runs_does_not_outlive_its_snapshot(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    try:
        server.run(
            "CREATE TABLE slow AS SELECT 1 AS i; CREATE FUNCTION crawl(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
            " $$ BEGIN PERFORM pg_sleep(60); RETURN ''; END $$;"
            "CREATE VIEW crawling AS SELECT crawl(i) AS at FROM slow",
            name,
        )
        engine = engine_for(server, name, tmp_path)
        outcome: list[BaseException] = []
        with engine.snapshot(DumpOptions()) as view:

            def count() -> None:
                view._newest = Newest(0, "public", "crawling", "at")
                try:
                    view.fingerprint()
                except BaseException as error:
                    outcome.append(error)

            counting = threading.Thread(target=count)
            counting.start()
            sleeping = f"SELECT FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'"
            wait_until(lambda: server.rows(sleeping), 10, "the slow count")
            begun = time.monotonic()
        counting.join(10)
        assert time.monotonic() - begun < 5
        assert isinstance(outcome[0], OpsError)
        wait_until(lambda: not our_sessions(server, engine), 10, "the end of our sessions")
    finally:
        remove(server, name)


@ON_HOST
def test_a_dump_whose_session_ends_is_no_backup(postgres: Postgres, large_database: str, tmp_path: Path) -> None:
    engine = engine_for(postgres, large_database, tmp_path)
    with engine.snapshot(DumpOptions()) as view:
        dump = view.dump()
        postgres.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{engine.program}-dump'"
        )
        while dump.stdout.read(1 << 20):
            pass
        with pytest.raises(ToolFailed, match="pg_dump ended with 1"):
            dump.finish()


def test_a_stopped_owner_does_not_hold_its_snapshot_forever(postgres: Postgres, database: str, tmp_path: Path) -> None:
    request = {
        "verb": "hold",
        "options": postgres.options,
        "database": database,
        "directory": str(tmp_path),
        "limits": [2, 0.5],
    }
    process = postgres_process.start(request)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        held = f"SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE datname = '{database}' AND relation = %s"
        with postgres.connect(database) as watcher:
            oid = watcher.execute("SELECT 'a'::regclass::oid").fetchone()[0]
            watcher.execute("SELECT pg_sleep(3)")  # longer than the limit: the heartbeat keeps it
            assert watcher.execute(held, (oid,)).fetchall()
            os.kill(process.pid, signal.SIGSTOP)
            wait_until(lambda: not watcher.execute(held, (oid,)).fetchall(), 10, "the end of the stopped one's locks")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("cut", [10, 3000, 0.5, -1])
def test_a_cut_stream_is_refused(
    postgres_on_host: Postgres, tmp_path: Path, dumped: tuple[Part, bytes, str], cut: float
) -> None:
    part, stream, name = dumped
    at = int(len(stream) * cut) if 0 < cut < 1 else int(cut)
    (tmp_path / "dump").write_bytes(stream[:at])
    engine = engine_for(postgres_on_host, name, tmp_path)
    with engine.snapshot(DumpOptions()) as view:
        assert view.complete(stream[:4096], stream[-4096:])
        assert not view.complete(stream[:at][:4096], stream[:at][-4096:])
    with pytest.raises(ToolFailed, match="pg_restore ended with 1") as refused:
        load(engine, part, tmp_path / "dump")
    assert "cut or damaged" in refused.value.hint
    engine.drop_scratch(engine.context.scratch_name("main", "stage"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "CREATE TABLE t (v text)",
        "CREATE TABLE t AS SELECT 1 AS v",
        "SELECT lo_from_bytea(0, decode(repeat('00', 5000), 'hex'))",
        "CREATE TABLE t (v text); SELECT lo_from_bytea(0, '')",
        "CREATE SEQUENCE s",
    ],
)
def test_every_whole_dump_is_seen_as_whole(postgres_on_host: Postgres, tmp_path: Path, statement: str) -> None:
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    try:
        server.run(statement, name)
        back_up(engine_for(server, name, tmp_path), tmp_path / "dump")  # it asks
    finally:
        remove(server, name)


def test_a_load_stops_at_the_first_error(
    postgres_on_host: Postgres, tmp_path: Path, dumped: tuple[Part, bytes, str]
) -> None:
    """A row that the dump's own constraint refuses: pg_restore alone would go on and end with 1 at the end."""
    part, stream, name = dumped
    (tmp_path / "dump").write_bytes(stream.replace(b"unique-2", b"unique-1"))
    engine = engine_for(postgres_on_host, name, tmp_path)
    with pytest.raises(ToolFailed, match="unique"):
        load(engine, part, tmp_path / "dump")
    filled = "SELECT relispopulated FROM pg_class WHERE relname = 'after'"
    assert postgres_on_host.value(filled, engine.context.scratch_name("main", "stage")) is False
    engine.drop_scratch(engine.context.scratch_name("main", "stage"))


@pytest.fixture(scope="module")
def dumped(postgres_on_host: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Part, bytes, str]]:
    name, directory = f"t{secrets.token_hex(4)}", tmp_path_factory.mktemp("dumped")
    postgres_on_host.run(f"CREATE DATABASE {name}")
    postgres_on_host.run(
        "CREATE TABLE u (v text); INSERT INTO u VALUES ('unique-1'), ('unique-2');"
        "CREATE TABLE filler AS SELECT md5(i::text) AS m FROM generate_series(1, 20000) i;"
        "CREATE UNIQUE INDEX u_once ON u (v); CREATE MATERIALIZED VIEW after AS SELECT 1",
        name,
    )
    part = back_up(engine_for(postgres_on_host, name, directory), directory / "dump")
    yield part, (directory / "dump").read_bytes(), name
    remove(postgres_on_host, name)


def test_a_killed_load_leaves_nothing_running(postgres: Postgres, database: str, tmp_path: Path) -> None:
    postgres.run("CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 300000) i", database)
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    loader = engine.load(part, scratch)
    stream = (tmp_path / "dump").read_bytes()
    try:
        loader.stdin.write(stream[: len(stream) // 2])
        loader.stdin.flush()
        assert tools_inside(postgres)
    finally:
        loader.kill()
    wait_until(lambda: not tools_inside(postgres), 5, "the end of pg_restore")
    wait_until(lambda: not our_sessions(postgres, engine), 5, "the end of its session")
    engine.drop_scratch(scratch)
    assert scratch not in postgres.databases()


def test_a_drop_does_not_wait_for_somebody_elses_load_forever(
    postgres_on_host: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COPY whose client sends nothing keeps every DROP DATABASE of its server waiting."""
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    monkeypatch.setattr(stage, "DROP_LIMIT", 1)
    try:
        engine = engine_for(server, name, tmp_path)
        scratch = engine.context.scratch_name("main", "stage")
        server.run(f"CREATE DATABASE {scratch}")
        server.run("CREATE TABLE t (v text)", name)
        with server.connect(name) as standing:
            with standing.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
                copy.write("a row\n")
                with pytest.raises(Busy, match=f"database {scratch} could not be dropped"):
                    engine.drop_scratch(scratch)
        engine.drop_scratch(scratch)
        assert scratch not in server.databases()
    finally:
        remove(server, name)


# The swap --------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a SIGKILL looks like from inside: nothing after it runs."""


@contextlib.contextmanager
def killed_at(point: int, moment: str) -> Iterator[dict[str, int]]:
    """Every statement of the engine counts; at the given one it ends. `reached`: how many there were."""
    original, seen = Database.run, {"calls": 0}

    def run(self: Database, sql: str, *parameters: Any) -> None:
        seen["calls"] += 1
        if seen["calls"] == point and moment == "before":
            raise Killed
        original(self, sql, *parameters)
        if seen["calls"] == point and moment == "after":
            raise Killed

    Database.run = run  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Database.run = original  # type: ignore[method-assign]


def every_point() -> Iterator[tuple[int, str]]:
    return ((number, moment) for number in itertools.count(1) for moment in ("before", "after"))


@pytest.fixture
def staged(postgres: Postgres, database: str, tmp_path: Path) -> tuple[Part, str]:
    """A staged copy of `backed up`, beside a live database that says `live`."""
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    postgres.run("UPDATE a SET v = 'live'; UPDATE b SET v = 'live'", database)
    return part, load(engine, part, tmp_path / "dump")


LIVE, BACKED_UP = [("a", "live"), ("b", "live")], [("a", "backed up"), ("b", "backed up")]


@ON_HOST
def test_a_swap_killed_at_any_statement_is_undone(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str]
) -> None:
    part, scratch = staged
    for point, moment in every_point():
        step = journal_step(tmp_path)
        try:
            with killed_at(point, moment):
                engine_for(postgres, database, tmp_path).swap(part, scratch, step)
        except Killed:
            assert database in postgres.databases(), "the application is without its database"
            for _again in range(2):
                engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
                assert content_of(postgres, database) == LIVE, f"{moment} statement {point}"
                assert content_of(postgres, scratch) == BACKED_UP
            continue
        break
    assert point > 10, "the kills did not reach the renames"
    assert content_of(postgres, database) == BACKED_UP
    engine_for(postgres, database, tmp_path).finish(read_step(tmp_path))
    engine_for(postgres, database, tmp_path).finish(read_step(tmp_path))
    assert content_of(postgres, database) == BACKED_UP
    assert not [name for name in postgres.databases() if name.startswith("day2_")]


@ON_HOST
def test_an_undo_killed_at_any_statement_is_undone_by_the_next(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str]
) -> None:
    part, scratch = staged
    for point, moment in every_point():
        step = journal_step(tmp_path)
        engine_for(postgres, database, tmp_path).swap(part, scratch, step)
        assert content_of(postgres, database) == BACKED_UP
        try:
            with killed_at(point, moment):
                engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
        except Killed:
            engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
            assert content_of(postgres, database) == LIVE, f"{moment} statement {point}"
            assert content_of(postgres, scratch) == BACKED_UP
            continue
        break
    assert point > 5
    assert content_of(postgres, database) == LIVE


@pytest.mark.parametrize(
    "kill",
    [{"kill_at_write": [1, "after"]}, {"kill_at_write": [2, "after"]}],
    ids=str,
)
def test_a_process_killed_in_a_swap_leaves_what_the_next_one_undoes(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str], kill: dict[str, Any]
) -> None:
    part, scratch = staged
    journal_step(tmp_path)
    request = {
        "verb": "swap",
        "options": postgres.options,
        "database": database,
        "directory": str(tmp_path),
        "part": part.to_json(),
        "scratch": scratch,
        **kill,
    }
    assert postgres_process.start(request).wait(60) == -signal.SIGKILL
    engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
    assert content_of(postgres, database) == LIVE
    # And once more, to its end.
    journal_step(tmp_path)
    request.pop(next(iter(kill)))
    assert postgres_process.start(request).wait(60) == 0
    assert content_of(postgres, database) == BACKED_UP


@ON_HOST
def test_a_swap_of_a_lost_database_is_undone_to_none(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str]
) -> None:
    part, scratch = staged
    postgres.drop(database)
    step = journal_step(tmp_path)
    engine = engine_for(postgres, database, tmp_path)
    engine.swap(part, scratch, step)
    assert content_of(postgres, database) == BACKED_UP
    engine.undo(read_step(tmp_path))
    assert database not in postgres.databases()
    assert content_of(postgres, scratch) == BACKED_UP
    engine.swap(part, scratch, step)
    engine.finish(step)
    assert content_of(postgres, database) == BACKED_UP


def test_undo_after_finish_says_that_there_is_no_way_back(
    postgres_on_host: Postgres, tmp_path: Path, dumped: tuple[Part, bytes, str]
) -> None:
    part, stream, name = dumped
    (tmp_path / "dump").write_bytes(stream)
    engine = engine_for(postgres_on_host, name, tmp_path)
    restore(engine, part, tmp_path / "dump", tmp_path)
    with pytest.raises(OpsError, match="is gone"):
        engine.undo(read_step(tmp_path))
    assert postgres_on_host.value("SELECT count(*) FROM u", name) == 2


@ON_HOST
def test_a_failing_swap_undoes_itself(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str]
) -> None:
    part, scratch = staged
    engine = engine_for(postgres, database, tmp_path)
    taken = engine.context.scratch_name("main", "old")
    postgres.run(f"CREATE DATABASE {taken}")  # so that the rename fails
    with pytest.raises(OpsError, match="already exists"):
        engine.swap(part, scratch, journal_step(tmp_path))
    assert content_of(postgres, database) == LIVE
    assert content_of(postgres, scratch) == BACKED_UP


@ON_HOST
@pytest.mark.parametrize("tie", ["slot", "prepared"])
def test_a_database_that_something_is_tied_to_is_not_swapped(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str], tie: str
) -> None:
    part, scratch = staged
    engine = engine_for(postgres, database, tmp_path)
    if tie == "slot":
        postgres.run(f"SELECT pg_create_logical_replication_slot('{database}_slot', 'pgoutput')", database)
    else:
        postgres.run(f"BEGIN; UPDATE a SET v = v; PREPARE TRANSACTION '{database}_px'", database)
    assert any(f"{database}_" in warning for warning in engine.accepts(part))
    try:
        with pytest.raises(Refused, match="cannot be replaced while it has"):
            engine.swap(part, scratch, journal_step(tmp_path))
        assert content_of(postgres, database) == LIVE
    finally:
        if tie == "prepared":
            postgres.run(f"ROLLBACK PREPARED '{database}_px'", database)


# Sessions --------------------------------------------------------------------------------------------


def test_sessions_of_others_are_seen_and_ended(postgres: Postgres, database: str, tmp_path: Path) -> None:
    engine = engine_for(postgres, database, tmp_path)
    with postgres.connect(database, application_name="shop") as client, postgres.connect("postgres") as other:
        with engine.server.connect(database):  # ours is nobody's concern
            assert [session.program for session in engine.sessions()] == ["shop"]
            assert engine.sessions()[0].id == str(client.info.backend_pid)
            assert [session.user for session in engine.close_sessions()] == ["postgres"]
        assert engine.sessions() == []
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        other.execute("SELECT 1")


def test_clients_that_come_back_all_the_time_do_not_stop_the_swap(
    postgres: Postgres, database: str, tmp_path: Path, staged: tuple[Part, str]
) -> None:
    """And each sees the whole old database, or the whole new one, or none."""
    part, scratch = staged
    stop, seen = threading.Event(), set()

    def come_back() -> None:
        while not stop.is_set():
            with contextlib.suppress(psycopg.OperationalError), postgres.connect(database) as connection:
                while not stop.is_set():
                    rows = connection.execute("SELECT a.v, b.v FROM a, b").fetchall()
                    seen.add(rows[0])

    clients = [threading.Thread(target=come_back) for _client in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: seen, 10, "a client's first row")
        engine = engine_for(postgres, database, tmp_path)
        step = journal_step(tmp_path)
        engine.close_sessions()
        engine.swap(part, scratch, step)
        wait_until(lambda: len(seen) == 2, 10, "a client in the new database")
        engine.undo(step)
        engine.swap(part, scratch, step)
        engine.finish(step)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert seen == {("live", "live"), ("backed up", "backed up")}


def test_nobody_gets_in_between_the_end_of_the_sessions_and_the_rename(
    postgres_on_host: Postgres, tmp_path: Path, dumped: tuple[Part, bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part, stream, name = dumped
    (tmp_path / "dump").write_bytes(stream)
    engine = engine_for(postgres_on_host, name, tmp_path)
    end_sessions, let_in = swap.end_sessions, []

    def then_come_back(*arguments: Any) -> Any:
        ended = end_sessions(*arguments)
        with contextlib.suppress(psycopg.OperationalError):
            let_in.append(postgres_on_host.connect(name))
        return ended

    scratch = load(engine, part, tmp_path / "dump")
    monkeypatch.setattr(swap, "end_sessions", then_come_back)
    step = journal_step(tmp_path)
    begun = time.monotonic()
    engine.swap(part, scratch, step)
    engine.undo(step)
    assert time.monotonic() - begun < 5
    assert let_in == []
    monkeypatch.undo()
    postgres_on_host.connect(name).close()
    engine.drop_scratch(scratch)


# Size ------------------------------------------------------------------------------------------------


def test_three_hundred_tables_with_eight_hundred_foreign_keys(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    try:
        server.run(
            """
            DO $$ BEGIN
              FOR i IN 1..300 LOOP
                EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, x int, y int, z int)', i);
                EXECUTE format('INSERT INTO t%s SELECT g, 1 + (g * 7) %% 20, g, 21 - g FROM generate_series(1, 20) g', i);
              END LOOP;
              FOR i IN 0..799 LOOP
                EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (%s) REFERENCES t%s',
                               1 + i % 300, (ARRAY['x', 'y', 'z'])[1 + i / 300], 1 + (i * 17 + 5) % 300);
              END LOOP;
            END $$
            """,
            name,
        )
        engine = engine_for(server, name, tmp_path)
        part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
        assert part.fingerprint.objects["foreign key"] == 800
        assert part.fingerprint.rows == 6000
        scratch = load(engine, part, tmp_path / "dump")
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
        begun = time.monotonic()
        engine.swap(part, scratch, journal_step(tmp_path))
        assert time.monotonic() - begun < 5, "a swap does not depend on how many tables there are"
    finally:
        remove(server, name)
