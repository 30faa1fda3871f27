# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One SQLite file: how it is opened without being made, copied, checked, and how its errors read.

Never open a database file that may be live with plain `open` while this process has a connection to
it: closing any descriptor of a file drops all POSIX locks that the process holds on it, SQLite's too
(https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

from .._core.errors import Busy, Mismatch, OpsError, Refused, Unavailable
from .._core.sizes import readable

MAGIC = b"SQLite format 3\0"
SIDECARS = ("-wal", "-shm", "-journal")
WAIT = 30.0  # seconds that a lock of another process is waited for
MARGIN = 16 * 1024 * 1024  # of free space that a copy leaves


@dataclasses.dataclass(frozen=True)
class Header:
    """What the first 100 bytes of a database file say."""

    page_size: int
    pages: int

    @property
    def size(self) -> int:
        return self.page_size * self.pages

    @classmethod
    def parse(cls, head: bytes) -> Optional[Header]:
        """None where this is not the start of a SQLite database."""
        if len(head) < 100 or not head.startswith(MAGIC):
            return None
        page_size = int.from_bytes(head[16:18], "big")
        return cls(65536 if page_size == 1 else page_size, int.from_bytes(head[28:32], "big"))


def sidecars(path: Path) -> list[Path]:
    """The names under which SQLite keeps a log, its index, or a rollback journal beside the file."""
    return [path.with_name(path.name + suffix) for suffix in SIDECARS]


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def opened(
    path: Path, mode: str = "ro", *, immutable: bool = False, wait: float = WAIT
) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists (it is never made, except with mode `rwc`).

    `immutable` is for our own copies: no lock, no `-wal` and `-shm` beside them.
    """
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}" + ("&immutable=1" if immutable else "")
    with readable_errors(path):
        connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        with readable_errors(path):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def opened_live(path: Path, *, wait: float = WAIT) -> Iterator[sqlite3.Connection]:
    """A connection that reads the live file, inside one read transaction.

    Read-only first, so that looking changes nothing. A journal that a crashed writer left can only be
    rolled back by a connection that may write: SQLite asks for that with "readonly" or "unable to open".
    """
    check_exists(path)
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(opened(path, "ro", wait=0))
            _begin(connection, path, wait)
        except Unavailable:
            connection = stack.enter_context(opened(path, "rw", wait=0))
            _begin(connection, path, wait)
        yield connection


def _begin(connection: sqlite3.Connection, path: Path, wait: float) -> None:
    """Start a read transaction. SQLite's own wait looks ten times a second at most, and was seen to miss
    the gaps that a busy writer leaves (rollback journal) for seconds on end."""
    end = time.monotonic() + wait
    while True:
        try:
            with readable_errors(path):
                connection.execute("BEGIN")
                connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            return
        except Busy:
            if time.monotonic() > end:
                raise
            connection.rollback()
            time.sleep(0.002)


def check_exists(path: Path) -> None:
    if path.is_dir():
        raise Refused(f"{path} is a directory, not a SQLite file", hint="Give the database file itself as path.")
    if not path.exists():
        raise Unavailable(f"there is no file {path}", hint="Correct the option path of this datastore.")


@contextlib.contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn what sqlite3 raises into an error that names the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise explained(error, path) from error


def explained(error: sqlite3.Error, path: Path) -> OpsError:
    text = str(error)
    low = text.lower()
    if "locked" in low or "busy" in low:
        return Busy(
            f"{path} is locked by another process and stayed locked",
            hint="A transaction is open there. End it, or stop the application, and try again.",
        )
    if "not a database" in low or "malformed" in low or "encrypted" in low:
        return Mismatch(f"{path} is damaged or not a SQLite database ({text})", hint="Restore it from a backup.")
    if "unable to open" in low or "readonly" in low or "authorization" in low or "access permission" in low:
        return Unavailable(
            f"{path} cannot be opened ({text})",
            hint="Check the owner and mode of the file and of its directory: SQLite keeps files beside it.",
        )
    if "full" in low:
        return OpsError(f"the disk that holds {path} is full", hint="Make room and try again.")
    return OpsError(f"SQLite says about {path}: {text}")


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    row = connection.execute(f"PRAGMA {name}").fetchone()
    return row[0] if row else None


def copy(source: sqlite3.Connection, target: sqlite3.Connection, path: Path, wait: float = WAIT) -> None:
    """Copy a whole database by the online backup API, in one transaction of the target.

    All pages in one step: with several, every write of another connection starts the copy anew.
    Python repeats a step that finds the target locked for ever; the progress callback ends that.
    """
    end = time.monotonic() + wait

    def watch(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3_busy, sqlite3_locked) and time.monotonic() > end:
            raise _StillLocked()

    sqlite3_busy, sqlite3_locked = 5, 6
    try:
        with readable_errors(path):
            source.backup(target, pages=-1, progress=watch, sleep=0.05)
    except _StillLocked:
        raise explained(sqlite3.OperationalError("database is locked"), path) from None


class _StillLocked(Exception):
    """The wait for a lock is over."""


def copy_to_new(source: sqlite3.Connection, copy_path: Path) -> None:
    """Write what a connection sees into a new file of mode 0600."""
    os.close(os.open(copy_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with opened(copy_path, "rw") as target:
        # The copy is ours alone and is thrown away when anything goes wrong.
        target.execute("PRAGMA synchronous=OFF")
        copy(source, target, copy_path)
        if copy_path.stat().st_size == 0:  # a database without a page yet: give it its header
            target.execute("PRAGMA user_version=1")
            target.execute("PRAGMA user_version=0")


def vacuumed(path: Path) -> None:
    """Write a private copy anew by VACUUM INTO.

    From a copy and not from the live file, because VACUUM would keep writers out for longer, and because
    a connection that may only read cannot vacuum a table with generated columns (SQLite 3.40: "table
    vacuum_db.x has 4 columns but 6 values were supplied").
    """
    fresh = path.with_name(f"{path.name}.vacuum")
    fresh.unlink(missing_ok=True)
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with opened(path, "rw") as connection:
            connection.execute("VACUUM INTO ?", (str(fresh),))
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_copy(path: Path) -> None:
    """Refuse a copy that is not a whole and sound database: header, length, `PRAGMA quick_check`."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        header = Header.parse(stream.read(100))
    if header is None:
        raise Mismatch("the copy is not a SQLite database (its first bytes are wrong)")
    if header.size != size:
        raise Mismatch(f"the copy has {size} bytes where its header promises {header.size}")
    with opened(path, immutable=True) as connection:
        check_sound(connection)


def check_sound(connection: sqlite3.Connection) -> None:
    """Refuse a database that is damaged anywhere; reads all of it."""
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        return  # a collation or module that only the application has
    if found != ["ok"]:
        raise Mismatch(f"the database is damaged: {'; '.join(found)}")


def foreign_key_violations(path: Path) -> list[str]:
    """Tables with rows whose parent is missing, for a warning: such a database could be backed up too."""
    tables: dict[str, int] = {}
    with opened(path, immutable=True) as connection, contextlib.suppress(sqlite3.OperationalError):
        for row in connection.execute("PRAGMA foreign_key_check"):
            tables[str(row[0])] = tables.get(str(row[0]), 0) + 1
    return [f"{name}: {count} rows" for name, count in sorted(tables.items())]


def set_journal_mode(path: Path, mode: str, warn: Callable[[str], None]) -> None:
    """Set the persistent journal mode; it stays as it is, with a warning, where others hold the file open."""
    with opened(path, "rw") as connection:
        if pragma(connection, "journal_mode") == mode:
            return
        try:
            now = pragma(connection, f"journal_mode={mode}")
        except sqlite3.OperationalError:
            now = None
    if now != mode:
        warn(f"the journal mode of {path} could not be set to {mode}, because another process has the file open")


def need_space(directory: Path, size: int, purpose: str) -> None:
    """Refuse where a file of this size would not fit, with a little left for everybody else."""
    while not directory.is_dir():  # check mode makes nothing
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    if free < size + MARGIN:
        raise Refused(
            f"{purpose} needs {readable(size)} in {directory} and leaves {readable(MARGIN)}, where {readable(free)} are free",
            hint="Make room there.",
        )


def size_on_disk(path: Path) -> int:
    """Bytes of the file and of what its log holds."""
    total = 0
    for each in (path, sidecars(path)[0]):
        with contextlib.suppress(FileNotFoundError):
            total += each.stat().st_size
    return total
