# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""station's backend: FastAPI, MySQL, sessions and a cached list in Redis, notes that are encrypted in the database.

As the real one: it refuses to start with default secrets; its health says healthy or degraded, with 200 for both.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import redis
from cryptography.fernet import Fernet
from fastapi import FastAPI, Request

REVISION = "7f3a90c1d2e4"
MEDIA = Path("/app/media")
if not re.fullmatch(r"[0-9a-f]{64}", os.environ["ENCRYPTION_KEY"]) or os.environ["SECRET_KEY"] == "change-me":
    raise SystemExit("default secrets in production")
KEY = hashlib.scrypt(
    bytes.fromhex(os.environ["ENCRYPTION_KEY"]),
    salt=bytes.fromhex(os.environ["ENCRYPTION_SALT"]),
    n=1024,
    r=8,
    p=1,
    dklen=32,
)
BOX = Fernet(base64.urlsafe_b64encode(KEY))
CACHE = redis.Redis(host=os.environ["REDIS_HOST"], password=os.environ["REDIS_PASSWORD"])
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS trips (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(120) NOT NULL, media VARCHAR(200) NOT"
    " NULL, note VARBINARY(2000) NOT NULL, extras JSON, created_at DATETIME(6) NOT NULL DEFAULT NOW(6))",
    "CREATE TABLE IF NOT EXISTS stops (id INT PRIMARY KEY AUTO_INCREMENT, trip INT NOT NULL, place POINT,"
    " FOREIGN KEY (trip) REFERENCES trips (id) ON DELETE CASCADE)",
    f"INSERT INTO alembic_version SELECT '{REVISION}' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM alembic_version)",
)
app = FastAPI()


@contextlib.contextmanager
def database() -> Iterator[Any]:
    connection = pymysql.connect(
        host=os.environ["DB_HOST"],
        user=os.environ["DB_USER"],
        password=os.environ["DB_PASSWORD"],
        database=os.environ["DB_NAME"],
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
    with database() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)


def _state(ask: Any) -> dict[str, str]:
    try:
        ask()
    except (pymysql.Error, redis.RedisError) as error:
        return {"status": "degraded", "detail": type(error).__name__}
    return {"status": "healthy"}


def _ask_database() -> None:
    with database() as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")


@app.get("/health/db")
def health_db() -> dict[str, str]:
    return _state(_ask_database)


@app.get("/health/redis")
def health_redis() -> dict[str, str]:
    return _state(CACHE.ping)


@app.get("/health")
def health() -> dict[str, str]:
    states = {health_db()["status"], health_redis()["status"]}
    return {"status": "healthy" if states == {"healthy"} else "degraded", "version": "4.2.0"}


@app.post("/api/items")
async def add(name: str, request: Request) -> dict[str, Any]:
    content = await request.body()
    media = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.bin"
    (MEDIA / media).write_bytes(content)
    with database() as cursor:
        note = BOX.encrypt(f"secret of {name}".encode())
        extras = json.dumps({"name": name, "size": len(content)})
        cursor.execute(
            "INSERT INTO trips (name, media, note, extras) VALUES (%s, %s, %s, %s)", (name, media, note, extras)
        )
        made = cursor.lastrowid
        cursor.execute("INSERT INTO stops (trip, place) VALUES (%s, POINT(%s, 47.5))", (made, made))
    CACHE.delete("items")
    return {"id": made}


@app.delete("/api/items/{item}")
def remove(item: int) -> dict[str, Any]:
    with database() as cursor:
        cursor.execute("SELECT media FROM trips WHERE id = %s", (item,))
        (MEDIA / cursor.fetchone()["media"]).unlink()
        cursor.execute("DELETE FROM trips WHERE id = %s", (item,))
    CACHE.delete("items")
    return {"removed": item}


@app.get("/api/items")
def items() -> list[dict[str, Any]]:
    known = CACHE.get("items")
    if known is None:
        with database() as cursor:
            cursor.execute(
                "SELECT t.id, name, media, note, extras, created_at, ST_X(place) x FROM trips t JOIN stops ON trip = t.id"
                " ORDER BY t.id"
            )
            found = [
                {**row, "note": BOX.decrypt(row["note"]).decode(), "sha256": _sum(MEDIA / row["media"])}
                for row in cursor.fetchall()
            ]
        known = json.dumps(found, default=str).encode()
        CACHE.set("items", known, ex=3600)
    listed: list[dict[str, Any]] = json.loads(known)
    return listed


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
