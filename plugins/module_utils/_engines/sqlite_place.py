# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Where on this host a SQLite file is that the user names, possibly inside a container.

SQLite's locks and shared memory work between a container and its host, as long as both open the same
file. `/proc/PID/root/…` is no way to it: SQLite resolves symbolic links itself, and that one leads to
the host's own root, where a file of the same name would be taken.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Optional

from .._core.errors import Refused, Unavailable
from .._platform.containers import Container
from .._platform.docker import Docker
from .._platform.roots import below


@dataclasses.dataclass(frozen=True)
class Location:
    """The file without symbolic links. `layer`: the container in whose own layer it is, "" elsewhere."""

    path: Path
    layer: str = ""


def locate(options: Mapping[str, Any]) -> Location:
    given, container = str(options["path"]), options.get("container")
    if not os.path.isabs(given):
        raise Refused(f"path {given} is not absolute", hint="Give the whole path of the database file.")
    if not container:
        return Location(Path(os.path.realpath(given)))
    with Docker() as docker:
        return in_container(docker.find(container, stopped_too=True), given)


def in_container(container: Container, given: str) -> Location:
    """A file in a volume or bind mount is found whether the container runs or not."""
    inner = given
    if container.running:
        root = Path(f"/proc/{container.pid}/root")
        inner = "/" + str(below(root, given).relative_to(root))
    mounted = container.host_path(inner)
    if mounted is not None:
        return Location(Path(os.path.realpath(mounted)))
    if not container.running:
        raise Unavailable(
            f"{given} is in no volume of container {container.name}, which does not run",
            hint="Start the container, or keep the database in a volume.",
        )
    top = _mount_here(container.pid)
    if top is None:
        raise Unavailable(
            f"{given} is in no volume of container {container.name}, and its own layer cannot be reached from here",
            hint="Keep the database in a volume.",
        )
    return Location(top / PurePosixPath(inner).relative_to("/"), container.name)


def _mount_here(pid: int) -> Optional[Path]:
    """Where this host sees the root file system of a process: the mount of the same device."""
    theirs = _mounts(pid)
    device = next((device for device, _root, point in theirs if point == "/"), None)
    found = [point for other, root, point in _mounts("self") if other == device and root == "/"]
    return Path(found[0]) if found else None


def _mounts(process: object) -> list[tuple[str, str, str]]:
    """Device, root within it, and mount point, of all that a process sees; the latest mount first."""
    try:
        lines = Path(f"/proc/{process}/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [(fields[2], fields[3], fields[4]) for fields in (line.split(" ") for line in reversed(lines))]
