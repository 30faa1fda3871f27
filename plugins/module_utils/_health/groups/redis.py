# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Redis and Valkey, by the application's own user: does it answer, take writes, keep what it is given, and hit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._core import drivers
from ..._core.errors import OpsError
from ..._core.sizes import readable
from ..._engines.redis import Redis
from ..._engines.redis.connection import connected
from .. import servers, thresholds
from ..model import CRIT, OK, SKIPPED, WARN, Finding
from ..probe import Group, Options, Probe

_FEW = 100  # reads, below which a hit rate says nothing


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    engine = servers.engine_of(options, probe, Redis)
    try:
        with servers.asked(), connected(engine.way) as client:
            client.ping()
            yield Finding(OK, f"{engine.way.label} answers")
            if options["write"]:
                yield _write(client, f"day2:health:{probe.scene.context.run_id}")
            try:
                info = client.info("everything")
            except _errors().NoPermissionError:
                yield Finding(SKIPPED, "the user may not ask INFO, so no more is known", part="info")
                return
            yield from _memory(options, info, engine.datastore.content == "cache")
            yield from _saved(info)
            yield from _link(info)
            yield from _hits(options, probe, info)
    except servers.Down as error:
        yield Finding(CRIT, str(error))
    except OpsError as error:
        yield Finding(CRIT, error.what)


def _write(client: Any, key: str) -> Finding:
    """A key of its own that ends by itself after five seconds, and is removed at once."""
    errors = _errors()
    try:
        client.set(key, "1", ex=5)
        client.delete(key)
    except errors.NoPermissionError:
        return Finding(SKIPPED, "the user may not set a key of its own, so no write was tried", part="write")
    except errors.ResponseError as error:
        return Finding(CRIT, f"a write fails: {str(error)[:200]}", part="write")
    return Finding(OK, "a key can be set", part="write")


def _errors() -> Any:
    return drivers.redis().exceptions


def _memory(options: Options, info: Mapping[str, Any], cache: bool) -> Iterator[Finding]:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        text = f"{readable(used)} used, and no limit (maxmemory 0): it grows until the machine is full"
        yield Finding(WARN if options["memory_limit_required"] else OK, text, used, "B", part="memory")
    elif not cache:
        share = round(100 * used / most, 1)
        text = f"{readable(used)} of {readable(most)} used"
        yield thresholds.above(share, options["memory_warn"], options["memory_crit"], text, unit="%", part="memory")
    else:  # a cache that is full does its work
        yield Finding(OK, f"{readable(used)} of {readable(most)} used", used, "B", part="memory")


def _saved(info: Mapping[str, Any]) -> Iterator[Finding]:
    wrong = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
        if info.get(name, "ok") != "ok"
    ]
    if wrong:
        yield Finding(CRIT, f"it could not write its data to the disk ({', '.join(wrong)})", part="saved")
    else:
        yield Finding(OK, "its last write to the disk went well", part="saved")


def _link(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") != "slave":
        return
    if info.get("master_link_status") != "up":
        yield Finding(CRIT, "it is a replica, and its primary is away", part="replication")
    else:
        yield Finding(OK, "it is a replica, and its primary is there", part="replication")


def _hits(options: Options, probe: Probe, info: Mapping[str, Any]) -> Iterator[Finding]:
    """Since the last run, not since the server began."""
    names = {"hits": "keyspace_hits", "misses": "keyspace_misses", "evicted": "evicted_keys"}
    now = {name: int(info.get(key, 0)) for name, key in (*names.items(), ("rejected", "rejected_connections"))}
    probe.remember(**now)
    if any(name not in probe.before or now[name] < probe.before[name] for name in now):
        return
    since = {name: now[name] - probe.before[name] for name in now}
    reads = since["hits"] + since["misses"]
    if options["hit_rate_warn"] is not None and reads >= _FEW:
        share = round(100 * since["hits"] / reads, 1)
        text = f"{share} % of {reads} reads since the last run found something"
        yield thresholds.below(share, options["hit_rate_warn"], None, text, unit="%", part="hits")
    if since["rejected"]:
        yield Finding(CRIT, f"{since['rejected']} connections were refused since the last run", part="rejected")
    if since["evicted"]:
        text = f"{since['evicted']} keys were evicted for want of memory since the last run"
        yield Finding(WARN, text, since["evicted"], part="evicted")


GROUP = Group(
    "redis",
    {
        **servers.STORE,
        **servers.LOGIN,
        "write": {"type": "bool", "default": True},
        "memory_warn": {"type": "float", "default": 85.0},
        "memory_crit": {"type": "float", "default": 95.0},
        "memory_limit_required": {"type": "bool", "default": False},
        "hit_rate_warn": {"type": "float"},
    },
    look,
)
