# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Removing backups that a policy no longer keeps: the manifest first, then the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Optional

from .._core import clock
from .._core import lock as locks
from .._core.context import Context
from .._core.errors import Refused, at
from .._core.model import Json
from .._store import catalogue
from .._store.catalogue import Catalogue, Entry
from .._store.restic import Restic
from .._store.retention import Plan, Policy, plan
from . import setup

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup_retention`."""
    policy = _policy(params)
    restic = setup.store_of(context, params)
    with at(f"retention {context.app.key}", untouched="No backup was removed."):
        if context.check_mode:
            return _apply(context, params, policy, restic, lambda: None)
        with locks.held(context, params["lock_token"], "retention") as held:
            return _apply(context, params, policy, restic, held.check)


def _apply(
    context: Context, params: Mapping[str, Any], policy: Policy, restic: Restic, still_ours: Callable[[], None]
) -> Json:
    with at(stage="list"):
        restic.version()
        restic.settle()
        known = catalogue.read(restic, context.app)
        for sentence in known.unreadable():
            context.warn(sentence)
        released = [known.find(backup) for backup in params["release"]]
    holds = [snapshot for entry in released for snapshot in entry.holds]
    after = _without_holds(known, params["release"])
    decided = (
        plan(after.entries, policy, clock.now())
        if not policy.empty
        else Plan({e.id: ["no policy given"] for e in after.entries}, [])
    )
    if not context.check_mode:
        still_ours()
        with at(stage="release"):
            restic.forget(holds)
        with at(stage="forget", untouched="What was not yet forgotten is whole."):
            _remove(restic, after, decided.remove)
        if params["prune"]:
            with at(stage="prune"):
                restic.prune()
    result = {
        "keep": [{"id": backup, "reasons": why} for backup, why in decided.keep.items()],
        "remove": decided.remove,
        "released": [entry.id for entry in released if entry.holds],
        "pruned": bool(params["prune"]) and not context.check_mode,
    }
    names = "\n".join(entry.id for entry in known.entries) + "\n"
    kept = "\n".join(decided.keep) + "\n"
    changed = bool(holds or decided.remove)
    return {"changed": changed, "retention": result, "diff": {"before": names, "after": kept}}


def _remove(restic: Restic, known: Catalogue, remove: list[str]) -> None:
    """First every manifest, so that a kill in between leaves orphans and no half backup."""
    doomed = [entry for entry in known.entries if entry.id in remove]
    restic.forget([entry.snapshot for entry in doomed])
    restic.forget([snapshot for entry in doomed for snapshot in (*entry.data.values(), *entry.evidence)])


def _without_holds(known: Catalogue, released: list[str]) -> Catalogue:
    def freed(entry: Entry) -> Entry:
        return dataclasses.replace(entry, holds={}) if entry.id in released else entry

    return dataclasses.replace(known, entries=tuple(freed(entry) for entry in known.entries))


def _policy(params: Mapping[str, Any]) -> Policy:
    counts: dict[str, Optional[int]] = {}
    for rule in _COUNTS:
        counts[rule] = params[f"keep_{rule}"]
        value = counts[rule]
        if value is not None and value < 0:
            raise Refused(f"keep_{rule} is negative")
    within, safety = params["keep_within"], params["keep_safety_within"]
    policy = Policy(
        **counts,
        within=clock.duration(within, "keep_within") if within else None,
        safety_within=clock.duration(safety, "keep_safety_within") if safety else None,
    )
    if policy.empty and not params["release"]:
        raise Refused("no keep_* option is given", hint="Say what to keep; without a policy nothing is removed.")
    return policy
