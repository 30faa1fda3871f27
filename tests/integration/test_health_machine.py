# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the host, containers, units, backups and env files; and what holds for a run as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.integration.support import faults
from tests.integration.support.compose import docker, wait_until
from tests.integration.support.health import Looked, look
from tests.integration.support.recovery import World
from tests.integration.support.systemd import SystemdHost

IMAGE = "day2-test/webapp:bookworm"


# The run as a whole ----------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"group": "command", "id": "good", "argv": ["true"]}
BAD: dict[str, Any] = {"group": "command", "id": "bad", "argv": ["false"]}


def test_the_worst_of_the_required_ones_counts(tmp_path: Path) -> None:
    assert look(tmp_path, GOOD).health["status"] == "ok"
    bad = look(tmp_path, GOOD, BAD)
    assert bad.health["status"] == "crit"
    assert bad.health["counts"] == {"ok": 1, "warn": 0, "crit": 1, "unknown": 0, "skipped": 0}
    assert bad.outcome.failed
    assert "looked-production is not healthy: bad is crit: false ended with 1, not 0" in bad.outcome.msg
    optional = look(tmp_path, GOOD, {**BAD, "required": False})
    assert optional.health["status"] == "warn"
    assert optional.status("bad") == "crit"
    assert not optional.outcome.failed
    assert look(tmp_path, {**BAD, "required": False}, fail_on="warn").outcome.failed
    assert not look(tmp_path, BAD, fail_on="never").outcome.failed


def test_retries_within_a_run_and_good_ones_in_a_row(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f'echo x >> {count}; test "$(wc -l < {count})" -ge 3'
    flaky = {"group": "command", "id": "flaky", "argv": ["sh", "-c", script], "retry_delay": 0.01}
    assert look(tmp_path, {**flaky, "retries": 1}).outcome.failed
    count.unlink()
    found = look(tmp_path, {**flaky, "retries": 2})
    found.is_ok("flaky")
    assert found.checks["flaky"]["attempts"] == 3
    count.unlink()
    found = look(tmp_path, {**flaky, "retries": 2, "success_threshold": 3})
    found.is_ok("flaky")
    assert found.checks["flaky"]["attempts"] == 5
    count.unlink()
    script = f'echo x >> {count}; test "$(($(wc -l < {count}) % 2))" = 0'  # every other one is good
    turns = {**flaky, "argv": ["sh", "-c", script], "retries": 3, "success_threshold": 2}
    look(tmp_path, turns).is_crit("flaky")


def test_failures_count_only_after_so_many_runs(tmp_path: Path) -> None:
    patient = {**BAD, "failure_threshold": 3}
    first = look(tmp_path, patient)
    assert first.status("bad") == "ok"
    assert "crit in 1 of 3 runs that it takes" in first.message("bad")
    assert look(tmp_path, patient).status("bad") == "ok"
    third = look(tmp_path, patient)
    third.is_crit("bad")
    time.sleep(1.1)
    fourth = look(tmp_path, patient)
    assert fourth.checks["bad"]["since"] == third.checks["bad"]["since"]
    assert look(tmp_path, {**patient, "argv": ["true"]}).status("bad") == "ok"
    assert look(tmp_path, patient).status("bad") == "ok", "counting begins anew"


def test_a_slow_check_holds_nobody_up(tmp_path: Path) -> None:
    slow = {"group": "command", "id": "slow", "argv": ["sleep", "30"], "timeout": 20}
    begun = time.monotonic()
    found = look(tmp_path, slow, GOOD, budget=1)
    assert time.monotonic() - begun < 4
    found.is_ok("good")
    assert found.status("slow") == "unknown"
    assert "did not end within the 1 s for all checks" in found.message("slow")
    assert found.outcome.failed
    assert not look(tmp_path, slow, GOOD, budget=1, allow_unknown=True).outcome.failed
    time.sleep(0.2)
    running = subprocess.run(["pgrep", "-x", "sleep", "-a"], capture_output=True, text=True).stdout
    assert "sleep 30" not in running, "the program ended with the module"


def test_thirty_checks_end_within_five_seconds(tmp_path: Path) -> None:
    checks = [{**GOOD, "id": f"c{number}", "argv": ["sleep", "0.5"]} for number in range(30)]
    begun = time.monotonic()
    found = look(tmp_path, *checks)
    assert time.monotonic() - begun < 5
    assert found.health["counts"]["ok"] == 30


def test_check_mode_looks_and_writes_nothing(tmp_path: Path) -> None:
    files = {f"{kind}_file": str(tmp_path / f"out.{kind}") for kind in ("json", "junit", "markdown", "prometheus")}
    found = look(tmp_path / "state", GOOD, BAD, check_mode=True, **files)
    found.is_crit("bad")
    assert not (tmp_path / "state").exists()
    assert not list(tmp_path.glob("out.*"))


def test_every_output(tmp_path: Path) -> None:
    files = {f"{kind}_file": str(tmp_path / f"out.{kind}") for kind in ("json", "junit", "markdown", "prometheus")}
    unknown = {"group": "command", "id": "unknown", "argv": ["no-such-program"]}
    odd = {"group": "command", "id": "odd", "argv": ["sh", "-c", "printf 'a|b\\001<\"'; exit 1"]}
    found = look(tmp_path, GOOD, odd, unknown, {"group": "host", "id": "host", "parts": ["memory"]}, **files)
    assert json.loads((tmp_path / "out.json").read_text()) == found.health
    suite = ElementTree.fromstring((tmp_path / "out.junit").read_text().split("\n", 1)[1])
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    assert "| crit | odd |" in (tmp_path / "out.markdown").read_text().splitlines()[4]
    lines = (tmp_path / "out.prometheus").read_text().splitlines()
    assert 'day2_health_status{app="looked",instance="production"} 2' in lines
    assert 'day2_health_check_status{app="looked",instance="production",check="unknown",group="command"} 3' in lines
    nagios = found.outcome.data["nagios"]
    assert nagios.startswith("CRITICAL - odd: ")
    assert nagios.count("|") == 1
    assert "'host/memory'=" in nagios.split("|")[1]
    assert stat_mode(tmp_path / "out.json") == 0o600
    assert stat_mode(tmp_path / "out.prometheus") == 0o644


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_bad_input_is_refused_before_anything_is_checked(tmp_path: Path) -> None:
    def refused(*checks: dict[str, Any], **more: Any) -> str:
        return str(look(tmp_path, *checks, **more).outcome.msg)

    assert 'two checks have the id "good"' in refused(GOOD, GOOD)
    assert 'check "bad": url is not an option of group command' in refused({**BAD, "url": "x"})
    assert 'check "http": group http needs the option url' in refused({"group": "http"})
    assert 'check "tls": group tls needs host or certificate_files or acme_file' in refused({"group": "tls"})
    assert "cannot be the id of a check" in refused({**BAD, "id": "a/b"})
    assert "success_threshold must be 1 or more" in refused({**BAD, "success_threshold": 0})
    assert "retries must be 0 or more" in refused({**BAD, "retries": -1})
    assert "timeout must be more than 0" in refused({**BAD, "timeout": 0})
    assert "there is no directory" in refused(GOOD, json_file=str(tmp_path / "none" / "out.json"))


# The host --------------------------------------------------------------------------------------------


def test_a_small_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with faults.small_disk(disk, 16):
        wanted = {"group": "host", "parts": ["disk"], "paths": [str(disk)]}
        look(tmp_path, wanted).is_ok(f"host/disk {disk}")
        subprocess.run(["sh", "-c", faults.fill(disk)], check=False)
        look(tmp_path, wanted).is_crit(f"host/disk {disk}", "100.0 % used")
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,nr_inodes=200", str(disk)], check=True)
        for number in range(500):
            try:
                (disk / str(number)).touch()
            except OSError:
                break
        look(tmp_path, wanted).is_crit(f"host/inodes {disk}", "of the inodes used")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        look(tmp_path, wanted).is_crit(f"host/read-only {disk}", "is mounted read-only")
    look(tmp_path, {**wanted, "paths": [str(disk / "gone")]}).is_crit(f"host/disk {disk / 'gone'}")


def test_a_full_disk_is_told_where_nothing_can_be_remembered_on_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with faults.small_disk(disk, 16):
        wanted = {"group": "host", "parts": ["disk"], "paths": [str(disk)]}
        subprocess.run(["sh", "-c", faults.fill(disk)], check=False)
        found = look(disk, wanted, json_file=str(disk / "health.out"))
        found.is_crit(f"host/disk {disk}", "100.0 % used")
        assert any("The next run will not know of this one" in one for one in found.outcome.warnings)
        alone = look(disk, GOOD, json_file=str(disk / "health.out")).outcome
        assert alone.failed and "json_file was not written" in alone.msg and "No space left" in alone.msg
        assert alone.data["health"]["status"] == "ok"


def test_how_soon_a_disk_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with faults.small_disk(disk, 100):
        wanted = {"group": "host", "parts": ["disk"], "paths": [str(disk)]}
        assert f"host/full {disk}" not in look(tmp_path, wanted).checks
        (disk / "more").write_bytes(bytes(10 << 20))
        path = tmp_path / "looked-production" / "health.json"
        document = json.loads(path.read_text())
        document["memory"]["host"]["when"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600))
        path.write_text(json.dumps(document))
        found = look(tmp_path, wanted)
        found.is_crit(f"host/full {disk}", "is full in 2 hours")
        assert 1.3 < found.checks[f"host/full {disk}"]["value"] < 1.7  # 90 MB at 10 MB in ten minutes


def test_the_rest_of_the_host(tmp_path: Path) -> None:
    found = look(
        tmp_path, {"group": "host", "memory_warn": 0.1, "memory_crit": 0.1, "load_warn": 1000, "load_crit": 1000}
    )
    found.is_crit("host/memory", "of the memory used")
    found.is_ok("host/load")
    assert found.status("host/updates") in ("ok", "warn")
    marker = Path("/run/reboot-required")
    was = marker.exists()
    marker.touch()
    try:
        assert look(tmp_path, {"group": "host", "parts": ["reboot"]}).status("host/reboot") == "warn"
    finally:
        if not was:
            marker.unlink()


# Containers ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def container(*flags: str, command: str = "sleep infinity") -> Iterator[str]:
    name = f"day2t-health-{os.urandom(3).hex()}"
    docker("run", "-d", "--name", name, *flags, "--entrypoint", "sh", IMAGE, "-c", command)
    try:
        yield name
    finally:
        docker("rm", "-f", "-v", name, check=False)


def _containers(*names: str, **more: Any) -> dict[str, Any]:
    return {"group": "containers", "id": "c", "containers": list(names), **more}


CHECKED = (
    "--health-cmd",
    "test -e /tmp/well",
    "--health-interval",
    "1s",
    "--health-retries",
    "1",
    "--health-start-period",
    "0s",
)


@pytest.mark.docker
def test_a_container_and_its_own_check(tmp_path: Path) -> None:
    with container(*CHECKED, command="touch /tmp/well; sleep infinity") as name, container() as bare:
        wait_until(lambda: _health(name) == "healthy", "it is healthy")
        found = look(tmp_path, _containers(name))
        found.is_ok(f"c/{name}", "runs")
        found.is_ok(f"c/{name} health", "is healthy by its own check")
        docker("exec", name, "rm", "/tmp/well")
        wait_until(lambda: _health(name) == "unhealthy", "it is unhealthy")
        look(tmp_path, _containers(name)).is_crit(f"c/{name} health", "is unhealthy")
        without = look(tmp_path, _containers(bare))
        assert without.status(f"c/{bare} health") == "unknown", "no check of its own is not good"
        assert without.outcome.failed
        store = {"name": "main", "engine": "redis", "container": bare}
        served = look(tmp_path, _containers(bare), datastores=[store])
        served.is_ok(f"c/{bare} health", 'it serves the datastore "main"')
        docker("stop", "-t", "0", name)
        look(tmp_path, _containers(name)).is_crit(f"c/{name}", "has ended with 137")


def _health(name: str) -> str:
    return docker("inspect", "-f", "{{.State.Health.Status}}", name)


@pytest.mark.docker
def test_a_container_that_restarts_again_and_again(tmp_path: Path) -> None:
    with container("--restart", "always", command="sleep 0.2; exit 3") as name:
        wait_until(lambda: int(docker("inspect", "-f", "{{.RestartCount}}", name)) >= 3, "it was started again")
        look(tmp_path, _containers(name), fail_on="crit").is_crit(f"c/{name} restarts", "since it was made")
        docker("update", "--restart", "no", name)
        wait_until(lambda: docker("inspect", "-f", "{{.State.Status}}", name) == "exited", "it has ended")
        look(tmp_path, _containers(name))
        found = look(tmp_path, _containers(name))
        found.is_ok(f"c/{name} restarts", "0 times since the last run")
        found.is_crit(f"c/{name}", "has ended with 3")


@pytest.mark.docker
def test_memory_log_and_image_of_a_container(tmp_path: Path) -> None:
    tag = f"day2t-health-{os.urandom(3).hex()}:latest"
    docker("tag", IMAGE, tag)
    script = "head -c 40000000 /dev/zero > /dev/shm/x; head -c 3000000 /dev/urandom | base64; sleep infinity"
    name = f"day2t-health-{os.urandom(3).hex()}"
    try:
        docker(
            "run", "-d", "--name", name, "--memory", "64m", "--shm-size", "60m", "--entrypoint", "sh", tag, "-c", script
        )
        wait_until(lambda: len(docker("logs", name)) > 3_900_000, "it has written its log")
        found = look(tmp_path, _containers(name, memory_warn=50, memory_crit=60, log_warn=1, log_crit=2))
        found.is_crit(f"c/{name} memory", "of its 64.0 MiB")
        found.is_crit(f"c/{name} log", "MiB")
        assert f"c/{name} image" not in found.checks
        docker("tag", "day2-test/bare:bookworm", tag)
        assert look(tmp_path, _containers(name)).status(f"c/{name} image") == "warn"
    finally:
        docker("rm", "-f", "-v", name, check=False)
        docker("rmi", tag, check=False)


@pytest.mark.docker
def test_a_project_that_is_not_there(tmp_path: Path) -> None:
    gone = look(tmp_path, {"group": "containers", "project": "no-such-project"})
    gone.is_crit("containers", "has no container")
    missing = look(tmp_path, _containers("no-such-container"))
    assert missing.status("c") == "unknown"


# systemd ---------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_units_that_fail_and_restart(systemd_host: SystemdHost) -> None:
    host = systemd_host
    host.write("/etc/systemd/system/well.service", "[Service]\nExecStart=sleep infinity\n")
    host.write("/etc/systemd/system/broken.service", "[Service]\nExecStart=false\n")
    host.write(
        "/etc/systemd/system/again.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=sh -c 'test -e /tmp/rest && exec sleep infinity; sleep 0.3; exit 1'\nRestart=always\nRestartSec=0.1\n",
    )
    host.run("rm", "-f", "/tmp/rest", "/var/lib/day2/garage-production/health.json")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "well", "again")
    host.run("systemctl", "start", "broken", check=False)
    units = ["well.service", "broken.service", "again.service", "gone.service"]
    try:
        _findings(host, units)
        time.sleep(3)
        host.run("touch", "/tmp/rest")
        # Not only active: the process before, which is about to fail, is that as well.
        shown = "cat /proc/$(systemctl show -p MainPID --value again)/comm"
        wait_until(lambda: host.run("sh", "-c", shown, check=False) == "sleep", "it runs for good")
        found = _findings(host, units)
        assert found["well.service"]["status"] == "ok"
        assert found["broken.service"]["status"] == "crit"
        assert "failed" in found["broken.service"]["message"]
        assert found["gone.service"]["status"] == "crit"
        assert "not-found" in found["gone.service"]["message"]
        assert found["again.service restarts"]["status"] == "crit", found
        assert found["failed"]["status"] == "warn"
        assert "broken.service" in found["failed"]["message"]
        assert _findings(host, units)["again.service restarts"]["status"] == "ok"
        host.write("/etc/systemd/system/well.service", "[Service]\nExecStart=sleep 1000000\n")
        assert "daemon-reload" in _findings(host, units)["well.service"]["message"]
    finally:
        host.run("systemctl", "stop", "well", "again", check=False)
        host.run("systemctl", "reset-failed", check=False)
        host.run("rm", "-f", *(f"/etc/systemd/system/{name}.service" for name in ("well", "broken", "again")))
        host.run("systemctl", "daemon-reload")


def _findings(host: SystemdHost, units: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = host.python(
        f"""
        from ansible_collections.day2.ops.plugins.module_utils._health import history, running
        from ansible_collections.day2.ops.plugins.module_utils._health.groups import systemd as group
        from ansible_collections.day2.ops.plugins.module_utils._health.probe import Probe, Scene
        known = history.History(context.home / "health.json")
        options = {{name: rule.get("default") for name, rule in group.GROUP.options.items()}}
        options["units"] = {units!r}
        probe = Probe(Scene(context, Application(), {{}}), 10.0, *known.remembered("s"))
        found = list(group.look(options, probe))
        known.remember("s", probe.memory)
        known.believe("s", found[0], 1)
        known.save()
        answer({{one.part: {{"status": one.status, "message": one.message}} for one in found}})
        """
    )
    return found


# Backups ---------------------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_backup_that_is_stale_and_was_never_proven(world: World) -> None:
    def found(**options: Any) -> Looked:
        return Looked(world.run("health_check", checks=[{"group": "backups", **options}], fail_on="crit"))

    world.backup()
    now = found()
    now.is_ok("backups", "0.0 hours old")
    assert now.status("backups/proof") == "warn"
    assert "ever proven" in now.message("backups/proof")
    world.run("backup_verify")
    found().is_ok("backups/proof", "0.0 hours ago")
    time.sleep(1.1)
    found(age_crit="1s").is_crit("backups", "hours old")
    found(proof_crit="1s").is_crit("backups/proof")


@pytest.mark.sqlite
def test_no_backup_at_all_and_no_repository(world: World) -> None:
    def found() -> Looked:
        return Looked(world.run("health_check", checks=[{"group": "backups"}]))

    ids = [one["id"] for one in world.snapshots()]
    if ids:
        world.call_restic("forget", *ids)
    found().is_crit("backups", "there is no complete backup")
    world.repository.rename(world.root / "elsewhere")
    found().is_crit("backups", "there is no repository")


@pytest.mark.sqlite
def test_a_backup_that_is_much_smaller_than_those_before(world: World) -> None:
    world.add_upload("large", os.urandom(2_000_000))
    for _number in range(3):
        world.backup()
    (world.uploads / "large").unlink()
    world.backup()
    found = Looked(world.run("health_check", checks=[{"group": "backups", "size_crit": 50}]))
    found.is_crit("backups/size", "of the median of the")


# Secrets ---------------------------------------------------------------------------------------------


def test_an_env_file_that_others_may_read(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("DB_PASSWORD=s3cret-of-ours\nPLAIN=1\n")
    wanted = {"group": "secrets", "env_files": [str(env)], "processes": False}
    env.chmod(0o600)
    look(tmp_path, wanted).is_ok(f"secrets/{env}")
    env.chmod(0o644)
    found = look(tmp_path, wanted)
    found.is_crit(f"secrets/{env}", "has mode 0644", "every user")
    assert "s3cret" not in json.dumps(found.outcome.data)
    env.chmod(0o660)
    assert look(tmp_path, wanted).status(f"secrets/{env}") == "warn"
    env.unlink()
    look(tmp_path, wanted).is_crit(f"secrets/{env}", "No such file")


def test_how_old_a_secret_is(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("DB_PASSWORD=s3cret-of-ours\nAPI_KEY=an0ther\nPLAIN=1\n")
    env.chmod(0o600)
    wanted = {"group": "secrets", "env_files": [str(env)], "processes": False, "max_age": "90d"}
    look(tmp_path, wanted).is_ok("secrets/age", "2 secrets")
    state = tmp_path / "looked-production" / "health.json"
    text = state.read_text()
    assert "s3cret" not in text
    document = json.loads(text)
    for one in document["memory"]["secrets"]["values"]["seen"].values():
        one["since"] = "2026-01-01T00:00:00Z"
    state.write_text(json.dumps(document))
    env.write_text("DB_PASSWORD=s3cret-of-ours\nAPI_KEY=a-new-one\n")
    found = look(tmp_path, wanted)
    assert found.status("secrets/age") == "warn"
    assert "DB_PASSWORD" in found.message("secrets/age")
    assert "API_KEY" not in found.message("secrets/age")


@pytest.mark.docker
def test_what_runs_with_an_older_value(tmp_path: Path) -> None:
    """The env file was changed, and nobody started the application anew."""
    env = tmp_path / ".env"
    env.write_text("DB_PASSWORD=the-new-one\n")
    env.chmod(0o600)
    project = f"day2t{os.urandom(3).hex()}"
    labels = ("--label", f"com.docker.compose.project={project}", "--label", "com.docker.compose.service=web")
    with container(*labels, "-e", "DB_PASSWORD=the-old-one"):
        wanted = {"group": "secrets", "env_files": [str(env)]}
        found = look(tmp_path, wanted, project=project)
        assert found.status("secrets/web environment") == "warn"
        assert "DB_PASSWORD" in found.message("secrets/web environment")
        assert "the-old-one" not in json.dumps(found.outcome.data)
        env.write_text("DB_PASSWORD=the-old-one\n")
        look(tmp_path, wanted, project=project).is_ok("secrets/web environment")


# What is checked without being named -----------------------------------------------------------------


@pytest.mark.sqlite
def test_all_that_is_described_is_checked(world: World) -> None:
    world.backup()
    found = Looked(world.run("health_check", env_files=[str(world.env_file)] if world.env_file.exists() else []))
    assert {"main", "main/write", "backups", "backups/proof", "host/memory"} <= set(found.checks)
    assert "host/disk /" in found.checks
    bad = {one: check["message"] for one, check in found.checks.items() if check["status"] in ("crit", "unknown")}
    assert not {one for one in bad if not one.startswith("host/")}, bad
    world.database.unlink()
    Looked(world.run("health_check")).is_crit("main", "there is no file")
