# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The application's users and roles: who may use a database, written down, and made again where that can be.

No command takes a password's hash, and none shows it to everybody: roles are made again, users are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._core.context import Context
from ..._core.model import Json
from . import catalog
from .connection import UNAUTHORIZED, CommandError, Mongo


def read(mongo: Mongo) -> tuple[Json, list[str]]:
    """Users and roles of the database for the manifest, without passwords; warnings."""
    found: Json = {}
    warnings = []
    for command, key in (("usersInfo", "users"), ("rolesInfo", "roles")):
        more: dict[str, Any] = {"showPrivileges": True} if key == "roles" else {}
        try:
            said = mongo.command(command, 1, **more).get(key, [])
        except CommandError as error:
            if error.code == UNAUTHORIZED:
                warnings.append(f"the {key} of the database cannot be read by this user, and are not in the backup")
            elif not error.lacking:
                raise
            said = []
        found[key] = [catalog.dumps(_plain(one)) for one in said]
    return found, warnings


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("user", "role", "db", "roles", "privileges", "customData", "mechanisms", "authenticationRestrictions")
    return {key: entry[key] for key in kept if key in entry}


def create(mongo: Mongo, facts: Mapping[str, Any], source: str, context: Context) -> list[str]:
    """Make the roles that are missing; users that are missing are named, since nobody knows their passwords."""
    kept = {key: [catalog.loads(one) for one in facts.get(key, [])] for key in ("users", "roles")}
    if not kept["users"] and not kept["roles"]:
        return []
    there, warnings = read(mongo)
    if warnings:
        context.warn("whether the application's users and roles exist was not checked: this user may not see them")
        return []
    made = _create_roles(mongo, kept["roles"], {catalog.loads(one)["role"] for one in there["roles"]}, source, context)
    known = {catalog.loads(one)["user"] for one in there["users"]}
    missing = [one for one in kept["users"] if one["user"] not in known]
    for one in missing:
        roles = ", ".join(f"{role['role']} on {role['db']}" for role in one.get("roles", []))
        context.warn(
            f"the user {one['user']} (roles: {roles or 'none'}) does not exist here, and cannot be made without its "
            "password: make it with createUser"
        )
    return made


def _create_roles(
    mongo: Mongo, wanted: Sequence[Mapping[str, Any]], present: set[str], source: str, context: Context
) -> list[str]:
    made = []
    waiting = [one for one in wanted if one["role"] not in present]
    while waiting:  # a role may contain another one: again and again, as long as that helps
        failed: list[tuple[Mapping[str, Any], CommandError]] = []
        for one in waiting:
            try:
                mongo.command("createRole", one["role"], **_moved(one, source, mongo.name))
                made.append(str(one["role"]))
            except CommandError as error:
                failed.append((one, error))
        if len(failed) == len(waiting):
            for one, why in failed:
                context.warn(f"the role {one['role']} was not made: {why.what}")
            break
        waiting = [one for one, why in failed]
    return made


def _moved(role: Mapping[str, Any], source: str, target: str) -> dict[str, Any]:
    """The role's own statement, with the database where it is made in the place of the one it was in."""

    def moved(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {**entry, "db": target} if entry.get("db") == source else dict(entry)

    privileges = [{**one, "resource": moved(one["resource"])} for one in role.get("privileges", [])]
    return {"privileges": privileges, "roles": [moved(one) for one in role.get("roles", [])]}
