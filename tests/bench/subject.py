# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark must know of an engine: how its data are made, described, and compared. One class per
engine implements it; that, and a line with its rivals in `run.py`, is all that a new engine needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Subject(Protocol):
    name: str  # for people: MariaDB 10.11 on the host

    @property
    def datastore(self) -> Mapping[str, Any]:
        """The options that describe it to the collection, without `name`."""

    @property
    def into(self) -> Mapping[str, Any]:
        """The options of a restore that goes elsewhere, without `datastore`; empty: it goes back in place."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What the bare tools need, such as a password."""

    @property
    def versions(self) -> Sequence[str]: ...

    def fill(self, directory: Path, megabytes: int) -> None:
        """Make the data anew; `directory` is for files that are needed meanwhile."""

    def change(self, day: int, scattered: bool) -> None:
        """Change one row in a hundred: in one key range, another one each day, or all over the data."""

    def clear(self) -> None:
        """Make the target of a restore empty."""

    def content(self, restored: bool) -> object:
        """What the source, or the target of a restore, holds; equal when they are."""


class Streamed(Subject, Protocol):
    """An engine with a dump tool that writes to a pipe, and a client that reads from one."""

    filename: str

    def dump(self) -> Sequence[str]: ...

    def load(self) -> Sequence[str]: ...
