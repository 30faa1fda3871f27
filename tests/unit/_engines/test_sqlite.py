# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite: what its header says, what its errors mean, and what a checksum tells apart."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import (
    Busy,
    Mismatch,
    OpsError,
    Refused,
    Unavailable,
)
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore
from ansible_collections.day2.ops.plugins.module_utils._engines import sqlite_file, sqlite_fingerprint, sqlite_place
from ansible_collections.day2.ops.plugins.module_utils._engines.sqlite import SQLite
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container, Mount


@pytest.mark.parametrize("page_size", [512, 4096, 32768, 65536])
def test_the_header_tells_the_files_length(tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA page_size={page_size}; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(99999));"
    )
    connection.close()
    header = sqlite_file.Header.parse(path.read_bytes()[:4096])
    assert header is not None
    assert header.page_size == page_size
    assert header.size == path.stat().st_size


@pytest.mark.parametrize("head", [b"", b"SQLite format 3\0", b"SQLite format 2\0" + bytes(84), bytes(100)])
def test_what_is_no_database_has_no_header(head: bytes) -> None:
    assert sqlite_file.Header.parse(head) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("database is locked", Busy),
        ("database table is locked: t", Busy),
        ("file is not a database", Mismatch),
        ("database disk image is malformed", Mismatch),
        ("malformed database schema (x)", Mismatch),
        ("unable to open database file", Unavailable),
        ("attempt to write a readonly database", Unavailable),
        ("database or disk is full", OpsError),
        ("no such column: t.x", OpsError),
    ],
)
def test_every_error_names_the_file_and_says_what_to_do(text: str, kind: type[OpsError]) -> None:
    error = sqlite_file.explained(sqlite3.OperationalError(text), Path("/srv/booking.db"))
    assert type(error) is kind
    assert "/srv/booking.db" in error.what or "disk" in error.what


def test_names_are_quoted() -> None:
    assert sqlite_file.quoted('a "b"; --') == '"a ""b""; --"'


def test_no_two_different_rows_look_the_same() -> None:
    text = sqlite_fingerprint._Text
    rows = [
        (None,),
        (0,),
        (0.0,),
        (-0.0,),
        (1,),
        (1.0,),
        (text(b"1"),),
        (b"1",),
        (text(b""),),
        (b"",),
        (b"1", b""),
        (b"", b"1"),
        (text(b"n"),),
        (None, None),
        (12, 3),
        (1, 23),
        (text(b"1:a"),),
        (text(b"at"), text(b"b")),
        (text(b"a"), text(b"tb")),
        (text(b"ab"), text(b"c")),
        (text(b"a"), text(b"bc")),
        (2**63 - 1,),
        (-(2**63),),
    ]
    encoded = [sqlite_fingerprint._encoded(row) for row in rows]
    for one, other in itertools.combinations(range(len(rows)), 2):
        assert encoded[one] != encoded[other], (rows[one], rows[other])


def test_a_sweep_takes_what_other_runs_left_and_keeps_the_rest(tmp_path: Path) -> None:
    context = Context(App("booking", "production"), tmp_path, run_id="0000aa")
    engine = SQLite(Datastore("main", "sqlite", options={"path": "/srv/x.db"}), context, Application())
    prefix, scratch = context.scratch_prefix("main"), context.home / "scratch"
    scratch.mkdir(parents=True)
    left = [
        f"{prefix}0000aa_stage.sqlite",  # this run's own
        f"{prefix}0000bb_old.sqlite",  # what a swap kept, until its journal is settled
        f"{prefix}0000cc_stage.sqlite",  # belongs to a journal
        f"{context.scratch_prefix('other')}0000bb_stage.sqlite",
        f"{prefix}0000bb_stage.sqlite.saved-by-hand",
    ]
    gone = [
        f"{prefix}0000bb_{name}" for name in ("stage.sqlite", "dump.sqlite", "dump.sqlite-wal", "dump.sqlite.vacuum")
    ]
    for name in left + gone:
        (scratch / name).touch()
    assert sorted(engine.sweep(["0000cc"])) == sorted(gone)
    assert sorted(path.name for path in scratch.iterdir()) == sorted(left)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(Refused, match="is not absolute"):
        sqlite_place.locate({"path": "booking.db"})


def test_a_path_in_a_stopped_containers_volume_is_found(tmp_path: Path) -> None:
    container = stopped([Mount("volume", str(tmp_path), "/data", True, "booking_data")])
    assert sqlite_place.in_container(container, "/data/a/x.db").path == tmp_path / "a" / "x.db"
    with pytest.raises(Unavailable, match=r"/srv/x\.db is in no volume of container web, which does not run"):
        sqlite_place.in_container(container, "/srv/x.db")


def stopped(mounts: list[Mount]) -> Container:
    return Container(
        id="1" * 64,
        name="web",
        state="exited",
        labels={},
        health="",
        exit_code=0,
        pid=0,
        image="web",
        image_id="",
        hostname="web",
        network_mode="bridge",
        restart_policy="no",
        env={},
        mounts=tuple(mounts),
        networks=(),
        published=(),
        extra_hosts={},
        tmpfs=(),
    )
