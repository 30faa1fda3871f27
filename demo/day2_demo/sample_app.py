# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample application: a booking system with SQLite in WAL mode and a directory of uploads.

It is made so that an easy backup of it would be a bad one: the newest rows are only in the WAL (a
copy of the database file alone lacks them), and the uploads have what tools stumble over.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
from pathlib import Path

from .console import DemoError
from .layout import Layout

ROOMS, GUESTS, BOOKINGS = 24, 900, 2600
LATE_BOOKINGS = 150  # these stay in the WAL
UPLOADS = 36
USER_VERSION, APPLICATION_ID = 7, 0x0DA72001

FIRST = ("Ana", "Björn", "Chloé", "Đorđe", "Éric", "Fatima", "Grete", "Hiroko 寛子", "Jürgen", "Łucja", "Zoë 🏔")
LAST = ("Alvarez", "Brûlé", "Çelik", "Dvořák", "Müller", "Nakamura 中村", "O'Neill", 'van "der" Berg', "Şahin", "𠮷田")
NOTES = (None, "", "late arrival", "allergy: nuts 🥜", "line\nbreak", "semicolon; -- no comment", "NULL", "café")


def deploy(layout: Layout) -> None:
    """Write the application's data, always the same."""
    layout.uploads.mkdir(parents=True)
    layout.database.parent.mkdir()
    layout.application.chmod(0o750)
    # A process of its own, which ends without closing its connection as a killed server would: only
    # then does SQLite leave the WAL behind (closing the last connection moves it into the file).
    server = multiprocessing.get_context("fork").Process(target=_run_and_die, args=(layout.database,))
    server.start()
    server.join()
    if server.exitcode:
        raise DemoError("the sample application's database could not be written.")
    layout.database.chmod(0o640)
    _write_uploads(layout.uploads)


def wal_bytes(database: Path) -> int:
    wal = database.with_name(database.name + "-wal")
    return wal.stat().st_size if wal.exists() else 0


def rows_without_wal(database: Path) -> int:
    """How many bookings a copy of the database file alone would have."""
    # immutable: SQLite reads this file only and looks at no -wal, as if only the file had been copied.
    connection = sqlite3.connect(f"file:{database}?immutable=1", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM bookings").fetchone()[0])
    finally:
        connection.close()


def _run_and_die(database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.executescript(Path(__file__).with_name("schema.sql").read_text())
    dice = random.Random(7)
    connection.execute("BEGIN")
    _write_guests(connection, dice)
    _write_bookings(connection, dice, 1, BOOKINGS - LATE_BOOKINGS)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("BEGIN")
    _write_bookings(connection, dice, BOOKINGS - LATE_BOOKINGS + 1, BOOKINGS)
    connection.execute("UPDATE bookings SET status = 'cancelled' WHERE id % 13 = 0")
    connection.execute("COMMIT")
    os._exit(0)


def _write_guests(connection: sqlite3.Connection, dice: random.Random) -> None:
    connection.executemany(
        "INSERT INTO rooms VALUES (?, ?, ?, ?, ?)",
        ((n, f"Room {n:02}", n % 4, 1 + n % 3, 60 + 7.45 * n) for n in range(1, ROOMS + 1)),
    )
    every_byte = bytes(range(256))
    connection.executemany(
        "INSERT INTO guests (name, email, note, signature) VALUES (?, ?, ?, ?)",
        (
            (
                f"{dice.choice(FIRST)} {dice.choice(LAST)}",
                None if n % 11 == 0 else f"guest{n}@example.org",
                dice.choice(NOTES),
                (None, b"", every_byte, dice.randbytes(700))[n % 4],
            )
            for n in range(1, GUESTS + 1)
        ),
    )


def _write_bookings(connection: sqlite3.Connection, dice: random.Random, first: int, last: int) -> None:
    for number in range(first, last + 1):
        arrival = f"20{24 + number % 3}-{1 + number % 12:02}-{1 + number % 28:02}"
        connection.execute(
            "INSERT INTO bookings (guest_id, room_id, arrival, nights) VALUES (?, ?, ?, ?)",
            (dice.randint(1, GUESTS), dice.randint(1, ROOMS), arrival, dice.randint(1, 14)),
        )
        for payment in range(1, 1 + number % 3):
            paid = None if payment == 2 else f"{arrival}T10:{number % 60:02}:00Z"
            connection.execute("INSERT INTO payments VALUES (?, ?, ?, ?)", (number, payment, number * 1.25, paid))


def _write_uploads(uploads: Path) -> None:
    dice = random.Random(11)
    passports = uploads / "passports"
    passports.mkdir(mode=0o700)
    for number in range(1, UPLOADS + 1):
        path = (passports if number % 3 == 0 else uploads) / f"scan-{number:03}.jpg"
        path.write_bytes(dice.randbytes(2000 + 1500 * number))
    odd = ("-rf.txt", 'it\'s "quoted" & $HOME.txt', "Zoë auf dem Gipfel 🏔.txt", "two\nlines.txt", " leading space.txt")
    for name in odd:
        (uploads / name).write_text(f"a file with an odd name: {name}\n")
    (uploads / "empty").touch()
    (uploads / "key.pem").write_text("only its owner may read this\n")
    (uploads / "key.pem").chmod(0o600)
    (uploads / "newest.jpg").symlink_to(f"passports/scan-{UPLOADS:03}.jpg")
    (uploads / "inbox").mkdir()
    for path in uploads.rglob("*"):
        if path.is_file() and not path.is_symlink():
            # Uploads are older than their backup; an exact time in the past shows whether it came back.
            os.utime(path, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789 + 1_000_000 * path.stat().st_size))
