# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees with everything in them, what they hold seen without the collection's own eyes, and mounts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = os.geteuid() == 0


def make(top: Path, mark: str = "then") -> None:
    """A directory with every kind of file. `mark` is part of what changes between two states."""
    top.mkdir(parents=True, exist_ok=True)
    (top / "plain.txt").write_text(f"plain {mark}\n")
    (top / "bytes").write_bytes(bytes(range(256)) * 40)
    (top / "empty").touch()
    (top / "large").write_bytes(hashlib.sha256(mark.encode()).digest() * 60000)
    with open(top / "sparse", "wb") as stream:
        stream.truncate(4_000_000)
        stream.seek(3_000_000)
        stream.write(b"end")
    (top / "empty directory").mkdir()
    deep = top / "a" / "b c" / "ü😀"
    deep.mkdir(parents=True)
    (deep / "line\nbreak [x]*?").write_text(mark)
    (deep / os.fsdecode(b"\xff\xfe not UTF-8")).write_text("name")
    (top / ".hidden").write_text("hidden")
    os.link(top / "bytes", deep / "hard link")
    (top / "link").symlink_to("plain.txt")
    (top / "dangling").symlink_to("nowhere/at all")
    (top / "leaving").symlink_to("/etc/hostname")
    (top / "to directory").symlink_to("a")
    os.mkfifo(top / "pipe", 0o640)
    for name, mode in (("plain.txt", 0o600), ("bytes", 0o444), ("large", 0o4750), ("a", 0o2775), ("a/b c", 0o711)):
        os.chmod(top / name, mode)
    os.setxattr(top / "plain.txt", "user.origin", f"scan {mark}".encode())
    os.setxattr(top / "a", "user.origin", b"directory")
    os.setxattr(top, "user.origin", f"top {mark}".encode())
    subprocess.run(["setfacl", "-m", "u:65534:rwx,g:4321:r", str(top / "large")], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:4321:rx", str(top / "a")], check=True)
    if ROOT:
        os.chown(top / "plain.txt", 1234, 2345)
        os.chown(top / "a", 33, 33)
        os.chown(top / "link", 33, 33, follow_symlinks=False)
        os.mknod(top / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    for name, when in (("plain.txt", 1), ("a/b c", 1_000_000_000_123_456_789), ("a", 2_000_000_000), ("empty", 10**18)):
        os.utime(top / name, ns=(when, when))
    os.utime(top, ns=(1_234_567_890_987_654_321, 1_234_567_890_987_654_321))


def add_socket(top: Path) -> None:
    """A Unix socket, which no backup holds."""
    here = os.getcwd()
    os.chdir(top)  # a socket's path has 108 bytes at most
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("socket")
    os.chdir(here)


def content(top: Path) -> dict[str, Any]:
    """Everything of a tree: kinds, content, owner, mode, time, attributes, ACL, which names are one file.

    Stages of ours are left out; whether any is left is asked by itself.
    """
    found: dict[str, Any] = {}
    links: dict[int, str] = {}
    names = [os.fspath(top)]
    for directory, directories, files in os.walk(top):
        directories[:] = [name for name in directories if not name.startswith(".day2-")]
        names += [os.path.join(directory, name) for name in (*directories, *files)]
    for name in sorted(names):
        status = os.lstat(name)
        kind = stat.S_IFMT(status.st_mode)
        entry: list[Any] = [oct(status.st_mode), status.st_uid, status.st_gid]
        if stat.S_ISREG(kind):
            entry += [hashlib.sha256(Path(name).read_bytes()).hexdigest(), status.st_mtime_ns]
            first = os.path.relpath(links.setdefault(status.st_ino, name), top)
            entry.append(first if status.st_nlink > 1 else "")
        elif stat.S_ISLNK(kind):
            entry.append(os.readlink(name))
        else:
            entry += [status.st_mtime_ns, status.st_rdev]
        entry.append({each: os.getxattr(name, each, follow_symlinks=False) for each in _attributes(name)})
        found[os.path.relpath(name, top)] = entry
    return found


def _attributes(name: str) -> list[str]:
    return sorted(os.listxattr(name, follow_symlinks=False))


@contextlib.contextmanager
def mounted(point: Path, *arguments: str) -> Iterator[Path]:
    """Something mounted there: `mounted(point, "-t", "tmpfs", "tmpfs")`, or `"--bind", directory`."""
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
