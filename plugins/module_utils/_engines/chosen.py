# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which tables or collections of a part a user means: exact names, the nearest ones where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .._core.errors import Refused
from .._core.model import Part
from .base import Chosen


def resolved(name: str, part: Part) -> str:
    """The name as the fingerprint has it: exact, else with the schema that was left out (`public` first)."""
    held = part.fingerprint.tables
    if name in held:
        return name
    plain = {one: one.replace('"', "") for one in held}
    for wanted in (name, f"public.{name}"):
        for one, spelled in plain.items():
            if spelled == wanted:
                return one
    ends = [one for one, spelled in plain.items() if part.engine == "postgresql" and spelled.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise Refused(f'include: there are several tables "{name}"', hint=f"Name one of {', '.join(sorted(ends))}.")
    raise _unknown(name, part)


def refuse_unknown(part: Part, chosen: Chosen) -> None:
    """Refuse names that the part does not hold, exactly as its fingerprint spells them."""
    for name in chosen.names:
        if name not in part.fingerprint.tables:
            raise _unknown(name, part)


def _unknown(name: str, part: Part) -> Refused:
    held = part.fingerprint.tables
    bare = [one.replace('"', "").rpartition(".")[2] for one in held] if part.engine == "postgresql" else []
    near = nearest(name, (*held, *bare))
    return Refused(
        f'include: the backup of {part.datastore} holds no table or collection "{name}"',
        hint=f"Did you mean {near}?" if near else "Views and other objects are restored with the whole datastore only.",
    )


def nearest(name: str, known: Iterable[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, sorted(set(known)), 3))
