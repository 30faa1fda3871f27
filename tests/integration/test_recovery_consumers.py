# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uses the data is stopped right before the swap, and runs again afterwards, whatever happens."""

from __future__ import annotations

import dataclasses
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import Seed, World

pytestmark = [pytest.mark.sqlite, pytest.mark.files, pytest.mark.docker]

# Writes a row and a file, then says so in a log of its own; each of its lives begins with a line `begun`.
WRITER = """
import pathlib, signal, sqlite3, sys, time
app, log = pathlib.Path(sys.argv[1]), open("/log/log", "a", buffering=1)
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
log.write("begun\\n")
number = 0
while not ended:
    number += 1
    connection = sqlite3.connect(app / "data" / "main.db", timeout=30)
    with connection:
        connection.execute("INSERT INTO orders (item) VALUES (?)", (f"written {number}",))
    connection.close()
    (app / "uploads" / f"written-{number}").write_text("x")
    log.write(f"{number}\\n")
    time.sleep(0.02)
"""


@dataclasses.dataclass(frozen=True)
class Writer:
    """A container that writes to the application's data all the time."""

    name: str
    log: Path

    def runs(self) -> bool:
        asked = ["docker", "inspect", "-f", "{{.State.Running}}", self.name]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "true"

    def lives(self) -> list[list[int]]:
        """What it wrote, in each of its lives."""
        parts = self.log.read_text().split("begun\n")[1:]
        return [[int(line) for line in part.splitlines()] for part in parts]


@pytest.fixture
def writer(world: World, tmp_path: Path) -> Iterator[Writer]:
    name = f"day2t-writer-{secrets.token_hex(4)}"
    argv = ["docker", "run", "-d", "--name", name, "-v", f"{world.root / 'app'}:{world.root / 'app'}"]
    argv += ["-v", f"{tmp_path}:/log", "--entrypoint", "python3", "day2-test/bare:bookworm", "-c", WRITER]
    subprocess.run([*argv, str(world.root / "app")], check=True, stdout=subprocess.DEVNULL)
    found = Writer(name, tmp_path / "log")
    try:
        faults.wait_for(lambda: found.log.exists() and len(found.lives()[0]) > 3, what="the writer's first rows")
        yield found
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=False, stdout=subprocess.DEVNULL)


def written(database: Path) -> set[int]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT item FROM orders WHERE item LIKE 'written %'").fetchall()
    finally:
        connection.close()
    return {int(item.split()[1]) for (item,) in rows}


def test_what_was_written_while_the_copy_was_staged_is_in_the_safety_copy(
    world: World, seed: Seed, writer: Writer
) -> None:
    restic = Wrapper(world)
    restic.at("restore-1", "sleep 0.5")
    outcome = world.restore(safety_copy="required")
    restored = outcome["restore"]
    assert [one["name"] for one in restored["stopped"]] == [writer.name]
    faults.wait_for(lambda: len(writer.lives()) == 2 and len(writer.lives()[1]) > 2, what="the writer's second life")
    first, second = writer.lives()
    assert writer.runs()
    # It works on the restored data, not on what a rename has put aside.
    assert set(second[:3]) <= written(world.database) <= {*second, second[-1] + 1}
    assert {path.name for path in world.uploads.glob("written-*")} >= {f"written-{number}" for number in second[:3]}
    subprocess.run(["docker", "stop", writer.name], check=True, stdout=subprocess.DEVNULL)

    world.restore(backup=restored["safety_backup"])["changed"]
    assert written(world.database) == set(first), "rows were lost between the staging and the swap"
    files = {int(path.name.rpartition("-")[2]) for path in world.uploads.glob("written-*")}
    assert files == set(first)


@pytest.mark.faults
@pytest.mark.parametrize("point", [(2, "after"), (3, "before"), (8, "after"), (13, "after")])
def test_a_killed_restores_next_run_starts_what_was_stopped(
    world: World, seed: Seed, writer: Writer, point: tuple[int, str]
) -> None:
    assert world.restore(kill_at=point).killed
    assert writer.runs() is (point == (2, "after")), "the point of the kill is not where this test thinks"
    became, _outcome = world.settle()
    assert became == ("completed" if point[0] == 13 else "undone")
    assert writer.runs()
    assert [one for one in world.leftovers() if "locks/" not in one] == []


@pytest.mark.faults
def test_a_restore_that_fails_starts_what_it_stopped(world: World, seed: Seed, writer: Writer) -> None:
    """In the safety copy, in the swap, and after it."""
    restic = Wrapper(world)
    restic.at("backup-2", faults.KILL_THE_MODULE.replace("-9 $PPID", "-15 $PPID"))
    assert "SIGTERM" in world.restore(safety_copy="required").msg
    assert writer.runs()
    restic.calm()
    faults.wait_for(lambda: len(writer.lives()) == 2, what="its second life")

    def no_swap() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError
        from ansible_collections.day2.ops.plugins.module_utils._engines.files import Files

        def fail(self: Files, *arguments: object) -> None:
            raise OpsError("no swap today")

        Files.swap = fail  # type: ignore[method-assign, assignment]

    failed = world.restore(prelude=no_swap)
    assert "no swap today. Every datastore is as it was before, and the services run again" in failed.msg
    assert writer.runs()
    faults.wait_for(lambda: len(writer.lives()) == 3, what="its third life")

    def no_accounts() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError
        from ansible_collections.day2.ops.plugins.module_utils._engines.sqlite import SQLite

        def fail(self: SQLite, *arguments: object) -> None:
            raise OpsError("no accounts today")

        SQLite.grant_accounts = fail  # type: ignore[method-assign, assignment]

    failed = world.restore(prelude=no_accounts)
    assert "no accounts today. The data are restored" in failed.msg
    assert writer.runs(), "the data are restored, and the application stays down"
    assert world.settle()[0] == "completed"
    assert writer.runs()


def test_a_process_of_no_service_is_named_and_nothing_is_touched(world: World, seed: Seed) -> None:
    """Nobody but its owner can stop it; nor may it go on with a directory that was renamed."""
    before = world.state()
    code = f"import time; stream = open({str(world.uploads / 'two.txt')!r}); print('open', flush=True); time.sleep(300)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            refused = world.restore(safety_copy="required")
            assert f"process {process.pid}" in refused.msg
            assert "two.txt" in refused.msg
            assert "The live data are untouched" in refused.msg
            planned = world.restore(check_mode=True)
            assert planned.failed and f"process {process.pid}" in planned.msg
        finally:
            process.send_signal(signal.SIGKILL)
    assert world.state() == before
    world.is_clean()
    time.sleep(0.1)
    assert world.restore()["changed"]
