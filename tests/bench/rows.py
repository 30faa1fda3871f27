# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data, the same for every engine: rows of bookings with a date, an amount, a random reference and a
note of words. The words are drawn as they are in a language (a few often, most seldom), so that it compresses
as text in databases does: gzip makes a third to two fifths of it. A phrase that is repeated would flatter some tool."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TABLES = 4
ROW = 330  # bytes of a row as text, about


class Row(NamedTuple):
    id: int
    day: str
    amount: str
    reference: str
    note: str


def _vocabulary(chance: random.Random) -> list[str]:
    """Four thousand words, each as often in the list as it is to be drawn (Zipf's law)."""
    syllables = [a + b for a in "bcdfghklmnprstvwz" for b in ("a", "e", "i", "o", "u", "ar", "en", "is", "ou")]
    words = ["".join(chance.choices(syllables, k=chance.choice((1, 1, 2, 2, 3, 4)))) for _ in range(4000)]
    return [word for rank, word in enumerate(words, 1) for _ in range(max(1, 4000 // (rank + 20)))]


def count(megabytes: int) -> int:
    """Rows of each table."""
    return megabytes * 1_000_000 // TABLES // ROW


def rows(table: int, number: int) -> Iterator[Row]:
    chance = random.Random(f"day2.ops {table}")
    words = _vocabulary(random.Random("day2.ops"))
    days = [(datetime.date(2020, 1, 1) + datetime.timedelta(n)).isoformat() for n in range(2000)]
    for one in range(1, number + 1):
        note = " ".join(chance.choices(words, k=chance.randint(20, 70)))
        yield Row(one, days[one % 2000], f"{one / 7:.2f}", f"{chance.getrandbits(128):032x}", note)


def file(directory: Path, table: int, number: int) -> Path:
    """The rows as tab-separated text, which LOAD DATA and COPY read. Made once in a directory."""
    path = directory / f"rows-{number}-{table}.tsv"
    if not path.exists():
        with path.open("w") as out:
            out.writelines("\t".join(map(str, row)) + "\n" for row in rows(table, number))
    return path
