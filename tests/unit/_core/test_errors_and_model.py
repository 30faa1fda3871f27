# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages, secrets, fingerprints, journals: small things that everything else relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import argspec, clock
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context, Secrets
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, at
from ansible_collections.day2.ops.plugins.module_utils._core.journal import DONE, Journal
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Fingerprint, TableFingerprint


def test_a_message_names_application_datastore_stage_and_what_to_do() -> None:
    with (
        pytest.raises(OpsError) as raised,
        at("backup booking-production", untouched="Nothing was stored."),
        at('mariadb datastore "main"', stage="dump"),
    ):
        raise OpsError("mariadb-dump ended with 2", hint="Repair the view")
    assert str(raised.value) == (
        'backup booking-production: mariadb datastore "main": dump: mariadb-dump ended with 2. '
        "Nothing was stored. Repair the view."
    )


def test_the_innermost_stage_wins() -> None:
    with pytest.raises(OpsError) as raised, at("a", stage="outer"), at("b", stage="inner"):
        raise OpsError("x")
    assert raised.value.stage == "inner"


def test_the_longest_secret_is_struck_first() -> None:
    assert Secrets({"pass", "password1"}).strike("a password1 and pass") == "a ******** and ********"


def test_scratch_names_are_short_unique_and_without_names(tmp_path: Path) -> None:
    one = Context(App("a" * 31, "b" * 31), tmp_path)
    name = one.scratch_name("c" * 31, "stage")
    assert len(name) <= 40
    assert name.startswith(one.scratch_prefix("c" * 31))
    assert one.scratch_prefix("x") != one.scratch_prefix("y")


ROWS = TableFingerprint(3)


@pytest.mark.parametrize(
    ("mine", "other", "line"),
    [
        (Fingerprint(tables={"t": ROWS}), Fingerprint(), "table t is missing"),
        (Fingerprint(), Fingerprint(tables={"t": ROWS}), "table t is not in the backup"),
        (
            Fingerprint(tables={"t": ROWS}),
            Fingerprint(tables={"t": TableFingerprint(2)}),
            "3 rows expected, 2 rows found",
        ),
        (
            Fingerprint(tables={"t": TableFingerprint(3, checksum="a")}),
            Fingerprint(tables={"t": TableFingerprint(3, checksum="b")}),
            "checksum",
        ),
        (
            Fingerprint(tables={"t": TableFingerprint(3, 5)}),
            Fingerprint(tables={"t": TableFingerprint(6)}),
            "3 to 5 rows",
        ),
        (Fingerprint(objects={"trigger": 1}), Fingerprint(), "trigger: 1 expected, 0 found"),
        (Fingerprint(newest="b"), Fingerprint(newest="a"), "newest value"),
    ],
)
def test_every_difference_is_named(mine: Fingerprint, other: Fingerprint, line: str) -> None:
    assert line in "; ".join(mine.differences(other))


def test_equal_fingerprints_do_not_differ_and_survive_json() -> None:
    one = Fingerprint("full", {"t": TableFingerprint(3, None, "ab")}, {"view": 2}, "2026")
    assert Fingerprint.from_json(one.to_json()) == one
    assert one.differences(one) == []
    assert (
        Fingerprint(tables={"t": TableFingerprint(3, 5)}).differences(Fingerprint(tables={"t": TableFingerprint(4)}))
        == []
    )


def test_a_journal_is_on_disk_before_the_step_begins(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.record(phase="staging")
    step = journal.begin("swap:main", datastore="main")
    step.save(old="x")
    read = Journal.read(journal.path)
    assert read.header == {"phase": "staging"}
    assert [(one.name, one.state, one.data) for one in read.steps] == [
        ("swap:main", "begun", {"datastore": "main", "old": "x"})
    ]
    step.mark(DONE)
    assert Journal.read(journal.path).steps[0].state == "done"


ENGINES = {
    "sqlite": {"path": {"type": "path", "required": True}},
    "files": {"paths": {"type": "list", "elements": "path"}},
}


def entry(**options: object) -> dict[str, object]:
    return {"name": "main", "engine": "sqlite", "content": "data", "path": None, "paths": None, **options}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(path="/a", paths=["/b"])], "paths is not an option of engine sqlite. Did you mean path?"),
        ([entry()], "engine sqlite needs the option path"),
        ([entry(path="/a"), entry(path="/b")], 'two datastores are called "main"'),
        ([entry(name="Main", path="/a")], "'Main' cannot be the name of a datastore"),
    ],
)
def test_a_wrong_description_is_refused_by_name(entries: list[dict[str, object]], message: str) -> None:
    with pytest.raises(Refused) as raised:
        argspec.datastores_from(entries, ENGINES)
    assert message in str(raised.value)


@pytest.mark.parametrize("password", ["short", "production", "booking-production"])
def test_a_repository_password_that_is_short_or_a_name_is_refused(password: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        argspec.check_repository_password(password, Context(App("booking", "production"), tmp_path), [])


@pytest.mark.parametrize("value", ["2026-11-23", "2026-11-23T20:00:00", "yesterday"])
def test_a_time_without_an_offset_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        clock.given(value, "before")


def test_times_and_durations() -> None:
    assert clock.text(clock.given("2026-11-23T20:00:00+01:00", "before")) == "2026-11-23T19:00:00Z"
    assert clock.duration("20h", "max_age").total_seconds() == 72000
    with pytest.raises(Refused):
        clock.duration("20", "max_age")
