# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo keeps what it makes: one directory, by default `.demo` in the checkout."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from .console import DemoError

CHECKOUT = Path(__file__).resolve().parents[2]
VARIABLE = "DAY2_DEMO_DIR"
MARK = ".made-by-day2-demo"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Names of everything under the demo's directory; inventories/example uses the same."""

    base: Path

    @classmethod
    def from_environment(cls) -> Layout:
        return cls(Path(os.environ.get(VARIABLE) or CHECKOUT / ".demo").absolute())

    # What a run makes anew ----------------------------------------------------------------------
    @property
    def application(self) -> Path:
        return self.base / "booking"

    @property
    def database(self) -> Path:
        return self.application / "data" / "booking.db"

    @property
    def uploads(self) -> Path:
        return self.application / "uploads"

    @property
    def repository(self) -> Path:
        return self.base / "repository"

    @property
    def password(self) -> Path:
        return self.base / "repository.password"

    @property
    def state(self) -> Path:
        return self.base / "state"

    @property
    def before(self) -> Path:
        """How the application was right before the backup: rows and files by hash."""
        return self.base / "before.json"

    @property
    def facts(self) -> Path:
        """What `day2.ops.backup_info` said at the end."""
        return self.base / "backups.json"

    @property
    def logs(self) -> Path:
        return self.base / "log"

    @property
    def scratch(self) -> tuple[Path, ...]:
        return (self.application, self.repository, self.password, self.state, self.before, self.facts, self.logs)

    # What stays from run to run -----------------------------------------------------------------
    @property
    def environment(self) -> Path:
        return self.base / "env"

    @property
    def venv(self) -> Path:
        return self.environment / "venv"

    @property
    def binaries(self) -> Path:
        return self.environment / "bin"

    # What is done with it -----------------------------------------------------------------------
    def prepare(self) -> None:
        """Make the directory and mark it as the demo's own."""
        self.base.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not (self.base / MARK).exists():
            if any(self.base.iterdir()):
                raise DemoError(f"{self.base} holds other things; the demo wants a directory of its own ({VARIABLE}).")
            (self.base / MARK).write_text("made by the demo of day2.ops; removed by make demo-clean\n")
            # It hides itself from git, wherever in a checkout it lies.
            (self.base / ".gitignore").write_text("*\n")
        self.logs.mkdir(exist_ok=True)

    def lock(self) -> IO[str]:
        """One demo at a time: held until the returned file is closed, by a kill too."""
        handle = (self.base / MARK).open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise DemoError(f"another run of the demo is using {self.base}; wait for its end.") from None
        return handle

    def reset(self) -> None:
        """Remove what a run made; the environment stays."""
        for path in self.scratch:
            remove(path)

    def remove_all(self) -> None:
        remove(self.environment)
        for name in (MARK, ".gitignore"):
            (self.base / name).unlink(missing_ok=True)
        # Not rmtree: what somebody else put here is not the demo's to remove.
        if not any(self.base.iterdir()):
            self.base.rmdir()

    @property
    def ours(self) -> bool:
        return (self.base / MARK).exists()


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def readable(path: Path) -> str:
    """A path as a person in the checkout would write it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
