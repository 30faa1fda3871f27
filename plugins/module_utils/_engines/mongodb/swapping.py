# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The swap: collection by collection, the live one is renamed aside and the staged one takes its name.

In the journal's step, `phase` says what may have begun:

- `prepared`: expiring indexes on staged collections, nothing live → undo leaves them to `drop_scratch`;
- `views`: live views may be gone; their definitions are in the step;
- `rename`: collections may have been renamed;
- `rebuild`: views of the backup may be there.

A rename is one step for the server, all of them together are not; so `moving`, `half` and `how` say which
collection is on its way. `undo` goes by what it finds: where the kept collection exists, what has the live
name is not the live one.

FerretDB renames no collection with a dot in its name (those of GridFS). Such a one is copied by the server,
and the source dropped when the copy is whole: `how` tells an unfinished copy (`copy`) from a whole one (`copied`).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..._core.errors import Busy, Interrupted, OpsError, Refused, Told
from ..._core.journal import Step
from ..._core.model import Json, Part
from ..base import Chosen
from . import catalog, staging
from .catalog import VIEW, Definition
from .connection import INVALID_NAMESPACE, NAMESPACE_EXISTS, CommandError, Mongo
from .names import is_system, is_too_long, within

if TYPE_CHECKING:
    from . import MongoDB

OUT, IN, COPY = "out", "in", "copy"
PREPARED, VIEWS, RENAME, REBUILD, SWAPPED = "prepared", "views", "rename", "rebuild", "swapped"


@dataclasses.dataclass(frozen=True)
class Move:
    """One name of the live database. "" for what there is none of: nothing live, or nothing staged."""

    live: str
    staged: str
    kept: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `undo` needs to know; kept in the step as JSON."""

    scratch: str
    old: str
    moves: tuple[Move, ...]
    views: tuple[Definition, ...]  # live ones that are taken away
    coming: tuple[Definition, ...]  # views of the backup

    def to_json(self) -> Json:
        lists = {key: [one.json() for one in getattr(self, key)] for key in ("views", "coming")}
        moves = [dataclasses.asdict(one) for one in self.moves]
        return {"scratch": self.scratch, "old": self.old, "moves": moves, **lists}

    @classmethod
    def from_json(cls, data: Json) -> Plan:
        return cls(
            data["scratch"],
            data["old"],
            tuple(Move(**one) for one in data["moves"]),
            tuple(Definition.from_json(one) for one in data["views"]),
            tuple(Definition.from_json(one) for one in data["coming"]),
        )


# Forward --------------------------------------------------------------------------------------------


def swap(engine: MongoDB, part: Part, scratch: str, old: str, step: Step) -> None:
    """Everything of the database: what the backup does not hold is gone afterwards."""
    with engine.session() as mongo:
        found = catalog.listed(mongo)
        live = [one["name"] for one in found if catalog.kind_of(one) != VIEW and not is_system(one["name"])]
        staged = [one.name for one in staging.collections(part)]
        moves = tuple(
            Move(
                name,
                within(scratch, name, mongo.name) if name in staged else "",
                within(old, name, mongo.name) if name in live else "",
            )
            for name in sorted({*live, *staged})
        )
        views = tuple(one for one in catalog.definitions(mongo) if one.kind == VIEW)
        run(engine, mongo, part, Plan(scratch, old, moves, views, tuple(staging.views(part))), step)


def check_chosen(mongo: Mongo, part: Part, chosen: Chosen) -> list[str]:
    """Refuse names that the part lacks, or that a suffix makes equal to one that is there."""
    held = {one.name: one for one in staging.held(part)}
    there = {one["name"]: catalog.kind_of(one) for one in catalog.listed(mongo)}
    warnings = []
    for name in chosen.names:
        if name not in held:
            near = difflib.get_close_matches(name, held, 1)
            raise Refused(
                f"the backup holds no collection {name}",
                hint=f"Did you mean {near[0]}?" if near else f"It holds {', '.join(sorted(held)) or 'none'}.",
            )
        target = chosen.target(name)
        if is_too_long(target, mongo.name):
            raise Refused(f"{target} would be too long a name for a collection", hint="Choose a shorter suffix.")
        if chosen.suffix and target in there:
            raise Refused(f"there is a {there[target]} {target} already", hint="Drop it, or choose another suffix.")
        if not chosen.suffix and target in there and (there[target] == VIEW) != (held[name].kind == VIEW):
            raise Refused(f"{name} is a {held[name].kind} in the backup and a {there[target]} here")
        if held[name].kind != VIEW and held[name].expiring and chosen.suffix:
            warnings.append(f"{target} expires like {name}: what is too old will be removed from it")
    if len(set(chosen.names)) != len(chosen.names):
        raise Refused("a collection is named twice")
    return warnings


def swap_chosen(engine: MongoDB, part: Part, scratch: str, chosen: Chosen, old: str, step: Step) -> None:
    """The chosen collections and views alone; with a suffix nothing live moves."""
    with engine.session() as mongo:
        check_chosen(mongo, part, chosen)
        live = {one["name"] for one in catalog.listed(mongo)}
        targets = {name: chosen.target(name) for name in chosen.names}
        moves = tuple(
            Move(
                targets[one.name],
                within(scratch, one.name, mongo.name),
                within(old, one.name, mongo.name) if targets[one.name] in live else "",
            )
            for one in staging.collections(part)
            if one.name in targets
        )
        coming = tuple(
            dataclasses.replace(one, name=targets[one.name]) for one in staging.views(part) if one.name in targets
        )
        replaced = tuple(catalog.definitions(mongo, [one.name for one in coming]))
        run(engine, mongo, part, Plan(scratch, old, moves, replaced, coming), step)


def run(engine: MongoDB, mongo: Mongo, part: Part, plan: Plan, step: Step) -> None:
    """Carry the plan out, or undo it and say why."""
    missing = [one.live for one in plan.moves if one.staged and not staging.existing(mongo, [one.staged])]
    if missing:
        raise Refused(f"there is no staged copy of {', '.join(missing[:5])}")
    step.save(plan=plan.to_json(), phase=PREPARED)
    try:
        _forward(mongo, part, plan, step)
    except (Exception, Interrupted) as error:
        try:
            undo(engine, step)
        except OpsError as second:  # the journal still knows how
            if isinstance(error, Told):
                error.untouched = f"Undoing it failed too: {second}"
        raise
    step.save(phase=SWAPPED)


def _forward(mongo: Mongo, part: Part, plan: Plan, step: Step) -> None:
    _expire(mongo, part, plan)
    if plan.views:
        step.save(phase=VIEWS)
        for one in plan.views:
            mongo.drop(one.name)
    for move in plan.moves:
        if move.kept:
            _carry(mongo, move.live, move.kept, step, moving=move.live, half=OUT)
        if move.staged:
            _carry(mongo, move.staged, move.live, step, moving=move.live, half=IN)
    if plan.coming:
        step.save(phase=REBUILD)
        _make_views(mongo, plan.coming)


def _expire(mongo: Mongo, part: Part, plan: Plan) -> None:
    """Only now, after the comparison: from here on the server removes what is too old."""
    staged = {move.staged for move in plan.moves}
    for one in staging.collections(part):
        name = within(plan.scratch, one.name, mongo.name)
        if name in staged:
            catalog.create_indexes(mongo, name, one.expiring, f"making the expiring indexes of {one.name}")


def _carry(mongo: Mongo, source: str, target: str, step: Step, **where: str) -> None:
    step.save(phase=RENAME, how="rename", **where)
    try:
        mongo.rename(source, target)
    except CommandError as error:
        if error.code == NAMESPACE_EXISTS:
            raise Busy(
                f"something wrote to {target} while it was being replaced, and so made it anew",
                hint="Name what writes in `stop`.",
            ) from None
        if not _needs_copy(error, source, target):
            raise
        step.save(how=COPY)
        _copy(mongo, source, target)
        step.save(how="copied")
        mongo.drop(source)


def _needs_copy(error: CommandError, source: str, target: str) -> bool:
    return error.code == INVALID_NAMESPACE and "." in source + target


def _copy(mongo: Mongo, source: str, target: str) -> None:
    """With its indexes; whole, or an error."""
    mongo.aggregate(source, [{"$out": target}], doing=f"copying {source}")
    wanted = [one for one in catalog.indexes(mongo, source) if one["name"] != catalog.ID_INDEX]
    if not staging.existing(mongo, [target]):  # of an empty one the server makes none
        mongo.command("create", target)
    catalog.create_indexes(mongo, target, wanted, f"copying the indexes of {source}")
    counted = catalog.count(mongo, source), catalog.count(mongo, target)
    if counted[0] != counted[1]:
        raise OpsError(f"of {counted[0]} documents of {source} {counted[1]} were copied")


def _make_views(mongo: Mongo, views: Sequence[Definition]) -> None:
    """A view may read another one; the server takes them in any order."""
    there = staging.existing(mongo, [one.name for one in views])
    for one in views:
        if one.name not in there:
            catalog.create(mongo, one, one.name)


# Back -----------------------------------------------------------------------------------------------


def undo(engine: MongoDB, step: Step) -> None:
    if "plan" not in step.data:
        return
    plan = Plan.from_json(step.data["plan"])
    if step.data["phase"] == PREPARED:
        return
    with engine.session() as mongo:
        for one in plan.coming:
            if _is_view(mongo, one.name):
                mongo.drop(one.name)
        begun = [one.live for one in plan.moves].index(step.data["moving"]) + 1 if "moving" in step.data else 0
        for move in reversed(plan.moves[:begun]):
            _back(engine, mongo, move, step)
        _make_views(mongo, plan.views)


def _is_view(mongo: Mongo, name: str) -> bool:
    return any(one["name"] == name and catalog.kind_of(one) == VIEW for one in catalog.listed(mongo))


def _back(engine: MongoDB, mongo: Mongo, move: Move, step: Step) -> None:
    """One collection's live state again. What is staged is not needed any more."""
    on_its_way = step.data["moving"] == move.live
    half, how = (step.data["half"], step.data["how"]) if on_its_way else (IN, "rename")
    there = staging.existing(mongo, [one for one in (move.live, move.staged, move.kept) if one])
    if move.kept and half == OUT and how == COPY:  # the live one was not dropped yet
        if move.kept in there:
            mongo.drop(move.kept)
        return
    if move.kept and move.kept not in there:
        return  # the live one has not moved, or is back
    if move.live in there:
        unfinished = step.data.get("undoing") == move.live or (on_its_way and how != "rename")
        if (move.staged and move.staged not in there) or unfinished:
            mongo.drop(move.live)
        elif move.kept:
            _set_aside(engine, mongo, move.live)
    if move.kept:
        step.save(undoing=move.live)
        _restore(mongo, move.kept, move.live)


def _restore(mongo: Mongo, kept: str, live: str) -> None:
    """A kill on the way leaves the kept one, so that it can be done again."""
    try:
        mongo.rename(kept, live)
    except CommandError as error:
        if not _needs_copy(error, kept, live):
            raise
        _copy(mongo, kept, live)
        mongo.drop(kept)


def _set_aside(engine: MongoDB, mongo: Mongo, live: str) -> None:
    """Something has made the collection anew by writing to it."""
    stray = f"{live}_day2_{engine.context.run_id}"
    _restore(mongo, live, stray)
    engine.context.warn(f"something wrote to {live} during the swap; what it wrote is in {stray}")


def finish(engine: MongoDB, step: Step) -> None:
    """Drop what was live before, and what is left of the staged copy."""
    if "plan" not in step.data:
        return
    plan = Plan.from_json(step.data["plan"])
    prefix = engine.context.scratch_prefix(engine.datastore.name)
    with engine.session() as mongo:
        for scratch in (plan.old, plan.scratch):
            if scratch.startswith(prefix):
                staging.drop(mongo, scratch)
