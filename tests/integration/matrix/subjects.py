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
from tests.integration.matrix.power import Box, Process, disk
from tests.integration.support import mariadb, postgres
from tests.integration.support.faults import wait_for
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.postgres import Postgres
from tests.integration.support.recovery import State, World, end_processes_of, tree_content, unique_app
from tests.integration.support.servers import ServerWorld
from tests.integration.support.sqlite import holder

NOISE = 1 << 20  # bytes of what does not compress, in a blob of the repository by itself
APP_DISK, STATE_DISK, STORE_DISK, SERVER_DISK = 128, 64, 384, 800  # MiB


@dataclasses.dataclass
class Subject:
    """One site: its application, and what can be done to what it lives on."""

    site: Site
    world: Any  # World, or what behaves like one
    base: Path
    earlier: dict[str, State] = dataclasses.field(default_factory=dict)
    power: Process | Box | None = None  # over the server, or the application's container
    data_disk: Path = Path("/")
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
        self.world.change(f"day {self.count}")

    @property
    def main(self) -> str:
        """The datastore that is dumped and loaded first."""
        return str(self.world.datastores()[0]["name"])

    def stop(self) -> None:
        assert self.power is not None
        self.power.stop()

    def start(self) -> None:
        """Its server again, at whatever address, once it answers."""
        assert self.power is not None
        self.power.start()
        if isinstance(self.world, ServerWorld):
            if isinstance(self.power, Box):
                wait_for(lambda: self.power.address, 60, "an address")  # type: ignore[union-attr]
                self.world.server = dataclasses.replace(self.world.server, host=self.power.address)
            wait_for(self.answers, 90, "the server's answer")

    def answers(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.world.server.databases())
        return False

    # Data that only one backup holds: what is damaged in the repository is this, and only this ---------

    def add_noise(self) -> None:
        noise = os.urandom(NOISE)
        if self.site.engine == "files":
            self.world.add_upload("noise", noise)
        elif self.site.engine == "sqlite":
            with self.world.open() as connection:
                connection.execute("INSERT INTO orders (item, photo) VALUES ('noise', ?)", (noise,))
        else:
            self.world.add_noise(noise)

    def remove_noise(self) -> None:
        if self.site.engine == "files":
            (self.world.uploads / "noise").unlink()
        elif self.site.engine == "sqlite":
            with self.world.open() as connection:
                connection.execute("DELETE FROM orders WHERE item = 'noise'")
        else:
            self.world.remove_noise()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Another session holds a lock on the data that nobody gets past."""
        if self.site.engine == "sqlite":
            return holder(self.world.database, "BEGIN EXCLUSIVE")
        locked: contextlib.AbstractContextManager[None] = self.world.locked()
        return locked


# Worlds ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Files(World):
    """One directory and nothing else; on the host, or in a container's volume."""

    volume: str = ""

    def datastores(self) -> list[dict[str, Any]]:
        where = {"volume": self.volume} if self.volume else {"paths": [str(self.uploads)]}
        return [{"name": "uploads", "engine": "files", **where}]

    @property
    def uploads(self) -> Path:
        return self.root / "app" if self.volume else self.root / "app" / "uploads"

    def deploy(self) -> None:
        (self.uploads / "2026").mkdir(parents=True, exist_ok=True)
        self.add_upload("2026/one.bin", os.urandom(300_000))
        self.add_upload("two.txt", "grün 🚲\n".encode())
        (self.uploads / "link").symlink_to("two.txt")

    def change(self, word: str) -> None:
        self.add_upload(f"{word}.txt", word.encode() * 100)

    def state(self) -> State:
        return {"uploads": tree_content(self.uploads)}


@dataclasses.dataclass
class SQLite(World):
    """The database in a directory that a container has at /app, where `container` says so."""

    container: str = ""

    def datastores(self) -> list[dict[str, Any]]:
        main, uploads = super().datastores()
        if self.container:
            main = {"name": "main", "engine": "sqlite", "container": self.container, "path": "/app/data/main.db"}
        return [main, uploads]

    def deploy(self) -> None:
        super().deploy()
        with self.open() as connection:  # more than one read of the relay's
            connection.execute("CREATE TABLE ballast (noise BLOB)")
            connection.execute("INSERT INTO ballast VALUES (?)", (os.urandom(3 << 20),))


@dataclasses.dataclass
class Served(ServerWorld):
    """The application on a MariaDB or PostgreSQL server, with a dump that fits into no pipe."""

    def deploy(self) -> None:
        super().deploy()
        self.grow(6)

    def add_noise(self, noise: bytes) -> None:
        self.execute(f"INSERT INTO ballast VALUES (99, '{noise.hex()}')", self.name)

    def remove_noise(self) -> None:
        self.execute("DELETE FROM ballast WHERE id = 99", self.name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(self.server.connect(self.name)) as connection:
            if self.engine == "mariadb":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLES orders WRITE")
                yield
            else:
                with connection.transaction():
                    connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                    yield


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
        subject = MAKERS[site.engine](site, base, root, stack)
        stack.callback(end_processes_of, subject.world.key)
        subject.world.deploy()
        subject.world.create_repository()
        subject.seed()
        yield subject


def _files(site: Site, base: Path, root: Path, stack: contextlib.ExitStack) -> Subject:
    world = Files(root, unique_app())
    subject = Subject(site, world, base, data_disk=root / "app")
    if site.place == CONTAINER:
        world.volume = f"day2t-files-{secrets.token_hex(4)}"
        options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={root / 'app'}")
        _docker("volume", "create", *options, world.volume)
        stack.callback(_docker, "volume", "rm", "-f", world.volume)
        subject.power = _application(stack, f"{world.volume}:/srv/uploads")
    return subject


def _sqlite(site: Site, base: Path, root: Path, stack: contextlib.ExitStack) -> Subject:
    world = SQLite(root, unique_app())
    subject = Subject(site, world, base, data_disk=root / "app")
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
    server = stack.enter_context(_SERVERS[(site.engine, site.place)](data))
    world = Served(root, unique_app(), server=server, name=f"t{secrets.token_hex(4)}", lock_timeout=10)
    subject = Subject(site, world, base, data_disk=data)
    if site.place == HOST:
        subject.power = Process(server.port, signal.SIGINT if site.engine == "postgresql" else signal.SIGTERM)
    else:
        subject.power = Box(server.options["container"])
    stack.callback(subject.power.close)
    subject.versions[site.engine] = str(server.value("SELECT VERSION()"))
    subject.wrong_login = {**server.options, "password": "not-the-password"}
    if site.engine == "postgresql":
        server.run("ALTER SYSTEM SET max_wal_size = '64MB'")  # so that old files of it do for what a load writes
        server.run("SELECT pg_reload_conf()")
        if site.place == HOST:  # by its socket it asks for none
            subject.wrong_login = {
                "host": "127.0.0.1",
                "port": server.port,
                "user": "postgres",
                "password": "not-the-password",
            }
    return subject


@contextlib.contextmanager
def _here(path: Path) -> Iterator[None]:
    """Private servers make their directories there."""
    before, tempfile.tempdir = tempfile.tempdir, str(path)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _mariadb_here(data: Path) -> Iterator[Mariadb]:
    with contextlib.ExitStack() as stack:
        with _here(data):
            server = stack.enter_context(mariadb.host_server())
        yield server


@contextlib.contextmanager
def _postgres_here(data: Path) -> Iterator[Postgres]:
    with contextlib.ExitStack() as stack:
        with _here(data):
            server = stack.enter_context(postgres.host_server())
        yield server


_SERVERS: dict[tuple[str, str], Callable[[Path], contextlib.AbstractContextManager[Any]]] = {
    ("mariadb", HOST): _mariadb_here,
    ("mariadb", CONTAINER): lambda data: mariadb.container_server(flags=("-v", f"{data}:/var/lib/mysql")),
    ("postgresql", HOST): _postgres_here,
    ("postgresql", CONTAINER): lambda data: postgres.container_server("-v", f"{data}:/var/lib/postgresql/data"),
}
MAKERS = {"files": _files, "sqlite": _sqlite, "mariadb": _server, "postgresql": _server}


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def tool_versions() -> dict[str, str]:
    """Of what every site has in common."""
    restic = subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    docker = json.loads(_docker("version", "--format", "{{json .Server.Version}}"))
    return {"restic": restic, "docker": str(docker)}
