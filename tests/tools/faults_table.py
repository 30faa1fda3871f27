# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/faults.md from the results of the fault matrix, and keep them.

usage: faults_table.py [FILE]      FILE: write the table there, and keep nothing.

A cell without a result, or with one of another test than this checkout's, was not run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import tests.conftest  # noqa: E402, F401  # this checkout as the collection
from tests.integration.matrix import results  # noqa: E402
from tests.integration.matrix.cells import FAULTS, OPERATIONS, SITES, Cell, Fault, Site, cells, why_not  # noqa: E402

TABLE = ROOT / "docs" / "faults.md"
NOT_RUN = "not run"
Found = Mapping[str, dict[str, Any]]

HEAD = """# Faults

What happens when something breaks, for each engine, place, operation and fault. **This file is written by the test run**
(`make faults`; `make test-all` runs it too); nobody edits it. How the cells are made stands in [testing.md](testing.md#the-fault-matrix).

**Every ✔ means that all of this held**, in one cell, after one fault:

1. The operation ended as it must. Where that is an error, its message names the application, the stage, the datastore where
   the fault is in one, the cause, and what is untouched; it holds no traceback and no secret. Where the fault must not matter,
   the operation came to its end, and what it made is right (a backup was restored and compared).
2. The live data were those before, or after a restore those of the backup, byte for byte; never between.
3. Nothing half was listed as a backup, and a killed restore was settled by the next one, back or forward.
4. The next run worked (a backup; after a verification another one), and an earlier backup was restored and compared.
5. Nothing was left: no scratch copy, no journal, no running tool, no lock of ours or in the repository, no orphan; what had
   been stopped ran again.

| sign | |
|---|---|
| ✔ error | the operation failed with a message, and all of the above held |
| ✔ works | the operation came to its end all the same |
| ✔ killed | nobody was left to say anything; the next run settled it |
| ✘ | something of the above did not hold |
| not run | no result of this test |
| n/a | cannot happen there, see the note |
"""


def main(target: Path) -> int:
    every, found = cells(), results.read()
    mine = {one.id: found[one.id] for one in every if found.get(one.id, {}).get("sources") == results.fingerprint(one)}
    target.write_text("\n".join(_document(every, mine)) + "\n", encoding="utf-8")
    if target == TABLE:
        results.keep(mine)
    counted = Counter(_state(cell, mine) for cell in every)
    print(
        ", ".join(f"{number} {state}" for state, number in sorted(counted.items())), f"of {len(every)} cells: {target}"
    )
    return 1 if counted["failed"] else 0


def _document(every: list[Cell], found: Found) -> Iterator[str]:
    yield HEAD
    yield from _totals(every, found)
    for site in SITES:
        yield from _site(site, found)
    yield from _messages(every, found)


def _state(cell: Cell, found: Found) -> str:
    one = found.get(cell.id)
    return "not run" if one is None else "passed" if one["passed"] else "failed"


def _totals(every: list[Cell], found: Found) -> Iterator[str]:
    yield "## Totals\n"
    yield "| engine | place | cells | passed | failed | not run |"
    yield "|---|---|---:|---:|---:|---:|"
    for site in SITES:
        own = Counter(_state(cell, found) for cell in every if cell.site == site)
        yield f"| {site.engine} | {site.place} | {sum(own.values())} | {own['passed']} | {own['failed']} | {own['not run']} |"
    total = Counter(_state(cell, found) for cell in every)
    yield f"| **all** | | **{len(every)}** | **{total['passed']}** | **{total['failed']}** | **{total['not run']}** |"
    yield ""
    if not found:
        return
    versions = {name: version for one in found.values() for name, version in one["versions"].items()}
    when = sorted(one["when"] for one in found.values())
    commits = sorted({one["commit"] for one in found.values()})
    yield f"Run from {when[0]} to {when[-1]}, at commit {', '.join(commits)}."
    yield f"With {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}."
    yield "\n`host` of MySQL and MongoDB is a server elsewhere, reached over the network with the tools of this host.\n"


def _site(site: Site, found: Found) -> Iterator[str]:
    yield f"## {site.engine}, {site.place}\n"
    yield f"| fault | {' | '.join(OPERATIONS)} |"
    yield f"|---|{'---|' * len(OPERATIONS)}"
    notes: list[str] = []
    for fault in FAULTS:
        row = [_cell(site, operation, fault, found, notes) for operation in OPERATIONS]
        yield f"| {fault.title} | {' | '.join(row)} |"
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note[0].upper()}{note[1:]}."
    if notes:
        yield ""


def _cell(site: Site, operation: str, fault: Fault, found: Found, notes: list[str]) -> str:
    why = why_not(site, operation, fault)
    if why:
        if why not in notes:
            notes.append(why)
        return f"n/a ({notes.index(why) + 1})"
    one = found.get(Cell(site, operation, fault).id)
    if one is None:
        return NOT_RUN
    return f"✔ {one['ended']}" if one["passed"] else "✘"


def _messages(every: list[Cell], found: Found) -> Iterator[str]:
    """What people are shown: each message once, with the engines that say it so."""
    yield "## What is shown\n"
    yield "Ids, paths, names and numbers that differ from run to run are replaced. Long messages are cut.\n"
    for fault in FAULTS:
        said: dict[tuple[str, str], list[str]] = {}
        for cell in every:
            one = found.get(cell.id)
            if cell.fault is fault and one is not None and one["passed"] and one["ended"] == "error":
                said.setdefault((cell.operation, _short(one["shown"])), []).append(str(cell.site))
        if not said:
            continue
        yield f"### {fault.title[0].upper()}{fault.title[1:]}\n"
        yield "| operation | where | message |"
        yield "|---|---|---|"
        for (operation, message), sites in said.items():
            yield f"| {operation} | {', '.join(sites)} | {message} |"
        yield ""


def _short(message: str, limit: int = 420) -> str:
    cut = message if len(message) <= limit else message[: limit - 1].rsplit(" ", 1)[0] + " …"
    return cut.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE))
