# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A staged SQLite file takes the live one's place, in a way that a kill cannot leave half done.

Two ways. *into*: the online backup API writes into the live file, in one transaction: inode, owner and
WAL mode stay, and connections that are open see the new data. *replace*: a live file that is missing or
damaged is moved aside together with its log and journal (SQLite would play a stale one into the new
file), and a copy of the staged file is renamed to its place.

Everything that `undo` and `finish` need is in the step's data, because another process may run them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from .._core.errors import Busy, Mismatch, OpsError
from .._core.io import friendly_os_errors, sync_directory
from .._core.journal import Step
from . import sqlite_file
from .aside import unused
from .sqlite_file import opened, pragma, sidecars

MISSING, READABLE, DAMAGED = "missing", "readable", "damaged"


@dataclasses.dataclass(frozen=True)
class Swap:
    """What is to be swapped. `owner`: uid, gid and mode of the file where nothing live tells them."""

    path: Path
    staged: Path
    old: Path  # where a readable live file's content is kept
    suffix: str  # of the names under which a damaged one is moved aside
    journal_mode: Optional[str]
    owner: Mapping[str, int]
    wait: float
    warn: Callable[[str], None]


def look(path: Path, wait: float) -> str:
    """Whether the live file is missing, readable or damaged anywhere; another process's lock is an error."""
    if not path.exists():
        return MISSING
    try:
        with sqlite_file.opened_live(path, wait=wait) as connection:
            sqlite_file.check_sound(connection)
    except Mismatch:
        return DAMAGED
    return READABLE


def swap(plan: Swap, step: Step) -> None:
    state = look(plan.path, plan.wait)
    sqlite_file.need_space(plan.path.parent, plan.staged.stat().st_size, "The restored file")
    if state == READABLE:
        _into(plan, step)
    else:
        _replace(plan, step)


# into ------------------------------------------------------------------------------------------------


def _into(plan: Swap, step: Step) -> None:
    keep(plan, step)
    _write_into(plan.staged, plan.path, plan.wait)
    if plan.journal_mode:
        sqlite_file.set_journal_mode(plan.path, plan.journal_mode, plan.warn)
    step.save(phase="swapped")


def keep(plan: Swap, step: Step) -> None:
    """Keep the live content, so that `undo` can bring it back from now on."""
    path = plan.path
    with opened(path, "rw", wait=plan.wait) as watcher:
        step.save(
            method="into",
            phase="keeping",
            path=str(path),
            old=str(plan.old),
            journal_mode=pragma(watcher, "journal_mode"),
            owner=_owner(path),
        )
        _keep_unchanged(plan, watcher)
        # The backup API (and every CREATE and DROP) raises the schema's version by one in the transaction
        # that brings the new content: that is how undo knows whether it was committed.
        step.save(phase="swapping", schema=pragma(watcher, "schema_version"))


def _keep_unchanged(plan: Swap, watcher: sqlite3.Connection) -> None:
    """Keep the live content; again when somebody wrote meanwhile, whom the caller should have stopped."""
    for _attempt in range(3):
        before = pragma(watcher, "data_version")
        _keep(plan)
        if pragma(watcher, "data_version") == before:
            return
    raise Busy(f"{plan.path} is still being written to", hint="Stop what uses it; name its service in `stop`.")


def _keep(plan: Swap) -> None:
    """Copy the live content to `old`, under that name only when it is whole."""
    part = plan.old.with_name(plan.old.name + ".part")
    for each in (part, plan.old):
        each.unlink(missing_ok=True)
    sqlite_file.need_space(plan.old.parent, sqlite_file.size_on_disk(plan.path), "Keeping the live data")
    with sqlite_file.opened_live(plan.path, wait=plan.wait) as live:
        sqlite_file.copy_to_new(live, part)
    sqlite_file.sync(part)
    os.rename(part, plan.old)
    sync_directory(plan.old.parent)


def _write_into(source_path: Path, path: Path, wait: float) -> None:
    with opened(source_path, immutable=True) as source, opened(path, "rw", wait=wait) as live:
        if pragma(source, "page_size") != pragma(live, "page_size") and pragma(live, "journal_mode") == "wal":
            # Under WAL the page size cannot change: SQLite calls the target read-only.
            pragma(live, "journal_mode=delete")
        live.execute("PRAGMA synchronous=FULL")
        sqlite_file.copy(source, live, path, wait)
        with contextlib.suppress(Exception):  # only to shrink the log, which now holds the whole file
            live.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _undo_into(data: Mapping[str, Any], warn: Callable[[str], None], wait: float) -> None:
    path, old = Path(data["path"]), Path(data["old"])
    if not old.exists():
        raise Mismatch(f"the copy of the live data before the swap, {old}, is gone", hint="Restore the safety copy.")
    if look(path, wait) != READABLE:
        _install(old, path, path.with_name(f".day2-{old.name}"), data["owner"])
    else:
        with opened(path, "rw", wait=wait) as live:
            swapped = pragma(live, "schema_version") != data["schema"]
        if swapped:
            _write_into(old, path, wait)
    sqlite_file.set_journal_mode(path, data["journal_mode"], warn)


# replace ---------------------------------------------------------------------------------------------


def _replace(plan: Swap, step: Step) -> None:
    path = plan.path
    present = [each for each in (path, *sidecars(path)) if os.path.lexists(each)]
    new = path.with_name(f".day2-{plan.old.name}.new")
    step.save(
        method="replace",
        phase="preparing",
        path=str(path),
        new=str(new),
        aside={str(each): f"{each}{plan.suffix}" for each in present},
        in_place=False,
    )
    with friendly_os_errors(f"putting the restored file in {path.parent}"):
        _prepare(plan, new)
        step.save(phase="moving", inode=new.stat().st_ino)
        try:
            for each in present:
                os.rename(each, f"{each}{plan.suffix}")
            os.rename(new, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _write_in_place(step, new)
        sync_directory(path.parent)
    step.save(phase="swapped")


def _prepare(plan: Swap, new: Path) -> None:
    """The file as it will be, beside its place: owner, mode, attributes and journal mode."""
    new.unlink(missing_ok=True)
    if plan.journal_mode:
        sqlite_file.set_journal_mode(plan.staged, plan.journal_mode, plan.warn)
    live = plan.path if plan.path.exists() else None
    _copy_file(plan.staged, new, _owner(live) if live else plan.owner, live)


def _write_in_place(step: Step, new: Path) -> None:
    """A file that is a mount point itself cannot be renamed (EBUSY): its content is copied instead."""
    step.save(in_place=True)
    for original, aside in step.data["aside"].items():
        if os.path.exists(original):
            part = Path(f"{aside}.part")
            part.unlink(missing_ok=True)
            _copy_file(Path(original), part, _owner(Path(original)))
            os.rename(part, aside)
    step.save(phase="writing")
    for each in sidecars(Path(step.data["path"])):
        each.unlink(missing_ok=True)
    _overwrite(new, Path(step.data["path"]))
    new.unlink()


def _undo_replace(data: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    path, aside = Path(data["path"]), {Path(a): Path(b) for a, b in data["aside"].items()}
    with friendly_os_errors(f"putting {path} back"):
        if data["in_place"]:
            _undo_in_place(path, aside, data["phase"])
        elif data["phase"] != "preparing":
            _undo_moves(path, aside, data["inode"], warn)
        for leftover in (Path(data["new"]), *sidecars(Path(data["new"]))):
            leftover.unlink(missing_ok=True)
        sync_directory(path.parent)


def _undo_moves(path: Path, aside: Mapping[Path, Path], inode: int, warn: Callable[[str], None]) -> None:
    ours = path.exists() and path.stat().st_ino == inode
    moved = path in aside and aside[path].exists()
    if path.exists() and moved and not ours:
        found = unused(str(path))
        warn(f"{path} was made anew meanwhile; it is now at {found}")
        os.rename(path, found)
    if ours or moved or path not in aside:
        # What is beside it now belongs to the restored file, except what was not moved yet.
        for each in sidecars(path):
            if each not in aside or aside[each].exists():
                each.unlink(missing_ok=True)
    if ours:
        path.unlink()
    for original, name in aside.items():
        if name.exists():
            os.rename(name, original)


def _undo_in_place(path: Path, aside: Mapping[Path, Path], phase: str) -> None:
    if phase in ("writing", "swapped"):
        for each in sidecars(path):
            if each not in aside:
                each.unlink(missing_ok=True)
        for original, name in aside.items():
            if name.exists():
                if original.exists():
                    _overwrite(name, original)
                else:
                    shutil.copy2(name, original)
    for name in aside.values():
        name.unlink(missing_ok=True)
        Path(f"{name}.part").unlink(missing_ok=True)


# both ------------------------------------------------------------------------------------------------


def undo(step: Step, warn: Callable[[str], None], wait: float) -> None:
    """Bring the state before the swap back. May be repeated, and after a kill at any point."""
    data = step.data
    phase = data.get("phase")
    if phase is None:
        return
    if phase == "finished":
        raise OpsError(f"the restore of {data['path']} is finished", hint="Restore its safety copy to go back.")
    if phase != "undone":
        if data["method"] == "replace":
            _undo_replace(data, warn)
        elif phase != "keeping":
            _undo_into(data, warn, wait)
        step.save(phase="undone")
    _drop_old(data)


def finish(step: Step, warn: Callable[[str], None]) -> None:
    """Drop the kept copy. A damaged file that was moved aside stays: nothing else holds what is left in it."""
    data = step.data
    if data.get("phase") not in ("swapped", "finished"):
        return
    step.save(phase="finished")
    _drop_old(data)
    if data["method"] == "replace" and data["aside"]:
        names = ", ".join(sorted(data["aside"].values()))
        warn(f"what was found in the place of {data['path']} was kept: {names}. Remove it when it is not needed")


def _drop_old(data: Mapping[str, Any]) -> None:
    if data["method"] == "into":
        for name in (data["old"], f"{data['old']}.part"):
            Path(name).unlink(missing_ok=True)


def _owner(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"uid": status.st_uid, "gid": status.st_gid, "mode": status.st_mode & 0o7777}


def _copy_file(source: Path, target: Path, owner: Mapping[str, int], like: Optional[Path] = None) -> None:
    """A new file with this owner and mode, and with the ACL and SELinux context of `like`.

    All of it by the descriptor: in a directory of the application's, its name may be made to mean
    another file between two steps. Only root can give a file away; for everybody else the owner stays.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as writer, open(source, "rb") as reader:
        shutil.copyfileobj(reader, writer, 1 << 20)
        if "uid" in owner and os.geteuid() == 0:
            os.fchown(descriptor, owner["uid"], owner["gid"])
        if "mode" in owner:
            os.fchmod(descriptor, owner["mode"])
        if like is not None:
            with contextlib.suppress(OSError):
                for name in os.listxattr(like):
                    os.setxattr(descriptor, name, os.getxattr(like, name))
        writer.flush()
        os.fsync(descriptor)


def _overwrite(source: Path, target: Path) -> None:
    with open(source, "rb") as reader, open(target, "r+b") as writer:
        writer.truncate(0)
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _install(source: Path, path: Path, new: Path, owner: Mapping[str, int]) -> None:
    """Put a copy of a file under a name where there is none that could be kept."""
    new.unlink(missing_ok=True)
    _copy_file(source, new, owner)
    for each in sidecars(path):
        each.unlink(missing_ok=True)
    os.rename(new, path)
    sync_directory(path.parent)
