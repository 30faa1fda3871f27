# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Operations that go on by themselves on the target: their records, and waiting for them.

`HOME/operations/RUN.json` says who runs what and how far it is, `RUN.out` is what the module gave as its
result, `RUN.err` what it said on standard error; `RUN.fetched` is there when a playbook has the result.
All of it is 0600 in a directory of 0700 and holds no secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from . import clock, io
from .context import Context
from .errors import Refused
from .model import Json
from .process import identity, pid_of
from .progress import State

RUNNING, FINISHED, LOST = "running", "finished", "lost"
KEPT = datetime.timedelta(hours=1)  # so long a result that nobody fetched is somebody's
_NOT_COMPARED = ("job", "lock_token", "reconnect_timeout")  # they differ from run to run, and decide nothing
_TAIL = 2000  # characters of standard error
_RUN = re.compile(r"^[0-9a-f]{6}$")


@dataclasses.dataclass(frozen=True)
class Record:
    """One operation. `process` is that of the worker, `BOOT_ID:PID:START_TIME`."""

    run: str
    operation: str
    digest: str
    job: str
    owner: str
    process: str
    started: str
    progress: State = dataclasses.field(default_factory=State)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Record:
        progress = {key: value for key, value in data["progress"].items() if key != "share"}
        return Record(**{**data, "progress": State(**progress)})

    def to_json(self) -> Json:
        return {**dataclasses.asdict(self), "progress": self.progress.to_json()}


@dataclasses.dataclass(frozen=True)
class Seen:
    """A record as it was found, with its result when it has ended with one."""

    record: Record
    state: str
    finished: str = ""
    result: Optional[Json] = None
    stderr: str = ""
    fetched: bool = False

    def public(self) -> Json:
        record = self.record
        return {
            "run": record.run,
            "operation": record.operation,
            "state": self.state,
            "fetched": self.fetched,
            "pid": pid_of(record.process),
            "job": record.job,
            "owner": record.owner,
            "started": record.started,
            "finished": self.finished,
            "progress": record.progress.to_json(),
            "error": self.stderr,
        }


class Operations:
    """The records of one application on this host."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "operations"

    def path(self, run: str, suffix: str) -> Path:
        return self.directory / f"{run}.{suffix}"

    def write(self, record: Record) -> None:
        # Not durable: after a reboot nothing of it runs any more, and the identity says so.
        io.write_json(self.path(record.run, "json"), record.to_json(), durable=False)

    def all(self) -> list[Seen]:
        """Everything that is recorded, the newest first."""
        runs = [path.stem for path in self.directory.glob("*.json")] if self.directory.is_dir() else []
        found = [seen for seen in map(self.look, runs) if seen is not None]
        return sorted(found, key=lambda seen: (seen.record.started, seen.record.run), reverse=True)

    def look(self, run: str) -> Optional[Seen]:
        data = io.read_json(self.path(run, "json"))
        if data is None:
            return None
        record = Record.from_json(data)
        if identity(pid_of(record.process)) == record.process:
            return Seen(record, RUNNING)
        # Read again: it may have ended, and written its last progress, in between.
        record = Record.from_json(io.read_json(self.path(run, "json")) or data)
        fetched = self.path(run, "fetched").exists()
        out = self.path(run, "out")
        try:
            finished = datetime.datetime.fromtimestamp(out.stat().st_mtime, datetime.timezone.utc)
            result = _result(out.read_text(encoding="utf-8"))
        except OSError:
            return Seen(record, LOST, fetched=fetched)
        if result is None:
            return Seen(record, LOST, clock.text(finished), stderr=self._stderr(run), fetched=fetched)
        return Seen(record, FINISHED, clock.text(finished), result, fetched=fetched)

    def wait(self, run: str, seconds: float) -> Optional[Seen]:
        """Look until it has ended, or for so long."""
        deadline, pause = time.monotonic() + seconds, 0.01
        while True:
            seen = self.look(run)
            left = deadline - time.monotonic()
            if seen is None or seen.state != RUNNING or left <= 0:
                return seen
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.2)

    def remove(self, run: str) -> None:
        for suffix in ("out", "err", "fetched", "json"):
            self.path(run, suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Orders those who look whether one runs and begin one."""
        io.private_directory(self.directory.parent)
        io.private_directory(self.directory)
        with io.open_to_lock(self.directory / "guard") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(stream, fcntl.LOCK_UN)  # by name: a worker that was forked meanwhile has it open too

    def _stderr(self, run: str) -> str:
        try:
            return self.path(run, "err").read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        except OSError:
            return ""


def digest(parameters: Mapping[str, Any], secret: set[str]) -> str:
    """Tells whether two runs were asked for the same. Secrets do not enter: it must not help to guess them."""
    compared = {key: _plain(value, secret) for key, value in parameters.items() if key not in _NOT_COMPARED}
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:32]


def _plain(value: Any, secret: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one, secret) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, secret) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    for one in sorted(secret, key=len, reverse=True):
        text = text.replace(one, "")
    return text


def _result(text: str) -> Optional[Json]:
    """What a module printed, or None when it ended before that."""
    for number, character in enumerate(text):
        if character == "{":
            try:
                found = json.JSONDecoder().raw_decode(text[number:])[0]
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `operation_info`."""
    operations = Operations(context.home)
    if not params["run"]:
        return {"changed": False, "operations": [seen.public() for seen in operations.all()]}
    if not _RUN.match(params["run"]):
        raise Refused(f"{params['run']!r} is no run", hint="It has six hexadecimal digits.")
    seen = operations.wait(params["run"], params["wait"])
    found: Json = {"changed": False, "operations": [seen.public()] if seen else []}
    return {**found, "result": seen.result} if seen and seen.result is not None else found
