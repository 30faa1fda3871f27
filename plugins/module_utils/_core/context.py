# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What every operation carries along: for whom, where its state lives, what must stay secret."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets as _random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from .errors import Interrupted
from .model import App
from .progress import Progress

MASK = "********"


@dataclasses.dataclass
class Secrets:
    """Values that must appear in no message; grows while an operation learns passwords."""

    values: set[str] = dataclasses.field(default_factory=set, repr=False)

    def add(self, value: str | None) -> str | None:
        """Remember a secret and give it back, so that a call can wrap its source."""
        if value:
            self.values.add(value)
        return value

    def strike(self, text: str) -> str:
        """The text with every known secret masked; the longest first, so that no rest remains."""
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text


@dataclasses.dataclass
class Context:
    """One run of one operation on one application."""

    app: App
    state_dir: Path
    warn: Callable[[str], None] = lambda message: None
    check_mode: bool = False
    secrets: Secrets = dataclasses.field(default_factory=Secrets)
    allow_flavour_change: bool = False  # MySQL's dump into MariaDB, or the reverse
    interrupted: Optional[Interrupted] = None  # a signal has asked this run to end
    progress: Progress = dataclasses.field(default_factory=Progress, repr=False)
    # Six hexadecimal digits: in scratch names, in DAY2_RUN of every process this run starts.
    run_id: str = dataclasses.field(default_factory=lambda: _random.token_hex(3))
    looks: bool = False  # see `beside`

    @property
    def home(self) -> Path:
        """The application's own directory on the target, mode 0700."""
        return self.state_dir / self.app.key

    @property
    def machine(self) -> str:
        """Tells this machine and state directory, and so the reach of a lock, from others without naming them."""
        try:
            identity = Path("/etc/machine-id").read_text(encoding="ascii").strip()
        except OSError:
            identity = socket.gethostname()
        return hashlib.sha256(f"{identity} {self.state_dir} day2".encode()).hexdigest()[:12]

    @property
    def run_prefix(self) -> str:
        """What DAY2_RUN begins with in all runs that the same lock orders: only these may be swept."""
        return f"{self.app.key}{'~' if self.looks else ':'}{self.machine}."

    def beside(self) -> Context:
        """For what only looks, and takes no lock: a run of its own, which is neither ended nor swept by others."""
        return dataclasses.replace(self, run_id=_random.token_hex(3), looks=True)

    @property
    def run_mark(self) -> str:
        """Value of DAY2_RUN in the environment of every process that this run starts."""
        return f"{self.run_prefix}{self.run_id}"

    def scratch_prefix(self, datastore: str) -> str:
        """What every scratch database of this application's datastore starts with.

        Short and without names, because PostgreSQL allows 63 bytes and MariaDB 64 characters, and
        because the sweep of a later run must know its own leftovers from anybody else's: another machine
        may use the same database server.
        """
        digest = hashlib.sha256(f"{self.machine}/{self.app.key}/{datastore}".encode()).hexdigest()
        return f"day2_{digest[:10]}_"

    def scratch_name(self, datastore: str, purpose: str) -> str:
        """`day2_<10 digits>_<run>_<purpose>`; purpose: `stage` or `old`."""
        return f"{self.scratch_prefix(datastore)}{self.run_id}_{purpose}"
