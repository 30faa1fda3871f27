# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While an operation runs: what its playbook shows, and what becomes of it when the playbook is gone."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.controller import Controller
from tests.integration.support.faults import Wrapper, hold_until, slow_input, wait_for
from tests.integration.support.modules import Outcome
from tests.integration.support.recovery import World, wait_for_end_of_processes

pytestmark = [pytest.mark.ansible, pytest.mark.sqlite, pytest.mark.files]

MIB = 1 << 20


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    local = {"ansible_connection": "local", "ansible_remote_tmp": str(tmp_path / "remote")}
    return Controller(tmp_path / "controller", local)


@pytest.fixture
def restic(world: World) -> Wrapper:
    return Wrapper(world)


def records(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.run("operation_info")["operations"]
    return found


@pytest.fixture
def earlier(world: World) -> set[str]:
    return {entry.id for entry in world.catalogue().entries}


def made(world: World, earlier: set[str]) -> list[str]:
    """Backups that were made in the test, the oldest first."""
    return sorted(entry.id for entry in world.catalogue().entries if entry.id not in earlier)


def held(world: World, restic: Wrapper) -> Path:
    """The first backup to come waits in its dump until the file that this returns exists."""
    released = world.root / "released"
    restic.at("backup-1", hold_until(released))
    return released


def killed_in_its_dump(controller: Controller, world: World, restic: Wrapper, **more: Any) -> Path:
    """A controller is killed while its backup goes on; the file that lets it end."""
    released = held(world, restic)
    playbook = controller.start("backup", world.arguments("backup", **more))
    playbook.wait_until(": dump")
    playbook.kill()
    assert [one["state"] for one in records(world)] == ["running"]
    return released


def ended(world: World) -> None:
    wait_for(lambda: all(one["state"] != "running" for one in records(world)), what="its end")


def test_a_slow_backup_shows_how_far_it_is(world: World, controller: Controller, restic: Wrapper) -> None:
    world.add_orders("large", 60000)
    size = world.database.stat().st_size
    restic.at("backup-1", slow_input(size // 22, world.root / "pipe"))
    playbook = controller.start("backup", world.arguments("backup"), "-vvv")
    playbook.wait_until(": dump")
    secret = world.password.encode()
    assert not list((controller.root.parent / "remote").rglob("AnsiballZ_backup.py")), "the parameters are in a file"
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and directory.joinpath("cmdline").exists():
            assert secret not in directory.joinpath("cmdline").read_bytes()
    outcome = playbook.finish()
    assert outcome["changed"] and outcome["backup"]["complete"]
    shown = playbook.said("[web1] backup ")
    pattern = (
        rf'^\[web1\] backup {world.key}: sqlite datastore "main": dump: '
        r"(\d+\.\d) MiB of about (\d+\.\d) MiB \((\d+) %\), \d+\.\d [KM]iB/s$"
    )
    amounts = [float(found.group(1)) for _moment, line in shown if (found := re.match(pattern, line))]
    assert len(amounts) >= 2 and 0 < amounts[0] < amounts[1] < size / MIB, shown
    moments = [moment for moment, _line in shown]
    assert moments[0] > 3 and all(later - one > 9.5 for one, later in itertools.pairwise(moments)), shown
    assert world.password not in outcome.stdout
    for path in (world.home / "operations").iterdir():
        assert secret not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0 or not path.stat().st_size, path
    assert not list((controller.root.parent / "remote").rglob("AnsiballZ*"))
    assert "attached" not in outcome.data and "day2_operation" not in outcome.stdout.split("PLAY RECAP")[0][-4000:]


def test_verify_and_restore_show_how_far_they_are(world: World, controller: Controller, restic: Wrapper) -> None:
    world.add_orders("large", 9000)
    backup = world.backup()
    pipe = world.root / "pipe"
    for module in ("backup_verify", "restore"):
        restic.calm()
        restic.at("all", slow_output(world, pipe))
        more = {} if module == "backup_verify" else {"replace": True, "safety_copy": "none"}
        playbook = controller.start(module, world.arguments(module, backup=backup, **more))
        outcome = playbook.finish()
        word = "verify" if module == "backup_verify" else module
        assert playbook.said(f'[web1] {word} {world.key}: sqlite datastore "main": load: '), outcome.stdout
        assert outcome["changed"]


def slow_output(world: World, pipe: Path) -> str:
    """The dump of the database comes at a sixth of it per second."""
    rate = world.database.stat().st_size // 6
    code = f"import os, time\nwhile data := os.read(0, {rate // 10}): os.write(1, data); time.sleep(0.1)"
    slow = f'rm -f {pipe}; mkfifo {pipe}; python3 -c "{code}" <{pipe} & exec "$real" "$@" >{pipe}'
    return f'case "$*" in *manifest.json) ;; dump*) {slow};; esac'


def test_the_next_run_finds_a_backup_whose_controller_was_killed(
    world: World, controller: Controller, restic: Wrapper, earlier: set[str]
) -> None:
    released = killed_in_its_dump(controller, world, restic)
    second = controller.start("backup", world.arguments("backup", job="the second"))
    second.wait_until("this run waits for it")
    released.touch()
    outcome = second.finish()
    assert outcome["attached"] and outcome["changed"]
    assert made(world, earlier) == [outcome["backup"]["id"]]
    third = controller.run("backup", world.arguments("backup"))
    assert "attached" not in third.data
    assert sorted(made(world, earlier)) == sorted([outcome["backup"]["id"], third["backup"]["id"]])
    world.holds_up({})


def test_a_result_that_nobody_fetched_is_given_once(
    world: World, controller: Controller, restic: Wrapper, earlier: set[str]
) -> None:
    killed_in_its_dump(controller, world, restic).touch()
    ended(world)
    first = made(world, earlier)
    assert len(first) == 1
    second = controller.start("backup", world.arguments("backup"))
    outcome = second.finish()
    assert second.said("nobody had its result"), second.text
    assert outcome["attached"] and outcome["backup"]["id"] == first[0]
    assert "attached" not in controller.run("backup", world.arguments("backup")).data
    assert len(made(world, earlier)) == 2


def test_a_result_is_nobody_elses(world: World, controller: Controller, restic: Wrapper) -> None:
    """Neither of a run that was asked for something else, nor after an hour."""
    killed_in_its_dump(controller, world, restic).touch()
    ended(world)
    other = controller.run("backup", world.arguments("backup", kind="pre_deploy"))
    assert "attached" not in other.data and other["backup"]["kind"] == "pre_deploy"
    again = controller.run("backup", world.arguments("backup"))
    assert "attached" not in again.data, "another operation was begun since"


def test_another_backup_meanwhile_is_told_who_holds_the_lock(
    world: World, controller: Controller, restic: Wrapper, earlier: set[str]
) -> None:
    released = killed_in_its_dump(controller, world, restic, job="nightly")
    other = controller.run("backup", world.arguments("backup", kind="pre_deploy"))
    assert other.failed and f"the lock of {world.key} is held by" in other.msg and "job nightly" in other.msg
    assert [one["state"] for one in records(world)][-1] == "running"
    released.touch()
    ended(world)
    assert controller.run("backup", world.arguments("backup", job="another"))["attached"] is True
    assert len(made(world, earlier)) == 1


def test_a_failure_that_nobody_saw_is_told_and_tried_again(
    world: World, controller: Controller, restic: Wrapper
) -> None:
    released = held(world, restic)
    playbook = controller.start("backup", world.arguments("backup"))
    playbook.wait_until(": dump")
    playbook.kill()
    world.database.rename(world.root / "away")
    restic.at("backup-1", f"{hold_until(released)}; exit 1")
    (process,) = [one["pid"] for one in records(world)]
    os.kill(process, signal.SIGTERM)
    ended(world)
    (world.root / "away").rename(world.database)
    restic.calm()
    outcome = controller.run("backup", world.arguments("backup"))
    assert outcome["changed"] and "attached" not in outcome.data
    assert any("whose result nobody fetched, failed: " in one and "SIGTERM" in one for one in outcome.warnings)


def test_a_worker_that_is_killed_is_an_error(world: World, controller: Controller, restic: Wrapper) -> None:
    held(world, restic)
    playbook = controller.start("backup", world.arguments("backup"))
    playbook.wait_until(": dump")
    (process,) = [one["pid"] for one in records(world)]
    os.kill(process, signal.SIGKILL)
    outcome = playbook.finish()
    assert outcome.failed and f"process {process}, begun at" in outcome.msg and "without a result" in outcome.msg
    restic.calm()
    wait_for_end_of_processes(world.key)
    world.holds_up({})


def plain(outcome: Outcome) -> dict[str, Any]:
    """Without what Ansible's async adds."""
    added = ("ansible_", "finished", "started", "results_file", "stdout", "stderr")
    return {key: value for key, value in outcome.data.items() if not key.startswith(added) or key == "stderr_tail"}


def test_a_failure_reads_as_without_it(world: World, controller: Controller) -> None:
    """Beside the task's own async, in which the module runs as one process."""
    wrong = world.arguments("backup", kind="regular")
    wrong["repository"]["password"] = "not the password"
    followed = controller.run("backup", wrong)
    alone = controller.run("backup", wrong, **{"async": 60, "poll": 1})
    assert "the password of the repository" in followed.msg
    assert plain(followed) == plain(alone)
    assert followed.data["stage"] == "preflight" and "not the password" not in json.dumps(followed.data)


def test_check_mode_is_one_process(world: World, controller: Controller) -> None:
    outcome = controller.run("backup", world.arguments("backup"), "--check")
    assert outcome["changed"] and "id" not in outcome["backup"]
    assert not (world.home / "operations").exists()


def test_a_driver_of_the_collections_own_environment_is_used(world: World, controller: Controller) -> None:
    """The worker starts again in that environment, and is still the one that is followed."""
    base = getattr(sys, "_base_executable", "")
    if Path(base).resolve() == Path(sys.prefix).resolve():
        pytest.fail("these tests run in a virtual environment")
    world.state_dir.mkdir(exist_ok=True)
    (world.state_dir / "venv").symlink_to(sys.prefix)
    controller.host["ansible_python_interpreter"] = base
    absent = {"name": "absent", "engine": "mariadb", "host": "127.0.0.1", "port": 1, "database": "x", "user": "x"}
    outcome = controller.run("backup", world.arguments("backup", datastores=[absent]))
    assert outcome.failed and "packages" not in outcome.msg and 'mariadb datastore "absent"' in outcome.msg
    assert [one["state"] for one in records(world)] == ["finished"]


def test_where_no_record_can_be_kept_it_is_done_all_the_same(world: World, controller: Controller) -> None:
    (world.home / "operations").write_text("in the way")
    outcome = controller.run("backup", world.arguments("backup"))
    assert outcome["changed"] and outcome["backup"]["complete"]
