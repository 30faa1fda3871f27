# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From a datastore's description to a way in: where its tools run, how a driver reaches its server."""

from __future__ import annotations

import dataclasses
from typing import Optional

from .._core.context import Context
from .._core.model import Datastore
from .._core.place import Place
from .application import Application


@dataclasses.dataclass(frozen=True)
class Access:
    """One way into a server.

    `place` is where the native tools run (its container, or this host). `host`, `port`, `socket` are for
    a driver on this host; `tool_host`, `tool_port`, `tool_socket` for a tool at the place (all None inside
    a container: the tool's default local socket). `hosts` are all names and addresses under which clients
    may know the server. `container` is the id of the server's container.
    """

    place: Place
    user: Optional[str] = None
    password: Optional[str] = None
    database: Optional[str] = None
    host: Optional[str] = None
    port: Optional[int] = None
    socket: Optional[str] = None
    tool_host: Optional[str] = None
    tool_port: Optional[int] = None
    tool_socket: Optional[str] = None
    hosts: tuple[str, ...] = ()
    container: Optional[str] = None


def resolve(datastore: Datastore, context: Context, application: Application, port: int) -> Access:
    """The way into a datastore's server; `port` is the engine's default.

    Passwords that are found are added to `context.secrets`. Errors name the container or variable that
    is missing, and the nearest names that exist.
    """
    raise NotImplementedError
