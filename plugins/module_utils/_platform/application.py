# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""How the application around the datastores runs: its Compose project, its units, its env files."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Application:
    """Given by the user; empty where the application runs otherwise.

    `project`: the Compose project's name. `units`: systemd units that run the application.
    `env_files`: files with the application's variables. `uncovered`: mounts and servers that the user
    knows to be in no backup.
    """

    project: str = ""
    units: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
