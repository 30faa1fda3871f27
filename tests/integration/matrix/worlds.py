# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The applications of the fault matrix, one class for each kind of engine: what they hold and how it is changed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.support import mongo
from tests.integration.support.recovery import State, World, tree_content
from tests.integration.support.redis import RedisWorld
from tests.integration.support.servers import ServerWorld
from tests.integration.support.sqlite import holder

MEGABYTES = 5  # of a dump: more than all pipes hold


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

    def add_noise(self, noise: bytes) -> None:
        self.add_upload("noise", noise)

    def remove_noise(self) -> None:
        (self.uploads / "noise").unlink()


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

    def add_noise(self, noise: bytes) -> None:
        with self.open() as connection:
            connection.execute("INSERT INTO orders (item, photo) VALUES ('noise', ?)", (noise,))

    def remove_noise(self) -> None:
        with self.open() as connection:
            connection.execute("DELETE FROM orders WHERE item = 'noise'")

    def locked(self) -> contextlib.AbstractContextManager[None]:
        return holder(self.database, "BEGIN EXCLUSIVE")


@dataclasses.dataclass
class Served(ServerWorld):
    """The application on a MariaDB, MySQL or PostgreSQL server, with a dump that fits into no pipe."""

    kind: str = ""

    @property
    def dump_tool(self) -> str:
        return "mysqldump" if self.kind == "mysql" else super().dump_tool

    @property
    def load_tool(self) -> str:
        return "mysql" if self.kind == "mysql" else super().load_tool

    def datastores(self) -> list[dict[str, Any]]:
        main, uploads = super().datastores()
        return [{**main, "engine": self.kind}, uploads]

    def deploy(self) -> None:
        super().deploy()
        self.grow(MEGABYTES)

    def add_noise(self, noise: bytes) -> None:
        self.execute(f"INSERT INTO ballast VALUES (99, '{noise.hex()}')", self.name)

    def remove_noise(self) -> None:
        self.execute("DELETE FROM ballast WHERE id = 99", self.name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Another session holds a lock that nobody gets past."""
        with contextlib.closing(self.server.connect(self.name)) as connection:
            if self.kind != "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLES orders WRITE")
                yield
            else:
                with connection.transaction():
                    connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                    yield

    def tidy(self) -> None:
        if self.kind == "mysql":  # its binary logs would fill the disk
            self.server.run("FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")


@dataclasses.dataclass
class Redis(RedisWorld):
    def deploy(self) -> None:
        super().deploy()
        self.grow(MEGABYTES)

    def add_noise(self, noise: bytes) -> None:
        self.server.client().set("noise", noise)

    def remove_noise(self) -> None:
        self.server.client().delete("noise")


@dataclasses.dataclass
class Mongo(World):
    """Collections with indexes, a view, and documents of a megabyte."""

    server: Any = None
    name: str = ""

    dump_tool = "mongodump"
    load_tool = "mongorestore"

    def datastores(self) -> list[dict[str, Any]]:
        patience = {"connect_retries": 1, "connect_delay": 1}  # the default is a minute
        return [
            {"name": "main", "engine": "mongodb", "database": self.name, **patience, **self.server.options},
            {"name": "uploads", "engine": "files", "paths": [str(self.uploads)]},
        ]

    def deploy(self) -> None:
        self.uploads.mkdir(parents=True)
        with self.server.database(self.name) as database:
            database.orders.insert_many({"item": f"first {number} 🚲", "paid": number / 3} for number in range(50))
            database.orders.create_index([("item", 1)], name="by_item")
            database.users.insert_one({"_id": "ann", "tags": ["a", "b"], "photo": bytes(range(256))})
            database.ballast.insert_many({"_id": number, "noise": os.urandom(1 << 20)} for number in range(MEGABYTES))
        self.add_upload("two.txt", "grün 🚲\n".encode())

    def change(self, word: str) -> None:
        with self.server.database(self.name) as database:
            database.orders.insert_one({"item": f"{word} 🚲"})
        self.add_upload(f"{word}.txt", word.encode() * 100)

    def state(self) -> State:
        found = mongo.content(self.server, self.name)  # a run that was cut off leaves its scratch here, for a while
        main = {name: one for name, one in found.items() if not name.startswith("day2_")}
        return {"main": main, "uploads": tree_content(self.uploads)}

    def add_noise(self, noise: bytes) -> None:
        with self.server.database(self.name) as database:
            database.ballast.insert_one({"_id": 99, "noise": noise})

    def remove_noise(self) -> None:
        with self.server.database(self.name) as database:
            database.ballast.delete_one({"_id": 99})

    def leftovers(self) -> list[str]:
        scratch = [name for name in self.server.collections(self.name) if "day2_" in name]
        return [*super().leftovers(), *scratch, *(name for name in self.server.databases() if name.startswith("day2_"))]
