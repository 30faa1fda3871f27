# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each of the five inventories does with the stand-in of its system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.integration.support.compose import wait_until
from tests.integration.support.standins import StandIn

# Many plays each, and slow ones on a busy machine.
MARKS = [pytest.mark.ansible, pytest.mark.docker, pytest.mark.files, pytest.mark.timeout(900)]


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
