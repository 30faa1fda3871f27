# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Names and values as SQL and as libpq want them: pure functions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from ..._core.errors import Refused

_PLAIN = re.compile(r"^[a-z_][a-z0-9_]*$")


def ident(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant, for statements that take no parameters."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in quoted else quoted


def conninfo(**settings: str) -> str:
    """Settings for `--dbname`, where a bare database name with `=` in it would be read as such, too."""
    quoted = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in settings.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def qualified(schema: str, name: str) -> str:
    return f"{ident(schema)}.{ident(name)}"


def label(schema: str, name: str) -> str:
    """A table's name for people and for fingerprints: quoted only where it must be.

    Not the server's quote_ident: that depends on the version's list of reserved words, and the same
    table would have two names in a backup and in its copy on a newer server.
    """
    return ".".join(part if _PLAIN.match(part) else ident(part) for part in (schema, name))


def pattern(schema: str, name: str) -> str:
    """A pattern of pg_dump that matches exactly this table."""
    return qualified(schema, name)


def choose(wanted: str, known: Mapping[int, tuple[str, str]], what: str) -> int:
    """The oid of the table that a user means by `table` or `schema.table`; `known`: schema and name by oid.

    A name without its schema means the table in `public` where several schemas have one.
    """
    full = [oid for oid, (schema, name) in known.items() if wanted in (f"{schema}.{name}", label(schema, name))]
    bare = [oid for oid, (schema, name) in known.items() if wanted in (name, ident(name))]
    public = [oid for oid in bare if known[oid][0] == "public"]
    for found in (full, public, bare):
        if len(found) == 1:
            return found[0]
    if bare:
        choices = ", ".join(sorted(label(*known[oid]) for oid in bare))
        raise Refused(f'{what}: there are several tables "{wanted}"', hint=f"Name one of {choices}.")
    names = sorted({*(label(*pair) for pair in known.values()), *(name for schema, name in known.values())})
    near = difflib.get_close_matches(wanted, names, 3)
    raise Refused(
        f'{what}: there is no table "{wanted}" in the database',
        hint=f"Did you mean {', '.join(near)}?" if near else "Name it as table or schema.table.",
    )


def listed(names: Sequence[str], limit: int = 10) -> str:
    """The first names of a list, for a message."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 15.18 for `15.18 (Debian 15.18-0+deb12u1)`."""
    match = re.match(r"\s*(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def major(version: str) -> int:
    return (numbers(version) or (0,))[0]
