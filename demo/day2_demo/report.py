# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report at the end: what was backed up, where, the proof, the damage, and that all is back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .console import DemoError, amount, bold, dim, green, red, say, size, table, title
from .layout import Layout, readable
from .state import State, differences, files_beside, rows_beside

SHOWN_DIFFERENCES = 20


@dataclasses.dataclass
class Story:
    """What the demo knows when it ends."""

    before: State
    damaged: State
    after: State
    deeds: Sequence[str]
    wal_rows: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Stored:
    """What `day2.ops.backup_info` says about the demo's repository."""

    backup: Mapping[str, Any]
    safety: Mapping[str, Any] | None

    @classmethod
    def load(cls, path: Path) -> Stored:
        backups = json.loads(path.read_text())["backups"]
        regular = [backup for backup in backups if backup["kind"] == "regular"]
        safety = [backup for backup in backups if backup["kind"] == "safety"]
        if len(regular) != 1 or not regular[0]["complete"]:
            raise DemoError(f"one complete backup was expected in the repository, {len(regular)} are listed.")
        return cls(regular[0], safety[0] if safety else None)


def show(layout: Layout, story: Story, stored: Stored) -> None:
    backed_up(layout, stored.backup)
    proof(stored.backup)
    damage(story)
    outcome(story, stored.safety)
    look_around(layout, story.seconds)


def backed_up(layout: Layout, backup: Mapping[str, Any]) -> None:
    title("What was backed up")
    table(
        [[part["name"], part["engine"], size(part["bytes"]), contents(part)] for part in backup["datastores"]],
    )
    seconds = f" in {backup['seconds']:.1f} s" if backup.get("seconds") else ""
    say(f"    as {bold(backup['id'])}{seconds}")
    say(f"    into {readable(layout.repository)} ({size(tree_bytes(layout.repository))}, deduplicated and encrypted)")


def proof(backup: Mapping[str, Any]) -> None:
    title("The proof")
    found = backup.get("proof") or {}
    if not found:
        raise DemoError(f"the backup {backup['id']} has no proof, although the playbook verify ended well.")
    seconds = f" in {found['seconds']:.1f} s" if found.get("seconds") else ""
    parts = "; ".join(f"{name}: {contents(part)}" for name, part in found["datastores"].items())
    say(f"    restored into a scratch directory and compared{seconds}")
    say(f"    {parts}")
    say(f"    recorded in the repository at {found['finished']}, the scratch is gone")


def contents(part: Mapping[str, Any]) -> str:
    """6,325 rows in 5 tables, 1 view, 1 trigger; or 42 files in 3 directories."""
    objects = dict(part.get("objects") or {})
    words = []
    if part.get("tables"):
        words.append(f"{amount(part['rows'], 'row')} in {amount(part['tables'], 'table')}")
    names = {"directory": "directories", "index": "indexes"}
    words += [
        amount(count, kind, names.get(kind, "")) for kind, count in sorted(objects.items()) if count and kind != "byte"
    ]
    return ", ".join(words)


def damage(story: Story) -> None:
    title("The damage")
    for deed in story.deeds:
        say(f"    {deed}")
    say(
        f"    by then {amount(rows_beside(story.before, story.damaged), 'row')} were lost or in damaged tables, and "
        f"{amount(files_beside(story.before, story.damaged), 'file')} lost, damaged or strange"
    )


def outcome(story: Story, safety: Mapping[str, Any] | None) -> None:
    title("After the restore")
    if not same(story.before, story.after):
        raise DemoError("the restored application is not what was backed up.")
    before = story.before
    say(
        green(
            f"    all {amount(before.rows, 'row')} of {amount(len(before.own_tables), 'table')} and "
            f"all {amount(before.file_count, 'file')} are back"
        )
    )
    say("    compared row by row and byte by byte, by a program that shares no code with the collection;")
    say("    with schema, settings, modes, owners and times of change")
    if story.wal_rows:
        say(f"    among them the {amount(story.wal_rows, 'booking')} that a copy of booking.db would have lacked")
    if safety:
        say(f"    what the restore replaced was not thrown away: safety copy {safety['id']}")


def same(before: State, now: State) -> bool:
    """Whether nothing differs; what does is shown."""
    lines = differences(before, now)
    for line in lines[:SHOWN_DIFFERENCES]:
        say(f"    {red('!')} {line}")
    if len(lines) > SHOWN_DIFFERENCES:
        say(f"    {red('!')} and {len(lines) - SHOWN_DIFFERENCES} more")
    if lines:
        say(
            red(
                f"    {amount(len(lines), 'difference')}: {amount(rows_beside(before, now), 'row')} in tables that differ, "
                f"{amount(files_beside(before, now), 'file')}"
            )
        )
    return not lines


def look_around(layout: Layout, seconds: float) -> None:
    say()
    say(f"  The whole demo took {seconds:.0f} s. It is all still there, to look around:")
    for words, why in (
        ("demo/playbook day2.ops.backup", "another backup"),
        ("demo/playbook day2.ops.restore --check --diff", "what a restore would replace"),
        (f"ls {readable(layout.application)} {readable(layout.logs)}", "the application and what Ansible said"),
        ("make demo-clean", "remove all of it"),
    ):
        say(f"    {words:<50} {dim(why)}")
    say()


def tree_bytes(directory: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _folders, names in os.walk(directory) for name in names
    )
