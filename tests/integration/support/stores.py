# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real stores: an S3 server, a REST server that is append-only, and a second host with SFTP.

All three keep their files in a directory of this machine, so that a test can look at them and damage them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.compose import docker
from tests.integration.support.modules import ROOT
from tests.integration.support.recovery import Seed, World, make_key_cheap

S3 = ROOT / ".venv" / "s3" / "versitygw"
HOST = "day2-test/systemd:bookworm"


@dataclasses.dataclass
class Server:
    """A server of a store. `directory` is where it keeps its files."""

    directory: Path
    port: int = 0
    user: str = "day2t-key"
    password: str = "day2t-secret-0123456789"
    process: subprocess.Popen[bytes] | None = None

    kind = ""

    def command(self) -> list[str]:
        raise NotImplementedError

    def location(self, name: str) -> str:
        raise NotImplementedError

    def place(self, name: str) -> Path:
        """Where the files of a repository are."""
        return self.directory / "data" / name

    @property
    def environment(self) -> dict[str, str]:
        return {}

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def start(self) -> None:
        self.port = self.port or free_port()
        for name in ("data", "iam"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env={**os.environ, **self.own_environment}
            )
        wait_for_port("127.0.0.1", self.port)

    @property
    def own_environment(self) -> dict[str, str]:
        return {}

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class S3Server(Server):
    kind = "s3"

    def command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        return [
            str(S3),
            "-q",
            "--port",
            address,
            "--iam-dir",
            f"{self.directory}/iam",
            "posix",
            f"{self.directory}/data",
        ]

    @property
    def own_environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": self.user, "ROOT_SECRET_KEY": self.password}

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.user, "AWS_SECRET_ACCESS_KEY": self.password}

    def location(self, name: str) -> str:
        return f"s3:http://127.0.0.1:{self.port}/day2t/{name}"

    def place(self, name: str) -> Path:
        return self.directory / "data" / "day2t" / name


class RestServer(Server):
    """rclone serves restic's REST protocol; append-only, unless a test says otherwise."""

    kind = "rest"
    append_only = True

    def command(self) -> list[str]:
        passwords = self.directory / "htpasswd"
        # The password by standard input, not on the command line.
        line = subprocess.run(
            ["htpasswd", "-niB", self.user], input=self.password.encode(), check=True, capture_output=True
        )
        passwords.write_bytes(line.stdout)
        flags = ["--append-only"] if self.append_only else []
        return [
            *("rclone", "serve", "restic", *flags, "--addr", f"127.0.0.1:{self.port}", "--cache-objects=false"),
            *("--config", "/dev/null", "--htpasswd", str(passwords), f"{self.directory}/data"),
        ]

    def location(self, name: str) -> str:
        return f"rest:http://{self.user}:{self.password}@127.0.0.1:{self.port}/{name}/"


class SftpHost(Server):
    """A container with sshd: a second host, with a key of its own that is known here."""

    kind = "sftp"
    name = ""
    address = ""

    def start(self) -> None:
        data, key = self.directory / "data", self.directory / "key"
        if not self.name:
            data.mkdir(parents=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
            self.name = f"day2t-sftp-{secrets.token_hex(4)}"
            script = (
                "mkdir -p /run/sshd /root/.ssh && ssh-keygen -A >/dev/null && "
                f"echo '{key.with_suffix('.pub').read_text().strip()}' > /root/.ssh/authorized_keys && exec /usr/sbin/sshd -D"
            )
            docker("run", "-d", "--name", self.name, "-v", f"{data}:/srv/day2t", HOST, "sh", "-c", script)
        else:
            docker("start", self.name)
        self.address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", self.name).strip()
        wait_for_port(self.address, 22)
        keys = subprocess.run(["ssh-keyscan", self.address], check=True, capture_output=True)
        (self.directory / "known_hosts").write_bytes(keys.stdout)

    def stop(self) -> None:
        docker("kill", self.name, check=False)

    def remove(self) -> None:
        docker("rm", "-f", "-v", self.name, check=False)

    def location(self, name: str) -> str:
        return f"sftp:root@{self.address}:/srv/day2t/{name}"

    @property
    def options(self) -> dict[str, Any]:
        ssh = f"ssh -i {self.directory}/key -o UserKnownHostsFile={self.directory}/known_hosts -o BatchMode=yes"
        return {"extended": {"sftp.command": f"{ssh} root@{self.address} -s sftp"}}


@dataclasses.dataclass
class StoreWorld(World):
    """The small application, whose repository is on a server."""

    server: Server | None = None
    name: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    timeout: int = 60

    @property
    def repository(self) -> Path:
        assert self.server is not None
        return self.server.place(self.name)

    @property
    def location(self) -> str:
        assert self.server is not None
        return self.server.location(self.name)

    def arguments(self, module: str, **more: Any) -> dict[str, Any]:
        arguments = super().arguments(module)
        assert self.server is not None
        if "repository" in arguments:
            environment = {**self.server.environment, **self.environment}
            options = {**self.server.options, **self.options}
            changed = {
                "location": self.location,
                "environment": environment,
                "options": options,
                "timeout": self.timeout,
            }
            arguments["repository"] = {**arguments["repository"], **changed}
        return {**arguments, **more}

    def create_repository(self) -> None:
        assert self.run("backup_repository")["changed"]
        make_key_cheap(self.repository, self.password)

    def second(self, server: Server, name: str = "", **more: Any) -> dict[str, Any]:
        """The option `copy_repository`: a repository on this server."""
        return {
            "location": server.location(name or f"{self.name}-copy"),
            "password": SECOND,
            "environment": server.environment,
            "options": server.options,
            "lock_timeout": self.lock_timeout,
            "timeout": self.timeout,
            **more,
        }


SECOND = "another horse battery"


def deployed(server: Server, directory: Path, restic: str = "restic", seed: Seed | None = None) -> StoreWorld:
    """A world whose repository is on the server, with nothing in it."""
    from tests.integration.support.recovery import unique_app

    world = StoreWorld(directory / "world", unique_app(), restic=restic, server=server, name=f"r{secrets.token_hex(4)}")
    world.root.mkdir(parents=True)
    world.deploy()
    return world


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(host: str, port: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        assert time.monotonic() < until, f"nothing listens at {host}:{port}"
        time.sleep(0.05)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()
        if isinstance(server, SftpHost):
            server.remove()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(S3Server(tmp_path_factory.mktemp("s3"))) as server:
        yield server


@pytest.fixture(scope="session")
def rest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(RestServer(tmp_path_factory.mktemp("rest"))) as server:
        yield server


@pytest.fixture(scope="session")
def sftp_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(SftpHost(tmp_path_factory.mktemp("sftp"))) as server:
        yield server
