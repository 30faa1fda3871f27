# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The lines that an application has logged in a period: from a unit's journal, a container, or a file."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core import clock
from .._core.errors import OpsError, Unavailable
from .._core.process import Command, run
from .._platform.docker import Docker

LARGEST = 64 << 20  # bytes of a file that are read, from its end
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?")
_TIMES = ("timestamp", "time", "ts", "@timestamp", "asctime")


def of_unit(unit: str, since: datetime.datetime, timeout: float) -> list[str]:
    name = unit if "." in unit else f"{unit}.service"
    # By this field, not with -u: that has what systemd says of the unit as well.
    argv = (
        "journalctl",
        "-q",
        f"_SYSTEMD_UNIT={name}",
        "-o",
        "cat",
        "--no-pager",
        f"--since=@{int(since.timestamp())}",
    )
    try:
        return run(Command(argv), timeout=timeout).text.splitlines()
    except OpsError as error:
        raise Unavailable(f"the journal of {unit} cannot be read ({error.stderr_tail or error.what})") from None


def of_container(name: str, since: datetime.datetime) -> list[str]:
    with Docker() as docker:
        identifier = docker.find(name, stopped_too=True).id
        return docker.logs(identifier, since).splitlines()


def of_file(path: Path, since: datetime.datetime) -> list[str]:
    """A line without a time of its own belongs to the one before it. Lines of no known time count as old."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - LARGEST))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError as error:
        raise Unavailable(f"the log {path} cannot be read ({error.strerror})") from None
    return list(_younger(lines, since))


def _younger(lines: Sequence[str], since: datetime.datetime) -> Iterator[str]:
    young = False
    for line in lines:
        moment = moment_of(line)
        if moment is not None:
            young = moment >= since
        if young:
            yield line


def moment_of(line: str) -> Optional[datetime.datetime]:
    """The first time in a line: ISO 8601, in UTC where it says no offset; or a JSON field with one, or with seconds."""
    fields = fields_of(line)
    if fields is not None:
        for name in _TIMES:
            value = fields.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return datetime.datetime.fromtimestamp(value / 1000 if value > 1e11 else value, clock.UTC)
            if isinstance(value, str):
                return _iso(value)
    return _iso(line)


def _iso(text: str) -> Optional[datetime.datetime]:
    found = _STAMP.search(text)
    if not found:
        return None
    offset = found[2] or "+00:00"
    offset = "+00:00" if offset == "Z" else offset if ":" in offset else f"{offset[:3]}:{offset[3:]}"
    try:
        return datetime.datetime.fromisoformat(found[1].replace(" ", "T") + offset)
    except ValueError:
        return None


def fields_of(line: str) -> Optional[dict[str, Any]]:
    """A line of JSON as a dictionary."""
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}"):
        return None
    try:
        found = json.loads(line[start:])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
