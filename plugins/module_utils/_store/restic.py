# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The typed client of restic, the store: one method per verb. Works with 0.14.0 (Debian 12) and newer."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar

from .._core.context import Context
from .._core.errors import OpsError, Refused, ToolFailed, Unavailable
from .._core.place import HostPlace
from .._core.process import TAIL, Child, Command, failed
from .._core.sizes import readable
from . import repository as repositories
from . import traces
from .messages import Locked, NoRepository, classify, is_locked, read_errors
from .repository import MINIMUM, Repository
from .running import Collector, Patience, Reached, Result, collect, watched
from .traces import Traced, Traces

__all__ = ["MINIMUM", "Repository", "Restic", "Snapshot", "StreamBackup", "Summary"]

T = TypeVar("T")
CACHE_ROOM = 16 << 20  # bytes that must be free for restic to keep a cache
MESSAGES = 1 << 20  # bytes of messages that are kept: every file that could not be read counts


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot as `restic snapshots --json` lists it. `original` is the id it had before a copy."""

    id: str
    time: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    original: str = ""
    tree: str = ""

    @property
    def origin(self) -> str:
        """The id that it has in the repository where it was made."""
        return self.original or self.id

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


class Restic:
    """One repository, driven by one restic."""

    def __init__(self, repository: Repository, context: Context) -> None:
        self.repository = repository
        self.context = context
        self.place = HostPlace(context)
        self.traces = Traces(context, repository.location)
        self._told = False  # that there is no room for a cache
        context.secrets.add(repository.password)

    # Opening -------------------------------------------------------------------------------------
    def version(self) -> tuple[int, ...]:
        """Its version; `Refused` for one that is too old, or lacks an option that is given."""
        completed = self.place.run([self.repository.restic, "version"], timeout=60)
        match = re.match(r"restic (\d+)\.(\d+)\.(\d+)", completed.text)
        if not match:
            raise Unavailable(f"{self.repository.restic} does not say its version: {completed.text[:100]!r}")
        version = tuple(int(number) for number in match.groups())
        if version < MINIMUM:
            raise Refused(f"restic {'.'.join(match.groups())} is too old", hint="Install restic 0.14.0 or newer.")
        repositories.check_options(self.repository, version, self._extended())
        return version

    def _extended(self) -> list[str]:
        """The extended options that it knows; asked only where one is given."""
        if not self.repository.options.extended:
            return []
        return re.findall(r"^ +(\S+)", self.place.run([self.repository.restic, "options"], timeout=60).text, re.M)

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

    def init(self, like: Optional[Restic] = None) -> None:
        """Make a new repository. Only after `exists` said no: never over a failure. `like`: files are cut where that
        one cuts them, so that what is copied from there is stored once only."""
        if like is None:
            self._run(["init"])
        else:
            self._run(["init", "--copy-chunker-params"], source=like)

    # Writing -------------------------------------------------------------------------------------
    def store_stream(self, filename: str, tags: Sequence[str]) -> StreamBackup:
        """Start storing one stream; see `StreamBackup`."""
        return StreamBackup(self, filename, tags)

    def store_bytes(self, filename: str, content: bytes, tags: Sequence[str]) -> Summary:
        """Store a small file of our own (a manifest, a proof)."""
        return self.patiently(lambda: self._store_bytes(filename, content, tags))

    def _store_bytes(self, filename: str, content: bytes, tags: Sequence[str]) -> Summary:
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
        completed = self._run([*argv, "--", *paths], ok=(0, 3), timeout=None, reached=self.context.progress.reached)
        summary = _summary(completed.stdout)
        if completed.rc == 3:
            vanished, others = read_errors(completed.stderr_tail, completed.stdout)
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

    def copy(self, source: Restic, snapshots: Sequence[str]) -> None:
        """Copy snapshots from another repository into this one. What is here already is passed over by restic."""
        if snapshots:
            self._run(["copy", *snapshots], timeout=None, source=source)

    def forget(self, snapshots: Sequence[str]) -> None:
        if snapshots:
            self._run(["forget", *snapshots], timeout=None)

    def prune(self, max_unused: str = "") -> None:
        self._run(["prune", *([f"--max-unused={max_unused}"] if max_unused else [])], timeout=None)

    # Reading -------------------------------------------------------------------------------------
    def snapshots(self, tags: Sequence[str], lock: bool = True) -> list[Snapshot]:
        """All snapshots that have all of the tags, oldest first. Without a lock it is 0.2 s faster, which restic
        waits after taking one, and nobody else's lock is waited for."""
        argv = ["snapshots", "--json", *([] if lock else ["--no-lock"]), "--tag", ",".join(tags)]
        listed = json.loads(self._run(argv).text or "[]") or []
        return sorted((_snapshot(entry) for entry in listed), key=lambda snapshot: snapshot.time)

    def held(self, made: Mapping[str, Sequence[str]]) -> list[Snapshot]:
        """Which of these snapshots (their tags, by their ids) a repository in a directory holds, without asking restic:
        the file of a snapshot is named after the SHA-256 of its content
        (https://restic.readthedocs.io/en/stable/100_references.html#design)."""
        directory = self.repository.directory
        found = []
        for snapshot, tags in made.items():
            for path in sorted(directory.glob(f"snapshots/{snapshot}*")) if directory is not None else ():
                with contextlib.suppress(OSError):
                    if hashlib.sha256(path.read_bytes()).hexdigest() == path.name:
                        found.append(Snapshot(path.name, "", tuple(tags), ()))
        return found

    def read(self, snapshot: str, filename: str) -> bytes:
        """A small file whole."""
        return self._run(["dump", snapshot, f"/{filename}"], timeout=600).stdout

    def stream(self, snapshot: str, filename: str) -> Child:
        """Start reading one stream out of the repository."""
        return self._start(["dump", snapshot, f"/{filename}"])

    def restore_paths(self, snapshot: str, target: Path, include: Sequence[str]) -> None:
        """Restore paths below `target`, where they keep their full absolute path."""
        argv = ["restore", snapshot, "--target", str(target)]
        argv += [word for path in include for word in ("--include", path)]
        self._run(argv, timeout=None, written=self.context.progress.reached)

    def nodes(self, snapshot: str) -> Iterator[Mapping[str, Any]]:
        """Every file and directory of a snapshot, as `restic ls --json` lists them."""
        for line in self._run(["ls", "--json", snapshot], timeout=None).stdout.splitlines():
            node = json.loads(line)
            if node.get("struct_type") == "node" or node.get("message_type") == "node":
                yield node

    # Locks ---------------------------------------------------------------------------------------
    def patiently(self, transfer: Callable[[], T]) -> T:
        """Begin a transfer anew that met somebody's lock: a stream cannot wait for one by itself."""
        for _attempt in range(2):
            try:
                return transfer()
            except Locked:
                self.config()  # waits for the lock, as long as it may
        return transfer()

    def settle(self) -> bool:
        """Remove the locks that killed restics of ours left; True when there were any. Nobody else's."""
        dead = [] if self.context.check_mode else self.traces.dead()
        if not dead:
            return False
        try:
            locks = {name: json.loads(self._look("cat", "lock", name).text) for name in self._locks()}
            ours = traces.left(locks, dead, socket.gethostname())
            if not self._remove(ours, locks):
                return False
        except (OpsError, OSError):  # what comes next says why the repository cannot be used
            return False
        for trace in dead:
            trace.unlink(missing_ok=True)
        return bool(ours)

    def _remove(self, ours: set[str], locks: Mapping[str, Mapping[str, Any]]) -> bool:
        """Exactly these locks; False when that cannot be done without others, or not yet."""
        directory = self.repository.directory
        if directory is not None:
            for name in ours:
                (directory / "locks" / name).unlink(missing_ok=True)
            return True
        if ours and not traces.others_would_go(locks, ours, socket.gethostname()):
            self._look("unlock")
        return not ours & self._locks()  # restic takes a process for alive that nobody has waited for yet

    def _locks(self) -> set[str]:
        return set(self._look("list", "locks").text.split())

    def _look(self, *words: str) -> Result:
        """Whatever the locks say."""
        result = self._collect(self._start([*words, "--no-lock"]), 300)
        if result.rc != 0:
            raise classify(result.argv, result.rc, result.stderr_tail, self.repository.location)
        return result

    # Running -------------------------------------------------------------------------------------
    def ask(
        self, argv: Sequence[str], ok: Sequence[int] = (0,), timeout: Optional[float] = None, cached: bool = True
    ) -> Result:
        """Any other question, waiting for a lock. Not `cached`: of the repository itself, whatever the cache holds."""
        return self._run([*argv[:1], *([] if cached else ["--no-cache"]), *argv[1:]], ok, timeout)

    def _start(self, argv: Sequence[str], source: Optional[Restic] = None, **options: Any) -> Traced:
        both = [self.traces] if source is None else [self.traces, source.traces]
        return Traced(both, self._command(argv, source), **options)

    def _command(self, argv: Sequence[str], source: Optional[Restic] = None) -> Command:
        # The location goes by the environment as well: it may hold a password.
        environment = {
            **{name: str(value) for name, value in self.repository.environment.items()},
            "RESTIC_REPOSITORY": self.repository.location,
            "RESTIC_PASSWORD": self.repository.password,
            "RESTIC_CACHE_DIR": str(self.context.state_dir / "cache"),
            "RESTIC_PROGRESS_FPS": "1",
        }
        if source is not None:
            environment = {**source.repository.environment, **environment}
            environment["RESTIC_FROM_REPOSITORY"] = source.repository.location
            environment["RESTIC_FROM_PASSWORD"] = source.repository.password
        flags = repositories.flags(self.repository, argv[0], source.repository if source else None)
        # Check mode leaves nothing behind, not even a cache.
        flags += ["--no-cache"] if self.context.check_mode or not self._has_room_for_cache() else []
        return self.place.command([self.repository.restic, argv[0], *flags, *argv[1:]], environment)

    def _has_room_for_cache(self) -> bool:
        """Where its cache has no room, restic tries each file ten times (https://github.com/restic/restic/issues/4558)."""
        try:
            status = os.statvfs(self.context.state_dir)
        except OSError:  # it is made later
            return True
        if status.f_bavail * status.f_frsize >= CACHE_ROOM:
            return True
        if not self._told:
            self._told = True
            self.context.warn(
                f"less than {readable(CACHE_ROOM)} are free in {self.context.state_dir}: restic works without its cache, "
                "so it reads more from the repository"
            )
        return False

    def _collect(self, child: Traced, timeout: Optional[float], reached: Optional[Reached] = None) -> Result:
        return collect(child, timeout, self.repository.timeout, self.repository.location, reached)

    def _tags(self, tags: Sequence[str]) -> list[str]:
        return ["--host", self.context.app.key, *(word for tag in tags for word in ("--tag", tag))]

    def _run(
        self,
        argv: Sequence[str],
        ok: Sequence[int] = (0,),
        timeout: Optional[float] = 0,
        reached: Optional[Reached] = None,
        written: Optional[Callable[[int], None]] = None,
        source: Optional[Restic] = None,
    ) -> Result:
        """Run to the end, waiting for a lock that somebody else holds. `timeout`: seconds, None for as long as it
        takes, 0 for what `repository.timeout` allows."""
        deadline = time.monotonic() + self.repository.lock_timeout
        while True:
            limit = self.repository.timeout if timeout == 0 else timeout
            with watched(self._start(argv, source, keep=MESSAGES), written) as child:
                result = self._collect(child, limit, reached)
            if result.rc in ok and not (result.rc == 1 and is_locked(result.rc, result.stderr_tail)):
                return result
            error = classify(result.argv, result.rc, result.stderr_tail, self.repository.location)
            if isinstance(error, Locked) and (self.settle() or (source is not None and source.settle())):
                continue
            if not isinstance(error, Locked) or time.monotonic() > deadline:
                raise error
            time.sleep(min(2.0, max(0.1, deadline - time.monotonic())))


class StreamBackup:
    """One stream on its way into the repository.

    restic stores whatever it has read when its standard input ends, however the producer ended, so
    the caller holds `stdin` open and only `commit` closes it. `abort` interrupts restic first, waits for
    its end, and then closes.
    """

    def __init__(self, restic: Restic, filename: str, tags: Sequence[str]) -> None:
        self._restic = restic
        argv = ["backup", "--json", "--stdin", "--stdin-filename", filename, *restic._tags(tags)]
        self._child = restic._start(argv, stdin=subprocess.PIPE)
        self._collector = Collector(self._child)
        Patience(self._child, restic.repository.timeout).watch()

    def passed(self, count: int) -> None:
        self._restic.context.progress.add(count)

    @property
    def stdin(self) -> Any:
        return self._child.stdin

    def commit(self) -> Summary:
        """The stream is whole: let restic store it. An error when it could not."""
        with contextlib.suppress(OSError):  # it has ended already; its exit code says why
            self._child.stdin.close()
        try:
            rc = self._child.wait(3600)
        except BaseException:
            self.abort()
            raise
        stdout = self._collector.text()
        if rc != 0:
            raise classify(self._child.argv, rc, self._child.stderr_tail, self._restic.repository.location)
        return _summary(stdout)

    def abort(self) -> None:
        """The stream is not whole: nothing of it is stored."""
        self._child.kill()

    def failure(self) -> OpsError:
        """Why restic ended by itself, after writing to it failed."""
        rc = self._child.wait(30)
        return classify(self._child.argv, rc, self._child.stderr_tail, self._restic.repository.location)


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        id=entry["id"],
        time=entry["time"],
        tags=tuple(entry.get("tags") or ()),
        paths=tuple(entry.get("paths") or ()),
        original=entry.get("original") or "",
        tree=entry.get("tree") or "",
    )


def _summary(stdout: bytes) -> Summary:
    for line in reversed(stdout.splitlines()):
        if b'"summary"' in line:
            data = json.loads(line)
            added = data.get("data_added_packed", data["data_added"])  # packed: compressed, since 0.17
            return Summary(data["snapshot_id"], data["total_files_processed"], data["total_bytes_processed"], added)
    raise ToolFailed("restic backup ended without a summary", hint="Look at its output.")
