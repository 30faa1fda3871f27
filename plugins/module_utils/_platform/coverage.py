# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is not described is not safe: the application's mounts and servers that no datastore covers."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Optional, Union

from .._core.context import Context
from .._core.errors import OpsError
from . import compose, dotenv, systemd
from .access import LOCAL
from .application import Application
from .compose import Project, Service, ServiceMount
from .consumer import direct_names
from .containers import Container, Mount, is_within
from .docker import Docker
from .pointers import DATA, Pointer, buckets, pointers
from .processes import PROC
from .sockets import LISTEN, plain, tcp

VOLUME, PATH, SERVER, BUCKET = "volume", "path", "server", "bucket"

# Images of servers that hold data, by the last part of their name.
_SERVERS: tuple[str, ...] = (
    *("redis", "valkey", "mongo", "mysql", "mariadb", "percona", "postgres", "postgis", "timescaledb", "rabbitmq"),
    *("elasticsearch", "opensearch", "minio", "clickhouse", "couchdb", "influxdb", "etcd", "neo4j", "cassandra"),
)
_SYSTEM = ("/proc", "/sys", "/dev", "/run", "/var/run", "/etc/localtime", "/etc/timezone", "/tmp/.X11-unix")

AnyMount = Union[Mount, ServiceMount]


@dataclasses.dataclass(frozen=True)
class Covered:
    """What the described datastores hold: paths on this host, volumes, ids of servers' containers, and
    servers elsewhere as (host, port)."""

    paths: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    hosts: tuple[tuple[str, Optional[int]], ...] = ()


@dataclasses.dataclass(frozen=True)
class Uncovered:
    """Something that holds data and is in no backup. `name` is what the user acknowledges it by."""

    kind: str
    name: str
    where: str
    also: tuple[str, ...] = ()  # other names that acknowledge it

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.where})"

    def acknowledged(self, names: Iterable[str]) -> bool:
        own = {self.name, *self.also}
        return any(name in own or name.rstrip("/") in own for name in names)


def find(context: Context, application: Application, covered: Covered) -> list[Uncovered]:
    """What the application writes to or depends on that no datastore covers, and nobody acknowledged."""
    found: list[Uncovered] = []
    if application.project:
        found += _of_project(context, application, covered)
    for unit in application.units:
        found += _of_unit(unit, covered)
    if application.env_files:
        found += host_findings(_env_files(application.env_files), "the env files", covered)
    first: dict[tuple[str, str], Uncovered] = {}
    for one in found:
        first.setdefault((one.kind, one.name), one)
    return [one for one in first.values() if not one.acknowledged(application.uncovered)]


# Compose projects -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ProjectState:
    """A project's containers, and its services that have none (behind a profile, say) by name.

    `idle`: ids of running containers that listen at no port: a job that uses a server's image for its
    tools is no server.
    """

    name: str
    containers: tuple[Container, ...]
    others: Mapping[str, Service] = dataclasses.field(default_factory=dict)
    idle: frozenset[str] = frozenset()


def _of_project(context: Context, application: Application, covered: Covered) -> list[Uncovered]:
    with Docker() as docker:
        everything = list(docker.containers())
    members = compose.members(application.project, everything)
    if not members:
        context.warn(
            f"The Compose project {application.project} has no containers; "
            "its mounts and servers could not be compared with the datastores."
        )
        return []
    source = next((project for one in members if (project := compose.project_of(one)) is not None), None)
    others = _without_container(context, source, members) if source is not None else {}
    idle = frozenset(one.id for one in members if one.running and not _listens(one))
    state = ProjectState(application.project, tuple(members), others, idle)
    return project_findings(state, covered, tuple(everything))


def _listens(container: Container) -> bool:
    """Whether anything in the container can be connected to; True where that cannot be seen."""
    table = tcp(PROC / str(container.pid))
    # 127.0.0.11 is Docker's own name server in it.
    return not table or any(one.state == LISTEN and one.local != "127.0.0.11" for one in table)


def _without_container(context: Context, project: Project, members: Sequence[Container]) -> dict[str, Service]:
    try:
        services = compose.services(project)
    except OpsError as error:
        context.warn(f"{error.what}; only containers that exist were compared with the datastores.")
        return {}
    present = {one.service for one in members}
    return {name: service for name, service in services.items() if name not in present}


def project_findings(state: ProjectState, covered: Covered, everything: Sequence[Container] = ()) -> list[Uncovered]:
    """The findings of one project. `everything`: all containers, as a server may be in another project."""
    found: list[Uncovered] = []
    servers = dict(_servers(state, covered, everything or state.containers))
    found += servers.values()
    for container in state.containers:
        # A data server's own mounts are covered with it, or named with it.
        if container.id not in covered.containers and container.id not in servers:
            found += _mount_findings(container.mounts, container.service, state.name, covered)
    for service in state.others.values():
        found += _mount_findings(service.mounts, service.name, state.name, covered)
    for container in state.containers:
        found += _external(container, state, covered, everything or state.containers)
    return found


def _servers(state: ProjectState, covered: Covered, everything: Sequence[Container]) -> Iterator[tuple[str, Uncovered]]:
    """Data servers in containers, by image or because a variable points to them, by container id."""
    for server in everything:
        if server.id in covered.containers:
            continue
        pointing = [
            (client.service, pointer)
            for client in state.containers
            if client.id != server.id
            for pointer in pointers(client.env)
            if _is_data(pointer) and pointer.host in direct_names(server, client)
        ]
        ours = server.project == state.name
        if not pointing and not (ours and _is_server(server) and server.id not in state.idle):
            continue
        if any(pointer.host == host for _rest, pointer in pointing for host, _port in covered.hosts):
            continue
        where = f"{pointing[0][1].variable} of service {pointing[0][0]}" if pointing else f"image {server.image}"
        also = [server.name, server.reference, *(pointer.server for _rest, pointer in pointing)]
        also += [alias for mount in server.mounts for alias in _mount_names(mount, server.service, state.name)]
        yield server.id, Uncovered(SERVER, server.service or server.name, where, tuple(dict.fromkeys(also)))


def _is_server(container: Container) -> bool:
    name = container.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    known = any(name == one or name.startswith((f"{one}-", f"{one}db")) for one in _SERVERS)
    return known and any(mount.rw for mount in container.mounts)


def _is_data(pointer: Pointer) -> bool:
    return pointer.family in DATA or pointer.family == "database"


def _external(
    container: Container, state: ProjectState, covered: Covered, everything: Sequence[Container]
) -> Iterator[Uncovered]:
    """Servers that are no container, and buckets, that a container's variables point to."""
    inside = {name for other in everything for name in direct_names(other, container)} | set(state.others)
    inside |= {container.name, container.service, container.hostname, ""}
    if container.network_mode != "host":
        inside |= set(LOCAL)
    for pointer in pointers(container.env):
        if _is_data(pointer) and plain(pointer.host) not in inside and not _host_covered(pointer, covered):
            yield _server(pointer, f"{pointer.variable} of service {container.service}", container.env)
    for variable, bucket in buckets(container.env):
        yield Uncovered(BUCKET, bucket, f"{variable} of service {container.service}")


def _host_covered(pointer: Pointer, covered: Covered) -> bool:
    host, port = plain(pointer.host), pointer.likely_port
    names = {host, *LOCAL} if host in (*LOCAL, "host.docker.internal") else {host}
    return any(
        plain(known) in names and (known_port is None or port is None or port == known_port)
        for known, known_port in covered.hosts
    )


def _server(pointer: Pointer, where: str, variables: Mapping[str, str]) -> Uncovered:
    # An endpoint without its bucket says little; acknowledging the bucket acknowledges the endpoint.
    also = [pointer.host, *(name for _rest, name in buckets(variables) if pointer.family == "s3")]
    if pointer.likely_port:
        also.append(f"{pointer.host}:{pointer.likely_port}")
    return Uncovered(SERVER, pointer.server, where, tuple(also))


# Mounts ---------------------------------------------------------------------------------------------


def _mount_findings(mounts: Sequence[AnyMount], service: str, project: str, covered: Covered) -> Iterator[Uncovered]:
    for mount in mounts:
        if not holds_data(mount) or _mount_covered(mount, covered):
            continue
        name, *also = _mount_names(mount, service, project)
        kind = VOLUME if mount.type == "volume" else PATH
        yield Uncovered(kind, name, f"service {service} writes to it at {mount.destination}", tuple(also))


def _mount_names(mount: AnyMount, service: str, project: str) -> list[str]:
    """How a mount may be acknowledged, the best name first. An anonymous volume has another name
    each time its container is made again, so its place in the service names it."""
    place = f"{service}:{mount.destination}"
    if mount.type == "volume":
        anonymous = _is_anonymous(mount)
        short = mount.volume[len(project) + 1 :] if mount.volume.startswith(f"{project}_") else ""
        return [name for name in ([place, mount.volume] if anonymous else [mount.volume, short, place]) if name]
    return [name for name in (mount.source.rstrip("/"), place) if name]


def _is_anonymous(mount: AnyMount) -> bool:
    return not mount.volume or (len(mount.volume) == 64 and not mount.volume.strip("0123456789abcdef"))


def holds_data(mount: AnyMount) -> bool:
    """Whether a container can write files into a mount that outlive it."""
    if not mount.rw or mount.type not in ("volume", "bind"):
        return False
    if mount.type == "volume":
        # An image declares volumes for uses that this container may not make of it.
        return not (_is_anonymous(mount) and _is_empty(mount.source))
    source = PurePosixPath(mount.source)
    if not mount.source or any(is_within(source, PurePosixPath(system)) for system in _SYSTEM):
        return False
    try:
        mode = os.stat(mount.source).st_mode
    except OSError:
        return True
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _is_empty(directory: str) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def _mount_covered(mount: AnyMount, covered: Covered) -> bool:
    if mount.volume and mount.volume in covered.volumes:
        return True
    if not mount.source:
        return False
    source = PurePosixPath(os.path.realpath(mount.source))
    paths = [PurePosixPath(os.path.realpath(path)) for path in covered.paths]
    if any(is_within(source, path) for path in paths):
        return True
    inside = {str(path) for path in paths if is_within(path, source)}
    return bool(inside) and not _has_strays(Path(source), inside)


def _has_strays(directory: Path, covered: set[str]) -> bool:
    """Whether there is a file that belongs to none of the covered paths (nor beside a SQLite file)."""
    sidecars = {path + end for path in covered for end in ("-wal", "-shm", "-journal")}
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return True
    for entry in entries:
        if entry.path in covered or entry.path in sidecars:
            continue
        if not entry.is_dir(follow_symlinks=False) or _has_strays(Path(entry.path), covered):
            return True
    return False


# Units and env files --------------------------------------------------------------------------------


def _of_unit(unit: str, covered: Covered) -> list[Uncovered]:
    if not unit.endswith(".service"):
        return []
    properties = systemd.show(unit, "Environment", "EnvironmentFiles", "ReadWritePaths", "StateDirectory")
    found = list(host_findings(systemd.environment_of(unit, properties), unit, covered))
    states = [f"/var/lib/{name}" for name in systemd.first(properties, "StateDirectory").split()]
    for path in (*states, *(word.lstrip("-+") for word in systemd.first(properties, "ReadWritePaths").split())):
        mount = Mount("bind", path, path, True)
        if os.path.isdir(path) and holds_data(mount) and not _mount_covered(mount, covered) and os.listdir(path):
            found.append(Uncovered(PATH, path.rstrip("/"), f"{unit} writes to it"))
    return found


def host_findings(variables: Mapping[str, str], where: str, covered: Covered) -> Iterator[Uncovered]:
    """Servers and buckets that variables of something on this host point to."""
    for pointer in pointers(variables):
        if _is_data(pointer) and pointer.host and not _host_covered(pointer, covered):
            yield _server(pointer, f"{pointer.variable} of {where}", variables)
    for variable, bucket in buckets(variables):
        yield Uncovered(BUCKET, bucket, f"{variable} of {where}")


def _env_files(paths: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path in paths:
        values.update(dotenv.read(Path(path)).values(values))
    return values
