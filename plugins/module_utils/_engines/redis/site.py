# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Where a live server is, and with what it is worked on there: its client, its throwaway twin, its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..._core.context import Context
from ..._core.errors import Unavailable
from ..._core.place import HostPlace, Place
from ..._platform.access import LOCAL, Access
from ..._platform.docker import Docker
from . import dump, swap, throwaway
from .connection import Version, Way, live_way
from .throwaway import Kind


class Site:
    """`options` are the datastore's own."""

    def __init__(self, access: Access, options: Mapping[str, Any], context: Context, port: int) -> None:
        self.access = access
        self.context = context
        asked = options.get("tls")
        by_url = access.url is not None and access.url.scheme in ("rediss", "valkeys")
        self._tls = by_url if asked is None else bool(asked)
        self._authority: Optional[str] = options.get("tls_ca")
        self._port = int(options.get("port") or port)

    @property
    def place(self) -> Place:
        return self.access.place

    @property
    def way(self) -> Way:
        return live_way(self.access, self._tls, self._authority)

    def cli(self, live: Version) -> dump.Cli:
        program = dump.need(self.place, _of(live, dump.CLI), "A backup")
        return dump.Cli(program, self.access, self._port, self._tls, self._authority)

    def cli_version(self, live: Version) -> str:
        return numbers(self.place.run([self.cli(live).program, "--version"], timeout=60).text)

    def kind(self, live: Version) -> Kind:
        """The throwaway server: from the live container's image, or this host's own program."""
        names = _of(live, dump.SERVER)
        if self.access.container:
            with Docker() as docker:
                container = docker.inspect(self.access.container)
            if container is None:
                raise Unavailable(f"{self.place.label} is gone")
            return Kind(dump.need(self.place, names, "A throwaway server"), live, container.image_id)
        host = HostPlace(self.context)
        program = dump.need(host, names, "A throwaway server, on which a backup is proven,")
        said = host.run([program, "--version"], timeout=60).text
        flavour = "valkey" if said.lower().startswith("valkey") else "redis"
        return Kind(program, Version(flavour, numbers(said)))

    def memory_limit(self) -> int:
        """Bytes; 0 where the server is in no container, or that has no limit."""
        if not self.access.container:
            return 0
        with Docker() as docker:
            return docker.memory_limit(self.access.container)

    def check_room(self, info: Mapping[str, Any], need: int, besides: int = 0) -> None:
        """`besides`: what the throwaway server will take, where it does not run yet."""
        here = self.access.container is not None or self.access.host is None or self.access.host in LOCAL
        free = throwaway.available_memory() if here else None
        swap.check_room(info, need, self.memory_limit(), None if free is None else free - besides)


def _of(version: Version, names: Sequence[str]) -> Sequence[str]:
    """Programs of both flavours, the server's own first."""
    return sorted(names, key=lambda name: not name.startswith(version.flavour))


def numbers(text: str) -> str:
    match = re.search(r"\d+\.\d+(\.\d+)?", text)
    return match[0] if match else ""
