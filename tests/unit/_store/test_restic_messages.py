# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic's outcomes mean, from its recorded messages (0.14.0 and 0.18)."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, ToolFailed, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._store.messages import Locked, NoRepository, classify

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
    (1, "Fatal: ciphertext verification failed", ToolFailed, "damaged"),
    (2, "something new", ToolFailed, "something new"),
]


@pytest.mark.parametrize(("rc", "stderr", "kind", "message"), CASES)
def test_each_failure_is_told_apart(rc: int, stderr: str, kind: type[OpsError], message: str) -> None:
    error = classify(["restic", "snapshots"], rc, stderr, "/repo")
    assert type(error) is kind
    assert message in str(error)
    assert error.rc == rc
