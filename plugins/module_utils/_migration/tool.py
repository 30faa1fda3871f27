# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A migration tool as this collection sees it, whatever it is: what it knows, and what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Protocol

from .._core.model import Json


@dataclasses.dataclass(frozen=True)
class Step:
    """One revision that would be run. `calls`: what its code would drop or rename. `outside`: something of it may
    run outside of a transaction."""

    revision: str
    message: str = ""
    down: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    empty_downgrade: bool = False
    outside: bool = True

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        return cls(
            data["revision"],
            data["message"],
            tuple(data["down"]),
            tuple(data["calls"]),
            data["empty_downgrade"],
            data["outside"],
        )


@dataclasses.dataclass(frozen=True)
class Look:
    """The database as the tool finds it, and what a migration to the target would run.

    `database`: what the tool's own connection says of itself, {} where it cannot be asked. `since`: revisions between
    those asked for and the current ones, that others have run.
    """

    current: tuple[str, ...]
    heads: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    direction: str = "upgrade"
    target: tuple[str, ...] = ()
    several_heads: bool = False
    version_table: str = "alembic_version"
    database: Json = dataclasses.field(default_factory=dict)
    since: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rendered:
    """The SQL of one revision; `reason`: why it is not complete."""

    revision: str
    sql: str
    complete: bool = True
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Failed:
    """A revision that failed. `statements`: what it ran, definitions in full; the last one is the one that failed."""

    revision: str
    error: str
    statements: tuple[str, ...] = ()
    trace: str = ""


@dataclasses.dataclass(frozen=True)
class Applied:
    """`definitions`: the statements by which it changed the schema; None where they are not known."""

    revision: str
    seconds: float
    heads: tuple[str, ...]
    definitions: Optional[tuple[str, ...]] = None


class Events(Protocol):
    """What is called while a migration runs; an error raised in `before` ends it there, with nothing begun."""

    def before(self, step: Step, heads: Sequence[str]) -> None: ...

    def after(self, applied: Applied) -> None: ...


class NotConnected(Exception):
    """The tool could not connect, and nothing was run: it may be tried again."""


class Tool(Protocol):
    name: str
    version: str

    def start(self) -> None:
        """Start it, once, and do not wait for it."""

    def open(self) -> None:
        """Wait until it can be asked."""

    def look(self, target: str, proof: int, since: Sequence[str], closely: bool = False) -> Look:
        """`closely`: with `calls` and `empty_downgrade` of upgrades too."""

    def preview(self, steps: Sequence[Step], direction: str) -> list[Rendered]: ...

    def compare(self) -> list[str] | None:
        """Differences between the database and the application's models; None where the tool cannot tell."""

    def migrate(self, look: Look, target: str, statement_lock_timeout: int, events: Events) -> Failed | None: ...

    def owns(self, pid: str) -> bool:
        """Whether a process on this host is the tool's own."""

    def close(self) -> None:
        """End it, whatever it does."""


Ask = Callable[[Mapping[str, Any]], Json]
