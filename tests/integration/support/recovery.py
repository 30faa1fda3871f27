# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application (SQLite and directories) with a repository, and what must be true of it afterwards."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import string
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._store.catalogue import Catalogue, build
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Snapshot

from tests.integration.support import forked
from tests.integration.support.forked import Forked
from tests.integration.support.modules import ROOT, Outcome

PASSWORD = "correct horse battery"
NEW_RESTIC = ROOT / ".venv" / "restic-new" / "usr" / "bin" / "restic"

State = dict[str, Any]


def unique_app() -> str:
    """An application's name of its own: runs end the processes that earlier runs of the same one left."""
    return "r" + "".join(random.choices(string.ascii_lowercase, k=7))


@dataclasses.dataclass
class World:
    """An application below `root`, with its repository and state directory."""

    root: Path
    app: str
    restic: str = "restic"
    password: str = PASSWORD
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    lock_timeout: int = 2
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)  # arguments of every call

    @property
    def key(self) -> str:
        return f"{self.app}-production"

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    @property
    def home(self) -> Path:
        return self.state_dir / self.key

    @property
    def database(self) -> Path:
        return self.root / "app" / "data" / "main.db"

    @property
    def uploads(self) -> Path:
        return self.root / "app" / "uploads"

    @property
    def env_file(self) -> Path:
        return self.root / "app" / "config" / ".env"

    # The application ------------------------------------------------------------------------------

    def datastores(self) -> list[dict[str, Any]]:
        return [
            {"name": "main", "engine": "sqlite", "path": str(self.database)},
            {"name": "uploads", "engine": "files", "paths": [str(self.uploads)]},
        ]

    def with_configuration(self) -> list[dict[str, Any]]:
        config = {"name": "config", "engine": "files", "content": "configuration", "paths": [str(self.env_file.parent)]}
        return [*self.datastores(), config]

    def deploy(self) -> None:
        for path in (self.database.parent, self.uploads / "2026", self.env_file.parent):
            path.mkdir(parents=True)
        with self.open() as connection:
            connection.executescript(
                """
                PRAGMA journal_mode = WAL;
                PRAGMA user_version = 7;
                CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, paid REAL, photo BLOB);
                CREATE TABLE empty (id INTEGER PRIMARY KEY);
                CREATE TABLE alembic_version (version_num TEXT NOT NULL);
                INSERT INTO alembic_version VALUES ('9f1c2d3e4a5b');
                """
            )
        self.add_orders("first", 200)
        self.add_upload("2026/one.bin", os.urandom(3000))
        self.add_upload("two.txt", "grün 🚲\n".encode())
        self.add_upload("empty", b"")
        (self.uploads / "link").symlink_to("two.txt")
        self.env_file.write_text("DB_PASSWORD=old-secret\nMODE=production\n")
        self.env_file.chmod(0o640)

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.database)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def add_orders(self, item: str, count: int = 1) -> None:
        blob = bytes(range(256))
        rows = [(f"{item} {number} 🚲", None if number % 7 else number / 3, blob) for number in range(count)]
        with self.open() as connection:
            connection.executemany("INSERT INTO orders (item, paid, photo) VALUES (?, ?, ?)", rows)

    def add_upload(self, name: str, content: bytes) -> None:
        path = self.uploads / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def change(self, word: str) -> None:
        """What a day's work does to the data."""
        self.add_orders(word, 3)
        self.add_upload(f"{word}.txt", word.encode() * 100)

    def damage(self) -> None:
        """What somebody did to the data."""
        with self.open() as connection:
            connection.execute("DROP TABLE orders")
            connection.execute("CREATE TABLE damage (id INTEGER)")
        for path in self.uploads.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.add_upload("damage", b"x")

    def state(self) -> State:
        """Everything that the application holds, by content."""
        return {"main": sqlite_content(self.database), "uploads": tree_content(self.uploads)}

    # The modules ----------------------------------------------------------------------------------

    def arguments(self, module: str, **more: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "app": self.app,
            "state_dir": str(self.state_dir),
            "repository": {
                "location": str(self.repository),
                "password": self.password,
                "restic": self.restic,
                "lock_timeout": self.lock_timeout,
                "environment": self.environment,
            },
        }
        if module in ("backup", "backup_verify", "health_check", "restore"):
            arguments["datastores"] = self.datastores()
        if module in ("app_lock", "operation_info"):
            del arguments["repository"]
        return {**arguments, **self.extra, **more}

    def run(self, module: str, **more: Any) -> Outcome:
        return self.start(module, **more).finish()

    def start(
        self,
        module: str,
        *,
        check_mode: bool = False,
        kill_at: tuple[int, str] = (0, ""),
        prelude: Callable[[], None] = lambda: None,
        **more: Any,
    ) -> Forked:
        return forked.start(
            module, self.arguments(module, **more), check_mode=check_mode, kill_at=kill_at, prelude=prelude
        )

    def backup(self, **more: Any) -> str:
        """Make one; its id."""
        return str(self.run("backup", **more)["backup"]["id"])

    def restore(self, **more: Any) -> Outcome:
        return self.run("restore", **{"replace": True, "safety_copy": "none", **more})

    def backups(self, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("backup_info", **more)["backups"]
        return found

    def orphans(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("backup_info")["orphans"]
        return found

    # The repository -------------------------------------------------------------------------------

    def call_restic(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["restic", *words], env=self.restic_environment(), check=check, capture_output=True, **more
        )

    def restic_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": self.password,
            "RESTIC_CACHE_DIR": str(self.root / "cache"),
        }

    def create_repository(self) -> None:
        self.call_restic("init")
        make_key_cheap(self.repository, self.password)

    def snapshots(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.call_restic("snapshots", "--json", "--no-lock").stdout or b"[]")
        return found

    def snapshot_ids(self) -> set[str]:
        return {snapshot["id"] for snapshot in self.snapshots()}

    def with_tag(self, tag: str) -> list[dict[str, Any]]:
        return [snapshot for snapshot in self.snapshots() if tag in snapshot.get("tags", ())]

    def locks(self) -> list[str]:
        """Locks that hold; half-written ones, which an interrupted restic may leave, are in nobody's way."""
        directory = self.repository / "locks"
        return sorted(name for name in os.listdir(directory) if "-tmp-" not in name) if directory.is_dir() else []

    # Afterwards -----------------------------------------------------------------------------------

    def leftovers(self) -> list[str]:
        """What a run should have taken away: scratch copies, journals, half files, locks."""
        found = [str(path) for path in (self.root / "app").rglob(".day2-*")]
        found += [str(path) for path in (self.root / "app").rglob("*day2-old*")]
        for name in ("scratch", "restores", "restic"):
            directory = self.home / name
            found += [str(path) for path in directory.rglob("*")] if directory.is_dir() else []
        if self.home.is_dir():
            known = {"lock.guard", "manifests", "operations", "scratch", "restores", "restic"}
            found += [str(path) for path in self.home.iterdir() if path.name not in known]
        found += [f"repository/locks/{name}" for name in self.locks()]
        return found

    def holds_up(self, earlier: dict[str, State]) -> str:
        """After any fault: nothing half is listed, the next run works and takes away what is left, no
        process is left, and an earlier backup restores. Returns the next run's id."""
        listed = self.catalogue()
        half = [entry.id for entry in listed.entries if not entry.complete]
        assert not half, f"listed although it is not whole: {half}"
        assert set(earlier) <= {entry.id for entry in listed.entries}, "an earlier backup is gone"
        before = self.state()
        mine = self.backup()
        wait_for_end_of_processes(self.key)
        self.is_clean()
        left = self.catalogue()
        assert not left.orphans, f"data of no backup: {left.orphans}"
        assert next(entry for entry in left.entries if entry.id == mine).complete
        for backup, content in earlier.items():
            if content != before:
                self.restore(backup=backup)["changed"]
                assert self.state() == content, "an earlier backup does not restore"
                break
        self.is_clean()
        return mine

    def is_clean(self) -> None:
        left = self.leftovers()
        assert not left, f"left behind: {left}"

    def catalogue(self) -> Catalogue:
        """What a listing of the repository says, without running a module."""
        listed = [
            Snapshot(one["id"], one["time"], tuple(one["tags"]), (), one.get("original", ""))
            for one in sorted(self.snapshots(), key=lambda one: str(one["time"]))
            if f"app={self.app}" in one.get("tags", ())
        ]
        return build(App(self.app, "production"), listed)

    def settle(self) -> tuple[str, Outcome]:
        """Run a restore that settles the one before and then finds nothing to do: what became of that one."""
        outcome = self.restore(backup="20200101T000000Z-000000")
        assert "there is no backup 20200101T000000Z-000000" in outcome.msg, outcome.data
        said = [one for one in outcome.warnings if "was interrupted" in one]
        assert len(said) <= 1
        return ("nothing" if not said else "undone" if "undone" in said[0] else "completed", outcome)


# Content -----------------------------------------------------------------------------------------


def sqlite_content(path: Path) -> State:
    """Every row of every table, the schema and the settings that an application may rely on."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    try:
        content: State = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "application_id", "journal_mode", "encoding")
        }
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        content["schema"] = schema
        for kind, name, _sql in schema:
            if kind == "table":
                content[f"table {name}"] = sorted(
                    connection.execute(f'SELECT rowid, * FROM "{name}"').fetchall(), key=repr
                )
    finally:
        connection.close()
    status = path.stat()
    content["owner"] = (status.st_uid, status.st_gid, oct(status.st_mode))
    return content


def tree_content(path: Path) -> State:
    """Every file and directory below a path: owner, mode, content."""
    return {str(each.relative_to(path)): _node(each) for each in sorted([path, *path.rglob("*")])}


def _node(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    content = ""
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (status.st_uid, status.st_gid, oct(status.st_mode), content)


def bytes_below(path: Path) -> State:
    """Every file below a path by its bytes, with its time of change: for "nothing was touched"."""
    return {
        str(each.relative_to(path)): (*_node(each), each.lstat().st_mtime_ns)
        for each in sorted(path.rglob("*"))
        if (not each.is_dir() or each.is_symlink()) and not _is_shared_memory(each)
    }


def _is_shared_memory(path: Path) -> bool:
    """What SQLite makes beside a database in WAL mode for whoever looks at it: no data."""
    return path.name.endswith("-shm") or (path.name.endswith("-wal") and path.stat().st_size == 0)


# Processes ---------------------------------------------------------------------------------------


def processes_of(key: str) -> list[str]:
    """What runs with this application's mark, on this host and in its containers (their processes are
    the host's too)."""
    mark = f"DAY2_RUN={key}:".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (directory / "environ").read_bytes():
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(f"{directory.name}: {command.strip()}")
    return [one for one in found if not one.endswith(": ")]  # a zombie has no command line


def wait_for_end_of_processes(key: str, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while processes_of(key):
        assert time.monotonic() < until, f"still running: {processes_of(key)}"
        time.sleep(0.05)


# A repository whose key costs little -------------------------------------------------------------


def make_key_cheap(repository: Path, password: str) -> None:
    """Derive the repository's key with scrypt's smallest parameters, as restic's own tests do.

    A restic call takes 0.05 s instead of 0.75 s; all else is the same. The format is in restic's design
    document: AES-256-CTR and Poly1305-AES under a key that scrypt derives.
    """
    path = next((repository / "keys").iterdir())
    key = json.loads(path.read_bytes())
    sealed = base64.b64decode(key["data"])
    plain = _unseal(_derived(password, key), sealed)
    key.update(N=2, r=1, p=1)
    key["data"] = base64.b64encode(_seal(_derived(password, key), plain)).decode()
    content = json.dumps(key).encode()
    new = path.with_name(hashlib.sha256(content).hexdigest())
    new.write_bytes(content)
    new.chmod(0o400)
    path.unlink()


def _derived(password: str, key: dict[str, Any]) -> bytes:
    salt = base64.b64decode(key["salt"])
    return hashlib.scrypt(password.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], dklen=64, maxmem=1 << 28)


def _seal(keys: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(16)
    text = _counter_mode(keys, nonce, plain)
    return nonce + text + _authentication(keys, nonce, text)


def _unseal(keys: bytes, sealed: bytes) -> bytes:
    nonce, text, code = sealed[:16], sealed[16:-16], sealed[-16:]
    assert _authentication(keys, nonce, text) == code, "the password is wrong"
    return _counter_mode(keys, nonce, text)


def _counter_mode(keys: bytes, nonce: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(keys[:32]), modes.CTR(nonce)).encryptor().update(data)


def _authentication(keys: bytes, nonce: bytes, text: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    pad = Cipher(algorithms.AES(keys[32:48]), modes.ECB()).encryptor().update(nonce)
    return Poly1305.generate_tag(keys[48:] + pad, text)


# Fixtures ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Seed:
    """A world with two backups and later changes, kept as a copy that each test starts from."""

    world: World
    copy: Path
    earlier: dict[str, State]  # by backup, oldest first
    snapshots: set[str]

    def planted(self) -> World:
        """The world as it was when it was made."""
        shutil.rmtree(self.world.root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.copy), str(self.world.root)], check=True)
        return dataclasses.replace(self.world)


def make_seed(directory: Path, restic: str = "restic") -> Seed:
    world = World(directory / "world", unique_app(), restic=restic)
    world.root.mkdir()
    world.deploy()
    world.create_repository()
    earlier = {}
    for word in ("monday", "tuesday"):
        world.change(word)
        earlier[world.backup()] = world.state()
    world.change("wednesday")
    copy = directory / "copy"
    subprocess.run(["cp", "-a", str(world.root), str(copy)], check=True)
    return Seed(world, copy, earlier, world.snapshot_ids())


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return make_seed(tmp_path_factory.mktemp("recovery"))


@pytest.fixture
def world(seed: Seed) -> Iterator[World]:
    """A small application with two backups (`seed.earlier`), changed since."""
    planted = seed.planted()
    yield planted
    end_processes_of(planted.key)


def end_processes_of(key: str) -> None:
    for one in processes_of(key):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(one.partition(":")[0]), signal.SIGKILL)
