# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest and its summary survive being stored, and refuse what they do not understand."""

from __future__ import annotations

import dataclasses
import json

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Mismatch, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._store import manifest as manifests

PART = Part(
    datastore="main",
    engine="mariadb",
    flavour="mariadb",
    content="data",
    format="sql",
    filename="main.sql",
    snapshot="0123abcd",
    bytes=10,
    sha256="ab" * 32,
    fingerprint=Fingerprint(
        tables={"a": TableFingerprint(3), "b, c": TableFingerprint(1, rows_max=5)}, objects={"view": 1}, newest="2026"
    ),
    flags=("--quick",),
    facts={"accounts": [{"hash": "*SECRET"}]},
)
MANIFEST = manifests.Manifest(
    id="20261123T210455Z-1f0c9a",
    app="booking",
    instance="production",
    kind="regular",
    started="2026-11-23T21:04:55Z",
    finished="2026-11-23T21:05:00Z",
    parts=(PART,),
    release={"git_commit": "abc", "images": {"web": {"id": "sha256:1"}}},
)


def test_a_manifest_comes_back_as_it_was() -> None:
    assert manifests.Manifest.decode(MANIFEST.encode()) == MANIFEST


def test_a_summary_comes_back_as_it_was_and_fits_a_tag() -> None:
    summary = manifests.summarize(MANIFEST)
    tag = manifests.pack(summary)
    assert manifests.summary_from(tag) == summary
    assert not set(tag) & set(", =\n") - {"="}


def test_a_summary_tells_no_secret() -> None:
    assert "SECRET" not in json.dumps(dataclasses.asdict(manifests.summarize(MANIFEST)))


def test_a_newer_schema_is_refused_with_what_to_do() -> None:
    newer = dataclasses.replace(MANIFEST, schema=manifests.SCHEMA + 1)
    with pytest.raises(Refused, match=r"schema 2.*Update the collection"):
        manifests.Manifest.decode(newer.encode())
    with pytest.raises(Refused, match="schema 2"):
        manifests.summary_from(manifests.pack(dataclasses.replace(manifests.summarize(MANIFEST), schema=2)))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"not json", MANIFEST.encode()[:-20]])
def test_an_altered_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(Mismatch):
        manifests.Manifest.decode(content)


@pytest.mark.parametrize("tag", ["", "%%%", manifests.pack({"kind": "x"}), "e30="])
def test_an_altered_summary_is_refused(tag: str) -> None:
    with pytest.raises(Mismatch):
        manifests.summary_from(tag)


def test_fields_of_a_later_minor_version_are_passed_over() -> None:
    data = json.loads(MANIFEST.encode())
    data["later"] = 1
    data["parts"][0]["later"] = 2
    assert manifests.Manifest.decode(json.dumps(data).encode()) == MANIFEST
