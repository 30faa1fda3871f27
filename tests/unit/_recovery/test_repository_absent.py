# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only where a repository is certainly absent one is made: what restic says decides, in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._recovery import repository
from ansible_collections.day2.ops.plugins.module_utils._store.messages import NoRepository, classify

# Recorded with restic 0.14.0, `restic cat config`.
ABSENT = {
    "a directory": (
        1,
        "Fatal: unable to open config file: stat /b/none/config: no such file or directory\nIs there a repository at",
    ),
    "a REST server": (
        1,
        "Fatal: unable to open config file: <config/> does not exist\nIs there a repository at the following location?",
    ),
    "a bucket": (
        1,
        "Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a repository at",
    ),
    "restic 0.17 and newer": (10, "Fatal: repository does not exist: unable to open config file: stat /b/none/config"),
}
FAILING = {
    "a REST server that is down": (
        1,
        'Fatal: unable to open config file: client.Head: Head "http://127.0.0.1:1/x/config": dial tcp 127.0.0.1:1: connect: '
        "connection refused\nIs there a repository at the following location?\nrest:http://127.0.0.1:1/x/",
    ),
    "an S3 server that is down": (
        1,
        'Fatal: unable to open config file: Stat: Get "http://127.0.0.1:1/b/?location=": dial tcp 127.0.0.1:1: connect: '
        "connection refused\nIs there a repository at the following location?\ns3:http://127.0.0.1:1/b/x",
    ),
    "a server with an error": (
        1,
        "Fatal: unable to open config file: unexpected HTTP response (500): 500 Internal Server Error\nIs there a repository at",
    ),
    "a name that does not resolve": (
        1,
        'Fatal: unable to open config file: client.Head: Head "http://nas/config": dial tcp: lookup nas: no such host\nIs there',
    ),
}


@pytest.mark.parametrize(("rc", "stderr"), ABSENT.values(), ids=ABSENT.keys())
def test_absent(rc: int, stderr: str) -> None:
    assert isinstance(classify(["restic"], rc, stderr, "x"), NoRepository)


@pytest.mark.parametrize(("rc", "stderr"), FAILING.values(), ids=FAILING.keys())
def test_a_failure_is_not_absence(rc: int, stderr: str) -> None:
    error = classify(["restic"], rc, stderr, "x")
    assert type(error) is Unavailable
    assert "the repository x cannot be reached: Fatal: unable to open config file:" in str(error)


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    repository._check_directory(None)
    repository._check_directory(tmp_path)
    repository._check_directory(tmp_path / "none")
    (tmp_path / "keys").mkdir()
    with pytest.raises(Refused, match="is not empty"):
        repository._check_directory(tmp_path)
