# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A dump of one flavour loaded into the other: what is refused, what gets lost, and what is written differently.

What is known to be impossible is refused here. The rest the server refuses while it loads the scratch copy, with its
own words; nothing live is touched by then.
"""

from __future__ import annotations

import dataclasses

from ..._core.errors import Refused
from ..._core.model import Part
from .definitions import Definition
from .flavours import FLAVOURS, Flavour

_LOST = {
    "mysql": "accounts and their privileges",
    "mariadb": "accounts and their privileges, invisibility of columns and indexes, SRIDs, histograms",
}
_CHANGED = {"mysql": "", "mariadb": "; a CHECK that was not enforced is enforced"}


def accepts(flavour: Flavour, part: Part) -> list[str]:
    """Refuse what the other flavour has and this one lacks; a warning that says what is not carried over."""
    source = FLAVOURS.get(part.flavour)
    if source is None or part.format != "sql":
        raise Refused(
            f"the backup was made of {part.flavour or 'another server'} ({part.format}), and this is {flavour.title}"
        )
    lacking = []
    if part.fingerprint.objects.get("sequence"):
        lacking.append("sequences")
    if part.facts.get("history"):
        lacking.append("system-versioned tables")
    if lacking:
        raise Refused(
            f"the backup was made of {source.title} and holds {' and '.join(lacking)}, which {flavour.title} does not have",
            hint=f"Restore it into {source.title}.",
        )
    return [
        f"a backup of {source.title} is loaded into {flavour.title}: {_LOST[flavour.name]} are not carried over"
        f"{_CHANGED[flavour.name]}; tables are compared by their number of rows only"
    ]


def unknown_modes(flavour: Flavour, part: Part) -> frozenset[str]:
    """SQL modes that the part may name and this server does not know."""
    if part.flavour == flavour.name or part.flavour not in FLAVOURS:
        return frozenset()
    return frozenset(FLAVOURS[part.flavour].own_modes)


def known(one: Definition, unknown: frozenset[str]) -> Definition:
    """A definition without those modes."""
    if not unknown:
        return one
    return dataclasses.replace(one, sql_mode=",".join(mode for mode in one.sql_mode.split(",") if mode not in unknown))
