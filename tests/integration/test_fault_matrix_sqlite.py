# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix of SQLite."""

from __future__ import annotations

from tests.integration.matrix import suite
from tests.integration.matrix.cells import Cell
from tests.integration.matrix.suite import Bench, bench  # noqa: F401


@suite.cells_of("sqlite")
def test_after_a_fault(bench: Bench, cell: Cell) -> None:  # noqa: F811
    suite.run(bench, cell)
