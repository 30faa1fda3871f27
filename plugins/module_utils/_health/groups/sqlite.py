# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A SQLite file: is it there, sound, writable, and does its log grow. A file that is missing is not made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..._core.errors import Busy, Mismatch, OpsError, Unavailable
from ..._core.sizes import readable
from ..._engines.sqlite import SQLite
from ..._engines.sqlite_file import check_exists, opened, opened_live, pragma
from .. import servers, thresholds
from ..model import CRIT, OK, SKIPPED, WARN, Finding
from ..probe import Group, Options, Probe

_WAIT = 2.0  # seconds for a lock


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    engine = servers.engine_of(options, probe, SQLite)
    try:
        path = engine.path
        check_exists(path)
        yield from _sound(options, path)
        if options["write"]:
            yield _write(path)
    except (Unavailable, Mismatch, Busy) as error:
        yield Finding(CRIT, error.what)
        return
    yield from _log(options, path)


def _sound(options: Options, path: Path) -> Iterator[Finding]:
    size = path.stat().st_size
    with opened_live(path, wait=_WAIT) as live:
        mode = str(pragma(live, "journal_mode"))
        if size <= options["check_limit"] << 20:
            said = str(pragma(live, "quick_check(1)"))
            if said != "ok":
                yield Finding(CRIT, f"{path} is damaged: {said}")
                return
            yield Finding(OK, f"{path} is sound ({readable(size)}, journal mode {mode})", size, "B")
        else:
            text = f"{path} can be read ({readable(size)}, journal mode {mode}); over check_limit, so not checked whole"
            yield Finding(OK, text, size, "B")


def _write(path: Path) -> Finding:
    """Takes the lock that a writer needs and gives it back: nothing is written."""
    if not os.access(path, os.W_OK):
        return Finding(SKIPPED, "this user may not write to it, so no write was tried", part="write")
    try:
        with opened(path, "rw", wait=_WAIT) as live:
            live.execute("BEGIN IMMEDIATE")
            live.execute("ROLLBACK")
    except Busy as error:
        return Finding(WARN, error.what, part="write")
    except OpsError as error:
        return Finding(CRIT, error.what, part="write")
    return Finding(OK, "a write transaction can begin", part="write")


def _log(options: Options, path: Path) -> Iterator[Finding]:
    try:
        size = path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return
    text = f"the write-ahead log has {readable(size)}"
    yield thresholds.above(size, options["wal_warn"] << 20, options["wal_crit"] << 20, text, unit="B", part="wal")


GROUP = Group(
    "sqlite",
    {
        **servers.STORE,
        "write": {"type": "bool", "default": True},
        "check_limit": {"type": "int", "default": 256},
        "wal_warn": {"type": "int", "default": 64},
        "wal_crit": {"type": "int", "default": 1024},
    },
    look,
)
