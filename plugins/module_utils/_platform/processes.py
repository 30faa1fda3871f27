# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The processes of this host: to whom they belong, and which files and sockets they hold open."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

PROC = Path("/proc")

# They hold everybody's files and sockets; what they do for a container is the container's.
_PLUMBING = frozenset(("dockerd", "containerd", "docker-proxy", "runc", "rootlesskit", "conmon"))
_CONTAINER = re.compile(r"(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who runs a process: kind container (name: its id), unit, or process (a login, a user's unit)."""

    kind: str
    name: str


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str  # as the kernel names it, at most 15 characters
    owner: Owner


@dataclasses.dataclass(frozen=True)
class Holding:
    """One thing that a process has open: a path, or a socket by its inode."""

    pid: int
    path: str = ""
    socket: int = 0


def processes(proc: Path = PROC, own: Optional[int] = None) -> list[Process]:
    """All but our own tree (ancestors and descendants), the kernel's, pid 1, and container plumbing."""
    root = _cgroup_root(proc)
    found: dict[int, Process] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            process = _read(entry, root)
            if process is not None:
                found[process.pid] = process
    kin = family(own if own is not None else os.getpid(), {pid: one.parent for pid, one in found.items()})
    return [one for pid, one in sorted(found.items()) if pid not in kin and not _is_plumbing(one)]


def own_owner(proc: Path = PROC) -> Optional[Owner]:
    """Who runs ourselves: a timer's unit, say, which must not be stopped."""
    try:
        return owner_of((proc / "self" / "cgroup").read_text(), _cgroup_root(proc))
    except OSError:
        return None


def family(pid: int, parents: Mapping[int, int]) -> set[int]:
    """A process with its ancestors and descendants, and pid 1 and the kernel's threads."""
    kin = {0, 1, 2, pid}
    current = pid
    while current in parents and parents[current] not in (0, 1):
        current = parents[current]
        kin.add(current)
    below = {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below and child not in kin}
        kin |= below
    return kin | {child for child, parent in parents.items() if parent == 2}


def _is_plumbing(process: Process) -> bool:
    # The kernel cuts names at 15 characters: containerd-shim-runc-v2 is "containerd-shim".
    return process.command in _PLUMBING or process.command.startswith("containerd-shim")


def _read(entry: Path, cgroup_root: str) -> Optional[Process]:
    try:
        stat = (entry / "stat").read_text(errors="replace")
        cgroup = (entry / "cgroup").read_text(errors="replace")
    except OSError:  # it has ended
        return None
    # The name is in parentheses and may hold spaces and parentheses of its own.
    command, _rest, rest = stat.partition("(")[2].rpartition(")")
    pid = int(entry.name)
    return Process(pid, int(rest.split()[1]), command, owner_of(cgroup, cgroup_root) or Owner("process", str(pid)))


def owner_of(cgroup: str, root: str = "") -> Optional[Owner]:
    """From /proc/PID/cgroup. `root`: the cgroup of pid 1, which is not "/" where this host is a container."""
    path = cgroup_path(cgroup)
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    container = _CONTAINER.search(path)
    if container:
        return Owner("container", container[1])
    for part in path.split("/"):
        if part.startswith("user@"):  # a user's own manager: we do not stop its units
            return None
        if part.endswith(".service"):
            return Owner("unit", part)
    return None


def cgroup_path(cgroup: str) -> str:
    """The path in systemd's hierarchy (cgroup v1), else in the one hierarchy (v2), else in any."""
    paths: dict[str, str] = {}
    for line in cgroup.splitlines():
        _number, _rest, rest = line.partition(":")
        controllers, _rest, path = rest.partition(":")
        paths[controllers] = path
    for controllers in ("name=systemd", "", "memory", "pids"):
        if paths.get(controllers, "/") != "/":
            return paths[controllers]
    return next(iter(paths.values()), "/")


def _cgroup_root(proc: Path) -> str:
    try:
        path = cgroup_path((proc / "1" / "cgroup").read_text())
    except OSError:
        return ""
    return re.sub(r"(/init\.scope)?/?$", "", path)


def holdings(found: Collection[Process], proc: Path = PROC) -> Iterator[Holding]:
    """What these processes have open or mapped. Those of other users are seen by root only."""
    for process in found:
        entry = proc / str(process.pid)
        try:
            descriptors = os.listdir(entry / "fd")
        except OSError:  # it has ended, or is somebody else's
            continue
        for descriptor in descriptors:
            try:
                target = os.readlink(entry / "fd" / descriptor)
            except OSError:
                continue
            if target.startswith("/"):
                yield Holding(process.pid, path=target)
            elif target.startswith("socket:["):
                yield Holding(process.pid, socket=int(target[8:-1]))
        for path in _mapped(entry):
            yield Holding(process.pid, path=path)


def _mapped(entry: Path) -> set[str]:
    try:
        lines = (entry / "maps").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    return {fields[5] for fields in (line.split(None, 5) for line in lines) if len(fields) > 5 and fields[5][:1] == "/"}


def network_namespaces(found: Sequence[Process], proc: Path = PROC) -> dict[str, Process]:
    """One process of each network namespace."""
    namespaces: dict[str, Process] = {}
    for process in found:
        namespaces.setdefault(network_namespace(process.pid, proc), process)
    namespaces.pop("", None)
    return namespaces


def network_namespace(pid: int, proc: Path = PROC) -> str:
    """Names a process's network namespace; "" where that cannot be seen."""
    try:
        return os.readlink(proc / str(pid) / "ns" / "net")
    except OSError:
        return ""
