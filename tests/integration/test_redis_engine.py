# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis on this host and in a container: rights, persistence, memory, caches, and what is refused."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import faults
from tests.integration.support.redis import (
    APPENDONLY,
    IN_CONTAINER,
    NO_PERSISTENCE,
    ON_HOST,
    PASSWORD,
    SAVE_POINTS,
    ContainerServer,
    HostServer,
    RedisWorld,
    container_server,
    content,
    deployed,
    host_server,
    scratch_containers,
    with_backups,
)

pytestmark = pytest.mark.redis


@pytest.fixture
def here(redis_on_host: HostServer, tmp_path: Path) -> Iterator[RedisWorld]:
    with deployed(redis_on_host, tmp_path) as world:
        yield world


@pytest.mark.parametrize(
    "flags", [pytest.param(APPENDONLY, id="appendonly"), pytest.param(SAVE_POINTS, id="save points")]
)
def test_what_was_restored_survives_a_crash_of_the_server_right_afterwards(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    with host_server(*flags) as server, deployed(server, tmp_path) as world:
        earlier = with_backups(world, 1)
        (backup,) = earlier
        world.damage()
        server.restart()  # what was damaged is on the disk
        world.restore(backup=backup)["changed"]
        server.restart("KILL")
        assert world.state() == earlier[backup]
        world.is_clean()


@pytest.mark.docker
@pytest.mark.full
def test_an_append_only_file_in_a_container_does_not_win_over_what_was_restored(tmp_path: Path) -> None:
    with container_server(*APPENDONLY) as server, deployed(server, tmp_path) as world:
        earlier = with_backups(world, 1)
        (backup,) = earlier
        world.damage()
        world.restore(backup=backup)["changed"]
        server.restart("KILL")
        assert world.state() == earlier[backup]


def test_named_databases_alone_are_counted_and_restored(here: RedisWorld) -> None:
    world = here
    world.options = {"databases": [3]}
    backup = world.backup()
    before = content(world.server)
    client = world.server.client()
    client.set("first", "changed since")
    client.function_flush()
    world.server.client(3).flushdb()
    world.server.client(9).set("nobody's", 1)
    outcome = world.restore(backup=backup)
    assert list(outcome["restore"]["datastores"]["main"]["tables"]) == ["db3.string", "db3.string.expiring"]
    after = content(world.server)
    assert {key: value for key, value in after.items() if key.startswith("db3 ")} == {
        key: value for key, value in before.items() if key.startswith("db3 ")
    }
    assert client.get("first") == b"changed since" and after["functions"] == []
    assert world.server.client(9).get("nobody's") == b"1"
    world.options = {"databases": [3, 4]}
    assert "the backup holds databases 3, not 4" in world.restore(backup=backup).msg


def test_functions_come_back_and_go_again_when_the_swap_is_undone(here: RedisWorld) -> None:
    world = here
    backup = world.backup()
    client = world.server.client()
    client.function_flush()
    client.function_load("#!lua name=later\nredis.register_function('later', function() return 1 end)")
    world.change("later")
    state = world.state()
    failed = world.restore(backup=backup, prelude=_fail_after_swap)
    assert failed.failed and "as it was before" in failed.msg, failed.data
    assert world.state() == state
    world.is_clean()
    world.restore(backup=backup)["changed"]
    assert client.fcall("first_answer", 0) == 42
    assert [one[1] for one in client.function_list()] == [b"first"]


def _fail_after_swap() -> None:
    """The next datastore cannot be swapped."""
    from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError
    from ansible_collections.day2.ops.plugins.module_utils._engines.files import Files

    def refuse(*given: Any) -> None:
        raise OpsError("the files cannot be swapped")

    Files.swap = refuse  # type: ignore[method-assign]


def test_keys_that_expire_do_not_make_an_old_backup_wrong_and_lost_ones_are_noticed(here: RedisWorld) -> None:
    world = here
    client = world.server.client()
    client.set("short", "1", px=6000)
    backup = world.backup()
    time.sleep(6.1)
    proof = world.run("backup_verify", backup=backup)
    assert proof["verification"]["whole"]
    world.damage()
    world.restore(backup=backup)["changed"]
    assert not client.exists("short") and client.ttl("session") > 6 * 86400
    # The same keys, lost though their time has not come.
    lost = world.run("backup_verify", backup=backup, prelude=_lose_expiring_keys)
    assert "must not have expired yet" in lost.msg, lost.data


def _lose_expiring_keys() -> None:
    from ansible_collections.day2.ops.plugins.module_utils._engines.redis.throwaway import Server

    start = Server.start

    def then_lose(self: Server, need: int) -> None:
        start(self, need)
        with self.connect() as client:
            client.unlink("session", "cart")

    Server.start = then_lose  # type: ignore[method-assign]


def test_a_copy_that_lost_a_key_or_a_value_is_no_proof(here: RedisWorld) -> None:
    world = here
    backup = world.backup(fingerprint="full")
    for command in (("UNLINK", "number"), ("RPOP", "long list"), ("SET", "number", "4712")):
        wrong = world.run("backup_verify", backup=backup, prelude=lambda given=command: _alter_copy(*given))
        assert "is not what was backed up" in wrong.msg, (command, wrong.data)
    assert world.run("backup_verify", backup=backup)["verification"]["level"] == "full"


def _alter_copy(*command: str) -> None:
    from ansible_collections.day2.ops.plugins.module_utils._engines.redis.throwaway import Server

    start = Server.start

    def then_alter(self: Server, need: int) -> None:
        start(self, need)
        with self.connect() as client:
            client.execute_command(*command)

    Server.start = then_alter  # type: ignore[method-assign]


@ON_HOST
def test_writers_during_a_backup(redis_world: RedisWorld) -> None:
    world = redis_world
    stop = threading.Event()

    def write() -> None:
        client, number = world.server.client(), 0
        while not stop.is_set():
            number += 1
            client.set(f"written:{number}", number)
            client.lpush("queue", number)
            client.delete(f"written:{number - 50}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = world.backup()
    finally:
        stop.set()
        writer.join()
    proof = world.run("backup_verify", backup=backup)["verification"]
    assert proof["whole"]


def test_assertions_ask_the_restored_copy(here: RedisWorld) -> None:
    world = here
    backup = world.backup()
    asked = [
        {"datastore": "main", "sql": "GET number", "value": "4711"},
        {"datastore": "main", "sql": "-n 3 DBSIZE", "min": 2},
        {"datastore": "main", "sql": "HLEN 'large hash'", "value": "600"},
        {"datastore": "main", "table": "db0.list", "rows": 2},
    ]
    found = world.run("backup_verify", backup=backup, assertions=asked)["verification"]["assertions"]
    assert [one["ok"] for one in found] == [True] * 4
    wrong = world.run("backup_verify", backup=backup, assertions=[{**asked[0], "value": "1"}])
    assert "found '4711', expected" in wrong.msg
    refused = world.run("backup_verify", backup=backup, assertions=[{**asked[0], "sql": "DEL number"}])
    assert "DEL is no command that only reads" in refused.msg


# Rights --------------------------------------------------------------------------------------------------


def test_an_acl_user_with_no_more_than_the_documented_rights(here: RedisWorld) -> None:
    world = here
    client = world.server.client()
    backup_rights = "+sync +psync +replconf +ping +info +select +get"
    restore_rights = "+dbsize +swapdb +restore +set +del +multi +exec +flushdb +function|dump +function|restore +client|list +client|id +client|kill +wait +bgsave +config|get"
    client.execute_command("ACL", "SETUSER", "keeper", "on", ">keeper-password", "~*", *backup_rights.split())
    world.options = {"user": "keeper", "password": "keeper-password"}
    earlier = {world.backup(): world.state()}
    (backup,) = earlier
    world.change("later")
    denied = world.restore(backup=backup)
    assert "swapdb" in denied.msg and "Nothing was changed" in denied.msg
    client.execute_command("ACL", "SETUSER", "keeper", *restore_rights.split())
    outcome = world.restore(backup=backup)
    assert outcome["changed"]
    assert world.state() == earlier[backup]
    # FLUSHDB is often denied: SCAN and UNLINK do.
    client.execute_command("ACL", "SETUSER", "keeper", "-flushdb", "+scan", "+unlink")
    world.change("again")
    world.restore(backup=backup)["changed"]
    assert world.state() == earlier[backup]
    world.is_clean()


def test_without_the_right_to_read_by_replication_nothing_is_stored(here: RedisWorld) -> None:
    world = here
    client = world.server.client()
    client.execute_command("ACL", "SETUSER", "app", "on", ">app-password", "~*", "+@all", "-@dangerous", "+info")
    world.options = {"user": "app", "password": "app-password"}
    failed = world.run("backup")
    assert "may not read the whole server by replication" in failed.msg and "ACL SETUSER" in failed.msg
    assert not world.snapshots()
    world.is_clean()


@ON_HOST
def test_a_wrong_password_is_refused_at_once(redis_world: RedisWorld) -> None:
    world = redis_world
    world.options = {"password": "not-the-password"}
    begun = time.monotonic()
    failed = world.run("backup")
    assert "refuses the password or user" in failed.msg
    assert "not-the-password" not in failed.msg
    assert time.monotonic() - begun < 4


@IN_CONTAINER
def test_no_password_is_in_a_command_line(redis_world: RedisWorld) -> None:
    world = redis_world
    secret = "keeper-" + secrets.token_hex(8)
    world.server.client().execute_command("ACL", "SETUSER", "keeper", "on", f">{secret}", "~*", "+@all")
    world.options = {"user": "keeper", "password": secret}
    seen: list[str] = []

    def look() -> None:
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if "redis-cli" in line or secret in line:
                        seen.append(line)

    with faults.watching(look):
        outcome = world.run("backup")
    assert any("--user keeper --rdb" in line for line in seen), "the watcher saw nothing"
    assert not [line for line in seen if secret in line]
    assert secret not in outcome.stdout + outcome.stderr


# Memory --------------------------------------------------------------------------------------------------


def test_what_would_be_evicted_is_refused_with_numbers(here: RedisWorld) -> None:
    world = here
    world.grow(20)
    backup = world.backup()
    client = world.server.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + (10 << 20))
    try:
        keys = client.dbsize()
        refused = world.restore(backup=backup)
        assert "would evict live keys (allkeys-lru)" in refused.msg and "Nothing was changed" in refused.msg
        assert client.dbsize() == keys and int(client.info("stats")["evicted_keys"]) == 0
        client.flushdb()
        world.restore(backup=backup)["changed"]
        assert client.dbsize() == keys
        assert int(client.info("stats")["evicted_keys"]) == 0
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.docker
def test_a_container_with_little_memory_survives_backup_proof_and_restore(tmp_path: Path) -> None:
    limits = ("--memory", "128m", "--memory-swap", "128m")
    with container_server(*NO_PERSISTENCE, docker=limits) as server, deployed(server, tmp_path) as world:
        started = server.client().info("server")["run_id"]
        world.grow(60)
        backup, state = world.backup(), world.state()
        world.run("backup_verify", backup=backup)["verification"]
        refused = world.restore(backup=backup)
        assert "more than the container's memory limit of 128.0 MiB" in refused.msg, refused.data
        assert world.state() == state
        server.client().flushall()
        world.restore(backup=backup)["changed"]
        assert world.state() == state
        assert server.client().info("server")["run_id"] == started, "the kernel killed the server"


# Caches --------------------------------------------------------------------------------------------------


class CachedWorld(RedisWorld):
    """Data in database 0, a cache in database 5 of the same server."""

    def datastores(self) -> list[dict[str, Any]]:
        main, uploads = super().datastores()
        cache = {
            **main,
            "name": "cache",
            "content": "cache",
            "databases": [5],
            "user": "app",
            "password": "app-password",
        }
        return [{**main, "databases": [0, 3]}, cache, uploads]


def test_a_cache_is_never_backed_up_and_emptied_by_a_restore(here: RedisWorld) -> None:
    world = CachedWorld(**{name: getattr(here, name) for name in here.__dataclass_fields__})
    # As applications have it: neither FLUSHDB nor INFO.
    world.server.client().execute_command("ACL", "SETUSER", "app", "on", ">app-password", "~*", "+@all", "-@dangerous")
    cache = world.server.client(5)
    cache.mset({f"page {number}": number for number in range(2000)})
    cache.set("page", "from before")
    made = world.run("backup")["backup"]
    assert made["caches"] == ["cache"] and [one["name"] for one in made["datastores"]] == ["main", "uploads"]
    checked = world.run("restore", check_mode=True, replace=True)["restore"]
    assert checked["flushed"] == ["cache"] and cache.get("page")
    only = world.restore(only=["main"])
    assert only["restore"]["flushed"] == [] and cache.get("page")
    assert world.restore()["restore"]["flushed"] == ["cache"]
    assert cache.dbsize() == 0 and world.server.client().get("number") == b"4711"
    cache.set("page", "again")
    assert world.restore(only=["main", "cache"])["changed"] and not cache.exists("page")
    assert '"cache" is a cache, which is never backed up' in world.run("backup_verify", only=["cache"]).msg
    assert "nothing but caches" in world.restore(only=["cache"]).msg


def test_a_cache_that_shares_a_database_with_data_is_refused(here: RedisWorld) -> None:
    world = here
    world.backup()
    both = [{**world.datastores()[0], "name": "cache", "content": "cache"}, *world.datastores()]
    refused = world.restore(datastores=both)
    assert "the cache would be emptied" in refused.msg and "Nothing was changed" in refused.msg
    files = [{**world.datastores()[1], "content": "cache"}]
    assert "content: cache is for engine redis, not for files" in world.run("backup", datastores=files).msg


# Streams and servers that are not whole ------------------------------------------------------------------


@ON_HOST
def test_a_stream_that_is_cut_is_not_stored(redis_world: RedisWorld) -> None:
    world = redis_world
    cut = world.run("backup", prelude=faults.changed_tool("redis-cli", '"$@" | head -c -300'))
    assert "bytes of the dump arrived" in cut.msg and "Nothing was stored" in cut.msg, cut.data
    broken = world.run("backup", prelude=faults.changed_tool("redis-cli", '"$@"; exit 3'))
    assert "ended with 3" in broken.msg
    assert not world.snapshots()
    world.is_clean()


def test_a_damaged_dump_is_refused_before_it_is_stored(here: RedisWorld) -> None:
    world = here

    def flip() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._engines.redis import dump

        fetch = dump.fetch

        def then_flip(cli: Any, path: Path) -> None:
            fetch(cli, path)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

        dump.fetch = then_flip

    failed = world.run("backup", prelude=flip)
    assert "cannot load the RDB file" in failed.msg, failed.data
    # A server that leaves out a key without a word: redis-check-rdb counts them too.
    lost = world.run("backup", prelude=lambda: _alter_copy("UNLINK", "number"))
    assert "keys without expiry, of which the throwaway server loaded" in lost.msg, lost.data
    assert not world.snapshots()
    world.is_clean()


def test_too_few_spare_databases_are_refused(tmp_path: Path) -> None:
    with host_server(*NO_PERSISTENCE, "--databases", "4") as server, deployed(server, tmp_path) as world:
        server.client(1).set("third", 1)
        backup = world.backup()
        refused = world.restore(backup=backup)
        assert "3 empty databases are needed beside the live ones, and 1 of 4 are there" in refused.msg
        assert "Nothing was changed" in refused.msg


@pytest.mark.docker
@pytest.mark.full
def test_a_replica_is_backed_up_and_follows_a_restore_of_its_master(
    redis_in_container: ContainerServer, tmp_path: Path
) -> None:
    with deployed(redis_in_container, tmp_path) as world:
        replicaof = ("--replicaof", f"{redis_in_container.address} 6379", "--masterauth", PASSWORD)
        with container_server(*NO_PERSISTENCE, *replicaof) as replica:
            faults.wait_for(lambda: content(replica) == content(world.server), what="the first synchronisation")
            world.options = {"container": replica.name}
            state, backup = world.state(), world.backup()
            assert f"is a replica of {redis_in_container.address}" in world.restore(backup=backup).msg
            world.options = {}
            world.damage()
            stopped = world.restore(backup=backup)["restore"]["stopped"]
            assert [one["name"] for one in stopped] == [replica.name]
            assert world.state() == state
            faults.wait_for(lambda: content(replica) == state["main"], what="the replica's following")


@IN_CONTAINER
def test_a_killed_backup_leaves_a_throwaway_server_that_the_next_run_takes_away(redis_world: RedisWorld) -> None:
    world = redis_world
    for directory_stays in (True, False):  # the container alone, as when the directory was another run's choice
        killed = world.run("backup", prelude=_die_counting)
        assert killed.killed
        if world.server.kind == "container":
            assert any(name.startswith(world.scratch_prefix()) for name in scratch_containers())
        if not directory_stays:
            shutil.rmtree(world.home / "scratch")
        backup = world.backup()
        world.is_clean()
    assert world.run("backup_verify", backup=backup)["verification"]["whole"]
    world.is_clean()


def _die_counting() -> None:
    from ansible_collections.day2.ops.plugins.module_utils._engines.redis import census

    def die(*given: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    census.take = die


@IN_CONTAINER
def test_the_throwaway_server_has_a_limit_of_its_own(redis_world: RedisWorld) -> None:
    """Its data are larger than it was told: it ends, and says so; the live one goes on."""
    world = redis_world
    world.grow(300)

    def tell_little() -> None:
        from ansible_collections.day2.ops.plugins.module_utils._engines.redis import throwaway

        throwaway.data_size = lambda info: 1 << 20

    failed = world.run("backup", prelude=tell_little)
    assert "its memory limit was" in failed.msg, failed.data
    assert world.server.answers() and not world.snapshots()
    world.is_clean()


# Newer servers -------------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.full
@pytest.mark.parametrize("program", ["valkey-server", "redis-server"])
def test_newer_servers(program: str, tmp_path: Path) -> None:
    """Valkey 9 and Redis 8, hashes whose fields expire included; an older server refuses what they wrote."""
    image = "day2-test/valkey:sid"
    with container_server(*APPENDONLY, image=image, program=program) as server, deployed(server, tmp_path) as world:
        client = server.client()
        key = "with expiring fields"
        client.hset(key, mapping={"soon": 1, "later": 2})
        client.execute_command("HEXPIRE", key, 4000, "FIELDS", 1, "later")
        if program == "valkey-server":
            assert "does not stream hash fields that expire" in world.run("backup").msg
            client.execute_command("HPERSIST", key, "FIELDS", 1, "later")
            client.hdel(key, "soon")
        else:
            client.execute_command("HPEXPIRE", key, 8000, "FIELDS", 1, "soon")
        earlier = with_backups(world, 1)
        (backup,) = earlier
        faults.wait_for(lambda: client.hlen(key) == 1, what="the field's expiry")
        assert world.run("backup_verify", backup=backup)["verification"]["whole"]
        world.damage()
        world.restore(backup=backup)["changed"]
        server.restart("KILL")
        found = world.state()["main"]
        name = "db0 b'with expiring fields'"
        assert found.pop(name)[0] == [(b"later", b"2")]
        earlier[backup]["main"].pop(name)
        assert found == earlier[backup]["main"]
        world.is_clean()
        with container_server(*NO_PERSISTENCE) as older:
            into = [{"datastore": "main", **older.options}]
            refused = world.restore(backup=backup, into=into)
            assert "Restore onto the same version or a newer one" in refused.msg, refused.data
