# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite: backed up, destroyed and restored, under writers, locks, damage and kills."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import (
    Busy,
    Mismatch,
    OpsError,
    Refused,
    Unavailable,
)
from ansible_collections.day2.ops.plugins.module_utils._engines import sqlite_file, sqlite_swap
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import files, sqlite
from tests.integration.support.local import Bench, dumped, killed_at, open_to_others, staged

pytestmark = pytest.mark.sqlite
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "app").mkdir()
    return Bench(tmp_path)


@pytest.fixture
def open_bench() -> Iterator[Bench]:
    with open_to_others() as bench:
        yield bench


@pytest.fixture
def path(bench: Bench) -> Path:
    return bench.root / "app" / "booking.db"


def restored(bench: Bench, engine: Any, backup: Any) -> None:
    """The whole way of a restore, to its end."""
    part, data = backup
    scratch = staged(engine, part, data)
    step = bench.step()
    engine.swap(part, scratch, step)
    engine.finish(step)
    engine.drop_scratch(scratch)


def written(engine: Any) -> bool:
    """Wait until a writer has written."""
    before, end = engine.target("counts").fingerprint.rows, time.monotonic() + 30
    while engine.target("counts").fingerprint.rows == before:
        assert time.monotonic() < end, "the writer does not write"
    return True


# Content ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "page_size", "encoding", "vacuum"),
    [
        ("wal", 4096, "UTF-8", False),
        ("wal", 4096, "UTF-8", True),
        ("delete", 1024, "UTF-16le", False),
        pytest.param("wal", 65536, "UTF-8", False, marks=pytest.mark.full),
        pytest.param("truncate", 512, "UTF-16be", True, marks=pytest.mark.full),
    ],
)
def test_everything_comes_back(
    bench: Bench, path: Path, mode: str, page_size: int, encoding: str, vacuum: bool
) -> None:
    connection = sqlite.make(path, mode, page_size, encoding)
    os.chmod(path, 0o640)
    before, inode, owner = sqlite.content(path), path.stat().st_ino, sqlite.ownership(path)
    engine = bench.engine("sqlite", path=str(path), vacuum=vacuum)
    backup = dumped(engine)
    connection.executescript("DROP VIEW more; DROP VIEW expensive; DROP TABLE booking; DELETE FROM customer;")
    connection.executescript("PRAGMA user_version=1; CREATE TABLE new (x);")
    assert sqlite.content(path) != before
    restored(bench, engine, backup)
    assert connection.execute("SELECT COUNT(*) FROM booking").fetchone() == (160,)  # an open connection sees it
    assert sqlite.content(path) == before
    assert (path.stat().st_ino, sqlite.ownership(path)) == (inode, owner)
    assert bench.warnings == []
    connection.close()
    assert sqlite.journal_mode(path) == ("wal" if mode == "wal" else "delete")
    assert bench.scratch() == []
    assert sorted(each.name for each in path.parent.iterdir()) == ["booking.db"]


def test_the_fingerprint_tells_every_kind_of_change(bench: Bench, path: Path) -> None:
    connection = sqlite.make(path)
    engine = bench.engine("sqlite", path=str(path))
    before = engine.target("full").fingerprint
    for change in (
        "UPDATE plain SET value = '1' WHERE typeof(value) = 'integer' AND value = 1",  # 1 and '1'
        "UPDATE plain SET value = CAST('text' AS BLOB) WHERE value = 'text'",
        "UPDATE plain SET value = 0.0 WHERE value = 0 AND typeof(value) = 'integer'",
        "UPDATE setting SET value = x'00' WHERE key = 'c'",
        "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'customer'",
        "INSERT INTO search VALUES ('new', 'row')",
        "UPDATE place SET x1 = 5",
        "DROP INDEX cheap",
        "DROP VIEW more",
        "DROP TRIGGER kept",
    ):
        connection.execute(change)
        after = engine.target("full").fingerprint
        assert before.differences(after), change
        before = after
    connection.close()


def test_a_row_that_moves_between_tables_or_columns_is_seen(bench: Bench, path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES ('at', 'b');")
    engine = bench.engine("sqlite", path=str(path))
    before = engine.target("full").fingerprint
    connection.execute("UPDATE t SET a = 'a', b = 'tb'")
    assert before.differences(engine.target("full").fingerprint)
    connection.close()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_fingerprint_is_of_exactly_the_rows_in_the_dump_while_writers_run(
    bench: Bench, path: Path, mode: str
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.executescript("CREATE TABLE pair_a (n, filler); CREATE TABLE pair_b (n);")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO pair_a VALUES (-1, randomblob(2000))", [() for _ in range(3000)])
    connection.execute("COMMIT")
    connection.close()
    engine = bench.engine("sqlite", path=str(path))
    with sqlite.writer(path):
        backups = [dumped(engine) for _ in range(3) if written(engine)]
    rows = [part.fingerprint.tables["pair_b"].rows for part, _data in backups]
    assert rows[0] < rows[1] < rows[2]
    for part, _data in backups:
        assert part.fingerprint.tables["pair_a"].rows - 3000 == part.fingerprint.tables["pair_b"].rows
    restored(bench, engine, backups[1])
    assert backups[1][0].fingerprint.differences(engine.target("full").fingerprint) == []


def test_a_database_without_tables_comes_back(bench: Bench, path: Path) -> None:
    path.touch()
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    assert engine.target().empty
    sqlite.make(path).close()
    assert not engine.target().empty
    restored(bench, engine, backup)
    assert engine.target().empty


def test_the_newest_value_is_recorded(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path), newest={"table": "booking", "column": "at"})
    part, _data = dumped(engine)
    assert part.fingerprint.newest == "9999-12-31 23:59:59.999999"
    changed = bench.engine("sqlite", path=str(path), newest={"table": "audit", "column": "at"})
    staged(changed, part, _data)  # compared by the column that the backup looked at
    wrong = bench.engine("sqlite", path=str(path), newest={"table": "booking", "column": "nothing"})
    with pytest.raises(OpsError, match="nothing"):
        wrong.describe(DumpOptions())


def test_it_says_what_a_restore_must_know(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    description = bench.engine("sqlite", path=str(path)).describe(DumpOptions())
    assert description.schema_revision == "3f2a9c1b"
    assert description.facts["user_version"] == 42
    assert description.facts["journal_mode"] == "wal"
    assert description.size >= path.stat().st_size
    with pytest.raises(Refused, match="leave tables out"):
        bench.engine("sqlite", path=str(path)).describe(DumpOptions(exclude_tables=("audit",)))


# Looking changes nothing -------------------------------------------------------------------------------


def test_a_missing_file_is_an_error_and_is_not_made(bench: Bench, path: Path) -> None:
    engine = bench.engine("sqlite", path=str(path))
    for ask in (
        engine.ping,
        lambda: engine.describe(DumpOptions()),
        lambda: engine.snapshot(DumpOptions()).__enter__(),
    ):
        with pytest.raises(Unavailable, match=r"there is no file .*booking\.db"):
            ask()
    assert engine.target().exists is False
    assert list(path.parent.iterdir()) == []


def test_a_directory_in_its_place_is_refused(bench: Bench, path: Path) -> None:
    path.mkdir()
    engine = bench.engine("sqlite", path=str(path))
    for ask in (engine.ping, engine.target):
        with pytest.raises(Refused, match="is a directory"):
            ask()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_looking_leaves_the_files_as_they_are(bench: Bench, path: Path, mode: str) -> None:
    sqlite.make(path, mode).close()
    if mode == "wal":  # rows that are in the log only, left by a process that was killed
        sqlite.crash(path, "INSERT INTO blank (value) VALUES ('in the log')")
    files = [path, *([path.with_name("booking.db-wal")] if mode == "wal" else [])]
    before = [(sqlite.digest(each), each.stat().st_mtime_ns) for each in files]
    engine = bench.engine("sqlite", path=str(path))
    engine.ping()
    engine.describe(DumpOptions())
    assert ("blank" in engine.target("full").fingerprint.tables) is True
    assert engine.target("full").fingerprint.tables["blank"].rows == (1 if mode == "wal" else 0)
    assert [(sqlite.digest(each), each.stat().st_mtime_ns) for each in files] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files that lock the application out")
def test_root_leaves_nothing_that_locks_the_application_out(open_bench: Bench) -> None:
    user = sqlite.unprivileged()
    assert user is not None
    bench, path = open_bench, open_bench.root / "app" / "booking.db"
    path.parent.mkdir()
    sqlite.make(path).close()
    for each in (path.parent, path):
        os.chown(each, user, user)
    os.chmod(path, 0o600)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    engine.target("full")
    for each in path.parent.iterdir():
        assert sqlite.ownership(each)[:2] == (user, user), each
    with sqlite.holder(path, "INSERT INTO blank (value) VALUES ('the application')", user=user):
        restored(bench, engine, backup)
    for each in path.parent.iterdir():
        assert sqlite.ownership(each)[:2] == (user, user), each
    with sqlite.holder(path, "INSERT INTO blank (value) VALUES ('still writes')", user=user):
        assert engine.target("counts").fingerprint.tables["blank"].rows == 1


def test_a_journal_that_a_crashed_writer_left_is_rolled_back_not_ignored(bench: Bench, path: Path) -> None:
    sqlite.make(path, "delete").close()
    before = sqlite.content(path)
    sqlite.crash(path, "PRAGMA cache_size=2", "BEGIN", "UPDATE customer SET name = 'half'", "DELETE FROM booking")
    assert path.with_name("booking.db-journal").exists()
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    sqlite.make(bench.root / "other.db").close()
    other = bench.engine("sqlite", path=str(bench.root / "other.db"))
    restored(bench, other, backup)
    assert sqlite.content(bench.root / "other.db") == before


# Locks -----------------------------------------------------------------------------------------------


def test_an_exclusive_lock_is_waited_for_and_then_named(bench: Bench, path: Path) -> None:
    sqlite.make(path, "delete").close()
    engine = bench.engine("sqlite", path=str(path))
    engine.wait = 0.3
    with sqlite.holder(path, "BEGIN EXCLUSIVE", "INSERT INTO blank (value) VALUES ('x')"):
        for ask in (engine.ping, engine.target, lambda: dumped(engine)):
            with pytest.raises(Busy, match=r"booking\.db is locked by another process"):
                ask()
    dumped(engine)
    assert bench.scratch() == []


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_writer_that_does_not_end_stops_the_swap_and_nothing_is_changed(bench: Bench, path: Path, mode: str) -> None:
    connection = sqlite.make(path, mode)
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    connection.execute("DELETE FROM setting")
    connection.close()
    before = sqlite.content(path)
    scratch = staged(engine, part, data)
    engine.wait = 0.3
    with (
        sqlite.holder(path, "BEGIN IMMEDIATE", "INSERT INTO blank (value) VALUES ('x')"),
        pytest.raises(Busy, match="is locked by another process"),
    ):
        engine.swap(part, scratch, bench.step())
    assert sqlite.content(path) == before
    engine.drop_scratch(scratch)
    assert bench.scratch() == []


def test_rows_written_while_the_live_data_are_kept_are_not_lost(
    bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who should have been stopped writes between the copy for undo and the swap."""
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    scratch = staged(engine, part, data)
    keep, late = sqlite_swap._keep, []

    def keep_and_write(plan: sqlite_swap.Swap) -> None:
        keep(plan)
        if not late:
            late.append(1)
            sqlite.crash(path, "INSERT INTO blank (value) VALUES ('late')")

    monkeypatch.setattr(sqlite_swap, "_keep", keep_and_write)
    step = bench.step()
    engine.swap(part, scratch, step)
    engine.undo(step)
    assert engine.target("counts").fingerprint.tables["blank"].rows == 1


def test_a_writer_that_never_pauses_is_named(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    scratch = staged(engine, part, data)
    keep = sqlite_swap._keep

    def keep_and_write(plan: sqlite_swap.Swap) -> None:
        keep(plan)
        sqlite.crash(path, "INSERT INTO blank (value) VALUES ('late')")

    monkeypatch.setattr(sqlite_swap, "_keep", keep_and_write)
    with pytest.raises(Busy, match="still being written to"):
        engine.swap(part, scratch, bench.step())
    assert engine.target("counts").fingerprint.tables["blank"].rows == 3


# Page size and journal mode ------------------------------------------------------------------------------


@pytest.mark.parametrize(("then", "now"), [("wal", "wal"), ("wal", "delete"), ("delete", "wal"), ("delete", "delete")])
@pytest.mark.parametrize(("size_then", "size_now"), [(4096, 4096), (8192, 1024)])
def test_the_journal_mode_is_that_of_the_backup(
    bench: Bench, path: Path, then: str, now: str, size_then: int, size_now: int
) -> None:
    sqlite.make(path, then, size_then).close()
    before = sqlite.content(path)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size={size_now}")
    connection.execute(f"PRAGMA journal_mode={now}")
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    restored(bench, engine, backup)
    assert sqlite.content(path) == before
    assert sqlite.journal_mode(path) == then


def test_undo_brings_page_size_and_journal_mode_back(bench: Bench, path: Path) -> None:
    sqlite.make(path, "delete", 8192).close()
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    path.unlink()
    sqlite.make(path, "wal", 1024).close()
    before = sqlite.content(path)
    step = bench.step()
    engine.swap(part, staged(engine, part, data), step)
    engine.undo(step)
    assert sqlite.content(path) == before
    assert sqlite.journal_mode(path) == "wal"


# Damage ----------------------------------------------------------------------------------------------


def header(path: Path) -> None:
    with open(path, "r+b") as stream:
        stream.write(os.urandom(100))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def schema(path: Path) -> None:
    with open(path, "r+b") as stream:
        stream.seek(100)
        stream.write(b"\xff" * 900)


def inside(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        for page in range(8192, min(size, 200000), 4096):
            stream.seek(page)
            stream.write(b"\xee" * 2000)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


@pytest.mark.parametrize("damage", [header, schema, garbage])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_damaged_file_is_moved_aside_with_its_log(
    bench: Bench, path: Path, damage: Callable[[Path], None], mode: str
) -> None:
    sqlite.make(path, mode).close()
    os.chmod(path, 0o640)
    before, owner = sqlite.content(path), sqlite.ownership(path)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    if mode == "wal":
        sqlite.crash(path, "DELETE FROM setting")
    else:
        path.with_name("booking.db-wal").write_bytes(os.urandom(4096))
    damage(path)
    damaged = sqlite.digest(path)
    target = engine.target()
    assert (target.exists, target.readable, target.empty) == (True, False, False)
    restored(bench, engine, backup)
    assert sqlite.content(path) == before
    assert sqlite.ownership(path) == owner
    assert sqlite.journal_mode(path) == mode
    aside = path.with_name("booking.db.day2-old-0000aa")
    assert sqlite.digest(aside) == damaged  # what is left in it may still be wanted
    assert path.with_name("booking.db-wal.day2-old-0000aa").exists()
    assert any(str(aside) in warning for warning in bench.warnings)


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
@pytest.mark.parametrize("damage", [header, schema, garbage, None])
def test_a_stale_journal_or_log_is_never_played_into_the_restored_file(
    bench: Bench, path: Path, damage: Callable[[Path], None] | None, suffix: str
) -> None:
    """One that belongs to another state of the same file, so that SQLite takes it for its own."""
    mode = "wal" if suffix == "-wal" else "delete"
    sqlite.make(path, mode, large=10).close()
    before = sqlite.content(path)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    stale = path.with_name(path.name + suffix)
    sqlite.crash(path, "PRAGMA cache_size=2", "BEGIN", "UPDATE customer SET name = 'half'", "DELETE FROM booking")
    if mode == "wal":
        sqlite.crash(path, "UPDATE customer SET name = 'whole'")
    assert stale.stat().st_size > 0
    if damage is None:
        path.unlink()
    else:
        damage(path)
    restored(bench, engine, backup)
    assert sqlite.content(path) == before


def test_a_backup_of_a_damaged_file_is_refused(bench: Bench, path: Path) -> None:
    sqlite.make(path, "delete").close()
    truncated(path)
    engine = bench.engine("sqlite", path=str(path))
    with pytest.raises(Mismatch, match="damaged") as caught, engine.snapshot(DumpOptions()):
        pass
    assert "earlier backups are untouched" in str(caught.value)
    assert bench.scratch() == []


def test_damage_that_only_reading_everything_shows_is_not_stored(bench: Bench, path: Path) -> None:
    """One leaf page of one table: it opens, its schema is whole, its length is right."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, filler)")
    connection.executemany("INSERT INTO t (filler) VALUES (?)", [("x" * 500,) for _ in range(500)])
    connection.commit()
    connection.close()
    engine = bench.engine("sqlite", path=str(path))
    part, _data = dumped(engine)
    with open(path, "r+b") as stream:
        stream.seek(20 * 4096)
        stream.write(b"\xee" * 4096)
    damaged = path.read_bytes()
    engine.ping()
    with pytest.raises(Mismatch, match="damaged") as caught, engine.snapshot(DumpOptions()):
        pass
    assert "earlier backups are untouched" in str(caught.value)
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    loader = engine.load(part, scratch)
    loader.stdin.write(damaged)
    loader.stdin.close()
    with pytest.raises(Mismatch, match="damaged"):
        loader.finish()
    loader.kill()
    assert bench.scratch() == []


@pytest.mark.parametrize("damage", [inside, truncated])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_file_that_is_damaged_deep_inside_is_restored(
    bench: Bench, path: Path, damage: Callable[[Path], None], mode: str
) -> None:
    sqlite.make(path, mode).close()
    before = sqlite.content(path)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    damage(path)
    damaged = sqlite.digest(path)
    assert engine.target().readable is False
    restored(bench, engine, backup)
    assert sqlite.content(path) == before
    assert sqlite.digest(path.with_name("booking.db.day2-old-0000aa")) == damaged


def test_a_missing_file_comes_back_with_owner_and_mode_and_without_a_stale_log(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    os.chmod(path, 0o660)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before, owner = sqlite.content(path), sqlite.ownership(path)
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    sqlite.crash(path, "DELETE FROM setting")  # its log would be played into the restored file
    path.unlink()
    assert path.with_name("booking.db-wal").stat().st_size > 0
    restored(bench, engine, backup)
    assert sqlite.content(path) == before
    assert sqlite.ownership(path) == owner
    assert sqlite.journal_mode(path) == "wal"


def test_a_missing_file_gets_the_journal_mode_that_vacuum_dropped(bench: Bench, path: Path) -> None:
    sqlite.make(path, large=10).close()
    engine = bench.engine("sqlite", path=str(path), vacuum=True)
    backup = dumped(engine)
    assert backup[1][18:20] == b"\x01\x01"
    path.unlink()
    restored(bench, engine, backup)
    assert sqlite.journal_mode(path) == "wal"


@pytest.mark.parametrize("state", ["damaged", "damaged without a log", "missing"])
def test_undo_takes_the_log_of_the_restored_file_away_too(bench: Bench, path: Path, state: str) -> None:
    """Otherwise it would be played into the file that was there before."""
    part, data = prepared(bench, path, state.split()[0])
    if state == "damaged without a log":
        for suffix in ("-wal", "-shm"):
            path.with_name(f"booking.db{suffix}").unlink()
    before = {each.name: sqlite.digest(each) for each in path.parent.iterdir()}
    engine = bench.engine("sqlite", path=str(path))
    step = bench.step()
    engine.swap(part, staged(engine, part, data), step)
    sqlite.crash(path, "INSERT INTO blank (value) VALUES ('in the new log')")
    assert path.with_name("booking.db-wal").stat().st_size > 0
    engine.undo(step)
    after = {each.name: sqlite.digest(each) for each in path.parent.iterdir()}
    if state == "damaged":
        before.pop("booking.db-shm")
        after.pop("booking.db-shm")
    assert after == before


def test_a_missing_directory_is_an_error_that_names_it(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, _data = dumped(engine)
    shutil.rmtree(path.parent)
    with pytest.raises(Refused, match=f"there is no directory {path.parent}"):
        engine.accepts(part)


def test_a_symbolic_link_stays_and_its_target_is_restored(bench: Bench, path: Path) -> None:
    real = bench.root / "data" / "real.db"
    real.parent.mkdir()
    connection = sqlite.make(real)
    path.symlink_to(real)
    before = sqlite.content(real)
    engine = bench.engine("sqlite", path=str(path))
    assert engine.reach().paths[0] == real
    backup = dumped(engine)
    connection.execute("DELETE FROM setting")
    connection.close()
    restored(bench, engine, backup)
    assert path.is_symlink()
    assert sqlite.content(real) == before


# Streams that are not what they should be -----------------------------------------------------------------


def test_a_stream_that_was_cut_or_altered_is_refused(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    scratch = engine.context.scratch_name("main", "stage")
    middle = len(data) // 2
    for altered, why in (
        (data[:-1], "bytes where its header promises"),
        (data[:middle], "bytes where its header promises"),
        (b"x" + data[1:], "first bytes are wrong"),
        (b"", "first bytes are wrong"),
        (data[:100] + b"\xff" * 900 + data[1000:], "damaged"),
        (data[:8192] + b"\xee" * 100000 + data[108192:], "damaged"),
    ):
        engine.stage(part, scratch)
        loader = engine.load(part, scratch)
        loader.stdin.write(altered)
        loader.stdin.close()
        with pytest.raises(Mismatch, match=why):
            loader.finish()
        loader.kill()
    assert bench.scratch() == []


def test_a_copy_cut_on_its_way_out_is_not_complete(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    with engine.snapshot(DumpOptions()) as snapshot:
        producer = snapshot.dump()
        data = producer.stdout.read(5000)
        assert snapshot.complete(data[:4096], data[-4096:]) is False
        with pytest.raises(Mismatch, match="only 5000 of"):
            producer.finish()
        producer.kill()


def test_what_a_newer_sqlite_wrote_earns_a_warning(bench: Bench, path: Path) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, _data = dumped(engine)
    assert engine.accepts(part) == []
    assert "SQLite 99.1.0" in engine.accepts(dataclasses.replace(part, server_version="99.1.0"))[0]
    with pytest.raises(Refused, match="has the format sql"):
        engine.accepts(dataclasses.replace(part, format="sql"))


def test_rows_without_a_parent_are_named_and_restored(bench: Bench, path: Path) -> None:
    connection = sqlite.make(path)
    connection.execute("INSERT INTO booking (customer, price) VALUES (99999, 1)")
    connection.close()
    engine = bench.engine("sqlite", path=str(path))
    restored(bench, engine, dumped(engine))
    assert any("booking: 1 rows" in warning for warning in bench.warnings)


# Kills -----------------------------------------------------------------------------------------------


def prepared(bench: Bench, path: Path, state: str) -> Any:
    """A live file in some state, and a backup of what it was."""
    sqlite.make(path, "wal", 1024 if state == "page size" else 4096, large=10).close()
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    if state == "page size":
        path.unlink()
        sqlite.make(path, "wal", 8192, large=10).close()
    if state == "missing":
        sqlite.crash(path, "DELETE FROM setting")
        path.unlink()
    elif state == "damaged":
        sqlite.crash(path, "DELETE FROM setting")
        header(path)
    else:
        sqlite.crash(path, "UPDATE customer SET name = 'now'", "DELETE FROM setting")
    return backup


def state_of(path: Path) -> dict[str, str]:
    """A readable database by its content, everything else by its bytes."""
    try:
        return sqlite.content(path)
    except AssertionError:
        return {each.name: sqlite.digest(each) for each in sorted(path.parent.iterdir()) if "-shm" not in each.name}


@pytest.mark.faults
@pytest.mark.parametrize("state", ["readable", "page size", "damaged", "missing"])
@pytest.mark.parametrize("what", ["swap", "undo"])
def test_a_swap_or_its_undo_killed_anywhere_is_undone(bench: Bench, path: Path, state: str, what: str) -> None:
    part, data = prepared(bench, path, state)
    engine = bench.engine("sqlite", path=str(path))
    scratch = staged(engine, part, data)
    pristine = shutil.copytree(path.parent, bench.root / "pristine")
    wanted = state_of(shutil.copytree(pristine, bench.root / "look") / path.name)
    number, killed = 1, True
    while killed:
        shutil.rmtree(path.parent)
        shutil.copytree(pristine, path.parent)
        swap = partial(engine.swap, part, scratch, bench.step())
        if what == "swap":
            killed = killed_at(number, swap)
        else:
            swap()
            killed = killed_at(number, partial(engine.undo, bench.recorded()))
        step = bench.recorded()
        engine.undo(step)
        engine.undo(step)
        assert state_of(path) == wanted, number
        if state in ("readable", "page size"):
            assert sqlite.journal_mode(path) == "wal"
        assert [each.name for each in path.parent.iterdir() if "day2" in each.name] == [], number
        assert bench.scratch() == [f"{scratch}.sqlite"], number
        number += 1
    assert number > 5


@root_only
@pytest.mark.faults
def test_a_full_disk_is_said_and_loses_nothing(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In scratch and on the live file's own disk, each a small tmpfs."""
    monkeypatch.setattr(sqlite_file, "need_space", lambda *arguments: None)
    scratch_directory = bench.context().home / "scratch"
    scratch_directory.mkdir(parents=True)
    sqlite.make(path, large=10).close()
    engine = bench.engine("sqlite", path=str(path))
    small = dumped(engine)
    sqlite3.connect(path).execute("CREATE TABLE filler AS SELECT zeroblob(8000000) AS x").connection.close()
    large = dumped(engine)
    with files.mounted(scratch_directory, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        with pytest.raises(OpsError, match="is full"):
            dumped(engine)
        scratch = engine.context.scratch_name("main", "stage")
        engine.stage(large[0], scratch)
        loader = engine.load(large[0], scratch)
        with pytest.raises(BrokenPipeError):  # as from a tool that has ended; `finish` says why
            loader.stdin.write(large[1])
        with pytest.raises(OpsError, match="No space left on device"):
            loader.finish()
        loader.kill()
        assert bench.scratch() == []
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    with files.mounted(path.parent, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        for state in ("readable", "damaged"):
            path.write_bytes(small[1] if state == "readable" else b"garbage" * 1000)
            before = state_of(path)
            scratch = staged(engine, *large)
            with pytest.raises(OpsError, match=r"is full|No space left"):
                engine.swap(large[0], scratch, bench.step())
            engine.drop_scratch(scratch)
            assert state_of(path) == before
            assert bench.scratch() == []
            assert [each.name for each in path.parent.iterdir() if "day2" in each.name] == []


@pytest.mark.faults
@pytest.mark.parametrize("state", ["readable", "damaged"])
def test_a_finish_killed_anywhere_is_finished(bench: Bench, path: Path, state: str) -> None:
    part, data = prepared(bench, path, state)
    engine = bench.engine("sqlite", path=str(path))
    scratch = staged(engine, part, data)
    number = 1
    while True:
        engine.swap(part, scratch, bench.step())

        def finish() -> None:
            step = bench.recorded()
            assert step is not None
            bench.engine("sqlite", path=str(path)).finish(step)

        killed = killed_at(number, finish)
        step = bench.recorded()
        assert step is not None
        engine.finish(step)
        engine.finish(step)
        assert bench.scratch() == [f"{scratch}.sqlite"]
        assert part.fingerprint.differences(engine.target("full").fingerprint) == []
        if not killed:
            break
        number += 1
    with pytest.raises(OpsError, match="is finished"):
        engine.undo(step)


@pytest.mark.faults
def test_undo_keeps_what_was_written_to_a_file_that_was_not_swapped_yet(bench: Bench, path: Path) -> None:
    """Killed before the swap was committed; the machine came up and the application wrote again."""
    part, data = prepared(bench, path, "readable")

    def swap() -> None:
        engine = bench.engine("sqlite", path=str(path))
        scratch = staged(engine, part, data)
        sqlite_swap._write_into = lambda *arguments: os.kill(os.getpid(), 9)  # type: ignore[assignment]
        engine.swap(part, scratch, bench.step())

    assert killed_at(10**6, swap)
    sqlite.crash(path, "INSERT INTO blank (value) VALUES ('written since')")
    step = bench.recorded()
    assert step is not None
    assert step.data["phase"] == "swapping"
    engine = bench.engine("sqlite", path=str(path))
    engine.undo(step)
    assert engine.target("counts").fingerprint.tables["blank"].rows == 1


@pytest.mark.faults
def test_a_swap_killed_in_the_middle_of_its_writing_is_the_old_or_the_new_data(bench: Bench, path: Path) -> None:
    """The one long effect: tens of megabytes written into the live file, killed at some moment in it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, filler)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t (filler) VALUES (randomblob(4000))", [() for _ in range(4000)])
    connection.execute("COMMIT")
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    connection.execute("DELETE FROM t WHERE id % 2")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = engine.target("full").fingerprint
    scratch = staged(engine, part, data)
    outcomes = set()
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2, None):
        step = bench.step()
        killed_after(delay, partial(engine.swap, part, scratch, step))
        found = engine.target("full").fingerprint
        old, new = not before.differences(found), not part.fingerprint.differences(found)
        assert old != new
        outcomes.add("old" if old else "new")
        engine.undo(bench.recorded())
        assert before.differences(engine.target("full").fingerprint) == []
    assert outcomes == {"old", "new"}


def killed_after(delay: float | None, swap: Callable[[], None]) -> None:
    """Kill a swap (SIGKILL) so many seconds after it began to write into the live file; None: let it end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            write = sqlite_swap._write_into
            sqlite_swap._write_into = lambda *arguments: (os.write(writer, b"x"), write(*arguments))[1]
            swap()
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)


# Names and permissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a?mode=memory#x%20.db", "sp ace\"'.db", os.fsdecode(b"\xff\xfe.db")])
def test_a_file_of_any_name(bench: Bench, path: Path, name: str) -> None:
    path = path.with_name(name)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    engine = bench.engine("sqlite", path=str(path))
    backup = dumped(engine)
    for damage in (Path.unlink, garbage):
        damage(path)
        restored(bench, engine, backup)
        assert engine.target().objects == ("t",)
        path.with_name(f"{name}.day2-old-0000aa").unlink(missing_ok=True)
    assert [each.name for each in path.parent.iterdir()] == [name]


@root_only
def test_a_user_who_may_not_read_it_is_told_so(open_bench: Bench) -> None:
    bench, path = open_bench, open_bench.root / "app" / "booking.db"
    path.parent.mkdir()
    sqlite.make(path, large=10).close()
    path.chmod(0o600)

    def as_user() -> None:
        os.setuid(65534)
        engine = bench.engine("sqlite", path=str(path))
        for ask in (engine.ping, engine.target, lambda: engine.describe(DumpOptions())):
            with pytest.raises(Unavailable, match="Check the owner and mode"):
                ask()

    assert killed_at(10**6, as_user) is False


# Room ------------------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_anything_is_made(
    bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.make(path).close()
    engine = bench.engine("sqlite", path=str(path))
    part, data = dumped(engine)
    scratch = staged(engine, part, data)
    usage = shutil.disk_usage(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda directory: usage._replace(free=17 << 20))
    for ask in (
        lambda: engine.describe(DumpOptions()),
        lambda: engine.stage(part, "day2_x"),
        lambda: engine.swap(part, scratch, bench.step()),
    ):
        with pytest.raises(Refused, match="MiB are free"):
            ask()
    assert bench.scratch() == [f"{scratch}.sqlite"]


# A file that is a mount point itself ------------------------------------------------------------------------


@pytest.fixture
def mount_point(bench: Bench, path: Path) -> Iterator[Path]:
    """A bind mount of a single file, as a container has it: it cannot be renamed."""
    other = bench.root / "other.db"
    sqlite.make(other, "delete", large=10).close()
    path.touch()
    with files.mounted(path, "--bind", str(other)):
        yield path


@root_only
def test_a_damaged_file_that_is_a_mount_point_gets_its_content_in_place(bench: Bench, mount_point: Path) -> None:
    before, inode = sqlite.content(mount_point), mount_point.stat().st_ino
    engine = bench.engine("sqlite", path=str(mount_point))
    backup = dumped(engine)
    garbage(mount_point)
    damaged = sqlite.digest(mount_point)
    restored(bench, engine, backup)
    assert sqlite.content(mount_point) == before
    assert mount_point.stat().st_ino == inode
    assert sqlite.digest(mount_point.with_name("booking.db.day2-old-0000aa")) == damaged


@root_only
@pytest.mark.faults
def test_a_swap_in_place_killed_anywhere_is_undone(bench: Bench, mount_point: Path) -> None:
    engine = bench.engine("sqlite", path=str(mount_point))
    part, data = dumped(engine)
    scratch = staged(engine, part, data)
    stale = mount_point.with_name("booking.db-wal")
    number, killed = 1, True
    while killed:
        garbage(mount_point)
        stale.write_bytes(b"stale log" * 1000)
        step = bench.step()
        killed = killed_at(number, partial(engine.swap, part, scratch, step))
        if number % 2:
            killed_at(number % 5 + 1, partial(engine.undo, bench.recorded()))
        engine.undo(bench.recorded())
        assert mount_point.read_bytes() == b"not a database at all" * 1000
        assert stale.read_bytes() == b"stale log" * 1000
        assert [each.name for each in mount_point.parent.iterdir() if "day2" in each.name] == []
        number += 1
    assert number > 10


# In a container ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def container(*arguments: str) -> Iterator[str]:
    """A container in which a process writes to /data/booking.db, and one in its own layer at /srv/own.db."""
    name = f"day2t-sqlite-{os.getpid()}"
    code = (
        "import sqlite3, os, time\n"
        "connection = sqlite3.connect('/data/booking.db', timeout=30, isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode=wal')\n"
        "connection.executescript('CREATE TABLE IF NOT EXISTS pair_a (n); CREATE TABLE IF NOT EXISTS pair_b (n);')\n"
        "own = sqlite3.connect('/srv/own.db')\n"
        "own.execute('PRAGMA journal_mode=wal')\n"
        "own.execute('CREATE TABLE own (n)')\n"
        "own.execute('INSERT INTO own VALUES (7)')\n"
        "own.commit()\n"
        "os.symlink('/data/booking.db', '/srv/link.db')\n"
        "while True:\n"
        "    connection.executescript('BEGIN IMMEDIATE; INSERT INTO pair_a VALUES (1);"
        " INSERT INTO pair_b VALUES (1); COMMIT;')\n"
        "    time.sleep(0.002)\n"
    )
    command = ["docker", "run", "-d", "--name", name, "--entrypoint", "python3", "--volume", f"{name}:/data"]
    subprocess.run([*command, *arguments, "day2-test/systemd:bookworm", "-c", code], check=True, capture_output=True)
    try:
        for _attempt in range(100):
            if subprocess.run(["docker", "exec", name, "test", "-L", "/srv/link.db"], check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield name
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, capture_output=True)
        subprocess.run(["docker", "volume", "rm", "-f", name], check=False, capture_output=True)


@pytest.mark.docker
@root_only
def test_a_database_in_a_container(bench: Bench) -> None:
    with container() as name:
        for inner in ("/data/booking.db", "/srv/link.db"):  # the link is absolute, and means the container's /data
            engine = bench.engine("sqlite", container=name, path=inner)
            assert engine.path.name == "booking.db"
            assert name in str(engine.path)
            backups = [dumped(engine) for _ in range(2) if written(engine)]
            rows = [part.fingerprint.tables["pair_a"].rows for part, _data in backups]
            assert rows[0] < rows[1]
            assert rows == [part.fingerprint.tables["pair_b"].rows for part, _data in backups]
        subprocess.run(["docker", "stop", "-t", "0", name], check=True, capture_output=True)
        stopped = bench.engine("sqlite", container=name, path="/data/booking.db")
        restored(bench, stopped, backups[0])
        assert backups[0][0].fingerprint.differences(stopped.target("full").fingerprint) == []
        with pytest.raises(Unavailable, match="is in no volume of container"):
            bench.engine("sqlite", container=name, path="/srv/own.db").ping()
        subprocess.run(["docker", "start", name], check=True, capture_output=True)


@pytest.mark.docker
@root_only
def test_a_database_in_a_containers_own_layer_is_backed_up_and_not_taken_from_the_host(bench: Bench) -> None:
    decoy = Path("/srv/own.db")  # what SQLite opens when it is given /proc/PID/root/srv/own.db
    assert not decoy.exists()
    sqlite3.connect(decoy).execute("CREATE TABLE decoy (n)").connection.close()
    try:
        with container() as name:
            engine = bench.engine("sqlite", container=name, path="/srv/own.db")
            part, _data = dumped(engine)
            assert {table: one.rows for table, one in part.fingerprint.tables.items()} == {"own": 1}
            assert any("is lost when that is recreated" in line for line in engine.describe(DumpOptions()).warnings)
            with pytest.raises(Refused, match="in no volume of container"):
                engine.accepts(part)
    finally:
        decoy.unlink()
