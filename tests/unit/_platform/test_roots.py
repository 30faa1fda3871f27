# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths below another root: what a container's own absolute links lead to."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform.roots import below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run" / "mysqld").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("/run")
    (tmp_path / "var" / "relative").symlink_to("../run/mysqld")
    (tmp_path / "up").symlink_to("../../../../etc")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/run/mysqld/mysqld.sock", "run/mysqld/mysqld.sock"),
        ("/var/run/mysqld", "run/mysqld"),
        ("/var/relative/x", "run/mysqld/x"),
        ("/missing/x", "missing/x"),
        ("../../etc/passwd", "etc/passwd"),
        ("/up/passwd", "etc/passwd"),
        ("/", ""),
    ],
)
def test_links_do_not_lead_out_of_the_root(root: Path, path: str, expected: str) -> None:
    assert below(root, path) == root / expected


def test_a_loop_of_links_ends(root: Path) -> None:
    assert below(root, "/loop/x") == root / "loop" / "x"
