# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""How much more memory a server in a container may use before the kernel kills it, and whether that is enough for a swap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Optional

from ..._core.errors import OpsError
from ..._core.place import Place
from . import catalog
from .connection import Sql

if TYPE_CHECKING:
    from .server import SqlServer

# The limit, what is in use, and what of that is cache; of the second version of cgroups, and of the first.
_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
_NO_LIMIT = 1 << 60  # the first version's word for none is a number near 2^63


_OF_A_KEY = 1 << 20  # bytes for each foreign key that one RENAME TABLE moves; measured was a tenth to a half


def suffices(server: SqlServer, sql: Sql, databases: Iterable[str]) -> bool:
    """Whether the server can take one RENAME TABLE over all tables: what it costs grows with their foreign keys."""
    limit = server.flavour.rename_at_once
    if limit is None:
        return True
    if server.access.container is not None:
        room = headroom(server.place)
        limit = limit if room is None else min(limit, room // _OF_A_KEY)
    return sum(catalog.foreign_keys(sql, database) for database in databases) <= limit


def headroom(place: Place) -> Optional[int]:
    """Bytes; None where there is no limit, or where it cannot be seen."""
    for files in _FILES:
        try:
            limit, *rest = (place.run(["cat", file], timeout=60).text for file in files)
        except OpsError:
            continue
        return left(limit, *rest)
    return None


def left(limit: str, used: str, stat: str) -> Optional[int]:
    """Out of what the kernel prints. Cache is given back when somebody needs memory, so it is not in use."""
    if not limit.strip().isdigit() or int(limit) >= _NO_LIMIT:
        return None
    values = {key: int(value) for key, _space, value in (line.partition(" ") for line in stat.splitlines()) if value}
    cache = sum(values.get(f"total_{key}", values.get(key, 0)) for key in ("inactive_file", "active_file"))
    return max(0, int(limit) - max(0, int(used) - cache))
