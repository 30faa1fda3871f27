# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a check works with, and what a group of checks is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

from .._core.argspec import Spec
from .._core.context import Context
from .._core.model import Json
from .._engines.base import Engine
from .._platform.application import Application
from .._store.restic import Restic
from .model import Finding

Options = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Scene:
    """The application that is looked at."""

    context: Context
    application: Application
    engines: Mapping[str, Engine]
    restic: Optional[Restic] = None
    copy: Optional[Restic] = None
    migration: Json = dataclasses.field(default_factory=dict)  # what migrates the schema; {} for nothing


@dataclasses.dataclass
class Probe:
    """One check in one run. `before` is what it remembered in the last one, `elapsed` the seconds since then."""

    scene: Scene
    timeout: float
    before: Json = dataclasses.field(default_factory=dict)
    elapsed: Optional[float] = None
    memory: Json = dataclasses.field(default_factory=dict)

    def remember(self, **values: Any) -> None:
        """Kept for the next run: numbers and short texts, nothing secret."""
        self.memory.update(values)


Look = Callable[[Options, Probe], Iterable[Finding]]


@dataclasses.dataclass(frozen=True)
class Group:
    """A kind of check: its options (an argument spec, with defaults) and how it looks.

    `look` raises an `OpsError` where it cannot find out: that is `unknown`. `needs` names the options of which one must
    be given, where there are such. `longest`: seconds that one try may take, of the options and the timeout.
    """

    name: str
    options: Spec
    look: Look
    needs: tuple[str, ...] = ()
    longest: Callable[[Options, float], float] = lambda options, timeout: timeout
