# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Restore: choose, stage, verify, stop, keep a safety copy, swap, start.

Everything up to the stop leaves the live data alone. The swap is decided by the journal
(`unfinished`): whole, or undone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from .._core import clock
from .._core import journal as journals
from .._core import lock as locks
from .._core.context import Context
from .._core.errors import OpsError, Refused, Told, at
from .._core.journal import Journal
from .._core.model import App, Fingerprint, Json, Part
from .._engines.base import Chosen, DumpOptions, Engine, Target
from .._engines.files import Files
from .._engines.redis import Redis
from .._platform import consumers, services
from .._platform.consumer import PROCESS, Consumer, Usage, merged
from .._store import catalogue
from .._store.manifest import Manifest
from . import backup as backups
from . import keys, partial, setup, staging, unfinished
from .setup import Operation
from .staging import Staged

UNTOUCHED = "The live data are untouched."


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of one restore."""

    backup: str
    before: str
    from_instance: str
    only: tuple[str, ...]
    replace: bool
    safety_copy: str
    accounts: str
    configuration: str
    stop: tuple[str, ...]
    data_keys: tuple[str, ...]
    include: Mapping[str, Chosen]  # of which datastores not everything is meant


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be restored where, decided before anything is touched."""

    entry: catalogue.Entry
    manifest: Manifest
    pairs: Sequence[tuple[Engine, Part]]
    targets: Mapping[str, Target]
    into: Mapping[str, Mapping[str, Any]]  # options that are different, by datastore
    named: Sequence[Consumer]  # what `stop` names
    shares: Mapping[str, partial.Share]  # of which datastores not everything is restored
    caches: Sequence[str] = ()  # that are emptied once the data are swapped

    @property
    def replaced(self) -> list[Engine]:
        """The engines whose live data will be replaced."""
        return [engine for engine, part in self.pairs if not self.targets[engine.datastore.name].empty]


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `restore`."""
    operation = setup.prepare(context, params).without_newest()
    request = _request(params)
    with at(f"restore {context.app.key}"), contextlib.ExitStack() as stack:
        held: Optional[locks.Held] = None
        settled: list[Json] = []
        if not context.check_mode:
            held = stack.enter_context(locks.held(context, params["lock_token"], "restore", operation.job))
            settled = unfinished.settle(operation)
        else:
            unfinished.refuse(context)
        with at(stage="preflight", untouched="Nothing was changed."):
            context.progress.begin("preflight")
            plan = _plan(operation, request, params["into"])
        report = {**_report(plan), "settled": settled}
        diff = _diff(plan)
        if held is None:
            report["stopped"] = [one.to_json() for one in _consumers(operation, plan)]
            return {"changed": True, "restore": report, "diff": diff}
        begun = time.monotonic()
        report.update(_restore(operation, request, plan, held))
        report["seconds"] = round(time.monotonic() - begun, 2)
        return {"changed": True, "restore": report, "diff": diff}


def _request(params: Mapping[str, Any]) -> Request:
    if params["before"] and params["backup"] not in catalogue.CHOICES:
        raise Refused("backup names one backup, and before another", hint="Give one of the two.")
    return Request(
        backup=params["backup"],
        before=params["before"] or "",
        from_instance=params["from_instance"] or "",
        only=tuple(params["only"]),
        replace=params["replace"],
        safety_copy=params["safety_copy"],
        accounts=params["accounts"],
        configuration=params["configuration"],
        stop=tuple(params["stop"]),
        data_keys=tuple(params["data_keys"]),
        include=partial.given(params["include"], params["include_suffix"]),
    )


# Choosing ----------------------------------------------------------------------------------------


def _plan(operation: Operation, request: Request, into: Sequence[Mapping[str, Any]]) -> Plan:
    context = operation.context
    operation.restic.version()
    operation.restic.settle()
    source = App(operation.app.name, request.from_instance or operation.app.instance)
    known = _catalogue(operation, source, request.backup)
    before = clock.given(request.before, "before") if request.before else None
    entry = known.choose(request.backup, before)
    manifest = catalogue.manifest_of(operation.restic, entry, context)
    elsewhere = operation.redirected(into, "into")
    narrowed = bool(request.only or request.include)  # then a cache is emptied only when it is named
    caches = [name for name in operation.caches if not narrowed or name in request.only]
    only = [name for name in request.only if name not in caches]
    if request.only and not only and not request.include:
        raise Refused(
            "only names nothing but caches, which no backup holds", hint="Name what is to be restored as well."
        )
    pairs = staging.chosen(manifest.parts, operation, partial.only(operation, only, request.include))
    pairs = [(elsewhere.get(engine.datastore.name, engine), part) for engine, part in pairs]
    stray = [name for name in elsewhere if all(engine.datastore.name != name for engine, part in pairs)]
    if stray:
        raise Refused(f'into names "{stray[0]}", which is not restored')
    targets, shares = {}, {}
    for engine, part in pairs:
        name = engine.datastore.name
        with at(str(engine.datastore)):
            if name in elsewhere:
                _check_elsewhere(engine, operation.engines[name])
            if name in request.include:
                shares[name] = partial.share(operation, engine, part, request.include[name])
            targets[name] = _target(engine, part, request, shares.get(name))
            warnings = engine.accepts(part)
            if name in shares:
                warnings += engine.check_chosen(part, shares[name].chosen)
            for warning in warnings:
                context.warn(f"{engine.datastore}: {warning}")
            if isinstance(engine, Redis):
                engine.fits(part)
            _compare_revision(operation, engine, part, targets[name])
    for name in caches:
        with at(str(operation.caches[name].datastore)):
            _check_cache(operation, operation.caches[name], [engine for engine, part in pairs])
    keys.check(operation, manifest.data_keys, request.data_keys)
    overlay = {
        entry["datastore"]: {k: v for k, v in entry.items() if k != "datastore" and v is not None} for entry in into
    }
    named = services.named(request.stop)
    return Plan(entry, manifest, pairs, targets, overlay, named, shares, caches)


def _check_cache(operation: Operation, cache: Redis, restored: Sequence[Engine]) -> None:
    cache.ping()
    for engine in (*operation.kept.values(), *restored):
        if isinstance(engine, Redis) and cache.shares(engine):
            raise Refused(
                f"the cache would be emptied, and {engine.datastore} is in it",
                hint="Give both the databases that are theirs (`databases`).",
            )


def _catalogue(operation: Operation, source: App, backup: str) -> catalogue.Catalogue:
    known = catalogue.read(operation.restic, source)
    for sentence in known.passed_over(backup):
        operation.context.warn(sentence)
    named = backup not in catalogue.CHOICES
    if source == operation.app and not (backup in known if named else known.entries):
        tags = ["day2", f"app={source.name}", *([f"backup={backup}"] if named else [])]
        others = sorted({one.tag("instance") for one in operation.restic.snapshots(tags)} - {source.instance})
        if others:
            what = f"backup {backup}" if named else "backups"
            raise Refused(
                f"there is no {'such ' if named else ''}backup of {source.key}; the repository holds {what} of "
                f"{source.name} as {', '.join(others)}",
                hint="To restore another instance's backup, name it with from_instance.",
            )
    return known


def _check_elsewhere(engine: Engine, original: Engine) -> None:
    here, there = engine.reach(), original.reach()
    same_server = (
        here.container == there.container
        and here.port == there.port
        and bool(set(here.hosts) & set(there.hosts) or here.container)
    )
    overlap = any(
        one == other or one in other.parents or other in one.parents for one in here.paths for other in there.paths
    )
    if overlap or (not here.paths and same_server and here.database == there.database):
        raise Refused(
            "into names the datastore itself, or what is in it or around it: target and source are the same",
            hint="Leave `into` out to restore in place.",
        )


def _target(engine: Engine, part: Part, request: Request, share: Optional[partial.Share]) -> Target:
    target = share.target(engine, part) if share else engine.target("counts")
    if target.exists and not target.readable and request.safety_copy == "required":
        raise Refused(
            "the live data cannot be read, so no safety copy can be made of them",
            hint="safety_copy: if_possible restores all the same; what is there is kept aside until then.",
        )
    if not target.empty and not request.replace:
        what = (
            f"{len(target.objects)} objects ({', '.join(target.objects[:5])}{', …' if len(target.objects) > 5 else ''})"
        )
        raise Refused(f"the target is not empty: it holds {what}", hint="To replace what is there, give replace: true.")
    return target


def _compare_revision(operation: Operation, engine: Engine, part: Part, target: Target) -> None:
    """A schema that the running release does not expect is worth a warning, not a refusal."""
    if target.empty or not target.readable or not part.schema_revision:
        return
    with contextlib.suppress(OpsError):
        live = engine.describe(DumpOptions(salvage=True)).schema_revision
        if live and live != part.schema_revision:
            operation.context.warn(
                f"{engine.datastore}: the backup's schema revision is {part.schema_revision}, the live one's {live}; "
                "the application may need its migrations run, or the release that belongs to the backup"
            )


# Restoring ---------------------------------------------------------------------------------------


def _restore(operation: Operation, request: Request, plan: Plan, held: locks.Held) -> Json:
    with at(stage="preflight", untouched="Nothing was changed."):
        journal = unfinished.begin(
            operation.context,
            plan.entry.id,
            {e.datastore.name: _without_password(plan, e) for e, part in plan.pairs},
            request.accounts,
            plan.caches,
        )
    engines = {engine.datastore.name: engine for engine, part in plan.pairs}
    phases: dict[str, float] = {}
    try:
        with _timed(phases, "stage"), at(untouched=UNTOUCHED):
            accounts, staged = _stage(operation, request, plan)
        with _timed(phases, "stop"), at(stage="stop", untouched=UNTOUCHED):
            operation.context.progress.begin("stop")
            stopped = _stop(operation, plan, journal)
        with _timed(phases, "safety"), at(stage="safety copy", untouched=UNTOUCHED):
            safety = _safety_copy(operation, request, plan)
        with _timed(phases, "swap"), at(stage="swap"):
            held.check()
            operation.context.progress.begin("swap")
            _swap(plan, staged, journal)
    except BaseException as error:
        _undo(operation, journal, engines, error)
        raise
    with _timed(phases, "start"), at(untouched="The data are restored."):
        operation.context.progress.begin("start")
        unfinished.complete(operation, journal, engines)
    unfinished.end(journal)
    return {
        "safety_backup": safety,
        "accounts": accounts,
        "stopped": [one.to_json() for one in stopped],
        "phases": phases,
        "datastores": {one.part.datastore: _public(one.part, one.fingerprint, plan) for one in staged},
    }


def _stage(operation: Operation, request: Request, plan: Plan) -> tuple[list[str], list[Staged]]:
    """Every datastore is staged and compared before the first one is swapped."""
    accounts, staged = [], []
    for engine, part in plan.pairs:
        with at(str(engine.datastore), stage="stage"):
            engine.sweep(unfinished.live_runs(operation.context))
            if part.datastore not in plan.shares:
                accounts += engine.create_accounts(part, request.accounts)
        one = staging.stage(operation, engine, part)
        if isinstance(engine, Files) and engine.datastore.content == "configuration":
            with at(str(engine.datastore), stage="merge"):
                engine.merge_configuration(one.scratch, request.configuration)
        staged.append(one)
    return accounts, staged


def _stop(operation: Operation, plan: Plan, journal: Journal) -> list[Consumer]:
    """Stop what uses the live data, and refuse to go on while anything of it still runs."""
    running = services.running(_consumers(operation, plan))
    journal.record(phase=unfinished.STOPPING, stopped=[one.to_json() for one in running])
    services.stop(running)
    still = services.running(_consumers(operation, plan))
    if still:
        raise Refused(
            f"{', '.join(str(one) for one in still[:3])} still use the data after the services were stopped",
            hint="Name what starts them in `stop`.",
        )
    return running


def _consumers(operation: Operation, plan: Plan) -> list[Consumer]:
    """What `stop` names, and what is found to use the live data that will be replaced."""
    found = list(plan.named)
    for engine in plan.replaced:
        with at(str(engine.datastore)):
            own = consumers.find(operation.context, operation.application, _usage(engine, plan))
            _refuse_processes([one for one in own if one.kind == PROCESS])
            found += own
    return merged(found)


def _refuse_processes(found: Sequence[Consumer]) -> None:
    if found:
        raise Refused(
            f"it is used by what belongs to no service that could be stopped: {', '.join(map(str, found[:3]))}",
            hint="End it, or name the service that runs it in `stop`.",
        )


def _usage(engine: Engine, plan: Plan) -> Usage:
    """How clients would reach the live datastore, and who is connected to it."""
    reach = engine.reach()
    readable = plan.targets[engine.datastore.name].readable
    return Usage(
        hosts=reach.hosts,
        port=reach.port,
        database=reach.database,
        container=reach.container,
        paths=tuple(str(path) for path in reach.paths),
        addresses=tuple(session.address for session in engine.sessions()) if readable else (),
    )


def _safety_copy(operation: Operation, request: Request, plan: Plan) -> str:
    """A backup of what will be replaced, now that nothing writes to it."""
    if request.safety_copy == "none" or not plan.replaced:
        return ""
    try:
        wanted = [engine for engine in plan.replaced if plan.targets[engine.datastore.name].readable]
        unreadable = [str(engine.datastore) for engine in plan.replaced if engine not in wanted]
        if unreadable:
            operation.context.warn(f"no safety copy was made of {', '.join(unreadable)}: it cannot be read")
        described = {}
        for engine in wanted:
            with at(str(engine.datastore)):
                described[engine.datastore.name] = engine.describe(DumpOptions(salvage=True))
        asked = backups.Request(kind="safety", salvage=True)
        return backups.make(operation, asked, wanted, described).id if wanted else ""
    except OpsError as error:
        if request.safety_copy == "required":
            raise
        operation.context.warn(f"no safety copy was made: {error}")
        return ""


def _swap(plan: Plan, staged: Sequence[Staged], journal: Journal) -> None:
    """All datastores, one after the other; the journal says `swapped` only after the last one."""
    whole = {one.part.datastore: one.part.to_json() for one in staged if one.part.datastore not in plan.shares}
    journal.record(phase=unfinished.SWAPPING, parts=whole)
    for one in staged:
        name = one.part.datastore
        with at(str(one.engine.datastore)):
            share = plan.shares.get(name)
            if share is None or not share.beside:
                one.engine.close_sessions()
            step = journal.begin(f"swap:{name}", datastore=name)
            if share is None:
                one.engine.swap(one.part, one.scratch, step)
            else:
                one.engine.swap_chosen(one.part, one.scratch, share.chosen, step)
            step.mark(journals.DONE)
    journal.record(phase=unfinished.SWAPPED)


def _undo(operation: Operation, journal: Journal, engines: dict[str, Engine], error: BaseException) -> None:
    """Back to the state before; when even that fails, the journal stays for the next run."""
    swapping = journal.header["phase"] == unfinished.SWAPPING
    operation.restic.settle()  # it may have been killed
    try:
        unfinished.back(operation, journal, engines)
    except OpsError as second:
        operation.context.warn(
            f"the restore could not be undone: {second} Its journal {journal.path} is kept, and services that were "
            "stopped stay stopped; run the restore again to settle it."
        )
        if swapping and isinstance(error, Told):
            error.untouched = (
                error.untouched or "It could not be undone yet: the journal is kept, and services stay stopped."
            )
            error.hint = "Remove the cause, then run the restore again: it settles this one first."
        return
    unfinished.end(journal)
    if swapping and isinstance(error, Told):
        error.untouched = error.untouched or "Every datastore is as it was before, and the services run again."


# Reporting ---------------------------------------------------------------------------------------


def _report(plan: Plan) -> Json:
    """What is known before anything is done."""
    return {
        "backup": plan.entry.id,
        "started": plan.manifest.started,
        "age": plan.entry.age(clock.now()),
        "safety_backup": "",
        "accounts": [],
        "flushed": list(plan.caches),
        "phases": {},
        "seconds": 0.0,
        "datastores": {part.datastore: _public(part, part.fingerprint, plan) for engine, part in plan.pairs},
    }


def _public(part: Part, found: Fingerprint, plan: Plan) -> Json:
    share = plan.shares.get(part.datastore)
    found = share.of(found) if share else found
    return {
        "engine": part.engine,
        "rows": found.rows,
        "tables": {name: table.rows for name, table in found.tables.items()},
        "objects": dict(found.objects),
        "replaced": not plan.targets[part.datastore].empty,
        "included": share.included if share else [],
    }


def _diff(plan: Plan) -> Json:
    """What is there against what the backup holds, a line per table and kind of object."""
    before, after = [], []
    for engine, part in plan.pairs:
        name, share = part.datastore, plan.shares.get(part.datastore)
        held = share.held if share else part.fingerprint
        live = plan.targets[name].fingerprint
        if live and engine.TRANSPORT == "tree":  # of a tree only files and bytes are recorded
            live = Fingerprint(objects={kind: live.objects.get(kind, 0) for kind in held.objects})
        before += _lines(name, live.to_json()) if live else [f"{name}: nothing that can be read"]
        after += _lines(name, held.to_json())
    return {"before": "\n".join(before) + "\n", "after": "\n".join(after) + "\n"}


def _lines(datastore: str, fingerprint: Json) -> list[str]:
    tables = [f"{datastore}: table {name}: {table['rows']} rows" for name, table in fingerprint["tables"].items()]
    return tables + [f"{datastore}: {kind}: {count}" for kind, count in fingerprint["objects"].items()]


def _without_password(plan: Plan, engine: Engine) -> Json:
    """What a journal keeps of a redirection. A password given in the clear is asked for again."""
    given = plan.into.get(engine.datastore.name, {})
    return {key: value for key, value in given.items() if key != "password"}


@contextlib.contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        phases[name] = round(time.monotonic() - begun, 2)
