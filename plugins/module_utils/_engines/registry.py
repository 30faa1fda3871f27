# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""All engines by name. Plain imports, because a module's payload is built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from .._core.context import Context
from .._core.errors import Refused
from .._core.model import Datastore
from .._platform.application import Application
from .base import Engine
from .files import Files
from .mariadb import MariaDB
from .mongodb import MongoDB
from .mysql_server import MySQL
from .postgresql import PostgreSQL
from .redis import Redis
from .sqlite import SQLite

Kind = Union[
    type[Files],
    type[MariaDB],
    type[MongoDB],
    type[MySQL],
    type[PostgreSQL],
    type[Redis],
    type[SQLite],
]

KINDS: Mapping[str, Kind] = {
    "files": Files,
    "mariadb": MariaDB,
    "mongodb": MongoDB,
    "mysql": MySQL,
    "postgresql": PostgreSQL,
    "redis": Redis,
    "sqlite": SQLite,
}

# Engines of one family: each takes the other's dump where a change of flavour is allowed.
KIN: Mapping[str, str] = {"mariadb": "mysql", "mysql": "mariadb"}


def engine_for(datastore: Datastore, context: Context, application: Application) -> Engine:
    """The engine of one datastore; no connection is made."""
    kind = KINDS.get(datastore.engine)
    if kind is None:
        raise Refused(f"there is no engine {datastore.engine}", hint=f"There are {', '.join(sorted(KINDS))}.")
    return kind(datastore, context, application)
