# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backups there are, from one listing."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import clock
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._store import catalogue
from ansible_collections.day2.ops.plugins.module_utils._store import manifest as manifests
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Snapshot

from tests.unit._store.test_manifest import MANIFEST

APP = App("booking", "production")


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.datetime(2026, 11, 25, tzinfo=clock.UTC))


def snapshots(
    backup: str, started: str, kind: str = "regular", parts: bool = True, manifest: bool = True
) -> list[Snapshot]:
    """One backup as the repository lists it."""
    made = dataclasses.replace(MANIFEST, id=backup, started=started, kind=kind)
    data_id = backup[-6:] + "0" * 58
    part = dataclasses.replace(made.parts[0], snapshot=data_id[:8])
    made = dataclasses.replace(made, parts=(part,))
    tag = f"summary={manifests.pack(manifests.summarize(made))}"
    listed = []
    if parts:
        listed.append(Snapshot(data_id, started, tuple(manifests.tags(APP, "data", backup, "datastore=main")), ()))
    if manifest:
        listed.append(Snapshot("f" + data_id[1:], started, tuple(manifests.tags(APP, "manifest", backup, tag)), ()))
    return listed


OLD = snapshots("20261120T000000Z-aaaaaa", "2026-11-20T00:00:00Z")
NEW = snapshots("20261121T000000Z-bbbbbb", "2026-11-21T00:00:00Z")
SAFETY = snapshots("20261122T000000Z-cccccc", "2026-11-22T00:00:00Z", kind="safety")


def test_the_newest_comes_first() -> None:
    assert [entry.id for entry in catalogue.build(APP, OLD + NEW).entries] == [
        "20261121T000000Z-bbbbbb",
        "20261120T000000Z-aaaaaa",
    ]


def test_data_without_a_manifest_is_an_orphan_and_no_backup() -> None:
    known = catalogue.build(APP, OLD + snapshots("20261123T000000Z-dddddd", "2026-11-23T00:00:00Z", manifest=False))
    assert [entry.id for entry in known.entries] == ["20261120T000000Z-aaaaaa"]
    assert [one.tag("backup") for one in known.orphans] == ["20261123T000000Z-dddddd"]


def test_a_backup_whose_data_are_gone_is_listed_as_incomplete_and_never_chosen() -> None:
    known = catalogue.build(APP, OLD + snapshots("20261123T000000Z-dddddd", "2026-11-23T00:00:00Z", parts=False))
    assert known.entries[0].missing == ("main",)
    assert known.choose("latest").id == "20261120T000000Z-aaaaaa"
    with pytest.raises(Refused, match="not complete: the data of main"):
        known.find("20261123T000000Z-dddddd")


def test_latest_is_not_the_safety_copy() -> None:
    known = catalogue.build(APP, OLD + NEW + SAFETY)
    assert known.choose("latest").id == "20261121T000000Z-bbbbbb"
    assert known.choose("20261122T000000Z-cccccc").kind == "safety"


def test_latest_is_not_from_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that was made while the clock was wrong would be the latest one until its time has come."""
    known = catalogue.build(APP, OLD + NEW)
    monkeypatch.setattr(clock, "now", lambda: datetime.datetime(2026, 11, 20, 23, 45, tzinfo=clock.UTC))
    assert known.choose("latest").id == "20261120T000000Z-aaaaaa"
    (sentence,) = known.passed_over("latest")
    assert "20261121T000000Z-bbbbbb is passed over: it is from the future" in sentence
    assert known.passed_over("20261121T000000Z-bbbbbb") == []
    assert known.choose("20261121T000000Z-bbbbbb").ahead
    monkeypatch.setattr(clock, "now", lambda: datetime.datetime(2026, 11, 20, 23, 55, tzinfo=clock.UTC))
    assert known.choose("latest").id == "20261121T000000Z-bbbbbb", "clocks of two machines differ a little"
    monkeypatch.setattr(clock, "now", lambda: datetime.datetime(1970, 1, 1, tzinfo=clock.UTC))
    with pytest.raises(Refused, match=r"2 are from the future by this machine's clock \(1970"):
        known.choose("latest")


def test_before_looks_back_in_time() -> None:
    moment = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
    known = catalogue.build(APP, OLD + NEW)
    assert known.choose("latest", moment).id == "20261120T000000Z-aaaaaa"
    with pytest.raises(Refused, match="begun before 2019"):
        known.choose("latest", moment.replace(year=2019))


def test_latest_verified_needs_a_proof_of_the_whole() -> None:
    def proof(backup: str, whole: bool) -> Snapshot:
        tag = f"summary={manifests.pack({'whole': whole, 'finished': 'x'})}"
        return Snapshot("e" * 64, "", tuple(manifests.tags(APP, "proof", backup, tag)), ())

    part_only = catalogue.build(APP, [*OLD, *NEW, proof("20261121T000000Z-bbbbbb", False)])
    with pytest.raises(Refused, match="no proven backup"):
        part_only.choose("latest_verified")
    both = catalogue.build(
        APP, [*OLD, *NEW, proof("20261121T000000Z-bbbbbb", False), proof("20261120T000000Z-aaaaaa", True)]
    )
    assert both.choose("latest_verified").id == "20261120T000000Z-aaaaaa"


def test_a_copied_repository_is_found_by_the_original_ids() -> None:
    copied = [dataclasses.replace(one, id="9" * 63 + str(i), original=one.id) for i, one in enumerate(OLD)]
    entry = catalogue.build(APP, copied).entries[0]
    assert entry.complete
    assert entry.data["main"] == copied[0].id


def test_an_unknown_id_says_what_there_is() -> None:
    with pytest.raises(Refused, match="The newest are 20261121T000000Z-bbbbbb"):
        catalogue.build(APP, OLD + NEW).find("20200101T000000Z-ffffff")
    with pytest.raises(Refused, match="holds no backup"):
        catalogue.build(APP, []).choose("latest")


def test_an_unreadable_manifest_is_reported_and_not_a_backup() -> None:
    tags = tuple(manifests.tags(APP, "manifest", "20261123T000000Z-dddddd", "summary=garbage"))
    known = catalogue.build(APP, [*OLD, Snapshot("d" * 64, "", tags, ())])
    assert len(known.entries) == 1
    assert "20261123T000000Z-dddddd" in known.damaged
