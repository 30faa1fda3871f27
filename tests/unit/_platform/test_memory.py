# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of both versions, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import memory


@pytest.mark.parametrize(
    ("cgroup", "directory", "total", "cache"),
    [
        ("9:name=systemd:/docker/a\n4:memory:/docker/a\n0::/docker/a\n", "memory/docker/a", "memory.usage_in_bytes", "total_inactive_file"),
        ("4:cpu,memory:/docker/a\n", "memory/docker/a", "memory.usage_in_bytes", "total_inactive_file"),
        ("0::/system.slice/docker-a.scope\n", "system.slice/docker-a.scope", "memory.current", "inactive_file"),
    ],
)  # fmt: skip
def test_the_memory_of_a_group(tmp_path: Path, cgroup: str, directory: str, total: str, cache: str) -> None:
    group = tmp_path / directory
    group.mkdir(parents=True)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(cgroup)
    assert memory.used(7, tmp_path, tmp_path) is None
    (group / total).write_text("5000\n")
    (group / "memory.stat").write_text(f"inactive_anon 1\n{cache} 1200\n")
    assert memory.used(7, tmp_path, tmp_path) == 3800
    assert memory.used(8, tmp_path, tmp_path) is None
