# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo from its first line to its last."""

from __future__ import annotations

import secrets
import time

from . import damage, playbooks, report, sample_app, state, tools
from .console import DemoError, amount, bold, say, size, step
from .layout import CHECKOUT, Layout, readable


def run(layout: Layout, *, restore: bool = True) -> int:
    """0 when everything is back; a `DemoError` says what is not."""
    started = time.monotonic()
    layout.prepare()
    with layout.lock():
        layout.reset()
        layout.prepare()
        say()
        say(bold("day2.ops: an application is backed up, proven, damaged and restored"))
        say(f"Everything happens below {readable(layout.base)}; nothing on this system is changed.")
        say()
        _tools(layout)
        before, wal_rows = _deploy(layout)
        _back_up(layout, before)
        deeds, damaged = _damage(layout, before)
        after = _restore(layout) if restore else damaged
        stored = _stored(layout)
        seconds = time.monotonic() - started
        report.show(layout, report.Story(before, damaged, after, deeds, wal_rows, seconds), stored)
    return 0


def _tools(layout: Layout) -> None:
    with step("tools") as line:
        found = tools.ensure(layout)
        line.note = f"{found}{'' if found.made else ' (there already)'}"


def _deploy(layout: Layout) -> tuple[state.State, int]:
    with step("deploy") as line:
        sample_app.deploy(layout)
        layout.password.touch(mode=0o600)
        layout.password.write_text(secrets.token_urlsafe(24) + "\n")
        before = state.take(layout.database, layout.uploads)
        before.save(layout.before)
        wal_rows = before.tables["bookings"][0] - sample_app.rows_without_wal(layout.database)
        line.note = (
            f"a booking application: {amount(before.rows, 'row')} in {amount(len(before.own_tables), 'table')}, "
            f"{amount(before.file_count, 'upload')}"
        )
        wal = size(sample_app.wal_bytes(layout.database))
        line.more.append(f"SQLite in WAL mode: {amount(wal_rows, 'booking')} are only in the WAL yet ({wal})")
    return before, wal_rows


def _back_up(layout: Layout, before: state.State) -> None:
    with step("prepare") as line:
        playbooks.run(layout, "day2.ops.prepare")
        line.note = "day2.ops.prepare: directories, an encrypted repository"
    with step("backup") as line:
        playbooks.run(layout, "day2.ops.backup")
        line.note = "day2.ops.backup: database and uploads under one id"
    with step("verify") as line:
        playbooks.run(layout, "day2.ops.verify")
        line.note = "day2.ops.verify: restored into scratch and compared, proof recorded"
    lines = state.differences(before, state.take(layout.database, layout.uploads))
    if lines:
        raise DemoError("\n  ".join(["the backup changed the application:", *lines]))


def _damage(layout: Layout, before: state.State) -> tuple[list[str], state.State]:
    with step("damage") as line:
        deeds = damage.do(layout)
        damaged = state.take(layout.database, layout.uploads)
        found = state.differences(before, damaged)
        if not found:
            raise DemoError("the comparison did not see the damage, so it could prove nothing.")
        line.note = f"a table dropped, rows garbled, uploads deleted: {amount(len(found), 'difference')} seen"
    return deeds, damaged


def _restore(layout: Layout) -> state.State:
    with step("restore") as line:
        playbooks.run(layout, "day2.ops.restore", {"restore_backup": "latest_verified", "restore_replace": "true"})
        line.note = "day2.ops.restore: staged, compared, safety copy, swapped"
    with step("compare") as line:
        after = state.take(layout.database, layout.uploads)
        line.note = "every row and every file, by a program of the demo's own"
    return after


def _stored(layout: Layout) -> report.Stored:
    with step("list") as line:
        playbooks.run(layout, str(CHECKOUT / "demo" / "report.yml"), {"demo_report_file": str(layout.facts)})
        line.note = "day2.ops.backup_info: what the repository holds now"
    return report.Stored.load(layout.facts)
