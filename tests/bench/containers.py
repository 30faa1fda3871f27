# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers in containers, their tools run in there: MySQL, and a server that speaks MongoDB's protocol."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from tests.bench import rows
from tests.bench.servers import PASSWORD, SOURCE, TARGET, MySQLFamily

MYSQL, MONGO = "day2-test/mysql:9", "day2-test/mongo:7"
BATCH = 2000


def _docker(*words: str, environment: Mapping[str, str] | None = None) -> str:
    return subprocess.run(
        ["docker", *words],
        env={**os.environ, **(environment or {})},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@contextlib.contextmanager
def _container(image: str, variables: Mapping[str, str], *words: str) -> Iterator[str]:
    name = f"day2t-bench-{secrets.token_hex(3)}"
    named = [word for variable in variables for word in ("-e", variable)]
    try:
        _docker("run", "-d", "--name", name, *named, image, *words, environment=variables)
        yield name
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait(answers: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not answers():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start")
        time.sleep(0.2)


class MySQL(MySQLFamily):
    name = "MySQL in a container"
    dump_flags = ("--set-gtid-purged=OFF", "--no-tablespaces")

    def __init__(self, container: str) -> None:
        self.container = container

    @property
    def datastore(self) -> Mapping[str, Any]:
        place = {"container": self.container, "user": "root", "password": PASSWORD}
        return {"engine": "mysql", "database": SOURCE, **place}

    @property
    def versions(self) -> Sequence[str]:
        return [f"MySQL {self.sql('SELECT VERSION()')}"]

    def client(self, tool: str) -> list[str]:
        program = {"client": "mysql", "dump": "mysqldump"}[tool]
        inside = [program, "--user=root", "--default-character-set=utf8mb4"]
        return ["docker", "exec", "-i", "-e", "MYSQL_PWD", self.container, *inside]

    def answers(self) -> bool:
        # Over TCP: during its first start the server answers by its socket alone.
        try:
            self.sql("SELECT 1", "--host=127.0.0.1")
        except subprocess.CalledProcessError:
            return False
        return True


@contextlib.contextmanager
def mysql() -> Iterator[MySQL]:
    """MySQL with a buffer pool of 1 GiB; everything else as it comes."""
    flags = ["--innodb-buffer-pool-size=1G", "--local-infile=1"]
    with _container(MYSQL, {"MYSQL_ROOT_PASSWORD": PASSWORD}, *flags) as container:
        server = MySQL(container)
        _wait(server.answers, server.name)
        yield server


class MongoDB:
    name = "MongoDB's protocol in a container"
    filename = "main.archive"
    into = {"database": TARGET}
    environment: Mapping[str, str] = {}

    def __init__(self, container: str) -> None:
        self.container = container
        self.address = _docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)

    @property
    def datastore(self) -> Mapping[str, Any]:
        place = {"container": self.container, "user": "root", "password": PASSWORD}
        return {"engine": "mongodb", "database": SOURCE, **place}

    @property
    def versions(self) -> Sequence[str]:
        with self._client() as client:
            return [f"server {client.server_info()['version']} ({MONGO})"]

    def _client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(
            self.address, username="root", password=PASSWORD, directConnection=True, serverSelectionTimeoutMS=3000
        )

    def answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.admin.command("ping"))
        except PyMongoError:
            return False

    def _tool(self, tool: str, *words: str) -> Sequence[str]:
        uri = f"--uri=mongodb://root:{PASSWORD}@127.0.0.1/?authSource=admin"
        return ["docker", "exec", "-i", self.container, tool, uri, "--quiet", "--archive", *words]

    def dump(self) -> Sequence[str]:
        return self._tool("mongodump", f"--db={SOURCE}")

    def load(self) -> Sequence[str]:
        return self._tool("mongorestore", f"--nsFrom={SOURCE}.*", f"--nsTo={TARGET}.*")

    def fill(self, directory: Path, megabytes: int) -> None:
        with self._client() as client:
            client.drop_database(SOURCE)
            for table in range(rows.TABLES):
                collection = client[SOURCE][f"t{table}"]
                collection.create_index("day")
                batch: list[dict[str, Any]] = []
                for row in rows.rows(table, rows.count(megabytes)):
                    batch.append({"_id": row.id, "amount": float(row.amount), **_texts(row)})
                    if len(batch) == BATCH:
                        collection.insert_many(batch)
                        batch = []
                if batch:
                    collection.insert_many(batch)

    def change(self, day: int, scattered: bool) -> None:
        with self._client() as client:
            for table in range(rows.TABLES) if scattered else (0,):
                collection = client[SOURCE][f"t{table}"]
                part = collection.estimated_document_count() // 25
                chosen: dict[str, Any] = {"_id": {"$gt": day % 25 * part, "$lte": (day % 25 + 1) * part}}
                if scattered:
                    chosen = {"_id": {"$mod": [100, day % 100]}}
                collection.update_many(chosen, {"$inc": {"amount": 1}})

    def clear(self) -> None:
        with self._client() as client:
            client.drop_database(TARGET)

    def content(self, restored: bool) -> object:
        digest = hashlib.sha256()
        with self._client() as client:
            database = client[TARGET if restored else SOURCE]
            for table in range(rows.TABLES):
                for batch in database[f"t{table}"].find_raw_batches({}, sort=[("_id", 1)]):
                    digest.update(bytes(batch))  # type: ignore[arg-type]
        return digest.hexdigest()


def _texts(row: rows.Row) -> dict[str, str]:
    return {"day": row.day, "reference": row.reference, "note": row.note}


@contextlib.contextmanager
def mongodb() -> Iterator[MongoDB]:
    variables = {"MONGO_INITDB_ROOT_USERNAME": "root", "MONGO_INITDB_ROOT_PASSWORD": PASSWORD}
    with _container(MONGO, variables) as container:
        server = MongoDB(container)
        _wait(server.answers, server.name)
        yield server
