# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB on servers of their own: hundreds of tables with foreign keys in little memory, a binary log, a server
that stops."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mariadb import MariaDB

from tests.integration.support.mariadb import Mariadb, container_server, host_server, wait_until
from tests.integration.support.mariadb_engine import back_up, engine_for, journal_step, load, staged

pytestmark = pytest.mark.mariadb

TABLES, KEYS = 300, 800


def parents(number: int) -> list[int]:
    """Tables that one refers to: cycles, itself, and tables that come later in the dump."""
    steps = [(number * 7 + 1) % TABLES, (number * 13 + 5) % TABLES, (number * 29 + 11) % TABLES]
    return steps[: 3 if number < KEYS - 2 * TABLES else 2]


def fill(server: Mariadb, database: str) -> None:
    keys = 0
    statements = [f"CREATE DATABASE `{database}`", f"USE `{database}`", "SET foreign_key_checks = 0"]
    for number in range(TABLES):
        columns = [
            f"r{index} INT, FOREIGN KEY (r{index}) REFERENCES t{other:03} (id)"
            for index, other in enumerate(parents(number))
        ]
        keys += len(columns)
        statements.append(f"CREATE TABLE t{number:03} (id INT PRIMARY KEY, {', '.join(columns)})")
        values = ", ".join(["1 + seq % 20"] * len(columns))
        statements.append(f"INSERT INTO t{number:03} SELECT seq, {values} FROM seq_1_to_20")
    assert keys == KEYS
    server.run(*statements)


def orphans(server: Mariadb, database: str) -> int:
    checks = [
        f"SELECT COUNT(*) FROM t{number:03} c LEFT JOIN t{other:03} p ON p.id = c.r{index} WHERE c.r{index} IS NOT NULL AND p.id IS NULL"
        for number in range(0, TABLES, 10)
        for index, other in enumerate(parents(number))
    ]
    return sum(int(server.value(check, database)) for check in checks)


def reached(engine: MariaDB) -> bool:
    """Whether the server lets us in; its container may have another address since it was asked last."""
    engine.__dict__.pop("access", None)
    try:
        engine.ping()
    except OpsError:
        return False
    return True


def restarts(server: Mariadb) -> str:
    argv = [
        "docker",
        "inspect",
        "-f",
        "{{.State.OOMKilled}} {{.RestartCount}} {{.State.Running}}",
        server.options["container"],
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_a_proof_stays_out_of_the_binary_log_and_a_restore_does_not(tmp_path: Path) -> None:
    with host_server("--log-bin=binlog", "--server-id=1") as server:
        database = "t-logged"
        server.run(
            f"CREATE DATABASE `{database}`",
            f"USE `{database}`",
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500))",
            "INSERT INTO t SELECT seq, REPEAT('x', 400) FROM seq_1_to_500",
        )
        engine = engine_for(server, database, tmp_path)
        part = back_up(engine, tmp_path / "dump")
        logged = []
        for directory in (tmp_path, None):
            before = server.rows("SHOW MASTER STATUS")[0][1]
            scratch = load(engine, part, tmp_path / "dump", directory=directory)
            assert server.value(f"SELECT COUNT(*) FROM `{scratch}`.t") == 500
            engine.drop_scratch(scratch)
            logged.append(server.rows("SHOW MASTER STATUS")[0][1] - before)
        assert logged[0] < 500, "the rows of a proof travel to replicas"
        assert logged[1] > 200_000


@pytest.mark.docker
@pytest.mark.full
def test_hundreds_of_tables_with_foreign_keys_under_a_memory_limit(tmp_path: Path) -> None:
    with container_server("--innodb-buffer-pool-size=64M", flags=("--memory=384m", "--memory-swap=384m")) as server:
        database = "t-large"
        fill(server, database)
        part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump", DumpOptions("full"))
        assert len(part.fingerprint.tables) == TABLES
        assert part.facts["foreign_keys"] == KEYS
        server.run("SET foreign_key_checks = 0", "DELETE FROM t001", "DROP TABLE t002", database=database)

        engine = engine_for(server, database, tmp_path)
        scratch = staged(engine, part, tmp_path / "dump")
        step = journal_step(tmp_path)
        begun = time.monotonic()
        engine.swap(part, scratch, step)
        print(f"swap of {TABLES} tables with {KEYS} foreign keys: {time.monotonic() - begun:.1f} s")
        found = engine.target("full")
        assert part.fingerprint.differences(found.fingerprint) == []  # type: ignore[arg-type]
        assert (
            server.value(
                f"SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{database}' AND UNIQUE_CONSTRAINT_SCHEMA = '{database}'"
            )
            == KEYS
        )
        assert orphans(server, database) == 0
        engine.undo(step)
        assert engine.target("counts").fingerprint.tables["t001"].rows == 0  # type: ignore[union-attr]
        engine.swap(part, scratch, step)
        engine.finish(step)
        assert [name for name in server.databases() if name.startswith("day2_")] == []
        assert restarts(server) == "false 0 true"


@pytest.mark.docker
@pytest.mark.faults
def test_a_container_that_stops_during_a_dump_and_a_load(tmp_path: Path) -> None:
    with container_server("--innodb-flush-log-at-trx-commit=1") as server:  # what is written outlives the kill
        name, database = server.options["container"], "t-stops"
        server.run(
            f"CREATE DATABASE `{database}`",
            f"USE `{database}`",
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500))",
            "INSERT INTO t SELECT seq, REPEAT('x', 400) FROM seq_1_to_50000",
        )
        engine = engine_for(server, database, tmp_path)
        part = back_up(engine, tmp_path / "dump")
        loader_scratch = engine.context.scratch_name("main", "stage")
        engine.stage(part, loader_scratch)
        loader = engine.load(part, loader_scratch)
        loader.stdin.write((tmp_path / "dump").read_bytes()[:500_000])
        with engine.snapshot(DumpOptions()) as taken:
            producer = taken.dump()
            producer.stdout.read(1000)
            subprocess.run(["docker", "kill", name], check=True, stdout=subprocess.DEVNULL, timeout=60)
            while producer.stdout.read(1 << 20):
                pass
            with pytest.raises(OpsError):
                producer.finish()
            with pytest.raises(OpsError):
                taken.fingerprint()
            producer.kill()
        with pytest.raises(OpsError):
            loader.finish()
        loader.kill()
        with pytest.raises(Unavailable):
            engine_for(server, database, tmp_path).ping()

        # Docker starts nothing that it has not yet seen end.
        subprocess.run(["docker", "wait", name], check=True, stdout=subprocess.DEVNULL, timeout=60)
        subprocess.run(["docker", "start", name], check=True, stdout=subprocess.DEVNULL, timeout=60)
        again = engine_for(server, database, tmp_path)
        wait_until(lambda: reached(again), 60, "the server's return")
        assert again.sweep() == [loader_scratch]
        back_up(again, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "dump").read_bytes(), "unchanged rows, another stream"
