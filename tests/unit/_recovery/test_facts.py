# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts for a monitoring system, read back by a parser of Prometheus' text format that knows nothing of ours."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import clock
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._recovery import facts
from ansible_collections.day2.ops.plugins.module_utils._store.catalogue import Catalogue, Entry
from ansible_collections.day2.ops.plugins.module_utils._store.manifest import PartSummary, Summary

APP = App("booking", "production")
NOW = clock.from_text("2026-11-24T00:00:00Z")
REPOSITORY = {"location": "/var/backups/day2", "checked": False, "errors": []}
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
Metrics = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Metrics:
    """By the grammar of https://prometheus.io/docs/instrumenting/exposition_formats/."""
    assert text.endswith("\n")
    found: Metrics = {}
    helped: set[str] = set()
    typed: set[str] = set()
    for line in text.splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)", line)
        if comment:
            kind, name, rest = comment.groups()
            seen = helped if kind == "HELP" else typed
            assert name not in seen and not any(key[0] == name for key in found)
            assert kind == "HELP" or rest in ("counter", "gauge", "histogram", "summary", "untyped")
            seen.add(name)
            continue
        sample = re.fullmatch(
            r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)', line
        )
        assert sample, line
        name, inner, value = sample.groups()
        labels = re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', inner)
        pairs = tuple(sorted((k, re.sub(r"\\.", lambda m: UNESCAPED[m.group()], v)) for k, v in labels))
        assert (name, pairs) not in found and name in helped and name in typed
        found[name, pairs] = float(value)
    return found


def metric(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.get(
        (f"day2_backup_{name}", tuple(sorted({"app": "booking", "instance": "production", **labels}.items())))
    )


def entry(started: str, kind: str = "regular", proofs: tuple[Any, ...] = (), **more: Any) -> Entry:
    moment = clock.from_text(started)
    parts = (
        PartSummary("main", "sqlite", "data", 1000, 300, 7, 2, {}, "a", 1.0),
        PartSummary("uploads", "files", "data", 50, 20, 0, 0, {}, "b", 1.0),
    )
    summary = Summary(kind, started, clock.text(moment + datetime.timedelta(seconds=12)), 12.5, parts)
    name = f"{moment:%Y%m%dT%H%M%SZ}-1f0c9a"
    return Entry(name, summary, "manifest", {"main": "a", "uploads": "b"}, proofs=proofs, **more)


def proof(finished: str, whole: bool = True) -> dict[str, Any]:
    return {"finished": finished, "whole": whole}


def told(*entries: Entry, errors: tuple[str, ...] = ()) -> tuple[Any, Metrics]:
    known = Catalogue(APP, tuple(sorted(entries, key=lambda one: one.id, reverse=True)))
    collected = facts.collect(known, NOW, {**REPOSITORY, "errors": list(errors)})
    return collected, parsed(facts.prometheus(collected))


def test_without_a_backup_there_is_still_a_count() -> None:
    collected, metrics = told()
    assert collected["last_backup"] is None and collected["last_proof"] is None
    assert metric(metrics, "count") == 0
    assert metric(metrics, "last_timestamp_seconds") is None
    assert metric(metrics, "facts_timestamp_seconds") == NOW.timestamp()


def test_the_newest_backup_is_told() -> None:
    collected, metrics = told(entry("2026-11-23T22:00:00Z"), entry("2026-11-22T22:00:00Z"))
    assert collected["last_backup"]["id"] == "20261123T220000Z-1f0c9a"
    assert metric(metrics, "last_timestamp_seconds") == clock.from_text("2026-11-23T22:00:00Z").timestamp()
    assert metric(metrics, "last_age_seconds") == 7200
    assert metric(metrics, "last_size_bytes") == 1050
    assert metric(metrics, "last_stored_bytes") == 320
    assert metric(metrics, "last_duration_seconds") == 12.5
    assert metric(metrics, "datastore_size_bytes", datastore="uploads", engine="files") == 50
    assert metric(metrics, "count") == 2


def test_neither_a_safety_copy_nor_half_a_backup_is_the_newest() -> None:
    half = entry("2026-11-23T23:30:00Z", missing=("uploads",))
    collected, metrics = told(entry("2026-11-23T23:00:00Z", "safety"), half, entry("2026-11-22T22:00:00Z"))
    assert collected["last_backup"]["started"] == "2026-11-22T22:00:00Z"
    assert (metric(metrics, "count"), metric(metrics, "incomplete")) == (3, 1)


def test_the_last_proof_may_be_of_an_older_backup() -> None:
    newer = entry("2026-11-23T22:00:00Z", proofs=(proof("2026-11-23T22:10:00Z"),))
    older = entry("2026-11-20T22:00:00Z", proofs=(proof("2026-11-23T23:00:00Z"), proof("2026-11-20T23:00:00Z")))
    partial = entry("2026-11-23T23:30:00Z", proofs=(proof("2026-11-23T23:40:00Z", whole=False),))
    collected, metrics = told(newer, older, partial)
    assert collected["last_proof"]["backup"] == older.id
    assert metric(metrics, "last_proof_age_seconds") == 3600
    assert metric(metrics, "last_proof_timestamp_seconds") == clock.from_text("2026-11-23T23:00:00Z").timestamp()
    assert metric(metrics, "proven_timestamp_seconds") == newer.started.timestamp()
    assert collected["last_backup"]["proven"] is False


def test_errors_and_holds_are_counted() -> None:
    _collected, metrics = told(entry("2026-11-23T22:00:00Z", holds={"x": "release 42"}), errors=("one", "two"))
    assert (metric(metrics, "held"), metric(metrics, "repository_errors")) == (1, 2)


def test_labels_are_escaped() -> None:
    value = 'a "name" with \\ and\na line'
    collected, _metrics = told()
    metrics = parsed(facts.prometheus({**collected, "instance": value}))
    assert metrics["day2_backup_count", (("app", "booking"), ("instance", value))] == 0


def test_a_file_is_written_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "day2.prom"
    facts.write(path, "one\n", 0o644)
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o640)
    before = path.stat().st_ino
    facts.write(path, "two\n", 0o644)
    assert path.read_text() == "two\n" and path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != before, "it was written over in place"
    assert os.listdir(tmp_path) == ["day2.prom"]


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    assert facts.checked(None, "json_file") is None
    with pytest.raises(Refused, match="json_file: there is no directory"):
        facts.checked(str(tmp_path / "absent" / "x.json"), "json_file")
    with pytest.raises(Refused, match="is a directory"):
        facts.checked(str(tmp_path), "json_file")


def test_the_second_repository_is_told_of_and_one_that_cannot_be_read_too() -> None:
    copy = {
        "location": "s3:x",
        "message": "",
        "status": "read",
        "newest": "2026-11-23T00:00:00Z",
        "backups": ["b"],
        "missing": ["a", "c"],
    }
    found = parsed(facts.prometheus(facts.collect(Catalogue(APP, (), (), {}), NOW, REPOSITORY, copy)))
    assert metric(found, "copy_readable") == 1
    assert metric(found, "copy_missing") == 2
    assert metric(found, "copy_last_timestamp_seconds") == NOW.timestamp() - 86400
    gone = {**copy, "status": "failed", "message": "down", "newest": "", "backups": [], "missing": []}
    found = parsed(facts.prometheus(facts.collect(Catalogue(APP, (), (), {}), NOW, REPOSITORY, gone)))
    assert metric(found, "copy_readable") == 0
    assert metric(found, "copy_missing") is None and metric(found, "copy_last_timestamp_seconds") is None
    assert (
        metric(parsed(facts.prometheus(facts.collect(Catalogue(APP, (), (), {}), NOW, REPOSITORY))), "copy_readable")
        is None
    )
