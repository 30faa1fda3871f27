# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a server holds, counted: keys by database and type, those that expire apart, and their sizes.

Keys that expire are gone when their time has passed, which a backup outlives: of them a fingerprint holds
an upper bound, and beside it (`Census.expiries`) how many there must still be at a given time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Optional

from ..._core.drivers import redis
from ..._core.errors import Mismatch, OpsError
from ..._core.model import Fingerprint, TableFingerprint
from .connection import EXPIRES_AT, Keyspace, Way, connected, keyspaces

EXPIRING = ".expiring"
STEPS = 50  # per table, how finely it is kept when its keys expire
BATCH = 500  # keys that one call of the script looks at: about a millisecond of the server's time

# The walk is done in the server, because a key by key conversation takes twenty times as long.
_WALK = (
    EXPIRES_AT
    + """
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local measure = {string='STRLEN', list='LLEN', set='SCARD', zset='ZCARD', hash='HLEN', stream='XLEN'}
local out = {}
for _, key in ipairs(found[2]) do
  local kind = redis.call('TYPE', key)['ok']
  if kind ~= 'none' then
    local size, groups = 0, 0
    if measure[kind] then size = redis.call(measure[kind], key) end
    if kind == 'stream' then groups = #redis.call('XINFO', 'GROUPS', key) end
    out[#out + 1] = {key, kind, expires_at(key), size, groups}
  end
end
return {found[1], out}
"""
)

Expiries = dict[str, list[list[int]]]  # by table: [time in ms, keys that expire then or later], rising


@dataclasses.dataclass(frozen=True)
class Census:
    fingerprint: Fingerprint
    expiries: Expiries


def take(way: Way, databases: Collection[int], level: str, soft: Collection[int] = ()) -> Census:
    """Count these databases. `soft`: of databases where hashes lose fields by themselves, hashes count as
    expiring. Level `full` needs DEBUG (a throwaway server has it)."""
    tally = _Tally(level == "full")
    for database in sorted(databases):
        with connected(way, database) as client:
            tally.add(_steadily(client, database, database in soft, tally.digests))
    return tally.census(level)


def _steadily(client: Any, database: int, soft: bool, digests: bool) -> _Tally:
    for _attempt in range(3):
        part = _walk(client, database, soft, digests)
        held = keyspaces(client).get(database, Keyspace(0, 0))
        # A table that shrinks while it is walked shows a key twice (SCAN's guarantees).
        if part.persistent == held.keys - held.expires + part.softened:
            return part
    raise OpsError(f"database {database} changed while it was counted", hint="Run it again.")


class _Tally:
    def __init__(self, digests: bool) -> None:
        self.digests = digests
        self.rows: dict[str, int] = defaultdict(int)
        self.times: dict[str, list[int]] = defaultdict(list)
        self.sums: dict[str, int] = defaultdict(int)
        self.objects: dict[str, int] = defaultdict(int)
        self.persistent = 0
        self.softened = 0

    def count(self, table: str, kind: str, size: int, groups: int) -> None:
        self.rows[table] += 1
        self.objects["byte" if kind == "string" else "element"] += size
        if groups:
            self.objects["consumer group"] += groups

    def add(self, other: _Tally) -> None:
        for name in ("rows", "sums", "objects"):
            mine = getattr(self, name)
            for key, value in getattr(other, name).items():
                mine[key] += value
        for table, times in other.times.items():
            self.times[table] += times

    def census(self, level: str) -> Census:
        tables = {
            name: TableFingerprint(rows, checksum=f"{self.sums[name] % (1 << 256):064x}" if self.digests else None)
            for name, rows in self.rows.items()
        }
        for name, times in self.times.items():
            tables[name + EXPIRING] = TableFingerprint(0, len(times))
        expiries = {name + EXPIRING: _steps(times) for name, times in self.times.items()}
        return Census(Fingerprint(level, tables, dict(self.objects)), expiries)


def _walk(client: Any, database: int, soft: bool, digests: bool) -> _Tally:
    tally, cursor = _Tally(digests), b"0"
    while True:
        cursor, keys = client.eval(_WALK, 0, cursor, BATCH)
        exact: list[tuple[str, bytes]] = []
        for key, kind_bytes, until, size, groups in keys:
            kind = kind_bytes.decode()
            table = f"db{database}.{kind}"
            if until >= 0:
                tally.times[table].append(until)
            elif soft and kind == "hash":
                tally.times[table].append(0)
                tally.softened -= 1
            else:
                tally.count(table, kind, size, groups)
                exact.append((table, key))
                tally.persistent += 1
        if digests and exact:
            hashes = client.execute_command("DEBUG", "DIGEST-VALUE", *(key for table, key in exact))
            for (table, key), value in zip(exact, hashes):
                tally.sums[table] += int.from_bytes(hashlib.sha256(key + b"\0" + bytes(value)).digest(), "big")
        if int(cursor) == 0:
            return tally


def _steps(times: Iterable[int]) -> list[list[int]]:
    rising = sorted(times)
    places = sorted({len(rising) * step // STEPS for step in range(STEPS)})
    return [[rising[place], len(rising) - place] for place in places]


def compare(expected: Mapping[str, Any], expiries: Expiries, found: Fingerprint) -> Fingerprint:
    """What was found, in the shape of what was expected: tables of which all keys have expired are there
    with none. Keys whose time has not come must be there (`Mismatch`); the rest is for `differences`."""
    now = time.time() * 1000
    tables = {
        name: TableFingerprint(table.rows_max, None, table.checksum) if table.rows_max is not None else table
        for name, table in found.tables.items()
    }
    for name in expected:
        if name.endswith(EXPIRING):
            tables.setdefault(name, TableFingerprint(0))
            least = next((count for moment, count in expiries.get(name, ()) if moment > now), 0)
            if tables[name].rows < least:
                raise Mismatch(
                    f"{name}: at least {least} keys must not have expired yet, {tables[name].rows} were found",
                    hint="Is the clock right? Otherwise use another backup.",
                )
    return dataclasses.replace(found, tables=tables)


def functions(client: Any) -> Optional[bytes]:
    """FUNCTION DUMP: the server's libraries; None where it knows none (before Redis 7)."""
    try:
        return bytes(client.execute_command("FUNCTION", "DUMP"))
    except redis().exceptions.ResponseError:
        return None


def with_functions(client: Any, fingerprint: Fingerprint) -> Fingerprint:
    if functions(client) is None:
        return fingerprint
    count = len(client.execute_command("FUNCTION", "LIST"))
    objects = {**fingerprint.objects, **({"function library": count} if count else {})}
    return dataclasses.replace(fingerprint, objects=objects)
