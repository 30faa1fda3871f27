# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the faults hit: an application on each engine at each place, with two backups, on small disks of its own.

A subject is made once and used by all cells of its site: each cell begins with the repository and the state
directory as they were after the two backups, and with live data that are whole and like no backup.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.integration.matrix.cells import CONTAINER, HOST, Site
from tests.integration.matrix.power import Box, Own, Process, disk
from tests.integration.matrix.worlds import Files, Mongo, Redis, Served, SQLite
from tests.integration.support import mariadb, mongo, mysql, postgres, redis
from tests.integration.support.faults import wait_for
from tests.integration.support.recovery import State, World, end_processes_of, unique_app

NOISE = 1 << 20  # bytes of what does not compress, in a blob of the repository by itself
APP_DISK, STATE_DISK, STORE_DISK, SERVER_DISK = 128, 64, 384, 800  # MiB


@dataclasses.dataclass
class Subject:
    """One site: its application, and what can be done to what it lives on."""

    site: Site
    world: Any  # World, or what behaves like one
    base: Path
    earlier: dict[str, State] = dataclasses.field(default_factory=dict)
    power: Process | Own | Box | None = None  # over the server, or the application's container
    data_disk: Path = Path("/")
    on_data_disk: tuple[str, ...] = ("main",)  # the datastores that a full one stops
    wrong_login: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    count: int = 0

    def seed(self) -> None:
        """Two backups of different states, and a copy of what they made."""
        for word in ("monday", "tuesday"):
            self.world.change(word)
            self.earlier[self.world.backup()] = self.world.state()
        copy = self.base / "copy"
        for path in (self.world.repository, self.world.state_dir):
            shutil.copytree(path, copy / path.name, symlinks=True)

    def plant(self) -> None:
        """As after the two backups, with other live data."""
        copy = self.base / "copy"
        for path in (self.world.repository, self.world.state_dir):
            for each in path.iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            shutil.copytree(copy / path.name, path, symlinks=True, dirs_exist_ok=True)
        for name in ("wrapper", "gate"):
            shutil.rmtree(self.world.root / name, ignore_errors=True)
        self.world.restic, self.world.extra, self.world.lock_timeout = "restic", {}, 2
        self.count += 1
        if hasattr(self.world, "tidy"):
            self.world.tidy()
        self.world.change(f"day {self.count}")

    @property
    def main(self) -> str:
        """The datastore that is dumped and loaded first."""
        return str(self.world.datastores()[0]["name"])

    def stop(self) -> None:
        assert self.power is not None
        self.power.stop()

    def start(self) -> None:
        """Its server again, once it answers."""
        assert self.power is not None
        self.power.start()
        wait_for(self.answers, 90, "the server's answer")

    def answers(self) -> bool:
        server = getattr(self.world, "server", None)
        with contextlib.suppress(Exception):
            if server is None:
                return True
            return bool(server.answers() if isinstance(server, redis.Server) else server.databases())
        return False

    def add_noise(self) -> None:
        """Data that only one backup holds: what is damaged in the repository is this, and only this."""
        self.world.add_noise(os.urandom(NOISE))


# Making them -------------------------------------------------------------------------------------


@contextlib.contextmanager
def made(site: Site) -> Iterator[Subject]:
    with contextlib.ExitStack() as stack:
        base = Path(tempfile.mkdtemp(prefix="day2t-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        base.chmod(0o711)
        root = base / "world"
        root.mkdir()
        root.chmod(0o711)
        for name, size in (("app", APP_DISK), ("state", STATE_DISK), ("repository", STORE_DISK)):
            stack.enter_context(disk(root / name, size))
        subject = MAKERS.get(site.engine, _server)(site, base, root, stack)
        stack.callback(end_processes_of, subject.world.key)
        subject.world.deploy()
        subject.world.create_repository()
        subject.seed()
        yield subject


def _files(site: Site, base: Path, root: Path, stack: contextlib.ExitStack) -> Subject:
    world = Files(root, unique_app())
    subject = Subject(site, world, base, data_disk=root / "app", on_data_disk=("uploads",))
    if site.place == CONTAINER:
        world.volume = f"day2t-files-{secrets.token_hex(4)}"
        options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={root / 'app'}")
        _docker("volume", "create", *options, world.volume)
        stack.callback(_docker, "volume", "rm", "-f", world.volume)
        subject.power = _application(stack, f"{world.volume}:/srv/uploads")
    return subject


def _sqlite(site: Site, base: Path, root: Path, stack: contextlib.ExitStack) -> Subject:
    world = SQLite(root, unique_app())
    subject = Subject(site, world, base, data_disk=root / "app", on_data_disk=("main", "uploads"))
    subject.versions["sqlite"] = sqlite3.sqlite_version
    if site.place == CONTAINER:
        box = _application(stack, f"{root / 'app'}:/app")
        subject.power, world.container = box, box.name
    return subject


def _application(stack: contextlib.ExitStack, mount: str) -> Box:
    """A container that has the data and does nothing, as an application between two requests."""
    name = f"day2t-app-{secrets.token_hex(4)}"
    options = ("--stop-signal", "SIGKILL", "-v", mount)
    _docker("run", "-d", "--name", name, *options, "day2-test/debian:bookworm", "sleep", "100000")
    stack.callback(_docker, "rm", "-f", name)
    return Box(name)


def _server(site: Site, base: Path, root: Path, stack: contextlib.ExitStack) -> Subject:
    data = stack.enter_context(disk(base / "data", SERVER_DISK))
    network = f"day2t-net-{secrets.token_hex(4)}"  # of its own, so that a server started again has its address again
    if site.place == CONTAINER or site.engine in ELSEWHERE:
        _docker("network", "create", network)
        stack.callback(_docker, "network", "rm", network)
    server = stack.enter_context(_SERVERS[(site.engine, site.place)](data, network))
    world = _world(site, root, server, stack)
    subject = Subject(site, world, base, data_disk=data)
    container = getattr(server, "container", "") or getattr(server, "name", "") or server.options.get("container")
    if site.engine in ELSEWHERE and site.place == HOST:
        server, container = _with_tools_here(site.engine, server, stack), container
        world.server = server
    if container:
        subject.power = Box(str(container))
    elif site.engine == "redis":
        subject.power = Own(server)
    else:
        subject.power = Process(server.port, signal.SIGINT if site.engine == "postgresql" else signal.SIGTERM)
    stack.callback(subject.power.close)
    subject.versions[site.engine] = _version(site, server)
    subject.wrong_login = {**server.options, "password": "not-the-password"}
    if site.engine == "postgresql":
        server.run("ALTER SYSTEM SET max_wal_size = '64MB'")  # so that old files of it do for what a load writes
        server.run("SELECT pg_reload_conf()")
        if site.place == HOST:  # by its socket it asks for none
            login = {"host": "127.0.0.1", "port": server.port, "user": "postgres"}
            subject.wrong_login = {**login, "password": "not-the-password"}
    if site.engine == "mongodb":  # which keeps its data in PostgreSQL
        as_admin = ("psql", "-q", "-h", "/run/mongodb", "-U", "ferret_admin", "-d", "postgres")
        statements = ("-c", "ALTER SYSTEM SET max_wal_size = '64MB'", "-c", "SELECT pg_reload_conf()")
        _docker("exec", "-u", "mongodb", str(container), *as_admin, *statements)
    return subject


def _world(site: Site, root: Path, server: Any, stack: contextlib.ExitStack) -> World:
    name = f"t{secrets.token_hex(4)}"
    if site.engine == "redis":
        world: World = Redis(root, unique_app(), server=server)
        stack.callback(_remove_scratch_of, world)
        return world
    if site.engine == "mongodb":
        return Mongo(root, unique_app(), server=server, name=name)
    return Served(root, unique_app(), server=server, name=name, kind=site.engine)


def _remove_scratch_of(world: Redis) -> None:
    for name in redis.scratch_containers():
        if name.startswith(world.scratch_prefix()):
            _docker("rm", "-f", "-v", name)


def _version(site: Site, server: Any) -> str:
    if site.engine == "redis":
        return str(server.client().info("server")["redis_version"])
    if site.engine == "mongodb":
        with server.database("admin") as database:
            built = database.command("buildInfo")
        return (
            f"{built['version']} (FerretDB {built['ferretdb']['version']})" if "ferretdb" in built else built["version"]
        )
    found = re.search(r"\d+(\.\d+)+", str(server.value("SELECT VERSION()")))
    return found[0] if found else ""


def _with_tools_here(engine: str, server: Any, stack: contextlib.ExitStack) -> Any:
    """The same server as one of another machine is reached: by its address, with the tools of this host."""
    before = os.environ["PATH"]
    stack.callback(os.environ.update, PATH=before)
    if engine == "mongodb":
        mongo.tools_on_path()
        return mongo.from_host(server)
    subprocess.run([mysql.ROOT / "tests" / "testbed" / "mysql-tools.sh"], check=True, timeout=300)
    os.environ["PATH"] = f"{mysql.TOOLS}:{before}"
    options = {"host": server.host, "port": server.port, "user": "root", "password": server.options["password"]}
    return dataclasses.replace(server, kind="host", options=options)


@contextlib.contextmanager
def _here(path: Path) -> Iterator[None]:
    """Private servers make their directories there."""
    before, tempfile.tempdir = tempfile.tempdir, str(path)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _private(make: Callable[[], contextlib.AbstractContextManager[Any]], data: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        with _here(data):
            server = stack.enter_context(make())
        yield server


def _mysql(data: Path, network: str) -> contextlib.AbstractContextManager[Any]:
    return mysql.container_server(flags=("--network", network, "-v", f"{data}:/var/lib/mysql"))


def _mongo(data: Path, network: str) -> contextlib.AbstractContextManager[Any]:
    return mongo.container_server("--network", network, "-v", f"{data}:/data/db")


ELSEWHERE = ("mysql", "mongodb")  # on the host are their tools only; the server is a machine of its own
_SERVERS: dict[tuple[str, str], Callable[[Path, str], contextlib.AbstractContextManager[Any]]] = {
    ("mariadb", HOST): lambda data, network: _private(mariadb.host_server, data),
    ("mariadb", CONTAINER): lambda data, network: mariadb.container_server(
        flags=("--network", network, "-v", f"{data}:/var/lib/mysql")
    ),
    ("postgresql", HOST): lambda data, network: _private(postgres.host_server, data),
    ("postgresql", CONTAINER): lambda data, network: postgres.container_server(
        "--network", network, "-v", f"{data}:/var/lib/postgresql/data"
    ),
    ("mysql", HOST): _mysql,
    ("mysql", CONTAINER): _mysql,
    ("mongodb", HOST): _mongo,
    ("mongodb", CONTAINER): _mongo,
    ("redis", HOST): lambda data, network: _private(lambda: redis.host_server(*redis.APPENDONLY), data),
    ("redis", CONTAINER): lambda data, network: redis.container_server(
        *redis.APPENDONLY, docker=("--network", network, "-v", f"{data}:/data")
    ),
}
MAKERS = {"files": _files, "sqlite": _sqlite}


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def tool_versions() -> dict[str, str]:
    """Of what every site has in common."""
    restic = subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    docker = json.loads(_docker("version", "--format", "{{json .Server.Version}}"))
    return {"restic": restic, "docker": str(docker)}
