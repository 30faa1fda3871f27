# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A copy of the backups in a second repository.

The copy keeps the order of a backup: data first, then holds and proofs, the manifest last. So a copy that is
interrupted leaves nothing that could be taken for a backup, and the next one goes on. What goes wrong with the
second repository is a warning: the backup itself is stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Optional

from .._core.errors import Mismatch, OpsError, at
from .._core.model import App, Json
from .._store import catalogue
from .._store.messages import Damaged
from .._store.restic import Restic, Snapshot


@dataclasses.dataclass(frozen=True)
class Missing:
    """What the second repository lacks of one backup: snapshot ids of the first."""

    backup: str
    parts: tuple[str, ...]  # data, holds and proofs
    manifest: str = ""


def skipped(second: Optional[Restic]) -> Json:
    """What is said where nothing is copied."""
    message = "copy_repository is not given" if second is None else "check mode"
    location = "" if second is None else second.repository.location
    return {"status": "skipped", "location": location, "seconds": 0.0, "message": message, "copied": []}


def bring(first: Restic, second: Optional[Restic], backup: str) -> Json:
    """Copy what the second repository lacks, this backup above all; how it went. The caller holds the lock."""
    if second is None:
        return skipped(None)
    begun = time.monotonic()
    copied: list[str] = []
    try:
        with at(stage="copy"):
            second.settle()
            message = _copy(first, second, backup, copied)
        status = "copied"
    except OpsError as error:
        status, message = "failed", first.context.secrets.strike(str(error))
    if message:
        first.context.warn(f"the copy in {first.context.secrets.strike(second.repository.location)}: {message}")
    seconds = round(time.monotonic() - begun, 2)
    location = second.repository.location
    return {"status": status, "location": location, "seconds": seconds, "message": message, "copied": copied}


def _copy(first: Restic, second: Restic, backup: str, copied: list[str]) -> str:
    app = first.context.app
    theirs = catalogue.snapshots(second, app)
    ours = catalogue.snapshots(first, app)
    _forget_orphans(second, catalogue.build(app, ours), catalogue.build(app, theirs))
    failures: dict[str, Damaged] = {}
    for missing in plan(app, ours, theirs):
        try:
            second.copy(first, missing.parts)
            second.copy(first, [missing.manifest] if missing.manifest else [])
        except Damaged as error:  # it keeps no other from its copy; after any other failure the next run goes on here
            failures[missing.backup] = error
        else:
            copied.append(missing.backup)
    if backup in failures:
        raise failures[backup]
    entry = next((one for one in catalogue.read(second, app).entries if one.id == backup), None)
    if entry is None or not entry.complete:
        raise Mismatch(f"after copying, it does not list the whole of {backup}", hint="Run the backup again.")
    return "; ".join(f"backup {one} is not copied: {error}" for one, error in failures.items())


def plan(app: App, ours: Sequence[Snapshot], theirs: Sequence[Snapshot]) -> list[Missing]:
    """What to copy, the oldest backup first. Pure.

    Backups that are older than the newest copy and of which nothing is there were removed there, by a
    retention of its own; they stay away. Safety copies are not copied: they are for an undo on this host.
    """
    there = {snapshot.origin for snapshot in theirs}
    begun = {snapshot.tag("backup") for snapshot in theirs}
    newest = max((entry.id for entry in catalogue.build(app, theirs).entries if entry.complete), default="")
    origins = {snapshot.id: snapshot.origin for snapshot in ours}
    missing = []
    for entry in reversed(catalogue.build(app, ours).entries):
        if entry.kind == "safety" or not entry.complete or (entry.id not in begun and entry.id < newest):
            continue
        wanted = (*entry.data.values(), *entry.holds, *entry.evidence)
        parts = tuple(snapshot for snapshot in wanted if origins[snapshot] not in there)
        manifest = "" if origins[entry.snapshot] in there else entry.snapshot
        if parts or manifest:
            missing.append(Missing(entry.id, parts, manifest))
    return missing


def _forget_orphans(second: Restic, ours: catalogue.Catalogue, theirs: catalogue.Catalogue) -> None:
    """Data of interrupted copies that will never be completed, because the first repository has them no more."""
    mine = second.context.machine
    lost = [one.id for one in theirs.orphans if one.tag("backup") not in ours and one.tag("machine") == mine]
    with contextlib.suppress(OpsError):  # an append-only repository may refuse
        second.forget(lost)


def state(first: catalogue.Catalogue, second: Optional[Restic]) -> Json:
    """What `backup_info` says of the second repository; one that cannot be read is a warning there too."""
    if second is None:
        return {}
    location = second.repository.location
    try:
        known = catalogue.read(second, first.app)
    except OpsError as error:
        message = second.context.secrets.strike(str(error))
        second.context.warn(f"the copy in {second.context.secrets.strike(location)} cannot be read: {message}")
        return {
            "status": "failed",
            "location": location,
            "message": message,
            "newest": "",
            "backups": [],
            "missing": [],
        }
    complete = [entry for entry in known.entries if entry.complete]
    whole = [entry.id for entry in complete]
    newest = complete[0].summary.started if complete else ""
    missing = [one.id for one in first.entries if one.id not in whole and one.kind != "safety" and one.complete]
    message = "; ".join(known.unreadable())
    found = {"newest": newest, "backups": whole, "missing": missing}
    return {"status": "read", "location": location, "message": message, **found}
