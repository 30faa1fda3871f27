# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in a fork of the tests' own process: what `modules` does, without half a second of imports.

The module has a process of its own all the same, with its own session, so that it can be killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.testing import patch_module_args
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal
from ansible_collections.day2.ops.plugins.modules import (
    app_lock,
    backup,
    backup_info,
    backup_maintain,
    backup_repository,
    backup_retention,
    backup_verify,
    health_check,
    operation_info,
    restore,
)

from tests.integration.support.modules import Outcome, parsed

# Imported before the fork, once for all.
MAIN = {
    module.__name__.rpartition(".")[2]: module.main
    for module in (
        app_lock,
        backup,
        backup_info,
        backup_maintain,
        backup_repository,
        backup_retention,
        backup_verify,
        health_check,
        operation_info,
        restore,
    )
}


class Forked:
    """A running module; what `subprocess.Popen` offers, as far as tests need it."""

    def __init__(self, name: str, arguments: dict[str, Any], prelude: Callable[[], None]) -> None:
        self._stdout, self._stderr = os.memfd_create("stdout"), os.memfd_create("stderr")
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(name, arguments, prelude, self._stdout, self._stderr)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise subprocess.TimeoutExpired("module", timeout, _content(self._stdout), _content(self._stderr))
            time.sleep(0.005)
        return self.returncode or 0

    def finish(self, timeout: float = 120) -> Outcome:
        rc = self.wait(timeout)
        outcome = parsed(rc, _content(self._stdout), _content(self._stderr))
        os.close(self._stdout)
        os.close(self._stderr)
        return outcome


def start(
    name: str,
    arguments: dict[str, Any],
    *,
    check_mode: bool = False,
    kill_at: tuple[int, str] = (0, ""),
    prelude: Callable[[], None] = lambda: None,
) -> Forked:
    """`prelude` runs in the module's process, to replace what a test wants replaced."""

    def prepare() -> None:
        _kill_around_journal(*kill_at)
        prelude()

    return Forked(name, {**arguments, "_ansible_check_mode": check_mode, "_ansible_diff": True}, prepare)


def run(name: str, arguments: dict[str, Any], **options: Any) -> Outcome:
    return start(name, arguments, **options).finish()


def _kill_around_journal(number: int, moment: str) -> None:
    """SIGKILL right before or right after the N-th time that a restore's journal is written."""
    count, write = 0, Journal.write

    def killing_write(self: Journal) -> None:
        nonlocal count
        count += 1
        if count == number and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        write(self)
        if count == number and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = killing_write  # type: ignore[method-assign]


def _run(name: str, arguments: dict[str, Any], prelude: Callable[[], None], stdout: int, stderr: int) -> None:
    """In the child: never returns."""
    rc = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        prelude()
        with patch_module_args(arguments):
            MAIN[name]()
        rc = 0
    except SystemExit as end:
        rc = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            _save_coverage()
        os._exit(rc)


def _save_coverage() -> None:
    coverage = sys.modules.get("coverage")
    current = coverage.Coverage.current() if coverage else None
    if current is not None:
        current.stop()
        current.save()


def _content(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="replace")
