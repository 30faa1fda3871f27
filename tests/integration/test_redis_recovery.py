# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis on this host and in a container, through the modules: backed up, proven, restored."""

from __future__ import annotations

import pytest

from tests.integration.support.recovery import wait_for_end_of_processes
from tests.integration.support.redis import RedisWorld, with_backups

pytestmark = pytest.mark.redis


def test_every_type_is_backed_up_proven_and_restored(redis_world: RedisWorld) -> None:
    world = redis_world
    earlier = with_backups(world, 2)
    first, second = earlier
    proof = world.run("backup_verify", backup=first)["verification"]
    assert proof["whole"] and proof["datastores"]["main"]["rows"] > 15
    world.damage()
    for backup in (first, second):
        outcome = world.restore(backup=backup)
        assert outcome["changed"]
        assert world.state() == earlier[backup]
        world.is_clean()
        world.change("after")
    wait_for_end_of_processes(world.key)
