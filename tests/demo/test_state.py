# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparator judges the collection: here it is shown that it sees what it should, and only that."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from day2_demo import damage, sample_app, state
from day2_demo.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "demo")
    made.prepare()
    sample_app.deploy(made)
    return made


def look(layout: Layout) -> state.State:
    return state.take(layout.database, layout.uploads)


def sql(query: str) -> Callable[[Layout], None]:
    def do(layout: Layout) -> None:
        connection = sqlite3.connect(layout.database)
        with connection:
            connection.execute(query)
        connection.close()

    return do


def file(name: str, do: Callable[[Path], object]) -> Callable[[Layout], None]:
    return lambda layout: do(layout.uploads / name) and None


def flip_last_byte(path: Path) -> None:
    """The same size and the same time of change: only reading it tells."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("passports/scan-003.jpg")


def test_looking_changes_nothing(layout: Layout) -> None:
    wal, first = sample_app.wal_bytes(layout.database), look(layout)
    assert state.differences(first, look(layout)) == []
    assert sample_app.wal_bytes(layout.database) == wal > 0


def test_the_newest_rows_are_only_in_the_wal(layout: Layout) -> None:
    assert sample_app.rows_without_wal(layout.database) == sample_app.BOOKINGS - sample_app.LATE_BOOKINGS
    assert look(layout).tables["bookings"][0] == sample_app.BOOKINGS


def test_it_is_sound_as_deployed(layout: Layout) -> None:
    found = look(layout)
    assert found.settings["integrity_check"] == "ok"
    assert found.settings["foreign_key_check"] == "0 violations"
    assert found.settings["journal_mode"] == "wal"
    assert found.rows > 5000 and len(found.own_tables) == 5
    assert found.file_count == 44


def test_a_state_survives_being_written_down(layout: Layout, tmp_path: Path) -> None:
    found = look(layout)
    found.save(tmp_path / "state.json")
    assert state.differences(state.State.load(tmp_path / "state.json"), found) == []


CHANGES = {
    "one value": (sql("UPDATE rooms SET rate = rate + 0.01 WHERE id = 7"), "table rooms: 24 rows as before, but not"),
    "NULL for empty": (sql("UPDATE guests SET note = NULL WHERE note = ''"), "table guests"),
    "blob for text": (sql("UPDATE guests SET email = CAST(email AS BLOB) WHERE id = 1"), "table guests"),
    "text for blob": (sql("UPDATE guests SET signature = '' WHERE signature = x''"), "table guests"),
    "a row less": (sql("DELETE FROM audit WHERE rowid = 1"), "table audit: 200 rows expected, 199 found"),
    "a table gone": (sql("DROP TABLE payments"), "table payments: missing, it had 2,601 rows"),
    "a view gone": (sql("DROP VIEW revenue"), "view revenue as defined"),
    "an index more": (sql("CREATE INDEX more ON guests (name)"), "index more as defined"),
    "a setting": (sql("PRAGMA user_version = 8"), "database user_version: '7' expected, '8' found"),
    "a broken file": (lambda layout: layout.database.write_bytes(b"no database" * 500), "database readable"),
    "the database's mode": (lambda layout: layout.database.chmod(0o600), "database mode: '0640' expected"),
    "one bit of an upload": (file("scan-001.jpg", flip_last_byte), "upload 'scan-001.jpg': another content"),
    "an upload gone": (file("-rf.txt", Path.unlink), "upload '-rf.txt': missing"),
    "an upload more": (file("new", Path.touch), "upload 'new': was not there before"),
    "a mode": (file("key.pem", lambda path: path.chmod(0o644)), "upload 'key.pem': mode 0600 expected, 0644 found"),
    "a time": (file("empty", lambda path: os.utime(path)), "upload 'empty': another time"),
    "a link": (file("newest.jpg", relink), "upload 'newest.jpg': another content"),
    "a directory gone": (file("inbox", Path.rmdir), "upload 'inbox': missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_is_one_difference(layout: Layout, name: str) -> None:
    change, expected = CHANGES[name]
    before = look(layout)
    change(layout)
    lines = state.differences(before, look(layout))
    assert any(line.startswith(expected) for line in lines), lines
    assert len({line.split(":")[0] for line in lines if line.startswith("upload")}) <= 1


def test_rows_in_another_order_are_the_same_rows(layout: Layout) -> None:
    before = look(layout)
    sql("CREATE TABLE aside AS SELECT * FROM rooms ORDER BY id DESC")(layout)
    rooms = state.take(layout.database, layout.uploads).tables
    assert rooms["aside"] == rooms["rooms"] == before.tables["rooms"]


def test_the_damage_is_seen(layout: Layout) -> None:
    before = look(layout)
    damage.do(layout)
    now = look(layout)
    assert state.rows_beside(before, now) > 5000
    assert state.files_beside(before, now) > 20
