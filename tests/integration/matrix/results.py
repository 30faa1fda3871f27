# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of cells, from which docs/faults.md is written.

A run writes a file for each cell. The whole table's are kept in `results.jsonl`, which is committed: a line for
each cell. So a table can be completed on another machine, and after a change only what it touches is run again.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.integration.matrix import faults, network
from tests.integration.matrix.cells import Cell, cells

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / ".venv" / "results" / "faults"
KEPT = Path(__file__).with_name("results.jsonl")
SHARED = ("case", "power", "subjects", "verdict", "worlds")  # modules of the matrix that every cell uses


@functools.cache
def _shared() -> str:
    directory = Path(__file__).parent
    return "".join(_meaning((directory / f"{name}.py").read_text()) for name in SHARED)


def _with_what_it_calls(function: Any) -> list[str]:
    """The source of a fault, and of every function of its module that it uses, and so on."""
    used, waiting = {}, [function]
    while waiting:
        one = waiting.pop()
        if one.__name__ not in used:
            used[one.__name__] = inspect.getsource(one)
            named = {node.id for node in ast.walk(ast.parse(used[one.__name__])) if isinstance(node, ast.Name)}
            waiting += [vars(faults)[name] for name in sorted(named) if _is_own(vars(faults).get(name))]
    return [used[name] for name in sorted(used)]


def _meaning(source: str) -> str:
    """Without what changes nothing: spaces, comments."""
    return ast.dump(ast.parse(source))


def _is_own(one: Any) -> bool:
    return inspect.isfunction(one) and one.__module__ == faults.__name__


def fingerprint(cell: Cell) -> str:
    """Of what tests a cell: a result with another one says nothing about it."""
    sources = _with_what_it_calls(faults.FUNCTIONS[cell.fault.name])
    if any("start_connected" in source for source in sources):
        sources.append(inspect.getsource(network))
    own = "".join(_meaning(source) for source in sources)
    return hashlib.sha256(f"{_shared()}{cell.fault!r}{own}".encode()).hexdigest()[:16]


@dataclasses.dataclass
class Result:
    """What happened in one cell."""

    cell: str
    passed: bool = False
    ended: str = ""  # error | works | killed
    shown: str = ""
    why: str = ""  # it failed
    seconds: float | None = None
    sources: str = ""
    commit: str = ""
    when: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.cell}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.rename(path)


@contextlib.contextmanager
def recorded(cell: Cell) -> Iterator[Result]:
    """The cell's result is written, however it ends."""
    result, begun = Result(cell.id, sources=fingerprint(cell), commit=_commit()), time.monotonic()
    try:
        yield result
        result.passed = True
    except KeyboardInterrupt:  # somebody ended the run: that says nothing about the cell
        result.cell = ""
        raise
    except BaseException as error:
        result.why = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        result.seconds = round(time.monotonic() - begun, 1)
        result.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if result.cell:
            result.write()


def read() -> dict[str, dict[str, Any]]:
    """The results that there are, by cell: what was kept, and what was run since."""
    found = {one["cell"]: one for one in map(json.loads, KEPT.read_text(encoding="utf-8").splitlines())}
    for path in RESULTS.glob("*.json"):
        one = json.loads(path.read_text(encoding="utf-8"))
        if path.stem not in found or one["when"] > found[path.stem]["when"]:
            found[path.stem] = one
    return found


def keep(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Of the cells that there are."""
    lines = [json.dumps(found[cell.id], ensure_ascii=False) for cell in cells() if cell.id in found]
    KEPT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def passed() -> set[str]:
    """Cells whose result is of this test, and good."""
    found = read()
    return {
        cell.id
        for cell in cells()
        if (one := found.get(cell.id)) and one["passed"] and one["sources"] == fingerprint(cell)
    }


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()
