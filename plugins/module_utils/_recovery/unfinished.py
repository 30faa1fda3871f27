# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Restores that were killed: found by their journal, and settled forward or back.

A journal's `phase` says how far it came, and is written before what it names begins:

- `staging`: only scratch copies were made → back: they are dropped.
- `stopping`: services may have been stopped → back: as above, and they are started.
- `swapping`: some datastores may have been swapped → back: each swap is undone, the last one first.
- `swapped`: every datastore was swapped → forward: caches are flushed, services are started, what the swap
  kept is dropped.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence

from .._core import io
from .._core import journal as journals
from .._core.context import Context
from .._core.errors import Refused, at
from .._core.journal import Journal
from .._core.model import Json, Part
from .._engines.base import Engine
from .._platform import services
from .._platform.consumer import Consumer
from .setup import Operation

STAGING, STOPPING, SWAPPING, SWAPPED = "staging", "stopping", "swapping", "swapped"
FILENAME = "journal.json"


def find(context: Context) -> list[Journal]:
    """The journals of unfinished restores, oldest first."""
    return [Journal.read(path) for path in sorted((context.home / "restores").glob(f"*/{FILENAME}"))]


def begin(context: Context, backup: str, targets: Json, accounts: str, caches: Sequence[str] = ()) -> Journal:
    """A journal for a new restore."""
    directory = context.home / "restores" / f"{backup}-{context.run_id}"
    for path in (directory.parent, directory):
        io.private_directory(path)
    journal = Journal(directory / FILENAME)
    try:
        journal.keep_room()
        journal.record(
            run=context.run_id,
            backup=backup,
            phase=STAGING,
            targets=targets,
            accounts=accounts,
            caches=list(caches),
            stopped=[],
            parts={},
        )
    except BaseException:
        end(journal)
        raise
    return journal


def end(journal: Journal) -> None:
    """The restore is over, either way: the journal goes."""
    shutil.rmtree(journal.path.parent, ignore_errors=True)


def _sweep(context: Context) -> None:
    """Directories without a journal: killed before it was written, or after it was removed."""
    for directory in (context.home / "restores").glob("*"):
        if not context.check_mode and not (directory / FILENAME).exists():
            shutil.rmtree(directory, ignore_errors=True)


def refuse(context: Context) -> None:
    """Nothing else may look at datastores that a killed restore left half swapped."""
    _sweep(context)
    for journal in find(context):
        if journal.header["phase"] != STAGING:
            raise Refused(
                f"a restore of backup {journal.header['backup']} was interrupted while it was {journal.header['phase']}",
                untouched="Nothing was changed.",
                hint="Run day2.ops.restore again: it settles that restore first, forward or back.",
            )


def settle(operation: Operation) -> list[Json]:
    """Bring every unfinished restore to its end. What cannot be settled stays journalled, and is an error."""
    outcomes = []
    _sweep(operation.context)
    for journal in find(operation.context):
        with at(
            stage="settle",
            untouched=f"The journal {journal.path} is kept, and services that were stopped stay stopped.",
        ):
            outcomes.append(_settle(operation, journal))
    return outcomes


def _settle(operation: Operation, journal: Journal) -> Json:
    header = journal.header
    forward = header["phase"] == SWAPPED
    with _as_run(operation.context, header["run"]):
        engines = targets(operation, header["targets"])
        if forward:
            complete(operation, journal, engines)
        else:
            back(operation, journal, engines)
    end(journal)
    context, outcome = operation.context, "completed" if forward else "undone"
    # A warning too, because what this run was asked for may still be refused.
    context.warn(f"the restore of backup {header['backup']} that was interrupted while {header['phase']} was {outcome}")
    return {"backup": header["backup"], "phase": header["phase"], "outcome": outcome}


def targets(operation: Operation, recorded: Json) -> dict[str, Engine]:
    """The engines of a journal's targets, as they were then."""
    engines = {}
    for name, given in recorded.items():
        engine = operation.named([name], "an unfinished restore")[0]
        engines[name] = operation.with_options(engine, given) if given else engine
    return engines


def back(operation: Operation, journal: Journal, engines: dict[str, Engine]) -> None:
    """Undo whatever was begun. Safe to repeat."""
    if journal.header["phase"] == SWAPPED:  # interrupted right after the last swap: from here on, back
        journal.record(phase=SWAPPING)
    for step in reversed(list(journal.named("swap"))):
        engine = engines[step.data["datastore"]]
        if step.state != journals.UNDONE:
            with at(str(engine.datastore), stage="undo"):
                engine.undo(step)
            step.mark(journals.UNDONE)
    for name, engine in engines.items():
        with at(str(engine.datastore), stage="undo"):
            engine.place.end_run()
            engine.drop_scratch(operation.context.scratch_name(name, "stage"))
    start(operation.context, journal)


def complete(operation: Operation, journal: Journal, engines: dict[str, Engine]) -> None:
    """After the last swap: privileges again, services again, and what the swap kept is dropped."""
    try:
        for name, part in journal.header["parts"].items():
            with at(str(engines[name].datastore), stage="accounts"):
                engines[name].grant_accounts(Part.from_json(part), journal.header["accounts"])
        _flush(operation, journal)
    finally:
        start(operation.context, journal)
    for step in journal.named("swap"):
        engine = engines[step.data["datastore"]]
        if step.state != journals.FINISHED:
            with at(str(engine.datastore), stage="finish"):
                engine.finish(step)
            step.mark(journals.FINISHED)
    for name, engine in engines.items():
        with at(str(engine.datastore), stage="finish"):
            engine.drop_scratch(operation.context.scratch_name(name, "stage"))


def _flush(operation: Operation, journal: Journal) -> None:
    """Empty the caches, while nothing runs that could fill them from the data before. Repeatable."""
    for name in journal.header.get("caches", ()):
        engine = operation.caches.get(name)
        if engine is None:
            operation.context.warn(f'"{name}" is not described as a cache any more, and was not flushed')
            continue
        with at(str(engine.datastore), stage="flush"):
            engine.empty()


def start(context: Context, journal: Journal) -> None:
    """Start what this restore stopped."""
    stopped = [Consumer.from_json(one) for one in journal.header["stopped"]]
    if stopped:
        with at(stage="start"):
            for note in services.start(stopped):
                context.warn(note)


@contextlib.contextmanager
def _as_run(context: Context, run_id: str) -> Iterator[None]:
    """Scratch names hold the id of the run that made them."""
    mine = context.run_id
    context.run_id = run_id
    try:
        yield
    finally:
        context.run_id = mine


def live_runs(context: Context) -> Sequence[str]:
    """Run ids whose scratch belongs to a journal."""
    return [journal.header["run"] for journal in find(context)]
