# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storefront's server: products and sessions in MongoDB, a page cache in Redis, pictures beside it.

It stands in for a Next.js application; what counts here are its variables, its stores and its health. Connecting is
tried five times, as the real one does.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pymongo
import redis
from bson import ObjectId, json_util

MEDIA = Path("/app/public/media")
CACHE = redis.Redis.from_url(os.environ["REDIS_URL"])


def connect() -> Any:
    for attempt in range(5):
        try:
            client = pymongo.MongoClient(os.environ["MONGODB_URI"], serverSelectionTimeoutMS=3000)
            database = client.get_default_database()
            database.products.create_index("slug", unique=True)
            database.sessions.create_index("at", expireAfterSeconds=30 * 86400)
        except pymongo.errors.PyMongoError:
            if attempt == 4:
                raise
            time.sleep(5)
        else:
            return database
    raise AssertionError


DATABASE = connect()


def add(name: str, content: bytes) -> dict[str, Any]:
    media = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.bin"
    (MEDIA / media).write_bytes(content)
    now = datetime.datetime.now(datetime.timezone.utc)
    product = {"slug": name, "media": media, "price": 12.5, "tags": ["new", name], "created_at": now}
    made = DATABASE.products.insert_one(product).inserted_id
    DATABASE.sessions.insert_one({"user": name, "at": now})
    CACHE.delete("items")
    return {"id": str(made)}


def remove(item: str) -> dict[str, Any]:
    found = DATABASE.products.find_one_and_delete({"_id": ObjectId(item)})
    (MEDIA / found["media"]).unlink()
    CACHE.delete("items")
    return {"removed": item}


def items() -> Any:
    known = CACHE.get("items")
    if known is None:
        found = list(DATABASE.products.find().sort("_id"))
        for one in found:
            one["sha256"] = _sum(MEDIA / one["media"])
        known = json_util.dumps(found).encode()
        CACHE.set("items", known, ex=3600)
    return json.loads(known)


def health() -> dict[str, str]:
    DATABASE.command("ping")
    return {"status": "ok", "cache": "ok" if CACHE.ping() else "down"}


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


class Handler(BaseHTTPRequestHandler):
    def _answer(self, work: Any) -> None:
        try:
            status, answer = 200, work()
        except (pymongo.errors.PyMongoError, redis.RedisError, OSError) as error:
            status, answer = 503, {"error": str(error)}
        body = json.dumps(answer, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer(health if self.path == "/api/health" else items)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(lambda: add(parse_qs(urlsplit(self.path).query)["name"][0], content))

    def do_DELETE(self) -> None:
        self._answer(lambda: remove(self.path.rsplit("/", 1)[1]))

    def log_message(self, format: str, *args: Any) -> None:
        pass


ThreadingHTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
