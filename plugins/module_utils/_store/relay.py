# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The relay: passes a stream on, counting and hashing it on its way, in constant memory."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
from collections.abc import Callable, Mapping
from typing import IO, Any, Optional, Protocol

from .._core.errors import Mismatch, OpsError
from .._core.process import Child
from .messages import classify
from .restic import Restic, StreamBackup, Summary

CHUNK = 1 << 20  # one buffer of 1 MiB, and pipes of the same size (pipe(7))
END = 4096  # bytes kept of the beginning and of the end
_F_SETPIPE_SZ = 1031


@dataclasses.dataclass(frozen=True)
class Digest:
    """What went through: its length in bytes, its SHA-256, its first and last bytes."""

    size: int
    sha256: str
    head: bytes = b""
    end: bytes = b""


class Source(Protocol):
    """What a relay reads from: a running dump."""

    @property
    def stdout(self) -> IO[bytes]: ...

    def finish(self) -> Mapping[str, int]: ...

    def kill(self) -> None: ...


class Sink(Protocol):
    """What a relay writes to: a running load."""

    @property
    def stdin(self) -> IO[bytes]: ...

    def finish(self) -> None: ...

    def kill(self) -> None: ...


class SinkClosed(Exception):
    """The reading side has ended; its own exit code says why."""


def pump(source: IO[bytes], sink: Any, passed: Callable[[int], None] = lambda count: None) -> Digest:
    """Pass everything on until the source ends, and tell `passed` how much. The sink is not closed."""
    for pipe in (source, sink):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, CHUNK)
    buffer = memoryview(bytearray(CHUNK))
    read = getattr(source, "readinto1", None) or source.readinto  # type: ignore[attr-defined]
    digest, total, head, end = hashlib.sha256(), 0, b"", b""
    while True:
        count = read(buffer)
        if not count:
            break
        chunk = buffer[:count]
        try:
            sink.write(chunk)
        except (BrokenPipeError, ValueError):
            raise SinkClosed from None
        digest.update(chunk)
        total += count
        passed(count)
        if len(head) < END:
            head += bytes(chunk[: END - len(head)])
        end = bytes(chunk[-END:]) if count >= END else (end + bytes(chunk))[-END:]
    try:
        sink.flush()
    except (BrokenPipeError, ValueError):
        raise SinkClosed from None
    return Digest(total, digest.hexdigest(), head, end)


@dataclasses.dataclass(frozen=True)
class Stored:
    """A stream that is in the repository."""

    digest: Digest
    summary: Summary
    exit_codes: Mapping[str, int]


class Whole(Protocol):
    """Says by its first and last bytes whether a dump is whole."""

    def __call__(self, head: bytes, end: bytes) -> bool: ...


def store(producer: Source, stream: StreamBackup, whole: Whole) -> Stored:
    """Store a dump. restic's input is closed only when the producer has ended well and the dump is
    whole; in every other case restic is interrupted first, and nothing is stored."""
    try:
        digest = pump(producer.stdout, stream.stdin, stream.passed)
        exit_codes = producer.finish()
        if digest.size == 0:
            raise Mismatch("the dump is empty", untouched="Nothing was stored.")
        if not whole(digest.head, digest.end):
            raise Mismatch(
                f"the dump ended after {digest.size} bytes without its end mark although the tool reported success",
                untouched="Nothing was stored.",
                hint="The stream was cut on its way. Run it again.",
            )
    except SinkClosed:
        producer.kill()
        raise stream.failure() from None
    except BaseException:
        try:
            stream.abort()
        finally:
            producer.kill()
        raise
    summary = stream.commit()
    if summary.bytes != digest.size:
        raise Mismatch(f"restic stored {summary.bytes} bytes of {digest.size}", hint="Run it again.")
    return Stored(digest, summary, {**exit_codes, "restic": 0})


def load(restic: Restic, snapshot: str, filename: str, expected: Digest, loader: Sink) -> None:
    """Read a stream out of the repository into a loader, and compare its length and hash with what
    was stored. The loader's input is closed only when everything has arrived."""
    child: Optional[Child] = restic.stream(snapshot, filename)
    try:
        if child is None:
            raise OpsError("restic was not started")
        try:
            digest = pump(child.stdout, loader.stdin, restic.context.progress.add)
        except SinkClosed:
            child.kill()
            loader.finish()
            raise OpsError("the loading tool ended before the backup's end without saying why") from None
        rc = child.wait(60)
        if rc != 0:
            raise classify(child.argv, rc, child.stderr_tail, restic.repository.location)
        if (digest.size, digest.sha256) != (expected.size, expected.sha256):
            raise Mismatch(
                f"what came out of the repository is not what was stored: {digest.size} bytes, SHA-256 "
                f"{digest.sha256[:12]}; the manifest says {expected.size} bytes, {expected.sha256[:12]}",
                hint="The repository or the manifest was altered. Use another backup.",
            )
        _close(loader)
        loader.finish()
    except BaseException:
        loader.kill()
        if child is not None:
            child.kill()
        raise
    child.close()


def _close(loader: Sink) -> None:
    with contextlib.suppress(OSError):  # it has ended already; finish says why
        loader.stdin.close()
