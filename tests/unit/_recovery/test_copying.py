# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is copied to the second repository, and how damage is told by backups."""

from __future__ import annotations

import dataclasses

from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._recovery import care, copying
from ansible_collections.day2.ops.plugins.module_utils._store import manifest as manifests
from ansible_collections.day2.ops.plugins.module_utils._store.manifest import PartSummary, Summary
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Snapshot

APP = App("booking", "production")


def backup(day: int, kind: str = "regular", more: tuple[str, ...] = ()) -> list[Snapshot]:
    """The snapshots of one backup: `data`, `manifest` and more, named by their role and day."""
    name = f"202611{day:02}T010000Z-00000{day % 10}"
    part = PartSummary("main", "sqlite", "data", 1, 1, 1, 1, {}, f"data{day}", 1.0)
    time = f"2026-11-{day:02}T01:00:00Z"
    summary = manifests.pack(Summary(kind, time, time, 1.0, (part,)))
    found = []
    for role in ("data", *more, "manifest"):
        tags = (
            [*manifests.tags(APP, role, name), "datastore=main"] if role == "data" else manifests.tags(APP, role, name)
        )
        tags += [f"summary={summary if role == 'manifest' else manifests.pack({'reason': 'x'})}"]
        found.append(Snapshot(f"{role}{day}", time, tuple(tags), ()))
    return found


def copied(snapshots: list[Snapshot]) -> list[Snapshot]:
    """As restic copies them."""
    return [dataclasses.replace(one, id=f"copy-{one.id}", original=one.id) for one in snapshots]


def planned(ours: list[Snapshot], theirs: list[Snapshot]) -> list[tuple[tuple[str, ...], str]]:
    return [(one.parts, one.manifest) for one in copying.plan(APP, ours, theirs)]


def test_all_is_copied_where_there_is_nothing_the_oldest_first() -> None:
    assert planned(backup(2) + backup(1), []) == [(("data1",), "manifest1"), (("data2",), "manifest2")]


def test_what_is_there_is_not_copied_again() -> None:
    assert planned(backup(1) + backup(2), copied(backup(1) + backup(2))) == []


def test_an_interrupted_copy_is_completed_even_when_a_newer_one_is_there() -> None:
    theirs = copied(backup(1)[:1] + backup(2))
    assert planned(backup(1) + backup(2), theirs) == [((), "manifest1")]


def test_what_the_second_one_removed_stays_away() -> None:
    assert planned(backup(1) + backup(2) + backup(3), copied(backup(2))) == [(("data3",), "manifest3")]


def test_holds_and_proofs_that_came_later_follow() -> None:
    ours = backup(1, more=("hold", "proof"))
    theirs = [one for one in copied(ours) if "hold" not in one.id and "proof" not in one.id]
    assert planned(ours, theirs) == [(("hold1", "proof1"), "")]


def test_a_copy_of_a_copy_is_known_by_its_first_id() -> None:
    assert planned(copied(backup(1)), backup(1)) == []


def test_safety_copies_and_broken_backups_are_left_out() -> None:
    assert planned(backup(1, "safety") + backup(2)[1:], []) == []


def test_damage_is_told_by_backup_and_datastore() -> None:
    snapshots = backup(1) + backup(2) + backup(3)
    touched = {"b" * 64: {"data1", "data2"}, "a" * 64: {"manifest2"}, "c" * 64: set()}
    ids = [f"2026110{day}T010000Z-00000{day}" for day in (1, 2)]
    assert care.named(touched, snapshots) == [
        {"pack": "a" * 64, "backups": [{"id": ids[1], "datastores": [], "manifest": True}]},
        {"pack": "b" * 64, "backups": [{"id": one, "datastores": ["main"], "manifest": False} for one in ids]},
        {"pack": "c" * 64, "backups": []},
    ]
