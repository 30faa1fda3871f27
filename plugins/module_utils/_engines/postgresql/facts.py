# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Facts of a database that its restore needs, as the manifest stores them."""

from __future__ import annotations

from ..._core.errors import Refused
from ..._core.model import Json
from .connection import Database
from .settings import split_list

_DATABASE = """
SELECT to_jsonb(d) - 'datacl', pg_encoding_to_char(d.encoding)::text, pg_get_userbyid(d.datdba)::text,
       shobj_description(d.oid, 'pg_database'), d.oid::bigint
  FROM pg_database d WHERE d.datname = %s
"""

_ACL = """
SELECT pg_get_userbyid(a.grantor)::text, CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END,
       a.privilege_type, a.is_grantable
  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
 WHERE d.oid = %s ORDER BY 1, 2, 3
"""

_TABLESPACES = """
SELECT t.spcname::text FROM pg_tablespace t JOIN pg_database d ON d.datname = current_database()
 WHERE t.spcname NOT IN ('pg_default', 'pg_global')
   AND (t.oid = d.dattablespace OR EXISTS (SELECT FROM pg_class c WHERE c.reltablespace = t.oid))
 ORDER BY 1
"""


def of_database(database: Database, name: str) -> Json:
    """Owner, privileges, settings, encoding and locale of a database, from any database of the server."""
    found = database.rows(_DATABASE, name)
    if not found:
        raise Refused(f'there is no database "{name}" on the server')
    row, encoding, owner, comment, oid = found[0]
    settings: list[str] = []
    by_role: dict[str, list[str]] = {}
    for role, config in database.rows(
        "SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole)::text END, setconfig"
        " FROM pg_db_role_setting WHERE setdatabase = %s ORDER BY 1",
        oid,
    ):
        if role:
            by_role[role] = list(config)
        else:
            settings = list(config)
    return {
        "database": name,
        "encoding": encoding,
        "collate": row["datcollate"],
        "ctype": row["datctype"],
        "provider": row.get("datlocprovider", "c"),
        "locale": row.get("datlocale") or row.get("daticulocale"),
        "icu_rules": row.get("daticurules"),
        "collation_version": row.get("datcollversion"),
        "owner": owner,
        "acl": [list(entry) for entry in database.rows(_ACL, oid)],
        "settings": settings,
        "role_settings": by_role,
        "comment": comment,
        "connection_limit": row["datconnlimit"],
    }


def of_content(database: Database) -> Json:
    """Extensions, tablespaces and the schema `public`, from inside the database."""
    return {
        "extensions": dict(database.rows("SELECT extname::text, extversion FROM pg_extension ORDER BY 1")),
        "tablespaces": database.column(_TABLESPACES),
        "public_schema": bool(database.value("SELECT to_regnamespace('public') IS NOT NULL")),
        "large_objects": int(database.value("SELECT count(*) FROM pg_largeobject_metadata")),
    }


def search_path(database: Database) -> list[str]:
    """The schemas that a session of this user searches, before ours emptied the path."""
    path = split_list(database.value("SELECT reset_val FROM pg_settings WHERE name = 'search_path'"))
    user = database.value("SELECT current_user::text")
    return [user if name == "$user" else name for name in path]
