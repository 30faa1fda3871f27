# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of cells, one file each, from which docs/faults.md is written."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.matrix import faults, network
from tests.integration.matrix.cells import Cell

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / ".venv" / "results" / "faults"
SHARED = ("case", "power", "subjects", "verdict", "worlds")  # modules of the matrix that every cell uses


@functools.cache
def _shared() -> str:
    directory = Path(__file__).parent
    private = [
        inspect.getsource(one)
        for name, one in sorted(vars(faults).items())
        if name[0] == "_" and inspect.isfunction(one)
    ]
    return "".join(_meaning(text) for text in [(directory / f"{name}.py").read_text() for name in SHARED] + private)


def _meaning(source: str) -> str:
    """Without what changes nothing: spaces, comments."""
    return ast.dump(ast.parse(source))


def fingerprint(cell: Cell) -> str:
    """Of what tests a cell: a result with another one says nothing about it."""
    function = inspect.getsource(faults.FUNCTIONS[cell.fault.name])
    if "start_connected" in function:
        function += inspect.getsource(network)
    return hashlib.sha256(f"{_shared()}{cell.fault!r}{_meaning(function)}".encode()).hexdigest()[:16]


@dataclasses.dataclass
class Result:
    """What happened in one cell."""

    cell: str
    passed: bool = False
    ended: str = ""  # error | works | killed
    shown: str = ""
    why: str = ""  # it failed
    seconds: float = 0.0
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
    except BaseException as error:
        result.why = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        result.seconds = round(time.monotonic() - begun, 1)
        result.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        result.write()


def read() -> dict[str, dict[str, Any]]:
    """The results that there are, by cell."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()
