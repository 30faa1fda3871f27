# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed, stored bytes and memory of the collection beside what one would use otherwise, in one run on one machine.

usage: python tests/bench/run.py [--only mariadb,daily] [--scale 1.0] [--rounds 3] [--write]

Each part leaves its figures in .venv/results/bench/PART.json. `--write` makes docs/performance.md from all that
are there, each with its date, so that parts may be run one by one; `--only ''` runs none and writes only.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".venv" / "collections")]

from tests.bench import (  # noqa: E402
    containers,
    contenders,
    daily,
    jobs,
    local,
    many,
    migrations,
    redis_servers,
    report,
    servers,
    targets,
)
from tests.bench.figures import Part, load, machine, timed, version  # noqa: E402
from tests.bench.place import Place  # noqa: E402
from tests.bench.subject import Subject  # noqa: E402

RESULTS = ROOT / ".venv" / "results" / "bench"
TOOLS = (("restic", "version"), ("ansible-playbook", "--version"))


@dataclass(frozen=True)
class Engine:
    """One engine: how its server is made, how much data, and who competes."""

    make: Callable[[Path], contextlib.AbstractContextManager[Subject]]
    megabytes: int
    rivals: tuple[type[contenders.Contender], ...]
    data: str = "{megabytes} MB of rows in four tables."

    def measure(self, part: Part, place: Place, scale: float) -> None:
        megabytes = max(1, round(self.megabytes * scale))
        with self.make(place.directory) as subject:
            part.title, part.data = subject.name, self.data.format(megabytes=megabytes)
            part.versions += subject.versions
            subject.fill(place.directory, megabytes)
            classes: tuple[type[contenders.Contender], ...] = (contenders.Ours, *self.rivals)
            competing = [one(place, subject) for one in classes]
            jobs.measure(part, subject, competing, part.rounds)


def _sqlite(directory: Path) -> contextlib.AbstractContextManager[Subject]:
    return contextlib.nullcontext(local.SQLite(directory))


def _files(directory: Path) -> contextlib.AbstractContextManager[Subject]:
    return contextlib.nullcontext(local.Files(directory))


ENGINES = {
    "mariadb": Engine(
        lambda _directory: servers.mariadb(),
        480,
        (contenders.MysqlDb, contenders.Mydumper, contenders.Bare),
    ),
    "postgresql": Engine(lambda _directory: servers.postgresql(), 480, (contenders.PostgresqlDb, contenders.Bare)),
    "mysql": Engine(lambda _directory: containers.mysql(), 240, (contenders.Bare, contenders.Gzip)),
    "mongodb": Engine(
        lambda _directory: containers.mongodb(),
        120,
        (contenders.Bare, contenders.Gzip),
        "{megabytes} MB of documents in four collections.",
    ),
    "redis": Engine(
        redis_servers.servers, 120, (contenders.BareRedis, contenders.GzipRedis), "{megabytes} MB in hashes."
    ),
    "sqlite": Engine(_sqlite, 240, (contenders.BareSQLite, contenders.GzipSQLite)),
    "files": Engine(_files, 240, (contenders.BareFiles, contenders.Archive), "{megabytes} MB in 2,000 files."),
}


def _daily(part: Part, place: Place, scale: float) -> None:
    megabytes = max(1, round(120 * scale))
    part.title, part.data = "Ten daily backups", f"{megabytes} MB of rows in four tables."
    with servers.mariadb() as server:
        part.versions += server.versions
        pair = [contenders.Ours(place, server), contenders.Gzip(place, server)]
        daily.measure(part, server, pair, place.directory, megabytes)
    file = local.SQLite(place.directory)
    part.versions += file.versions
    pair = [contenders.Ours(place, file), contenders.GzipSQLite(place, file)]
    daily.measure(part, file, pair, place.directory, megabytes)


def _many(part: Part, place: Place, scale: float) -> None:
    part.title = "Small applications"
    part.data = "Each has a SQLite database of 5,000 rows and fifty uploads, 1 MB; all of a play share one repository."
    part.data += f" `--forks {many.FORKS}`."
    counts = tuple(max(1, round(number * min(scale, 1))) for number in (10, 100))
    many.measure(part, place, counts, part.rounds)


def _migrations(part: Part, place: Place, scale: float) -> None:
    part.title = "Migrations"
    part.data = "Alembic, a synchronous env.py. Each revision makes a table with an index, 20 rows and a column."
    counts = tuple(max(1, round(number * min(scale, 1))) for number in migrations.COUNTS)
    migrations.measure(part, place, counts, part.rounds)


PARTS: dict[str, Callable[[Part, Place, float], None]] = {
    **{name: engine.measure for name, engine in ENGINES.items()},
    "daily": _daily,
    "many": _many,
    "migrations": _migrations,
}


def run(name: str, scale: float, rounds: int) -> Part:
    command = f"make bench ARGS='--only {name} --scale {scale:g} --rounds {rounds}'"
    part = Part(name, name, "", rounds, command=command, machine=machine(), date=time.strftime("%Y-%m-%d"))
    part.versions = [version(*tool) for tool in TOOLS]
    with tempfile.TemporaryDirectory(prefix="day2-bench-", ignore_cleanup_errors=True) as directory:
        place = Place(Path(directory))
        part.took = timed(lambda: PARTS[name](part, place, scale))
        part.peak = place.peak
    part.save(RESULTS)
    return part


def _chosen(only: str | None) -> list[str]:
    names = list(PARTS) if only is None else [name for name in only.split(",") if name]
    for name in names:
        if name not in PARTS:
            raise SystemExit(f"no part {name}; there are: {', '.join(PARTS)}")
    return names


def _measured() -> Iterator[Part]:
    for name in PARTS:
        part = load(RESULTS, name)
        if part:
            yield part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="make docs/performance.md")
    options = parser.parse_args()
    for name in _chosen(options.only):
        part = run(name, options.scale, options.rounds)
        print("\n".join(["", *report.section(part), ""]))
        for verdict in targets.verdicts({name: part}):
            print(f"{verdict.target.part}, {verdict.target.what}: {verdict}")
        print(f"\n{name} took {part.took:.0f} s", flush=True)
    if options.write:
        text = report.document(Path(__file__).parent / "performance.md", list(_measured()))
        (ROOT / "docs" / "performance.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
