# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An assertion names a table as people do."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._recovery.verify import _rows

STATE = Fingerprint(
    tables={
        "public.orders": TableFingerprint(3),
        "public.users": TableFingerprint(4),
        "audit.users": TableFingerprint(5),
        "plain": TableFingerprint(6),
    }
)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("public.orders", 3), ("orders", 3), ("plain", 6), ("users", None), ("audit.users", 5), ("rders", None)],
)
def test_a_table_is_found_by_a_name_that_means_one(name: str, rows: int | None) -> None:
    assert _rows(STATE, name) == rows
