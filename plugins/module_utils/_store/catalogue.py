# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The catalogue: what backups there are, made from one listing of the repository."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Optional

from .._core import clock, io
from .._core.context import Context
from .._core.errors import Busy, Mismatch, OpsError, Refused, Unavailable
from .._core.model import App, Json
from . import manifest as manifests
from .manifest import Manifest, Summary
from .restic import Restic, Snapshot

ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{6}$")
CHOICES = ("latest", "latest_verified")
SKEW = datetime.timedelta(minutes=10)  # that the clocks of machines with one repository may differ


@dataclasses.dataclass(frozen=True)
class Entry:
    """One backup. `missing` names the datastores whose data the repository no longer has."""

    id: str
    summary: Summary
    snapshot: str  # of the manifest
    data: Mapping[str, str]  # snapshot ids as they are now, by datastore
    missing: tuple[str, ...] = ()
    proofs: tuple[Json, ...] = ()
    holds: Mapping[str, str] = dataclasses.field(default_factory=dict)  # reason by snapshot id
    evidence: tuple[str, ...] = ()  # snapshot ids of the proofs

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def kind(self) -> str:
        return self.summary.kind

    @property
    def started(self) -> datetime.datetime:
        return clock.from_text(self.summary.started)

    @property
    def proven(self) -> bool:
        """Whether the whole backup was restored and compared."""
        return any(proof.get("whole") for proof in self.proofs)

    @property
    def hold(self) -> str:
        return "; ".join(self.holds.values())

    @property
    def ahead(self) -> bool:
        """Whether it is from the future: its machine's clock was wrong then, or this one's is now."""
        return self.started > clock.now() + SKEW

    def age(self, now: datetime.datetime) -> int:
        return int((now - self.started).total_seconds())


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All backups of one application and instance, newest first; and what belongs to none."""

    app: App
    entries: tuple[Entry, ...]
    orphans: tuple[Snapshot, ...] = ()
    damaged: Mapping[str, OpsError] = dataclasses.field(default_factory=dict)  # why a manifest is not understood

    def find(self, backup: str) -> Entry:
        """A complete backup by its id."""
        if backup in self.damaged:
            why = self.damaged[backup]
            raise Refused(f"backup {backup} cannot be used: {why.what}", hint=why.hint)
        entry = next((entry for entry in self.entries if entry.id == backup), None)
        if entry is None:
            raise Refused(
                f"there is no backup {backup} of {self.app.key}",
                hint=f"The newest are {', '.join(e.id for e in self.entries[:3])}."
                if self.entries
                else "There is none at all.",
            )
        if not entry.complete:
            raise Refused(
                f"backup {backup} is not complete: the data of {', '.join(entry.missing)} are gone from the repository",
                hint="Choose another one.",
            )
        return entry

    def __contains__(self, backup: object) -> bool:
        return backup in self.damaged or any(entry.id == backup for entry in self.entries)

    def unreadable(self) -> list[str]:
        """A sentence for each manifest that cannot be understood."""
        return [f"backup {backup} is passed over: {why.what}" for backup, why in sorted(self.damaged.items())]

    def passed_over(self, backup: str) -> list[str]:
        """A sentence for each backup that a choice leaves out."""
        ahead = [entry.id for entry in self.entries if entry.ahead] if backup in CHOICES else []
        return self.unreadable() + [
            f"backup {one} is passed over: it is from the future by this machine's clock ({clock.text(clock.now())})"
            for one in ahead
        ]

    def choose(self, backup: str, before: Optional[datetime.datetime] = None) -> Entry:
        """A backup by id, `latest` or `latest_verified`; or the newest one begun before a time.
        Safety copies, and what is from the future, are chosen by their id only."""
        if backup not in CHOICES and before is None:
            return self.find(backup)
        candidates = [entry for entry in self.entries if entry.kind != "safety" and entry.complete and not entry.ahead]
        if before is not None:
            candidates = [entry for entry in candidates if entry.started < before]
        if backup == "latest_verified":
            candidates = [entry for entry in candidates if entry.proven]
        if candidates:
            return candidates[0]
        wanted = "proven backup" if backup == "latest_verified" else "complete backup"
        limit = f" begun before {clock.text(before)}" if before else ""
        raise Refused(f"there is no {wanted} of {self.app.key}{limit}", hint=self._what_is_there())

    def _what_is_there(self) -> str:
        if not self.entries:
            return "The repository holds no backup of it. Check app, instance and repository.location."
        ahead = sum(entry.ahead for entry in self.entries)
        if ahead:
            return f"{ahead} are from the future by this machine's clock ({clock.text(clock.now())}). Check it, or name one by its id."
        return f"There are {len(self.entries)} backups from {self.entries[-1].summary.started} to {self.entries[0].summary.started}."


def read(restic: Restic, app: App, lock: bool = True) -> Catalogue:
    """List an application's backups: one restic call. When that fails, the repository is asked why."""
    return build(app, snapshots(restic, app, lock))


def snapshots(restic: Restic, app: App, lock: bool = True) -> list[Snapshot]:
    """Everything of an application that the repository holds."""
    try:
        return restic.snapshots(["day2", f"app={app.name}", f"instance={app.instance}"], lock)
    except (Busy, Unavailable):
        raise
    except OpsError:
        restic.config()
        raise


def build(app: App, snapshots: Sequence[Snapshot]) -> Catalogue:
    """The catalogue of a listing. Pure."""
    by_backup: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        by_backup.setdefault(snapshot.tag("backup"), []).append(snapshot)
    entries, orphans, damaged = [], [], {}
    for backup, group in by_backup.items():
        roles: dict[str, list[Snapshot]] = {}
        for snapshot in group:
            roles.setdefault(snapshot.tag("role"), []).append(snapshot)
        if not ID.match(backup) or "manifest" not in roles:
            orphans += group
            continue
        try:
            entries.append(_entry(backup, roles))
        except OpsError as error:
            damaged[backup] = error
    entries.sort(key=lambda entry: entry.id, reverse=True)
    return Catalogue(app, tuple(entries), tuple(orphans), damaged)


def _entry(backup: str, roles: Mapping[str, Sequence[Snapshot]]) -> Entry:
    manifest = roles["manifest"][-1]
    summary = manifests.summary_from(manifest.tag("summary"))
    data: dict[str, str] = {}
    for part in summary.parts:
        for snapshot in roles.get("data", ()):
            if snapshot.tag("datastore") == part.datastore and snapshot.is_called(part.snapshot):
                data[part.datastore] = snapshot.id
    proofs = []
    for snapshot in roles.get("proof", ()):
        with contextlib.suppress(Mismatch):
            proofs.append(manifests.unpack(snapshot.tag("summary")))
    holds = {}
    for snapshot in roles.get("hold", ()):
        with contextlib.suppress(Mismatch):
            holds[snapshot.id] = str(manifests.unpack(snapshot.tag("summary")).get("reason", ""))
    return Entry(
        id=backup,
        summary=summary,
        snapshot=manifest.id,
        data=data,
        missing=tuple(part.datastore for part in summary.parts if part.datastore not in data),
        proofs=tuple(proofs),
        holds=holds,
        evidence=tuple(snapshot.id for snapshot in roles.get("proof", ())),
    )


def manifest_of(restic: Restic, entry: Entry, context: Context) -> Manifest:
    """The whole manifest of a backup, kept in a private cache by its snapshot's id."""
    cached = context.home / "manifests" / f"{entry.snapshot}.json"
    try:
        content = cached.read_bytes()
    except OSError:
        content = restic.read(entry.snapshot, manifests.FILENAME)
        if not context.check_mode:
            with contextlib.suppress(OSError, Unavailable):  # it is only asked for again
                io.private_directory(cached.parent)
                io.write_atomic(cached, content)
    manifest = Manifest.decode(content)
    app = App(manifest.app, manifest.instance)
    if manifest.id != entry.id:
        raise Mismatch(f"the manifest of backup {entry.id} says that it is {manifest.id}", hint="Use another backup.")
    # A copied repository has new snapshot ids; the catalogue knows them.
    parts = tuple(dataclasses.replace(part, snapshot=entry.data[part.datastore]) for part in manifest.parts)
    return dataclasses.replace(manifest, parts=parts, app=app.name, instance=app.instance)


def public(entry: Entry, now: datetime.datetime) -> Json:
    """A backup as results show it."""
    summary = entry.summary
    proof = max(entry.proofs, key=lambda one: str(one.get("finished", "")), default={})
    return {
        "id": entry.id,
        "kind": summary.kind,
        "started": summary.started,
        "finished": summary.finished,
        "seconds": summary.seconds,
        "age": entry.age(now),
        "bytes": sum(part.bytes for part in summary.parts),
        "stored": sum(part.stored for part in summary.parts),
        "hold": entry.hold,
        "complete": entry.complete,
        "missing": list(entry.missing),
        "schema_revision": summary.schema_revision,
        "release": {"git_commit": summary.git_commit, "images": dict(summary.images)},
        "proof": proof,
        "datastores": [
            {
                "name": part.datastore,
                "engine": part.engine,
                "content": part.content,
                "bytes": part.bytes,
                "stored": part.stored,
                "rows": part.rows,
                "tables": part.tables,
                "objects": dict(part.objects),
                "newest": part.newest,
                "snapshot": entry.data.get(part.datastore, part.snapshot)[:8],
                "seconds": part.seconds,
            }
            for part in summary.parts
        ],
    }
