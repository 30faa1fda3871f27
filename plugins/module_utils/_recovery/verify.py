# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Verification: a backup is restored into scratch, compared, asked, and the proof is stored beside it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core import clock, io
from .._core import lock as locks
from .._core.argspec import Spec
from .._core.context import Context
from .._core.errors import Mismatch, OpsError, Refused, at
from .._core.model import Fingerprint, Json, Part
from .._engines.base import Engine
from .._store import catalogue
from .._store import manifest as manifests
from . import setup, staging, unfinished
from .setup import Operation
from .staging import Staged

ASSERTION: Spec = {
    "datastore": {"type": "str", "required": True},
    "sql": {"type": "str"},
    "value": {"type": "str"},
    "min": {"type": "float"},
    "max": {"type": "float"},
    "table": {"type": "str"},
    "rows": {"type": "int"},
    "file": {"type": "path"},
}
UNTOUCHED = "The live data are untouched, and no proof was recorded."


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup_verify`."""
    operation = setup.prepare(context, params)
    elsewhere = operation.redirected(params["scratch"], "scratch")
    with at(f"verify {context.app.key}", untouched=UNTOUCHED), contextlib.ExitStack() as stack:
        if not context.check_mode:
            stack.enter_context(locks.held(context, params["lock_token"], "verification", operation.job))
        with at(stage="preflight"):
            context.progress.begin("preflight")
            operation.restic.version()
            operation.restic.settle()
            unfinished.refuse(context)
            known = catalogue.read(operation.restic, context.app)
            for sentence in known.passed_over(params["backup"]):
                context.warn(sentence)
            entry = known.choose(params["backup"])
            manifest = catalogue.manifest_of(operation.restic, entry, context)
            only = params["only"] or [part.datastore for part in manifest.parts]
            pairs = staging.chosen(manifest.parts, operation, only)
            pairs = [(elsewhere.get(engine.datastore.name, engine), part) for engine, part in pairs]
            _check_assertions(params["assertions"], [engine for engine, part in pairs])
            for engine, part in pairs:
                with at(str(engine.datastore)):
                    for warning in engine.accepts(part):
                        context.warn(f"{engine.datastore}: {warning}")
        whole = len(pairs) == len(manifest.parts)
        begun = time.monotonic()
        report: Json = {"backup": entry.id, "whole": whole}
        if context.check_mode:
            return {"changed": False, "verification": report}
        directory = params["scratch_directory"]
        staged, assertions = _prove(operation, pairs, params["assertions"], Path(directory) if directory else None)
        report.update(
            finished=clock.text(clock.now()),
            seconds=round(time.monotonic() - begun, 2),
            level=_level(pairs),
            datastores={one.part.datastore: one.public() for one in staged},
            assertions=assertions,
        )
        with at(stage="record"):
            context.progress.begin("record")
            _record(operation, report)
        return {"changed": True, "verification": {**report, "recorded": True}}


def _level(pairs: Sequence[tuple[Engine, Part]]) -> str:
    """How deep the databases were compared; the content of files is always checked, by the store."""
    levels = {part.fingerprint.level for engine, part in pairs if engine.TRANSPORT == "stream"}
    return "full" if levels == {"full"} else "counts"


def _prove(
    operation: Operation, pairs: Sequence[tuple[Engine, Any]], assertions: Sequence[Json], directory: Path | None
) -> tuple[list[Staged], list[Json]]:
    """Stage, compare and ask every part; the scratch copies are gone afterwards, whatever happens."""
    begun: list[tuple[Engine, str]] = []
    staged: list[Staged] = []
    results: list[Json] = []
    area = directory or operation.context.home / "scratch"
    try:
        io.private_directory(operation.context.home / "scratch") if directory is None else _usable(area)
        for engine, part in pairs:
            with at(str(engine.datastore), stage="stage"):
                engine.sweep()
            begun.append((engine, operation.context.scratch_name(engine.datastore.name, "stage")))
            one = staging.stage(operation, engine, part, area)
            staged.append(one)
            with at(str(engine.datastore), stage="assert"):
                operation.context.progress.begin("assert", str(engine.datastore))
                results += [_hold(a, one) for a in assertions if a["datastore"] == engine.datastore.name]
    finally:
        _drop(operation, begun)
    return staged, results


def _drop(operation: Operation, begun: Sequence[tuple[Engine, str]]) -> None:
    operation.restic.settle()  # it may have been killed
    for engine, scratch in begun:
        try:
            engine.drop_scratch(scratch)
        except OpsError as error:
            operation.context.warn(f"{engine.datastore}: the scratch copy {scratch} could not be dropped: {error}")


def _usable(directory: Path) -> None:
    if not directory.is_dir():
        raise Refused(f"scratch_directory {directory} is not a directory")


def _check_assertions(assertions: Sequence[Json], engines: Sequence[Engine]) -> None:
    kinds = {engine.datastore.name: engine.TRANSPORT for engine in engines}
    for one in assertions:
        name = one["datastore"]
        if name not in kinds:
            raise Refused(
                f'an assertion names "{name}", which is not verified', hint=f"Verified are {', '.join(kinds)}."
            )
        if bool(one["file"]) != (kinds[name] == "tree"):
            raise Refused(f'"{name}": `file` is for files, `sql` and `table` are for databases')
        if one["sql"] and one["value"] is None and one["min"] is None and one["max"] is None:
            raise Refused(f'"{name}": the assertion {one["sql"]!r} says neither value nor min nor max')


def _hold(assertion: Json, staged: Staged) -> Json:
    """One assertion on the restored copy; `Mismatch` when it does not hold."""
    found: Any
    if assertion["file"]:
        found = staged.engine.query(staged.scratch, assertion["file"])
        ok, subject = bool(found), f"file {assertion['file']}"
    elif assertion["table"]:
        found = _rows(staged.fingerprint, assertion["table"])
        ok, subject = found is not None and found >= assertion["rows"], f"table {assertion['table']}"
    else:
        found = staged.engine.query(staged.scratch, assertion["sql"])
        ok, subject = _within(found, assertion), assertion["sql"]
    if not ok:
        raise Mismatch(
            f"the assertion on {subject} does not hold: found {found!r}, expected {_expected(assertion)}",
            hint="The backup restores, but it does not hold what you expect of it.",
        )
    wanted = {key: value for key, value in assertion.items() if value is not None}
    return {**wanted, "found": None if found is None else str(found), "ok": True}


def _rows(fingerprint: Fingerprint, name: str) -> Optional[int]:
    """Rows of a table by its name, or by its name without the schema where that is unambiguous."""
    named = [one for one in fingerprint.tables if one == name or one.endswith(f".{name}")]
    chosen = name if name in named else named[0] if len(named) == 1 else None
    return fingerprint.tables[chosen].rows if chosen is not None else None


def _within(found: Any, assertion: Json) -> bool:
    if assertion["value"] is not None:
        return found is not None and str(found) == assertion["value"]
    try:
        number = float(found)
    except (TypeError, ValueError):
        return False
    low, high = assertion["min"], assertion["max"]
    return (low is None or number >= low) and (high is None or number <= high)


def _expected(assertion: Json) -> str:
    if assertion["file"]:
        return "it to exist"
    if assertion["table"]:
        return f"at least {assertion['rows']} rows"
    if assertion["value"] is not None:
        return repr(assertion["value"])
    limits = [f"at least {assertion['min']:g}"] if assertion["min"] is not None else []
    limits += [f"at most {assertion['max']:g}"] if assertion["max"] is not None else []
    return " and ".join(limits)


def _record(operation: Operation, report: Json) -> None:
    """The proof, as a snapshot of its own: never a change of the backup."""
    short = {key: report[key] for key in ("finished", "seconds", "whole", "level")}
    short["datastores"] = {
        name: {key: one[key] for key in ("rows", "tables", "objects", "seconds")}
        for name, one in report["datastores"].items()
    }
    tag = f"summary={manifests.pack(short)}"
    operation.restic.store_bytes(
        "proof.json",
        json.dumps(report, sort_keys=True).encode(),
        setup.tags(operation.context, "proof", report["backup"], tag),
    )
