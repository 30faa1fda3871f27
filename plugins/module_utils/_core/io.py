# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Files that are either the old one or the new one, never half of it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional, TextIO

from .errors import OpsError, Unavailable


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(
    path: Path,
    content: bytes,
    mode: int = 0o600,
    owner: Optional[tuple[int, int]] = None,
    durable: bool = True,
) -> None:
    """Write a file beside its name, make it durable, and rename it over. `owner`: user and group id."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), *owner)  # before fchmod, because it clears set-id bits
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def write_json(path: Path, data: Any, mode: int = 0o600, durable: bool = True) -> None:
    """Of what the collection keeps on a target; `Unavailable` where it cannot, with what was there left as it is."""
    try:
        write_atomic(path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode(), mode, durable=durable)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> Unavailable:
    """What is said of a file that the collection keeps on a target and cannot write."""
    return Unavailable(
        f"{path} cannot be written ({error.strerror})", hint="Is its disk full? Make room, then run it again."
    )


@contextlib.contextmanager
def open_to_lock(path: Path) -> Iterator[TextIO]:
    """A file that is there to be locked, made where missing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be opened ({error.strerror})", hint="Is its disk full? Make room, then run it again."
        ) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        yield stream


def read_json(path: Path) -> Any:
    """The file's content, or None where there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OpsError(
            f"{path} is not valid JSON ({error})", hint="It was damaged; look at it and move it away."
        ) from None


def private_directory(path: Path) -> Path:
    """A directory that only its owner can enter, made with its parents where missing."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise Unavailable(
            f"the directory {path} cannot be made ({error.strerror})",
            hint="Run the role day2.ops.prepare, or give a state_dir that this user may write to.",
        ) from None
    return path


@contextlib.contextmanager
def friendly_os_errors(doing: str) -> Iterator[None]:
    """Turn an OSError into an `OpsError` that says what was being done."""
    try:
        yield
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        raise OpsError(f"{doing} failed: {error.strerror or error}{name}") from None
