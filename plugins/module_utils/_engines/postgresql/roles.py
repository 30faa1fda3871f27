# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The roles that a database needs: recorded with a backup, created where a restore misses them.

A restore never changes how an existing role authenticates: a dump's password hashes were seen to bring
a retired password back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..._core.errors import Refused
from ..._core.model import Json
from .connection import Database, SqlError
from .names import listed
from .settings import alter_role, create_role, grant_membership, role_settings

# Owners, grantees and roles of policies (pg_shdepend holds them all, but for the bootstrap superuser,
# oid 10); the groups that they are in, and who is in them. Predefined roles have oids below 16384.
# All from shared catalogs: in a database with another encoding, names that are not ASCII look different.
_NEEDED = """
WITH RECURSIVE db AS (SELECT oid, datdba FROM pg_database WHERE datname = %s),
direct AS (
  SELECT s.refobjid AS oid FROM pg_shdepend s, db WHERE s.refclassid = 'pg_authid'::regclass
     AND (s.dbid = db.oid OR (s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = db.oid))
  UNION SELECT datdba FROM db
  UNION SELECT s.setrole FROM pg_db_role_setting s, db WHERE s.setdatabase = db.oid AND s.setrole <> 0
  UNION SELECT 10 WHERE %s),
groups AS (
  SELECT oid FROM direct UNION SELECT m.roleid FROM groups g JOIN pg_auth_members m ON m.member = g.oid),
members AS (
  SELECT oid FROM direct
  UNION SELECT m.member FROM members b JOIN pg_auth_members m ON m.roleid = b.oid
    JOIN pg_roles r ON r.oid = m.member AND NOT r.rolsuper)
SELECT r.oid::bigint, to_jsonb(r) - 'rolpassword' - 'rolconfig' - 'oid', shobj_description(r.oid, 'pg_authid'),
       (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0)
  FROM pg_roles r
 WHERE r.oid IN (SELECT oid FROM groups UNION SELECT oid FROM members) AND (r.oid >= 16384 OR r.oid = 10)
 ORDER BY r.rolname
"""

_OWNERS = """
SELECT DISTINCT pg_get_userbyid(s.refobjid)::text FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
 WHERE d.datname = %s AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' ORDER BY 1
"""

_BOOTSTRAP_OWNS = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relowner = 10 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
"""

_MEMBERSHIPS = """
SELECT DISTINCT ON (m.roleid, m.member) to_jsonb(m) || jsonb_build_object(
         'role', pg_get_userbyid(m.roleid)::text, 'member', pg_get_userbyid(m.member)::text)
       - 'oid' - 'roleid' - 'grantor'
  FROM pg_auth_members m
 WHERE m.member = ANY(%s::oid[]) AND (m.roleid = ANY(%s::oid[]) OR m.roleid < 16384)
 ORDER BY m.roleid, m.member
"""


def needed(database: Database, admin: Database) -> tuple[Json, list[str]]:
    """`roles`, `memberships` and `owners` of `database`, and warnings. `admin`: where names are read."""
    bootstrap = database.value(_BOOTSTRAP_OWNS)
    found = admin.rows(_NEEDED, database.name, bootstrap)
    passwords: dict[int, str] = {}
    warnings = []
    if admin.value("SELECT has_table_privilege('pg_authid', 'SELECT')"):
        passwords = dict(admin.rows("SELECT oid::bigint, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"))
    elif any(role["rolcanlogin"] for oid, role, comment, config in found):
        names = [role["rolname"] for oid, role, comment, config in found if role["rolcanlogin"]]
        warnings.append(
            f"the passwords of the roles {listed(names)} are not in the backup, because only a superuser may "
            "read their hashes"
        )
    roles = []
    for oid, role, comment, config in found:
        role.update(comment=comment, settings=list(config or ()))
        if oid in passwords:
            role["password"] = passwords[oid]
        roles.append(role)
    oids = [oid for oid, role, comment, config in found]
    return {
        "roles": roles,
        "memberships": admin.column(_MEMBERSHIPS, oids, oids),
        "owners": admin.column(_OWNERS, database.name),
    }, warnings


def existing(database: Database) -> set[str]:
    return set(database.column("SELECT rolname::text FROM pg_roles"))


def missing(database: Database, facts: Json) -> list[str]:
    """The recorded roles that this server does not have."""
    there = existing(database)
    return [role["rolname"] for role in facts.get("roles", ()) if role["rolname"] not in there]


def create(database: Database, facts: Json, mode: str, warn: Callable[[str], None]) -> list[str]:
    """Make the missing roles as they were recorded; with `all`, give existing ones their memberships and
    attributes again. The names of those made."""
    absent = missing(database, facts)
    if mode == "none":
        if absent:
            raise Refused(
                f"the roles {listed(absent)} that the backup's objects belong to do not exist on the server",
                hint="Create them first, or let the restore do it with accounts: missing.",
            )
        return []
    statements = _statements(database, facts, mode, absent)
    if statements:
        _carry_out(database, statements, absent)
    _warn(facts, absent, warn)
    return absent


def _statements(database: Database, facts: Json, mode: str, absent: Sequence[str]) -> list[str]:
    made: list[str] = []
    for role in facts.get("roles", ()):
        if role["rolname"] in absent:
            made += [create_role(role), *role_settings(role)]
        elif mode == "all":
            made += [alter_role(role), *role_settings(role)]
    there = existing(database) | set(absent)
    return made + [
        grant_membership(membership, database.major)
        for membership in facts.get("memberships", ())
        if (mode == "all" or membership["member"] in absent or membership["role"] in absent)
        and {membership["member"], membership["role"]} <= there
        and not _held(database, membership)
    ]


def _held(database: Database, membership: Json) -> bool:
    return bool(
        database.value(
            "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r"
            " ON r.oid = m.member WHERE g.rolname = %s AND r.rolname = %s AND m.admin_option = %s)",
            membership["role"],
            membership["member"],
            membership["admin_option"],
        )
    )


def _carry_out(database: Database, statements: Sequence[str], absent: Sequence[str]) -> None:
    database.run("BEGIN")
    try:
        if database.value("SELECT current_setting('is_superuser')::bool"):
            # The statements hold password hashes, which a server log need not keep.
            for name, value in (
                ("log_statement", "none"),
                ("log_min_duration_statement", "-1"),
                ("log_min_error_statement", "panic"),
            ):
                database.run("SELECT set_config(%s, %s, true)", name, value)
        for statement in statements:
            database.run(statement)
        database.run("COMMIT")
    except SqlError as error:
        database.run("ROLLBACK")
        if error.sqlstate != "42501":
            raise
        raise Refused(
            f"the roles {listed(absent)} cannot be created: {error.what}" if absent else error.what,
            hint="Restore as a superuser, or create them first.",
        ) from None


def _warn(facts: Json, absent: Sequence[str], warn: Callable[[str], None]) -> None:
    made = [role for role in facts.get("roles", ()) if role["rolname"] in absent]
    superusers = [role["rolname"] for role in made if role.get("rolsuper")]
    if superusers:
        warn(f"made superusers, as they were when the backup was made: {listed(superusers)}")
    silent = [role["rolname"] for role in made if role.get("rolcanlogin") and not role.get("password")]
    if silent:
        warn(f"made without a password, because the backup holds none: {listed(silent)}; set one before they log in")


def owner_or_self(database: Database, facts: Json) -> str:
    """Who shall own a copy: the recorded owner where he exists."""
    owner = facts.get("owner")
    if owner and owner in existing(database):
        return str(owner)
    return str(database.value("SELECT current_user::text"))


def foreign_owners(database: Database, facts: Json) -> list[str]:
    """Existing roles that objects belong to and that this user cannot act as."""
    return database.column(
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND NOT pg_has_role(oid, 'MEMBER') ORDER BY 1",
        list(facts.get("owners", ())),
    )
