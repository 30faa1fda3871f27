# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Containers: state, their own health check, restarts since the last run, memory, the image as deployed, log size.

Of five real applications none had a container check that fails when its database is down. So a healthy container is
said to be that and no more; one without a health check is unknown, unless it serves a datastore that is described,
which has a check of its own, or the operator says that another check covers it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import Optional

from ..._core.sizes import readable
from ..._platform import compose, memory
from ..._platform.containers import Container
from ..._platform.docker import Docker
from .. import thresholds
from ..model import CRIT, OK, SKIPPED, UNKNOWN, WARN, Finding
from ..probe import Group, Options, Probe


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    project = options["project"] or ("" if options["containers"] else probe.scene.application.project)
    served = _served(probe)
    restarts: dict[str, int] = {}
    with Docker() as docker:
        found = compose.members(project, list(docker.containers())) if project else []
        if project and not found:
            yield Finding(CRIT, f"the Compose project {project} has no container")
        found += [docker.find(name, stopped_too=True) for name in options["containers"]]
        for container in found:
            name = container.service or container.name
            name = f"{name}-{container.number}" if _is_replica(container, found) else name
            restarts[name] = container.restarts
            yield from _container(options, probe, docker, container, name, served)
    probe.remember(restarts=restarts)


def _is_replica(container: Container, found: Sequence[Container]) -> bool:
    return sum(bool(other.service) and other.service == container.service for other in found) > 1


def _served(probe: Probe) -> dict[str, str]:
    """Containers by their reference, with the datastore that each serves."""
    stores = (engine.datastore for engine in probe.scene.engines.values())
    return {str(store.options["container"]): store.name for store in stores if store.options.get("container")}


def _container(
    options: Options, probe: Probe, docker: Docker, container: Container, name: str, served: dict[str, str]
) -> Iterator[Finding]:
    state = _state(container, name)
    yield state
    if state.status == OK and container.running:
        datastore = served.get(container.reference) or served.get(container.name)
        yield _health(container, name, datastore, {container.service, container.name} & set(options["covered"]))
        yield from _memory(options, docker, container, name)
    if container.out_of_memory:
        yield Finding(CRIT, f"{name} was ended for want of memory (OOM)", part=f"{name} oom")
    yield from _restarts(options, probe, container, name)
    yield from _image(docker, container, name)
    yield from _log(options, container, name)


def _state(container: Container, name: str) -> Finding:
    state = container.state
    if container.running:
        return Finding(OK, f"{name} runs", state, part=name)
    if state == "exited" and container.exit_code == 0 and container.restart_policy == "no":
        return Finding(OK, f"{name} has ended well (exit code 0)", state, part=name)
    if state == "exited":
        return Finding(CRIT, f"{name} has ended with {container.exit_code}", state, part=name)
    return Finding(CRIT, f"{name} is {state}", state, part=name)


def _health(container: Container, name: str, datastore: Optional[str], covered: Collection[str]) -> Finding:
    part = f"{name} health"
    if container.health == "healthy":
        return Finding(OK, f"{name} is healthy by its own check", part=part)
    if container.health == "unhealthy":
        return Finding(CRIT, f"{name} is unhealthy by its own check", part=part)
    if container.health == "starting":
        return Finding(WARN, f"{name} is starting: its own check has not passed yet", part=part)
    if datastore:
        return Finding(OK, f'{name} has no check of its own; it serves the datastore "{datastore}"', part=part)
    if covered:
        return Finding(SKIPPED, f"{name} has no check of its own; another check here covers it (covered)", part=part)
    return Finding(
        UNKNOWN, f"{name} has no check of its own (healthcheck): whether it works is asked by nobody here", part=part
    )


def _memory(options: Options, docker: Docker, container: Container, name: str) -> Iterator[Finding]:
    """Of its own limit; without one the machine's memory is the limit, which the group host looks at."""
    limit = docker.memory_limit(container.id)
    use = memory.used(container.pid) if limit else None
    if use is None:
        return
    share = 100 * use / limit
    text = f"{name} uses {share:.1f} % of its {readable(limit)}"
    yield thresholds.above(
        round(share, 1), options["memory_warn"], options["memory_crit"], text, unit="%", part=f"{name} memory"
    )


def _restarts(options: Options, probe: Probe, container: Container, name: str) -> Iterator[Finding]:
    """Those since the last run. A smaller count than then is of a new container."""
    before = (probe.before.get("restarts") or {}).get(name)
    if before is None and not container.restarts:
        return
    known = 0 if before is None or container.restarts < before else int(before)
    since, when = container.restarts - known, "since the last run" if before is not None else "since it was made"
    text = f"{name} was started again {since} times {when}"
    yield thresholds.above(since, options["restarts_warn"], options["restarts_crit"], text, part=f"{name} restarts")


def _image(docker: Docker, container: Container, name: str) -> Iterator[Finding]:
    now = docker.image_id(container.image)
    if now and now != container.image_id:
        text = f"{name} runs an older image than what {container.image} stands for now"
        yield Finding(WARN, text, container.image_id[7:19], part=f"{name} image")


def _log(options: Options, container: Container, name: str) -> Iterator[Finding]:
    try:
        size = os.stat(container.log).st_size if container.log else 0
    except OSError:
        return
    if size:
        text = f"the log of {name} has {readable(size)}"
        yield thresholds.above(
            size, options["log_warn"] << 20, options["log_crit"] << 20, text, unit="B", part=f"{name} log"
        )


GROUP = Group(
    "containers",
    {
        "project": {"type": "str"},
        "containers": {"type": "list", "elements": "str", "default": []},
        "covered": {"type": "list", "elements": "str", "default": []},
        "restarts_warn": {"type": "float", "default": 1.0},
        "restarts_crit": {"type": "float", "default": 3.0},
        "memory_warn": {"type": "float", "default": 85.0},
        "memory_crit": {"type": "float", "default": 95.0},
        "log_warn": {"type": "int", "default": 1024},
        "log_crit": {"type": "int", "default": 10240},
    },
    look,
)
