# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A record on disk of what is about to be done, written before it is done, and how to undo it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import io
from .errors import Unavailable
from .model import Json

ROOM = 1 << 20  # bytes: more than a journal and its next version ever need

BEGUN, DONE, UNDONE, FINISHED = "begun", "done", "undone", "finished"


@dataclasses.dataclass
class Step:
    """One step of a journal. `data` holds what is needed to undo it; `save` before every effect."""

    journal: Journal
    name: str
    state: str
    data: Json

    def save(self, **data: Any) -> None:
        """Add to the step's data and make it durable."""
        self.data.update(data)
        self.journal.write()

    def mark(self, state: str) -> None:
        self.state = state
        self.journal.write()


class Journal:
    """The steps of one operation, in a JSON file of mode 0600 that is replaced atomically.

    What was begun must be written down to be undone, so a journal can set room aside for the day when
    the disk is full (`keep_room`): it is given up when a write finds none.
    """

    def __init__(self, path: Path, header: Json | None = None) -> None:
        self.path = path
        self.header: Json = header or {}
        self.steps: list[Step] = []

    @classmethod
    def read(cls, path: Path) -> Journal:
        document = io.read_json(path)
        journal = cls(path, document["header"])
        journal.steps = [Step(journal, entry["name"], entry["state"], entry["data"]) for entry in document["steps"]]
        return journal

    @property
    def _room(self) -> Path:
        return self.path.with_suffix(".room")

    def keep_room(self) -> None:
        """Set disk space aside for later writes; `Unavailable` where there is none."""
        try:
            with open(self._room, "wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, ROOM)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._room.unlink()
            raise io.unwritable(self._room, error) from error

    def _give_room_up(self) -> bool:
        """Whether there was any: none was kept, or it is used up, where not."""
        try:
            self._room.unlink()
        except OSError:
            return False
        return True

    def write(self) -> None:
        document = {
            "header": self.header,
            "steps": [{"name": step.name, "state": step.state, "data": step.data} for step in self.steps],
        }
        try:
            io.write_json(self.path, document)
        except Unavailable:
            if not self._give_room_up():
                raise
            io.write_json(self.path, document)

    def record(self, **header: Any) -> None:
        """Change the header and make it durable."""
        self.header.update(header)
        self.write()

    def begin(self, name: str, **data: Any) -> Step:
        """Write down that a step begins; returns it, to be marked done."""
        step = Step(self, name, BEGUN, dict(data))
        self.steps.append(step)
        self.write()
        return step

    def named(self, prefix: str) -> Iterator[Step]:
        return (step for step in self.steps if step.name == prefix or step.name.startswith(prefix + ":"))
