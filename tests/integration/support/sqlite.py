# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite databases with everything in them, and what they hold, seen without the collection's own eyes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT UNIQUE, data JSON);
CREATE TABLE booking (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer (id) ON DELETE CASCADE,
    at TEXT, price REAL, cents INTEGER GENERATED ALWAYS AS (CAST(price * 100 AS INTEGER)) STORED,
    label TEXT GENERATED ALWAYS AS ('#' || id) VIRTUAL, CHECK (price >= 0));
CREATE TABLE "odd ""name"" -- ; x" ("select" TEXT, "a b" BLOB, 'quoted' INT);
CREATE TABLE blank (id INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE plain (value);
CREATE TABLE setting (key TEXT PRIMARY KEY DESC, value ANY) WITHOUT ROWID;
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, amount REAL, raw BLOB, anything ANY) STRICT;
CREATE TABLE audit (what TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE VIRTUAL TABLE search USING fts5 (title, body);
CREATE VIRTUAL TABLE place USING rtree (id, x0, x1, y0, y1);
CREATE VIEW expensive AS SELECT b.id, c.name FROM booking b JOIN customer c ON c.id = b.customer WHERE b.price > 50;
CREATE VIEW more AS SELECT * FROM expensive;
CREATE INDEX by_customer ON booking (customer, at DESC);
CREATE INDEX cheap ON booking (price) WHERE price < 10;
CREATE INDEX lowered ON customer (lower(name));
CREATE TRIGGER noted AFTER INSERT ON booking BEGIN INSERT INTO audit (what) VALUES ('booking ' || NEW.id); END;
CREATE TRIGGER kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is kept'); END;
"""


def make(
    path: Path, journal_mode: str = "wal", page_size: int = 4096, encoding: str = "UTF-8", large: int = 3_000_000
) -> sqlite3.Connection:
    """A database with every kind of content. The connection stays open: under WAL, rows are in the log only."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA encoding='{encoding}'")
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.executescript(SCHEMA)
    connection.execute("BEGIN")
    every_byte = bytes(range(256))
    names = ["Ada", "Zoë", "😀🇦🇶", "O'Brien; DROP TABLE x --", "tab\tnew\nline", "", "\x00inside", "a" * 70000]
    for number, name in enumerate(names):
        connection.execute(
            "INSERT INTO customer (name, email, data) VALUES (?, ?, ?)", (name, None, '{"a": [1, null]}')
        )
        for index in range(20):
            at = ["0000-01-01", "9999-12-31 23:59:59.999999", "2024-02-29", None][index % 4]
            connection.execute(
                "INSERT INTO booking (customer, at, price) VALUES (?, ?, ?)", (number + 1, at, index * 7.25)
            )
    connection.execute('INSERT INTO "odd ""name"" -- ; x" VALUES (?, ?, ?)', ("x", every_byte * 3, -1))
    values = [None, 0, 2**63 - 1, -(2**63), 0.1, -0.0, 1e308, float("inf"), "text", every_byte, b"", "1", 1]
    connection.executemany("INSERT INTO plain VALUES (?)", [(value,) for value in values])
    connection.execute("INSERT INTO plain VALUES (CAST(x'ff00fe41' AS TEXT))")  # text that is no valid UTF-8
    connection.execute("INSERT INTO plain VALUES (zeroblob(?))", (large,))
    connection.executemany("INSERT INTO setting VALUES (?, ?)", [("a", None), ("b", 5), ("c", every_byte)])
    connection.execute("INSERT INTO strict_one VALUES (1, 2.5, x'00ff', 'any')")
    connection.execute("INSERT INTO alembic_version VALUES ('3f2a9c1b')")
    connection.execute("INSERT INTO search VALUES ('lake house', 'a quiet place 😀')")
    connection.execute("INSERT INTO place VALUES (1, 0.0, 1.0, 2.0, 3.0)")
    connection.execute("COMMIT")
    connection.execute("PRAGMA user_version=42")
    connection.execute("PRAGMA application_id=1111574091")
    return connection


def content(path: Path) -> dict[str, str]:
    """Everything that a database holds, in a process of its own: closing a file here would drop the
    locks of connections that the test holds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(writer, "w") as stream:
            try:
                json.dump(_content(path), stream)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    assert os.waitpid(pid, 0)[1] == 0, f"{path} cannot be read"
    found: dict[str, str] = json.loads(text)
    return found


def _content(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=30)
    connection.text_factory = lambda data: ("text", data)
    connection.execute("BEGIN")

    def plain(value: Any) -> Any:
        return value[1].decode(errors="surrogateescape") if isinstance(value, tuple) else value

    master = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
    found = {"schema": repr(master)}
    for kind, name, _sql in ([plain(value) for value in row] for row in master):
        if kind in ("table", "view"):
            quoted = '"' + name.replace('"', '""') + '"'
            rows = sorted(map(repr, connection.execute(f"SELECT * FROM {quoted}")))
            found[f"{kind} {name}"] = f"{len(rows)} {hashlib.sha256(repr(rows).encode()).hexdigest()}"
    for name in ("user_version", "application_id", "encoding", "integrity_check"):
        found[name] = repr(connection.execute(f"PRAGMA {name}").fetchall())
    connection.close()
    return found


def journal_mode(path: Path) -> str:
    """From bytes 18 and 19 of the file; call it only while no connection to it is open here."""
    with open(path, "rb") as stream:
        return "wal" if stream.read(20)[18:] == b"\x02\x02" else "delete"


def ownership(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def other_process(
    work: Callable[[sqlite3.Connection], Callable[[], None] | None], path: Path, user: int | None = None
) -> Iterator[None]:
    """Another process with a connection of its own; it stays until the end of the context.

    A fork and not a program, because an ordinary user may not be allowed to read this Python.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            then = work(connection)
            os.write(writer, b"ready")
            if then is not None:
                then()
            time.sleep(600)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 5) == b"ready"
        yield
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def holder(path: Path, *statements: str, user: int | None = None) -> contextlib.AbstractContextManager[None]:
    """A process that has the database open, after some statements (a lock, say)."""

    def work(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement).fetchall()

    return other_process(work, path, user)


def writer(path: Path) -> contextlib.AbstractContextManager[None]:
    """A process that inserts into two tables in one transaction, again and again."""

    def work(connection: sqlite3.Connection) -> Callable[[], None]:
        def insert() -> None:
            number = 0
            while True:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO pair_a (n, filler) VALUES (?, randomblob(500))", (number,))
                connection.execute("INSERT INTO pair_b (n) VALUES (?)", (number,))
                connection.execute("COMMIT")
                number += 1

        return insert

    return other_process(work, path)


def crash(path: Path, *statements: str) -> None:
    """A process that writes and dies, with its journal or log left behind."""
    with holder(path, *statements):
        pass


def unprivileged() -> int | None:
    """An ordinary user's id when the tests run as root."""
    return 65534 if os.geteuid() == 0 else None
