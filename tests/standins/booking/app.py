# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""booking's backend: FastAPI, MariaDB, a list that is cached in Redis, uploads that rows refer to.

As the real one: an `alembic_version` that is missing makes it drop every table and build anew, its health is a
constant, and without a directory for uploads it does not start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
import redis
from fastapi import FastAPI, Request

REVISION = "b1f7c2d90a44"
UPLOADS = Path("/app/uploads")
URL = urlsplit(os.environ["DATABASE_URL"])
CACHE = redis.Redis.from_url(os.environ["REDIS_URL"])
SCHEMA = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
    "CREATE TABLE bookings (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(120) NOT NULL, upload VARCHAR(200) NOT NULL,"
    " price DECIMAL(10, 2), created_at DATETIME(6) NOT NULL DEFAULT NOW(6)) DEFAULT CHARSET = utf8mb4",
    "CREATE VIEW newest AS SELECT name, created_at FROM bookings ORDER BY created_at DESC LIMIT 10",
    "CREATE TRIGGER priced BEFORE INSERT ON bookings FOR EACH ROW SET NEW.price = COALESCE(NEW.price, 49.90)",
    f"INSERT INTO alembic_version VALUES ('{REVISION}')",
)
app = FastAPI()


@contextlib.contextmanager
def database() -> Iterator[Any]:
    connection = pymysql.connect(
        host=URL.hostname,
        port=URL.port or 3306,
        user=URL.username,
        password=unquote(URL.password or ""),
        database=URL.path.lstrip("/"),
        charset="utf8mb4",
        autocommit=True,
        cursorclass=pymysql.cursors.DictCursor,
    )
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@app.on_event("startup")
def migrate() -> None:
    if not UPLOADS.is_dir():
        raise SystemExit(f"{UPLOADS} is missing")
    with database() as cursor:
        cursor.execute("SHOW FULL TABLES")
        tables = {next(iter(row.values())): row["Table_type"] for row in cursor.fetchall()}
        if "alembic_version" in tables:
            cursor.execute("SELECT version_num FROM alembic_version")
            if cursor.fetchone():
                return
        for name, kind in tables.items():
            cursor.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
        for statement in SCHEMA:
            cursor.execute(statement)


@app.get("/api/v1/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/api/v1/items")
async def add(name: str, request: Request) -> dict[str, Any]:
    content = await request.body()
    upload = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.bin"
    (UPLOADS / upload).write_bytes(content)
    with database() as cursor:
        cursor.execute("INSERT INTO bookings (name, upload) VALUES (%s, %s)", (name, upload))
        made = cursor.lastrowid
    CACHE.delete("items")
    return {"id": made}


@app.delete("/api/v1/items/{item}")
def remove(item: int) -> dict[str, Any]:
    with database() as cursor:
        cursor.execute("SELECT upload FROM bookings WHERE id = %s", (item,))
        (UPLOADS / cursor.fetchone()["upload"]).unlink()
        cursor.execute("DELETE FROM bookings WHERE id = %s", (item,))
    CACHE.delete("items")
    return {"removed": item}


@app.get("/api/v1/items")
def items() -> list[dict[str, Any]]:
    known = CACHE.get("items")
    if known is None:
        with database() as cursor:
            cursor.execute("SELECT id, name, upload, price, created_at FROM bookings ORDER BY id")
            found = [{**row, "sha256": _sum(UPLOADS / row["upload"])} for row in cursor.fetchall()]
        known = json.dumps(found, default=str).encode()
        CACHE.set("items", known, ex=3600)
    CACHE.set("seen", time.time())
    listed: list[dict[str, Any]] = json.loads(known)
    return listed


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
