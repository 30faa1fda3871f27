# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""coach's backend: FastAPI with SQLite in write-ahead mode, and settings in a YAML file.

As the real one: an admin's change of the settings leaves a time-stamped copy of the file before; when the database
is missing, it makes an empty one.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI, Request

DATABASE, MEDIA = Path("/app/data/coach.db"), Path("/app/data/media")
SETTINGS = Path("/app/config/coach.yml")
SCHEMA = """
CREATE TABLE IF NOT EXISTS plans (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, media TEXT NOT NULL, done REAL, created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS plans_name ON plans (name);
CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO alembic_version SELECT '5a61e0b7c3f9' WHERE NOT EXISTS (SELECT 1 FROM alembic_version);
"""
app = FastAPI()


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(DATABASE, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection
        connection.commit()


@app.on_event("startup")
def begin() -> None:
    MEDIA.mkdir(exist_ok=True)
    with database() as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)


@app.get("/health")
def health() -> dict[str, Any]:
    with database() as connection:
        connection.execute("SELECT 1 FROM plans LIMIT 1")
    return {"status": "ok", "version": "1.8.3", "settings": yaml.safe_load(SETTINGS.read_text())["title"]}


@app.put("/admin/settings")
def configure(title: str) -> dict[str, str]:
    moment = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    copies = SETTINGS.parent / "backups"
    copies.mkdir(exist_ok=True)
    shutil.copy2(SETTINGS, copies / f"coach-{moment}.yml")
    SETTINGS.write_text(yaml.safe_dump({**yaml.safe_load(SETTINGS.read_text()), "title": title}))
    return {"copy": moment}


@app.post("/api/items")
async def add(name: str, request: Request) -> dict[str, Any]:
    content = await request.body()
    media = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.bin"
    (MEDIA / media).write_bytes(content)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    with database() as connection:
        made = connection.execute(
            "INSERT INTO plans (name, media, done, created_at) VALUES (?, ?, ?, ?)", (name, media, 0.25, now)
        ).lastrowid
    return {"id": made}


@app.delete("/api/items/{item}")
def remove(item: int) -> dict[str, Any]:
    with database() as connection:
        (MEDIA / connection.execute("SELECT media FROM plans WHERE id = ?", (item,)).fetchone()["media"]).unlink()
        connection.execute("DELETE FROM plans WHERE id = ?", (item,))
    return {"removed": item}


@app.get("/api/items")
def items() -> list[dict[str, Any]]:
    with database() as connection:
        rows = [dict(row) for row in connection.execute("SELECT * FROM plans ORDER BY id")]
    return [{**row, "sha256": _sum(MEDIA / row["media"])} for row in rows]


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
