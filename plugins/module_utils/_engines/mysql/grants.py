# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What SHOW GRANTS prints: read, judged, rewritten for another database. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Optional

from .connection import name

_IDENTIFIER = r"`(?:[^`]|``)*`"
_ON = re.compile(
    rf"^GRANT (?P<what>.+?) ON (?P<kind>TABLE |PROCEDURE |FUNCTION |PACKAGE BODY |PACKAGE )?"
    rf"(?P<database>\*|{_IDENTIFIER})\.(?P<object>\*|{_IDENTIFIER}) TO (?P<rest>.+)$"
)
_REVOKED = re.compile(rf"^REVOKE (?P<what>.+?) ON (?P<database>{_IDENTIFIER})\.\* FROM ")
_ROLE = re.compile(rf"^GRANT (?P<role>{_IDENTIFIER}) TO (?P<rest>.+)$")


@dataclasses.dataclass(frozen=True)
class Grant:
    """One line. `pattern` is the database as it was granted, `*` for all; `object` likewise."""

    what: str  # as printed: `SELECT (`id`), INSERT`
    kind: str  # "" | PROCEDURE | FUNCTION | PACKAGE | PACKAGE BODY
    pattern: str
    object: str
    rest: str  # account and options

    @property
    def privileges(self) -> frozenset[str]:
        """Those that hold for all columns."""
        parts = re.split(r",\s*(?![^(]*\))", self.what)
        return frozenset(part.strip().upper() for part in parts if "(" not in part)

    def covers(self, database: str) -> bool:
        return self.pattern == "*" or matches(self.pattern, database)

    def on(self, database: str, source: str) -> str:
        """The statement that gives it on `database`, what it gave on `source`. Without anything that
        would change how the account logs in."""
        pattern = self.pattern if database == source and not _wild(self.pattern) else escaped(database)
        if self.object != "*":
            pattern = database
        target = f"{name(pattern)}.{'*' if self.object == '*' else name(self.object)}"
        kind = f"{self.kind} " if self.kind else ""
        return f"GRANT {self.what} ON {kind}{target} TO {self.rest}"


def parse(line: str) -> Optional[Grant]:
    """A line about privileges; None for roles, proxies and default roles."""
    found = _ON.match(line)
    if found is None:
        return None
    kind = (found["kind"] or "").strip()
    return Grant(
        found["what"],
        "" if kind == "TABLE" else kind,
        _plain(found["database"]),
        _plain(found["object"]),
        _without_authentication(found["rest"]),
    )


def role_of(line: str) -> Optional[str]:
    """The role that a line gives."""
    found = _ROLE.match(line)
    return _plain(found["role"]) if found else None


def held(lines: Iterable[str], database: str) -> frozenset[str]:
    """Privileges on everything in a database, by all grants together."""
    everywhere: set[str] = set()
    here: set[str] = set()
    for line in lines:
        grant, revoked = parse(line), _REVOKED.match(line)
        if grant and not grant.kind and grant.object == "*" and grant.covers(database):
            (everywhere if grant.pattern == "*" else here).update(grant.privileges)
        elif revoked and _plain(revoked["database"]) == database:  # MySQL's partial revokes; they come last
            everywhere -= {one.strip().upper() for one in revoked["what"].split(",")}
    return frozenset(everywhere | here)


def lacking(wanted: Sequence[str], privileges: frozenset[str]) -> list[str]:
    if "ALL PRIVILEGES" in privileges or "ALL" in privileges:
        return []
    return [one for one in wanted if one not in privileges]


def restricted(lines: Iterable[str], database: str) -> list[Grant]:
    """What concerns this database alone: never a global privilege."""
    grants = [parse(line) for line in lines]
    return [grant for grant in grants if grant and grant.pattern != "*" and _concerns(grant, database)]


def _concerns(grant: Grant, database: str) -> bool:
    # Below the database's level the name is meant as it stands; at it, it is a pattern.
    return grant.pattern == database if grant.object != "*" else grant.covers(database)


def matches(pattern: str, database: str) -> bool:
    """Whether a database is meant by a grant's pattern: `_` and `%` stand for others, `\\` takes that back."""
    expression, index = "", 0
    while index < len(pattern):
        letter = pattern[index]
        if letter == "\\" and index + 1 < len(pattern):
            index += 1
            expression += re.escape(pattern[index])
        else:
            expression += {"%": ".*", "_": "."}.get(letter) or re.escape(letter)
        index += 1
    return re.fullmatch(expression, database, re.DOTALL) is not None


def escaped(database: str) -> str:
    """The pattern that means exactly this database."""
    return re.sub(r"([\\_%])", r"\\\1", database)


def unescaped(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern)


def _wild(pattern: str) -> bool:
    return "%" in re.sub(r"\\.", "", pattern)


def _plain(identifier: str) -> str:
    return identifier if identifier == "*" else identifier[1:-1].replace("``", "`")


def _without_authentication(rest: str) -> str:
    """The account and WITH GRANT OPTION; no password, no plugin, no limits."""
    found = re.match(rf"^({_IDENTIFIER}(?:@{_IDENTIFIER})?)", rest)
    account = found[1] if found else rest.split(" ", 1)[0]
    return f"{account} WITH GRANT OPTION" if rest.endswith(" WITH GRANT OPTION") else account


def default_role(line: str) -> str:
    """The role that `SET DEFAULT ROLE … FOR …` names."""
    found = re.match(rf"^SET DEFAULT ROLE ({_IDENTIFIER}) FOR ", line)
    return _plain(found[1]) if found else ""
