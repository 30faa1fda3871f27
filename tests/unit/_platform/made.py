# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as tests describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.day2.ops.plugins.module_utils._platform.containers import (
    Attachment,
    Container,
    Mount,
    Published,
)

NET = "network-booking"


def container(
    service: str,
    *,
    project: str = "booking",
    env: Optional[Mapping[str, str]] = None,
    mounts: Sequence[Mount] = (),
    address: str = "172.21.0.9",
    aliases: Sequence[str] = (),
    network: str = NET,
    mode: str = "",
    image: str = "booking/web:1.4",
    published: Sequence[Published] = (),
    extra_hosts: Optional[Mapping[str, str]] = None,
    links: Optional[Mapping[str, str]] = None,
    oneoff: bool = False,
    state: str = "running",
) -> Container:
    name = f"{project}-{service}-1"
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.oneoff": str(oneoff),
    }
    attached = Attachment(network, network, (address,), (name, service, *aliases), dict(links or {}))
    return Container(
        id=f"id-of-{name}",
        name=name,
        state=state,
        labels=labels,
        health="",
        exit_code=0,
        pid=4711,
        image=image,
        image_id="sha256:0",
        hostname="0123456789ab",
        network_mode=mode or network,
        restart_policy="no",
        env=dict(env or {}),
        mounts=tuple(mounts),
        networks=() if mode == "host" or mode.startswith("container:") else (attached,),
        published=tuple(published),
        extra_hosts=dict(extra_hosts or {}),
        tmpfs=(),
    )


def volume(name: str, destination: str = "/data", rw: bool = True) -> Mount:
    return Mount("volume", f"/var/lib/docker/volumes/{name}/_data", destination, rw, name)


def bind(source: str, destination: str = "/app/data", rw: bool = True) -> Mount:
    return Mount("bind", source, destination, rw)
