# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of one engine: first backup, the same again, verification, restore. In each round every contender
takes its turn at every job, another one first each time, so that a busy machine hurts all of them alike."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.bench.contenders import Contender, Ours
from tests.bench.figures import Job, Part, size, timed
from tests.bench.subject import Subject

FIRST, REPEAT, VERIFY, RESTORE = "first", "repeat", "verify", "restore"
TITLES = {
    FIRST: "first backup",
    REPEAT: "the same data again",
    VERIFY: "verify",
    RESTORE: "restore",
}


def measure(part: Part, subject: Subject, contenders: Sequence[Contender], rounds: int) -> None:
    part.jobs.update({name: Job(title) for name, title in TITLES.items()})
    for number in range(rounds):
        turn = number % len(contenders)
        _round(part, subject, [*contenders[turn:], *contenders[:turn]])
        print(f"{subject.name}: round {number + 1} of {rounds} done", flush=True)


def _round(part: Part, subject: Subject, contenders: Sequence[Contender]) -> None:
    expected = subject.content(restored=False)
    with contextlib.ExitStack() as stack:
        homes = {one.name: stack.enter_context(one.place.home()) for one in contenders}
        for one in contenders:
            one.prepare(homes[one.name])
        for job in (FIRST, REPEAT):
            for one in contenders:
                _backup(part, job, one, homes[one.name])
        for one in contenders:
            if isinstance(one, Ours):
                part.jobs[VERIFY].add(one.name, timed(partial(one.verify, homes[one.name])))
        for one in (one for one in contenders if one.restores):
            subject.clear()
            part.jobs[RESTORE].add(one.name, timed(partial(one.restore, homes[one.name])))
            if subject.content(restored=True) != expected:
                raise RuntimeError(f"{subject.name}: {one.name} restored something else")
        subject.clear()


def _backup(part: Part, job: str, one: Contender, home: Path) -> None:
    if job == REPEAT and not one.incremental:
        # It makes the same dump anew, whatever there is: the figures are those of the first.
        first = part.jobs[FIRST].timings[one.name]
        part.jobs[job].add(one.name, first.seconds[-1], first.stored[-1])
        return
    before = size(home)
    seconds = timed(lambda: one.backup(home))
    part.jobs[job].add(one.name, seconds, size(home) - before)
