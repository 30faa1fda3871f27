# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five inventories, as they stand: each backs up, proves and restores the stand-in of its system.

What is given besides is what an operator gives: addresses, places, and the vault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support.compose import wait_until
from tests.integration.support.standins import COMPOSED, Coach, Composed, Garage, StandIn

# Many plays each, and slow ones on a busy machine.
pytestmark = [pytest.mark.ansible, pytest.mark.docker, pytest.mark.files, pytest.mark.timeout(900)]

ENGINES = {
    "booking": [pytest.mark.mariadb, pytest.mark.redis],
    "station": [pytest.mark.mysql, pytest.mark.redis],
    "storefront": [pytest.mark.mongodb, pytest.mark.redis],
    "coach": [pytest.mark.sqlite],
}


@contextlib.contextmanager
def deployed(system: StandIn) -> Iterator[None]:
    try:
        system.deploy()
        yield
    finally:
        system.remove()


def use(system: StandIn, word: str) -> None:
    """What users do: rows with uploads."""
    for number in range(3):
        system.add(f"{word} {number} 🚲", f"{word} {number}".encode() * 2000)


def back_up_damage_and_restore(system: StandIn, *others: StandIn, **target: str) -> None:
    """`others` run on the same machine, and must not change."""
    use(system, "first")
    before, beside = system.items(), system.direct()
    untouched = [other.direct() for other in others]
    assert len(before) == 3
    assert "missing" not in {one["sha256"] for one in before}
    system.play("backup", **target)
    system.play("verify", **target)

    well = system.play("health", **target)
    assert " is ok: " in well or " is warn: " in well
    with system.database_down():
        broken = system.play("health", fails=True, **target)
        assert f"{system.witness}: crit: " in broken

    migrate(system, **target)

    use(system, "too late")
    system.delete_first()
    system.harm()
    damaged = system.items()  # which is what a cache now holds
    assert len(damaged) == 5
    now = system.direct()
    assert all(now[part] != beside[part] for part in beside), "the damage is not seen"

    screen = system.play("restore", **target, restore_backup="latest_verified", restore_replace=True)
    wait_until(system.healthy, f"{system.name} is healthy again")
    assert system.direct() == beside
    assert system.items() == before
    assert "what was there before is the safety copy" in screen
    assert [other.direct() for other in others] == untouched
    use(system, "afterwards")
    assert len(system.items()) == 6


def migrate(system: StandIn, **target: str) -> None:
    """A coming release has a revision more, and one that breaks. The application goes on with its rows."""
    if not system.revision:
        assert "describes no migrations" in system.play("migrate", **target)
        return
    before = len(system.items())
    system.release("a1", [f"ALTER TABLE {system.table} ADD COLUMN remark VARCHAR(40)"], system.revision)
    assert "migrations: crit: the schema is at " in system.play("health", fails=True, **target)
    assert "a1 was run" in system.play("migrate", **target)
    assert system.sql("SELECT version_num FROM alembic_version").strip() == "a1"
    assert "migrations: " not in system.play("health", **target)

    wrong = f"ALTER TABLE {system.table}_of_nobody ADD COLUMN remark INTEGER"
    system.release("b2", ["CREATE TABLE half (id INTEGER)", wrong], "a1")
    screen = system.play("migrate", fails=True, **target)
    assert "revision b2 failed" in screen
    if "left nothing behind" not in screen:  # of the database that rolls back
        assert "It left behind: table half was made" in screen
        assert "revision b2 was begun by an earlier run" in system.play("health", fails=True, **target)
        system.sql("DROP TABLE half")
    system.release("b2", None)
    assert "nothing is pending" in system.play("migrate", **target)
    wait_until(system.healthy, f"{system.name} is healthy after its migrations")
    assert len(system.items()) == before


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in ENGINES.items()])
def test_the_inventory_of_a_compose_project(name: str, tmp_path: Path) -> None:
    system: Composed = COMPOSED[name](tmp_path)
    with deployed(system):
        system.play("prepare")
        back_up_damage_and_restore(system)
        if isinstance(system, Coach):
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
