# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Env files among restored configuration: a variable that the live file has keeps its live value.

Otherwise a restore would bring back a password that was rotated since, and lock the application out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .._core.errors import Refused
from .._platform import dotenv
from . import files_tree as tree

_ENV_FILE = re.compile(r"(^|.*[^/])\.env$|^\.env\..+$")


def is_env_file(name: str) -> bool:
    """`.env`, `NAME.env` and `.env.NAME`."""
    return bool(_ENV_FILE.match(name))


def merge(trees: Iterable[tuple[str, str]]) -> list[str]:
    """Merge each env file of the staged trees with its live counterpart, in the staged copy.

    `trees`: pairs of a staged path and the live one. Returns the live files whose values were kept.
    """
    merged = []
    for staged, live in trees:
        for path, _status in tree.walk(staged):
            counterpart = live + path[len(staged) :]
            both = os.path.isfile(path) and not os.path.islink(path) and os.path.isfile(counterpart)
            if both and is_env_file(os.path.basename(path)) and _merge_one(Path(path), Path(counterpart)):
                merged.append(counterpart)
    return merged


def _merge_one(staged: Path, live: Path) -> bool:
    """In place, so that owner, mode and attributes stay; whether anything of the live file was kept."""
    before = _text(staged)
    after = dotenv.merge(_text(live), before)
    if after == before:
        return False
    times = staged.stat()
    with open(staged, "r+", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.truncate(0)
        stream.write(after)
        stream.flush()
        os.fsync(stream.fileno())
    os.utime(staged, ns=(times.st_atime_ns, times.st_mtime_ns))
    return True


def _text(path: Path) -> str:
    if path.stat().st_size > 1 << 20:
        raise Refused(f"{path.name} is too large for an env file", hint="Restore it with configuration: replace.")
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()
