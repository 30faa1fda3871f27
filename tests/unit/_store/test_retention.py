# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a policy keeps."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.day2.ops.plugins.module_utils._store.catalogue import Entry
from ansible_collections.day2.ops.plugins.module_utils._store.manifest import Summary
from ansible_collections.day2.ops.plugins.module_utils._store.retention import Policy, plan

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)


def entry(age_hours: float, kind: str = "regular", **more: object) -> Entry:
    started = NOW - datetime.timedelta(hours=age_hours)
    text = started.strftime("%Y-%m-%dT%H:%M:%SZ")
    summary = Summary(kind=kind, started=text, finished=text, seconds=1.0, parts=())
    return Entry(id=f"{text}-{kind}", summary=summary, snapshot="m", data={}, **more)  # type: ignore[arg-type]


def hourly(count: int) -> list[Entry]:
    return [entry(hour) for hour in range(count)]


def test_last_keeps_the_newest() -> None:
    entries = hourly(5)
    assert plan(entries, Policy(last=2), NOW).remove == [one.id for one in entries[2:]]


@pytest.mark.parametrize(
    ("policy", "kept_hours"),
    [
        (Policy(hourly=3), [0, 1, 2]),
        (Policy(daily=2), [0, 13]),  # the newest of today (from 12:00 back to 00:00) and of yesterday
        (Policy(daily=3), [0, 13, 37]),
        (Policy(weekly=2), [0, 13]),  # 2026-11-23 is a Monday: the week before ends on Sunday
        (Policy(monthly=1), [0]),
        (Policy(yearly=1), [0]),
        (Policy(within=datetime.timedelta(hours=2)), [0, 1, 2]),
        (Policy(last=1, daily=2), [0, 13]),
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods(policy: Policy, kept_hours: list[int]) -> None:
    entries = hourly(72)
    assert list(plan(entries, policy, NOW).keep) == [entries[hour].id for hour in kept_hours]


def test_the_newest_proven_backup_is_never_removed() -> None:
    entries = [entry(1), entry(2), entry(3, proofs=({"whole": True},)), entry(4, proofs=({"whole": True},))]
    decided = plan(entries, Policy(last=1), NOW)
    assert decided.remove == [entries[1].id, entries[3].id]
    assert decided.keep[entries[2].id] == ["newest proven"]


def test_a_proof_of_a_part_does_not_protect() -> None:
    entries = [entry(1), entry(2, proofs=({"whole": False},))]
    assert plan(entries, Policy(last=1), NOW).remove == [entries[1].id]


def test_a_held_backup_is_never_removed() -> None:
    entries = [entry(1), entry(2, holds={"s": "release 42"})]
    assert plan(entries, Policy(last=1), NOW).keep[entries[1].id] == ["held: release 42"]


def test_the_only_backup_is_never_removed() -> None:
    only = entry(10_000)
    assert plan([only], Policy(within=datetime.timedelta(hours=1)), NOW).remove == []
    assert plan([only], Policy(last=0), NOW).remove == []


def test_an_incomplete_backup_pushes_no_good_one_out() -> None:
    broken, good = entry(1, missing=("main",)), entry(2)
    decided = plan([broken, good], Policy(last=1), NOW)
    assert list(decided.keep) == [good.id]
    assert decided.remove == [broken.id]


def test_safety_copies_have_a_retention_of_their_own() -> None:
    entries = [entry(1, "safety"), entry(2), entry(50, "safety")]
    assert plan(entries, Policy(last=1), NOW).remove == []
    limited = plan(entries, Policy(last=1, safety_within=datetime.timedelta(days=1)), NOW)
    assert limited.remove == [entries[2].id]


def test_a_backup_from_the_future_stays() -> None:
    entries = [entry(-5), entry(1), entry(2)]
    assert plan(entries, Policy(last=1), NOW).remove == [entries[1].id, entries[2].id]
    assert "from the future" in plan(entries, Policy(last=0), NOW).keep[entries[0].id]
