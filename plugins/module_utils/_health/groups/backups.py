# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The backups: how old the newest is, whether it is as large as the others, when one was proven, and the copy."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterator, Sequence
from typing import Optional

from ..._core import clock
from ..._core.errors import OpsError, Unavailable
from ..._core.sizes import readable
from ..._store import catalogue
from ..._store.catalogue import Entry
from ..._store.restic import Restic
from .. import thresholds
from ..model import CRIT, OK, WARN, Finding
from ..probe import Group, Options, Probe

_OTHERS = 10  # backups before the newest, whose median its size is compared with


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    scene = probe.scene
    if scene.restic is None:
        raise Unavailable("no repository is given", hint="Give repository.")
    try:
        known = catalogue.read(scene.restic, scene.context.app, lock=False)
    except OpsError as error:
        yield Finding(CRIT, f"the repository cannot be read: {error.what}")
        return
    found = [entry for entry in known.entries if entry.kind != "safety" and entry.complete and not entry.ahead]
    yield from judged(options, found, clock.now())
    broken = [entry.id for entry in known.entries if not entry.complete] + sorted(known.damaged)
    if broken:
        text = f"{len(broken)} backups are not whole: {', '.join(broken[:3])}"
        yield Finding(WARN, text, len(broken), part="incomplete")
    if scene.copy is not None and found:
        yield _copied(scene.copy, probe, found[0])


def judged(options: Options, found: Sequence[Entry], now: datetime.datetime) -> Iterator[Finding]:
    """Of complete backups, the newest first. Pure."""
    if not found:
        yield Finding(CRIT, "there is no complete backup")
        return
    newest = found[0]
    text = f"the newest backup is {_hours(newest.age(now))} old ({newest.id})"
    yield _aged(options, "age", newest.age(now), text, "")
    yield from _size(options, found)
    proven = max((_moment(proof) for entry in found for proof in entry.proofs if proof.get("whole")), default=None)
    yield _proven(options, proven, now)


def _aged(options: Options, name: str, age: int, text: str, part: str) -> Finding:
    warn, crit = (_seconds(options[f"{name}_{limit}"], f"{name}_{limit}") for limit in ("warn", "crit"))
    return thresholds.above(age, warn, crit, text, unit="s", part=part)


def _seconds(text: Optional[str], option: str) -> Optional[float]:
    return clock.duration(text, option).total_seconds() if text else None


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def _size(options: Options, found: Sequence[Entry]) -> Iterator[Finding]:
    """Of those that hold the same datastores: half of the median is a dump that lost something."""
    newest = found[0]
    sizes = [_bytes(entry) for entry in found[1:] if set(entry.data) == set(newest.data)][:_OTHERS]
    if len(sizes) < 3:
        return
    median, own = statistics.median(sizes), _bytes(newest)
    if not median:
        return
    share = 100 * own / median
    text = f"the newest backup has {readable(own)}, {share:.0f} % of the median of the {len(sizes)} before it"
    warn, crit = options["size_warn"], options["size_crit"]
    yield thresholds.below(round(share, 1), warn, crit, text, unit="%", part="size")


def _bytes(entry: Entry) -> int:
    return sum(part.bytes for part in entry.summary.parts)


def _moment(proof: dict[str, object]) -> datetime.datetime:
    return clock.from_text(str(proof["finished"]))


def _proven(options: Options, proven: Optional[datetime.datetime], now: datetime.datetime) -> Finding:
    if proven is None:
        return Finding(WARN, "no backup was ever proven to restore (day2.ops.verify)", part="proof")
    age = int((now - proven).total_seconds())
    return _aged(options, "proof", age, f"a backup was last proven to restore {_hours(age)} ago", "proof")


def _copied(copy: Restic, probe: Probe, newest: Entry) -> Finding:
    try:
        there = catalogue.read(copy, probe.scene.context.app, lock=False)
    except OpsError as error:
        return Finding(WARN, f"the second repository cannot be read: {error.what}", part="copy")
    if any(entry.id == newest.id and entry.complete for entry in there.entries):
        return Finding(OK, f"the second repository holds {newest.id} too", part="copy")
    return Finding(WARN, f"the second repository lacks the newest backup, {newest.id}", part="copy")


GROUP = Group(
    "backups",
    {
        "age_warn": {"type": "str", "default": "26h"},
        "age_crit": {"type": "str", "default": "50h"},
        "size_warn": {"type": "float", "default": 50.0},
        "size_crit": {"type": "float"},
        "proof_warn": {"type": "str", "default": "8d"},
        "proof_crit": {"type": "str", "default": "35d"},
    },
    look,
)
