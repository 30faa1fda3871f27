# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A throwaway server on an RDB file, with a process or container and a memory limit of its own.

Never inside the live server's container: with a limit of 128 MB and 66 MB of data the kernel was seen to
kill the live server, which came back empty. It listens on a Unix socket in its private directory only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from ..._core.context import Context
from ..._core.drivers import redis as driver
from ..._core.errors import Mismatch, OpsError, Refused, Unavailable
from ..._core.io import private_directory
from ..._core.place import VARIABLE, ContainerPlace, HostPlace, Place
from ..._core.process import Child
from ..._core.sizes import readable
from ..._platform.docker import Docker, Throwaway
from .connection import Version, Way, connected, told

FILENAME, SOCKET, LOG = "dump.rdb", "server", "server.log"
MARGIN = 128 << 20  # bytes that a server takes besides its data
DATABASES = 1024  # an RDB file with a higher one is refused by the server
START_TIMEOUT, LOAD_TIMEOUT = 30, 6 * 3600  # seconds
LABEL = "ops.day2.run"
# Its warnings, without process id and time.
_SAID = re.compile(r"^\d+:\w [^#\n]*# (?!-)(.+)$", re.MULTILINE)
_SHORT = re.compile(r"offset (?P<offset>\d+), .*Unexpected EOF")
_INSIDE = "/day2"  # where its directory is in a container


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is started: a program, of which version, on this host or in a container of this image."""

    program: str
    version: Version
    image: Optional[str] = None

    @property
    def label(self) -> str:
        return f"{self.version.flavour} {self.version.text}"


class Server:
    """A throwaway server. `directory` holds its RDB file; whoever made that removes it."""

    def __init__(self, kind: Kind, name: str, directory: Path, context: Context, databases: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.directory = directory
        self.context = context
        self._databases = max(databases, DATABASES)
        self._child: Optional[Child] = None
        self._opened: list[int] = []

    @property
    def file(self) -> Path:
        return self.directory / FILENAME

    @property
    def place(self) -> Place:
        """Where it runs."""
        return ContainerPlace(self.context, self.name, self.name) if self.kind.image else HostPlace(self.context)

    @property
    def inside(self) -> str:
        """Its file, as it sees it."""
        return f"{_INSIDE}/{FILENAME}" if self.kind.image else str(self.file)

    @property
    def running(self) -> bool:
        return bool(self._opened)

    def start(self, need: int) -> None:
        """Start it and wait until it has loaded its file. `need`: bytes of memory that its data take."""
        limit = need + need // 2 + MARGIN
        _refuse_little_memory(need + MARGIN // 4)
        for name in (SOCKET, LOG):
            (self.directory / name).unlink(missing_ok=True)
        argv = self._argv()
        self._opened.append(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY))
        try:
            if self.kind.image:
                self._start_container(argv, limit)
            else:
                command = HostPlace(self.context).command([*_limits(limit), *argv])
                self._child = Child(command, stdout=subprocess.DEVNULL)
            self._wait(limit)
        except BaseException:
            self.stop()
            raise

    def _argv(self) -> list[str]:
        directory = _INSIDE if self.kind.image else str(self.directory)
        settings: dict[str, str] = {
            "port": "0",
            "unixsocket": SOCKET,  # in `dir`: a path as long as that may not fit into an address
            "unixsocketperm": "700",
            "dbfilename": FILENAME,
            "appendonly": "no",
            "save": "",
            "databases": str(self._databases),
            "activerehashing": "no",
            "logfile": LOG,
            "daemonize": "no",
        }
        if self.kind.version.flavour == "valkey" or self.kind.version.numbers >= (7,):
            settings.update(
                {"enable-debug-command": "local", "crash-log-enabled": "no", "crash-memcheck-enabled": "no"}
            )
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [self.kind.program, "--dir", directory, *words]

    def _start_container(self, argv: list[str], limit: int) -> None:
        with Docker() as docker:
            docker.remove(self.name)
            docker.start_throwaway(
                Throwaway(
                    name=self.name,
                    image=str(self.kind.image),
                    argv=tuple(argv),
                    directory=self.directory,
                    inside=_INSIDE,
                    memory=limit,
                    environment={VARIABLE: self.context.run_mark},
                    labels={LABEL: self.context.run_mark},
                )
            )

    def way(self) -> Way:
        # The kernel follows the descriptor, so that the address is short whatever the directory is called.
        path = f"/proc/{os.getpid()}/fd/{self._opened[0]}/{SOCKET}"
        return Way(f"the throwaway server ({self.kind.label})", {"unix_socket_path": path})

    @contextlib.contextmanager
    def connect(self, database: int = 0) -> Iterator[Any]:
        with connected(self.way(), database) as client:
            yield client

    def _wait(self, limit: int) -> None:
        until = time.monotonic() + START_TIMEOUT
        loading_until = time.monotonic() + LOAD_TIMEOUT
        errors = driver().exceptions
        while True:
            try:
                with told(self.name), connected(self.way()) as client:
                    state = client.info("persistence")
                if not int(state.get("loading", 0)):
                    return
                until = loading_until
            except Unavailable:
                pass
            except errors.RedisError:  # pragma: no cover - `told` has them all
                raise
            if not self._alive():
                raise self._failure(limit)
            if time.monotonic() > until:
                raise OpsError(f"the throwaway server {self.name} did not get ready")
            time.sleep(0.05)

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.rc is None
        with Docker() as docker:
            container = docker.inspect(self.name)
        return container is not None and container.running

    def _failure(self, limit: int) -> OpsError:
        """Why it ended while it loaded, from its log. The kernel writes nothing there when it ends it."""
        log = ""
        with contextlib.suppress(OSError):
            log = (self.directory / LOG).read_text(encoding="utf-8", errors="replace")
        _before, loading, after = log.partition("Loading RDB")
        said = _SAID.findall(after if loading else log)
        tail = "\n".join(said[:15])
        label = f"the throwaway server ({self.kind.label})"
        if any("Out Of Memory" in line for line in said) or (loading and not said) or self._has_more(tail):
            return OpsError(
                f"{label} ended while it loaded the data; its memory limit was {readable(limit)}",
                stderr_tail=tail,
                hint="Is memory short on this host? Run it again.",
            )
        if not loading:
            return OpsError(f"{label} does not start: {said[-1] if said else 'it says nothing'}", stderr_tail=tail)
        reason = next((line for line in said if "Internal error" in line or "Guru" in line), said[0])
        if "module" in tail:
            return Refused(f"the data hold keys of a module that {label} has not loaded: {reason}", stderr_tail=tail)
        if "RDB format version" in tail:
            return Refused(f"the RDB file is of a newer version than {label}: {reason}", stderr_tail=tail)
        return Mismatch(f"{label} cannot load the RDB file: {reason}", stderr_tail=tail)

    def _has_more(self, said: str) -> bool:
        """Redis says "short read or OOM" and "unexpected EOF" of a long string that it has no memory for, too. The file
        was whole when it was stored, so where much of it was not read yet it is the memory."""
        match = _SHORT.search(said)
        if not match:
            return False
        with contextlib.suppress(OSError):
            return (self.directory / FILENAME).stat().st_size - int(match["offset"]) > 1 << 20
        return False

    def stop(self) -> None:
        """End it; nothing happens where it does not run."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        elif self.kind.image and self._opened:
            with Docker() as docker:
                docker.remove(self.name)
        while self._opened:
            os.close(self._opened.pop())
        for name in (SOCKET, LOG):
            (self.directory / name).unlink(missing_ok=True)


def _limits(limit: int) -> list[str]:
    """Memory of its own, and the first to go when the host has none left (util-linux has both programs)."""
    words = []
    if shutil.which("choom"):
        words += ["choom", "-n", "1000", "--"]
    if shutil.which("prlimit"):
        words += ["prlimit", f"--data={limit}", "--"]
    return words


def _refuse_little_memory(need: int) -> None:
    free = available_memory()
    if free is not None and free < need:
        raise Refused(
            f"a throwaway server needs {readable(need)} of memory for these data, and {readable(free)} are free on this host",
            hint="Free some. The data are loaded beside the live ones, never in their place.",
        )


def available_memory() -> Optional[int]:
    """Bytes that can be had without swapping."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def prepare(directory: Path) -> None:
    """An empty private directory for a server."""
    shutil.rmtree(directory, ignore_errors=True)
    private_directory(directory)


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def data_size(info: Mapping[str, Any]) -> int:
    """Bytes that the data take in memory, from INFO memory."""
    return max(int(info["used_memory"]) - int(info.get("used_memory_startup", 0)), 0)
