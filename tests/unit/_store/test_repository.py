# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of restic, two repositories for one restic, and what a check says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._store import damage, messages
from ansible_collections.day2.ops.plugins.module_utils._store.messages import AppendOnly, Damaged, NoRepository
from ansible_collections.day2.ops.plugins.module_utils._store.repository import (
    Options,
    Repository,
    check_options,
    check_pair,
    flags,
)

S3 = Repository(
    "s3:https://x/a",
    "p" * 9,
    {"AWS_ACCESS_KEY_ID": "one"},
    options=Options(limit_upload=5, limit_download=7, connections=3),
)


def local(**options: Any) -> Repository:
    return Repository("/srv/a", "p" * 9, options=Options(**options))


@pytest.mark.parametrize(
    ("location", "scheme"),
    [
        ("/srv/x", "local"),
        ("local:/srv/x", "local"),
        ("s3:https://x/y", "s3"),
        ("sftp:u@h:/x", "sftp"),
        ("a/b:c", "local"),
    ],
)
def test_the_scheme_is_told_from_the_location(location: str, scheme: str) -> None:
    assert Repository(location, "x").scheme == scheme


def test_flags_go_to_the_verbs_that_take_them() -> None:
    repository = local(compression="max", pack_size=16, read_concurrency=4, extended={"local.layout": "default"})
    assert flags(repository, "backup") == [
        "--compression=max", "--pack-size=16", "--read-concurrency=4", "-o", "local.layout=default",
    ]  # fmt: skip
    assert flags(repository, "snapshots") == ["-o", "local.layout=default"]
    assert flags(S3, "dump") == ["--limit-download=7", "--limit-upload=5", "-o", "s3.connections=3"]


def test_a_copy_reads_at_the_pace_of_the_first_and_writes_at_that_of_the_second() -> None:
    assert flags(local(limit_upload=2, limit_download=1, pack_size=8), "copy", S3) == [
        "--limit-download=7", "--limit-upload=2", "--pack-size=8", "-o", "s3.connections=3",
    ]  # fmt: skip


def test_what_restic_lacks_is_refused_with_the_version_that_has_it() -> None:
    check_options(local(read_concurrency=2), (0, 15, 0), [])
    with pytest.raises(Refused, match=r"needs restic 0\.15\.0 or newer, and restic is 0\.14\.0"):
        check_options(local(read_concurrency=2), (0, 14, 0), [])
    with pytest.raises(Refused, match=r"sftp\.args needs restic 0\.16\.1"):
        check_options(local(extended={"sftp.args": "-v"}), (0, 14, 0), ["sftp.command"])
    with pytest.raises(Refused, match="does not know the extended option"):
        check_options(local(extended={"x.y": "1"}), (0, 18, 0), ["sftp.args"])


def test_two_that_need_different_environments_are_refused() -> None:
    check_pair(S3, Repository("sftp:h:/x", "q" * 9, {"AWS_ACCESS_KEY_ID": "one"}))
    with pytest.raises(Refused, match="AWS_ACCESS_KEY_ID"):
        check_pair(S3, Repository("s3:https://y/b", "q" * 9, {"AWS_ACCESS_KEY_ID": "two"}))
    with pytest.raises(Refused, match="the same"):
        check_pair(S3, Repository("s3:https://x/a/", "q" * 9))


OPENING = "\nIs there a repository at the following location?\ns3:http://x/y"


@pytest.mark.parametrize(
    ("stderr", "kind", "said"),
    [
        (f"Fatal: unable to open config file: Stat: The AWS Access Key Id you provided does not exist in our records.{OPENING}", Unavailable, "refuses the login"),
        (f"Fatal: unable to open config file: Stat: The specified bucket does not exist.{OPENING}", NoRepository, "no repository"),
        (f"Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized{OPENING}", Unavailable, "refuses the login"),
        ("Remove(<snapshot/cc3e>) returned error, retrying after 552ms: blob not removed, server response: 403 Forbidden (403)", AppendOnly, "append-only"),
        ("Remove(<snapshot/cc3e>) failed: client.RemoveObject: Access Denied.", AppendOnly, "append-only"),
        ("Warning: Identity file /k not accessible: No such file or directory.\nFatal: unable to open repository at sftp:h:/x: unable to start the sftp session, error: unexpected EOF", Unavailable, "cannot be reached"),
        ("Fatal: unable to save snapshot: Put: dial tcp 127.0.0.1:1: connect: connection refused", Unavailable, "cannot be reached any more"),
        ("Fatal: ciphertext verification failed", Damaged, "is damaged"),
    ],
)  # fmt: skip
def test_what_a_store_says_is_told_apart(stderr: str, kind: type[OpsError], said: str) -> None:
    error = messages.classify(["restic"], 1, stderr, "s3:http://x/y")
    assert type(error) is kind
    assert said in error.what


def test_only_what_cannot_go_better_is_given_up() -> None:
    again = "Stat(<config/>) returned error, retrying after 1.05s: Stat: "
    for final in (
        "The request signature we calculated does not match",
        "403 Forbidden",
        "The specified bucket does not exist.",
    ):
        assert messages.gave_up(again + final)
    for passing in ("dial tcp 127.0.0.1:1: connect: connection refused", "503 Service Unavailable"):
        assert not messages.gave_up(again + passing)
        assert messages.tries_again(again + passing)
    assert not messages.gave_up("error: open /srv/403 Forbidden: permission denied")
    assert not messages.tries_again(again + "x\nStat(<config/>) operation successful after 2 retries")


PACK, TREE = "ca" * 32, "3e92a873"


@pytest.mark.parametrize(
    ("text", "packs", "trees"),
    [
        (f"Pack ID does not match, want {PACK}, got {'46' * 32}\nFatal: repository contains errors", (PACK,), ()),
        (f"pack {PACK} contains 2 errors: [blob x: decrypting failed]\nrestic repair packs {PACK}", (PACK,), ()),
        (
            f"pack {PACK}: does not exist\nLoad(<data/caca>, 1, 0) returned error, retrying after 5ms: no such file",
            (PACK,),
            (),
        ),
        (f"error for tree {TREE}:\n  decrypting blob <tree/{TREE}> from b3c7e71f failed", (), (TREE,)),
    ],
)
def test_packs_and_trees_are_found_in_what_each_version_says(text: str, packs: Any, trees: Any) -> None:
    found = damage.parse(text)
    assert (found.packs, found.trees) == (packs, trees)
    assert found.errors
    assert not any("retrying" in line for line in found.errors)
