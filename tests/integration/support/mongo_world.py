# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small application again, with a MongoDB database in the place of SQLite."""

from __future__ import annotations

import dataclasses
import datetime
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gridfs
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from tests.integration.support import mongo
from tests.integration.support.mongo import MongoServer
from tests.integration.support.recovery import State, World, end_processes_of, tree_content, unique_app

DAY = datetime.datetime(2026, 1, 1)


@dataclasses.dataclass
class MongoWorld(World):
    """An application whose database `name` is on a server."""

    server: Any = None
    name: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    engine = "mongodb"
    dump_tool = "mongodump"
    load_tool = "mongorestore"

    def datastores(self) -> list[dict[str, Any]]:
        options = {**self.server.options, "connect_retries": 1, "connect_delay": 1, **self.options}
        return [
            {"name": "main", "engine": self.engine, "database": self.name, **options},
            {"name": "uploads", "engine": "files", "paths": [str(self.uploads)]},
        ]

    def deploy(self) -> None:
        for path in (self.uploads, self.env_file.parent):
            path.mkdir(parents=True)
        fill(self.server, self.name)
        self.add_orders("first", 20)
        self.add_upload("two.txt", "grün 🚲\n".encode())

    def add_orders(self, item: str, count: int = 1) -> None:
        photo = bytes(range(256)) * 16
        with self.server.database(self.name) as opened:
            begin = opened.orders.count_documents({})
            opened.orders.insert_many(
                [
                    {"number": begin + number, "item": f"{item} {number} 🚲", "photo": photo, "at": DAY}
                    for number in range(count)
                ]
            )

    def grow(self, megabytes: int) -> None:
        """Documents that hardly compress, so that a dump of them takes its time."""
        with self.server.database(self.name) as opened:
            for number in range(megabytes):
                opened.ballast.insert_one({"_id": number, "noise": os.urandom(1 << 20)})

    def damage(self) -> None:
        with self.server.database(self.name) as opened:
            opened.drop_collection("orders")
            opened.damage.insert_one({"_id": 1})
        self.add_upload("damage", b"x")

    def state(self) -> State:
        return {"main": mongo.content(self.server, self.name), "uploads": tree_content(self.uploads)}

    def leftovers(self) -> list[str]:
        strays = [name for name in self.server.collections(self.name) if "day2_" in name]
        return [*super().leftovers(), *strays]


def fill(server: MongoServer, name: str) -> None:
    """A collection of each kind of index, every type of value, files in GridFS, an empty collection."""
    with server.database(name) as opened:
        opened.orders.create_index("number", unique=True)
        opened.orders.create_index([("item", "text")])
        opened.orders.create_index("at", partialFilterExpression={"number": {"$gt": 5}})
        opened.sessions.create_index("seen", expireAfterSeconds=60 * 365 * 86400)
        opened.sessions.insert_many([{"_id": number, "seen": DAY} for number in range(3)])
        opened.types.insert_many([{"_id": number, **types()} for number in range(3)])
        opened.types.insert_many([{"_id": one} for one in (ObjectId(), "text", 1.5, Decimal128("1E+3"), {"a": 1})])
        opened.create_collection("empty")
        opened["dotted.name"].insert_one({"_id": 1, "ключ": "значение"})
        gridfs.GridFS(opened).put(bytes(range(256)) * 2000, filename="ü.bin", metadata={"a": 1})


def types() -> dict[str, Any]:
    """A value of every type that BSON has."""
    return {
        "double": 0.1,
        "nan": float("nan"),
        "minus zero": -0.0,
        "string": "grün 🚲 \0 \u2028",
        "document": {"z": 1, "a": {"b": [1, [2, {"c": None}]]}},
        "binary": Binary(bytes(range(256))),
        "function": Binary(b"\x01", 1),
        "uuid": Binary(b"\x02" * 16, 4),
        "own": Binary(b"", 128),
        "id": ObjectId("65a000000000000000000000"),
        "true": True,
        "date": datetime.datetime(1969, 7, 20, 20, 17, 40, 123000),
        "early": datetime.datetime(1, 1, 1),
        "null": None,
        "regex": Regex("^a.*$", "imx"),
        "code": Code("function () { return 1 }"),
        "int": 42,
        "long": Int64(42),
        "huge": Int64(2**63 - 1),
        "timestamp": Timestamp(1700000000, 7),
        "decimal": Decimal128("0.10"),
        "minimum": MinKey(),
        "maximum": MaxKey(),
    }


PLACES = [
    pytest.param("mongo_in_container", marks=[pytest.mark.mongodb, pytest.mark.docker]),
    pytest.param("mongo_on_host", marks=[pytest.mark.mongodb, pytest.mark.docker, pytest.mark.full]),
]


@pytest.fixture(params=PLACES)
def mongo_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MongoWorld]:
    """The application, deployed, with an empty repository."""
    server: MongoServer = request.getfixturevalue(request.param)
    name = f"t{secrets.token_hex(4)}"
    world = MongoWorld(tmp_path / "world", unique_app(), server=server, name=name, lock_timeout=10)
    world.root.mkdir()
    try:
        world.deploy()
        world.create_repository()
        yield world
    finally:
        end_processes_of(world.key)
        mongo.remove(server, name)
