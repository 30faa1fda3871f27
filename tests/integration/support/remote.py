# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is reached by ssh, whose connections can be cut: a container with systemd."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.compose import docker, wait_until
from tests.integration.support.systemd import IMAGE

PASSWORD = "tricky-Otter-31-lighthouse"
USER = "deploy"
_PREPARE = f"""
import os, sqlite3
os.makedirs("/srv/app/uploads")
with sqlite3.connect("/srv/app/main.db") as connection:
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, photo BLOB)")
    connection.executemany("INSERT INTO orders (photo) VALUES (?)", [(os.urandom(4000),) for _ in range(500)])
connection.close()
with open("/srv/app/uploads/one", "wb") as stream:
    stream.write(os.urandom(1000))
with open("/usr/local/bin/slow-restic", "w") as stream:
    stream.write('''#!/bin/sh
case "$*" in backup*--stdin-filename*main*) until [ -e /srv/released ]; do sleep 0.05; done;; esac
exec restic "$@"
''')
os.chmod("/usr/local/bin/slow-restic", 0o755)
os.environ.update(RESTIC_PASSWORD="{PASSWORD}", RESTIC_REPOSITORY="/var/backups/day2")
os.system("restic init -q")
"""


@dataclasses.dataclass(frozen=True)
class Remote:
    """The machine, and how Ansible gets in."""

    name: str
    key: Path

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        return docker("exec", "-i", self.name, *argv, check=check, stdin=stdin)

    @property
    def variables(self) -> dict[str, Any]:
        address = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name)
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        return {
            "ansible_host": address,
            "ansible_user": USER,
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def arguments(self, **more: Any) -> dict[str, Any]:
        return {
            "app": "remote",
            "repository": {
                "location": "/var/backups/day2",
                "password": PASSWORD,
                "restic": "/usr/local/bin/slow-restic",
            },
            "datastores": [
                {"name": "main", "engine": "sqlite", "path": "/srv/app/main.db"},
                {"name": "uploads", "engine": "files", "paths": ["/srv/app/uploads"]},
            ],
            **more,
        }

    def cut(self) -> None:
        """Every connection that is open now ends."""
        # Sessions of sshd: `sshd: deploy [priv]` and `sshd: deploy@notty`, not the one that listens.
        self.run("pkill", "-9", "-f", f"^sshd: {USER}", check=False)

    def close(self) -> None:
        """No new ones either."""
        self.run("systemctl", "stop", "ssh.socket", "ssh.service", check=False)
        self.cut()

    def open(self) -> None:
        self.run("systemctl", "start", "ssh.service")

    def release(self) -> None:
        self.run("touch", "/srv/released")

    def hold(self) -> None:
        self.run("rm", "-f", "/srv/released")

    def backups(self) -> int:
        listed = self.run(
            "env",
            f"RESTIC_PASSWORD={PASSWORD}",
            "RESTIC_REPOSITORY=/var/backups/day2",
            "restic",
            "snapshots",
            "--no-lock",
            "--tag",
            "role=manifest",
            "-c",
        )
        return listed.count("manifest.json") or listed.count("role=manifest")


@pytest.fixture(scope="session")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    name = f"day2t-remote-{secrets.token_hex(3)}"
    key = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    rights = ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined"]
    places = ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
    control = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    try:
        docker("run", "-d", "--name", name, *rights, *places, *control, IMAGE)
        made = Remote(name, key)
        docker("cp", str(shutil.which("restic")), f"{name}:/usr/local/bin/restic")
        made.run("useradd", "-m", "-s", "/bin/bash", USER)
        made.run("sh", "-c", f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy")
        home = f"/home/{USER}/.ssh"
        made.run("install", "-d", "-m", "0700", "-o", USER, "-g", USER, home)
        made.run(
            "sh",
            "-c",
            f"cat > {home}/authorized_keys && chown {USER} {home}/authorized_keys",
            stdin=key.with_suffix(".pub").read_text(),
        )
        made.run("python3", "-", stdin=_PREPARE)
        wait_until(lambda: made.run("systemctl", "is-active", "ssh", check=False) == "active", "sshd runs")
        yield made
    finally:
        docker("rm", "-f", "-v", name, check=False)
