# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a part of the benchmark works: a directory, pipes, and Ansible, which everybody's tasks run through."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "benchmark repository"

# Loaded by every Python below; speaks up in the collection's module only. What wait4 tells of a process
# would take in the programs that it waited for.
PEAK = """
import atexit, os, sys
if os.path.basename(sys.argv[0] if sys.argv else "").startswith(("AnsiballZ_backup", "AnsiballZ_migrate", "AnsiballZ_restore")):
    def note():
        import resource
        with open(os.environ["DAY2_BENCH_PEAK"], "a") as out:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=out)
    atexit.register(note)
"""


class Place:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "site").mkdir(exist_ok=True)
        (directory / "site" / "sitecustomize.py").write_text(PEAK)

    @property
    def peak(self) -> int:
        """The most KiB that a module of the collection took so far."""
        noted = self.directory / "peak"
        return max((int(line) for line in noted.read_text().split()), default=0) if noted.exists() else 0

    @contextlib.contextmanager
    def home(self) -> Iterator[Path]:
        """A new directory for what a contender stores."""
        with tempfile.TemporaryDirectory(prefix="home-", dir=self.directory, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RESTIC_", "ANSIBLE_"))}
        return {
            **kept,
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.directory / "cache"),
            "LC_ALL": "C.UTF-8",
            **more,
        }

    def run(self, argv: Sequence[str], more: Mapping[str, str], cwd: Path | None = None) -> None:
        done = subprocess.run(argv, env=self.environment(more), cwd=cwd, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")

    def pipe(
        self, left: Sequence[str], right: Sequence[str], more: Mapping[str, str], output: Path | None = None
    ) -> None:
        """`left | right > output`, every exit code looked at."""
        environment = self.environment(more)
        with output.open("wb") if output else contextlib.nullcontext(subprocess.DEVNULL) as sink:
            first = subprocess.Popen(left, env=environment, stdout=subprocess.PIPE)
            second = subprocess.Popen(right, env=environment, stdin=first.stdout, stdout=sink)
            if first.stdout:
                first.stdout.close()
            codes = (second.wait(), first.wait())
        if any(codes):
            raise RuntimeError(f"{left[0]} | {right[0]} ended with {codes}")

    def ansible(self, *words: str, **more: str) -> None:
        """ansible-playbook, with this checkout as the collection day2.ops."""
        environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
            "ANSIBLE_HOME": str(self.directory / "ansible"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "ansible" / "tmp"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "PYTHONPATH": str(self.directory / "site"),
            "DAY2_BENCH_PEAK": str(self.directory / "peak"),
            **more,
        }
        self.run([str(Path(sys.executable).with_name("ansible-playbook")), *words], environment, self.directory)

    def task(self, module: str, arguments: Mapping[str, Any], **more: str) -> None:
        """One task in a play of its own, as `ansible-playbook` runs it."""
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [{module: arguments}]}
        play["vars"] = {"ansible_python_interpreter": sys.executable}
        path = self.directory / "play.yml"
        path.write_text(json.dumps([play]))
        self.ansible("-i", "localhost,", str(path), **more)
