# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: patterns, counts, mounts, and which path of a backup goes where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines import (
    files,
    files_exclude,
    files_merge,
    files_paths,
    files_tree,
)

# Lines of `restic ls --json`, 0.14.0.
NODES = """
{"name":"tmp","type":"dir","path":"/tmp","uid":0,"gid":0,"mode":2148532735,"struct_type":"node"}
{"name":"up","type":"dir","path":"/tmp/up","uid":0,"gid":0,"mode":2147484141,"struct_type":"node"}
{"name":"a","type":"file","path":"/tmp/up/a","uid":0,"gid":0,"size":120,"mode":420,"struct_type":"node"}
{"name":"empty","type":"file","path":"/tmp/up/empty","uid":0,"gid":0,"mode":420,"struct_type":"node"}
{"name":"l","type":"symlink","path":"/tmp/up/l","uid":0,"gid":0,"mode":134218239,"struct_type":"node"}
{"name":"p","type":"fifo","path":"/tmp/up/p","uid":0,"gid":0,"mode":33554852,"struct_type":"node"}
{"name":"upper","type":"dir","path":"/tmp/upper","uid":0,"gid":0,"mode":2147484141,"struct_type":"node"}
{"name":"b","type":"file","path":"/tmp/upper/b","uid":0,"gid":0,"size":7,"mode":420,"struct_type":"node"}
"""


def test_restics_nodes_are_counted_at_and_below_the_paths_only() -> None:
    nodes = [json.loads(line) for line in NODES.split("\n") if line]
    found = files_tree.fingerprint_from_nodes(nodes, ["/tmp/up"])
    assert found.objects == {"file": 2, "directory": 1, "symlink": 1, "other": 1, "byte": 120}
    assert files_tree.fingerprint_from_nodes(nodes, ["/tmp/upper/b"]).objects["byte"] == 7


def test_a_comparison_looks_at_the_kinds_that_were_counted() -> None:
    found = Fingerprint(objects={"file": 2, "directory": 1, "byte": 9})
    assert files_tree.narrowed(found, Fingerprint(objects={"file": 3, "byte": 9})).objects == {"file": 2, "byte": 9}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("cache", "/srv/app/cache", True),
        ("cache", "/srv/app/cache/deep/file", True),
        ("cache", "/srv/app/caches", False),
        ("*.log", "/srv/a.log", True),
        ("*.log", "/srv/a.log.1", False),
        ("app/*.log", "/srv/app/a.log", True),
        ("app/*.log", "/srv/app/b/a.log", False),
        ("/srv/app", "/srv/app/x", True),
        ("/srv/app", "/mnt/srv/app/x", False),
        ("/srv/*/x", "/srv/a/x", True),
        ("/srv/*/x", "/srv/a/b/x", False),
        ("/srv/**/x", "/srv/a/b/x", True),
        ("/srv/**/x", "/srv/x", True),
        ("**/x", "/a/b/x", True),
        ("a?c", "/abc", True),
        ("a?c", "/ac", False),
        ("[a-c]x", "/bx", True),
        ("[^a-c]x", "/bx", False),
        ("[^a-c]x", "/dx", True),
        (r"\*", "/*", True),
        (r"\*", "/a", False),
        ("a+b(c)", "/a+b(c)", True),
        ("dir/", "/dir/file", True),
        ("line\nbreak", "/line\nbreak/x", True),
    ],
)
def test_a_pattern_matches_as_it_does_for_restic(pattern: str, path: str, expected: bool) -> None:
    assert files_exclude.excluded(path, files_exclude.compiled([pattern])) is expected


def test_a_later_pattern_takes_an_exclusion_back() -> None:
    patterns = files_exclude.compiled(["*.log", "!keep.log"])
    assert files_exclude.excluded("/srv/a.log", patterns)
    assert not files_exclude.excluded("/srv/keep.log", patterns)


@pytest.mark.parametrize("path", ["/srv/a*b", "/srv/[x]", r"/srv/back\slash", "/srv/?", "/plain/path"])
def test_an_escaped_path_matches_itself_only(path: str) -> None:
    patterns = files_exclude.compiled([files_exclude.escaped(path)])
    assert files_exclude.excluded(path, patterns)
    assert not files_exclude.excluded("/srv/axb", patterns)
    assert not files_exclude.excluded("/srv/x", patterns)


def test_the_innermost_mount_holds_a_path() -> None:
    points = ["/", "/srv", "/srv/app", "/srv/apps"]
    assert files_tree.mount_of("/srv/app/uploads", points) == "/srv/app"
    assert files_tree.mount_of("/srv/application", points) == "/srv"
    assert files_tree.mount_of("/etc", points) == "/"
    assert files_tree.mounts_below("/srv", points) == ["/srv/app", "/srv/apps"]
    assert files_tree.mounts_below("/srv/app", points) == []


def test_this_hosts_mounts_are_read() -> None:
    assert "/proc" in files_tree.mount_points()


def test_an_exchange_swaps_two_names_or_says_that_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").write_text("file")
    if files_tree.exchange(str(tmp_path / "one"), str(tmp_path / "two")):
        assert (tmp_path / "one").is_file()
        assert (tmp_path / "two").is_dir()
    with pytest.raises(FileNotFoundError):
        files_tree.exchange(str(tmp_path / "one"), str(tmp_path / "nothing"))


def test_metadata_survives_a_journal(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(mode=0o751)
    other.mkdir()
    os.setxattr(one, "user.x", b"\x00\xff")
    os.setxattr(other, "user.y", b"goes")
    os.utime(one, ns=(123456789, 987654321))
    files_tree.apply_metadata(str(other), json.loads(json.dumps(files_tree.metadata(str(one)))))
    assert files_tree.metadata(str(other)) == files_tree.metadata(str(one))


def test_a_walk_ends_in_time_and_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [os.path.relpath(name, tmp_path) for name, _status in files_tree.walk(str(tmp_path))]
    assert names == [".", "a", "a/b", "loop"]
    assert len(list(files_tree.walk(str(tmp_path), until=0.0))) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [(".env", True), ("web.env", True), (".env.local", True), ("env", False), (".envrc", False), ("a.env.yml", False)],
)
def test_env_files_are_known_by_name(name: str, expected: bool) -> None:
    assert files_merge.is_env_file(name) is expected


def part(*paths: str) -> Part:
    entries: list[dict[str, Any]] = [
        {"path": path, "stored": f"/real{path}", "kind": "directory", "parents": []} for path in paths
    ]
    return Part("main", "files", "files", "data", "tree", "", "0", 0, "", Fingerprint(), facts={"paths": entries})


def test_paths_are_matched_by_name_else_in_their_order() -> None:
    pairs, warnings = files_paths.matched(part("/a", "/b"), ["/b", "/a"])
    assert [(pair.stored, pair.path) for pair in pairs] == [("/real/b", "/b"), ("/real/a", "/a")]
    assert warnings == []
    pairs, warnings = files_paths.matched(part("/a", "/b"), ["/x", "/y"])
    assert [(pair.stored, pair.path) for pair in pairs] == [("/real/a", "/x"), ("/real/b", "/y")]
    pairs, warnings = files_paths.matched(part("/a", "/b"), ["/b", "/new"])
    assert [pair.stored for pair in pairs] == ["/real/b"]
    assert len(warnings) == 2
    with pytest.raises(Refused, match="Name as many paths"):
        files_paths.matched(part("/a", "/b"), ["/x"])


def test_scratch_names_are_hidden_and_still_known() -> None:
    assert files._hidden("day2_0123456789_0000aa_stage") == ".day2-0123456789_0000aa_stage"
