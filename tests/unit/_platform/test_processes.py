# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes: whose they are, and what they hold open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import processes
from ansible_collections.day2.ops.plugins.module_utils._platform.processes import Owner

ID = "ec02f2822c031dddd91863efbdc66ecba0c81b91a74ff2f1f710a4085e6ec39a"
HOST = "8ec610d3dc9776b33d127b15182e179708dc977748f63ec2b026148562777278"


@pytest.mark.parametrize(
    ("cgroup", "root", "owner"),
    [
        # cgroup v1 with cgroupfs, v1 with systemd, v2, a pod, podman
        (f"9:name=systemd:/docker/{ID}\n4:memory:/docker/{ID}\n0::/\n", "", Owner("container", ID)),
        (f"9:name=systemd:/system.slice/docker-{ID}.scope\n", "", Owner("container", ID)),
        (f"0::/system.slice/docker-{ID}.scope\n", "", Owner("container", ID)),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", "", Owner("container", ID)),
        ("9:name=systemd:/system.slice/garage.service\n4:memory:/\n0::/system.slice/garage.service\n", "", Owner("unit", "garage.service")),
        ("0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n", "", Owner("unit", "postgresql@15-main.service")),
        ("0::/system.slice/garage.service/workers\n", "", Owner("unit", "garage.service")),
        # Neither a login nor a user's own unit is ours to stop.
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", "", None),
        ("0::/\n", "", None),
        # This host is a container itself.
        (f"9:name=systemd:/docker/{HOST}/system.slice/garage.service\n", f"/docker/{HOST}", Owner("unit", "garage.service")),
        (f"0::/docker/{HOST}/docker/{ID}\n", f"/docker/{HOST}", Owner("container", ID)),
    ],
)  # fmt: skip
def test_a_process_belongs_to_a_container_or_a_unit(cgroup: str, root: str, owner: Owner | None) -> None:
    assert processes.owner_of(cgroup, root) == owner


def test_our_own_family_is_left_out() -> None:
    parents = {1: 0, 2: 0, 3: 2, 10: 1, 20: 10, 21: 10, 30: 20, 40: 1}
    assert processes.family(20, parents) == {0, 1, 2, 3, 10, 20, 30}


def fake_process(proc: Path, pid: int, parent: int, command: str, cgroup: str) -> Path:
    entry = proc / str(pid)
    (entry / "fd").mkdir(parents=True)
    (entry / "stat").write_text(f"{pid} ({command}) S {parent} 1 1 0")
    (entry / "cgroup").write_text(cgroup)
    return entry


def test_what_others_hold_open_is_found(tmp_path: Path) -> None:
    fake_process(tmp_path, 1, 0, "systemd", "0::/init.scope\n")
    app = fake_process(tmp_path, 10, 1, "gunicorn: (x) y", "0::/system.slice/garage.service\n")
    (app / "fd" / "3").symlink_to("/srv/garage/uploads/a.jpg")
    (app / "fd" / "4").symlink_to("socket:[4712]")
    (app / "fd" / "5").symlink_to("pipe:[1]")
    (app / "maps").write_text(
        "7f0-7f1 r--p 00000000 08:01 1 /usr/lib/libc.so.6\n7f1-7f2 rw-s 00000000 08:01 2    /srv/garage/app.db-shm\n7f2-7f3 rw-p 0 00:00 0\n"
    )
    ours = fake_process(tmp_path, 20, 1, "python3", "0::/user.slice/session-1.scope\n")
    (ours / "fd" / "3").symlink_to("/srv/garage/uploads/b.jpg")
    child = fake_process(tmp_path, 21, 20, "restic", "0::/user.slice/session-1.scope\n")
    (child / "fd" / "3").symlink_to("/srv/garage/uploads/c.jpg")
    fake_process(tmp_path, 30, 1, "dockerd", "0::/system.slice/docker.service\n")
    fake_process(tmp_path, 31, 1, "containerd-shim", "0::/system.slice/containerd.service\n")

    found = processes.processes(tmp_path, own=20)
    assert [(one.pid, one.command, one.owner) for one in found] == [
        (10, "gunicorn: (x) y", Owner("unit", "garage.service"))
    ]
    held = set(processes.holdings(found, tmp_path))
    assert processes.Holding(10, path="/srv/garage/uploads/a.jpg") in held
    assert processes.Holding(10, path="/srv/garage/app.db-shm") in held
    assert processes.Holding(10, socket=4712) in held
    assert {one.path for one in held} == {
        "", "/srv/garage/uploads/a.jpg", "/srv/garage/app.db-shm", "/usr/lib/libc.so.6"
    }  # fmt: skip


def test_a_real_process_of_somebody_else_is_seen_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "open.txt"
    path.write_text("x")
    script = "import sys; f = open(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        everything = processes.processes(own=1 << 23)  # nobody has that id
        assert processes.Holding(child.pid, path=str(path)) in set(processes.holdings(everything))
        # It is our child, so it is not found when we are the ones who ask.
        assert child.pid not in {one.pid for one in processes.processes(own=os.getpid())}
        child.communicate()
