# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be reached, and whether it was: ratios of one figure to another, and a few plain limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Optional

from tests.bench.contenders import BARE, GZIP, MYSQL_DB
from tests.bench.figures import OURS, Part
from tests.bench.migrations import NAMES, TASK

Figure = Callable[[Part], Optional[float]]


@dataclasses.dataclass(frozen=True)
class Target:
    part: str
    what: str
    figure: Figure
    limit: Callable[[Part], float]
    wanted: str
    unit: str = "s"


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: Target
    figure: float
    limit: float

    @property
    def met(self) -> bool:
        return self.figure <= self.limit

    def __str__(self) -> str:
        unit = self.target.unit
        form = ".0f" if unit in ("MB", "MiB", "calls") else ".2f" if unit == "" else ".1f"
        values = f"{self.figure:{form}} {unit}; {self.target.wanted}: {self.limit:{form}} {unit}"
        return f"{values}, {'met' if self.met else 'NOT met'}"


def _seconds(job: str, contender: str = OURS) -> Figure:
    def figure(part: Part) -> Optional[float]:
        timing = part.jobs[job].timings.get(contender) if job in part.jobs else None
        return timing.median if timing else None

    return figure


def _megabytes(job: str, contender: str = OURS) -> Figure:
    def figure(part: Part) -> Optional[float]:
        timing = part.jobs[job].timings.get(contender) if job in part.jobs else None
        return timing.bytes / 1e6 if timing else None

    return figure


def _against(part: str, job: str, title: str, rival: str, ratio: float, plus: float = 0) -> Target:
    """At most so many times the rival's seconds, and some more."""

    def limit(found: Part) -> float:
        return (_seconds(job, rival)(found) or 0) * ratio + plus

    more = f" and {plus:g} s" if plus else ""
    return Target(part, title, _seconds(job), limit, f"at most {ratio:.2f} of {rival}{more}")


def _at_most(part: str, what: str, figure: Figure, most: float, unit: str) -> Target:
    return Target(part, what, figure, lambda _part: most, "at most", unit)


def _flat(part: Part) -> Optional[float]:
    few, many = _seconds("apps 10")(part), _seconds("apps 100")(part)
    return many / few if few and many else None


STREAMS = ("mariadb", "postgresql", "mysql", "mongodb")

TARGETS = [
    _against("mariadb", "first", "first backup", MYSQL_DB, 0.35),
    _against("mariadb", "repeat", "repeat backup of unchanged data", MYSQL_DB, 0.20),
    _against("mariadb", "restore", "restore", MYSQL_DB, 1.0, 4),
    Target(
        "daily",
        "MariaDB, ten daily backups, 1 % changed in one key range",
        _megabytes("mariadb range"),
        lambda part: 0.20 * (_megabytes("mariadb range", GZIP)(part) or 0),
        "at most 0.20 of ten gzip dumps",
        "MB",
    ),
    Target("many", "seconds per application, 100 to 10", _flat, lambda _part: 1.15, "at most", ""),
    _at_most("many", "one small application", _seconds("single"), 6, "s"),
    _at_most("many", "restic calls of one small application", lambda part: part.counts.get("restic calls"), 6, "calls"),
    *(
        _against(part, job, title, BARE, 1.10, 4)
        for part in STREAMS
        for job, title in (("first", "first backup"), ("repeat", "repeat backup of unchanged data"))
    ),
    *(_against(part, "restore", "restore", BARE, 1.15, 4) for part in STREAMS),
    *(
        _at_most(part, "peak memory of the collection's process", lambda found: found.peak / 1024 or None, 120, "MiB")
        for part in (*STREAMS, "redis", "sqlite", "files")
    ),
    *(_against("migrations", f"{key} 1", f"{name}, one revision", TASK, 1.0, 2) for key, name in NAMES.items()),
    *(_against("migrations", f"{key} 100", f"{name}, a hundred revisions", TASK, 1.5) for key, name in NAMES.items()),
]


def verdicts(parts: Mapping[str, Part]) -> Iterator[Verdict]:
    """Of every target whose part was measured, with the figures that it names."""
    for target in TARGETS:
        part = parts.get(target.part)
        figure = target.figure(part) if part else None
        limit = target.limit(part) if part else 0
        if figure is not None and limit:
            yield Verdict(target, figure, limit)
