# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The typed client of restic, the store: one method per verb, every outcome told apart.

Works with restic 0.14.0 (Debian 12) and newer. Exit codes 10, 11 and 12 (no repository, locked, wrong
password) exist since 0.17; before that all three are 1 and only the message differs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.context import Context
from .._core.errors import Busy, OpsError, Refused, ToolFailed, Unavailable
from .._core.place import HostPlace
from .._core.process import TAIL, Child, Command, failed

MINIMUM = (0, 14, 0)
MESSAGES = 1 << 20  # bytes of messages that are kept: every file that could not be read counts
NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12
# How a backend says that the repository's configuration is not there, as opposed to a network, a login
# or a server that fails: before 0.17 restic asks "Is there a repository …?" after all of them.
_ABSENT = re.compile(
    r"no such file or directory|do(es not|esn't) exist|NoSuch(Bucket|Key)|object not found|\b404\b", re.I
)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot as `restic snapshots --json` lists it. `original` is the id it had before a copy."""

    id: str
    time: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    original: str = ""

    def tag(self, name: str) -> str:
        """The value of the tag `name=value`; "" where there is none."""
        return next((tag[len(name) + 1 :] for tag in self.tags if tag.startswith(f"{name}=")), "")

    def is_called(self, snapshot: str) -> bool:
        """Whether this is the snapshot that a manifest names, by its (possibly short) id."""
        return bool(snapshot) and (self.id.startswith(snapshot) or self.original.startswith(snapshot))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `restic backup` says at its end. Sizes in bytes; `added` is new data in the repository."""

    snapshot: str
    files: int
    bytes: int
    added: int


@dataclasses.dataclass(frozen=True)
class Repository:
    """Where a repository is and how restic gets in."""

    location: str
    password: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    restic: str = "restic"
    lock_timeout: float = 300

    @property
    def directory(self) -> Optional[Path]:
        """The directory of a local repository."""
        if re.match(r"^[a-z0-9]+:", self.location):
            return Path(self.location[6:]) if self.location.startswith("local:") else None
        return Path(self.location)


class Restic:
    """One repository, driven by one restic."""

    def __init__(self, repository: Repository, context: Context) -> None:
        self.repository = repository
        self.context = context
        self.place = HostPlace(context)
        context.secrets.add(repository.password)

    # Opening -------------------------------------------------------------------------------------
    def version(self) -> tuple[int, ...]:
        """Its version; `Refused` for one that is too old."""
        completed = self.place.run([self.repository.restic, "version"], timeout=60)
        match = re.match(r"restic (\d+)\.(\d+)\.(\d+)", completed.text)
        if not match:
            raise Unavailable(f"{self.repository.restic} does not say its version: {completed.text[:100]!r}")
        version = tuple(int(number) for number in match.groups())
        if version < MINIMUM:
            raise Refused(f"restic {'.'.join(match.groups())} is too old", hint="Install restic 0.14.0 or newer.")
        return version

    def config(self) -> Mapping[str, Any]:
        """The repository's configuration: the one question that tells why a repository cannot be used."""
        data: Mapping[str, Any] = json.loads(self._run(["cat", "config"]).text)
        return data

    def exists(self) -> bool:
        """Whether there is a repository. Any other reason why it cannot be opened is raised."""
        try:
            self.config()
        except NoRepository:
            return False
        return True

    def init(self) -> None:
        """Make a new repository. Only after `exists` said no: never over a failure."""
        self._run(["init"])

    # Writing -------------------------------------------------------------------------------------
    def store_stream(self, filename: str, tags: Sequence[str]) -> StreamBackup:
        """Start storing one stream; see `StreamBackup`."""
        return StreamBackup(self, filename, tags)

    def store_bytes(self, filename: str, content: bytes, tags: Sequence[str]) -> Summary:
        """Store a small file of our own (a manifest, a proof)."""
        stream = self.store_stream(filename, tags)
        try:
            stream.stdin.write(content)
        except OSError:
            pass  # restic has ended; commit says why
        except BaseException:
            stream.abort()
            raise
        return stream.commit()

    def store_paths(
        self, paths: Sequence[str], exclude: Sequence[str], tags: Sequence[str], allow_vanished: bool = False
    ) -> Summary:
        """Store directories and files. Exit 3 (something could not be read) is a failure, unless
        `allow_vanished` and every error was a file that vanished meanwhile; its snapshot is forgotten."""
        argv = ["backup", "--json", *self._tags(tags)]
        argv += [word for pattern in exclude for word in ("--exclude", pattern)]
        completed = self._run([*argv, "--", *paths], ok=(0, 3), timeout=None)
        summary = _summary(completed.stdout)
        if completed.rc == 3:
            vanished, others = _read_errors(completed.stderr_tail, completed.stdout)
            if completed.stderr_cut or others or not vanished or not allow_vanished:
                self.forget([summary.snapshot])
                raise failed(
                    completed.argv,
                    3,
                    completed.stderr_tail[-TAIL:],
                    f"{len(vanished) + len(others) or 'some'} files could not be read: {'; '.join((others or vanished)[:3])}",
                    "Make them readable or exclude them"
                    + ("; with allow_vanished files may vanish meanwhile." if vanished and not others else "."),
                )
            self.context.warn(f"{len(vanished)} files vanished while they were read: {', '.join(vanished[:5])}")
        return summary

    def forget(self, snapshots: Sequence[str]) -> None:
        if snapshots:
            self._run(["forget", *snapshots], timeout=None)

    def prune(self) -> None:
        self._run(["prune"], timeout=None)

    # Reading -------------------------------------------------------------------------------------
    def snapshots(self, tags: Sequence[str]) -> list[Snapshot]:
        """All snapshots that have all of the tags, oldest first."""
        listed = json.loads(self._run(["snapshots", "--json", "--tag", ",".join(tags)]).text or "[]") or []
        return sorted((_snapshot(entry) for entry in listed), key=lambda snapshot: snapshot.time)

    def read(self, snapshot: str, filename: str) -> bytes:
        """A small file whole."""
        return self._run(["dump", snapshot, f"/{filename}"], timeout=600).stdout

    def stream(self, snapshot: str, filename: str) -> Child:
        """Start reading one stream out of the repository."""
        return Child(self._command(["dump", snapshot, f"/{filename}"]))

    def restore_paths(self, snapshot: str, target: Path, include: Sequence[str]) -> None:
        """Restore paths below `target`, where they keep their full absolute path."""
        argv = ["restore", snapshot, "--target", str(target)]
        argv += [word for path in include for word in ("--include", path)]
        self._run(argv, timeout=None)

    def nodes(self, snapshot: str) -> Iterator[Mapping[str, Any]]:
        """Every file and directory of a snapshot, as `restic ls --json` lists them."""
        for line in self._run(["ls", "--json", snapshot], timeout=None).stdout.splitlines():
            node = json.loads(line)
            if node.get("struct_type") == "node" or node.get("message_type") == "node":
                yield node

    def check(self, subset: str = "") -> list[str]:
        """Let restic check the repository; its complaints, none when all is well."""
        argv = ["check"]
        if subset:
            argv += ["--read-data"] if subset == "all" else [f"--read-data-subset={subset}"]
        completed = self._run(argv, ok=(0, 1), timeout=None)
        if completed.rc == 0:
            return []
        lines = (completed.text + "\n" + completed.stderr_tail).splitlines()
        return [line for line in lines if re.search(r"error|Fatal|does not|damaged|not found", line)][:20] or lines[-3:]

    # Running -------------------------------------------------------------------------------------
    def command(self, argv: Sequence[str]) -> Command:
        return self._command(argv)

    def _command(self, argv: Sequence[str]) -> Command:
        # The location goes by the environment as well: it may hold a password.
        environment = {
            **{name: str(value) for name, value in self.repository.environment.items()},
            "RESTIC_REPOSITORY": self.repository.location,
            "RESTIC_PASSWORD": self.repository.password,
            "RESTIC_CACHE_DIR": str(self.context.state_dir / "cache"),
        }
        return self.place.command([self.repository.restic, *argv], environment)

    def _tags(self, tags: Sequence[str]) -> list[str]:
        return ["--host", self.context.app.key, *(word for tag in tags for word in ("--tag", tag))]

    def _run(self, argv: Sequence[str], ok: Sequence[int] = (0,), timeout: Optional[float] = 900) -> Result:
        """Run to the end, waiting for a lock that somebody else holds."""
        deadline = time.monotonic() + self.repository.lock_timeout
        while True:
            result = _collect(Child(self._command(argv), keep=MESSAGES), timeout)
            if result.rc in ok and not (result.rc == 1 and _is_locked(result.rc, result.stderr_tail)):
                return result
            error = classify(result.argv, result.rc, result.stderr_tail, self.repository.location)
            if not isinstance(error, Busy) or time.monotonic() > deadline:
                raise error
            time.sleep(min(2.0, max(0.1, deadline - time.monotonic())))


class NoRepository(Unavailable):
    """There is no repository at the location."""


@dataclasses.dataclass(frozen=True)
class Result:
    argv: tuple[str, ...]
    rc: int
    stdout: bytes
    stderr_tail: str
    stderr_cut: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace").strip()


class StreamBackup:
    """One stream on its way into the repository.

    restic stores whatever it has read when its standard input ends, however the producer ended, so
    the caller holds `stdin` open and only `commit` closes it. `abort` interrupts restic first (SIGINT:
    with SIGTERM restic before 0.17 leaves a lock behind), waits for its end, and then closes.
    """

    def __init__(self, restic: Restic, filename: str, tags: Sequence[str]) -> None:
        self._restic = restic
        argv = ["backup", "--json", "--stdin", "--stdin-filename", filename, *restic._tags(tags)]
        self._child = Child(restic._command(argv), stdin=subprocess.PIPE)
        self._collector = _Collector(self._child)

    @property
    def stdin(self) -> Any:
        return self._child.stdin

    def commit(self) -> Summary:
        """The stream is whole: let restic store it. An error when it could not."""
        with contextlib.suppress(OSError):  # it has ended already; its exit code says why
            self._child.stdin.close()
        rc = self._child.wait(3600)
        stdout = self._collector.text()
        if rc != 0:
            raise classify(self._child.argv, rc, self._child.stderr_tail, self._restic.repository.location)
        return _summary(stdout)

    def abort(self) -> None:
        """The stream is not whole: nothing of it is stored."""
        self._child.signal(signal.SIGINT)
        try:
            self._child.wait(30)
        except ToolFailed:
            pass  # it was killed, which stores nothing either
        finally:
            self._child.kill()

    def failure(self) -> OpsError:
        """Why restic ended by itself, after writing to it failed."""
        rc = self._child.wait(30)
        return classify(self._child.argv, rc, self._child.stderr_tail, self._restic.repository.location)


class _Collector:
    """Reads a child's standard output in the background; keeps its end (the summary is the last line)."""

    def __init__(self, child: Child) -> None:
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._thread.start()

    def _read(self, child: Child) -> None:
        try:
            for line in child.stdout:
                if b'"message_type":"status"' not in line:
                    self._data += line
        except (OSError, ValueError):
            pass  # closed by us

    def text(self) -> bytes:
        self._thread.join(timeout=30)
        return bytes(self._data)


def _collect(child: Child, timeout: Optional[float]) -> Result:
    collector = _Collector(child)
    try:
        rc = child.wait(timeout)
        return Result(child.argv, rc, collector.text(), child.stderr_tail, child.stderr_cut)
    except BaseException:
        child.kill()
        raise
    finally:
        child.close()


def classify(argv: Sequence[str], rc: int, stderr: str, location: str) -> OpsError:
    """What a failed restic means, with what to do about it."""
    details: dict[str, Any] = {"cmd": list(argv), "rc": rc, "stderr_tail": stderr[-TAIL:]}
    opening = "Is there a repository at the following location" in stderr or "unable to open config file" in stderr
    if rc == NO_REPOSITORY or (opening and _ABSENT.search(stderr)):
        return NoRepository(
            f"there is no repository at {location}",
            hint="Check the location; the role day2.ops.prepare creates a repository that is missing.",
            **details,
        )
    if rc == WRONG_PASSWORD or "wrong password or no key found" in stderr:
        return Unavailable(
            f"the password of the repository {location} is wrong", hint="Check repository.password.", **details
        )
    if _is_locked(rc, stderr):
        return Busy(
            f"the repository {location} is locked: {_line(stderr, 'locked')}",
            hint="Wait for the other restic. When it is known to be dead, run `restic unlock` yourself.",
            **details,
        )
    if "no space left on device" in stderr:
        return ToolFailed(
            f"there is no space left for the repository {location}", hint="Free some, then run it again.", **details
        )
    if re.search(r"permission denied", stderr) and "config" in stderr:
        return Unavailable(
            f"the repository {location} may not be read by this user", hint="Check its owner and mode.", **details
        )
    if opening:
        return Unavailable(
            f"the repository {location} cannot be reached: {_line(stderr, 'config file')}",
            hint="Check its location, the network and the credentials.",
            **details,
        )
    if re.search(
        r"ciphertext verification failed|does not match|id .* not found|invalid data returned|wrong size|unexpected EOF",
        stderr,
    ):
        return ToolFailed(
            f"the repository {location} is damaged: {_last(stderr)}",
            hint="Run day2.ops.backup_info with check: all to see which backups are touched; use another backup or the copy.",
            **details,
        )
    return failed(argv, rc, stderr[-TAIL:], hint=f"The repository is {location}.")


def _is_locked(rc: int, stderr: str) -> bool:
    return rc == LOCKED or "unable to create lock" in stderr or "repository is already locked" in stderr


def _line(stderr: str, word: str) -> str:
    return next((line.strip() for line in stderr.splitlines() if word in line), _last(stderr))


def _last(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        id=entry["id"],
        time=entry["time"],
        tags=tuple(entry.get("tags") or ()),
        paths=tuple(entry.get("paths") or ()),
        original=entry.get("original") or "",
    )


def _summary(stdout: bytes) -> Summary:
    for line in reversed(stdout.splitlines()):
        if b'"summary"' in line:
            data = json.loads(line)
            added = data.get("data_added_packed", data["data_added"])  # packed: compressed, since 0.17
            return Summary(data["snapshot_id"], data["total_files_processed"], data["total_bytes_processed"], added)
    raise ToolFailed("restic backup ended without a summary", hint="Look at its output.")


def _read_errors(stderr: str, stdout: bytes) -> tuple[list[str], list[str]]:
    """Files that restic could not read: those that vanished, and others. From its JSON error lines
    (standard output or standard error, by version) and from plain lines on standard error."""
    vanished: list[str] = []
    others: list[str] = []
    for line in [*stderr.splitlines(), *stdout.decode(errors="replace").splitlines()]:
        if line.startswith("{"):
            data = json.loads(line) if line.endswith("}") else {}
            if data.get("message_type") != "error":
                continue
            text = f"{data.get('item', '')}: {_message(data.get('error'))}"
        elif line.startswith(("error: ", "error for ")):
            text = line.partition(": ")[2]
        else:
            continue
        (vanished if "no such file or directory" in text else others).append(text)
    return vanished, others


def _message(error: Any) -> str:
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("Err") or error)
    return str(error)
