# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which paths a datastore of files means, and which of them a backup's paths go to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import Refused, Unavailable
from .._core.model import Part
from .._platform.docker import Docker
from .files_tree import is_within


@dataclasses.dataclass(frozen=True)
class Pair:
    """One path of a backup and the live path that it goes to (both without symbolic links).

    `given`: as the user named it when it was backed up. `parents`: the directories above the live path,
    with owner and mode, as far as the backup knows them.
    """

    given: str
    stored: str
    path: str
    kind: str
    parents: tuple[Mapping[str, Any], ...] = ()


def checked(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The datastore's paths; exactly one of `paths` and `volume` must say them."""
    paths, volume = options.get("paths") or [], options.get("volume")
    if bool(paths) == bool(volume):
        raise Refused("a files datastore needs either paths or volume", hint="Give one of them, not both.")
    if volume:
        return (volume_path(volume),)
    for path in paths:
        if not os.path.isabs(path):
            raise Refused(f"path {path} is not absolute", hint="Give the whole path.")
    given = tuple(os.path.normpath(path) for path in paths)
    real = [os.path.realpath(path) for path in given]
    for index, path in enumerate(real):
        for other in range(len(real)):
            if other != index and is_within(path, real[other]):
                raise Refused(f"{given[index]} is inside {given[other]}, or the same", hint="Name the outer one only.")
    return given


def volume_path(name: str) -> str:
    """The directory with a Docker volume's content."""
    with Docker() as docker:
        volume = docker.volume(name)
    path = str(volume.path)
    if volume.mounted_on_demand and not os.path.ismount(path):
        raise Unavailable(
            f"the content of the Docker volume {name} is not mounted on this host now",
            hint="Start a container that uses it, or describe its source by paths.",
        )
    return path


def matched(part: Part, given: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """Where each of a backup's paths goes, and warnings: by name; when none is known by name and there
    are as many (another directory, another volume), in their order."""
    stored: list[Mapping[str, Any]] = part.facts["paths"]
    by_name = {entry["path"]: entry for entry in stored}
    known = [path for path in given if path in by_name]
    if known:
        warnings = [f"{path} is not in this backup and stays as it is" for path in given if path not in by_name]
        left = [path for path in by_name if path not in given]
        warnings += [f"{path} of the backup is not restored: this datastore does not name it" for path in left]
        return [_pair(by_name[path], path) for path in known], warnings
    if len(given) != len(stored):
        raise Refused(
            f"the backup holds {', '.join(by_name)}, and the datastore names {', '.join(given)}",
            hint="Name as many paths, in the same order.",
        )
    return [_pair(entry, path) for entry, path in zip(stored, given)], []


def _pair(entry: Mapping[str, Any], path: str) -> Pair:
    real = os.path.realpath(path)
    parents = tuple(parent for parent in entry.get("parents", ()) if is_within(real, parent["path"]))
    return Pair(entry["path"], entry["stored"], real, entry["kind"], parents)
