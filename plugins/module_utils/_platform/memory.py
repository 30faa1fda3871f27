# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The memory of a process's control group, from the kernel's own files (cgroups(7)).

Docker's own answer (`stats`) takes up to a second, and while other containers come and go 20.10 was seen to give one
without any figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional


def used(pid: int, proc: Path = Path("/proc"), mounted: Path = Path("/sys/fs/cgroup")) -> Optional[int]:
    """Bytes without the file cache that can be given back, as `docker stats` counts; None where it cannot be read."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _used(mounted / "memory" / path.lstrip("/"), "memory.usage_in_bytes", "total_inactive_file")
    unified = next((line[3:] for line in lines if line.startswith("0::")), None)
    return None if unified is None else _used(mounted / unified.lstrip("/"), "memory.current", "inactive_file")


def _used(group: Path, total: str, cache: str) -> Optional[int]:
    try:
        found = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return int((group / total).read_text(encoding="ascii")) - int(found.get(cache, 0))
    except (OSError, ValueError):
        return None
