# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server prints of a staged view can be made again in the live database."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.definitions import unqualified_view

SCRATCH = "day2_5831a65e73_703636_stage"

# Printed by MariaDB 10.11 for a view whose definer has no privileges on the scratch database.
CASES = {
    "columns": (
        "VIEW `sold` AS select `day2_5831a65e73_703636_stage`.`items`.`name` AS `name` from (`items` join `orders` on("
        "`day2_5831a65e73_703636_stage`.`orders`.`item` = `day2_5831a65e73_703636_stage`.`items`.`id`)) group by "
        "`day2_5831a65e73_703636_stage`.`items`.`name`",
        "VIEW `sold` AS select `items`.`name` AS `name` from (`items` join `orders` on("
        "`orders`.`item` = `items`.`id`)) group by `items`.`name`",
    ),
    "a function and a sequence": (
        "select `day2_5831a65e73_703636_stage`.`twice`(1),nextval(`day2_5831a65e73_703636_stage`.`numbers`)",
        "select `twice`(1),nextval(`numbers`)",
    ),
    "text that reads like it": (
        "select '`day2_5831a65e73_703636_stage`.`items`' AS `it''s`,`day2_5831a65e73_703636_stage`.`items`.`id`",
        "select '`day2_5831a65e73_703636_stage`.`items`' AS `it''s`,`items`.`id`",
    ),
    "another database": (
        "select `other`.`items`.`id` from `other`.`items`",
        "select `other`.`items`.`id` from `other`.`items`",
    ),
}


@pytest.mark.parametrize(("printed", "expected"), CASES.values(), ids=CASES.keys())
def test_the_scratch_databases_name_is_nowhere(printed: str, expected: str) -> None:
    assert unqualified_view(printed.encode(), SCRATCH).decode() == expected
