# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is checked where nobody says what: all that the description of the application names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._core.errors import OpsError
from .._engines.base import Engine
from .._engines.files import Files
from .._engines.sqlite import SQLite
from .probe import Scene

_SERVERS = ("mariadb", "mongodb", "mysql", "postgresql", "redis", "sqlite")


def derived(scene: Scene) -> Iterator[dict[str, Any]]:
    """Entries of `checks`. No server is asked for them."""
    for name, engine in scene.engines.items():
        if engine.datastore.engine in _SERVERS:
            yield {"group": engine.datastore.engine, "id": name, "datastore": name}
    if scene.application.project:
        yield {"group": "containers"}
    if scene.application.units:
        yield {"group": "systemd", "units": list(scene.application.units)}
    if scene.restic is not None:
        yield {"group": "backups", "timeout": 30.0}
    if scene.migration:
        yield {"group": "migrations", "timeout": 30.0}
    if scene.application.env_files:
        yield {"group": "secrets"}
    yield {"group": "host", "paths": list(_paths(scene)), "timeout": 30.0}


def _paths(scene: Scene) -> Iterator[str]:
    """Whose file systems must not be full: the system's, the data's, the collection's own, the repository's."""
    yield "/"
    for engine in scene.engines.values():
        yield from map(str, _own(engine))
    if scene.context.state_dir.is_dir():
        yield str(scene.context.state_dir)
    directory = scene.restic.repository.directory if scene.restic is not None else None
    if directory is not None and directory.is_dir():
        yield str(directory)


def _own(engine: Engine) -> Iterator[Path]:
    if isinstance(engine, (Files, SQLite)):
        try:
            yield from (path for path in engine.reach().paths if path.exists())
        except OpsError:  # its own check says so
            return
