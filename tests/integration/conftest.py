# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the servers that integration tests share: one file in support/ for each."""

from __future__ import annotations

# One line per server; the names are what tests ask for.
from tests.integration.support.compose import compose_project  # noqa: F401
from tests.integration.support.mariadb import (  # noqa: F401
    mariadb,
    mariadb_database,
    mariadb_database_on_host,
    mariadb_in_container,
    mariadb_on_host,
)
from tests.integration.support.migrated import migrated, on_mariadb, on_postgresql, on_sqlite  # noqa: F401
from tests.integration.support.mongo import (  # noqa: F401
    mongo,
    mongo_database,
    mongo_database_in_container,
    mongo_in_container,
    mongo_on_host,
)
from tests.integration.support.mysql import (  # noqa: F401
    mysql,
    mysql_database,
    mysql_from_host,
    mysql_in_container,
)
from tests.integration.support.postgres import (  # noqa: F401
    postgres,
    postgres_database,
    postgres_in_container,
    postgres_on_host,
)
from tests.integration.support.recovery import seed, world  # noqa: F401
from tests.integration.support.redis import redis_in_container, redis_on_host, redis_world  # noqa: F401
from tests.integration.support.remote import remote  # noqa: F401
from tests.integration.support.stores import rest_server, s3_server, sftp_host  # noqa: F401
from tests.integration.support.systemd import systemd_host  # noqa: F401
