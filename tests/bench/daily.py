# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten daily backups, with one row in a hundred changed before each but the first: what they take altogether,
beside ten dumps with gzip. Bytes, not seconds, so both run at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.bench.contenders import Contender
from tests.bench.figures import Job, Part, size, timed
from tests.bench.subject import Subject

DAYS = 10
RANGE, SCATTERED = "range", "scattered"
TITLES = {
    RANGE: f"{DAYS} backups, 1 % changed in one key range a day",
    SCATTERED: f"{DAYS} backups, 1 % changed all over a day",
}


def measure(part: Part, subject: Subject, contenders: Sequence[Contender], directory: Path, megabytes: int) -> None:
    for kind, title in TITLES.items():
        job = part.jobs.setdefault(f"{_short(subject)} {kind}", Job(f"{subject.name}: {title}"))
        subject.fill(directory, megabytes)
        homes = {}
        for one in contenders:
            homes[one.name] = directory / f"{_short(subject)}-{kind}-{contenders.index(one)}"
            homes[one.name].mkdir()
            one.prepare(homes[one.name])
        stored = dict.fromkeys(homes, 0)
        seconds = dict.fromkeys(homes, 0.0)
        for day in range(DAYS):
            if day:
                subject.change(day, scattered=kind == SCATTERED)
            with ThreadPoolExecutor(len(contenders)) as pool:
                runs = {one.name: pool.submit(timed, partial(one.backup, homes[one.name])) for one in contenders}
                for name, run in runs.items():
                    seconds[name] += run.result()
            for one in contenders:
                if not one.incremental:  # it wrote over yesterday's
                    stored[one.name] += size(homes[one.name])
        for one in contenders:
            job.add(one.name, seconds[one.name], size(homes[one.name]) if one.incremental else stored[one.name])
        print(f"{subject.name}: {title}: done", flush=True)


def _short(subject: Subject) -> str:
    return subject.name.split()[0].lower()
