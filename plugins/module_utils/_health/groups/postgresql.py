# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""PostgreSQL, by the application's own user: does it answer, can it be written to, what holds it up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..._core.errors import OpsError
from ..._engines.postgresql import PostgreSQL
from ..._engines.postgresql.connection import Database
from .. import servers, thresholds
from ..model import CRIT, OK, SKIPPED, WARN, Finding
from ..probe import Group, Options, Probe

_CONNECTIONS = (
    "SELECT count(*), current_setting('max_connections')::int FROM pg_catalog.pg_stat_activity"
    " WHERE backend_type = 'client backend'"
)
_IDLE = (
    "SELECT COALESCE(EXTRACT(epoch FROM max(now() - state_change)), 0)::int FROM pg_catalog.pg_stat_activity"
    " WHERE state LIKE 'idle in transaction%'"
)
_RUNNING = (
    "SELECT COALESCE(EXTRACT(epoch FROM max(now() - query_start)), 0)::int FROM pg_catalog.pg_stat_activity"
    " WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_AGE = "SELECT max(age(datfrozenxid)) FROM pg_catalog.pg_database"
_SLOTS = (
    "SELECT slot_name, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint"
    " FROM pg_catalog.pg_replication_slots WHERE restart_lsn IS NOT NULL"
)
_LAG = (
    "SELECT CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0"
    " ELSE COALESCE(EXTRACT(epoch FROM now() - pg_catalog.pg_last_xact_replay_timestamp()), 0) END::int"
)
_WRAPAROUND = 2_000_000_000  # transactions, after which the server takes no more


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    engine = servers.engine_of(options, probe, PostgreSQL)
    try:
        with servers.asked(), engine.server.connect(engine.database, timeout=max(2, int(probe.timeout))) as database:
            version = database.version_text
            yield Finding(OK, f"PostgreSQL {version} answers", version)
            standby = bool(database.value("SELECT pg_catalog.pg_is_in_recovery()"))
            if options["write"] and not standby:
                yield _write(database)
            used, most = database.row(_CONNECTIONS)
            text = f"{used} of {most} connections"
            warn, crit = options["connections_warn"], options["connections_crit"]
            yield thresholds.above(round(100 * used / most, 1), warn, crit, text, unit="%", part="connections")
            yield from _times(options, database)
            yield from _standby(options, database) if standby else _primary(options, database)
    except servers.Down as error:
        yield Finding(CRIT, str(error))


def _write(database: Database) -> Finding:
    """Into a temporary table, which nobody else sees, and which is gone with its transaction."""
    try:
        database.run("BEGIN")
        database.run("CREATE TEMPORARY TABLE day2_health_probe (id int) ON COMMIT DROP")
        database.run("INSERT INTO pg_temp.day2_health_probe VALUES (1)")
        database.run("ROLLBACK")
    except OpsError as error:
        with contextlib.suppress(OpsError):
            database.run("ROLLBACK")
        if getattr(error, "sqlstate", "") == "42501":
            return Finding(SKIPPED, "the user may not make temporary tables, so no write was tried", part="write")
        return Finding(CRIT, f"a write fails: {error.what}", part="write")
    if database.value("SHOW default_transaction_read_only") == "on":
        return Finding(CRIT, "the database is read-only", part="write")
    return Finding(OK, "a temporary table can be written to", part="write")


def _times(options: Options, database: Database) -> Iterator[Finding]:
    """Of other users' sessions only those with the role pg_read_all_stats see the state."""
    seconds = int(database.value(_IDLE))
    text = f"the longest session that is idle in a transaction: {seconds} s"
    yield thresholds.above(seconds, options["idle_warn"], options["idle_crit"], text, unit="s", part="idle")
    seconds = int(database.value(_RUNNING))
    text = f"the longest query runs for {seconds} s"
    yield thresholds.above(seconds, options["query_warn"], options["query_crit"], text, unit="s", part="queries")


def _primary(options: Options, database: Database) -> Iterator[Finding]:
    share = 100 * int(database.value(_AGE)) / _WRAPAROUND
    text = f"the oldest transaction id has {share:.1f} % of the age at which the server stops (wraparound)"
    yield thresholds.above(round(share, 1), 25.0, 75.0, text, unit="%", part="wraparound")
    try:
        slots = database.rows(_SLOTS)
    except OpsError:
        return
    for name, size in slots:
        text = f"the replication slot {name} keeps {int(size) >> 20} MiB of WAL"
        yield thresholds.above(
            int(size) >> 20, options["slot_warn"], options["slot_crit"], text, unit="MiB", part=f"slot {name}"
        )


def _standby(options: Options, database: Database) -> Iterator[Finding]:
    """An idle primary sends nothing: what has been received and replayed is not behind."""
    try:
        lag = int(database.value(_LAG))
    except OpsError as error:
        yield Finding(WARN, f"the lag cannot be asked: {error.what}", part="replication")
        return
    text = f"replication is {lag} s behind"
    yield thresholds.above(lag, options["lag_warn"], options["lag_crit"], text, unit="s", part="replication")


GROUP = Group(
    "postgresql",
    {
        **servers.STORE,
        **servers.LOGIN,
        **servers.CONNECTIONS,
        "write": {"type": "bool", "default": True},
        "idle_warn": {"type": "float", "default": 60.0},
        "idle_crit": {"type": "float", "default": 3600.0},
        "query_warn": {"type": "float", "default": 300.0},
        "query_crit": {"type": "float"},
        "lag_warn": {"type": "float", "default": 30.0},
        "lag_crit": {"type": "float", "default": 300.0},
        "slot_warn": {"type": "float", "default": 1024.0},
        "slot_crit": {"type": "float", "default": 10240.0},
    },
    look,
)
