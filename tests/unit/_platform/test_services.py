# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting: in an order that holds, nothing before everything is known."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._platform import services
from ansible_collections.day2.ops.plugins.module_utils._platform.consumer import (
    CONTAINER,
    PROCESS,
    TIMER,
    UNIT,
    Consumer,
)
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container, Listed

from .made import container

WEB = Consumer(CONTAINER, "web", "1")
JOB = Consumer(CONTAINER, "job", "2", again=False)
APP = Consumer(UNIT, "garage.service", "garage.service")
NIGHTLY = Consumer(TIMER, "nightly.timer", "nightly.timer")
SHELL = Consumer(PROCESS, "bash", "4711", "it has /srv/x open")


@dataclasses.dataclass
class Host:
    """Stands in for Docker and systemd: what runs, and what was asked of it."""

    up: set[str]
    calls: list[str] = dataclasses.field(default_factory=list)
    stubborn: str = ""
    broken: str = ""

    def runs(self, one: Consumer) -> bool:
        return one.name in self.up

    def stop(self, one: Consumer, timeout: int | None) -> None:
        self.calls.append(f"stop {one.name}")
        if one.name != self.stubborn:
            self.up.discard(one.name)

    def start(self, one: Consumer) -> str:
        self.calls.append(f"start {one.name}")
        if one.name == self.broken:
            raise Unavailable("it does not start")
        self.up.add(one.name)
        return ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host({"web", "job", "garage.service", "nightly.timer", "bash"})
    monkeypatch.setattr(services, "_runs", host.runs)
    monkeypatch.setattr(services, "_stop", host.stop)
    monkeypatch.setattr(services, "_start", host.start)
    return host


def test_timers_stop_first_and_start_last(host: Host) -> None:
    everything = [WEB, APP, NIGHTLY]
    services.stop(everything)
    assert host.calls == ["stop nightly.timer", "stop garage.service", "stop web"]
    assert services.running(everything) == []
    host.calls.clear()
    assert services.start(everything) == []
    assert host.calls == ["start web", "start garage.service", "start nightly.timer"]


def test_a_process_that_nobody_can_stop_is_refused_before_anything_is(host: Host) -> None:
    with pytest.raises(Refused, match=r"process 4711 \(bash\) uses the data and belongs to no service \(it has /srv/x"):
        services.stop([WEB, SHELL])
    assert host.calls == []
    host.up.discard("bash")
    services.stop([WEB, SHELL])
    assert host.calls == ["stop web"]


def test_a_one_off_job_is_stopped_and_not_begun_anew(host: Host) -> None:
    services.stop([JOB])
    assert services.start([JOB, WEB]) == ["container job was a one-off job; it was not started again"]
    assert host.calls == ["stop job", "start web"]


def test_one_that_does_not_start_does_not_keep_the_others_down(host: Host) -> None:
    host.broken = "web"
    with pytest.raises(Unavailable, match=r"container web \(it does not start\)"):
        services.start([WEB, APP, NIGHTLY])
    assert host.calls == ["start web", "start garage.service", "start nightly.timer"]


def test_running_names_what_runs(host: Host) -> None:
    host.up = {"web", "bash"}
    assert services.running([WEB, JOB, SHELL, NIGHTLY]) == [WEB, SHELL]


class Docker:
    def __init__(self, *listed: Listed) -> None:
        self.listed = listed
        self.stopped: list[str] = []

    def __call__(self) -> Docker:
        return self

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def list(self) -> tuple[Listed, ...]:
        return self.listed

    def stop(self, identifier: str, timeout: int | None) -> None:
        self.stopped.append(identifier)

    def inspect(self, identifier: str) -> Container | None:
        return next((one for one in self.listed if one.id == identifier and isinstance(one, Container)), None)


def test_names_of_services_and_containers_mean_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    web, worker = container("web"), container("worker", state="exited")
    run, other = container("web", oneoff=True, project="booking"), container("other", project="x")
    run = dataclasses.replace(run, name="booking-web-run-1", id="run")
    monkeypatch.setattr(services, "Docker", Docker(web, worker, run, other))
    found = services.named(["booking/web", "booking/worker", "x-other-1"])
    assert [(one.name, one.again) for one in found] == [("booking-web-1", True), ("x-other-1", True)]
    assert [one.again for one in services.named(["booking-web-run-1"])] == [False]


def test_an_unknown_name_is_refused_with_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "Docker", Docker(container("web")))
    with pytest.raises(Unavailable, match=r'service "booking/wep" has no container.*Did you mean booking/web'):
        services.named(["booking/web", "booking/wep"])


def test_what_runs_again_after_it_was_stopped_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    web = container("web")
    docker = Docker(web)
    monkeypatch.setattr(services, "Docker", docker)
    with pytest.raises(Unavailable, match="container booking-web-1 was stopped and runs again"):
        services.stop([Consumer(CONTAINER, web.name, web.id)])
    assert docker.stopped == [web.id]
