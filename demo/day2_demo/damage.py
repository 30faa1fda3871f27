# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bad day: what a wrong migration, a bad query and a careless `rm` leave of the application."""

from __future__ import annotations

import sqlite3

from .layout import Layout, remove


def do(layout: Layout) -> list[str]:
    """Damage the live data; a line per deed, with what it really hit."""
    return [*_database(layout), *_uploads(layout)]


def _database(layout: Layout) -> list[str]:
    connection = sqlite3.connect(layout.database, isolation_level=None)
    try:
        lost = connection.execute("SELECT count(*) FROM payments").fetchone()[0]
        connection.execute("DROP TABLE payments")
        garbled = connection.execute(
            "UPDATE guests SET name = 'Mojibake Ã¼Ã¶', email = hex(randomblob(8)), signature = NULL WHERE id % 3 = 0"
        ).rowcount
        gone = connection.execute("DELETE FROM bookings WHERE arrival < '2025'").rowcount
        connection.execute("DROP INDEX bookings_by_arrival")
        connection.execute("DROP TRIGGER booking_status")
        connection.execute("PRAGMA user_version = 8")
    finally:
        connection.close()
    return [
        f"DROP TABLE payments ({lost:,} rows), an index and a trigger with it",
        f"UPDATE guests with a wrong query: {garbled:,} names, addresses and signatures garbled",
        f"DELETE of {gone:,} bookings",
    ]


def _uploads(layout: Layout) -> list[str]:
    passports = layout.uploads / "passports"
    lost = sum(1 for _ in passports.iterdir())
    remove(passports)
    odd = [path for path in layout.uploads.iterdir() if path.suffix == ".txt"]
    for path in odd:
        path.unlink()
    half = sorted(layout.uploads.glob("scan-*.jpg"))[:5]
    for path in half:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (layout.uploads / "key.pem").chmod(0o644)
    (layout.uploads / "README_TO_DECRYPT.html").write_text("pay up\n")
    return [
        f"rm -r uploads/passports ({lost} files) and {len(odd)} more uploads",
        f"{len(half)} pictures cut in half, a private key made readable to all, a stranger's file left behind",
    ]
