# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ansible-playbook with one task, whose output is read while it runs, and which can be killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from tests.integration.support.modules import ROOT, Outcome


class Playbook:
    """A playbook that runs. `lines` are its output so far, each with the time when it came."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path, result: Path) -> None:
        self.began = time.monotonic()
        self._result = result
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self.process.stdout is not None:
            for line in self.process.stdout:
                self.lines.append((time.monotonic() - self.began, line.rstrip("\n")))

    @property
    def text(self) -> str:
        return "\n".join(line for _moment, line in list(self.lines))

    def said(self, word: str) -> list[tuple[float, str]]:
        return [(moment, line) for moment, line in list(self.lines) if word in line]

    def wait_until(self, word: str, seconds: float = 150) -> None:
        until = time.monotonic() + seconds
        while not self.said(word):
            assert self.process.poll() is None or self.said(word), f"it ended without {word!r}:\n{self.text}"
            assert time.monotonic() < until, f"{word!r} was not said within {seconds} s:\n{self.text}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL for the controller and all of its workers, as when its machine goes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def finish(self, seconds: float = 200) -> Outcome:
        """Wait for the end; the result of the task."""
        try:
            rc = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.text}") from None
        self._reader.join(10)
        data = json.loads(self._result.read_text()) if self._result.exists() else {}
        return Outcome(rc, data, self.text, "")


@dataclasses.dataclass
class Controller:
    """Where playbooks are started. `host`: variables of the one host, by default this machine."""

    root: Path
    host: dict[str, Any] = dataclasses.field(default_factory=lambda: {"ansible_connection": "local"})
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    ansible: Path = dataclasses.field(default_factory=lambda: Path(sys.executable).with_name("ansible-playbook"))

    def start(self, module: str, arguments: dict[str, Any], *words: str, **task: Any) -> Playbook:
        """One task, and its result written down on this machine, failed or not."""
        self.root.mkdir(parents=True, exist_ok=True)
        number = len(list(self.root.glob("play-*.yml")))
        result = self.root / f"result-{number}.json"
        tasks = [
            {f"day2.ops.{module}": arguments, "register": "outcome", "ignore_errors": True, **task},
            {
                "ansible.builtin.copy": {"content": "{{ outcome | to_json }}", "dest": str(result)},
                "delegate_to": "localhost",
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                "check_mode": False,
                "diff": False,
            },
        ]
        play = self.root / f"play-{number}.yml"
        play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        inventory = self.root / "inventory.yml"
        host = {"ansible_python_interpreter": sys.executable, **self.host}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"web1": host}}}))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "RESTIC_"))}
        environment = {
            **clean,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
            **self.environment,
        }
        return Playbook([str(self.ansible), "-i", str(inventory), str(play), *words], environment, self.root, result)

    def run(self, module: str, arguments: dict[str, Any], *words: str, **task: Any) -> Outcome:
        return self.start(module, arguments, *words, **task).finish()
