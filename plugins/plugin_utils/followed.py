# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Run a module whose work goes on by itself on the target, show how far it is, and give its result.

The module answers after a few seconds, with its result or with how far it is; `operation_info` then waits on
the target for the end, ten seconds at a time. So a short operation costs nothing more than before, a long
one a connection every ten seconds, and the end is noticed at once.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.day2.ops.plugins.module_utils._core.operations import FINISHED, LOST, RUNNING
from ansible_collections.day2.ops.plugins.module_utils._core.progress import State, line
from ansible_collections.day2.ops.plugins.module_utils._core.worker import KEY, VARIABLE

Result = dict[str, Any]

ANSWER_WITHIN = 4  # seconds; what takes longer shows its progress
INTERVAL = 10  # seconds between two lines
SILENT = 60  # seconds more than that, and the connection counts as broken
PAUSE = 5  # seconds between two tries to reach the host again
RECONNECT = 600
_WORDS = {"backup": "backup", "backup_verify": "verify", "restore": "restore"}

display = Display()


class FollowedAction(ActionBase):  # type: ignore[misc]
    """The action plugin of a module that is run in the background of its target."""

    _supports_async = True
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        del tmp
        if self._task.check_mode or self._task.async_val:
            done = self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
            return {**result, **done}
        self._task_vars = task_vars or {}
        self._controller = os.getppid()
        first = self._ask_module()
        about = first.pop(KEY, None)
        if about is None:  # it failed before it began, or was done at once where it cannot go on by itself
            return {**result, **first}
        if about["attached"]:
            self._say(_attached(about))
        final = first
        if about["state"] != FINISHED:
            final = self._follow(about)
            if "ansible_facts" in first:  # the interpreter that was found
                final.setdefault("ansible_facts", first["ansible_facts"])
        self._still_wanted()
        self._fetched(about)
        if about["attached"]:
            final["attached"] = True
        return {**result, **final}

    @property
    def _what(self) -> str:
        arguments = self._task.args
        operation = _WORDS[self._task.action.rpartition(".")[2]]
        return f"{operation} {arguments.get('app')}-{arguments.get('instance') or 'production'}"

    def _say(self, text: str) -> None:
        if not self._task.no_log:
            display.display(f"[{self._task_vars.get('inventory_hostname', '?')}] {self._what}: {text}")

    # Asking ------------------------------------------------------------------------------------------

    def _ask_module(self) -> Result:
        """Begin it, or find it; its result, or how far it is after a few seconds."""
        number = len(self._task.environment)
        self._task.environment.append({VARIABLE: str(ANSWER_WITHIN)})
        try:
            answer: Result = self._execute_module(task_vars=self._task_vars)
            return answer
        except AnsibleConnectionFailure as error:
            raise AnsibleConnectionFailure(
                f"the connection broke. If the {self._what} had begun, it goes on on the target: run the same task "
                "again, and it is found there"
            ) from error
        finally:
            del self._task.environment[number]

    def _ask(self, run: str) -> Result:
        arguments = {
            "app": self._task.args["app"],
            "run": run,
            "wait": INTERVAL,
            **{key: self._task.args[key] for key in ("instance", "state_dir") if self._task.args.get(key)},
        }
        with _at_most(INTERVAL + SILENT):
            answer: Result = self._execute_module(
                module_name="day2.ops.operation_info", module_args=arguments, task_vars=self._task_vars
            )
        if "operations" not in answer:
            raise AnsibleConnectionFailure(str(answer.get("msg") or answer))
        return answer

    def _fetched(self, about: Mapping[str, Any]) -> None:
        """Say on the target that the result has arrived. Where that is lost it is given once more."""
        with contextlib.suppress(AnsibleError):
            self._low_level_execute_command(f"touch -- {shlex.quote(about['marker'])}")

    def _still_wanted(self) -> None:
        """This process is a worker of ansible-playbook, and outlives it when that is killed: then nobody gets
        what it returns."""
        if os.getppid() != self._controller:
            raise AnsibleError("ansible-playbook has ended")

    # Following ---------------------------------------------------------------------------------------

    def _follow(self, about: Result) -> Result:
        """Show how far it is until it has ended; its result."""
        answer: Result = {}
        with contextlib.suppress(AnsibleConnectionFailure):  # without pipelining the parameters are in a file there
            self.cleanup(force=True)
        while about["state"] == RUNNING:
            self._say(_progress(about))
            answer = self._reach(about)
            self._still_wanted()
            if not answer["operations"]:
                return _failure(
                    f"{self._what}: its record is gone from the target: another one was begun meanwhile, or the state "
                    "directory was emptied. Look with day2.ops.backup_info what there is."
                )
            about = answer["operations"][0]
        if about["state"] == LOST:
            said = f" Its last words: {about['error'].splitlines()[-1]}." if about["error"] else ""
            return _failure(
                f"{self._what}: process {about['pid']}, begun at {about['started']}, ended without a result: it was "
                f"killed, or the machine was restarted.{said} Run it again; what it left is settled then."
            )
        result: Result = dict(answer["result"])
        return result

    def _reach(self, about: Result) -> Result:
        """Ask how far it is; when the connection is broken, until it can be reached again, or for so long."""
        broken: Optional[float] = None
        while True:
            try:
                return self._ask(about["run"])
            except AnsibleConnectionFailure as error:
                if broken is None:
                    broken = time.monotonic()
                    self._say(f"the connection is broken; it goes on on the target, process {about['pid']}")
                patience = int(self._task.args.get("reconnect_timeout") or RECONNECT)
                if time.monotonic() - broken > patience:
                    # Ansible would try to remove it now, and say that instead.
                    self._connection._shell.tmpdir = None
                    raise AnsibleConnectionFailure(
                        f"the host cannot be reached any more since {patience} s. The {self._what} goes on on it "
                        f"(process {about['pid']}, begun at {about['started']}): run the same task again, and it is found "
                        "there, running or finished"
                    ) from error
                time.sleep(PAUSE)
                with contextlib.suppress(AnsibleError, AttributeError, OSError):
                    self._connection.reset()


def _progress(about: Mapping[str, Any]) -> str:
    known = {key: value for key, value in about["progress"].items() if key != "share"}
    return line(State(**known)) or "begins"


def _attached(about: Mapping[str, Any]) -> str:
    if about["state"] == RUNNING:
        return f"runs since {about['started']} (process {about['pid']}); this run waits for it"
    return f"ended at {about['finished']}, and nobody had its result; this is it"


def _failure(message: str) -> Result:
    return {"failed": True, "changed": False, "msg": message}


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """End what waits for a host that has silently gone: ssh itself may wait for hours.

    A task's own `timeout` uses the same alarm, and is then the limit.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL:
        yield
        return

    def give_up(number: int, frame: Any) -> None:
        raise AnsibleConnectionFailure(f"no answer within {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
