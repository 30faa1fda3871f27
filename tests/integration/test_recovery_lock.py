# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lock for the length of a play: taken, renewed, handed on, taken over, freed."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import clock

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import Seed, World

pytestmark = [pytest.mark.sqlite, pytest.mark.files]


def taken(world: World, **more: Any) -> dict[str, Any]:
    lock: dict[str, Any] = world.run("app_lock", owner="anna", reason="release 42", job="7", **more)["lock"]
    return lock


def holder(world: World) -> dict[str, Any] | None:
    """Who holds it, as somebody sees who has no token."""
    refused = world.run("app_lock", check_mode=True)
    return {"msg": refused.msg} if refused.failed else None


def test_a_play_takes_renews_and_frees_the_lock(world: World) -> None:
    lock = taken(world, lease=60)
    assert len(lock["token"]) == 16
    held = holder(world)
    assert held is not None
    assert "anna (release 42, job 7)" in held["msg"]
    assert lock["token"] not in held["msg"]
    time.sleep(1.1)
    renewed = world.run("app_lock", lock_token=lock["token"], lease=600)
    assert renewed["changed"] is False
    assert renewed["lock"]["token"] == lock["token"]
    assert clock.from_text(renewed["lock"]["until"]) > clock.from_text(lock["until"])
    shorter = world.run("app_lock", lock_token=lock["token"], lease=1)["lock"]
    assert shorter["until"] >= renewed["lock"]["until"], "a renewal never shortens a lease"
    freed = world.run("app_lock", state="absent", lock_token=lock["token"])
    assert (freed["changed"], freed["lock"]) == (True, {})
    assert world.run("app_lock", state="absent", lock_token=lock["token"])["changed"] is False
    assert holder(world) is None
    world.is_clean()


def test_somebody_elses_lock_is_refused_waited_for_or_taken_over_on_purpose(world: World) -> None:
    first = taken(world, lease=600)
    refused = world.run("app_lock")
    assert f"the lock of {world.key} is held by anna (release 42, job 7) since" in refused.msg
    assert "takeover: true" in refused.msg
    begun = time.monotonic()
    assert world.run("app_lock", wait=1).failed
    assert time.monotonic() - begun >= 1

    second = world.run("app_lock", owner="ben", takeover=True)["lock"]
    for module, more in (("app_lock", {}), ("backup", {}), ("backup_verify", {}), ("restore", {"replace": True})):
        lost = world.run(module, lock_token=first["token"], **more)
        assert "lock_token does not hold the lock" in lost.msg, module
        assert "ben" in lost.msg
    assert world.run("app_lock", state="absent", lock_token=first["token"])["changed"] is False
    assert holder(world) is not None, "the loser cannot free it"

    waiting = world.start("app_lock", wait=30)
    time.sleep(0.5)
    assert waiting.poll() is None
    world.run("app_lock", state="absent", lock_token=second["token"])["changed"]
    assert waiting.finish()["changed"]


def test_a_lock_ends_with_its_lease(world: World) -> None:
    lock = taken(world, lease=1)
    assert world.run("backup").failed
    faults.wait_for(lambda: world.run("backup").data.get("changed", False), 10, "the end of the lease")
    lost = world.run("backup", lock_token=lock["token"])
    assert "is free" in lost.msg
    assert "with a lease that lasts for the whole play" in lost.msg


def test_check_mode_takes_renews_and_frees_nothing(world: World) -> None:
    would = world.run("app_lock", check_mode=True, owner="anna")
    assert would["changed"] is True
    assert "token" not in would["lock"]
    assert not (world.home / "lock").exists()
    lock = taken(world)
    before = (world.home / "lock").read_bytes()
    world.run("app_lock", check_mode=True, lock_token=lock["token"], lease=3600)["lock"]
    assert world.run("app_lock", check_mode=True, state="absent", lock_token=lock["token"])["changed"] is True
    assert world.run("app_lock", check_mode=True).failed
    assert (world.home / "lock").read_bytes() == before


def test_the_plays_token_opens_every_module_and_stays_with_the_play(world: World) -> None:
    token = taken(world)["token"]
    made = world.run("backup", lock_token=token)["backup"]["id"]
    world.run("backup_verify", lock_token=token, backup=made)["changed"]
    assert world.restore(lock_token=token, backup=made, safety_copy="required")["restore"]["safety_backup"]
    world.run("backup_retention", lock_token=token, keep_last=2)["changed"]
    held = holder(world)
    assert held is not None
    assert "release 42" in held["msg"], "the play's lock is the play's to free"


def test_a_long_backup_renews_the_plays_lease(world: World, seed: Seed) -> None:
    """Every few seconds here, in place of every 150."""
    token = taken(world, lease=3)["token"]
    restic = Wrapper(world)
    restic.at("backup-2", "sleep 5")

    def often() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._core import lock

        lock.LEASE = 3

    running = world.start("backup", lock_token=token, prelude=often)
    time.sleep(4)
    assert running.poll() is None
    held = holder(world)
    assert held is not None, "the lease ended while the backup ran"
    assert running.finish()["changed"]


@pytest.mark.faults
def test_a_restore_whose_lock_was_taken_over_does_not_swap(world: World, seed: Seed) -> None:
    """Somebody took it over while the copy was staged: from there on the data are theirs."""
    before = world.state()
    restic = Wrapper(world)
    go = world.root / "go"
    restic.at("restore-1", faults.hold_until(go))
    running = world.start("restore", replace=True, safety_copy="none")
    faults.wait_for(lambda: any(call.startswith("restore") for call in restic.calls))
    other = world.run("app_lock", owner="ben", takeover=True)["lock"]
    go.touch()
    lost = running.finish()
    assert lost.failed
    assert "does not hold the lock" in lost.msg
    assert world.state() == before
    held = holder(world)
    assert held is not None
    assert "ben" in held["msg"]
    world.run("app_lock", state="absent", lock_token=other["token"])["changed"]
    world.is_clean()


@pytest.mark.faults
def test_retention_whose_lock_was_taken_over_removes_nothing(world: World, seed: Seed) -> None:
    restic = Wrapper(world)
    go = world.root / "go"
    restic.at("snapshots-1", faults.hold_until(go))
    running = world.start("backup_retention", keep_last=1)
    faults.wait_for(lambda: bool(restic.calls))
    world.run("app_lock", owner="ben", takeover=True)["changed"]
    go.touch()
    lost = running.finish()
    assert "does not hold the lock" in lost.msg
    assert "No backup was removed" in lost.msg
    assert world.snapshot_ids() == seed.snapshots


@pytest.mark.faults
def test_a_killed_modules_own_lock_stops_nobody(world: World) -> None:
    restic = Wrapper(world)
    restic.at("backup-1", faults.hold_until(world.root / "never"))
    running = world.start("backup")
    faults.wait_for(lambda: any(call.startswith("backup") for call in restic.calls))
    assert world.run("app_lock").failed
    running.send_signal(signal.SIGKILL)
    assert running.finish().killed
    assert world.run("app_lock")["changed"]
