# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for every input: retention, manifests, fingerprints, quoting, and all that reads what others wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import subprocess
from typing import Any

import hypothesis
from ansible_collections.day2.ops.plugins.module_utils._core import clock
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Mismatch, OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Fingerprint, Part, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import flavours
from ansible_collections.day2.ops.plugins.module_utils._platform import dotenv, dsn
from ansible_collections.day2.ops.plugins.module_utils._store import catalogue, messages, retention
from ansible_collections.day2.ops.plugins.module_utils._store import manifest as manifests
from ansible_collections.day2.ops.plugins.module_utils._store.catalogue import Entry
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Snapshot
from ansible_collections.day2.ops.plugins.module_utils._store.retention import Policy
from hypothesis import given
from hypothesis import strategies as st

# The same examples in every run: what fails here fails for everybody.
hypothesis.settings.register_profile("day2", derandomize=True, deadline=None, max_examples=200, database=None)
hypothesis.settings.load_profile("day2")

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
TEXT = st.text(max_size=20)
WORDS = st.text("abcdefgh_-. é🚲\"'\\$", min_size=1, max_size=12)
NUMBERS = st.integers(0, 10**12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


# Retention ----------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Backups of some years, newest first: proven or not, whole or not, held, safety copies, from the future."""
    entries = []
    for number, minutes in enumerate(sorted(draw(st.sets(st.integers(-600, 3_000_000), max_size=30)))):
        started = clock.text(NOW - datetime.timedelta(minutes=minutes))
        kind = draw(st.sampled_from(["regular", "regular", "pre_deploy", "safety"]))
        entries.append(
            Entry(
                id=f"{number:03}",
                summary=manifests.Summary(kind=kind, started=started, finished=started, seconds=1.0, parts=()),
                snapshot="m",
                data={},
                missing=draw(st.sampled_from([(), (), (), ("main",)])),
                proofs=({"whole": True},) if draw(st.booleans()) else (),
                holds={"h": "a release"} if draw(st.integers(0, 9)) == 0 else {},
            )
        )
    return entries


COUNTS = st.none() | st.integers(1, 8)
SPANS = st.none() | st.timedeltas(datetime.timedelta(0), datetime.timedelta(days=900))
POLICIES = st.builds(
    Policy,
    last=COUNTS,
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    within=SPANS,
    safety_within=SPANS,
)


@given(histories(), POLICIES)
def test_retention_never_removes_what_nobody_can_spare(entries: list[Entry], policy: Policy) -> None:
    decided = retention.plan(entries, policy, NOW)
    kept = set(decided.keep)
    assert sorted([*kept, *decided.remove]) == sorted(entry.id for entry in entries), "each backup stays or goes, once"
    usable = [entry for entry in entries if entry.complete and entry.kind != "safety"]
    proven = [entry for entry in usable if entry.proven]
    if usable:
        assert kept & {entry.id for entry in usable}, "nothing is left to restore from"
    if proven:
        assert proven[0].id in kept
    assert {entry.id for entry in entries if entry.holds or entry.started > NOW} <= kept
    assert {entry.id for entry in usable[: policy.last or 0]} <= kept
    if policy.within is not None:
        assert {entry.id for entry in usable if entry.started >= NOW - policy.within} <= kept


@given(histories(), POLICIES)
def test_what_a_policy_keeps_it_keeps_on_the_second_run(entries: list[Entry], policy: Policy) -> None:
    kept = set(retention.plan(entries, policy, NOW).keep)
    assert retention.plan([entry for entry in entries if entry.id in kept], policy, NOW).remove == []


# Manifests ----------------------------------------------------------------------------------------

TABLES = st.builds(
    TableFingerprint, rows=NUMBERS, rows_max=st.none() | NUMBERS, checksum=st.none() | st.text("0123456789abcdef")
)
FINGERPRINTS = st.builds(
    Fingerprint,
    level=st.sampled_from(["counts", "full"]),
    tables=st.dictionaries(WORDS, TABLES, max_size=5),
    objects=st.dictionaries(WORDS, NUMBERS, max_size=5),
    newest=st.none() | TEXT,
)
PARTS = st.builds(
    Part,
    datastore=WORDS,
    engine=WORDS,
    flavour=TEXT,
    content=st.just("data"),
    format=st.just("sql"),
    filename=WORDS,
    snapshot=WORDS,
    bytes=NUMBERS,
    sha256=TEXT,
    fingerprint=FINGERPRINTS,
    flags=st.lists(TEXT, max_size=3).map(tuple),
    facts=st.dictionaries(TEXT, TEXT, max_size=3),
    exit_codes=st.dictionaries(WORDS, st.integers(0, 255), max_size=2),
)
MANIFESTS = st.builds(
    manifests.Manifest,
    id=st.just("20261123T210455Z-1f0c9a"),
    app=WORDS,
    instance=WORDS,
    kind=st.sampled_from(manifests.KINDS),
    started=st.just("2026-11-23T21:04:55Z"),
    finished=st.just("2026-11-23T21:05:00Z"),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    warnings=st.lists(TEXT, max_size=2).map(tuple),
)


@given(MANIFESTS, st.dictionaries(st.text("XYZ", min_size=1, max_size=5), JSON, max_size=3))
def test_a_manifest_and_its_summary_come_back_whatever_a_later_version_adds(
    manifest: manifests.Manifest, more: dict[str, Any]
) -> None:
    data = json.loads(manifest.encode())
    for part in data["parts"]:
        part.update(more)
        part["fingerprint"].update(more)
    assert manifests.Manifest.decode(json.dumps({**data, **more}).encode()) == manifest
    summary = manifests.summarize(manifest)
    packed = {**dataclasses.asdict(summary), **more}
    packed["parts"] = [{**part, **more} for part in packed["parts"]]
    assert manifests.summary_from(manifests.pack(packed)) == summary


@given(MANIFESTS, st.data())
def test_a_truncated_manifest_is_refused(manifest: manifests.Manifest, data: st.DataObject) -> None:
    content = manifest.encode()
    cut = data.draw(st.integers(0, len(content) - 1))
    with contextlib.suppress(Mismatch):
        manifests.Manifest.decode(content[:cut])
        raise AssertionError("half a manifest was read")


@given(MANIFESTS, st.data())
def test_an_altered_manifest_is_read_or_refused_and_never_a_traceback(
    manifest: manifests.Manifest, data: st.DataObject
) -> None:
    content = json.loads(manifest.encode())
    where = content
    if content["parts"] and data.draw(st.booleans()):
        where = content["parts"][0]
        if data.draw(st.booleans()):
            where = where["fingerprint"]
    name = data.draw(st.sampled_from(sorted(where)))
    if data.draw(st.booleans()):
        del where[name]
    else:
        where[name] = data.draw(JSON)
    with contextlib.suppress(Mismatch, Refused):
        read = manifests.Manifest.decode(json.dumps(content).encode())
        manifests.pack(manifests.summarize(read))


@given(st.lists(st.tuples(st.sampled_from(["data", "manifest", "proof", "hold", "?"]), TEXT | JSON), max_size=8))
def test_any_listing_of_a_repository_gives_a_catalogue(stored: list[tuple[str, Any]]) -> None:
    backup = "20261123T210455Z-1f0c9a"
    snapshots = []
    for number, (role, said) in enumerate(stored):
        summary = said if isinstance(said, str) else manifests.pack(said)
        tags = ("day2", f"role={role}", f"backup={backup}", f"summary={summary}", "datastore=main")
        snapshots.append(Snapshot(f"{number:064}", "2026-11-23T21:04:55Z", tags, ()))
    found = catalogue.build(App("booking", "production"), snapshots)
    listed = [catalogue.public(entry, NOW) for entry in found.entries]
    assert len(listed) + len(found.damaged) <= 1
    assert len(found.unreadable()) == len(found.damaged)


# Fingerprints -------------------------------------------------------------------------------------


@given(FINGERPRINTS)
def test_a_fingerprint_survives_its_json_and_finds_no_difference_to_itself(fingerprint: Fingerprint) -> None:
    assert Fingerprint.from_json(json.loads(json.dumps(fingerprint.to_json()))) == fingerprint
    exact = _counted(fingerprint)
    assert exact.differences(exact) == []


@given(FINGERPRINTS.filter(lambda one: bool(one.tables)), st.data())
def test_every_single_change_of_a_table_is_found(fingerprint: Fingerprint, data: st.DataObject) -> None:
    mine = _counted(fingerprint)
    name = data.draw(st.sampled_from(sorted(mine.tables)))
    missing = {other: table for other, table in mine.tables.items() if other != name}
    more = {**mine.tables, f"{name}+": TableFingerprint(0)}
    step = data.draw(st.sampled_from([-1, 1]))
    counted = {**mine.tables, name: dataclasses.replace(mine.tables[name], rows=mine.tables[name].rows + step)}
    for tables in (missing, more, counted):
        assert len(mine.differences(dataclasses.replace(mine, tables=tables))) == 1


def _counted(fingerprint: Fingerprint) -> Fingerprint:
    tables = {name: dataclasses.replace(table, rows_max=None) for name, table in fingerprint.tables.items()}
    return dataclasses.replace(fingerprint, tables=tables)


# Env files ----------------------------------------------------------------------------------------

PASSWORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("$'\"\\`#!~=%{} &;"), max_size=12
)


@hypothesis.settings(max_examples=40)
@given(st.lists(PASSWORDS, min_size=20, max_size=60))
def test_a_value_is_written_so_that_sh_and_our_reader_get_it_back_or_is_refused(values: list[str]) -> None:
    file, expected = dotenv.DotEnv(), {}
    for number, value in enumerate(values):
        with contextlib.suppress(Refused):
            file.change(f"V{number}", value)
            expected[f"V{number}"] = value
    assert dotenv.DotEnv.parse(file.text).values() == expected
    script = file.text + "".join(f"printf '%s\\0' \"$V{name[1:]}\"\n" for name in expected)
    said = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True, timeout=30).stdout
    assert [one.decode() for one in said.split(b"\0")[:-1]] == list(expected.values())


def test_printable_passwords_are_hardly_ever_refused() -> None:
    for code in range(32, 127):
        assert dotenv.quote("PASSWORD", f"a{chr(code)}b")


@given(st.text(max_size=200))
def test_any_text_is_an_env_file_that_stays_as_it_is(text: str) -> None:
    parsed = dotenv.DotEnv.parse(text)
    assert parsed.text == text
    parsed.values({"HOME": "/root"})


# What others wrote --------------------------------------------------------------------------------


@given(TEXT | st.from_regex(r"[a-z+]{1,8}://[^/]{0,12}@?[a-z0-9:\[\],²]{0,12}/[a-z?=&%0-9]{0,12}", fullmatch=True))
@hypothesis.example("mysql://db:²/name")
def test_any_text_is_a_database_url_or_none(text: str) -> None:
    dsn.parse(text)


@given(st.lists(JSON.map(json.dumps) | TEXT, max_size=5), st.binary(max_size=50), st.integers(-15, 255))
def test_whatever_restic_says_is_understood_or_passed_on(lines: list[str], stdout: bytes, rc: int) -> None:
    text = "\n".join([*lines, *(f'{{"message_type":"error","error":{line}}}' for line in lines)])
    messages.read_errors(text, stdout)
    assert isinstance(messages.classify(["restic"], rc, text, "/repository"), OpsError)


@given(TEXT | st.from_regex(r"Ver [0-9.]{1,9}( Distrib [0-9.]{1,9}-MariaDB)?", fullmatch=True))
def test_any_text_is_a_version_or_none(text: str) -> None:
    assert len(flavours.version_of(text)) == 3
    flavours.version_of(flavours.tool_version(text))


@given(
    TEXT | st.from_regex(r"[0-9²٣]{1,30}[smhdw]", fullmatch=True) | st.datetimes().map(str), st.sampled_from([0, 23])
)
def test_any_time_that_a_user_gives_is_one_or_is_refused(text: str, hours: int) -> None:
    with contextlib.suppress(Refused):
        NOW - clock.duration(text, "keep_within")
    with contextlib.suppress(Refused):
        clock.given(f"{text}+{hours:02}:00", "before")


def test_the_first_and_the_last_time_of_all_are_refused() -> None:
    for text in ("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"):
        with contextlib.suppress(Refused):
            clock.given(text, "before")
            raise AssertionError(f"{text} was taken")
