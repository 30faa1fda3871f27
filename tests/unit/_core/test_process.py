# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs: started while a signal asks us to end, and how they ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import process

# What logging, for one, registers at a fork runs in the parent too; Python drops what a handler raises there.
SCRIPT = """
import os, signal
from ansible_collections.day2.ops.plugins.module_utils._core.process import Child, Command

def end(number, frame):
    raise SystemExit

signal.signal(signal.SIGTERM, end)
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))
try:
    Child(Command(("sleep", "60")))
    print("it went on")
except SystemExit:
    try:
        os.waitpid(-1, os.WNOHANG)
        print("it ended without its program")
    except ChildProcessError:
        print("both ended")
"""


def test_a_signal_that_comes_while_a_program_is_forked_is_not_lost() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    argv = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, env=environment)
    assert (done.stdout, done.stderr) == ("both ended\n", "")


@pytest.mark.parametrize(
    ("rc", "words"),
    [
        (3, "ended with 3"),
        (-9, "was killed by signal 9"),
        (137, "was killed by signal 9"),
        (143, "was killed by signal 15"),
        (130, "ended with 130"),
        (255, "ended with 255"),
    ],
)
def test_how_a_program_ended_is_said_in_words(rc: int, words: str) -> None:
    assert process.ending(rc) == words
