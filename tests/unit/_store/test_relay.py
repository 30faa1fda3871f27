# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay passes everything on, and lets nothing half be stored (with a real restic)."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import io
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Mismatch, OpsError, ToolFailed
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._core.process import Child, Command, failed
from ansible_collections.day2.ops.plugins.module_utils._store import relay
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Repository, Restic


@pytest.fixture
def restic(tmp_path: Path) -> Restic:
    context = Context(App("booking", "production"), tmp_path / "state")
    store = Restic(Repository(str(tmp_path / "repository"), "a long password"), context)
    io.private_directory(context.home)
    store.init()
    return store


class Shell:
    """A producer: a shell script."""

    def __init__(self, script: str) -> None:
        self.child = Child(Command(("sh", "-c", script)))

    @property
    def stdout(self) -> IO[bytes]:
        return self.child.stdout

    def finish(self) -> Mapping[str, int]:
        rc = self.child.wait(30)
        if rc:
            raise failed(self.child.argv, rc, self.child.stderr_tail)
        return {"sh": rc}

    def kill(self) -> None:
        self.child.kill()


class Catch:
    """A loader: cat into a file."""

    def __init__(self, path: Path, script: str = "cat") -> None:
        self.path = path
        self.child = Child(Command(("sh", "-c", f"{script} > '{path}'")), stdin=subprocess.PIPE)

    @property
    def stdin(self) -> IO[bytes]:
        return self.child.stdin

    def finish(self) -> None:
        rc = self.child.wait(30)
        if rc:
            raise failed(self.child.argv, rc, self.child.stderr_tail)

    def kill(self) -> None:
        self.child.kill()


def ends_well(head: bytes, end: bytes) -> bool:
    return end.endswith(b"END\n")


def store(restic: Restic, script: str) -> relay.Stored:
    return relay.store(Shell(script), restic.store_stream("x.sql", ["day2"]), ends_well)


BIG = "head -c 5000000 /dev/urandom; "


def test_what_is_stored_comes_back_byte_by_byte(restic: Restic, tmp_path: Path) -> None:
    stored = store(restic, BIG + "echo END")
    out = tmp_path / "out"
    relay.load(restic, stored.summary.snapshot, "x.sql", stored.digest, Catch(out))
    content = out.read_bytes()
    assert len(content) == stored.digest.size == 5000004
    assert hashlib.sha256(content).hexdigest() == stored.digest.sha256


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 3", ToolFailed),  # early
        (BIG + "exit 3", ToolFailed),  # late
        (BIG + "echo END; exit 3", ToolFailed),  # after full output
        (BIG + "kill -9 $$", ToolFailed),
        (BIG, Mismatch),  # no end mark although all went well
        ("true", Mismatch),  # nothing at all
    ],
)
def test_a_dump_that_is_not_whole_is_not_stored(restic: Restic, script: str, error: type[OpsError]) -> None:
    with pytest.raises(error):
        store(restic, script)
    assert restic.snapshots(["day2"]) == []
    restic.settle()  # restic that is interrupted while it takes its lock leaves it
    assert not list((Path(restic.repository.location) / "locks").iterdir())


def test_restic_killed_in_the_middle_is_an_error_and_ends_the_dump(restic: Restic) -> None:
    stream = restic.store_stream("x.sql", ["day2"])
    producer = Shell("while :; do head -c 1000000 /dev/zero; done")
    threading.Timer(1.5, lambda: os.kill(stream._child.pid, signal.SIGKILL)).start()
    with pytest.raises(ToolFailed, match="killed by signal 9"):
        relay.store(producer, stream, ends_well)
    assert producer.child.rc is not None
    assert restic.snapshots(["day2"]) == []


def test_an_altered_stream_is_noticed_before_it_counts_as_loaded(restic: Restic, tmp_path: Path) -> None:
    stored = store(restic, BIG + "echo END")
    other = relay.Digest(stored.digest.size, "0" * 64)
    with pytest.raises(Mismatch, match="not what was stored"):
        relay.load(restic, stored.summary.snapshot, "x.sql", other, Catch(tmp_path / "out"))
    shorter = relay.Digest(stored.digest.size + 1, stored.digest.sha256)
    with pytest.raises(Mismatch, match="not what was stored"):
        relay.load(restic, stored.summary.snapshot, "x.sql", shorter, Catch(tmp_path / "out2"))


def test_a_loader_that_fails_says_why(restic: Restic, tmp_path: Path) -> None:
    stored = store(restic, BIG + "echo END")
    loader = Catch(tmp_path / "out", "head -c 10; echo 'table is full' >&2; exit 4; cat")
    with pytest.raises(ToolFailed, match="table is full"):
        relay.load(restic, stored.summary.snapshot, "x.sql", stored.digest, loader)


def test_a_missing_snapshot_is_an_error(restic: Restic, tmp_path: Path) -> None:
    with pytest.raises(OpsError):
        relay.load(restic, "0123abcd", "x.sql", relay.Digest(1, ""), Catch(tmp_path / "out"))


def test_the_pump_uses_constant_memory() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(os.devnull, "wb") as sink:
        source = Child(Command(("head", "-c", "300000000", "/dev/zero")))
        assert relay.pump(source.stdout, sink).size == 300_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
