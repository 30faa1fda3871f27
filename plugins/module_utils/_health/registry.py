# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""All groups of checks, by static imports: a module's payload is built from them."""

from __future__ import annotations

from collections.abc import Mapping

from .groups import (
    backups,
    command,
    containers,
    dns,
    host,
    http,
    logs,
    migrations,
    mongodb,
    postgresql,
    redis,
    secrets,
    sql,
    sqlite,
    systemd,
    tls,
)
from .probe import Group

GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        backups.GROUP,
        command.GROUP,
        containers.GROUP,
        dns.GROUP,
        host.GROUP,
        http.GROUP,
        logs.GROUP,
        sql.MARIADB,
        migrations.GROUP,
        mongodb.GROUP,
        sql.MYSQL,
        postgresql.GROUP,
        redis.GROUP,
        secrets.GROUP,
        sqlite.GROUP,
        systemd.GROUP,
        tls.GROUP,
    )
}
