# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""garage: Flask under gunicorn. PostgreSQL in production, SQLite in development, as DATABASE_URL says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask, jsonify, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from psycopg.rows import dict_row

URL = os.environ["DATABASE_URL"]
UPLOADS = Path(os.environ["UPLOADS"])
SQLITE = URL.startswith("sqlite:")
KEY = "INTEGER PRIMARY KEY" if SQLITE else "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
MARK = "?" if SQLITE else "%s"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)",
    f"CREATE TABLE IF NOT EXISTS repairs (id {KEY}, name text NOT NULL, upload text NOT NULL, cost numeric(10, 2),"
    " created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "INSERT INTO alembic_version SELECT '0c5d7be21f08' WHERE NOT EXISTS (SELECT 1 FROM alembic_version)",
)
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = URL
Migrate(app, SQLAlchemy(app))


@contextlib.contextmanager
def database() -> Iterator[Any]:
    connection: Any
    if SQLITE:
        connection = sqlite3.connect(URL[len("sqlite:///") :])
        connection.row_factory = sqlite3.Row
    else:
        connection = psycopg.connect(URL, row_factory=dict_row)
    with contextlib.closing(connection):
        yield connection
        connection.commit()


with database() as opened:
    for statement in SCHEMA:
        opened.execute(statement)


@app.get("/health")
def health() -> Any:
    with database() as connection:
        connection.execute("SELECT 1")
    return {"status": "ok"}


@app.post("/items")
def add() -> Any:
    name = request.args["name"]
    upload = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.bin"
    (UPLOADS / upload).write_bytes(request.get_data())
    insert = f"INSERT INTO repairs (name, upload, cost) VALUES ({MARK}, {MARK}, 12.5) RETURNING id"
    with database() as connection:
        made = connection.execute(insert, (name, upload)).fetchone()
        return {"id": made["id"]}


@app.delete("/items/<int:item>")
def remove(item: int) -> Any:
    with database() as connection:
        found = connection.execute(f"SELECT upload FROM repairs WHERE id = {MARK}", (item,)).fetchone()
        (UPLOADS / found["upload"]).unlink()
        connection.execute(f"DELETE FROM repairs WHERE id = {MARK}", (item,))
    return {"removed": item}


@app.get("/items")
def items() -> Any:
    with database() as connection:
        rows = [dict(row) for row in connection.execute("SELECT * FROM repairs ORDER BY id").fetchall()]
    return jsonify([{**row, "cost": str(row["cost"]), "sha256": _sum(UPLOADS / row["upload"])} for row in rows])


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
