# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What pg_dump leaves out about a database, as facts and as statements: pure functions.

A plain pg_restore brings neither the database's owner, privileges, settings, comment and connection
limit, nor the roles that its objects belong to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .names import ident, literal

# Settings whose value is a list of names: each is quoted by itself (GUC_LIST_QUOTE in the server).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}


def split_list(value: str) -> list[str]:
    """The names of a list such as `"$user", public`, without their quotes."""
    names, current, quoted, index = [], "", False, 0
    while index < len(value):
        character = value[index]
        if character == '"':
            if quoted and value[index + 1 : index + 2] == '"':
                current += '"'
                index += 1
            else:
                quoted = not quoted
        elif character == "," and not quoted:
            names.append(current)
            current = ""
        elif quoted or not character.isspace():
            current += character
        index += 1
    return [name for name in (*names, current) if name]


def assignment(setting: str) -> str:
    """`name=value`, as the catalog holds it, as `"name" TO value` for ALTER … SET."""
    name, _equals, value = setting.partition("=")
    if name.lower() in _LISTS:
        values = ", ".join(literal(item) for item in split_list(value)) or "''"
    else:
        values = literal(value)
    return f"{ident(name)} TO {values}"


def create_database(name: str, owner: str, facts: Mapping[str, Any], server: int) -> str:
    """CREATE DATABASE for an empty copy with the same encoding and locale; `server`: major version."""
    parts = [f"CREATE DATABASE {ident(name)} TEMPLATE template0 OWNER {ident(owner)}"]
    for fact, keyword in (("encoding", "ENCODING"), ("collate", "LC_COLLATE"), ("ctype", "LC_CTYPE")):
        if facts.get(fact):
            parts.append(f"{keyword} {literal(facts[fact])}")
    provider = facts.get("provider", "c")
    if provider == "i":
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(facts['locale'])}")
        if facts.get("icu_rules"):
            parts.append(f"ICU_RULES {literal(facts['icu_rules'])}")
    elif provider == "b":
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(facts['locale'])}")
    elif server >= 15:
        parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts)


def acl_statements(name: str, owner: str, acl: Sequence[Sequence[Any]], roles: Collection[str]) -> list[str]:
    """Give a database exactly these privileges; `acl`: (grantor, grantee or "" for PUBLIC, privilege,
    grantable). Those of roles that do not exist are left out."""
    database = ident(name)
    statements = [
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"REVOKE ALL ON DATABASE {database} FROM {ident(owner)}",
    ]
    for _grantor, grantee, privilege, grantable in acl:
        if grantee and grantee not in roles:
            continue
        to = ident(grantee) if grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable else ""
        statements.append(f"GRANT {privilege} ON DATABASE {database} TO {to}{option}")
    return statements


def settings_statements(
    name: str, settings: Sequence[str], by_role: Mapping[str, Sequence[str]], roles: Collection[str]
) -> list[str]:
    """`ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`."""
    database = ident(name)
    statements = [f"ALTER DATABASE {database} SET {assignment(setting)}" for setting in settings]
    for role in sorted(by_role):
        if role in roles:
            statements += [
                f"ALTER ROLE {ident(role)} IN DATABASE {database} SET {assignment(setting)}"
                for setting in by_role[role]
            ]
    return statements


_ATTRIBUTES = (
    ("rolsuper", "SUPERUSER"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolinherit", "INHERIT"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
)
# An existing role is never made to log in again, nor raised to these.
_NEVER_GIVEN_AGAIN = ("rolsuper", "rolcanlogin", "rolreplication")


def create_role(role: Mapping[str, Any]) -> str:
    """CREATE ROLE with what was recorded; the password's hash where it could be read."""
    parts = [f"CREATE ROLE {ident(role['rolname'])} WITH"]
    parts += [keyword if role.get(fact) else f"NO{keyword}" for fact, keyword in _ATTRIBUTES]
    parts.append(f"CONNECTION LIMIT {int(role.get('rolconnlimit', -1))}")
    if role.get("rolvaliduntil"):
        parts.append(f"VALID UNTIL {literal(role['rolvaliduntil'])}")
    if role.get("password"):
        parts.append(f"PASSWORD {literal(role['password'])}")
    return " ".join(parts)


def alter_role(role: Mapping[str, Any]) -> str:
    """ALTER ROLE for an existing role: nothing that decides who may log in, and how."""
    parts = [f"ALTER ROLE {ident(role['rolname'])} WITH"]
    parts += [
        keyword if role.get(fact) else f"NO{keyword}" for fact, keyword in _ATTRIBUTES if fact not in _NEVER_GIVEN_AGAIN
    ]
    parts.append(f"CONNECTION LIMIT {int(role.get('rolconnlimit', -1))}")
    return " ".join(parts)


def role_settings(role: Mapping[str, Any]) -> list[str]:
    statements = [
        f"ALTER ROLE {ident(role['rolname'])} SET {assignment(setting)}" for setting in role.get("settings", ())
    ]
    if role.get("comment"):
        statements.append(f"COMMENT ON ROLE {ident(role['rolname'])} IS {literal(role['comment'])}")
    return statements


def grant_membership(membership: Mapping[str, Any], server: int) -> str:
    """GRANT role TO member, with the options that this server knows."""
    options = []
    if server >= 16 and "inherit_option" in membership:
        for fact, keyword in (("admin_option", "ADMIN"), ("inherit_option", "INHERIT"), ("set_option", "SET")):
            options.append(f"{keyword} {'TRUE' if membership[fact] else 'FALSE'}")
    elif membership.get("admin_option"):
        options.append("ADMIN OPTION")
    suffix = f" WITH {', '.join(options)}" if options else ""
    return f"GRANT {ident(membership['role'])} TO {ident(membership['member'])}{suffix}"
