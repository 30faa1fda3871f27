# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What uses a datastore, and how one tells; nothing here looks at the system."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Optional

from .._core.model import Json
from .access import LOCAL, SOCKETS
from .containers import Container, is_within
from .pointers import Pointer, pointers
from .sockets import plain

CONTAINER, UNIT, TIMER, PROCESS = "container", "unit", "timer", "process"


@dataclasses.dataclass(frozen=True)
class Consumer:
    """Something that runs and uses a datastore.

    `kind`: container, unit, timer (or another unit that starts one: a socket, a path), or process, which
    belongs to none of them and cannot be stopped by us. `id`: a container's id, a process's pid, else the
    name. `again`: whether it is started again afterwards; a one-off job is not, it would begin anew.
    """

    kind: str
    name: str
    id: str
    reason: str = ""
    again: bool = True

    @property
    def label(self) -> str:
        return f"process {self.id} ({self.name})" if self.kind == PROCESS else f"{self.kind} {self.name}"

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}" if self.reason else self.label

    def to_json(self) -> Json:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Consumer:
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


def merged(consumers: Iterable[Consumer]) -> list[Consumer]:
    """Each consumer once, with all the reasons for which it was found."""
    found: dict[tuple[str, str], Consumer] = {}
    for consumer in consumers:
        known = found.get((consumer.kind, consumer.id))
        if known is None:
            found[consumer.kind, consumer.id] = consumer
        elif consumer.reason and consumer.reason not in known.reason.split("; "):
            found[consumer.kind, consumer.id] = dataclasses.replace(known, reason=f"{known.reason}; {consumer.reason}")
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Usage:
    """How clients get at a datastore (see `Reach` and `Session` of the engines).

    `hosts`: names and addresses of the server, and paths of its sockets. `container`: the id of the
    server's container. `paths`: files and directories on this host. `addresses`: of clients that the
    server itself sees connected.
    """

    hosts: tuple[str, ...] = ()
    port: Optional[int] = None
    database: str = ""
    container: Optional[str] = None
    paths: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def sockets(self) -> tuple[str, ...]:
        """Paths of the server's Unix sockets on this host."""
        if self.container is not None or self.port is None or not self.local:
            return ()
        given = [host for host in self.hosts if host.startswith("/")]
        usual = () if given else SOCKETS.get(self.port, ())
        both = [path for one in (*given, *usual) for path in (one, f"{one}/.s.PGSQL.{self.port}")]
        return tuple(dict.fromkeys(both))

    @property
    def local(self) -> bool:
        """Whether the server runs on this host outside a container."""
        return self.container is None and any(host in LOCAL or host.startswith("/") for host in self.hosts)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What must be known of the host to understand a pointer: the server's container, own addresses."""

    server: Optional[Container] = None
    local_addresses: frozenset[str] = frozenset()

    def endpoints(self, usage: Usage) -> set[tuple[str, int]]:
        """Addresses and ports to which a connection leads to the datastore's server."""
        if usage.port is None:
            return set()
        if self.server is not None:
            found = {(plain(address), usage.port) for address in self.server.addresses}
            return found | {(address, port) for port in self.published(usage) for address in self.local_addresses}
        if usage.local:
            return {(address, usage.port) for address in self.local_addresses}
        return {(plain(host), usage.port) for host in usage.hosts}

    def published(self, usage: Usage) -> set[int]:
        """The host's ports that lead into the server's container."""
        if self.server is None:
            return set()
        return {one.host_port for one in self.server.published if one.port == usage.port}


# By variables ---------------------------------------------------------------------------------------


def variable_reason(
    variables: Mapping[str, str], usage: Usage, around: Surroundings, client: Optional[Container] = None
) -> str:
    """Which variable points to the datastore, for a message; "" for none. `client`: None for a unit."""
    for pointer in pointers(variables):
        if points_to(pointer, usage, around, client):
            return f"its variable {pointer.variable} points to it"
    return ""


def points_to(pointer: Pointer, usage: Usage, around: Surroundings, client: Optional[Container]) -> bool:
    if pointer.database and usage.database and pointer.family != "redis" and pointer.database != usage.database:
        return False
    if pointer.socket or not pointer.host:
        return _same_socket(pointer, usage, client)
    here = client is None or client.network_mode == "host"
    host, port = plain(pointer.host), pointer.likely_port
    if around.server is not None and host in direct_names(around.server, client):
        return port is None or port == usage.port
    on_host = host in local_names(around, client, here)
    if on_host and around.server is not None:
        return port in around.published(usage)
    if on_host and usage.local:
        # DB_HOST=localhost says enough, SMTP_HOST=localhost and REDIS_HOST=localhost do not mean us.
        return port == usage.port or (port is None and pointer.family == "database")
    return around.server is None and not usage.local and host in usage.hosts and port in (None, usage.port)


def _same_socket(pointer: Pointer, usage: Usage, client: Optional[Container]) -> bool:
    if client is not None or not usage.local:  # in a container a path is another one; mounts tell
        return False
    if pointer.socket:
        return pointer.socket in usage.sockets
    return pointer.likely_port == usage.port


def direct_names(server: Container, client: Optional[Container]) -> set[str]:
    """The names and addresses under which a client reaches a server's container without the host's ports."""
    everywhere = {plain(address) for address in server.addresses}
    if client is None or client.network_mode == "host":
        return everywhere
    if client.network_mode == f"container:{server.id}":
        return everywhere | set(LOCAL)
    mine = {network.network_id: network for network in client.networks}
    found: set[str] = set()
    for network in server.networks:
        own = mine.get(network.network_id)
        if own is None:
            continue
        found |= {server.name, server.service, *network.aliases, *map(plain, network.addresses)}
        found |= {alias for alias, target in own.links.items() if target in (server.name, server.id)}
    found |= {name for name, address in client.extra_hosts.items() if plain(address) in everywhere}
    return found - {""}


def local_names(around: Surroundings, client: Optional[Container], here: bool) -> set[str]:
    """The names under which this host is reached by a client."""
    names = {"host.docker.internal", os.uname().nodename, *around.local_addresses}
    if here:
        return names | set(LOCAL)
    names -= set(LOCAL)
    if client is not None:
        gateways = (*around.local_addresses, "host-gateway")
        names |= {name for name, address in client.extra_hosts.items() if plain(address) in gateways}
    return names


# By paths -------------------------------------------------------------------------------------------


def mount_reason(container: Container, paths: Sequence[str]) -> str:
    """Which mount of the container holds one of the paths, or lies in it; "" for none.

    Above a path only a writable mount counts (a monitor may mount the whole host read-only). At the path
    or below it every one does: after a rename the container would go on with the old directory.
    """
    for mount in container.mounts:
        if not mount.source:
            continue
        source = PurePosixPath(os.path.realpath(mount.source))
        for path in map(PurePosixPath, paths):
            if is_within(source, path) or (mount.rw and is_within(path, source)):
                return f"it mounts {mount.volume or mount.source} at {mount.destination}"
    return ""


def socket_mount_reason(container: Container, sockets: Collection[str]) -> str:
    """Whether the server's socket is mounted into a container."""
    for mount in container.mounts:
        source = PurePosixPath(os.path.realpath(mount.source)) if mount.source else None
        for path in sockets:
            if source is not None and source in (PurePosixPath(path), PurePosixPath(path).parent):
                return f"the server's socket is mounted in it at {mount.destination}"
    return ""


def open_file_reason(path: str, paths: Sequence[str]) -> str:
    """Whether an open file is one of the paths, or one of SQLite's files beside it, or below it."""
    path = path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path
    for parent in paths:
        beside = (f"{parent}-wal", f"{parent}-shm", f"{parent}-journal")
        if path == parent or path in beside:
            return f"it has {parent} open"
        if path.startswith(f"{parent.rstrip('/')}/"):
            return f"it has {path} open"
    return ""
