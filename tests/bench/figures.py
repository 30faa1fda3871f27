# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part of the benchmark measured, and how it is kept: one JSON file per part, so that a run that is
cut short loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OURS = "day2.ops"


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def size(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


@dataclasses.dataclass
class Timing:
    """Seconds of one contender in one job, and the bytes that it stored; a value per round."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    stored: list[int] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def bytes(self) -> int:
        return int(statistics.median(self.stored))


@dataclasses.dataclass
class Job:
    """One job, such as a first backup: contenders by name."""

    title: str
    timings: dict[str, Timing] = dataclasses.field(default_factory=dict)

    def add(self, contender: str, seconds: float, stored: int = 0) -> None:
        timing = self.timings.setdefault(contender, Timing())
        timing.seconds.append(seconds)
        timing.stored.append(stored)


@dataclasses.dataclass
class Part:
    """What one run of one part found. `peak`: KiB of the collection's own process, the most that was seen."""

    name: str
    title: str
    data: str  # what was backed up, for a reader
    rounds: int
    jobs: dict[str, Job] = dataclasses.field(default_factory=dict)
    peak: int = 0
    counts: dict[str, float] = dataclasses.field(default_factory=dict)  # figures that are no timings
    versions: list[str] = dataclasses.field(default_factory=list)
    command: str = ""
    date: str = ""
    machine: str = ""
    took: float = 0

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.with_suffix(".new").write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        path.with_suffix(".new").replace(path)


def load(directory: Path, name: str) -> Part | None:
    """What an earlier run of this part found; None when there was none."""
    try:
        found: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    jobs = {
        key: Job(job["title"], {one: Timing(**timing) for one, timing in job["timings"].items()})
        for key, job in found.pop("jobs").items()
    }
    return Part(**found, jobs=jobs)


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB"


def version(*argv: str) -> str:
    """The first line that a program says about its version."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return (done.stdout or done.stderr).splitlines()[0].split(" compiled")[0].strip()
