# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The manifest: the one file that makes stored data a backup, and its summary in a tag.

Data snapshots are not a backup until a manifest names them. The manifest is written last; its summary
travels in a tag of its snapshot (`summary=` and base64url of compact JSON, because restic splits tags
at commas), so that one listing shows all backups.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Optional

from .._core import clock, shape
from .._core.errors import Mismatch, Refused
from .._core.model import App, Json, Part

SCHEMA = 1
FILENAME = "manifest.json"
ALTERED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what reading altered JSON raises
KINDS = ("regular", "pre_deploy", "pre_migrate", "safety")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything that is known of one backup. Times are UTC, sizes bytes."""

    id: str
    app: str
    instance: str
    kind: str
    started: str
    finished: str
    parts: tuple[Part, ...]
    seconds: float = 0.0
    hold: str = ""
    excluded: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    release: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # git_commit, images by service
    data_keys: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)  # salt, fingerprint by name
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # restic, collection, python
    machine: str = ""
    job: str = ""
    user: str = ""
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA

    def part(self, datastore: str) -> Part:
        for part in self.parts:
            if part.datastore == datastore:
                return part
        names = ", ".join(part.datastore for part in self.parts)
        raise Refused(f'backup {self.id} has no datastore "{datastore}"', hint=f"It holds {names}.")

    @property
    def schema_revision(self) -> str:
        return next((part.schema_revision for part in self.parts if part.schema_revision), "")

    def encode(self) -> bytes:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        data["parts"] = [part.to_json() for part in self.parts]
        data["warnings"] = list(self.warnings)
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> Manifest:
        try:
            data = json.loads(content)
            _check_schema(data, "the manifest")
            parts = tuple(Part.from_json(part) for part in data["parts"])
            return shape.read(cls, {**data, "parts": parts, "warnings": tuple(data.get("warnings", ()))})
        except ALTERED:
            raise Mismatch(
                "a manifest cannot be read", hint="The repository was altered; use another backup."
            ) from None


def _check_schema(data: Json, what: str) -> None:
    schema = data["schema"]
    if schema > SCHEMA:
        raise Refused(
            f"{what} has schema {schema}; this version of day2.ops reads up to {SCHEMA}",
            hint="Update the collection on the controller.",
        )


@dataclasses.dataclass(frozen=True)
class PartSummary:
    """What a listing says of one part."""

    datastore: str
    engine: str
    content: str
    bytes: int
    stored: int
    rows: int
    tables: int
    objects: Mapping[str, int]
    snapshot: str
    seconds: float
    newest: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """A manifest in short."""

    kind: str
    started: str
    finished: str
    seconds: float
    parts: tuple[PartSummary, ...]
    schema_revision: str = ""
    git_commit: str = ""
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    schema: int = SCHEMA


def summarize(manifest: Manifest) -> Summary:
    return Summary(
        kind=manifest.kind,
        started=manifest.started,
        finished=manifest.finished,
        seconds=manifest.seconds,
        parts=tuple(
            PartSummary(
                datastore=part.datastore,
                engine=part.engine,
                content=part.content,
                bytes=part.bytes,
                stored=part.stored,
                rows=part.fingerprint.rows,
                tables=len(part.fingerprint.tables),
                objects=part.fingerprint.objects,
                snapshot=part.snapshot,
                seconds=part.seconds,
                newest=part.fingerprint.newest,
            )
            for part in manifest.parts
        ),
        schema_revision=manifest.schema_revision,
        git_commit=str(manifest.release.get("git_commit") or ""),
        images={
            service: str(image.get("id", "") if isinstance(image, Mapping) else image)
            for service, image in (manifest.release.get("images") or {}).items()
        },
    )


def pack(data: Any) -> str:
    """JSON that survives being a restic tag."""
    content = dataclasses.asdict(data) if dataclasses.is_dataclass(data) and not isinstance(data, type) else data
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()


def unpack(tag: str) -> Json:
    """The content of a tag that `pack` made; `Mismatch` for anything else."""
    try:
        data = json.loads(base64.b64decode(tag.encode(), altchars=b"-_", validate=True))
    except ALTERED:
        raise Mismatch("a summary tag cannot be read") from None
    if not isinstance(data, dict):
        raise Mismatch("a summary tag cannot be read")
    return data


def summary_from(tag: str) -> Summary:
    data = unpack(tag)
    try:
        _check_schema(data, "a manifest")
        clock.from_text(data["started"])
        parts = tuple(shape.read(PartSummary, part) for part in data["parts"])
        return shape.read(Summary, {**data, "parts": parts})
    except ALTERED:
        raise Mismatch("a summary tag cannot be read") from None


def tags(app: App, role: str, backup: str, *more: str) -> list[str]:
    """The tags of a snapshot. `role`: data, manifest, proof or hold."""
    return ["day2", f"app={app.name}", f"instance={app.instance}", f"role={role}", f"backup={backup}", *more]
