# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one module in a process of its own, as Ansible would, so that it can be killed.

With `kill_at` the process kills itself (SIGKILL) right before or right after the N-th time that the
restore's journal is written; the collection itself knows nothing of this.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
MODULES = "ansible_collections.day2.ops.plugins.modules"

CODE = f"""
import atexit, importlib, json, os, resource, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.day2.ops.plugins.module_utils._core import journal

request = json.load(sys.stdin)
sys.stdin.close()
count, (number, moment) = 0, request["kill_at"]
write = journal.Journal.write

def killing_write(self):
    global count
    count += 1
    if count == number and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self)
    if count == number and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.write = killing_write
if "DAY2_TEST_PEAK" in os.environ:  # the benchmark asks for the peak memory (KiB) of this process alone
    atexit.register(lambda: print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))
with patch_module_args(request["args"]):
    importlib.import_module("{MODULES}." + request["name"]).main()
"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a module ended. `data` is its result; empty when it was killed."""

    rc: int
    data: dict[str, Any]
    stdout: str
    stderr: str

    @property
    def killed(self) -> bool:
        return self.rc == -signal.SIGKILL

    @property
    def failed(self) -> bool:
        return bool(self.data.get("failed"))

    @property
    def msg(self) -> str:
        return str(self.data.get("msg", ""))

    @property
    def warnings(self) -> list[str]:
        """ansible-core 2.19 and newer put each in a structure of its own."""
        found = self.data.get("warnings", [])
        return [one["event"]["msg"] if isinstance(one, dict) else str(one) for one in found]

    def __getitem__(self, key: str) -> Any:
        if self.failed or not self.data:
            raise AssertionError(f"the module failed (rc {self.rc}): {self.data or self.stdout + self.stderr}")
        return self.data[key]


def start(
    name: str,
    args: dict[str, Any],
    *,
    check: bool = False,
    kill_at: tuple[int, str] = (0, ""),
    env: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a module; `finish` waits for it."""
    arguments = {**args, "_ansible_check_mode": check, "_ansible_diff": True}
    paths = [str(ROOT / ".venv" / "collections"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), **(env or {})}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    if process.stdin is None:
        raise RuntimeError("no standard input")
    process.stdin.write(json.dumps({"name": name, "args": arguments, "kill_at": kill_at}))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str], timeout: float = 300) -> Outcome:
    stdout, stderr = process.communicate(timeout=timeout)
    return parsed(process.returncode, stdout, stderr)


def parsed(rc: int, stdout: str, stderr: str) -> Outcome:
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    return Outcome(rc, json.loads(lines[-1]) if lines else {}, stdout, stderr)


def run(name: str, args: dict[str, Any], **options: Any) -> Outcome:
    return finish(start(name, args, **options))
