# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power over the servers of the fault matrix: stopped, started, removed, made anew, with their data kept."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker

from tests.integration.support.faults import wait_for


@contextlib.contextmanager
def disk(path: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own size that every user may enter (needs root)."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "day2t", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def full(path: Path) -> Iterator[None]:
    """No room in the file system of a directory, until it is left."""
    ballast = path / "day2t-ballast"
    fill(ballast)
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


def fill(ballast: Path) -> None:
    status = os.statvfs(ballast.parent)
    with open(ballast, "wb") as stream:
        with contextlib.suppress(OSError):
            os.posix_fallocate(stream.fileno(), 0, status.f_bfree * status.f_frsize)
        with contextlib.suppress(OSError):  # whatever is left, down to the last page
            while os.write(stream.fileno(), bytes(4096)):
                os.lseek(stream.fileno(), 0, os.SEEK_END)


class Process:
    """A server that is a process of this host, found by its port and started again as it was."""

    def __init__(self, port: int, signal_to_stop: int = signal.SIGTERM) -> None:
        self._signal = signal_to_stop
        self._pid = _listener(port)
        directory = Path(f"/proc/{self._pid}")
        self._argv = [os.fsdecode(word) for word in (directory / "cmdline").read_bytes().split(b"\0")[:-1]]
        self._program = os.readlink(directory / "exe")
        self._cwd = os.readlink(directory / "cwd")
        status = dict(line.split(":\t", 1) for line in (directory / "status").read_text().splitlines() if ":\t" in line)
        self._user, self._group = int(status["Uid"].split()[0]), int(status["Gid"].split()[0])
        self._started: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Ask it to end; when it does not, kill it."""
        for number, seconds in ((self._signal, 15.0), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if self._ended():
                    return
                time.sleep(0.02)

    def start(self) -> None:
        if not self._ended():
            return
        self._started = subprocess.Popen(
            self._argv,
            executable=self._program,
            cwd=self._cwd,
            user=self._user,
            group=self._group,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pid = self._started.pid

    def close(self) -> None:
        """End it for good when it was started here."""
        if self._started is not None:
            self.stop()

    def _ended(self) -> bool:
        if self._started is not None and self._started.poll() is not None:
            return True
        try:
            state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "ZX"


class Own:
    """A server of the tests that knows by itself how it is started (Redis overwrites its own command line)."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        if self._server.process.poll() is not None:
            self._server.start()

    def close(self) -> None:
        pass


def _listener(port: int) -> int:
    printed = subprocess.run(
        ["ss", "-H", "-ltnp", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout
    assert "pid=" in printed, f"nothing listens on port {port}: {printed}"
    return int(printed.partition("pid=")[2].partition(",")[0])


@dataclasses.dataclass
class Box:
    """A container whose data are in a bind mount, so that they outlive it."""

    name: str

    def __post_init__(self) -> None:
        self._made: dict[str, Any] = self._inspect()

    def _inspect(self) -> dict[str, Any]:
        printed = subprocess.run(["docker", "inspect", self.name], capture_output=True, check=True).stdout
        found: dict[str, Any] = json.loads(printed)[0]
        return found

    @property
    def running(self) -> bool:
        return bool(self._inspect()["State"]["Running"])

    def stop(self) -> None:
        subprocess.run(["docker", "stop", "-t", "15", self.name], check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """As it was, made anew when it is gone."""
        done = subprocess.run(["docker", "start", self.name], check=False, capture_output=True)
        if done.returncode == 0:
            return
        assert b"No such container" in done.stderr, done.stderr
        made = self._made
        client = docker.from_env()
        try:
            client.containers.run(
                made["Config"]["Image"],
                made["Config"]["Cmd"],
                name=self.name,
                entrypoint=made["Config"]["Entrypoint"],
                environment=made["Config"]["Env"],
                volumes=made["HostConfig"]["Binds"],
                stop_signal=made["Config"].get("StopSignal"),
                network=made["HostConfig"]["NetworkMode"],
                detach=True,
            )
        finally:
            client.close()

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "-f", self.name], check=True, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        pass


class Store:
    """The repository of a directory, over a network that can be cut: `rclone serve restic` on the loopback."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()

    @property
    def location(self) -> str:
        return f"rest:http://127.0.0.1:{self._port}/"

    def connect(self) -> None:
        self._process = subprocess.Popen(
            ["rclone", "serve", "restic", "--addr", f"127.0.0.1:{self._port}", str(self._directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._answers, 20, "the repository server's answer")

    def cut(self) -> None:
        """Every connection breaks, and there is no new one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
