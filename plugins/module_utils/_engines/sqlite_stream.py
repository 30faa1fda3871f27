# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The stream of a SQLite datastore: a private copy that is read, and a staged file that is written."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Optional, cast

from .._core.context import Context
from .._core.errors import Mismatch
from .._core.io import friendly_os_errors
from .._core.model import Fingerprint, Json
from . import sqlite_file, sqlite_fingerprint
from .sqlite_file import Header, opened


@dataclasses.dataclass
class SQLiteSnapshot:
    """A private copy of the database: the dump's bytes and the fingerprint come from the same file."""

    filename: str
    format: str
    flags: tuple[str, ...]
    facts: Json
    path: Path
    level: str
    newest: Optional[Mapping[str, Any]]

    def dump(self) -> FileProducer:
        return FileProducer(self.path)

    def fingerprint(self) -> Fingerprint:
        with opened(self.path, immutable=True) as copy:
            return sqlite_fingerprint.fingerprint(copy, self.level, self.newest)

    def complete(self, head: bytes, end: bytes) -> bool:
        header = Header.parse(head)
        return header is not None and header.size == self.path.stat().st_size and _tail(self.path, len(end)) == end


class FileProducer:
    """The copy, read from its start to its end."""

    def __init__(self, path: Path) -> None:
        self.stdout: IO[bytes] = io.FileIO(path)
        self._size = path.stat().st_size

    def finish(self) -> Mapping[str, int]:
        read = self.stdout.tell() if not self.stdout.closed else self._size
        self.stdout.close()
        if read != self._size:
            raise Mismatch(f"only {read} of {self._size} bytes of the copy were read")
        return {"sqlite3": 0}

    def kill(self) -> None:
        self.stdout.close()


class FileLoader:
    """Writes the stream into the staged file, and looks at what it has become."""

    def __init__(self, path: Path, context: Context) -> None:
        self._path = path
        self._context = context
        with friendly_os_errors("making the staged copy"):
            path.unlink(missing_ok=True)
            self._sink = _Sink(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    @property
    def stdin(self) -> IO[bytes]:
        return cast(IO[bytes], self._sink)

    def finish(self) -> None:
        with friendly_os_errors(f"writing the staged copy {self._path}"):
            self._sink.close()
            if self._sink.error is not None:
                raise self._sink.error
            sqlite_file.sync(self._path)
        sqlite_file.check_copy(self._path)
        broken = sqlite_file.foreign_key_violations(self._path)
        if broken:
            self._context.warn(f"rows without their parent, as the backup holds them: {', '.join(broken)}")

    def kill(self) -> None:
        self._sink.close()
        self._path.unlink(missing_ok=True)


class _Sink(io.RawIOBase):
    """Writes all it is given; remembers why it could not, and then looks like a pipe whose reader has
    gone, so that whoever writes asks `finish` for the reason as with every other loader."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.error: Optional[OSError] = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):
            try:
                written += os.write(self._descriptor, view[written:])
            except OSError as error:
                self.error = error
                raise BrokenPipeError(errno.EPIPE, "the staged copy cannot be written") from error
        return written

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _tail(path: Path, size: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(max(0, path.stat().st_size - size))
        return stream.read()
