# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is remembered of an application's migrations on this host: the schema after the last one, the revision that runs."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core import clock
from .._core.context import Context
from .._core.errors import OpsError
from .._core.io import friendly_os_errors, private_directory, read_json, sync_directory, write_json
from .._core.model import Json
from .schema import Schema


@dataclasses.dataclass(frozen=True)
class State:
    """A schema, and the revisions that the database was at."""

    heads: tuple[str, ...]
    schema: Schema

    def to_json(self) -> Json:
        return {"heads": list(self.heads), "schema": dict(self.schema.objects)}

    @classmethod
    def from_json(cls, data: Any) -> Optional[State]:
        return cls(tuple(data["heads"]), Schema(data["schema"])) if data else None


class Record:
    """`APP-INSTANCE/migrations/DATASTORE.json`: the state after the last run, and which code brought a revision.

    `…/DATASTORE.running.json`: the revision that is being run and the state right before it, written before it begins;
    `…/DATASTORE.running.log`: a line for each one after it in the same run, with what has changed since the line
    before. They stay after a kill, or after a failure that left something behind.
    """

    def __init__(self, context: Context, datastore: str) -> None:
        self.directory = context.home / "migrations"
        self.path = self.directory / f"{datastore}.json"
        self.running_path = self.directory / f"{datastore}.running.json"
        self.log_path = self.directory / f"{datastore}.running.log"
        data = self._read(self.path) or {}
        self.last = State.from_json(data.get("last"))
        self.at: str = data.get("at", "")
        self.by: dict[str, str] = data.get("by", {})  # revision: the image or directory that brought it
        running = self._read(self.running_path) or {}
        self._run: str = running.get("run", "")
        self.running: str = running.get("revision", "")
        self.direction: str = running.get("direction", "upgrade")
        self.before = State.from_json(running.get("before"))
        self.stopped: list[Json] = running.get("stopped", [])
        self.begun = False  # by this run, so that lines may follow
        if self.before is not None:
            for line in self._lines():
                self.running, self.before = line["revision"], _after(self.before, line)

    @property
    def newest(self) -> Optional[State]:
        """The newest state that is known to be right."""
        return self.before or self.last

    def begin(self, revision: str, direction: str, before: State, stopped: Sequence[Json]) -> None:
        """Right before a revision; nothing of it may be done before this is on the disk."""
        self.running, self.direction, self.before, self.stopped = revision, direction, before, list(stopped)
        self._run = secrets.token_hex(4)  # an older log is none of this
        known = {"revision": revision, "direction": direction, "before": before.to_json(), "stopped": self.stopped}
        self._write(self.running_path, {"run": self._run, **known})
        self.begun = True

    def go_on(self, revision: str, before: State) -> None:
        """The same for one after it in the same run, by what has changed since: to write a whole schema each time takes
        longer than a revision."""
        known = self.before.schema if self.before else Schema()
        line = {"run": self._run, "revision": revision, "heads": list(before.heads), **known.change_to(before.schema)}
        self.running, self.before = revision, before
        with friendly_os_errors(f"writing {self.log_path}"):
            new = not self.log_path.exists()
            with open(self.log_path, "ab", opener=_private) as stream:
                stream.write(json.dumps(line).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            if new:
                sync_directory(self.directory)

    def end(self, state: Optional[State]) -> None:
        """A run is over, and left nothing half done; `state` where it is known."""
        if state is not None:
            self.last, self.at = state, clock.text(clock.now())
            self._write(self.path, {"last": state.to_json(), "at": self.at, "by": self.by})
        for path in (self.running_path, self.log_path):
            path.unlink(missing_ok=True)
        self.begun, self.running, self.before, self.stopped = False, "", None, []

    def _lines(self) -> Iterator[Json]:
        """Of this run's log. The last one may be cut: its revision was not begun."""
        try:
            text = self.log_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except OSError as error:
            raise OpsError(f"{self.log_path} cannot be read ({error.strerror})") from None
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                entry: Json = json.loads(line)
                if entry["run"] == self._run:
                    yield entry

    def _read(self, path: Path) -> Any:
        try:
            return read_json(path)
        except OSError as error:
            raise OpsError(f"{path} cannot be read ({error.strerror})") from None

    def _write(self, path: Path, data: Json) -> None:
        private_directory(self.directory)
        write_json(path, data)


def _after(state: State, line: Json) -> State:
    return State(tuple(line["heads"]), state.schema.changed(line))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
