# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: every engine at every place, every operation, every fault; what must be true afterwards is.

The cells are data (`cells.py`), a fault is one function (`faults.py`), and what must hold after each of them is
the same (`verdict.py`). docs/faults.md is written from the results. Each engine has a test file of its own, so
that workers share the work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.matrix import cells, results, subjects, verdict
from tests.integration.matrix import faults as functions
from tests.integration.matrix.case import Case
from tests.integration.matrix.cells import Cell, Site
from tests.integration.matrix.subjects import Subject

EVERY = cells.cells()
SLICE = cells.slice_of(EVERY)
# `make faults MISSING=1`: a run that was interrupted goes on.
DONE = results.passed() if os.environ.get("DAY2_FAULTS") == "missing" else set()


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


def cells_of(engine: str) -> pytest.MarkDecorator:
    """A test for each cell of an engine."""

    def marked(cell: Cell) -> Any:
        marks = [getattr(pytest.mark, engine), pytest.mark.faults]
        if cell.site.place == cells.CONTAINER:
            marks.append(pytest.mark.docker)
        if cell.id not in SLICE:
            marks.append(pytest.mark.full)
        return pytest.param(cell.site, cell, marks=marks, id=cell.id)

    own = [marked(cell) for cell in EVERY if cell.site.engine == engine and cell.id not in DONE]
    return pytest.mark.parametrize(("bench", "cell"), own, indirect=["bench"])


def run(bench: Bench, cell: Cell) -> None:
    """The fault, the operation, and everything that must hold."""
    with results.recorded(cell) as result:
        try:
            subject = bench.subject()
            result.versions = dict(subject.versions)
            subject.plant()
            with contextlib.ExitStack() as afterwards:
                with contextlib.ExitStack() as stack:
                    case = Case(cell, subject, stack, afterwards)
                    outcome = functions.FUNCTIONS[cell.fault.name](case)
                case.wrapper.calm()
                result.ended, result.shown = verdict.seen(case, outcome)
                verdict.ended_as_it_must(case, outcome, result.ended)
                verdict.hold_up(case, outcome, result.ended)
        except BaseException:
            bench.clear()
            raise
