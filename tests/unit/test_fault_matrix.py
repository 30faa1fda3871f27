# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix as data: what `make test` runs of it, and what the table says of a cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.matrix import cells, results
from tests.integration.matrix.cells import FAULTS, OPERATIONS, SITES, Cell
from tests.tools import faults_table

EVERY = cells.cells()


def test_the_slice_has_each_fault_and_each_operation_on_each_site() -> None:
    chosen = [cell for cell in EVERY if cell.id in cells.slice_of(EVERY)]
    assert {cell.fault.name for cell in chosen} == {fault.name for fault in FAULTS}
    assert {(cell.site, cell.operation) for cell in chosen} == {(s, o) for s in SITES for o in OPERATIONS}
    assert len(chosen) < 70
    assert cells.slice_of(EVERY) == cells.slice_of(cells.cells()), "the same each time"


def test_each_fault_that_cannot_happen_says_why_and_each_other_is_a_cell() -> None:
    ids = [cell.id for cell in EVERY]
    assert len(ids) == len(set(ids)) >= 300
    for site in SITES:
        for fault in FAULTS:
            for operation in OPERATIONS:
                why = cells.why_not(site, operation, fault)
                assert bool(why) != (Cell(site, operation, fault).id in ids)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "KEPT", tmp_path / "results.jsonl")
    results.KEPT.touch()
    return tmp_path / "faults.md"


def test_the_table_shows_what_ran_and_says_what_did_not(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third, fourth = EVERY[:4]
    for cell, passed, sources in (
        (first, True, results.fingerprint(first)),
        (second, False, results.fingerprint(second)),
        (third, True, "of another test"),
    ):
        results.Result(cell.id, passed, "error", "what is shown | here", sources=sources, when="2026").write()
    assert faults_table.main(stored) == 1
    text = stored.read_text(encoding="utf-8")
    assert f"| **all** | | **{len(EVERY)}** | **1** | **1** | **{len(EVERY) - 2}** |" in text
    assert text.count("✔ error |") == 2, "the legend and the cell"
    assert "what is shown \\| here" in text
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {first.fault.title} | ✔ error")]
    assert row.split(" | ")[1:] in (["✔ error", "✘", "not run |"], ["✔ error", "✘", "not run |"])
    assert fourth.fault is not first.fault
    assert "1 failed" in capsys.readouterr().out


def test_what_was_kept_counts_until_it_is_run_again(stored: Path) -> None:
    first, second = EVERY[:2]
    for cell in (first, second):
        results.Result(cell.id, True, "works", sources=results.fingerprint(cell), when="2026-01-02").write()
    results.keep(results.read())
    for path in results.RESULTS.iterdir():
        path.unlink()
    assert results.passed() == {first.id, second.id}
    results.Result(first.id, False, sources=results.fingerprint(first), when="2026-01-03").write()
    results.Result(second.id, False, sources=results.fingerprint(second), when="2026-01-01").write()
    assert results.passed() == {second.id}


def test_a_cell_that_fails_leaves_its_reason(stored: Path) -> None:
    with pytest.raises(AssertionError), results.recorded(EVERY[0]):
        raise AssertionError("left behind: a scratch copy")
    assert results.read()[EVERY[0].id]["why"] == "AssertionError: left behind: a scratch copy"
    assert not results.read()[EVERY[0].id]["passed"]
