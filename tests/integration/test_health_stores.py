# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the datastores, on real servers that are stopped, full, read-only, or busy."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.matrix import power
from tests.integration.support.compose import docker, wait_until
from tests.integration.support.health import Looked
from tests.integration.support.mongo_world import MongoWorld, mongo_world  # noqa: F401
from tests.integration.support.recovery import World
from tests.integration.support.redis import ON_HOST, RedisWorld
from tests.integration.support.servers import SERVERS, ServerWorld, served  # noqa: F401


def look(world: World, group: str, check_mode: bool = False, **options: Any) -> Looked:
    check = {"group": group, "id": "main", "datastore": "main", **options}
    return Looked(world.start("health_check", checks=[check], check_mode=check_mode).finish())


@contextlib.contextmanager
def stopped(server: Any) -> Iterator[None]:
    """The server is down meanwhile."""
    container = server.options.get("container")
    process = None if container else power.Process(server.options["port"])
    if container:
        docker("stop", "-t", "10", container)
    elif process:
        process.stop()
    try:
        yield
    finally:
        if container:
            docker("start", container)
            # Another container may have its address by now.
            template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            object.__setattr__(server, "host", docker("inspect", "-f", template, container))
        elif process:
            process.start()
        wait_until(lambda: _answers(server), "the server answers again")


def _answers(server: Any) -> bool:
    try:
        return bool(server.rows("SELECT 1"))
    except Exception:
        return False


# MariaDB, MySQL, PostgreSQL ------------------------------------------------------------------------


def test_a_server_that_works_and_one_that_is_stopped(served: ServerWorld) -> None:  # noqa: F811
    before = served.content()
    found = look(served, served.engine)
    found.is_ok("main", "answers")
    found.is_ok("main/write")
    found.is_ok("main/connections", "connections")
    assert not found.outcome.failed
    assert served.content() == before
    if served.server.options.get("host", "127.0.0.1") != "127.0.0.1":
        return  # it is in a container whose name is not known here
    with stopped(served.server):
        look(served, served.engine).is_crit("main")


def test_the_applications_own_user(served: ServerWorld) -> None:  # noqa: F811
    """A password that was rotated in one place only is a database that is down, for the application."""
    user, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
    if served.engine == "postgresql":
        served.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    else:
        served.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")
        served.execute(f"GRANT SELECT ON `{served.name}`.* TO '{user}'@'%'")
    try:
        login = {"user": user, "password": password}
        found = look(served, served.engine, **login)
        found.is_ok("main", "answers")
        if served.engine != "postgresql":  # it may not make temporary tables
            assert found.status("main/write") == "skipped"
        wrong = look(served, served.engine, user=user, password="another-one")
        wrong.is_crit("main")
        assert "another-one" not in str(wrong.outcome.data)
    finally:
        served.execute(f"DROP ROLE {user}" if served.engine == "postgresql" else f"DROP USER '{user}'@'%'")


def test_connections_that_run_out(served: ServerWorld) -> None:  # noqa: F811
    look(served, served.engine, connections_crit=0.1).is_crit("main/connections", "connections")


def test_a_server_that_takes_no_writes(served: ServerWorld) -> None:  # noqa: F811
    if served.engine == "postgresql":
        served.execute(f'ALTER DATABASE "{served.name}" SET default_transaction_read_only = on')
        look(served, served.engine).is_crit("main/write")
        return
    served.execute("SET GLOBAL read_only = 1")
    try:
        look(served, served.engine).is_crit("main/write", "read-only")
        assert "main/write" not in look(served, served.engine, write=False).checks
    finally:
        served.execute("SET GLOBAL read_only = 0")


def test_a_transaction_that_nobody_ends(served: ServerWorld) -> None:  # noqa: F811
    with contextlib.closing(served.server.connect(served.name)) as open_one:
        cursor = open_one.cursor()
        if served.engine == "postgresql":
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1")
            part, options = "idle", {"idle_warn": 0.5, "idle_crit": 1}
        else:
            cursor.execute("START TRANSACTION")
            cursor.execute("INSERT INTO orders (item) VALUES ('open')")
            part, options = "transactions", {"transaction_warn": 0.5, "transaction_crit": 1}
        time.sleep(2.1)
        look(served, served.engine, **options).is_crit(f"main/{part}")
        cursor.execute("ROLLBACK")
        time.sleep(0.2)  # MySQL reads INNODB_TRX anew every tenth of a second at most
    look(served, served.engine, **options).is_ok(f"main/{part}")


@pytest.mark.parametrize("served", [one for one in SERVERS if "postgres" not in str(one.values[0])], indirect=True)
def test_rates_are_of_the_time_since_the_last_run(served: ServerWorld) -> None:  # noqa: F811
    """PostgreSQL counts no refused logins."""
    look(served, served.engine)
    _backdate(served, 3600)
    for _number in range(5):
        with contextlib.suppress(Exception):
            served.server.connect(password="wrong")
    found = look(served, served.engine, aborted_warn=4)
    assert found.status("main/aborted") == "warn", found.checks
    assert found.checks["main/aborted"]["value"] >= 4


def _backdate(world: World, seconds: int) -> None:
    """The last run was so long ago."""
    import datetime
    import json

    path = world.home / "health.json"
    document = json.loads(path.read_text())
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    document["memory"]["main"]["when"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps(document))


# MongoDB ---------------------------------------------------------------------------------------------


def test_mongodb(mongo_world: MongoWorld) -> None:  # noqa: F811
    found = look(mongo_world, "mongodb")
    found.is_ok("main", "answers")
    assert not found.outcome.failed
    look(mongo_world, "mongodb", password="wrong-password").is_crit("main", "does not let this user in")
    container = mongo_world.server.options.get("container")
    if container:
        docker("pause", container)
        try:
            look(mongo_world, "mongodb", timeout=3).is_crit("main")
        finally:
            docker("unpause", container)
        look(mongo_world, "mongodb").is_ok("main")


# Redis -----------------------------------------------------------------------------------------------


@ON_HOST
def test_redis_that_works_and_that_is_stopped(redis_world: RedisWorld) -> None:
    before = redis_world.state()
    found = look(redis_world, "redis")
    found.is_ok("main", "answers")
    found.is_ok("main/write")
    found.is_ok("main/memory", "no limit")
    assert not found.outcome.failed
    assert redis_world.state() == before
    look(redis_world, "redis", password="wrong-password").is_crit("main", "refuses the password")
    limited = look(redis_world, "redis", memory_limit_required=True)
    assert limited.status("main/memory") == "warn"
    if hasattr(redis_world.server, "process"):
        redis_world.server.stop()
        try:
            look(redis_world, "redis").is_crit("main", "cannot be reached")
        finally:
            redis_world.server.start()


@ON_HOST
def test_redis_that_is_full_and_takes_no_more(redis_world: RedisWorld) -> None:
    client = redis_world.server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    found = look(redis_world, "redis")
    found.is_crit("main/memory", "used")
    found.is_crit("main/write", "maxmemory")
    client.config_set("maxmemory", 1 << 30)
    look(redis_world, "redis").is_ok("main/write")


@ON_HOST
def test_hits_and_evictions_are_of_the_time_since_the_last_run(redis_world: RedisWorld) -> None:
    client = redis_world.server.client()
    assert "main/hits" not in look(redis_world, "redis", hit_rate_warn=50).checks
    for _number in range(150):
        client.get("no such key")
    found = look(redis_world, "redis", hit_rate_warn=50)
    assert found.status("main/hits") == "warn"
    assert found.checks["main/hits"]["value"] < 5
    assert "main/hits" not in look(redis_world, "redis", hit_rate_warn=50).checks, "hardly anything was read since"


@ON_HOST
def test_a_user_of_redis_who_may_do_little(redis_world: RedisWorld) -> None:
    redis_world.server.client().acl_setuser(
        "app", enabled=True, passwords=["+app-password"], keys=["app:*"], commands=["+ping", "+get"]
    )
    found = look(redis_world, "redis", user="app", password="app-password")
    found.is_ok("main", "answers")
    assert found.status("main/write") == "skipped"
    assert found.status("main/info") == "skipped"
    assert not found.outcome.failed


# SQLite ----------------------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_file_of_sqlite(world: World) -> None:
    def beside() -> list[str]:
        return sorted(path.name for path in world.database.parent.iterdir())

    before, content = beside(), world.state()
    found = look(world, "sqlite")
    found.is_ok("main", "is sound", "journal mode")
    found.is_ok("main/write")
    assert (beside(), world.state()) == (before, content)
    small = look(world, "sqlite", check_limit=0)
    small.is_ok("main", "not checked whole")


@pytest.mark.sqlite
def test_a_file_that_is_missing_is_not_made(world: World) -> None:
    for path in world.database.parent.glob(f"{world.database.name}*"):
        path.unlink()
    look(world, "sqlite").is_crit("main", "there is no file")
    assert not list(world.database.parent.glob(f"{world.database.name}*"))


@pytest.mark.sqlite
def test_a_file_that_is_damaged(world: World) -> None:
    with world.open() as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = world.database.stat().st_size
    with open(world.database, "r+b") as stream:
        stream.seek(size // 2)
        stream.write(os.urandom(size // 2))
    look(world, "sqlite").is_crit("main", "damaged")


@pytest.mark.sqlite
def test_a_file_that_somebody_keeps_locked(world: World) -> None:
    holder = sqlite3.connect(world.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        found = look(world, "sqlite")
        found.is_ok("main")
        assert found.status("main/write") == "warn"
        assert "locked" in found.message("main/write")
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.sqlite
def test_a_log_that_nobody_checkpoints(world: World) -> None:
    reader = sqlite3.connect(world.database, isolation_level=None)
    reader.execute("PRAGMA journal_mode=WAL")
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM orders").fetchone()
    try:
        world.add_orders("x" * 500, 5000)
        look(world, "sqlite", wal_warn=1, wal_crit=1).is_crit("main/wal", "write-ahead log")
    finally:
        reader.close()


# What is given wrong --------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_datastore_that_is_none(world: World) -> None:
    found = Looked(world.run("health_check", checks=[{"group": "sqlite", "datastore": "other"}]))
    assert found.status("sqlite") == "unknown"
    assert '"other" is no datastore. There are' in found.message("sqlite")
    found = Looked(world.run("health_check", checks=[{"group": "redis", "datastore": "main"}]))
    assert "is of engine sqlite" in found.message("redis")
