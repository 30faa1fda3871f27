# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The dump: an RDB file over replication, checked, loaded and counted before any of it is stored."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Optional, cast

from ..._core.errors import Mismatch, Refused, ToolFailed, Unavailable
from ..._core.io import friendly_os_errors
from ..._core.model import Fingerprint, Json
from ..._core.place import Place
from ..._core.process import Child, ending, failed
from ..._platform.access import Access

FORMAT = "rdb"
MARK = 40  # bytes of the mark that ends a diskless transfer
_FILE_END = 9  # bytes: the opcode 0xFF and a checksum
CLI = ("redis-cli", "valkey-cli")
SERVER = ("redis-server", "valkey-server")
_FIND = 'for name in {}; do command -v "$name" && exit 0; done; exit 0'
# "… success after N bytes" of a transfer with an end mark, "writing N bytes to '-'" of one without.
_LENGTH = re.compile(r"(?:success after|writing) (\d+) bytes")


def find(place: Place, names: Sequence[str]) -> Optional[str]:
    """The first of these programs that is there."""
    found = place.run(["sh", "-c", _FIND.format(shlex.join(names))], timeout=60).text
    return found.splitlines()[0].strip() if found else None


def need(place: Place, names: Sequence[str], purpose: str) -> str:
    program = find(place, names)
    if program is None:
        raise Unavailable(
            f"{purpose} needs {names[0]}, which is not installed on {place.label}", hint="Install it there."
        )
    return program


@dataclasses.dataclass(frozen=True)
class Cli:
    """The server's own client, at the place where the server is. The password is in its environment only."""

    program: str
    access: Access
    port: int
    tls: bool = False
    authority: Optional[str] = None

    def argv(self, *words: str) -> list[str]:
        access = self.access
        argv = [self.program]
        if access.tool_socket:
            argv += ["-s", access.tool_socket]
        else:
            argv += ["-h", access.tool_host or "127.0.0.1", "-p", str(access.tool_port or self.port)]
            if self.tls:
                argv.append("--tls")
                if access.container:
                    argv.append("--insecure")  # the container's own loopback, which no certificate names
                elif self.authority:
                    argv += ["--cacert", self.authority]
        if access.user:
            argv += ["--user", access.user]
        return [*argv, *words]

    @property
    def env(self) -> dict[str, str]:
        return {"REDISCLI_AUTH": self.access.password} if self.access.password else {}


def fetch(cli: Cli, path: Path) -> None:
    """Have the server write its data into a file here, whole or not at all.

    Into a pipe the tool also writes the mark that ended the transfer, 40 bytes behind the RDB's own end; how
    long the RDB is it says on standard error.
    """
    with friendly_os_errors(f"writing the dump {path}"), open(path, "wb") as target:
        os.fchmod(target.fileno(), 0o600)
        child = Child(cli.access.place.command(cli.argv("--rdb", "-"), cli.env), stdout=target)
        try:
            rc = child.wait()
        except BaseException:
            child.kill()
            cli.access.place.end_run()
            raise
        if rc != 0:
            raise _failure(child, rc)
        _cut(target.fileno(), child.stderr_tail, child.argv)
    if not _is_whole(path):
        raise Mismatch(
            "the dump does not end as an RDB file does, although the tool reported success", hint="Run it again."
        )


def _cut(descriptor: int, said: str, argv: Sequence[str]) -> None:
    lengths = _LENGTH.findall(said)
    if not lengths:
        raise ToolFailed("redis-cli does not say how long the dump is", cmd=list(argv), stderr_tail=said)
    length, size = int(lengths[-1]), os.fstat(descriptor).st_size
    if size not in (length, length + MARK):
        raise Mismatch(f"{size} bytes of the dump arrived, the server sent {length}", hint="Run it again.")
    os.ftruncate(descriptor, length)


def _failure(child: Child, rc: int) -> Exception:
    said = child.stderr_tail
    if "NOPERM" in said:
        return Refused(
            "the user may not read the whole server by replication (SYNC)",
            cmd=list(child.argv),
            rc=rc,
            stderr_tail=said,
            hint="Give it the right: ACL SETUSER … +sync +psync +replconf. A managed service that never gives it "
            "has backups of its own.",
        )
    if "unknown command" in said.lower():
        return Refused(
            "the server does not know SYNC, the command that streams its data (managed services take it away)",
            cmd=list(child.argv),
            rc=rc,
            stderr_tail=said,
            hint="Use the service's own backups.",
        )
    last = said.splitlines()[-1] if said else "no message"
    return failed(child.argv, rc, said, what=f"redis-cli {ending(rc)}: {last}")


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as stream:
        head = stream.read(9)
        stream.seek(max(path.stat().st_size - _FILE_END, 0))
        return looks_whole(head, stream.read())


def looks_whole(head: bytes, end: bytes) -> bool:
    """An RDB file starts with its magic and version, and ends with an opcode and a checksum."""
    return re.match(rb"(REDIS|VALKEY)\d{3,4}", head) is not None and end[-_FILE_END:-8] == b"\xff"


def rdb_version(path: Path) -> int:
    with open(path, "rb") as stream:
        match = re.match(rb"[A-Z]+(\d+)", stream.read(10))
    return int(match[1]) if match else 0


def check(place: Place, server: str, path: str) -> Optional[str]:
    """What redis-check-rdb says of the file; None where it is not installed. The one that belongs to the
    server's program: another version may not know what this one writes."""
    program = find(place, [server.replace("-server", "-check-rdb")])
    if program is None:
        return None
    done = place.run([program, path], timeout=None, ok=(0, 1))
    text = done.text
    if "RDB looks OK" not in text:
        last = next((line for line in reversed(text.splitlines()) if line and not line.startswith("---")), "")
        raise Mismatch(
            f"redis-check-rdb finds the dump damaged: {last}", stderr_tail=text[-2000:], hint="Run it again."
        )
    return text


def compare_check(said: Optional[str], held: Mapping[int, Any]) -> None:
    """redis-check-rdb counted the keys as well: what it read must be what the server loaded."""
    if said is None:
        return
    numbers = {what: int(count) for count, what in re.findall(r"\[info\] (\d+) (keys read|expires)", said)}
    if len(numbers) != 2:
        return
    expected = numbers["keys read"] - numbers["expires"]
    found = sum(one.keys - one.expires for one in held.values())
    if expected != found:
        raise Mismatch(f"the dump holds {expected} keys without expiry, of which the throwaway server loaded {found}")


@dataclasses.dataclass
class Snapshot:
    """The checked and counted file, ready to be streamed."""

    filename: str
    format: str
    flags: tuple[str, ...]
    facts: Json
    path: Path
    counted: Fingerprint

    def dump(self) -> Producer:
        return Producer(self.path)

    def fingerprint(self) -> Fingerprint:
        return self.counted

    def complete(self, head: bytes, end: bytes) -> bool:
        return looks_whole(head, end)


class Producer:
    """The file, read from its start to its end."""

    def __init__(self, path: Path) -> None:
        self.stdout: IO[bytes] = io.FileIO(path)
        self._size = path.stat().st_size

    def finish(self) -> Mapping[str, int]:
        read = self.stdout.tell()
        self.stdout.close()
        if read != self._size:
            raise Mismatch(f"only {read} of {self._size} bytes of the dump were read")
        return {"redis-cli": 0}

    def kill(self) -> None:
        self.stdout.close()


class Loader:
    """Writes the stream into the throwaway server's file, then has it started."""

    def __init__(self, path: Path, loaded: Callable[[], None]) -> None:
        self._path = path
        self._loaded = loaded
        with friendly_os_errors("making the staged copy"):
            self._sink = _Sink(path)

    @property
    def stdin(self) -> IO[bytes]:
        return cast(IO[bytes], self._sink)

    def finish(self) -> None:
        with friendly_os_errors(f"writing the staged copy {self._path}"):
            self._sink.close()
            if self._sink.error is not None:
                raise self._sink.error
        self._loaded()

    def kill(self) -> None:
        self._sink.close()


class _Sink(io.FileIO):
    """Writes all it is given; when it cannot, it looks like a pipe whose reader has gone, and `finish` says why."""

    def __init__(self, path: Path) -> None:
        super().__init__(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
        self.error: Optional[OSError] = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):
            try:
                written += super().write(view[written:]) or 0
            except OSError as error:
                self.error = error
                raise BrokenPipeError(errno.EPIPE, "the staged copy cannot be written") from error
        return written
