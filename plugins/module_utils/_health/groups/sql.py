# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MariaDB and MySQL, by the application's own user: does it answer, can it be written to, how full and how slow is it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..._core.errors import OpsError
from ..._engines.mariadb import MariaDB
from ..._engines.mysql.connection import Sql
from ..._engines.mysql_server import MySQL
from .. import servers, thresholds
from ..model import CRIT, OK, SKIPPED, WARN, Finding
from ..probe import Group, Options, Probe

_PROBE = "day2_health_probe"


def _look(kind: Any, options: Options, probe: Probe) -> Iterator[Finding]:
    engine = servers.engine_of(options, probe, kind)
    try:
        with servers.asked(), engine.session(engine.database) as sql:
            sql.value("SELECT 1")
            version = str(sql.value("SELECT VERSION()"))
            yield Finding(OK, f"{engine.flavour.name} {version} answers", version)
            if options["write"]:
                yield _write(sql)
            yield from _status(options, probe, sql)
            yield from _replica(options, sql)
            yield from _long(options, sql)
    except servers.Down as error:
        yield Finding(CRIT, str(error))


def _write(sql: Sql) -> Finding:
    """Into a temporary table, which nobody else sees and which ends with the session."""
    try:
        sql.execute(f"CREATE TEMPORARY TABLE {_PROBE} (id INT PRIMARY KEY)")
        sql.execute(f"INSERT INTO {_PROBE} VALUES (1)")
        sql.execute(f"DROP TEMPORARY TABLE {_PROBE}")
    except OpsError as error:
        if getattr(error, "code", 0) in (1044, 1142):
            return Finding(SKIPPED, "the user may not make temporary tables, so no write was tried", part="write")
        return Finding(CRIT, f"a write fails: {error.what}", part="write")
    read_only = str(sql.value("SELECT @@GLOBAL.read_only"))
    if read_only not in ("0", "OFF"):
        return Finding(CRIT, "the server is read-only", part="write")
    return Finding(OK, "a temporary table can be written to", part="write")


def _numbers(sql: Sql, kind: str, *names: str) -> dict[str, int]:
    listed = ", ".join(f"'{name}'" for name in names)
    rows = sql.execute(f"SHOW GLOBAL {kind} WHERE Variable_name IN ({listed})")
    return {str(name): int(value) for name, value in rows if str(value).isdigit()}


def _status(options: Options, probe: Probe, sql: Sql) -> Iterator[Finding]:
    status = _numbers(sql, "STATUS", "Threads_connected", "Aborted_connects", "Slow_queries", "Uptime")
    most = _numbers(sql, "VARIABLES", "max_connections")["max_connections"]
    share = 100 * status["Threads_connected"] / most
    text = f"{status['Threads_connected']} of {most} connections"
    warn, crit = options["connections_warn"], options["connections_crit"]
    yield thresholds.above(round(share, 1), warn, crit, text, unit="%", part="connections")
    probe.remember(slow=status["Slow_queries"], aborted=status["Aborted_connects"])
    hours = (probe.elapsed or 0) / 3600
    if hours * 3600 < 60:
        return
    for part, counter, what in (
        ("slow", "Slow_queries", "slow queries"),
        ("aborted", "Aborted_connects", "refused or broken logins"),
    ):
        before = probe.before.get(part)
        if before is not None and status[counter] >= before:
            rate = (status[counter] - before) / hours
            text = f"{rate:.0f} {what} an hour since the last run"
            yield thresholds.above(round(rate, 1), options[f"{part}_warn"], None, text, unit="/h", part=part)


def _replica(options: Options, sql: Sql) -> Iterator[Finding]:
    """Only where it is one and the user may ask."""
    try:
        rows = sql.record("SHOW SLAVE STATUS") or {}
    except OpsError:
        try:
            rows = sql.record("SHOW REPLICA STATUS") or {}
        except OpsError:
            return
    if not rows:
        return
    said = {name.lower().replace("source", "master").replace("replica", "slave"): value for name, value in rows.items()}
    running = [said.get("slave_io_running"), said.get("slave_sql_running")]
    if running != ["Yes", "Yes"]:
        error = said.get("last_sql_error") or said.get("last_io_error") or ""
        yield Finding(CRIT, f"replication stands still: {error}".rstrip(": "), part="replication")
        return
    lag = said.get("seconds_behind_master")
    text = f"replication is {lag} s behind"
    yield thresholds.above(
        float(lag or 0), options["lag_warn"], options["lag_crit"], text, unit="s", part="replication"
    )


def _long(options: Options, sql: Sql) -> Iterator[Finding]:
    """The oldest transaction, where the user may see it."""
    try:
        oldest = sql.value("SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) FROM information_schema.INNODB_TRX")
        waiting = sql.value("SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'")
    except OpsError:
        return  # without PROCESS the table cannot be read
    seconds = int(oldest or 0)
    text = f"the oldest transaction is {seconds} s old"
    yield thresholds.above(
        seconds, options["transaction_warn"], options["transaction_crit"], text, unit="s", part="transactions"
    )
    if waiting:
        yield Finding(WARN, f"{waiting} transactions wait for a lock", int(waiting), part="locks")


OPTIONS = {
    **servers.STORE,
    **servers.LOGIN,
    **servers.CONNECTIONS,
    "write": {"type": "bool", "default": True},
    "lag_warn": {"type": "float", "default": 30.0},
    "lag_crit": {"type": "float", "default": 300.0},
    "transaction_warn": {"type": "float", "default": 60.0},
    "transaction_crit": {"type": "float", "default": 3600.0},
    "slow_warn": {"type": "float"},
    "aborted_warn": {"type": "float", "default": 60.0},
}
MARIADB = Group("mariadb", OPTIONS, lambda options, probe: _look(MariaDB, options, probe))
MYSQL = Group("mysql", OPTIONS, lambda options, probe: _look(MySQL, options, probe))
