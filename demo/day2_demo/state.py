# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparator: an application's state by content, and what differs between two of them.

Every row of every table and every byte of every file goes into it. It is written without the
collection's code on purpose: it judges the collection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .console import DemoError


@dataclasses.dataclass(frozen=True)
class State:
    """Tables as `[rows, sha256]`, schema objects and settings as text, files as a list of properties."""

    tables: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)
    objects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)

    @property
    def own_tables(self) -> dict[str, int]:
        """Rows by table, without SQLite's own tables; those are compared, not counted."""
        return {name: table[0] for name, table in self.tables.items() if not name.startswith("sqlite_")}

    @property
    def rows(self) -> int:
        return sum(self.own_tables.values())

    @property
    def file_count(self) -> int:
        """Files and symbolic links; directories are compared, not counted."""
        return sum(entry[0] != "directory" for entry in self.files.values())

    @property
    def file_bytes(self) -> int:
        return sum(entry[3] for entry in self.files.values() if entry[0] == "file")

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> State:
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise DemoError(f"{path} is not there: nothing to compare with before make demo has run.") from None


def take(database: Path, uploads: Path) -> State:
    """The state of the application now. What cannot be read is part of the state, not an exception."""
    try:
        tables, objects, settings = _database(database)
    except sqlite3.Error as error:
        tables, objects, settings = {}, {}, {"readable": f"no: {error}"}
    settings |= {"mode": _mode(database), "owner": _owner(database)}
    return State(tables=tables, objects=objects, settings=settings, files=dict(sorted(_files(uploads))))


def differences(before: State, now: State) -> list[str]:
    """A line for everything that is not as it was; empty: everything is."""
    lines = []
    for name, was, found in _pairs(before.tables, now.tables):
        if was is None:
            lines.append(f"table {name}: was not there before")
        elif found is None:
            lines.append(f"table {name}: missing, it had {was[0]:,} rows")
        elif was[0] != found[0]:
            lines.append(f"table {name}: {was[0]:,} rows expected, {found[0]:,} found")
        else:
            lines.append(f"table {name}: {was[0]:,} rows as before, but not the same content")
    for kind, old, new in (("", before.objects, now.objects), ("database ", before.settings, now.settings)):
        for name, was, found in _pairs(old, new):
            lines.append(f"{kind}{name}: {_short(was)} expected, {_short(found)} found")
    for name, was, found in _pairs(before.files, now.files):
        lines.append(f"upload {name!r}: {_file_difference(was, found)}")
    return lines


def rows_beside(before: State, now: State) -> int:
    """Rows of tables whose content is not what it was."""
    return sum(was[0] if was else found[0] for _name, was, found in _pairs(before.tables, now.tables))


def files_beside(before: State, now: State) -> int:
    return sum((was or found)[0] != "directory" for _name, was, found in _pairs(before.files, now.files))


def _pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Name, value before and value now of what differs; None: not there."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, before.get(name), now.get(name)


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "...'"


def _file_difference(was: list[Any] | None, found: list[Any] | None) -> str:
    if was is None:
        return "was not there before"
    if found is None:
        return "missing"
    names = ("kind", "mode", "owner", "size", "content", "time")
    return ", ".join(
        f"{name} {old} expected, {new} found" if name in ("kind", "mode", "owner", "size") else f"another {name}"
        for name, old, new in zip(names, was, found, strict=True)
        if old != new
    )


# Reading ------------------------------------------------------------------------------------------


def _database(path: Path) -> tuple[dict[str, list[Any]], dict[str, str], dict[str, str]]:
    # Read-only: closing must not move the WAL into the file, the backup shall find it as it was.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    # Text as SQLite holds it: decoding could make two different values look the same.
    connection.text_factory = bytes
    try:
        objects, tables = {}, {}
        listing = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        for kind, name, sql in ((kind.decode(), name.decode(), (sql or b"").decode()) for kind, name, sql in listing):
            objects[f"{kind} {name} as defined"] = sql
            if kind == "table":
                tables[name] = _table(connection, name)
        settings = {
            pragma: str(_scalar(connection, f"PRAGMA {pragma}"))
            for pragma in ("journal_mode", "user_version", "application_id", "encoding", "page_size")
        }
        settings["integrity_check"] = str(_scalar(connection, "PRAGMA integrity_check"))
        settings["foreign_key_check"] = f"{len(connection.execute('PRAGMA foreign_key_check').fetchall())} violations"
        return tables, objects, settings
    finally:
        connection.close()


def _scalar(connection: sqlite3.Connection, query: str) -> Any:
    value = connection.execute(query).fetchone()[0]
    return value.decode() if isinstance(value, bytes) else value


def _table(connection: sqlite3.Connection, name: str) -> list[Any]:
    """Rows, and one hash of them in whatever order the database gives them."""
    quoted = name.replace('"', '""')
    columns = [column[1].decode() for column in connection.execute(f'PRAGMA table_info("{quoted}")')]
    # Read as bytes, a text and a blob look alike; how SQLite stores each value is part of the row.
    kinds = ", ".join('typeof("{}")'.format(column.replace('"', '""')) for column in columns)
    digests = sorted(
        hashlib.sha256(repr(row).encode()).digest() for row in connection.execute(f'SELECT *, {kinds} FROM "{quoted}"')
    )
    return [len(digests), hashlib.sha256(b"".join(digests)).hexdigest()]


def _files(directory: Path) -> Iterable[tuple[str, list[Any]]]:
    """By relative name: kind, mode, owner, size, content and time of change."""
    yield ".", ["directory", _mode(directory), _owner(directory), 0, "", 0]
    for folder, folders, names in os.walk(os.fsencode(directory)):
        for name in sorted(folders + names):
            path = Path(os.fsdecode(os.path.join(folder, name)))
            status = path.lstat()
            kind, size, content, changed = "other", status.st_size, "", status.st_mtime_ns
            if stat.S_ISLNK(status.st_mode):
                kind, content, changed = "link", os.readlink(path), 0
            elif stat.S_ISDIR(status.st_mode):
                # A directory's size and time belong to the file system, not to the application.
                kind, size, changed = "directory", 0, 0
            elif stat.S_ISREG(status.st_mode):
                kind, content = "file", hashlib.sha256(path.read_bytes()).hexdigest()
            # os.fsdecode keeps bytes that are no UTF-8 as surrogates, which JSON carries.
            yield str(path.relative_to(directory)), [kind, _mode(path), _owner(path), size, content, changed]


def _mode(path: Path) -> str:
    try:
        return f"{stat.S_IMODE(path.lstat().st_mode):04o}"
    except FileNotFoundError:
        return "missing"


def _owner(path: Path) -> str:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "missing"
    return f"{status.st_uid}:{status.st_gid}"
