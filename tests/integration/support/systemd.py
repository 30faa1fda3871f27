# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of its own with systemd, as a container; the collection's code runs in it."""

from __future__ import annotations

import dataclasses
import json
import secrets
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.compose import docker, wait_until

IMAGE = "day2-test/systemd:bookworm"
MODULE_UTILS = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
_TARGET = "/opt/day2/ansible_collections/day2/ops/plugins/module_utils"

_PREAMBLE = """
import json, sys
sys.path.insert(0, "/opt/day2")
from pathlib import Path
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore
from ansible_collections.day2.ops.plugins.module_utils._platform import (
    access, consumers, coverage, services, systemd, variables,
)
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.consumer import Consumer, Usage
context = Context(App("garage", "production"), Path("/var/lib/day2"))
def answer(value):
    print(json.dumps(value))
"""


@dataclasses.dataclass(frozen=True)
class SystemdHost:
    name: str

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        return docker("exec", "-i", self.name, *argv, check=check, stdin=stdin)

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=textwrap.dedent(text))

    def python(self, code: str, *before: str) -> Any:
        """Run code with the collection at hand; what it gave to `answer`. `before`: a command in front."""
        output = self.run(*before, "python3", "-", stdin=_PREAMBLE + textwrap.dedent(code))
        return json.loads(output.splitlines()[-1])

    def active(self, unit: str) -> bool:
        return self.run("systemctl", "is-active", unit, check=False) == "active"


@pytest.fixture(scope="session")
def systemd_host() -> Iterator[SystemdHost]:
    name = f"day2t-systemd-{secrets.token_hex(3)}"
    rights = ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined"]
    places = ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
    control = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    try:
        docker("run", "-d", "--name", name, *rights, *places, *control, IMAGE)
        host = SystemdHost(name)
        docker("exec", name, "mkdir", "-p", _TARGET)
        for room in ("_core", "_platform", "_engines", "_store", "_recovery", "_health"):
            docker("cp", str(MODULE_UTILS / room), f"{name}:{_TARGET}/{room}")
        wait_until(
            lambda: host.run("systemctl", "is-system-running", check=False) in ("running", "degraded"),
            "systemd has started its units",
        )
        yield host
    finally:
        docker("rm", "-f", "-v", name, check=False)
