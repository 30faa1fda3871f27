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
from tests.integration.support.inventories import MARKS, back_up_damage_and_restore, deployed, use
from tests.integration.support.standins import Garage

pytestmark = MARKS


def a_gate_starts_anew_what_gave_up(system: Garage) -> None:
    """Its database was away while it started; it has given up, and stays down when the database is back."""
    system.release("a1", None)
    once = "mkdir -p $1 && printf '[Service]\nRestart=no\n' > $1/once.conf && systemctl daemon-reload"
    system.run("sh", "-c", once, "sh", "/etc/systemd/system/garage.service.d")
    system.run("systemctl", "stop", "postgresql")
    system.run("systemctl", "restart", "garage.service")
    wait_until(lambda: "failed" in system.run("systemctl", "show", "-p", "ActiveState", "garage.service"), "it gave up")
    system.run("systemctl", "start", "postgresql")
    assert "app: crit: " in system.play("health", fails=True, target="garage_production")
    gate = system.play("health", target="garage_production", health_restart_units=["garage.service"])
    assert "app: crit: " not in gate
    assert system.healthy()


@pytest.mark.postgresql
@pytest.mark.sqlite
def test_the_inventory_of_garage_with_production_and_development_on_one_host(tmp_path: Path) -> None:
    production = Garage(tmp_path)
    with deployed(production):
        development = production.at("development")
        production.play("prepare")
        use(development, "in development")
        back_up_damage_and_restore(production, development, target="garage_production")
        a_gate_starts_anew_what_gave_up(production)
        production_now = production.direct()
        development.delete_first()
        development.delete_first()
        development.delete_first()
        back_up_damage_and_restore(development, target="garage_development")
        assert production.direct() == production_now


@pytest.mark.postgresql
@pytest.mark.sqlite
def test_a_failed_migration_is_restored_only_where_nobody_writes(tmp_path: Path) -> None:
    """migrate_on_failure: restore. With SQLite, where a failed revision leaves what it has done."""
    system = Garage(tmp_path).at("development")
    unit, asked = "garage-development.service", {"target": "garage_development", "migrate_on_failure": "restore"}
    with deployed(system):
        system.play("prepare")
        use(system, "kept")
        system.release("b2", ["CREATE TABLE half (id INTEGER)", "INSERT INTO nowhere VALUES (1)"], system.revision)
        refused = system.play("migrate", fails=True, **asked)
        assert f"{unit} uses the datastore" in refused and "Nothing was changed" in refused
        assert system.sql("SELECT COUNT(*) FROM sqlite_master WHERE name = 'half'").strip() == "0"

        system.run("systemctl", "stop", unit)
        before = system.direct()
        screen = system.play("migrate", fails=True, **asked)
        assert "revision b2 failed" in screen and "was restored" in screen
        assert system.direct() == before
        system.run("systemctl", "start", unit)
        wait_until(system.healthy, "garage is healthy again")
        assert len(system.items()) == 3
        system.release("b2", [f"ALTER TABLE {system.table} ADD COLUMN remark TEXT"], system.revision)
        assert "b2 was run" in system.play("migrate", target="garage_development")
