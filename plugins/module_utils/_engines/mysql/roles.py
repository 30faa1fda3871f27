# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MySQL's accounts and roles: there a role is an account like any other, with a host.

`accounts` has what is common with MariaDB, and gives them back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import grants
from .accounts import SERVERS, Account, Grantee, grantee_of, spelled
from .connection import TABLE_DENIED, Sql, SqlError

_ACCOUNT = r"`(?:[^`]|``)*`@`(?:[^`]|``)*`"
_DEFAULT_ROLE = re.compile(rf" DEFAULT ROLE {_ACCOUNT}(?:,{_ACCOUNT})*(?= REQUIRE )")
_HIDDEN = "<secret>"  # what is printed for a hash that this user may not see

Edge = tuple[Grantee, Grantee, bool]  # the role, who has it, and whether to give it on


def read(sql: Sql, database: str, definers: Iterable[str]) -> list[Account]:
    """Every account with privileges on the database, by roles too, and the definers of its objects."""
    # A hash of caching_sha2_password holds any byte; printed as it is, it would not come back.
    sql.execute("SET SESSION print_identified_with_as_hex = 1")
    existing = {(str(user), str(host)) for user, host in sql.execute("SELECT User, Host FROM mysql.user")}
    literal = bool(sql.value("SELECT @@partial_revokes"))  # then _ and % in a grant stand for themselves
    wanted = {
        (str(user), str(host))
        for user, host, pattern in sql.execute("SELECT User, Host, Db FROM mysql.db")
        if (grants.unescaped(pattern) == database if literal else grants.matches(pattern, database))
    }
    for table in ("tables_priv", "columns_priv", "procs_priv"):
        rows = sql.execute(f"SELECT User, Host FROM mysql.{table} WHERE Db = %s", (database,))
        wanted.update((str(user), str(host)) for user, host in rows)
    wanted.update(grantee_of(definer) for definer in definers)
    edges = [
        ((str(role), str(role_host)), (str(user), str(host)), admin == "Y")
        for role, role_host, user, host, admin in sql.execute(
            "SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges"
        )
    ]
    defaults = {
        ((str(user), str(host)), (str(role), str(role_host)))
        for user, host, role, role_host in sql.execute(
            "SELECT USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles"
        )
    }
    chosen = {one for one in with_members(wanted, edges) if one in existing and one[0] not in SERVERS}
    return [_account(sql, one, database, statements(one, chosen, edges, defaults)) for one in sorted(chosen)]


def with_members(wanted: Iterable[Grantee], edges: Iterable[Edge]) -> set[Grantee]:
    """The accounts, and all who have one of them as a role."""
    found, size = set(wanted), -1
    edges = list(edges)
    while len(found) != size:
        size = len(found)
        found |= {member for role, member, _admin in edges if role in found and member[0] not in SERVERS}
    return found


def statements(
    account: Grantee, chosen: set[Grantee], edges: Iterable[Edge], defaults: set[tuple[Grantee, Grantee]]
) -> tuple[str, ...]:
    """What gives the account its roles again, those that come along."""
    mine = [(role, admin) for role, member, admin in edges if member == account and role in chosen]
    given = [
        f"GRANT {spelled(role)} TO {spelled(account)}{' WITH ADMIN OPTION' if admin else ''}"
        for role, admin in sorted(mine)
    ]
    active = [spelled(role) for role, _admin in sorted(mine) if (account, role) in defaults]
    return (*given, *([f"SET DEFAULT ROLE {', '.join(active)} TO {spelled(account)}"] if active else []))


def _account(sql: Sql, grantee: Grantee, database: str, roles: tuple[str, ...]) -> Account:
    spelling = spelled(grantee)
    printed = str(sql.value(f"SHOW CREATE USER {spelling}"))
    if _HIDDEN in printed:
        raise SqlError(TABLE_DENIED, f"the password's hash of {spelling} is hidden")
    lines = [str(line) for line in sql.column(f"SHOW GRANTS FOR {spelling}")]
    return Account(
        user=grantee[0],
        host=grantee[1],
        role=False,
        create=without_default_roles(printed),
        grants=tuple(grants.restricted(lines, database)),
        statements=roles,
    )


def without_default_roles(create: str) -> str:
    """They come after the account was made, because they must have been given to it first."""
    return _DEFAULT_ROLE.sub("", create)
