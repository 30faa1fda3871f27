# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What could be wrong, found before anything is stored or changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .._core.errors import Refused, at
from .._core.model import Description, Json
from .._core.sizes import readable
from .._engines.base import DumpOptions, Engine
from .._platform import coverage, release
from .._platform.coverage import Covered
from .._platform.docker import Docker
from .setup import Operation

SPARE = 64 << 20  # bytes that must be free in a local repository, whatever is stored


def describe(
    operation: Operation, engines: Sequence[Engine], options: Callable[[str], DumpOptions]
) -> dict[str, Description]:
    """Ask every engine, before the first one is dumped; its warnings are passed on."""
    described = {}
    for engine in engines:
        name = engine.datastore.name
        with at(str(engine.datastore), stage="preflight"):
            engine.ping()
            described[name] = engine.describe(options(name))
        for warning in described[name].warnings:
            operation.context.warn(f"{engine.datastore}: {warning}")
    return described


def check_space(operation: Operation, described: Mapping[str, Description]) -> None:
    """A local repository needs room, and a disk of its own.

    How much a backup adds is known only afterwards (compression, deduplication), so only what cannot
    go well is refused: less free than a tenth of the data's size. Less than their size is a warning.
    """
    directory = operation.restic.repository.directory
    if directory is None or not directory.is_dir():
        return
    status = os.statvfs(directory)
    free, size = status.f_bavail * status.f_frsize, sum(description.size for description in described.values())
    if free < SPARE + size // 10:
        raise Refused(
            f"only {readable(free)} are free in the repository {directory}, for {readable(size)} of data",
            hint="Free some, or move the repository.",
        )
    if free < size:
        operation.context.warn(f"only {readable(free)} are free in the repository for {readable(size)} of data")
    for engine in operation.kept.values():
        for path in _places(engine):
            if _device(path) == _device(directory):
                operation.context.warn(
                    f"the repository {directory} is on the same disk as {engine.datastore}: losing that disk loses both"
                )
                return


def _places(engine: Engine) -> list[Path]:
    """Where a datastore's bytes are on this host, as far as that can be told."""
    reach = engine.reach()
    if reach.container is None:
        return list(reach.paths)
    with Docker() as docker:
        container = docker.inspect(reach.container)
    mounts = container.mounts if container is not None else ()
    return [*reach.paths, *(Path(mount.source) for mount in mounts if mount.rw and mount.source)]


def check_coverage(operation: Operation) -> None:
    """What the application writes to, and no datastore covers, is refused until it is acknowledged."""
    application = operation.application
    if not application.project and not application.units and not application.env_files:
        return
    reaches = [engine.reach() for engine in operation.engines.values()]
    volumes = [engine.datastore.options.get("volume") for engine in operation.engines.values()]
    covered = Covered(
        paths=tuple(str(path) for reach in reaches for path in reach.paths),
        volumes=tuple(volume for volume in volumes if volume),
        containers=tuple(reach.container for reach in reaches if reach.container),
        hosts=tuple((host, reach.port) for reach in reaches for host in reach.hosts),
    )
    found = coverage.find(operation.context, application, covered)
    if found:
        raise Refused(
            f"the application has {len(found)} {'place' if len(found) == 1 else 'places'} in no datastore: "
            + "; ".join(map(str, found)),
            hint="Describe each as a datastore, or name it in `uncovered` (day2_uncovered) when it needs no backup.",
        )


def release_facts(operation: Operation) -> Json:
    """Git commit and images of the running application, where they can be told."""
    project = operation.application.project
    return release.release_facts(project) if project else {}


def _device(path: Path) -> int:
    while True:
        try:
            return path.stat().st_dev
        except OSError:
            if path == path.parent:
                return -1
            path = path.parent
