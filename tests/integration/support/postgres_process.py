# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One verb of the PostgreSQL engine in a process of its own, to be killed: `python -m …` with JSON on stdin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from .postgres_engine import APP

ROOT = Path(__file__).resolve().parents[3]


def start(request: dict[str, Any]) -> subprocess.Popen[str]:
    """The process, with its request written; it prints `ready` where the request says that it waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.support.postgres_process"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.venv' / 'collections'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"app": APP.name, **request}))
    process.stdin.close()
    return process


def _main() -> None:
    request = json.load(sys.stdin)

    from ansible_collections.day2.ops.plugins.module_utils._core import journal
    from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Part
    from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
    from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql import connection, snapshot

    from .postgres import Postgres
    from .postgres_engine import engine_for, read_step

    directory = Path(request["directory"])
    app = App(request["app"], APP.instance)
    engine = engine_for(Postgres("", request["options"], "", 0), request["database"], directory, app)
    if request["verb"] == "hold":
        snapshot.IDLE_LIMIT, snapshot.HEARTBEAT = request["limits"]
        with engine.snapshot(DumpOptions()):
            print("ready", flush=True)
            signal.pause()
    if request["verb"] == "dump":
        with engine.snapshot(DumpOptions()) as view:
            producer = view.dump()
            producer.stdout.read(1)
            print("ready", flush=True)
            signal.pause()
    _kill_at(journal.Journal, "write", request.get("kill_at_write"))
    _kill_at(connection.Database, "run", request.get("kill_at_statement"))
    step = read_step(directory)
    if request["verb"] == "swap":
        engine.swap(Part.from_json(request["part"]), request["scratch"], step)
    else:
        getattr(engine, request["verb"])(step)


def _kill_at(owner: type, name: str, point: list[Any] | None) -> None:
    """Die by SIGKILL `before` or `after` the n-th call of a method: [n, "before"]."""
    if not point:
        return
    original, calls = getattr(owner, name), 0

    def dying(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if [calls, "before"] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *arguments)
        if [calls, "after"] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


if __name__ == "__main__":
    _main()
