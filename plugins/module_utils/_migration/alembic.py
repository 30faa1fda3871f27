# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Alembic and Flask-Migrate: a conversation with `driver.py`, which runs inside the application's Python."""

from __future__ import annotations

import contextlib
import json
import pkgutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from .._core.context import Context
from .._core.errors import OpsError, Refused, ToolFailed, Unavailable
from .._core.model import Json
from .._core.process import Child, ending
from . import driver
from .runtime import Runtime
from .tool import Applied, Events, Failed, Look, NotConnected, Rendered, Step

_START = 300.0  # seconds for a container to be made and an application to be imported


class Alembic:
    """`settings`: tool, config, directory, migrations, x as the driver's `open` takes them."""

    def __init__(self, runtime: Runtime, python: str, settings: Mapping[str, Any], context: Context) -> None:
        self.runtime = runtime
        self.python = python
        self.settings = settings
        self.context = context
        self.name = "Flask-Migrate" if settings["tool"] == "flask" else "Alembic"
        self.version = ""
        self.child: Optional[Child] = None

    def start(self) -> None:
        source = pkgutil.get_data(__package__, "driver.py") or b""
        self.child = Child(
            self.runtime.command((self.python, "-c", driver.BOOT)), stdin=subprocess.PIPE, keep=64 * 1024
        )
        environment = dict(self.runtime.environment())
        for name, value in environment.items():
            if driver._SECRET.search(name) and len(value) >= 6:
                self.context.secrets.add(value)
        self._write(f"{len(source)}\n".encode() + source)
        self._send({"do": "open", **self.settings, "environment": environment})

    def open(self) -> None:
        told = self._answer(_START)
        self.version = told["alembic"]

    def look(self, target: str, proof: int, since: Sequence[str], closely: bool = False) -> Look:
        request = {"do": "look", "target": target, "proof": proof, "since": list(since), "closely": closely}
        told = self._ask(request, 120)
        return Look(
            current=tuple(told["current"]),
            heads=tuple(told["heads"]),
            unknown=tuple(told["unknown"]),
            steps=tuple(map(Step.from_json, told.get("steps", ()))),
            direction=told.get("direction", "upgrade"),
            target=tuple(told.get("target", ())),
            several_heads=bool(told.get("several_heads")),
            version_table=told["version_table"],
            database=told["database"],
            since=tuple(map(Step.from_json, told.get("since", ()))),
        )

    def preview(self, steps: Sequence[Step], direction: str) -> list[Rendered]:
        if not steps:
            return []
        told = self._ask(
            {"do": "preview", "revisions": [step.revision for step in steps], "direction": direction}, None
        )
        return [Rendered(one["revision"], one["sql"], one["complete"], one["reason"]) for one in told["sql"]]

    def compare(self) -> Optional[list[str]]:
        told = self._ask({"do": "compare"}, None)
        return list(told["lines"]) if told["possible"] else None

    def migrate(self, look: Look, target: str, statement_lock_timeout: int, events: Events) -> Optional[Failed]:
        steps = {step.revision: step for step in look.steps}

        def heard(event: Json) -> None:
            if event["event"] == "done":
                events.after(
                    Applied(event["revision"], event["seconds"], tuple(event["heads"]), tuple(event["definitions"]))
                )
            else:
                known = steps.get(event["revision"], Step(event["revision"], event["message"]))
                events.before(known, event["heads"])
                self._send({"do": "go"})

        request = {"do": "migrate", "target": target, "direction": look.direction}
        told = self._ask({**request, "statement_lock_timeout": statement_lock_timeout}, None, heard)
        if told["failed"] is None:
            return None
        return Failed(told["failed"], told["error"], tuple(told["statements"]), told["trace"])

    def owns(self, pid: str) -> bool:
        return self.child is not None and str(self.child.pid) == pid

    def close(self) -> None:
        if self.child is None:
            return
        child, self.child = self.child, None
        with contextlib.suppress(OpsError, OSError):
            child.stdin.write(b'{"do": "close"}\n')
            child.stdin.close()
            child.wait(10)
        child.kill()
        self.runtime.end()

    # The conversation ----------------------------------------------------------------------------

    def _ask(self, request: Json, timeout: Optional[float], heard: Optional[Callable[[Json], None]] = None) -> Json:
        self._send(request)
        return self._answer(timeout, heard)

    def _answer(self, timeout: Optional[float], heard: Optional[Callable[[Json], None]] = None) -> Json:
        while True:
            answer = self._hear(timeout)
            for secret in answer.pop("secrets", ()):
                self.context.secrets.add(secret)
            if "event" in answer and heard is not None:
                heard(answer)
            elif answer.get("ok"):
                return answer
            else:
                raise self._refusal(answer)

    def _refusal(self, answer: Json) -> Exception:
        error, kind = str(answer.get("error", "")), answer.get("kind", "")
        if kind == "connect":
            return NotConnected(error)
        if kind == "no_tool":
            return Unavailable(error, hint="Install it there, or name the right interpreter with venv or python.")
        if kind == "no_config":
            return Refused(
                error, hint="Name the configuration with config, and the directory that it is in with directory."
            )
        if kind == "unknown_target":
            return Refused(
                f"there is no revision {error} in {self.runtime.label}", hint="Is it a revision of a newer release?"
            )
        if kind == "no_environment":
            return Refused(error)
        return ToolFailed(
            f"{self.name} in {self.runtime.label} failed: {error}", stderr_tail=str(answer.get("trace", ""))
        )

    def _send(self, request: Json) -> None:
        self._write(json.dumps(request).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        child = self._running()
        try:
            child.stdin.write(data)
            child.stdin.flush()
        except OSError:
            raise self._ended() from None

    def _hear(self, timeout: Optional[float]) -> Json:
        child = self._running()
        timer = None
        if timeout:
            timer = threading.Timer(timeout, child.kill)
            timer.daemon = True
            timer.start()
        try:
            line = child.stdout.readline()
        except ValueError:  # closed by the timer
            line = b""
        finally:
            if timer is not None:
                timer.cancel()
        if not line:
            raise self._ended()
        try:
            answer: Json = json.loads(line)
        except ValueError:
            raise ToolFailed(
                f"{self.runtime.label} answered with what is no answer: {line[:200].decode(errors='replace')!r}",
                hint="Does its Python start with a script of its own that prints?",
            ) from None
        return answer

    def _running(self) -> Child:
        if self.child is None:
            raise OpsError(f"{self.name} was not started")
        return self.child

    def _ended(self) -> ToolFailed:
        child = self._running()
        with contextlib.suppress(OpsError):
            child.wait(10)
        rc = child.rc
        tail = child.stderr_tail
        last = tail.splitlines()[-1] if tail else "no message"
        how = ending(rc) if rc is not None else "ended"
        return ToolFailed(
            f"{self.python} in {self.runtime.label} {how} without an answer: {last}",
            rc=rc,
            cmd=list(child.argv),
            stderr_tail=tail,
        )
