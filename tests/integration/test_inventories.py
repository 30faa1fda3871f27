# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five inventories, as they stand: each backs up, proves and restores the stand-in of its system.

What is given besides is what an operator gives: addresses, places, and the vault.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support.compose import wait_until
from tests.integration.support.inventories import MARKS, back_up_damage_and_restore, deployed
from tests.integration.support.standins import Coach, Storefront

pytestmark = MARKS


@pytest.mark.mongodb
@pytest.mark.redis
def test_storefront(tmp_path: Path) -> None:
    system = Storefront(tmp_path)
    with deployed(system):
        system.play("prepare")
        back_up_damage_and_restore(system)


@pytest.mark.sqlite
def test_coach(tmp_path: Path) -> None:
    system = Coach(tmp_path)
    with deployed(system):
        system.play("prepare")
        back_up_damage_and_restore(system)
        settings_come_back_when_they_are_named(system)


def settings_come_back_when_they_are_named(system: Coach) -> None:
    """An admin broke the settings. The data stay; the copies that the application made are the backup's."""
    before, data = system.configuration(), system.direct()
    system.http("PUT", "/admin/settings?title=broken")
    assert system.http("GET", system.health)["settings"] == "broken"
    assert system.configuration() != before
    system.play("restore", restore_only=["config"], restore_replace=True)
    wait_until(system.healthy, "coach is healthy again")
    assert system.http("GET", system.health)["settings"] == "Coach"
    assert system.configuration() == before
    assert system.direct() == data
