# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of operations: what they say of one that runs, has finished, or was killed; and who is meant by two."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.operations import (
    FINISHED,
    LOST,
    RUNNING,
    Operations,
    Record,
    digest,
)
from ansible_collections.day2.ops.plugins.module_utils._core.process import identity
from ansible_collections.day2.ops.plugins.module_utils._core.progress import State

RUN = "1f0c9a"
PARAMETERS = {
    "app": "booking",
    "repository": {"location": "rest:https://me:hunter22@host/", "password": "hunter22"},
    "datastores": [{"name": "main", "port": 3306, "vacuum": False, "password": "swordfish"}],
    "job": "nightly",
    "lock_token": "abc",
}
SECRET = {"hunter22", "swordfish"}


def record(process: str) -> Record:
    return Record(
        RUN, "backup", "d" * 32, "nightly", "root@web1", process, "2026-11-23T21:04:55Z", State("dump", "main", 5)
    )


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    made = Operations(tmp_path / "booking-production")
    with made.guard():
        pass
    return made


def ended() -> str:
    """The identity of a process that has ended."""
    child = subprocess.Popen(["sleep", "60"])
    name = identity(child.pid) or ""
    child.kill()
    child.wait()
    return name


def test_what_is_written_is_read_again(operations: Operations) -> None:
    mine = record(identity(os.getpid()) or "")
    operations.write(mine)
    (seen,) = operations.all()
    assert (seen.record, seen.state, seen.result) == (mine, RUNNING, None)
    assert seen.public()["pid"] == os.getpid() and seen.public()["progress"]["bytes"] == 5
    assert operations.path(RUN, "json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("out", "state", "result"),
    [
        ('\n{"changed": true, "backup": {"id": "x"}}\n', FINISHED, {"changed": True, "backup": {"id": "x"}}),
        ('a library said this\n{"changed": false}\nand that\n', FINISHED, {"changed": False}),
        ('{"changed": tr', LOST, None),
        ("[1]", LOST, None),
        ("", LOST, None),
        (None, LOST, None),
    ],
)
def test_what_became_of_it(operations: Operations, out: str | None, state: str, result: object) -> None:
    operations.write(record(ended()))
    if out is not None:
        operations.path(RUN, "out").write_text(out)
    operations.path(RUN, "err").write_text("Killed\n")
    seen = operations.look(RUN)
    assert seen is not None and (seen.state, seen.result) == (state, result)
    assert not seen.fetched
    operations.path(RUN, "fetched").touch()
    seen = operations.look(RUN)
    assert seen is not None and seen.fetched
    operations.remove(RUN)
    assert [path.name for path in operations.directory.iterdir()] == ["guard"]


def test_waiting_ends_with_what_is_waited_for(operations: Operations) -> None:
    child = subprocess.Popen(["sleep", "0.3"])
    operations.write(record(identity(child.pid) or ""))
    seen = operations.wait(RUN, 0.05)
    assert seen is not None and seen.state == RUNNING
    operations.path(RUN, "out").write_text("{}")
    seen = operations.wait(RUN, 20)
    assert seen is not None and seen.state == FINISHED
    child.wait()
    assert operations.wait("000000", 5) is None


def test_the_same_is_asked_for_by_the_same_parameters() -> None:
    mine = digest(PARAMETERS, SECRET)
    assert digest({**PARAMETERS, "job": "by hand", "lock_token": None, "reconnect_timeout": 5}, SECRET) == mine
    assert digest({**PARAMETERS, "app": "garage"}, SECRET) != mine
    for name, value in (("port", 3307), ("vacuum", True), ("name", "other")):
        other = {**PARAMETERS["datastores"][0], name: value}  # type: ignore[dict-item]
        assert digest({**PARAMETERS, "datastores": [other]}, SECRET) != mine


def test_secrets_do_not_enter_a_digest() -> None:
    other = {
        **PARAMETERS,
        "repository": {"location": "rest:https://me:other999@host/", "password": "other999"},
        "datastores": [{"name": "main", "port": 3306, "vacuum": False, "password": "trout"}],
    }
    assert digest(other, {"other999", "trout"}) == digest(PARAMETERS, SECRET)
