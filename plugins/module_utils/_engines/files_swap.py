# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Staged files take the live ones' place, in a way that a kill cannot leave half done.

*whole*: a directory or file below an ordinary directory is exchanged by name, in one step where the
kernel can. *inside*: what is a mount point or a volume keeps its directory, and its entries are moved
out and in. The journal holds the plan and the inodes, so `undo` recognizes what is where by itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from .._core.errors import Mismatch, OpsError
from .._core.io import friendly_os_errors, sync_directory
from .._core.journal import Step
from .._core.model import Json
from . import files_tree as tree
from .aside import unused
from .files_tree import PREFIX, inode

Warn = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Item:
    """One path of the datastore: where it is, where its staged copy is, where the old one will be kept.

    `parents`: owner and mode of the directories above it when it was backed up, outermost first.
    `carried`: names inside, relative, that the backup left out by its excludes: they stay as they are.
    """

    path: str
    staged: str
    old: str
    inside: bool
    parents: tuple[Mapping[str, Any], ...] = ()
    carried: tuple[str, ...] = ()


def swap(items: list[Item], step: Step) -> None:
    """Swap all of them. The caller undoes the step when this fails."""
    with friendly_os_errors("putting the restored files in place"):
        plan = [_planned(item) for item in items]
        step.save(phase="swapping", items=plan)
        for each in sorted({os.path.dirname(item.staged) for item in items}):
            tree.sync_filesystem(each)
        for entry in plan:
            if entry["inside"]:
                _swap_inside(entry, step)
            else:
                _swap_whole(entry)
        step.save(phase="swapped")


def _planned(item: Item) -> Json:
    restored = inode(item.staged)
    if restored is None:
        raise Mismatch(f"{item.path} is not in the staged copy")
    entry: Json = {
        "path": item.path,
        "staged": item.staged,
        "old": item.old,
        "inside": item.inside,
        "original": inode(item.path),
        "restored": restored,
        "made": [],
        "carried": list(item.carried),
        "grown": _missing_parents(item),
    }
    if item.inside:
        entry.update(phase="planned", metadata=tree.metadata(item.path), wanted=tree.metadata(item.staged))
    else:
        entry["made"] = [dict(parent) for parent in item.parents if not os.path.lexists(parent["path"])]
    return entry


# whole -----------------------------------------------------------------------------------------------


def _swap_whole(entry: Json) -> None:
    path, staged, old = entry["path"], entry["staged"], entry["old"]
    _make_parents(entry)
    if entry["original"] is None:
        os.rename(staged, path)
    else:
        Path(old).parent.mkdir(mode=0o700, exist_ok=True)
        if tree.exchange(staged, path):
            os.rename(staged, old)
        else:
            os.rename(path, old)
            os.rename(staged, path)
        _carry(entry)
        sync_directory(Path(old).parent)
    sync_directory(Path(path).parent)


def _make_parents(entry: Mapping[str, Any]) -> None:
    for parent in entry["made"]:
        if not os.path.lexists(parent["path"]):
            os.mkdir(parent["path"], 0o700)
            tree.give(parent["path"], parent)
    directory = os.path.dirname(entry["path"])
    if not os.path.isdir(directory):
        os.makedirs(directory)


def _undo_whole(entry: Mapping[str, Any], warn: Warn) -> None:
    path, staged, old, original = entry["path"], entry["staged"], entry["old"], entry["original"]
    if original is None:
        if inode(path) == entry["restored"]:
            _move(path, staged)
        for parent in reversed(entry["made"]):
            _remove_empty(parent["path"])
        return
    if inode(path) == original:
        if os.path.lexists(old) and not os.path.lexists(staged):  # an undo was killed right before its end
            _move(old, staged)
        return
    where = next((place for place in (old, staged) if inode(place) == original), None)
    if where is not None and inode(path) == entry["restored"]:
        _carry_back(entry, where)
    if where is None:
        raise Mismatch(f"what was at {path} before the swap is no longer at {old}", hint="Restore the safety copy.")
    if os.path.lexists(path):
        if inode(path) != entry["restored"]:
            staged = unused(path)  # not in the stage, which is dropped
            warn(f"{path} was made anew meanwhile; it is now at {staged}")
        if not tree.exchange(where, path):
            _move(path, staged)
            os.rename(where, path)
        elif where != staged:
            _move(where, staged)
    else:
        os.rename(where, path)
    sync_directory(Path(path).parent)


# inside ----------------------------------------------------------------------------------------------


def _swap_inside(entry: Json, step: Step) -> None:
    path, staged, old = entry["path"], entry["staged"], entry["old"]
    os.makedirs(old, mode=0o700, exist_ok=True)
    _phase(entry, step, "out")
    for name in _entries(path):
        os.rename(os.path.join(path, name), os.path.join(old, name))
    sync_directory(Path(old))
    _phase(entry, step, "in")
    for name in _entries(staged):
        os.rename(os.path.join(staged, name), os.path.join(path, name))
    _carry(entry)
    sync_directory(Path(path))
    tree.apply_metadata(path, entry["wanted"])
    _phase(entry, step, "done")


def _undo_inside(entry: Json, step: Step, warn: Warn) -> None:
    path, staged, old = entry["path"], entry["staged"], entry["old"]
    if entry["phase"] in ("in", "done"):
        if not os.path.isdir(old):
            raise Mismatch(f"what was in {path} before the swap is no longer in {old}", hint="Restore the safety copy.")
        os.makedirs(staged, mode=0o700, exist_ok=True)
        _carry_back(entry, old)
        for name in _entries(path):
            _move(os.path.join(path, name), os.path.join(staged, name))
        _phase(entry, step, "out")
    if entry["phase"] == "out":
        for name in os.listdir(old) if os.path.isdir(old) else []:
            target = os.path.join(path, name)
            if os.path.lexists(target):
                found = unused(target)
                warn(f"{target} was made anew meanwhile; it is now at {found}")
                os.rename(target, found)
            os.rename(os.path.join(old, name), target)
        tree.apply_metadata(path, entry["metadata"])
        sync_directory(Path(path))
        _phase(entry, step, "planned")


def _phase(entry: Json, step: Step, phase: str) -> None:
    entry["phase"] = phase
    step.save()


def _entries(directory: str) -> list[str]:
    return sorted(name for name in os.listdir(directory) if not name.startswith(PREFIX))


# what the backup left out ----------------------------------------------------------------------------


def _carry(entry: Mapping[str, Any]) -> None:
    """Move what the backup left out from the old tree to the new one, with the directories it needs."""
    for relative in entry["grown"]:
        source, target = os.path.join(entry["old"], relative), os.path.join(entry["path"], relative)
        if not os.path.lexists(target):
            os.mkdir(target, 0o700)
            tree.apply_metadata(target, tree.metadata(source))
    for relative in entry["carried"]:
        source, target = os.path.join(entry["old"], relative), os.path.join(entry["path"], relative)
        if os.path.lexists(source) and not os.path.lexists(target):
            os.rename(source, target)


def _missing_parents(item: Item) -> list[str]:
    """Directories that what is carried needs and the restored tree lacks, outermost first."""
    parents = {parent for name in item.carried for parent in Path(name).parents if str(parent) != "."}
    return sorted(str(parent) for parent in parents if not os.path.lexists(os.path.join(item.staged, parent)))


def _carry_back(entry: Mapping[str, Any], old: str) -> None:
    for relative in entry["carried"]:
        source, target = os.path.join(entry["path"], relative), os.path.join(old, relative)
        if os.path.lexists(source) and not os.path.lexists(target) and os.path.isdir(os.path.dirname(target)):
            os.rename(source, target)
    for relative in reversed(entry["grown"]):
        _remove_empty(os.path.join(entry["path"], relative))


# both ------------------------------------------------------------------------------------------------


def undo(step: Step, warn: Warn) -> None:
    """Bring the state before the swap back. May be repeated, and after a kill at any point."""
    phase = step.data.get("phase")
    if phase is None:
        return
    if phase == "finished":
        raise OpsError("the restore of these files is finished", hint="Restore its safety copy to go back.")
    with friendly_os_errors("putting the files back that were there before"):
        if phase != "undone":
            for entry in reversed(step.data["items"]):
                if entry["inside"]:
                    _undo_inside(entry, step, warn)
                else:
                    _undo_whole(entry, warn)
            step.save(phase="undone")
        for entry in step.data["items"]:
            with tree.same_time(_around(entry)):
                _remove_empty(entry["old"])
                _remove_empty(os.path.dirname(entry["old"]))


def finish(step: Step, warn: Warn) -> None:
    """Remove what was live before the swap."""
    if step.data.get("phase") not in ("swapped", "finished"):
        return
    step.save(phase="finished")
    for entry in step.data["items"]:
        with tree.same_time(_around(entry)):
            remove(entry["old"], warn)
            if not entry["inside"]:
                _remove_empty(os.path.dirname(entry["old"]))


def _around(entry: Mapping[str, Any]) -> str:
    """The directory that holds our directory for old trees: the restored one itself, or the one above it."""
    old: str = entry["old"]
    return os.path.dirname(old if entry["inside"] else os.path.dirname(old))


def remove(path: str, warn: Warn) -> None:
    """Remove a tree or a file of ours; what cannot be removed is named in a warning."""
    failed: list[str] = []

    def remember(function: Any, name: str, error: Any) -> None:
        if os.path.lexists(name):
            failed.append(name)

    if os.path.isdir(path) and not os.path.islink(path):
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=remember)
        else:
            shutil.rmtree(path, onerror=remember)
    elif os.path.lexists(path):
        os.unlink(path)
    if failed:
        warn(f"{path} could not be removed: {', '.join(failed[:3])}")


def _move(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    os.rename(source, target)


def _remove_empty(path: Optional[str]) -> None:
    if path and os.path.basename(path):
        with contextlib.suppress(OSError):
            os.rmdir(path)
