# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Stage and verify: a backup's parts beside the live data, compared with their fingerprints.

Shared by verification and restore; nothing live is touched here.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from .._core.errors import Mismatch, Refused, at
from .._core.model import Fingerprint, Json, Part
from .._engines import registry
from .._engines.base import Engine
from .._engines.files import Files
from .._store import relay
from .._store.relay import Digest
from . import silence
from .setup import Operation


@dataclasses.dataclass(frozen=True)
class Staged:
    """One part in its scratch place, compared."""

    engine: Engine
    part: Part
    scratch: str
    fingerprint: Fingerprint
    seconds: float

    def public(self) -> Json:
        return {
            "engine": self.part.engine,
            "bytes": self.part.bytes,
            "rows": self.fingerprint.rows,
            "tables": len(self.fingerprint.tables),
            "objects": dict(self.fingerprint.objects),
            "seconds": self.seconds,
        }


def stage(operation: Operation, engine: Engine, part: Part, directory: Optional[Path] = None) -> Staged:
    """Load one part and compare it. Whatever it made is found again by its scratch name."""
    begun = time.monotonic()
    scratch = operation.context.scratch_name(engine.datastore.name, "stage")
    with at(str(engine.datastore), stage="load"):
        operation.restic.patiently(lambda: _load(operation, engine, part, scratch, directory))
    with at(str(engine.datastore), stage="compare"):
        operation.context.progress.begin("compare", str(engine.datastore))
        found = engine.staged(part, scratch)
        differences = part.fingerprint.differences(found)
        if differences:
            raise Mismatch(
                f"the restored copy is not what was backed up: {'; '.join(differences[:10])}",
                hint="Use another backup, and find out what altered this one.",
            )
    return Staged(engine, part, scratch, found, round(time.monotonic() - begun, 2))


def _load(operation: Operation, engine: Engine, part: Part, scratch: str, directory: Optional[Path]) -> None:
    operation.context.progress.begin("load", str(engine.datastore), part.bytes)
    engine.stage(part, scratch, directory)
    if isinstance(engine, Files):
        for target, include in engine.stage_targets(scratch).items():
            operation.restic.restore_paths(part.snapshot, target, include)
    else:
        expected = Digest(part.bytes, part.sha256)
        loader = engine.load(part, scratch)
        with silence.watched(engine, operation.context.progress, loader.kill):
            relay.load(operation.restic, part.snapshot, part.filename, expected, loader)


def chosen(parts: Sequence[Part], operation: Operation, only: Sequence[str]) -> list[tuple[Engine, Part]]:
    """The parts that are meant, each with its datastore's engine: databases first, then files.

    Without `only`: all with content `data`. A part that nobody describes any more is refused by name,
    rather than left out silently.
    """
    held = {part.datastore: part for part in parts}
    operation.named(list(only), "only")
    for name in only:
        if name in operation.caches:
            raise Refused(f'"{name}" is a cache, which is never backed up', hint="Leave it out of `only`.")
    absent = [name for name in only if name not in held]
    if absent:
        raise Refused(f'the backup holds no datastore "{absent[0]}"', hint=f"It holds {', '.join(held)}.")
    wanted = list(only) or [part.datastore for part in parts if part.content == "data"]
    unknown = [name for name in wanted if name not in operation.engines]
    if unknown:
        raise Refused(
            f'the backup holds the datastore "{unknown[0]}", which is not described',
            hint="Describe it in datastores, or name with `only` what is meant.",
        )
    pairs = []
    for name, engine in operation.engines.items():
        if name in wanted:
            part = held[name]
            if part.engine != engine.datastore.engine:
                _check_flavour(operation, name, part.engine, engine.datastore.engine)
            pairs.append((engine, part))
    return pairs


def _check_flavour(operation: Operation, name: str, held: str, described: str) -> None:
    """A part of another engine is refused, except a relative's when the user allows it."""
    kin = registry.KIN.get(described) == held
    if not (kin and operation.context.allow_flavour_change):
        raise Refused(
            f'the backup holds "{name}" as {held}, it is described as {described}',
            hint="allow_flavour_change allows that. Not everything is carried over: see the collection's documentation "
            "of engines."
            if kin
            else "",
        )
