# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis servers for tests, on this host and in a container, and the small application with one of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.support.recovery import State, World, end_processes_of, tree_content, unique_app

IMAGE = "day2-test/redis:7"
PASSWORD = "server-" + secrets.token_hex(6)
# Not the 5 seconds that a server waits for a second replica before it begins to send.
SETTINGS = ("--requirepass", PASSWORD, "--repl-diskless-sync-delay", "0")
NO_PERSISTENCE = ("--appendonly", "no", "--save", "")
APPENDONLY = ("--appendonly", "yes", "--save", "")
SAVE_POINTS = ("--appendonly", "no", "--save", "3600 1")


class Server:
    """A running server; `options` are what a datastore needs to reach it."""

    kind = ""
    options: dict[str, Any]

    def client(self, database: int = 0, **more: Any) -> Any:
        raise NotImplementedError

    def restart(self, signal: str = "TERM") -> None:
        """End it (KILL: as a crash does), and start it on what it kept."""
        raise NotImplementedError

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def wait(self, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < until, "the Redis server does not answer"
            time.sleep(0.05)

    def wipe(self) -> None:
        client = self.client()
        client.config_set("maxmemory", 0)
        client.flushall()
        with contextlib.suppress(redis.ResponseError):
            client.function_flush()
        for user in client.acl_users():
            if user != "default":
                client.acl_deluser(user)


@dataclasses.dataclass
class HostServer(Server):
    home: Path
    flags: Sequence[str] = ()
    program: str = "redis-server"
    kind: str = "host"

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.options = {"port": self.port, "password": PASSWORD}

    def start(self) -> None:
        argv = ["setpriv", "--pdeathsig=KILL", self.program, "--port", str(self.port), "--dir", str(self.home)]
        argv += ["--bind", "127.0.0.1", "--unixsocket", str(self.home / "socket"), *SETTINGS, *self.flags]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        self.wait()

    def stop(self, signal: str = "TERM") -> None:
        assert self.process is not None
        self.process.send_signal({"TERM": 15, "KILL": 9}[signal])
        self.process.wait(60)

    def restart(self, signal: str = "TERM") -> None:
        self.stop(signal)
        self.start()

    def client(self, database: int = 0, **more: Any) -> Any:
        return redis.Redis(port=self.port, db=database, **{"password": PASSWORD, "socket_timeout": 60, **more})


@dataclasses.dataclass
class ContainerServer(Server):
    name: str
    image: str = IMAGE
    kind: str = "container"

    def __post_init__(self) -> None:
        self.options = {"container": self.name, "password": PASSWORD}

    @property
    def address(self) -> str:
        return _inspect(self.name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def client(self, database: int = 0, **more: Any) -> Any:
        return redis.Redis(host=self.address, db=database, **{"password": PASSWORD, "socket_timeout": 60, **more})

    def restart(self, signal: str = "TERM") -> None:
        subprocess.run(["docker", "kill", "-s", signal, self.name], check=True, stdout=subprocess.DEVNULL, timeout=60)
        subprocess.run(["docker", "wait", self.name], check=True, stdout=subprocess.DEVNULL, timeout=60)
        subprocess.run(["docker", "start", self.name], check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.wait()


def _inspect(name: str, template: str) -> str:
    done = subprocess.run(
        ["docker", "inspect", "-f", template, name], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


@contextlib.contextmanager
def host_server(*flags: str, program: str = "redis-server") -> Iterator[HostServer]:
    home = Path(tempfile.mkdtemp(prefix="day2t-redis-"))
    server = HostServer(home, flags or NO_PERSISTENCE, program)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def container_server(
    *flags: str, docker: Sequence[str] = (), image: str = IMAGE, program: str = "redis-server"
) -> Iterator[ContainerServer]:
    """`flags` of the server, `docker` for docker run."""
    name = f"day2t-redis-{secrets.token_hex(4)}"
    argv = ["docker", "run", "-d", "--name", name, *docker, image, program, *SETTINGS]
    subprocess.run([*argv, *(flags or NO_PERSISTENCE)], check=True, stdout=subprocess.DEVNULL, timeout=120)
    try:
        server = ContainerServer(name, image)
        server.wait()
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)


def scratch_containers() -> list[str]:
    done = subprocess.run(
        ["docker", "ps", "-a", "--filter", "name=day2_", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split()


# The application ------------------------------------------------------------------------------------------

LIBRARY = "#!lua name={name}\nredis.register_function('{name}_answer', function() return 42 end)"


@dataclasses.dataclass
class RedisWorld(World):
    """An application whose data are in databases of a Redis server."""

    server: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    engine = "redis"
    dump_tool = "redis-cli"
    load_tool = "redis-server"

    def datastores(self) -> list[dict[str, Any]]:
        return [
            {"name": "main", "engine": "redis", **self.server.options, **self.options},
            {"name": "uploads", "engine": "files", "paths": [str(self.uploads)]},
        ]

    def deploy(self) -> None:
        self.server.wipe()
        for path in (self.uploads, self.env_file.parent):
            path.mkdir(parents=True)
        fill(self.server)
        self.add_upload("two.txt", "grün 🚲\n".encode())

    def change(self, word: str) -> None:
        client = self.server.client()
        client.rpush("orders", f"{word} 🚲")
        client.hset("order:" + word, mapping={"item": word, "paid": 1})
        client.delete("first")
        self.server.client(3).set("last", word)
        self.add_upload(f"{word}.txt", word.encode() * 100)

    def grow(self, megabytes: int) -> None:
        client = self.server.client()
        for number in range(megabytes):
            client.set(f"ballast:{number}", os.urandom(1 << 20))

    def damage(self) -> None:
        client = self.server.client()
        client.flushdb()
        client.set("damage", 1)
        self.server.client(7).set("damage too", 1)
        self.add_upload("damage", b"x")

    def state(self) -> State:
        return {"main": content(self.server), "uploads": tree_content(self.uploads)}

    def leftovers(self) -> list[str]:
        found = super().leftovers()
        client = self.server.client()
        for name in client.info("keyspace"):
            found += [f"{name}: {key}" for key in self.server.client(int(name[2:])).scan_iter("day2_*")]
        prefix = self.scratch_prefix()
        return [*found, *(name for name in scratch_containers() if name.startswith(prefix))]

    def scratch_prefix(self) -> str:
        from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
        from ansible_collections.day2.ops.plugins.module_utils._core.model import App

        return Context(App(self.app, "production"), self.state_dir).scratch_prefix("main")


def fill(server: Server) -> None:
    """Each type of value, small and large encodings, keys that expire, binary keys, several databases."""
    client = server.client()
    client.set("first", "grün 🚲")
    client.set(b"binary \x00\xff\r\n", bytes(range(256)))
    client.set("number", 4711)
    client.rpush("orders", *(f"order {number}" for number in range(5)))
    client.rpush("long list", *(os.urandom(50) for number in range(2000)))
    client.sadd("numbers", *range(100))
    client.sadd("members", *(f"member {number}" for number in range(1000)))
    client.zadd("scores", {"one": 1.5, "two": float("inf"), "three": -3})
    client.zadd("ranking", {f"player {number}": number / 7 for number in range(500)})
    client.hset("user:1", mapping={"name": "Ann", b"\xfe": b"\x00"})
    client.hset("large hash", mapping={f"field {number}": "x" * 100 for number in range(600)})
    client.pfadd("visitors", *range(5000))
    client.geoadd("places", (7.59, 47.56, "Basel", 7.44, 46.95, "Bern"))
    client.setbit("bits", 100000, 1)
    for number in range(300):
        client.xadd("events", {"number": number})
    client.xgroup_create("events", "workers", "0")
    client.xreadgroup("workers", "ann", {"events": ">"}, count=7)
    client.xdel("events", client.xrange("events", count=1)[0][0])
    client.set("session", "a week", ex=7 * 86400)
    client.hset("cart", mapping={"item": 1})
    client.expire("cart", 3600)
    server.client(3).set("elsewhere", "3")
    server.client(3).set("elsewhere too", "3", ex=86400)
    with contextlib.suppress(redis.ResponseError):
        client.function_load(LIBRARY.format(name="first"))


def content(server: Server) -> State:
    """All that the server holds, by value; when each key expires, in ms."""
    found: State = {}
    for name in sorted(server.client().info("keyspace")):
        client = server.client(int(name[2:]))
        for key in sorted(client.scan_iter(count=1000)):
            found[f"{name} {key!r}"] = (_value(client, key), _expiry(client, key))
    with contextlib.suppress(redis.ResponseError):
        found["functions"] = sorted(repr(one) for one in server.client().function_list(withcode=True))
    return found


def _expiry(client: Any, key: bytes) -> int:
    return int(client.execute_command("PEXPIRETIME", key))


def _value(client: Any, key: bytes) -> Any:
    kind = client.type(key).decode()
    if kind == "string":
        return client.get(key)
    if kind == "list":
        return client.lrange(key, 0, -1)
    if kind == "set":
        return sorted(client.smembers(key))
    if kind == "zset":
        return client.zrange(key, 0, -1, withscores=True)
    if kind == "hash":
        return sorted(client.hgetall(key).items())
    assert kind == "stream"
    groups = client.xinfo_groups(key)
    pending = [client.xpending_range(key, group["name"], "-", "+", 100) for group in groups]
    for entry in (one for group in pending for one in group):
        del entry["time_since_delivered"]
    info = client.xinfo_stream(key)
    known = {name: info[name] for name in ("length", "last-generated-id", "entries-added", "max-deleted-entry-id")}
    return client.xrange(key), [(group["name"], group["last-delivered-id"]) for group in groups], pending, known


def with_backups(world: RedisWorld, count: int) -> dict[str, State]:
    """So many backups, each of another state, and a change after the last one."""
    earlier = {}
    for number in range(count):
        world.change(f"day {number}")
        earlier[world.backup()] = world.state()
    world.change("today")
    return earlier


@contextlib.contextmanager
def deployed(server: Server, directory: Path, **options: Any) -> Iterator[RedisWorld]:
    world = RedisWorld(directory / "world", unique_app(), server=server, options=options, lock_timeout=10)
    world.root.mkdir()
    try:
        world.deploy()
        world.create_repository()
        yield world
    finally:
        end_processes_of(world.key)
        for name in scratch_containers():
            if name.startswith(world.scratch_prefix()):
                subprocess.run(["docker", "rm", "-f", "-v", name], check=False, stdout=subprocess.DEVNULL, timeout=60)
        server.wipe()


@pytest.fixture(scope="session")
def redis_on_host() -> Iterator[HostServer]:
    with host_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_in_container() -> Iterator[ContainerServer]:
    with container_server(*APPENDONLY) as server:
        yield server


PLACES = [
    pytest.param("redis_on_host", marks=pytest.mark.redis),
    pytest.param("redis_in_container", marks=[pytest.mark.redis, pytest.mark.docker]),
]


# For what does not depend on where the server is: the other one's turn is in the long matrix only.
ON_HOST = pytest.mark.parametrize(
    "redis_world",
    ["redis_on_host", pytest.param("redis_in_container", marks=[pytest.mark.docker, pytest.mark.full])],
    indirect=True,
)
IN_CONTAINER = pytest.mark.parametrize(
    "redis_world",
    [
        pytest.param("redis_on_host", marks=pytest.mark.full),
        pytest.param("redis_in_container", marks=pytest.mark.docker),
    ],
    indirect=True,
)


@pytest.fixture(params=PLACES)
def redis_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisWorld]:
    """The application on each server, deployed, with an empty repository."""
    with deployed(request.getfixturevalue(request.param), tmp_path) as world:
        yield world
