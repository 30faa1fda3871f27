# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Backup by the commit protocol: everything is checked, then stored, and the manifest comes last.

Data snapshots that no manifest names are no backup. A run that fails forgets what it stored; what a
killed one left is forgotten by the next run on the same machine (`orphans`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core import clock
from .._core import lock as locks
from .._core.context import Context
from .._core.errors import Mismatch, OpsError, Refused, at
from .._core.model import Description, Fingerprint, Json, Part
from .._engines.base import DumpOptions, Engine, TreeSnapshot
from .._store import catalogue, relay
from .._store import manifest as manifests
from .._store.catalogue import Catalogue
from .._store.manifest import Manifest
from . import copying, keys, preflight, setup, silence, unfinished
from .background import Background
from .setup import Operation

NOTHING_STORED = "Nothing was stored, and earlier backups are untouched."


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of one backup."""

    kind: str = "regular"
    hold: str = ""
    max_age: str = ""
    exclude_tables: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    allow_vanished: bool = False
    level: str = "counts"
    data_keys: tuple[str, ...] = ()
    salvage: bool = False  # of a safety copy, see DumpOptions

    def options(self, datastore: str) -> DumpOptions:
        return DumpOptions(self.level, tuple(self.exclude_tables.get(datastore, ())), self.salvage)


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup`."""
    operation = setup.prepare(context, params)
    request = Request(
        kind=params["kind"],
        hold=params["hold"] or "",
        max_age=params["max_age"] or "",
        exclude_tables=params["exclude_tables"],
        allow_vanished=params["allow_vanished"],
        level=params["fingerprint"],
        data_keys=tuple(params["data_keys"]),
    )
    second = setup.copy_of(context, params, operation.restic)
    _check_excluded(operation, request)
    if not operation.kept:
        raise Refused("every datastore is a cache (content: cache), so there is nothing to back up")
    with at(f"backup {context.app.key}", untouched=NOTHING_STORED), contextlib.ExitStack() as stack:
        if not context.check_mode:
            stack.enter_context(locks.held(context, params["lock_token"], f"backup ({request.kind})", operation.job))
        with at(stage="preflight"):
            context.progress.begin("preflight")
            operation.restic.version()
            if second is not None:
                second.version()
            operation.restic.settle()
            unfinished.refuse(context)
            listing = Background(lambda: catalogue.read(operation.restic, context.app))
            recent = _recent(listing.result(), operation, request) if request.max_age else None
            if recent is None:
                with listing.awaited():
                    preflight.check_coverage(operation)
                    described = preflight.describe(operation, list(operation.kept.values()), request.options)
                listing.result()
                preflight.check_space(operation, described)
        if context.check_mode:
            plan = _plan(operation, request, described) if recent is None else _public(operation, recent)
            return {"changed": recent is None, "backup": {**plan, "copy_repository": copying.skipped(second)}}
        entry = recent or make(operation, request, list(operation.kept.values()), described, listing.result())
        with at(untouched=f"The backup {entry.id} is stored; its copy may not be complete."):
            copy = copying.bring(operation.restic, second, entry.id)
        changed = recent is None or bool(copy["copied"])
        return {"changed": changed, "backup": {**_public(operation, entry), "copy_repository": copy}}


def make(
    operation: Operation,
    request: Request,
    engines: Sequence[Engine],
    described: Mapping[str, Description],
    known: Optional[Catalogue] = None,
) -> catalogue.Entry:
    """Store one backup of these datastores, whole or not at all. The caller holds the lock."""
    started, clock_start = clock.now(), time.monotonic()
    backup = f"{started.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(3)}"
    release, data_keys = preflight.release_facts(operation), keys.fingerprints(operation, request.data_keys)
    if known is not None:
        _forget_orphans(operation, known)
    stored: list[str] = []
    try:
        parts = []
        for engine in engines:
            name = engine.datastore.name
            with at(str(engine.datastore), stage="dump"):
                engine.sweep()
                part = operation.restic.patiently(
                    functools.partial(_store, operation, request, engine, described[name], backup)
                )
                stored.append(part.snapshot)
                parts.append(part)
        with at(stage="commit"):
            operation.context.progress.begin("commit")
            manifest = Manifest(
                id=backup,
                app=operation.app.name,
                instance=operation.app.instance,
                kind=request.kind,
                started=clock.text(started),
                finished=clock.text(clock.now()),
                seconds=round(time.monotonic() - clock_start, 2),
                parts=tuple(parts),
                hold=request.hold,
                excluded={name: list(tables) for name, tables in request.exclude_tables.items()},
                release=release,
                data_keys=data_keys,
                versions={"python": platform.python_version()},
                machine=operation.context.machine,
                job=operation.job,
                user=setup.user(),
                warnings=tuple(warning for part in parts for warning in described[part.datastore].warnings),
            )
            return _confirm(operation, manifest, _commit(operation, manifest, stored))
    except BaseException:
        _forget_stored(operation, stored)
        raise


def _store(operation: Operation, request: Request, engine: Engine, description: Description, backup: str) -> Part:
    """One datastore into the repository."""
    name, begun = engine.datastore.name, time.monotonic()
    operation.context.progress.begin("dump", str(engine.datastore), description.size, estimate=True)
    tags = setup.tags(operation.context, "data", backup, f"kind={request.kind}", f"datastore={name}")
    part = Part(
        datastore=name,
        engine=engine.datastore.engine,
        flavour=description.flavour,
        content=engine.datastore.content,
        format="tree",
        filename="",
        snapshot="",
        bytes=0,
        sha256="",
        fingerprint=Fingerprint(),
        server_version=description.server_version,
        tool_version=description.tool_version,
        schema_revision=description.schema_revision,
        facts=description.facts,
    )
    options = request.options(name)
    with engine.snapshot(options) as snapshot:
        if isinstance(snapshot, TreeSnapshot):
            summary = operation.restic.store_paths(snapshot.paths, snapshot.exclude, tags, request.allow_vanished)
            return dataclasses.replace(
                part,
                snapshot=summary.snapshot,
                bytes=summary.bytes,
                stored=summary.added,
                fingerprint=Fingerprint(objects={"file": summary.files, "byte": summary.bytes}),
                exit_codes={"restic": 0},
                seconds=round(time.monotonic() - begun, 2),
            )
        # restic starts while the dump tool does: deriving the repository's key takes most of a second.
        stream = operation.restic.store_stream(snapshot.filename, tags)
        try:
            producer = snapshot.dump()
        except BaseException:
            stream.abort()
            raise
        counting = Background(snapshot.fingerprint)
        with silence.watched(engine, operation.context.progress, producer.kill):
            stored = relay.store(producer, stream, snapshot.complete)
        try:
            fingerprint = counting.result()
            facts = {**description.facts, **getattr(snapshot, "facts", {})}
        except BaseException:
            _forget_stored(operation, [stored.summary.snapshot])
            raise
    return dataclasses.replace(
        part,
        format=snapshot.format,
        filename=snapshot.filename,
        snapshot=stored.summary.snapshot,
        bytes=stored.digest.size,
        sha256=stored.digest.sha256,
        stored=stored.summary.added,
        fingerprint=fingerprint,
        facts=facts,
        flags=tuple(snapshot.flags),
        exit_codes=dict(stored.exit_codes),
        seconds=round(time.monotonic() - begun, 2),
    )


def _commit(operation: Operation, manifest: Manifest, stored: list[str]) -> dict[str, list[str]]:
    """Write the manifest: from here on it is a backup. Returns the tags of its snapshots, by their ids."""
    context = operation.context
    made = {
        part.snapshot: setup.tags(context, "data", manifest.id, f"datastore={part.datastore}")
        for part in manifest.parts
    }
    if manifest.hold:  # before the manifest, so that no retention sees the backup without its hold
        reason = f"summary={manifests.pack({'reason': manifest.hold})}"
        tags = setup.tags(context, "hold", manifest.id, reason)
        held = operation.restic.store_bytes("hold.json", manifest.hold.encode(), tags)
        stored.insert(0, held.snapshot)
        made[held.snapshot] = tags
    summary = f"summary={manifests.pack(manifests.summarize(manifest))}"
    tags = setup.tags(context, "manifest", manifest.id, f"kind={manifest.kind}", summary)
    written = operation.restic.store_bytes(manifests.FILENAME, manifest.encode(), tags)
    stored.insert(0, written.snapshot)
    return {**made, written.snapshot: tags}


def _confirm(operation: Operation, manifest: Manifest, made: Mapping[str, Sequence[str]]) -> catalogue.Entry:
    """Look once more: every part must be there."""
    restic = operation.restic
    if restic.repository.directory is None:
        held = catalogue.snapshots(restic, operation.app, lock=False)
    else:
        held = restic.held(made)
    entries = {entry.id: entry for entry in catalogue.build(operation.app, held).entries}
    entry = entries.get(manifest.id)
    if entry is None or entry.missing:
        gone = "its manifest" if entry is None else ", ".join(entry.missing)
        raise Mismatch(
            f"after storing, the repository does not hold {gone}",
            hint="Something else removes snapshots from this repository. Find it, then run the backup again.",
        )
    return entry


def _recent(known: Catalogue, operation: Operation, request: Request) -> Optional[catalogue.Entry]:
    """A backup that is younger than `max_age`: it makes this one unnecessary."""
    limit, now = clock.duration(request.max_age, "max_age"), clock.now()
    wanted = set(operation.kept)
    for entry in known.entries:
        covers = wanted <= set(entry.data)
        if entry.kind != "safety" and entry.complete and covers and now - limit < entry.started <= now:
            return entry
    return None


def _forget_orphans(operation: Operation, known: Catalogue) -> None:
    """Data of our own earlier runs that no manifest names. We hold the lock that they held, so they are over."""
    mine = operation.context.machine
    orphans = [snapshot.id for snapshot in known.orphans if snapshot.tag("machine") == mine]
    if orphans:
        with contextlib.suppress(OpsError):  # an append-only repository may refuse; backup_info shows them
            operation.restic.forget(orphans)
    others = len(known.orphans) - len(orphans)
    if others:
        operation.context.warn(f"{others} snapshots belong to no backup and to no run of this machine; see backup_info")


def _forget_stored(operation: Operation, stored: Sequence[str]) -> None:
    """Take back what a failed run stored, its manifest (the first, where there is one) before the data."""
    operation.restic.settle()  # restic may have been killed
    with contextlib.suppress(OpsError):
        operation.restic.forget(stored[:1])
        operation.restic.forget(stored[1:])


def _check_excluded(operation: Operation, request: Request) -> None:
    operation.named(list(request.exclude_tables), "exclude_tables")
    for name, tables in request.exclude_tables.items():
        if not isinstance(tables, list) or not all(isinstance(table, str) for table in tables):
            raise Refused(f"exclude_tables: {name} must be a list of table names")
        if name in operation.caches:
            raise Refused(f'exclude_tables: "{name}" is a cache, which is never backed up')
        if operation.engines[name].TRANSPORT == "tree":
            raise Refused(f'exclude_tables: "{name}" has no tables', hint="Use the datastore's exclude.")


def _public(operation: Operation, entry: catalogue.Entry) -> Json:
    return {
        "app": operation.app.name,
        "instance": operation.app.instance,
        "caches": list(operation.caches),
        **catalogue.public(entry, clock.now()),
    }


def _plan(operation: Operation, request: Request, described: Mapping[str, Description]) -> Json:
    """What check mode says."""
    return {
        "app": operation.app.name,
        "instance": operation.app.instance,
        "kind": request.kind,
        "hold": request.hold,
        "bytes": sum(description.size for description in described.values()),
        "datastores": [
            {"name": name, "engine": engine.datastore.engine, "bytes": described[name].size}
            for name, engine in operation.kept.items()
        ],
        "caches": list(operation.caches),
    }
