# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MongoDB, by the application's own user: does it answer, is it the primary, how far are the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from ..._core.errors import OpsError
from ..._engines.mongodb import MongoDB
from ..._engines.mongodb.connection import Mongo
from .. import servers, thresholds
from ..model import CRIT, OK, WARN, Finding
from ..probe import Group, Options, Probe


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    engine = servers.engine_of(options, probe, MongoDB)
    try:
        with servers.asked(), engine.session() as mongo:
            mongo.command("ping")
            mongo.command("listCollections", nameOnly=True)  # a ping needs no login
            version = str(mongo.admin("buildInfo").get("version", ""))
            yield Finding(OK, f"MongoDB {version} answers", version)
            yield from _connections(options, mongo)
            yield from _replicas(options, mongo)
    except servers.Down as error:
        yield Finding(CRIT, str(error))
    except OpsError as error:
        yield Finding(CRIT, error.what)


def _admin(mongo: Mongo, command: str) -> Optional[dict[str, Any]]:
    """None where the user may not ask, or the server does not know the command."""
    try:
        return mongo.admin(command)
    except OpsError:
        return None


def _connections(options: Options, mongo: Mongo) -> Iterator[Finding]:
    counts = (_admin(mongo, "serverStatus") or {}).get("connections") or {}
    current, available = counts.get("current"), counts.get("available")
    if current is None or not available:
        return
    text = f"{current} of {current + available} connections"
    warn, crit = options["connections_warn"], options["connections_crit"]
    share = round(100 * current / (current + available), 1)
    yield thresholds.above(share, warn, crit, text, unit="%", part="connections")


def _replicas(options: Options, mongo: Mongo) -> Iterator[Finding]:
    hello = _admin(mongo, "hello") or {}
    if not hello.get("setName"):
        return
    if not hello.get("isWritablePrimary"):
        yield Finding(WARN, "this server is not the primary: it takes no writes", part="primary")
    status = _admin(mongo, "replSetGetStatus")
    if status is not None:
        yield from replication(options, status)


def replication(options: Options, status: dict[str, Any]) -> Iterator[Finding]:
    """From `replSetGetStatus`."""
    members = status.get("members") or []
    bad = [str(one["name"]) for one in members if one.get("health") != 1 or one.get("stateStr") in ("DOWN", "ROLLBACK")]
    if bad:
        yield Finding(CRIT, f"members of the replica set are away: {', '.join(bad)}", part="members")
    primary = next((one for one in members if one.get("stateStr") == "PRIMARY"), None)
    if primary is None:
        yield Finding(CRIT, "the replica set has no primary", part="replication")
        return
    behind = [
        (primary["optimeDate"] - one["optimeDate"]).total_seconds()
        for one in members
        if one.get("stateStr") == "SECONDARY" and one.get("optimeDate")
    ]
    if behind:
        lag = max(0.0, *behind)
        text = f"the slowest member is {lag:.0f} s behind"
        yield thresholds.above(lag, options["lag_warn"], options["lag_crit"], text, unit="s", part="replication")


GROUP = Group(
    "mongodb",
    {
        **servers.STORE,
        **servers.LOGIN,
        **servers.CONNECTIONS,
        "lag_warn": {"type": "float", "default": 30.0},
        "lag_crit": {"type": "float", "default": 300.0},
    },
    look,
)
