# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: every engine at every place, every operation, every fault; what must be true afterwards is.

The cells are data (`matrix/cells.py`), a fault is one function (`matrix/faults.py`), and what must hold after
each of them is the same (`matrix/verdict.py`). docs/faults.md is written from the results.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.integration.matrix import cells, results, subjects, verdict
from tests.integration.matrix import faults as functions
from tests.integration.matrix.case import Case
from tests.integration.matrix.cells import Cell, Site
from tests.integration.matrix.subjects import Subject

EVERY = cells.cells()
SLICE = cells.slice_of(EVERY)
SOURCES = results.fingerprint()


class Bench:
    """The subject of a site, made when it is needed, and made anew after a cell that failed."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._stack = contextlib.ExitStack()
        self._subject: Subject | None = None

    def subject(self) -> Subject:
        if self._subject is None:
            self._subject = self._stack.enter_context(subjects.made(self.site))
            self._subject.versions.update(subjects.tool_versions())
        return self._subject

    def clear(self) -> None:
        self._subject = None
        self._stack.close()


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.clear()


def _parameters() -> Iterator[object]:
    for cell in EVERY:
        marks = [getattr(pytest.mark, cell.site.engine), pytest.mark.xdist_group(str(cell.site))]
        if cell.site.place == cells.CONTAINER:
            marks.append(pytest.mark.docker)
        if cell.id not in SLICE:
            marks.append(pytest.mark.full)
        yield pytest.param(cell.site, cell, marks=marks, id=cell.id)


@pytest.mark.faults
@pytest.mark.parametrize(("bench", "cell"), list(_parameters()), indirect=["bench"])
def test_after_a_fault(bench: Bench, cell: Cell) -> None:
    with results.recorded(cell, SOURCES) as result:
        try:
            subject = bench.subject()
            subject.plant()
            with contextlib.ExitStack() as afterwards:
                with contextlib.ExitStack() as stack:
                    case = Case(cell, subject, stack, afterwards)
                    outcome = functions.FUNCTIONS[cell.fault.name](case)
                case.wrapper.calm()
                result.ended = "killed" if outcome is None else "error" if outcome.failed else "works"
                result.shown = verdict.shown(case, outcome, result.ended)
                result.versions = dict(subject.versions)
                result.ended = verdict.ended_as_it_must(case, outcome)
                result.shown = verdict.shown(case, outcome, result.ended)
                verdict.hold_up(case, outcome, result.ended)
        except BaseException:
            bench.clear()
            raise
