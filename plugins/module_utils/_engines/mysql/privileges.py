# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Whether the dumping user can see everything that he should dump.

The server shows a user only what he has privileges for, and the dump tool ends with 0 over what it was
not shown. So the privileges themselves are looked at, not what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._core.errors import Refused
from . import grants
from .catalog import ROUTINES, Named
from .connection import Sql, name
from .flavours import Flavour, version_of

_ROUTINE = ("EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE")


def lines_of(sql: Sql) -> list[str]:
    """What the user has himself, by the roles that are active, and as everybody."""
    return [str(line) for line in sql.column("SHOW GRANTS")]


def check(sql: Sql, flavour: Flavour, database: str, objects: Sequence[Named], version: str) -> list[str]:
    """Refuse where objects would be missing from a dump; a warning where it is only less consistent."""
    lines = lines_of(sql)
    held = grants.held(lines, database)
    lacking = grants.lacking(flavour.full_privileges, held)
    if lacking:
        raise Refused(
            f"{_me(sql)} has no {', '.join(lacking)} privilege on the database, so that a dump would leave objects out",
            hint=f"GRANT {', '.join(lacking)} ON {name(grants.escaped(database))}.* TO {_me(sql)};",
        )
    _check_routines(sql, flavour, lines, database, objects, version)
    if grants.lacking(["LOCK TABLES"], held):
        return [
            f"{_me(sql)} has no LOCK TABLES privilege: the row counts are taken right before and after the dump "
            "begins, and are ranges where they moved meanwhile"
        ]
    return []


def _check_routines(
    sql: Sql, flavour: Flavour, lines: Sequence[str], database: str, routines: Sequence[Named], version: str
) -> None:
    asked = flavour.bodies_privilege
    if flavour.name == "mariadb" and version_of(version) >= (11, 3, 0):
        asked = f"SHOW CREATE ROUTINE ON {name(grants.escaped(database))}.*"
    hint = f"GRANT {asked} TO {_me(sql)};"
    if _sees_all(lines) if flavour.name == "mysql" else _sees_bodies(lines, database):
        return
    if len(grants.lacking(_ROUTINE, grants.held(lines, database))) == len(_ROUTINE):
        raise Refused(f"{_me(sql)} cannot see whether the database has procedures and functions", hint=hint)
    hidden = [str(one) for one in routines if one.kind.upper() in ROUTINES and one.body is None]
    if hidden:
        raise Refused(
            f"{_me(sql)} cannot see the body of {', '.join(hidden[:5])}, so that a dump would fail", hint=hint
        )


def _sees_bodies(lines: Sequence[str], database: str) -> bool:
    """MariaDB: by SELECT on the table that holds them, or by the privilege that newer servers have for it."""
    for line in lines:
        grant = grants.parse(line)
        if grant is None:
            continue
        table = grant.covers("mysql") and grant.object in ("*", "proc")
        if table and not grants.lacking(["SELECT"], grant.privileges):
            return True
        if "SHOW CREATE ROUTINE" in grant.privileges and grant.covers(database) and grant.object == "*":
            return True
    return False


def _sees_all(lines: Sequence[str]) -> bool:
    """MySQL: by SHOW_ROUTINE, or by SELECT on everything."""
    found = [grant for grant in map(grants.parse, lines) if grant and (grant.pattern, grant.object) == ("*", "*")]
    return any(grant.privileges & {"SHOW_ROUTINE", "SELECT", "ALL PRIVILEGES"} for grant in found)


def _me(sql: Sql) -> str:
    user, _rest, host = str(sql.value("SELECT CURRENT_USER()")).rpartition("@")
    return f"{name(user)}@{name(host)}"
