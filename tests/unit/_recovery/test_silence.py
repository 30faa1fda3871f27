# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When nothing passes any more, the server is asked; the fault matrix stops real ones (server_stopped)."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, ToolFailed, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.progress import Progress
from ansible_collections.day2.ops.plugins.module_utils._recovery import silence


class Server:
    def __init__(self, *answers: OpsError | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOOK", 0.01)
    monkeypatch.setattr(silence, "QUIET", 0.05)


def streams(server: Any, seconds: float, moving: bool = False) -> bool:
    """A tool that streams for so long; whether it was ended before."""
    ended, progress = threading.Event(), Progress()
    with silence.watched(server, progress, ended.set):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if moving:
                progress.add(1)
            if ended.wait(0.01):
                raise ToolFailed("mysql was killed by signal 9")
    return False


def test_a_tool_whose_server_has_gone_is_ended_and_the_error_says_so() -> None:
    server = Server(Unavailable("no route to host"))
    with pytest.raises(Unavailable, match="the server has gone while data were on their way: no route to host"):
        streams(server, 10)
    assert server.asked == silence.MISSES


def test_a_server_that_answers_may_take_its_time() -> None:
    server = Server(None)
    assert streams(server, 0.4) is False
    assert server.asked > 1


def test_a_server_that_misses_once_is_asked_again() -> None:
    server = Server(Unavailable("busy"), None)
    assert streams(server, 0.4) is False


def test_what_a_server_refuses_is_an_answer() -> None:
    assert streams(Server(Refused("too many connections")), 0.4) is False


def test_nobody_is_asked_while_something_passes() -> None:
    server = Server(Unavailable("gone"))
    assert streams(server, 0.4, moving=True) is False
    assert server.asked == 0


def test_an_error_of_the_tools_own_stays_what_it_is() -> None:
    with pytest.raises(ToolFailed, match="ended with 1"), silence.watched(Server(None), Progress(), lambda: None):  # type: ignore[arg-type]
        raise ToolFailed("mysql ended with 1")


def test_an_error_after_a_server_missed_once_is_the_tools_own() -> None:
    progress = Progress()

    class Slow(Server):
        def ping(self) -> None:
            progress.add(1)  # something passes again, each time that it was asked
            super().ping()

    server = Slow(Unavailable("busy"))

    def works_and_fails() -> None:
        with silence.watched(server, progress, lambda: None):  # type: ignore[arg-type]
            until = time.monotonic() + 10
            while server.asked < 2 and time.monotonic() < until:
                time.sleep(0.001)
            raise ToolFailed("mysql ended with 1")

    with pytest.raises(ToolFailed, match="ended with 1"):
        works_and_fails()
    assert server.asked >= 2
