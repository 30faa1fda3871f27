# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Looking after a repository: reading all of it in turns, naming what is damaged, freeing space."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._core import clock, io
from .._core import lock as locks
from .._core.context import Context
from .._core.errors import Refused, at
from .._core.model import Json
from .._store import catalogue, damage
from .._store.restic import Restic, Snapshot
from . import setup

_UNUSED = re.compile(r"^(\d+(\.\d+)?%|\d+[KMGT]?|unlimited)$", re.I)
MOST_PARTS = 256  # restic divides by the first byte of a pack's id


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup_maintain`."""
    parts, every, unused = params["parts"], params["prune_every"] or "", params["max_unused"]
    if not 0 <= parts <= MOST_PARTS:
        raise Refused(f"parts is {parts}", hint=f"Give 1 to {MOST_PARTS}; or 0, to read the structure only.")
    if not _UNUSED.match(unused):
        raise Refused(f"max_unused: {unused!r} is no share", hint="Use 10%, 500M or unlimited.")
    interval = clock.duration(every, "prune_every") if every else None
    restic = setup.store_of(context, params)
    with at(f"maintenance of {context.app.key}", untouched="No backup was changed."):
        with at(stage="open"):
            restic.version()
        if context.check_mode:
            kept = _kept(context, restic)
            due = interval is not None and _is_due(kept, interval)
            return {"changed": due, "maintenance": {"part": _next(kept, parts), "parts": parts, "prune": {"due": due}}}
        with locks.held(context, params["lock_token"], "maintenance"):
            return _maintain(context, restic, parts, interval, unused)


def _maintain(context: Context, restic: Restic, parts: int, interval: Any, unused: str) -> Json:
    restic.settle()
    kept = _kept(context, restic)
    part = _next(kept, parts)
    with at(stage="check"):
        found = inspect(restic, context, f"{part}/{parts}" if parts else "")
    kept.update({"part": part, "parts": parts, "checked": clock.text(clock.now())})
    _keep(context, restic, kept)
    due = interval is not None and _is_due(kept, interval)
    prune: Json = {"due": due, "done": False, "message": ""}
    if due and found["errors"]:
        prune["message"] = "nothing is pruned from a repository that is not sound"
    elif due:
        with at(stage="prune"):
            restic.prune(unused)
        prune["done"] = True
        kept["pruned"] = clock.text(clock.now())
        _keep(context, restic, kept)
    return {
        "changed": prune["done"],
        "maintenance": {
            "location": restic.repository.location,
            "part": part,
            "parts": parts,
            **found,
            "prune": {**prune, "last": kept.get("pruned", "")},
        },
    }


def inspect(restic: Restic, context: Context, subset: str) -> Json:
    """Let restic check; its complaints, and for each damaged pack the backups of ours that need it."""
    found = damage.check(restic, subset)
    if not found.errors:
        return {"errors": [], "damaged": []}
    snapshots = catalogue.snapshots(restic, context.app)
    return {"errors": list(found.errors), "damaged": named(damage.touched(restic, found, snapshots), snapshots)}


def named(touched: Mapping[str, set[str]], snapshots: Sequence[Snapshot]) -> list[Json]:
    """From snapshots to backups. Pure."""
    result: list[Json] = []
    for pack, ids in sorted(touched.items()):
        backups: dict[str, Json] = {}
        for snapshot in (one for one in snapshots if one.id in ids):
            backup = snapshot.tag("backup")
            entry = backups.setdefault(backup, {"id": backup, "datastores": [], "manifest": False})
            if snapshot.tag("datastore"):
                entry["datastores"].append(snapshot.tag("datastore"))
            entry["manifest"] = entry["manifest"] or snapshot.tag("role") == "manifest"
        result.append({"pack": pack, "backups": [backups[backup] for backup in sorted(backups)]})
    return result


# What was read, and when it was pruned, is remembered for each repository. Lost, it begins anew. -------
def _kept(context: Context, restic: Restic) -> Json:
    return io.read_json(_path(context, restic)) or {}


def _keep(context: Context, restic: Restic, kept: Json) -> None:
    path = _path(context, restic)
    io.private_directory(path.parent)
    io.write_json(path, kept)


def _path(context: Context, restic: Restic) -> Any:
    return context.home / "maintenance" / f"{restic.traces.suffix}.json"


def _next(kept: Mapping[str, Any], parts: int) -> int:
    """The part after the last one; the first one when data are divided otherwise now."""
    if not parts:
        return 0
    return int(kept["part"]) % parts + 1 if kept.get("parts") == parts else 1


def _is_due(kept: Mapping[str, Any], interval: Any) -> bool:
    last = kept.get("pruned")
    return not last or clock.from_text(last) + interval <= clock.now()
