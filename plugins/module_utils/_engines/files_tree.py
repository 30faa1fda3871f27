# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Trees of files: counting them, their metadata, the mounts among them, exchanging two of them."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.model import Fingerprint, Json

PREFIX = ".day2-"  # of every stage and every kept tree; no backup holds anything with such a name
KINDS = ("file", "directory", "symlink", "other", "byte")
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


# Counting --------------------------------------------------------------------------------------------


def walk(
    path: str, until: Optional[float] = None, skip: Optional[Callable[[str], bool]] = None
) -> Iterator[tuple[str, os.stat_result]]:
    """A path and everything below it, without following links, and without our own stages.

    `until`: a time (`time.monotonic`) at which to stop. `skip`: says what to leave out. What vanishes
    meanwhile or cannot be read is left out: the store reads everything itself and says so then.
    """
    pending = [path]
    while pending:
        current = pending.pop()
        try:
            status = os.lstat(current)
            yield current, status
            if stat.S_ISDIR(status.st_mode):
                names = [name for name in sorted(os.listdir(current), reverse=True) if not name.startswith(PREFIX)]
                inner = [os.path.join(current, name) for name in names]
                pending += [each for each in inner if skip is None or not skip(each)]
        except OSError:
            continue
        if until is not None and time.monotonic() > until:
            return


def kind_of(mode: int) -> Optional[str]:
    """file, directory, symlink, other (a named pipe or device); None for a socket, which nobody stores."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    return None if stat.S_ISSOCK(mode) else "other"


def count_tree(paths: Iterable[str]) -> Fingerprint:
    """Counts of what is at the paths and below them, by kind, and the bytes of the files.

    Every name counts: a file with two hard links below the paths is two files.
    """
    return count(entry for path in paths for entry in walk(path))


def count(entries: Iterable[tuple[str, os.stat_result]]) -> Fingerprint:
    counts = dict.fromkeys(KINDS, 0)
    for _name, status in entries:
        kind = kind_of(status.st_mode)
        if kind:
            counts[kind] += 1
            counts["byte"] += status.st_size if kind == "file" else 0
    return Fingerprint(objects=counts)


def fingerprint_from_nodes(nodes: Iterable[Mapping[str, Any]], paths: Sequence[str]) -> Fingerprint:
    """The same counts from the nodes of `restic ls --json`, for those at or below the paths."""
    counts = dict.fromkeys(KINDS, 0)
    kinds = {"file": "file", "dir": "directory", "symlink": "symlink"}
    for node in nodes:
        if any(node["path"] == path or node["path"].startswith(path.rstrip("/") + "/") for path in paths):
            kind = kinds.get(node["type"], "other")
            counts[kind] += 1
            counts["byte"] += node.get("size", 0) if kind == "file" else 0
    return Fingerprint(objects=counts)


def narrowed(found: Fingerprint, like: Fingerprint) -> Fingerprint:
    """Only the kinds that the other fingerprint counted."""
    return Fingerprint(found.level, objects={kind: found.objects.get(kind, 0) for kind in like.objects})


# Mounts ----------------------------------------------------------------------------------------------


def mount_points() -> list[str]:
    """Where something is mounted. A bind mount within one filesystem has no device of its own, so
    `os.path.ismount` does not see it, and yet nothing can be renamed across it."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        point = line.split(" ")[4]
        for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, character)
        points.append(point)
    return points


def mount_of(path: str, points: Iterable[str]) -> str:
    """The innermost mount point that holds a path."""
    return max((point for point in points if is_within(path, point)), key=len, default="/")


def mounts_below(path: str, points: Iterable[str]) -> list[str]:
    return sorted({point for point in points if point != path and is_within(point, path)})


def is_within(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")


# Metadata --------------------------------------------------------------------------------------------


def metadata(path: str) -> Json:
    """Owner, mode, time and extended attributes (ACL and SELinux context among them), for a journal."""
    status = os.lstat(path)
    attributes = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            with contextlib.suppress(OSError):
                value = os.getxattr(path, name, follow_symlinks=False)
                attributes[name] = base64.b64encode(value).decode()
    return {
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mode": stat.S_IMODE(status.st_mode),
        "mtime": status.st_mtime_ns,
        "xattr": attributes,
    }


def apply_metadata(path: str, wanted: Mapping[str, Any]) -> None:
    """Give a directory this metadata."""
    with _directory(path) as descriptor:
        _give(descriptor, wanted)
        with contextlib.suppress(OSError):  # a filesystem without attributes, or some that only root may set
            for name in set(os.listxattr(descriptor)) - set(wanted["xattr"]):
                os.removexattr(descriptor, name)
            for name, value in wanted["xattr"].items():
                os.setxattr(descriptor, name, base64.b64decode(value))
        os.utime(descriptor, ns=(wanted["mtime"], wanted["mtime"]))


def give(path: str, wanted: Mapping[str, Any]) -> None:
    """Give a directory this owner and mode. Without root the owner stays, as it does for restic."""
    with _directory(path) as descriptor:
        _give(descriptor, wanted)


def _give(descriptor: int, wanted: Mapping[str, Any]) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, wanted["uid"], wanted["gid"])
    os.fchmod(descriptor, wanted["mode"])


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    """A directory's descriptor: among the application's files a name may come to mean another one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def same_time(directory: str) -> Iterator[None]:
    """Make or remove something of ours in a directory, whose time of change stays, where that is allowed."""
    before = os.stat(directory)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


# Moving ----------------------------------------------------------------------------------------------


def inode(path: str) -> Optional[int]:
    """Identity of what is at a path; None where there is nothing."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def exchange(one: str, other: str) -> bool:
    """Swap two names in one step (renameat2); False where the kernel or the filesystem cannot."""
    call = getattr(_LIBC, "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), one, None, other)


def sync_filesystem(path: str) -> None:
    """Make everything on the path's filesystem durable: restic does not, and the old data go soon."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        call = getattr(_LIBC, "syncfs", None)
        if call is None or call(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)
