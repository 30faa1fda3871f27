# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The swap: both databases renamed in one transaction, and the way back.

Databases are told apart by their oid, which a rename keeps: undo and finish look which oid has which
name, and so find their way after a kill at any point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional

from ..._core.errors import Busy, Interrupted, OpsError, Refused
from ..._core.journal import Step
from ..._core.model import Json, Part
from ..base import Session
from . import facts as read_facts
from . import roles
from .connection import Database, Row, Server, SqlError
from .names import ident, listed, literal
from .settings import acl_statements, settings_statements
from .stage import drop

ATTEMPTS = 5
SESSIONS_END = 10.0  # seconds for ended sessions to be gone
_IN_USE = "55006"  # object_in_use
# Not ours to set, or a setting that this server does not know or takes with other values only.
_NOT_HERE = ("42501", "42704", "22023", "42602")
_POLL = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"


def swap(server: Server, part: Part, live: str, scratch: str, old: str, step: Step) -> None:
    """Put the staged database in the live one's place. A failure undoes itself before it is raised."""
    with server.maintenance(avoid=live) as admin:
        _refuse_attached(admin, live)
        staged_oid, _allowed = _find(admin, scratch)
        if staged_oid is None:
            raise OpsError(f"the staged copy {scratch} is not there any more")
        _drop_invalid(admin, live)
        live_oid, allowed = _find(admin, live)
        _carry_over(admin, part, live, live_oid is not None, scratch, server.context.warn)
        step.save(
            live=live,
            scratch=scratch,
            old=old,
            live_oid=live_oid,
            staged_oid=staged_oid,
            allowed=allowed,
            point="closing",
        )
        try:
            if live_oid is not None:
                admin.run(f"ALTER DATABASE {ident(live)} ALLOW_CONNECTIONS false")
            step.save(point="renaming")
            _rename(
                admin,
                [live, scratch] if live_oid is not None else [scratch],
                ([(live, old)] if live_oid is not None else []) + [(scratch, live)],
            )
        except (Exception, Interrupted):
            undo(server, step)
            raise


def undo(server: Server, step: Step) -> None:
    """The state before the swap, from the journal's data and from what is found."""
    data = step.data
    if "staged_oid" not in data:
        return  # killed before anything was done
    live, scratch, old = str(data["live"]), str(data["scratch"]), str(data["old"])
    with server.maintenance(avoid=live) as admin:
        names = _names(admin, data)
        if data["live_oid"] is None:
            if names.get(data["staged_oid"]) == live:
                _rename(admin, [live], [(live, scratch)])
            return
        found = names.get(data["live_oid"])
        if found not in (live, old):
            raise OpsError(
                f"the database that was live before the swap is {'called ' + found if found else 'gone'}: "
                f"{live} cannot be put back",
                hint="The swap had been finished. Restore the safety copy instead." if not found else "",
            )
        if found == old:
            renames = [(old, live)]
            if names.get(data["staged_oid"]) == live:
                # Nobody may come in between the end of the sessions and the rename.
                admin.run(f"ALTER DATABASE {ident(live)} ALLOW_CONNECTIONS false")
                renames.insert(0, (live, scratch))
            _rename(admin, [live, old], renames)
        _allow(admin, live, bool(data["allowed"]))
        if data["staged_oid"] in names:
            _allow(admin, scratch, True)


def finish(server: Server, step: Step) -> None:
    """Drop what the swap kept, if it still has the name that the swap gave it."""
    data = step.data
    if data.get("live_oid") is None:
        return
    with server.maintenance(avoid=str(data["live"])) as admin:
        if _names(admin, data).get(data["live_oid"]) == data["old"]:
            drop(admin, str(data["old"]))


# What is not in the dump ----------------------------------------------------------------------------


def _carry_over(
    admin: Database, part: Part, live: str, exists: bool, scratch: str, warn: Callable[[str], None]
) -> None:
    """Give the staged database what belongs to the name: the backup's, where it is put back under its own
    name; the target's own, where it replaces another database."""
    facts: Json = part.facts
    if exists and facts.get("database") != live:
        facts = read_facts.of_database(admin, live)
    there = roles.existing(admin)
    owner = roles.owner_or_self(admin, facts)
    granted = {grantee for _grantor, grantee, _privilege, _grantable in facts.get("acl", ()) if grantee}
    lost = sorted((granted | set(facts.get("role_settings", {}))) - there)
    if lost:
        warn(f"the roles {listed(lost)} do not exist: what they may do with database {live} is left out")
    statements = [
        f"ALTER DATABASE {ident(scratch)} RESET ALL",
        f"ALTER DATABASE {ident(scratch)} OWNER TO {ident(owner)}",
    ]
    statements += settings_statements(scratch, facts.get("settings", ()), facts.get("role_settings", {}), there)
    if "acl" in facts:
        statements += acl_statements(scratch, owner, facts["acl"], there)
    if facts.get("comment"):
        statements.append(f"COMMENT ON DATABASE {ident(scratch)} IS {literal(facts['comment'])}")
    limit = int(facts.get("connection_limit", -1))
    statements.append(f"ALTER DATABASE {ident(scratch)} CONNECTION LIMIT {max(limit, -1)}")
    refused = []
    admin.run("BEGIN")
    try:
        for statement in statements:
            try:
                admin.run("SAVEPOINT one")
                admin.run(statement)
            except SqlError as error:
                if error.sqlstate not in _NOT_HERE or " OWNER TO " in statement:
                    raise
                admin.run("ROLLBACK TO SAVEPOINT one")
                refused.append(statement.partition(" TO ")[0])  # a setting's value may be a secret
        admin.run("COMMIT")
    except SqlError:
        admin.run("ROLLBACK")
        raise
    if refused:
        warn(f"not given back to database {live}: {listed(refused)}")


_ATTACHED = (
    ("logical replication slot", "SELECT slot_name::text FROM pg_replication_slots WHERE database = %s"),
    (
        "subscription",
        "SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s",
    ),
    ("prepared transaction", "SELECT gid FROM pg_prepared_xacts WHERE database = %s"),
)


def attached(admin: Database, name: str) -> list[str]:
    """What is tied to a database itself and would not follow its name."""
    found = []
    for kind, sql in _ATTACHED:
        try:
            found += [f"{kind} {one}" for one in admin.column(sql, name)]
        except SqlError as error:
            if error.sqlstate != "42501":  # subscriptions: who may not see them has none of his own
                raise
    return found


def _refuse_attached(admin: Database, name: str) -> None:
    found = attached(admin, name)
    if found:
        raise Refused(
            f"database {name} cannot be replaced while it has: {listed(found)}",
            hint="End or drop it first, and set it up again after the restore.",
        )


# Names, connections, sessions ------------------------------------------------------------------------


def _find(admin: Database, name: str) -> tuple[Optional[int], bool]:
    found = admin.rows("SELECT oid::bigint, datallowconn FROM pg_database WHERE datname = %s", name)
    return found[0] if found else (None, True)


def _drop_invalid(admin: Database, name: str) -> None:
    """A DROP DATABASE that was interrupted leaves a name that can neither be entered nor renamed."""
    if admin.rows("SELECT FROM pg_database WHERE datname = %s AND datconnlimit = -2", name):
        drop(admin, name)


def _names(admin: Database, data: Json) -> dict[Any, str]:
    oids = [data["live_oid"], data["staged_oid"]]
    return dict(admin.rows("SELECT oid::bigint, datname::text FROM pg_database WHERE oid = ANY(%s::oid[])", oids))


def _allow(admin: Database, name: str, allowed: bool) -> None:
    admin.run(f"ALTER DATABASE {ident(name)} ALLOW_CONNECTIONS {'true' if allowed else 'false'}")


def _rename(admin: Database, closed: Sequence[str], renames: Sequence[tuple[str, str]]) -> None:
    """All renames in one transaction, with no session left on `closed`."""
    for attempt in range(ATTEMPTS):
        end_sessions(admin, closed)
        admin.run("BEGIN")
        try:
            for before, after in renames:
                admin.run(f"ALTER DATABASE {ident(before)} RENAME TO {ident(after)}")
            admin.run("COMMIT")
            return
        except SqlError as error:
            admin.run("ROLLBACK")
            if error.sqlstate != _IN_USE:
                raise
            if attempt == ATTEMPTS - 1:
                raise Busy(
                    f"database {renames[0][0]} is still in use: {error.what}",
                    hint="Stop what connects to it, and run this again.",
                ) from None


_SESSIONS = """
SELECT pid, coalesce(usename::text, ''), coalesce(client_addr::text, ''), coalesce(application_name, '')
  FROM pg_stat_activity
 WHERE datname = ANY(%s) AND pid <> pg_backend_pid()
   AND (%s = '' OR NOT starts_with(coalesce(application_name, ''), %s))
   AND (backend_type IS NULL OR backend_type IN ('client backend', 'walsender'))
 ORDER BY pid
"""


def sessions(admin: Database, names: Sequence[str], ours: str = "") -> list[Session]:
    """Clients of these databases, but for the run called `ours`."""
    found: Iterable[Row] = admin.rows(_SESSIONS, list(names), ours, ours)
    return [Session(str(pid), user, address, program) for pid, user, address, program in found]


def end_sessions(admin: Database, names: Sequence[str], ours: str = "") -> list[Session]:
    """End them, and wait until they are gone."""
    found = sessions(admin, names, ours)
    pids = [int(session.id) for session in found]
    try:
        for pid in pids:
            admin.run("SELECT pg_terminate_backend(%s)", pid)
    except SqlError as error:
        if error.sqlstate != "42501":
            raise
        users = listed(sorted({session.user for session in found}))
        raise Refused(
            f"the sessions of {users} on {listed(names)} cannot be ended: {error.what}",
            hint="Restore as a superuser, or grant pg_signal_backend.",
        ) from None
    deadline = time.monotonic() + SESSIONS_END
    while pids and admin.value(_POLL, pids):
        if time.monotonic() > deadline:
            raise Busy(f"sessions on {listed(names)} do not end: {listed([one.user for one in found])}")
        time.sleep(0.05)
    return found
