# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a newcomer does: `make demo` on a bare Debian 12, as root and as an ordinary user.

The containers have git, make and python3: no pip, no ensurepip, no restic, no sudo, no package lists.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "day2-test/bare:bookworm"
# What tells pip about the index here; a newcomer's machine has its own way.
PASSED_ON = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


class Machine:
    """A bare machine with a clone of this checkout in the user's home."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.home = "/root" if user == "root" else f"/home/{user}"
        # A space, because a checkout may lie anywhere.
        self.checkout = f"{self.home}/my projects/day2"
        passed = [word for name in PASSED_ON if name in os.environ for word in ("-e", name)]
        started = docker("run", "--detach", "--rm", "--init", "--network", "host", *passed, IMAGE, "sleep", "3600")
        self.container = started.stdout.strip()
        for configuration in ("/etc/pip.conf",):
            if Path(configuration).exists():
                docker("cp", configuration, f"{self.container}:{configuration}")
        tree = subprocess.run(
            "git ls-files -z | tar --create --null --no-recursion --files-from=- --ignore-failed-read",
            shell=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        docker("exec", "--user", user, self.container, "mkdir", "-p", self.checkout)
        unpack = ["exec", "-i", "--user", user, "-w", self.checkout, self.container, "tar", "-x", "--no-same-owner"]
        subprocess.run(["docker", *unpack], input=tree, check=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As a person types it, in the checkout."""
        return docker("exec", "--user", self.user, "-w", self.checkout, self.container, *words, check=False)

    def remove(self) -> None:
        docker("rm", "--force", self.container, check=False)


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=900
    )
    assert not check or done.returncode == 0, f"docker {' '.join(words)}:\n{done.stdout}"
    return done


@pytest.fixture(scope="module", params=["root", "dev"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if docker("image", "inspect", IMAGE, check=False).returncode:
        pytest.fail(f"the image {IMAGE} is missing (or no Docker engine runs); the test bed builds it")
    made = Machine(request.param)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def demo(machine: Machine) -> str:
    """What `make demo` printed; the tests below look at it in order, on one machine."""
    assert machine.run("sh", "-c", "command -v pip || command -v restic || command -v sudo").returncode
    done = machine.run("make", "demo")
    assert done.returncode == 0, done.stdout
    return done.stdout


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_everything_is_back(demo: str) -> None:
    found = re.search(r"all ([\d,]+) rows of (\d+) tables and all (\d+) files are back", demo)
    assert found, demo
    assert number(found[1]) > 5000 and found[2] == "5" and found[3] == "44"
    assert "among them the 150 bookings that a copy of booking.db would have lacked" in demo


def test_the_report_tells_the_whole_story(demo: str) -> None:
    assert re.search(r"main +sqlite +[\d.]+ [kM]B +6,325 rows in 5 tables", demo), demo
    assert re.search(r"uploads +files +[\d.]+ [kM]B", demo), demo
    assert re.search(r"as \d{8}T\d{6}Z-[0-9a-f]{6}", demo), demo
    assert re.search(r"into \.demo/repository \([\d.]+ [kM]B", demo), demo
    assert re.search(r"The proof\n +restored into .*\n.*main: 6,325 rows in 5 tables", demo), demo
    assert re.search(r"DROP TABLE payments \(2,601 rows\)", demo), demo
    assert re.search(r"safety copy \d{8}T\d{6}Z-[0-9a-f]{6}", demo), demo


def test_it_is_plain_text_where_no_terminal_is(demo: str) -> None:
    assert "\033" not in demo and "\r" not in demo


def test_the_password_is_nobody_elses(demo: str, machine: Machine) -> None:
    assert machine.run("stat", "-c", "%a", ".demo/repository.password").stdout.strip() == "600"
    password = machine.run("cat", ".demo/repository.password").stdout.strip()
    assert len(password) >= 20
    found = machine.run("grep", "-rlF", "--exclude=repository.password", "-e", password, machine.home)
    assert found.stdout == ""


def test_nothing_is_changed_outside_of_the_checkout(demo: str, machine: Machine) -> None:
    for path in (f"{machine.home}/.ansible", "/var/lib/day2", "/var/backups/day2", "/usr/bin/restic"):
        assert machine.run("test", "!", "-e", path).returncode == 0, path


def test_a_person_can_look_around(demo: str, machine: Machine) -> None:
    assert machine.run("demo/compare").returncode == 0
    checked = machine.run("demo/playbook", "day2.ops.backup", "--check")
    assert checked.returncode == 0, checked.stdout


def test_without_the_restore_the_comparison_fails(demo: str, machine: Machine) -> None:
    """It can fail; it runs a second time, with clean data and the packages that are there."""
    done = machine.run("demo/run", "--without-restore")
    assert done.returncode == 1, done.stdout
    assert "(there already)" in done.stdout
    assert "table payments: missing, it had 2,601 rows" in done.stdout
    assert "the restored application is not what was backed up" in done.stdout
    assert "are back" not in done.stdout
    assert machine.run("demo/compare").returncode == 1


def test_a_step_that_fails_is_told_with_its_log(demo: str, machine: Machine) -> None:
    machine.run("mv", "inventories/example", "inventories/elsewhere")
    failed = machine.run("demo/run")
    machine.run("mv", "inventories/elsewhere", "inventories/example")
    assert failed.returncode == 1
    assert "the playbook day2.ops.prepare ended with" in failed.stdout
    assert "Everything it said: .demo/log/prepare.log" in failed.stdout


def test_demo_clean_removes_it(demo: str, machine: Machine) -> None:
    done = machine.run("make", "demo-clean")
    assert done.returncode == 0, done.stdout
    left = machine.run("ls", "-A", ".demo").stdout.split()
    assert (
        set(left) <= {"env", ".gitignore", ".made-by-day2-demo"}
        or machine.run("test", "!", "-e", ".demo").returncode == 0
    )
    assert machine.run("demo/clean", "--all").returncode == 0
    assert machine.run("test", "!", "-e", ".demo").returncode == 0
