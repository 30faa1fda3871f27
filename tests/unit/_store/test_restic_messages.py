# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic's outcomes mean, from its recorded messages (0.14.0 and 0.18)."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, ToolFailed, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._store.messages import (
    Damaged,
    Locked,
    NoRepository,
    classify,
    read_errors,
)

CASES = [
    (1, "Fatal: wrong password or no key found", Unavailable, "password of the repository"),
    (12, "Fatal: wrong password or no key found", Unavailable, "password of the repository"),
    (
        1,
        "Fatal: unable to open config file: stat /nope/config: no such file or directory\n"
        "Is there a repository at the following location?\n/nope",
        NoRepository,
        "no repository",
    ),
    (10, "Fatal: repository does not exist: unable to open config file", NoRepository, "no repository"),
    (
        1,
        "unable to create lock in backend: repository is already locked exclusively by PID 9 on vm by root (UID 0, GID 0)\n"
        "lock was created at 2026-11-23 21:00:00",
        Locked,
        "already locked exclusively by PID 9",
    ),
    (11, "unable to create lock in backend: repository is already locked by PID 9", Locked, "locked"),
    (
        1,
        "unable to create lock in backend: Save(<lock/9a>) failed: write /r/locks/9a: no space left on device",
        ToolFailed,
        "no space left",
    ),
    (1, "Fatal: unable to save snapshot: write /r/data/x: no space left on device", ToolFailed, "no space left"),
    (1, "Fatal: ciphertext verification failed", Damaged, "damaged"),
    (
        1,
        "ignoring error for /d/noise: StreamPack: open /r/data/21/2150: no such file or directory\n"
        "ignoring error for /d/noise: UtimesNano: no such file or directory\nFatal: There were 2 errors",
        Damaged,
        "damaged: ignoring error for /d/noise: StreamPack",
    ),
    (
        1,
        "Load(<data/2150fc2941>, 783030, 217120) failed: <data/2150fc2941> does not exist\nFatal: There were 5 errors",
        Damaged,
        "damaged: Load(<data/2150fc2941>",
    ),
    (
        2,
        'Load(<data/21>, 7, 0) returned error, retrying: unexpected EOF\nerror in cleanup handler: client.Do: Delete "http://h/locks/1": '
        "dial tcp 127.0.0.1:80: connect: connection refused",
        Unavailable,
        "cannot be reached any more: error in cleanup handler",
    ),
    (2, "something new", ToolFailed, "something new"),
]


@pytest.mark.parametrize(("rc", "stderr", "kind", "message"), CASES)
def test_each_failure_is_told_apart(rc: int, stderr: str, kind: type[OpsError], message: str) -> None:
    error = classify(["restic", "snapshots"], rc, stderr, "/repo")
    assert type(error) is kind
    assert message in str(error)
    assert error.rc == rc


def test_a_restore_that_finds_no_space_names_its_target_and_not_the_repository() -> None:
    argv = ["restic", "restore", "9a", "--target", "/var/scratch", "--include", "/srv"]
    error = classify(argv, 1, "ignoring error for /srv/x: write /var/scratch/srv/x: no space left on device", "/repo")
    assert "no space left in /var/scratch" in str(error)
    assert "/repo" not in str(error)


@pytest.mark.parametrize(
    ("gone", "denied"),
    [
        (
            '{"message_type":"error","error":{"Op":"lstat","Path":"/d/z3","Err":2},"during":"archival","item":"/d/z3"}',
            '{"message_type":"error","error":{"Op":"open","Path":"/d/bad","Err":13},"during":"archival","item":"/d/bad"}',
        ),
        (
            '{"message_type":"error","error":{"message":"lstat /d/z3: no such file or directory"},"during":"archival","item":"/d/z3"}',
            '{"message_type":"error","error":{"message":"open /d/bad: permission denied"},"during":"archival","item":"/d/bad"}',
        ),
    ],
    ids=["0.14", "0.18"],
)
def test_a_file_that_vanished_is_told_from_one_that_cannot_be_read(gone: str, denied: str) -> None:
    warning = "Warning: at least one source file could not be read"
    vanished, others = read_errors(f"{gone}\n{denied}\n{warning}", b'{"message_type":"summary"}')
    assert vanished and "/d/z3" in vanished[0] and len(vanished) == 1
    assert others and "/d/bad" in others[0] and "permission denied" in others[0] and len(others) == 1
