# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The swap: the backup's keys into spare databases of the live server, and all exchanged in one transaction.

Each spare database carries a mark, a key that says whose it is and on which side of the swap it stands:

- `RUN:stage`: it holds (a part of) what is to come. The live databases are as they were.
- `RUN:old`: it was swapped, and holds what was live.

The mark changes in the transaction that swaps, so whoever comes after a kill, of ours or of the server,
needs nothing but the mark. An append-only file and a replica get the same transaction.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ..._core import drivers
from ..._core.errors import Mismatch, OpsError, Refused
from ..._core.journal import Step
from ..._core.model import Json
from ..._core.sizes import readable
from .connection import EXPIRES_AT, Keyspace, Missing, Way, connected, keyspaces, number_of_databases

BATCH = 500  # keys that are asked for at once
CHUNK = 8 << 20  # bytes of their contents that are under way at once
SAVE_TIMEOUT = 3600  # seconds
STAGE, OLD = "stage", "old"
_SPARE_ROOM = 1 << 20

_DUMP = (
    EXPIRES_AT
    + """
local out, size = {}, 0
for _, key in ipairs(KEYS) do
  local content = redis.call('DUMP', key)
  out[#out + 1] = {content or '', expires_at(key)}
  size = size + #(content or '')
  if size > tonumber(ARGV[1]) then break end
end
return out
"""
)


@dataclasses.dataclass(frozen=True)
class Live:
    """The live server as a swap sees it. `mark`: the key of the marks; `room`: refuses what does not fit."""

    way: Way
    mark: str
    run_id: str
    warn: Callable[[str], None]

    def value(self, side: str) -> bytes:
        return f"{self.run_id}:{side}".encode()


def choose(way: Way, databases: Sequence[int]) -> list[list[int]]:
    """A spare database for each; the highest empty ones, which nobody uses."""
    number = number_of_databases(way)
    with connected(way) as client:
        held = keyspaces(client)
    beyond = [database for database in databases if database >= number]
    if beyond:
        raise Refused(
            f"the server has {number} databases, and the backup holds database {max(beyond)}",
            hint="Raise the setting databases of the server, and restart it.",
        )
    spares = [one for one in range(number - 1, -1, -1) if one not in held and one not in databases]
    if len(spares) < len(databases):
        raise Refused(
            f"{len(databases)} empty databases are needed beside the live ones, and {len(spares)} of {number} are there",
            hint="Raise the setting databases of the server, and restart it.",
        )
    return [[database, spare] for database, spare in zip(databases, spares)]


def check_room(memory: Mapping[str, Any], need: int, limit: int, free: Optional[int]) -> None:
    """Refuse what would make the server evict keys, run out of memory, or be killed by the kernel.

    `need`: bytes that the backup's keys take; `limit`: of its container, 0 for none; `free`: on its host.
    """
    used, most = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
    policy = memory.get("maxmemory_policy", "noeviction")
    need += _SPARE_ROOM + need // 20
    advice = (
        "Raise it for the time of the restore, or restore with `into` onto another server. What is live is kept until "
        "the restore is over, so both must fit."
    )
    if most and used + need > most:
        does = "refuse to load it" if policy == "noeviction" else f"evict live keys ({policy})"
        raise Refused(
            f"the backup needs {readable(need)} beside the {readable(used)} in use, more than the server's maxmemory of "
            f"{readable(most)}: it would {does}",
            hint=f"maxmemory: {advice}",
        )
    resident = max(used, int(memory.get("used_memory_rss", 0)))
    if limit and resident + need > limit:
        raise Refused(
            f"the backup needs {readable(need)} beside the {readable(resident)} in use, more than the container's memory limit "
            f"of {readable(limit)}: the kernel would kill the server",
            hint=f"The container's memory limit: {advice}",
        )
    if free is not None and need > free:
        raise Refused(
            f"the backup needs {readable(need)} of memory, and {readable(free)} are free on the host", hint="Free some."
        )


def may_swap(client: Any) -> None:
    """Whether the user's rights suffice, found by commands that change nothing."""
    errors = drivers.redis().exceptions
    client.execute_command("SWAPDB", 0, 0)
    with contextlib.suppress(errors.ResponseError):
        try:
            client.execute_command("RESTORE", "day2", 0, b"nothing")
        except errors.NoPermissionError as error:
            raise Missing(
                f"the user may not restore keys: {error}", hint="It needs +restore on all keys (~*)."
            ) from None


# Loading the spare databases ---------------------------------------------------------------------------


def load(source: Way, live: Live, pairs: Sequence[Sequence[int]]) -> None:
    """Copy the databases of the throwaway server `source` into the spare ones."""
    with connected(source) as client:
        held = keyspaces(client)
    before = _evicted(live)
    for database, spare in pairs:
        with connected(live.way, spare) as target:
            if target.get(live.mark) != live.value(STAGE):
                raise OpsError(f"database {spare} has lost its mark while it was loaded", hint="Who else writes to it?")
            if database in held:
                with connected(source, database) as origin:
                    _copy(origin, target)
    if _evicted(live) != before:
        raise OpsError("the server evicted keys while the backup was loaded", hint="Raise its maxmemory.")
    with connected(source) as origin, connected(live.way) as target:
        here, there = keyspaces(origin), keyspaces(target)
    for database, spare in pairs:
        _compare(database, here.get(database, Keyspace(0, 0)), there.get(spare, Keyspace(0, 0)))


def _evicted(live: Live) -> int:
    with connected(live.way) as client:
        return int(client.info("stats").get("evicted_keys", 0))


def _copy(source: Any, target: Any) -> None:
    cursor: Any = 0
    while True:
        cursor, keys = source.execute_command("SCAN", cursor, "COUNT", BATCH)
        while keys:
            contents = source.eval(_DUMP, len(keys), *keys, CHUNK)
            pipe = target.pipeline(transaction=False)
            for key, (content, until) in zip(keys, contents):
                if content:
                    pipe.execute_command("RESTORE", key, max(until, 0), content, "REPLACE", "ABSTTL")
            pipe.execute()
            keys = keys[len(contents) :]
        if int(cursor) == 0:
            return


def _compare(database: int, here: Keyspace, there: Keyspace) -> None:
    """Every key was checked by its own checksum as it came; here, that none is missing. Of those that
    expire, some may have meanwhile."""
    expected, found = here.keys - here.expires, there.keys - there.expires - 1  # the mark
    if (not here.soft and found != expected) or there.expires > here.expires:
        raise Mismatch(
            f"database {database}: {expected} keys without expiry were copied, {found} arrived",
            hint="Did something else write to the spare database?",
        )


# Swapping ------------------------------------------------------------------------------------------------


def swap(source: Way, live: Live, databases: Sequence[int], functions: Optional[bytes], step: Step) -> None:
    """`functions`: FUNCTION DUMP of the backup, when the whole server is restored."""
    pairs = choose(live.way, databases)
    with connected(live.way) as client:
        old = _functions_of(client) if functions is not None else None
    if functions is not None and old is None:
        functions = None
        live.warn("the server knows no functions (Redis 7 does), so those of the backup were not restored")
    step.save(pairs=pairs, functions=_text(functions), old_functions=_text(old))
    for _database, spare in pairs:
        with connected(live.way, spare) as client:
            if client.dbsize() or not client.set(live.mark, live.value(STAGE), nx=True):
                raise OpsError(
                    f"database {spare} is not empty any more", hint="Who writes to it? Run the restore again."
                )
    load(source, live, pairs)
    _exchange(live, pairs, OLD, functions)


def undo(live: Live, data: Json) -> None:
    """Back to what was live, and the spare databases empty; by the marks alone."""
    pairs = data.get("pairs") or []
    swapped = [pair for pair in pairs if _side(live, pair[1]) == OLD]
    if swapped:
        old = data.get("old_functions")
        _exchange(live, swapped, STAGE, base64.b64decode(old) if old else None)
    _empty(live, pairs, STAGE)


def finish(live: Live, data: Json) -> None:
    """What was live goes."""
    _empty(live, data.get("pairs") or [], OLD)
    with connected(live.way) as client:
        persist(client, live.warn)  # a crash would bring it back into the spare databases


def _exchange(live: Live, pairs: Sequence[Sequence[int]], side: str, functions: Optional[bytes]) -> None:
    """All pairs at once; afterwards the spare databases' marks say `side`."""
    with connected(live.way) as client:
        pipe = client.pipeline(transaction=True)
        if functions is not None:
            pipe.execute_command("FUNCTION", "RESTORE", functions, "FLUSH")
        for database, spare in pairs:
            pipe.execute_command("SELECT", spare)
            pipe.execute_command("DEL", live.mark)
            pipe.execute_command("SWAPDB", database, spare)  # the connection stays in number `spare`
            pipe.execute_command("SET", live.mark, live.value(side))
        pipe.execute()
    with connected(live.way) as client:
        persist(client, live.warn)


def _side(live: Live, spare: int) -> str:
    with connected(live.way, spare) as client:
        value = client.get(live.mark) or b""
    return next((side for side in (STAGE, OLD) if value == live.value(side)), "")


def _empty(live: Live, pairs: Sequence[Sequence[int]], side: str) -> None:
    for _database, spare in pairs:
        if _side(live, spare) == side:
            flush(live.way, spare, last=live.mark)


def _functions_of(client: Any) -> Optional[bytes]:
    errors = drivers.redis().exceptions
    try:
        return bytes(client.execute_command("FUNCTION", "DUMP"))
    except errors.NoPermissionError:
        raise
    except errors.ResponseError:  # older than 7: there are none
        return None


def _text(content: Optional[bytes]) -> Optional[str]:
    return base64.b64encode(content).decode() if content is not None else None


def marked(way: Way, mark: str) -> dict[int, str]:
    """The databases that carry a mark of this datastore's, with its value."""
    found = {}
    with connected(way) as client:
        held = keyspaces(client)
    for database in held:
        with connected(way, database) as client:
            value = client.get(mark)
        if value:
            found[database] = bytes(value).decode(errors="replace")
    return found


def flush(way: Way, database: int, last: Optional[str] = None) -> None:
    """Empty a database, by SCAN and UNLINK where the user may not flush; the key `last` goes last."""
    errors = drivers.redis().exceptions
    with connected(way, database) as client:
        try:
            client.execute_command("FLUSHDB", "ASYNC")
        except errors.ResponseError as error:
            denied = isinstance(error, errors.NoPermissionError) or "unknown command" in str(error).lower()
            if not denied:
                raise
            _unlink_all(client, last)


def _unlink_all(client: Any, last: Optional[str]) -> None:
    keep = last.encode() if last else None
    cursor: Any = 0
    while True:
        cursor, keys = client.execute_command("SCAN", cursor, "COUNT", BATCH)
        keys = [key for key in keys if key != keep]
        if keys:
            client.execute_command("UNLINK", *keys)
        if int(cursor) == 0:
            break
    if keep is not None:
        client.execute_command("UNLINK", keep)


def persist(client: Any, warn: Callable[[str], None]) -> None:
    """Make what was done durable, as far as this server keeps anything: a crash must not bring back the
    state before, nor half of it.

    With an append-only file the transaction is in it; it is waited for until it is on the disk. Without
    one, an RDB file is written when the server writes such files at all.
    """
    errors = drivers.redis().exceptions
    info = client.info("persistence")
    try:
        if int(info.get("aof_enabled", 0)):
            _wait_for_file(client)
        elif _saves(client, info):
            _save(client)
    except errors.NoPermissionError as error:
        warn(
            f"the server was not made to save what was restored ({error}); it does so by itself at its next save point"
        )


def _saves(client: Any, info: Mapping[str, Any]) -> bool:
    errors = drivers.redis().exceptions
    try:
        return bool(client.config_get("save").get("save", ""))
    except errors.ResponseError:  # denied, or renamed: a server that never saved since its start may still do
        return True


def _wait_for_file(client: Any) -> None:
    errors = drivers.redis().exceptions
    try:
        client.execute_command("WAITAOF", 1, 0, 10000)  # 7.2
        return
    except errors.ResponseError:
        pass
    # everysec is the rarest that promises anything; an fsync in the background may take longer.
    time.sleep(1.1)
    until = time.monotonic() + 60
    while int(client.info("persistence").get("aof_pending_bio_fsync", 0)) and time.monotonic() < until:
        time.sleep(0.1)


def _save(client: Any) -> None:
    errors = drivers.redis().exceptions
    until = time.monotonic() + SAVE_TIMEOUT
    _wait_for_save(client, until)
    try:
        client.execute_command("BGSAVE")
    except errors.NoPermissionError:
        raise
    except errors.ResponseError as error:
        if "in progress" not in str(error):
            raise
        client.execute_command("BGSAVE", "SCHEDULE")
    _wait_for_save(client, until)
    if client.info("persistence").get("rdb_last_bgsave_status") != "ok":
        raise OpsError(
            "the server could not save what was restored",
            hint="Look into its log: is its disk full, or may it not fork?",
        )


def _wait_for_save(client: Any, until: float) -> None:
    while int(client.info("persistence").get("rdb_bgsave_in_progress", 0)):
        if time.monotonic() > until:
            raise OpsError("the server did not end its save in an hour")
        time.sleep(0.1)
