# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Who uses a datastore now: containers, units and their timers, processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Optional

from .._core.context import Context
from .._core.errors import OpsError
from . import processes, sockets, systemd
from .access import LOCAL
from .application import Application
from .consumer import (
    CONTAINER,
    PROCESS,
    TIMER,
    UNIT,
    Consumer,
    Surroundings,
    Usage,
    merged,
    mount_reason,
    open_file_reason,
    socket_mount_reason,
    variable_reason,
)
from .containers import Container
from .docker import Docker, reachable
from .processes import Owner, Process
from .sockets import plain

# What keeps containers alive must not be taken for their user.
_ENGINES = frozenset(("docker.service", "containerd.service", "podman.service", "docker.socket"))
_SERVICE = ("Environment", "EnvironmentFiles", "TriggeredBy")


def find(context: Context, application: Application, usage: Usage) -> list[Consumer]:
    """Everything that runs here and uses the datastore, except its own server and ourselves."""
    return _Search(context, application, usage).run()


class _Search:
    def __init__(self, context: Context, application: Application, usage: Usage) -> None:
        self.context = context
        self.application = application
        self.usage = usage
        self.paths = tuple(os.path.realpath(path) for path in usage.paths)
        self.containers = _containers(context, application)
        self.processes = processes.processes()
        server = next((one for one in self.containers if one.id == usage.container), None)
        self.around = Surroundings(server, sockets.local_addresses())
        self.own_unit = processes.own_owner()

    def run(self) -> list[Consumer]:
        found = [*self._containers(), *self._holders()]
        return merged([*found, *self._units(found)])

    # Containers -----------------------------------------------------------------------------------

    def _containers(self) -> Iterator[Consumer]:
        clients = {plain(address) for address in self.usage.addresses}
        for container in self.containers:
            if self.around.server is not None and container.id == self.around.server.id:
                continue
            reasons = [
                variable_reason(container.env, self.usage, self.around, container),
                mount_reason(container, self.paths),
                socket_mount_reason(container, self.usage.sockets),
                "it is connected to it" if clients & set(map(plain, container.addresses)) else "",
            ]
            for reason in filter(None, reasons):
                yield _container(container, reason)

    # Processes ------------------------------------------------------------------------------------

    def _holders(self) -> Iterator[Consumer]:
        by_pid = {process.pid: process for process in self.processes}
        clients = self._client_sockets()
        server = self._server_owner()
        for holding in processes.holdings(self.processes):
            reason = ""
            if holding.socket in clients:
                reason = "it is connected to it"
            elif holding.path and self.paths:
                reason = open_file_reason(holding.path, self.paths)
            process = by_pid[holding.pid]
            if reason and process.owner != server:
                yield from self._of_process(process, reason)

    def _client_sockets(self) -> set[int]:
        """Inodes of sockets that are connected to the server, in every network namespace."""
        found: set[int] = set()
        endpoints = self.around.endpoints(self.usage)
        namespaces = processes.network_namespaces(self.processes) if endpoints else {}
        server = self.around.server
        inside = processes.network_namespace(server.pid) if server is not None else ""
        for namespace, process in namespaces.items():
            # A sidecar that shares the server's network reaches it at loopback.
            loopback = {(address, self.usage.port) for address in LOCAL} if namespace == inside else set()
            for one in sockets.tcp(processes.PROC / str(process.pid)):
                if one.state == sockets.ESTABLISHED and (one.remote, one.remote_port) in endpoints | loopback:
                    found.add(one.inode)
        if self.usage.sockets:
            wanted = {os.path.realpath(path) for path in self.usage.sockets}
            for path, inodes in sockets.unix_clients().items():
                if os.path.realpath(path) in wanted:
                    found |= inodes
        return found - {0}

    def _server_owner(self) -> Optional[Owner]:
        """Who runs the server: its container, or the unit (or process) that listens at its port."""
        if self.usage.container is not None:
            return Owner(CONTAINER, self.usage.container)
        if not self.usage.local or self.usage.port is None:
            return None
        table = sockets.tcp(processes.PROC / "self")
        listening = {one.inode for one in table if one.state == sockets.LISTEN and one.local_port == self.usage.port}
        by_pid = {process.pid: process for process in self.processes}
        for holding in processes.holdings(self.processes):
            if holding.socket and holding.socket in listening:
                return by_pid[holding.pid].owner
        return None

    def _of_process(self, process: Process, reason: str) -> Iterator[Consumer]:
        owner = process.owner
        if owner.kind == CONTAINER:
            container = next((one for one in self.containers if one.id == owner.name), None)
            if container is not None:
                yield _container(container, reason)
            else:
                yield Consumer(PROCESS, process.command, str(process.pid), f"{reason}, in container {owner.name[:12]}")
        elif owner.kind == UNIT and owner.name not in _ENGINES and owner != self.own_unit:
            yield Consumer(UNIT, owner.name, owner.name, reason)
        else:
            yield Consumer(PROCESS, process.command, str(process.pid), reason)

    # Units ----------------------------------------------------------------------------------------

    def _units(self, found: Sequence[Consumer]) -> Iterator[Consumer]:
        if not systemd.running():
            return
        services = systemd.active("service")
        triggers = systemd.active("timer", "path", "socket")
        started = {
            service: trigger
            for trigger, properties in zip(triggers, systemd.show_all(triggers, "Triggers"))
            for service in systemd.first(properties, "Triggers").split()
            if service.endswith(".service")
        }
        server = self._server_owner()
        known = {one.name for one in found if one.kind == UNIT}
        names = list(dict.fromkeys((*services, *started, *known)))
        for name, properties in zip(names, systemd.show_all(names, *_SERVICE)):
            owner = Owner(UNIT, name)
            if owner in (server, self.own_unit) or name in _ENGINES:
                continue
            reason = "" if name in known else self._unit_reason(name, properties)
            if reason and systemd.is_active(properties):
                yield Consumer(UNIT, name, name, reason)
            if reason or name in known:
                for trigger in systemd.first(properties, "TriggeredBy").split():
                    if trigger in triggers:
                        yield Consumer(TIMER, trigger, trigger, f"it starts {name}")

    def _unit_reason(self, name: str, properties: systemd.Properties) -> str:
        if name in self.application.units:
            return "it runs the application"
        try:
            variables = systemd.environment_of(name, properties)
        except OpsError:  # a file that is gone: the unit cannot start anyway
            return ""
        return variable_reason(variables, self.usage, self.around)


def _container(container: Container, reason: str) -> Consumer:
    return Consumer(CONTAINER, container.name, container.id, reason, again=not container.oneoff)


def _containers(context: Context, application: Application) -> list[Container]:
    """Running containers, and those that may start again any moment."""
    if not reachable(context, needed=bool(application.project)):
        return []
    with Docker() as docker:
        listed = [one for one in docker.list() if one.state in ("running", "restarting", "paused")]
        return [container for one in listed if (container := docker.inspect(one.id)) is not None]
