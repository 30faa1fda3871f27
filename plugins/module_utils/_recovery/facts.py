# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a monitoring system wants to know of an application's backups: as JSON, and as Prometheus' text.

A file ages between two runs. So the metrics are times, which an alert compares with its own clock; the one
age among them is that of the moment when it was written, and there is a time that says when that was.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core import clock, io
from .._core import prometheus as prometheus_text
from .._core.errors import Refused
from .._core.model import Json
from .._store.catalogue import Catalogue, Entry

SCHEMA = 1

# Name after `day2_backup_`, key of the facts, help. What is None is left out: `absent()` finds that.
_METRICS = (
    ("last_timestamp_seconds", "timestamp", "When the newest complete backup was begun, Unix time."),
    ("last_age_seconds", "age", "Age of the newest complete backup at day2_backup_facts_timestamp_seconds."),
    ("last_duration_seconds", "seconds", "How long the newest complete backup took."),
    ("last_size_bytes", "bytes", "Bytes of all dumps and files of the newest complete backup."),
    ("last_stored_bytes", "stored", "Bytes that the newest complete backup added to the repository."),
)
_COUNTS = (
    ("count", "backups", "Backups in the repository, safety copies included."),
    ("incomplete", "incomplete", "Backups of which a part is gone from the repository."),
    ("held", "held", "Backups that are kept by a hold."),
    ("orphans", "orphans", "Snapshots that belong to no backup."),
    ("repository_errors", "errors", "Manifests that cannot be read, and what a check of the repository complained of."),
)
_PROOFS = (
    ("last_proof_timestamp_seconds", "timestamp", "When a backup was last proven to restore as a whole, Unix time."),
    ("last_proof_age_seconds", "age", "Age of that proof at day2_backup_facts_timestamp_seconds."),
    ("proven_timestamp_seconds", "backup_timestamp", "When the newest backup that is proven was begun, Unix time."),
)
_COPIES = (
    ("copy_readable", "readable", "Whether the second repository could be read (1) or not (0)."),
    (
        "copy_last_timestamp_seconds",
        "timestamp",
        "When the newest backup in the second repository was begun, Unix time.",
    ),
    ("copy_missing", "missing", "Backups that the second repository lacks, safety copies apart."),
)


def collect(known: Catalogue, now: datetime.datetime, repository: Json, copy: Optional[Json] = None) -> Json:
    """The facts of one application. `copy`: what `copying.state` says of the second repository."""
    regular = [entry for entry in known.entries if entry.kind != "safety" and entry.complete]
    return {
        "schema": SCHEMA,
        "app": known.app.name,
        "instance": known.app.instance,
        "generated": clock.text(now),
        "timestamp": _unix(now),
        "last_backup": _backup(regular[0], now) if regular else None,
        "last_proof": _proof(known.entries, now),
        "counts": {
            "backups": len(known.entries),
            "incomplete": sum(not entry.complete for entry in known.entries),
            "held": sum(bool(entry.holds) for entry in known.entries),
            "orphans": len(known.orphans),
            "errors": len(repository["errors"]),
        },
        "repository": {key: repository[key] for key in ("location", "checked", "errors")},
        "copy_repository": _copy(copy) if copy else None,
    }


def _copy(state: Json) -> Json:
    read = state["status"] == "read"
    newest = state["newest"]
    return {
        "location": state["location"],
        "readable": int(read),
        "message": state["message"],
        "backups": len(state["backups"]) if read else None,
        "missing": len(state["missing"]) if read else None,
        "newest": newest,
        "timestamp": _unix(clock.from_text(newest)) if newest else None,
    }


def _backup(entry: Entry, now: datetime.datetime) -> Json:
    summary = entry.summary
    return {
        "id": entry.id,
        "kind": entry.kind,
        "started": summary.started,
        "finished": summary.finished,
        "timestamp": _unix(entry.started),
        "age": entry.age(now),
        "seconds": summary.seconds,
        "bytes": sum(part.bytes for part in summary.parts),
        "stored": sum(part.stored for part in summary.parts),
        "proven": entry.proven,
        "datastores": {
            part.datastore: {"engine": part.engine, "bytes": part.bytes, "stored": part.stored, "rows": part.rows}
            for part in summary.parts
        },
    }


def _proof(entries: Sequence[Entry], now: datetime.datetime) -> Optional[Json]:
    """The last proof of a whole backup. It may be of another one than the newest that is proven."""
    proofs = [(str(proof["finished"]), entry) for entry in entries for proof in entry.proofs if proof.get("whole")]
    if not proofs:
        return None
    finished, entry = max(proofs, key=lambda one: (one[0], one[1].id))
    moment = clock.from_text(finished)
    return {
        "backup": entry.id,
        "finished": finished,
        "timestamp": _unix(moment),
        "age": int((now - moment).total_seconds()),
        "backup_timestamp": max(_unix(one.started) for one in entries if one.proven),
    }


def prometheus(facts: Json) -> str:
    """The same in Prometheus' text format, for the textfile collector of node_exporter for instance."""
    return "".join(f"{line}\n" for line in _lines(facts))


def _lines(facts: Json) -> Iterator[str]:
    labels = {"app": facts["app"], "instance": facts["instance"]}
    yield from _metric("facts_timestamp_seconds", "When this was written, Unix time.", [(labels, facts["timestamp"])])
    for metrics, group in (
        (_METRICS, "last_backup"),
        (_PROOFS, "last_proof"),
        (_COUNTS, "counts"),
        (_COPIES, "copy_repository"),
    ):
        for name, key, text in metrics:
            if facts[group] is not None and facts[group][key] is not None:
                yield from _metric(name, text, [(labels, facts[group][key])])
    if facts["last_backup"] is not None:
        stores = facts["last_backup"]["datastores"]
        sizes = [({**labels, "datastore": name, "engine": one["engine"]}, one["bytes"]) for name, one in stores.items()]
        yield from _metric("datastore_size_bytes", "Bytes of a datastore in the newest complete backup.", sizes)


def _metric(name: str, text: str, samples: Sequence[tuple[Mapping[str, str], Any]]) -> Iterator[str]:
    return prometheus_text.gauge(f"day2_backup_{name}", text, samples)


def _unix(moment: datetime.datetime) -> int:
    return int(moment.timestamp())


def checked(path: Optional[str], option: str) -> Optional[Path]:
    """The file to write, refused while nothing was asked yet when it cannot be written."""
    if not path:
        return None
    if not Path(path).parent.is_dir():
        raise Refused(f"{option}: there is no directory {Path(path).parent}", hint="Make it, with the owner it needs.")
    if Path(path).is_dir():
        raise Refused(f"{option}: {path} is a directory")
    return Path(path)


def write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all. A file that is there keeps its mode and owner."""
    owner = None
    if path.exists():
        status = path.stat()
        mode, owner = status.st_mode & 0o777, (status.st_uid, status.st_gid)
    with io.friendly_os_errors(f"writing {path}"):
        io.write_atomic(path, text.encode(), mode, owner)
