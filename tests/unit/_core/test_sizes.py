# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.day2.ops.plugins.module_utils._core.sizes import readable

MIB = 1 << 20


def test_sizes_as_people_write_them() -> None:
    assert [readable(n) for n in (0, 1023, 1024, 1536 * MIB, 3 << 50, 5000 << 50)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 GiB",
        "3.0 PiB",
        "5000.0 PiB",
    ]
