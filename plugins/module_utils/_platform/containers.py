# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What Docker knows about containers and volumes, as plain values; and which of them a user means.

Nothing here asks Docker (`docker.py` does), so all of it works on recorded answers.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Optional

from .._core.errors import Unavailable

_COMPOSE = "com.docker.compose."


@dataclasses.dataclass(frozen=True)
class Mount:
    """`source` is a path on the host (for a volume too), "" for a tmpfs; `volume` its name or ""."""

    type: str
    source: str
    destination: str
    rw: bool
    volume: str = ""


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One network of a container. `links`: alias → container, as `--link` and `links:` make them."""

    network: str
    network_id: str
    addresses: tuple[str, ...]
    aliases: tuple[str, ...]
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Published:
    """A port of the container that the host forwards."""

    port: int
    host_address: str
    host_port: int


@dataclasses.dataclass(frozen=True)
class Listed:
    """What a listing says of a container; enough to choose one."""

    id: str
    name: str
    state: str  # created | running | paused | restarting | exited | dead
    labels: Mapping[str, str]

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def project(self) -> str:
        return self.labels.get(_COMPOSE + "project", "")

    @property
    def service(self) -> str:
        return self.labels.get(_COMPOSE + "service", "")

    @property
    def oneoff(self) -> bool:
        """Whether `docker compose run` made it."""
        return self.labels.get(_COMPOSE + "oneoff", "").lower() == "true"

    @property
    def number(self) -> int:
        """Of the replica, for an order that does not change."""
        number = self.labels.get(_COMPOSE + "container-number", "")
        return int(number) if number.isdigit() else 0

    @property
    def reference(self) -> str:
        """How a user writes it: PROJECT/SERVICE, or its name."""
        return f"{self.project}/{self.service}" if self.project and self.service and not self.oneoff else self.name


@dataclasses.dataclass(frozen=True)
class Container(Listed):
    """All of a container that this collection looks at. `env` may hold secrets."""

    health: str  # "" where the image has no check, else starting | healthy | unhealthy
    exit_code: int
    pid: int  # of its first process in the host's PID namespace; 0 when it does not run
    image: str
    image_id: str
    hostname: str
    network_mode: str
    restart_policy: str
    env: Mapping[str, str] = dataclasses.field(repr=False)
    mounts: tuple[Mount, ...]
    networks: tuple[Attachment, ...]
    published: tuple[Published, ...]
    extra_hosts: Mapping[str, str]
    tmpfs: tuple[str, ...]
    restarts: int = 0  # by its restart policy, since it was made
    out_of_memory: bool = False  # its last end
    log: str = ""  # the file of its output on the host; "" where the logging driver has none

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for network in self.networks for address in network.addresses)

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which other containers may reach it, without duplicates."""
        found = [self.name, self.service, *(alias for network in self.networks for alias in network.aliases)]
        return tuple(dict.fromkeys(name for name in found if name))

    def mount_of(self, path: str) -> Optional[Mount]:
        """The mount that holds a path inside the container, the innermost where mounts nest."""
        inside = PurePosixPath(path)
        holding = [mount for mount in self.mounts if is_within(inside, PurePosixPath(mount.destination))]
        return max(holding, key=lambda mount: len(PurePosixPath(mount.destination).parts), default=None)

    def host_path(self, path: str) -> Optional[Path]:
        """Where a path of a mount is on the host, whether the container runs or not; None without a mount."""
        mount = self.mount_of(path)
        if mount is None or not mount.source:
            return None
        return Path(mount.source) / PurePosixPath(path).relative_to(mount.destination)


@dataclasses.dataclass(frozen=True)
class Volume:
    name: str
    driver: str
    mountpoint: Path
    options: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The directory with its content. A volume that is a bind mount is at its device: Docker mounts
        it at `mountpoint` only while a container uses it, and the directory looks empty otherwise."""
        if "bind" in self.options.get("o", "").split(",") and self.options.get("device"):
            return Path(self.options["device"])
        return self.mountpoint

    @property
    def mounted_on_demand(self) -> bool:
        """Whether its content (NFS, a device, another driver) is there only while a container runs."""
        return self.driver != "local" or (bool(self.options.get("device")) and self.path == self.mountpoint)


def is_within(path: PurePosixPath, parent: PurePosixPath) -> bool:
    return path == parent or parent in path.parents


# Understanding --------------------------------------------------------------------------------------


def parse_listed(summary: Mapping[str, Any]) -> Listed:
    """From one entry of `GET /containers/json`."""
    # A container's links show up as further names (/other/alias); its own has one slash only.
    names = [name[1:] for name in summary.get("Names") or [] if "/" not in name[1:]]
    return Listed(summary["Id"], names[0] if names else summary["Id"][:12], summary["State"], summary["Labels"] or {})


def parse(inspected: Mapping[str, Any]) -> Container:
    """From `docker inspect`."""
    state, config, host = inspected["State"], inspected["Config"], inspected["HostConfig"]
    settings = inspected.get("NetworkSettings") or {}
    health = (state.get("Health") or {}).get("Status", "")
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        state=state["Status"],
        labels=config.get("Labels") or {},
        health="" if health == "none" else health,
        exit_code=state.get("ExitCode", 0),
        pid=state.get("Pid", 0),
        image=config.get("Image", ""),
        image_id=inspected.get("Image", ""),
        hostname=config.get("Hostname", ""),
        network_mode=host.get("NetworkMode", ""),
        restart_policy=(host.get("RestartPolicy") or {}).get("Name") or "no",
        env=dict(_pair(entry) for entry in config.get("Env") or []),
        mounts=tuple(_mount(mount) for mount in inspected.get("Mounts") or []),
        networks=tuple(_attachment(name, data) for name, data in (settings.get("Networks") or {}).items()),
        published=tuple(_published(settings.get("Ports") or {})),
        extra_hosts=dict(_host(entry) for entry in host.get("ExtraHosts") or []),
        tmpfs=tuple(host.get("Tmpfs") or {}),
        restarts=int(inspected.get("RestartCount") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        log=inspected.get("LogPath") or "",
    )


def _pair(entry: str) -> tuple[str, str]:
    name, _rest, value = entry.partition("=")
    return name, value


def _host(entry: str) -> tuple[str, str]:
    # `name:address`, and `name=address` from newer clients; an IPv6 address has colons of its own.
    name, _rest, address = entry.partition("=") if "=" in entry else entry.partition(":")
    return name, address.strip("[]")


def _mount(mount: Mapping[str, Any]) -> Mount:
    return Mount(
        type=mount["Type"],
        source=mount.get("Source", ""),
        destination=mount["Destination"],
        rw=bool(mount.get("RW")),
        volume=mount.get("Name", "") if mount["Type"] == "volume" else "",
    )


def _attachment(name: str, data: Mapping[str, Any]) -> Attachment:
    addresses = [data.get("IPAddress"), data.get("GlobalIPv6Address")]
    aliases = [*(data.get("Aliases") or []), *(data.get("DNSNames") or [])]
    links = {alias: target for target, _rest, alias in (entry.partition(":") for entry in data.get("Links") or [])}
    return Attachment(
        network=name,
        network_id=data.get("NetworkID", ""),
        addresses=tuple(address for address in addresses if address),
        aliases=tuple(dict.fromkeys(aliases)),
        links=links,
    )


def _published(ports: Mapping[str, Any]) -> Iterator[Published]:
    for port, bindings in ports.items():
        for binding in bindings or []:
            yield Published(int(port.split("/")[0]), binding.get("HostIp", ""), int(binding["HostPort"]))


# Choosing -------------------------------------------------------------------------------------------


def matching(reference: str, containers: Sequence[Listed]) -> list[Listed]:
    """The containers that a user's `NAME` or `PROJECT/SERVICE` means; running ones first.

    One-off containers (`docker compose run`) are not the service, though they carry its labels.
    """
    if "/" in reference:
        project, _rest, service = reference.partition("/")
        found = [one for one in containers if (one.project, one.service) == (project, service) and not one.oneoff]
    else:
        found = [one for one in containers if one.name == reference]
    return sorted(found, key=lambda one: (not one.running, one.number, one.name))


def missing(reference: str, containers: Sequence[Listed]) -> Unavailable:
    """The error for a reference that means nothing, with the nearest that do."""
    known = sorted({one.name for one in containers} | {one.reference for one in containers})
    near = difflib.get_close_matches(reference, known, 3, cutoff=0.5)
    # `booking` or `db`, where `booking/db` is meant, is not close by letters alone.
    near += [name for name in known if reference in name.split("/") and name not in near]
    if near:
        hint = f"Did you mean {' or '.join(near[:4])}?"
    elif known:
        hint = f"There are: {', '.join(known[:12])}."
    else:
        hint = "This Docker engine has no containers at all."
    what = f'service "{reference}" has no container' if "/" in reference else f'there is no container "{reference}"'
    return Unavailable(f"{what} on this host", hint=hint)


def not_running(container: Listed, exit_code: Optional[int] = None) -> Unavailable:
    ended = f" (it ended with {exit_code})" if container.state == "exited" and exit_code is not None else ""
    hint = {
        "paused": f"Wake it up with docker unpause {container.name}.",
        "restarting": f"It starts over and over; see docker logs {container.name}.",
    }.get(container.state, f"Start it, or see docker logs {container.name}.")
    return Unavailable(f"container {container.name} is not running but {container.state}{ended}", hint=hint)


def same_mounts(containers: Sequence[Container]) -> bool:
    """Whether it does not matter which of these is asked for its files."""
    sources = {tuple(sorted(mount.source for mount in container.mounts if mount.rw)) for container in containers}
    return len(sources) == 1 and any(sources)
