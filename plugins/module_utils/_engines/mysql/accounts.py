# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The application's accounts: who has privileges on a database, made and granted again elsewhere.

An account that exists keeps how it logs in, whatever a backup says: replaying what SHOW GRANTS prints
was seen to bring a retired password back.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from ..._core.context import Context
from ..._core.errors import Refused
from ..._core.model import Json
from . import grants
from .catalog import ROUTINES
from .connection import Sql, SqlError, name, qualified
from .grants import Grant

# A server's own accounts: never taken along.
SERVERS = {
    "root",
    "mariadb.sys",
    "mysql",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "PUBLIC",
    "healthcheck",
    "",
}
_UNKNOWN_PLUGIN = 1524

Grantee = tuple[str, str]  # user, host; a role's host is ""


@dataclasses.dataclass(frozen=True)
class Account:
    """An account or a role, and what it may do with this database. `create` holds its password's hash."""

    user: str
    host: str
    role: bool
    create: str
    grants: tuple[Grant, ...]
    roles: tuple[str, ...] = ()
    default_role: str = ""
    statements: tuple[str, ...] = ()  # what gives MySQL's roles, which have a host

    def __str__(self) -> str:
        return self.user if self.role else f"{self.user}@{self.host}"

    @property
    def sql(self) -> str:
        return spelled((self.user, "" if self.role else self.host))

    def to_json(self) -> Json:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Account:
        lists = {key: tuple(data.get(key, ())) for key in ("roles", "statements")}
        return cls(**{**data, **lists, "grants": tuple(Grant(**grant) for grant in data["grants"])})


def spelled(grantee: Grantee) -> str:
    user, host = grantee
    return f"{name(user)}@{name(host)}" if host else name(user)


def grantee_of(definer: str) -> Grantee:
    """`app@%` → (app, %); a role has no host."""
    user, separator, host = definer.rpartition("@")
    return (user, host) if separator else (definer, "")


# Reading --------------------------------------------------------------------------------------------


def read(sql: Sql, database: str, definers: Iterable[str]) -> list[Account]:
    """Every account with privileges on the database, by roles too, and the definers of its objects."""
    existing = {
        (user, host): role == "Y" for user, host, role in sql.execute("SELECT User, Host, is_role FROM mysql.user")
    }
    wanted = {
        (user, host)
        for user, host, pattern in sql.execute("SELECT User, Host, Db FROM mysql.db")
        if grants.matches(pattern, database)
    }
    for table in ("tables_priv", "columns_priv", "procs_priv"):
        wanted.update(
            (user, host)
            for user, host in sql.execute(f"SELECT User, Host FROM mysql.{table} WHERE Db = %s", (database,))
        )
    wanted.update(grantee_of(definer) for definer in definers)
    members = [
        (str(user), str(host), str(role))
        for user, host, role in sql.execute("SELECT User, Host, Role FROM mysql.roles_mapping")
    ]
    wanted = with_members(wanted, members)
    # Roles first: what is granted must exist.
    order = sorted(
        (one for one in wanted if one in existing and one[0] not in SERVERS), key=lambda one: (not existing[one], one)
    )
    roles = {user for user, host in order if existing[(user, host)]}
    return [_account(sql, one, existing[one], database, roles) for one in order]


def with_members(wanted: Iterable[Grantee], members: Sequence[tuple[str, str, str]]) -> set[Grantee]:
    """The accounts, and all who have one of the roles among them."""
    found, size = set(wanted), -1
    while len(found) != size:
        size = len(found)
        roles = {user for user, host in found if not host}
        found |= {(user, host) for user, host, role in members if role in roles and user not in SERVERS}
    return found


def _account(sql: Sql, grantee: Grantee, role: bool, database: str, roles: set[str]) -> Account:
    spelling = spelled(grantee)
    # SHOW GRANTS for a role lists the roles it has in turn as well, with their own privileges.
    lines = [line for line in map(str, sql.column(f"SHOW GRANTS FOR {spelling}")) if _is_for(line, spelling)]
    create = f"CREATE ROLE {spelling}" if role else str(sql.value(f"SHOW CREATE USER {spelling}"))
    default = next((grants.default_role(line) for line in lines if grants.default_role(line)), "")
    return Account(
        grantee[0],
        grantee[1],
        role,
        create,
        tuple(grants.restricted(lines, database)),
        tuple(one for one in map(grants.role_of, lines) if one in roles),
        default if default in roles else "",
    )


def _is_for(line: str, spelling: str) -> bool:
    return f" TO {spelling}" in line or f" FOR {spelling}" in line


# Giving back ----------------------------------------------------------------------------------------


def existing(sql: Sql) -> set[Grantee]:
    return {(str(user), str(host)) for user, host in sql.execute("SELECT User, Host FROM mysql.user")}


def create(
    sql: Sql, accounts: Sequence[Account], context: Context, present: set[Grantee], target: str, source: str
) -> list[Account]:
    """Make those that do not exist, with what they may do in the whole database; those made."""
    made = []
    for account in accounts:
        if (account.user, account.host) in present:
            continue
        _remember(account, context)
        try:
            sql.execute(account.create)
        except SqlError as error:
            hint = "Install that plugin here, or restore with accounts: none."
            raise Refused(
                f"the account {account} cannot be made ({error.code})",
                hint=hint
                if error.code == _UNKNOWN_PLUGIN
                else "Give this user CREATE USER, or restore with accounts: none.",
            ) from None
        made.append(account)
    for account in made:
        give(sql, account, context, target, source, deep=False)
    return made


def give(sql: Sql, account: Account, context: Context, target: str, source: str, deep: bool) -> None:
    """Grants again. `deep`: those on single tables and routines, which must be there; else all others."""
    statements = [grant.on(target, source) for grant in account.grants if (grant.object != "*") == deep]
    if not deep:
        statements += [f"GRANT {name(role)} TO {account.sql}" for role in account.roles]
        if account.default_role:
            statements.append(f"SET DEFAULT ROLE {name(account.default_role)} FOR {account.sql}")
        statements += account.statements
    for statement in statements:
        grant_one(sql, statement, str(account), context)


def grant_one(sql: Sql, statement: str, whom: str, context: Context) -> None:
    """One GRANT. One that is refused is a warning with the statement, for somebody who may."""
    # Packages are words of the grammar in this mode only.
    mode = "ORACLE" if " ON PACKAGE " in statement else ""
    try:
        sql.execute(f"SET SESSION sql_mode = '{mode}'")
        sql.execute(statement)
    except SqlError as error:
        context.warn(f"a privilege of {whom} was not given again ({error.what}): {statement}")
    finally:
        if mode:
            sql.execute("SET SESSION sql_mode = ''")


def _remember(account: Account, context: Context) -> None:
    """Its hash must appear in no message."""
    for part in [*account.create.split("'")[1::2], *re.findall(r" AS 0x([0-9A-Fa-f]+)", account.create)]:
        if len(part) > 15:
            context.secrets.add(part)


# Privileges on routines, which DROP takes away --------------------------------------------------------


def routine_grants(sql: Sql, database: str) -> list[tuple[str, str, str]]:
    """Those on single routines: the routine, the account, and the statement that gives them again."""
    rows = sql.execute(
        "SELECT User, Host, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv WHERE Db = %s", (database,)
    )
    return [
        (
            f"{kind.lower()} {routine}",
            spelled((user, host)),
            routine_grant(database, routine, kind, str(given), (user, host)),
        )
        for user, host, routine, kind, given in rows
        if kind in ROUTINES and given
    ]


def routine_grant(database: str, routine: str, kind: str, given: str, grantee: Grantee) -> str:
    """`Execute,Grant` as the table has it → a GRANT statement."""
    privileges = [one.strip().upper() for one in given.split(",")]
    what = ", ".join(one for one in privileges if one != "GRANT") or "USAGE"
    option = " WITH GRANT OPTION" if "GRANT" in privileges else ""
    return f"GRANT {what} ON {kind} {qualified(database, routine)} TO {spelled(grantee)}{option}"
