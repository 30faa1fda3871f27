# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Tables that another session has for itself: told by name, with who holds them."""

from __future__ import annotations

import contextlib

from ..._core.errors import Busy, OpsError
from .connection import Server
from .names import listed

NOT_AVAILABLE = "55P03"  # the state of a statement that waited for a lock as long as lock_timeout allows
_HOLDERS = """
SELECT l.relation::regclass::text, l.pid, a.usename::text, to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS')
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.database =
       (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def busy(server: Server, database: str, without: str) -> Busy:
    """`without`: what cannot be had because of the lock."""
    blocked = ""
    with contextlib.suppress(OpsError), server.connect(database) as session:
        holders = session.rows(_HOLDERS)
        blocked = listed(
            [f"{table} (session {pid} of {user}, since {since})" for table, pid, user, since in holders], 5
        )
    return Busy(
        f"a table is locked by another session, so {without}" + (f": {blocked}" if blocked else ""),
        hint="Is a migration or a VACUUM FULL running? Wait for its end, and run this again.",
    )
