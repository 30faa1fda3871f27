# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed and memory of the collection beside the bare pipelines, in one run on one machine.

usage: python tests/bench/run.py [--engines mariadb,postgresql] [--megabytes 1000] [--rounds 3] [--write]

Each round runs every contender once, one after the other, so that a busy machine hurts all of them.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.servers import SERVERS, Server  # noqa: E402
from tests.integration.support import modules  # noqa: E402

REPOSITORY_PASSWORD = "benchmark repository"


@dataclass
class Timing:
    """Seconds (and other figures) of one contender in one job, a value per round."""

    seconds: list[float] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Job:
    """One job of one engine: contenders by name."""

    title: str
    target: tuple[float, float]  # at most this ratio to the bare pipeline, plus these seconds
    timings: dict[str, Timing] = field(default_factory=dict)

    def add(self, contender: str, seconds: float, stored: int = 0) -> None:
        timing = self.timings.setdefault(contender, Timing())
        timing.seconds.append(seconds)
        timing.stored.append(stored)


OURS, BARE, GZIP = "day2.ops", "bare pipeline", "gzip to a file"


@dataclass
class Workplace:
    directory: Path
    server: Server
    database: str = "bench"
    peak: int = 0  # KiB of the collection's own process, over all rounds

    @contextlib.contextmanager
    def repository(self) -> Iterator[Path]:
        path = Path(tempfile.mkdtemp(prefix="repository-", dir=self.directory))
        self.restic(path, ["init", "-q"])
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def environment(self, repository: Path) -> Mapping[str, str]:
        return {
            **os.environ,
            **self.server.environment,
            "RESTIC_REPOSITORY": str(repository),
            "RESTIC_PASSWORD": REPOSITORY_PASSWORD,
            "RESTIC_CACHE_DIR": str(self.directory / "cache"),
            "LC_ALL": "C.UTF-8",
        }

    def restic(self, repository: Path, argv: Sequence[str]) -> None:
        subprocess.run(["restic", *argv], env=self.environment(repository), check=True, stdout=subprocess.DEVNULL)

    def pipe(self, repository: Path, left: Sequence[str], right: Sequence[str], output: Path | None = None) -> None:
        """`left | right`, every exit code looked at."""
        environment = self.environment(repository)
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(output.open("wb")) if output else subprocess.DEVNULL
            first = subprocess.Popen(left, env=environment, stdout=subprocess.PIPE)
            second = subprocess.Popen(right, env=environment, stdin=first.stdout, stdout=sink)
            if first.stdout:
                first.stdout.close()
            codes = (second.wait(), first.wait())
        if any(codes):
            raise RuntimeError(f"{left[0]} | {right[0]} ended with {codes}")

    def module(self, name: str, repository: Path, database: str, **more: object) -> modules.Outcome:
        """The collection's module in a process of its own, with its peak memory noted."""
        arguments = {
            "app": "bench",
            "state_dir": str(self.directory / "state"),
            "repository": {"location": str(repository), "password": REPOSITORY_PASSWORD},
            "datastores": [{"name": "main", "database": database, **self.server.datastore}],
            **more,
        }
        process = modules.start(name, arguments, env={"DAY2_TEST_PEAK": "1"})
        output = process.stdout.read() if process.stdout else ""
        errors = process.stderr.read() if process.stderr else ""
        process.wait()
        # Of the process itself: what wait4 says includes the programs that it waited for.
        peaks = [int(line.split()[1]) for line in errors.splitlines() if line.startswith("PEAK ")]
        self.peak = max([self.peak, *peaks])
        lines = [line for line in output.splitlines() if line.startswith("{")]
        outcome = modules.Outcome(process.returncode, json.loads(lines[-1]) if lines else {}, output, errors)
        if outcome.failed or process.returncode:
            raise RuntimeError(f"module {name}: {outcome.msg or output + errors}")
        return outcome


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def change(place: Workplace) -> None:
    """One row in a hundred changes, in one key range: what a day does to a table."""
    place.server.sql("UPDATE t0 SET amount = amount + 1 WHERE id <= (SELECT COUNT(*) / 25 FROM t1)", place.database)


def backups(place: Workplace, first: Job, again: Job) -> None:
    server, database = place.server, place.database
    stdin = ["restic", "backup", "-q", "--stdin", "--stdin-filename", server.filename, "--host", "bench"]
    target = place.directory / "dump.gz"
    with place.repository() as bare, place.repository() as ours:
        for job in (first, again):
            before = {BARE: size(bare), OURS: size(ours)}
            seconds = timed(lambda: place.pipe(bare, server.dump(database), stdin))
            job.add(BARE, seconds, size(bare) - before[BARE])
            seconds = timed(lambda: place.module("backup", ours, database))
            job.add(OURS, seconds, size(ours) - before[OURS])
            seconds = timed(lambda: place.pipe(bare, server.dump(database), ["gzip"], target))
            job.add(GZIP, seconds, target.stat().st_size)
            if job is first:
                change(place)


def restores(place: Workplace, job: Job) -> None:
    server, database = place.server, place.database
    target = f"{database}_restored"
    expected = [server.sql(f"SELECT COUNT(*), SUM(amount) FROM t{n}", database) for n in range(4)]
    into = [{"datastore": "main", "database": target}]
    stdin = ["restic", "backup", "-q", "--stdin", "--stdin-filename", server.filename, "--host", "bench"]
    archive = place.directory / "dump.gz"
    with place.repository() as bare, place.repository() as ours:
        place.pipe(bare, server.dump(database), stdin)
        place.module("backup", ours, database)
        place.pipe(bare, server.dump(database), ["gzip"], archive)

        def check() -> None:
            found = [server.sql(f"SELECT COUNT(*), SUM(amount) FROM t{n}", target) for n in range(4)]
            if found != expected:
                raise RuntimeError(f"the restored rows differ: {found}, {expected}")

        def contender(name: str, work: Callable[[], object]) -> None:
            server.empty(target)
            job.add(name, timed(work))
            check()

        dump = ["restic", "dump", "latest", f"/{server.filename}"]
        contender(BARE, lambda: place.pipe(bare, dump, server.load(target)))
        contender(OURS, lambda: place.module("restore", ours, database, into=into))
        contender(GZIP, lambda: place.pipe(bare, ["gzip", "-dc", str(archive)], server.load(target)))
        server.empty(target)


def engine(name: str, megabytes: int, rounds: int, directory: Path) -> tuple[str, int, int, list[Job]]:
    jobs = [
        Job("first backup", (1.10, 4)),
        Job("repeat backup, 1 % of the rows changed", (1.10, 4)),
        Job("restore onto an empty target", (1.15, 4)),
    ]
    with SERVERS[name]() as server:
        place = Workplace(directory, server)
        server.fill(place.database, megabytes)
        dumped = int(
            subprocess.run(
                ["sh", "-c", '"$@" | wc -c', "sh", *server.dump(place.database)],
                env={**os.environ, **server.environment},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for number in range(rounds):
            backups(place, jobs[0], jobs[1])
            restores(place, jobs[2])
            print(f"{server.name}: round {number + 1} of {rounds} done", flush=True)
        return server.name, dumped, place.peak, jobs


def small(directory: Path, rounds: int) -> tuple[float, int, int]:
    """SQLite and one directory: seconds (median), restic calls, peak memory in KiB."""
    import sqlite3

    home = directory / "small"
    uploads = home / "uploads"
    uploads.mkdir(parents=True)
    for number in range(50):
        (uploads / f"{number}.bin").write_bytes(os.urandom(20_000))
    with contextlib.closing(sqlite3.connect(home / "app.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        database.executemany("INSERT INTO t (x) VALUES (?)", [(f"row {n}",) for n in range(5000)])
        database.commit()
    calls = home / "calls"
    counting = home / "restic"
    counting.write_text(f'#!/bin/sh\necho "$1" >> {calls}\nexec {shutil.which("restic")} "$@"\n')
    counting.chmod(0o755)
    repository = home / "repository"
    environment = {**os.environ, "RESTIC_PASSWORD": REPOSITORY_PASSWORD}
    subprocess.run(["restic", "init", "-q", "-r", repository], env=environment, check=True)
    arguments = {
        "app": "small",
        "state_dir": str(home / "state"),
        "repository": {"location": str(repository), "password": REPOSITORY_PASSWORD, "restic": str(counting)},
        "datastores": [
            {"name": "main", "engine": "sqlite", "path": str(home / "app.db")},
            {"name": "uploads", "engine": "files", "paths": [str(uploads)]},
        ],
    }
    seconds, counts = [], []
    for _round in range(rounds):
        calls.write_text("")
        started = time.monotonic()
        outcome = modules.run("backup", arguments)
        seconds.append(time.monotonic() - started)
        if not outcome["changed"]:
            raise RuntimeError("nothing was backed up")
        counts.append(len([line for line in calls.read_text().split() if line != "version"]))
    return statistics.median(seconds), max(counts), 0


def table(results: list[tuple[str, int, int, list[Job]]], fixed: tuple[float, int, int], rounds: int) -> str:
    lines = [
        "| engine, size of the dump | job | day2.ops | bare pipeline | ratio | gzip to a file | ratio | stored: day2.ops / bare / gzip |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, dumped, _peak, jobs in results:
        for job in jobs:
            ours, bare, gzip = (job.timings[key] for key in (OURS, BARE, GZIP))
            stored = " / ".join(f"{statistics.median(one.stored) / 1e6:.0f} MB" for one in (ours, bare, gzip))
            lines.append(
                f"| {name}, {dumped / 1e6:.0f} MB | {job.title} | {ours.median:.1f} s | {bare.median:.1f} s |"
                f" {ours.median / bare.median:.2f} | {gzip.median:.1f} s | {ours.median / gzip.median:.2f} |"
                f" {stored if any(ours.stored) else ''} |"
            )
    lines += ["", f"Medians of {rounds} rounds, contenders in turn. Peak memory of the collection's own process:"]
    lines += [f"{name} {peak / 1024:.0f} MiB;" for name, _dumped, peak, _jobs in results]
    lines += [
        "",
        f"A small application (SQLite with 5,000 rows and a directory of 50 files): {fixed[0]:.1f} s and"
        f" {fixed[1]} restic calls a backup.",
    ]
    return "\n".join(lines)


def verdict(results: list[tuple[str, int, int, list[Job]]], fixed: tuple[float, int, int]) -> list[str]:
    """Which targets were missed, a line each."""
    missed = []
    for name, _dumped, peak, jobs in results:
        for job in jobs:
            ratio, plus = job.target
            limit = job.timings[BARE].median * ratio + plus
            if job.timings[OURS].median > limit:
                missed.append(f"{name}, {job.title}: {job.timings[OURS].median:.1f} s, at most {limit:.1f} s wanted")
        if peak > 120 * 1024:
            missed.append(f"{name}: {peak / 1024:.0f} MiB of memory, at most 120 wanted")
    if fixed[0] > 6 or fixed[1] > 6:
        missed.append(f"a small application: {fixed[0]:.1f} s and {fixed[1]} restic calls, at most 6 of each wanted")
    return missed


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    restic = subprocess.run(["restic", "version"], check=True, capture_output=True, text=True).stdout.split(
        " compiled"
    )[0]
    return f"{os.cpu_count()} cores ({model}), {restic}, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(SERVERS))
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="day2-bench-") as name:
        directory = Path(name)
        fixed = small(directory, options.rounds)
        results = [
            engine(one, options.megabytes, options.rounds, Path(tempfile.mkdtemp(dir=directory)))
            for one in options.engines.split(",")
        ]
    text = table(results, fixed, options.rounds)
    print(f"\n{machine()}\n\n{text}\n")
    for line in verdict(results, fixed):
        print(f"missed: {line}")
    if options.write:
        template = (Path(__file__).parent / "performance.md").read_text()
        (ROOT / "docs" / "performance.md").write_text(
            template.replace("@TABLE@", text)
            .replace("@MACHINE@", machine())
            .replace(
                "@COMMAND@", f"make bench ARGS='--megabytes {options.megabytes} --rounds {options.rounds} --write'"
            )
            .replace("@DATE@", time.strftime("%Y-%m-%d"))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
