# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five inventories, as they stand: each backs up, proves and restores the stand-in of its system.

What is given besides is what an operator gives: addresses, places, and the vault.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support.inventories import MARKS, back_up_damage_and_restore, deployed
from tests.integration.support.standins import Booking, Composed, Station

pytestmark = MARKS


@pytest.mark.redis
@pytest.mark.parametrize(
    "kind", [pytest.param(Booking, marks=pytest.mark.mariadb), pytest.param(Station, marks=pytest.mark.mysql)]
)
def test_the_inventory_of_a_compose_project(kind: type[Composed], tmp_path: Path) -> None:
    system = kind(tmp_path)
    with deployed(system):
        system.play("prepare")
        back_up_damage_and_restore(system)
