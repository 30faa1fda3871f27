# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a schema is made of, as plain text by object, so that two states of it can be compared and named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Schema:
    """`objects`: `table orders`, `column orders.id`, `index orders.by_day`, … and what each is.

    The tool's own table of versions is not among them: what is in it is never trusted, only read.
    """

    objects: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The same for the same schema, on any machine."""
        return hashlib.sha256(json.dumps(dict(self.objects), sort_keys=True).encode()).hexdigest()

    def change_to(self, later: Schema) -> dict[str, object]:
        """What `changed` needs to make the other of this one, as JSON."""
        mine, theirs = self.objects, later.objects
        made = {label: what for label, what in theirs.items() if mine.get(label) != what}
        return {"gone": [label for label in mine if label not in theirs], "made": made}

    def changed(self, change: Mapping[str, Any]) -> Schema:
        kept = {label: what for label, what in self.objects.items() if label not in change["gone"]}
        return Schema({**kept, **change["made"]})

    def with_tables(self, tables: Collection[str], found: Schema) -> Schema:
        """The same, with these tables as they are in `found`, which holds nothing else."""
        kept = {label: what for label, what in self.objects.items() if table_of(label) not in tables}
        return Schema({**kept, **found.objects})

    def differences(self, later: Schema) -> list[str]:
        """What `later` has that this has not, a line each; columns and indexes of a table that came or went are its own."""
        mine, theirs = self.objects, later.objects
        made = sorted(set(theirs) - set(mine))
        gone = sorted(set(mine) - set(theirs))
        lines = [f"{label} was made" for label in made if not _within(label, made)]
        lines += [f"{label} is gone" for label in gone if not _within(label, gone)]
        lines += [
            f"{label} was changed ({mine[label]} before, {theirs[label]} now)"
            for label in sorted(set(mine) & set(theirs))
            if mine[label] != theirs[label]
        ]
        return lines


def table_of(label: str) -> str:
    """The table that an object is or belongs to; "" for one of another kind."""
    kind, _rest, name = label.rpartition(" ")
    if kind == "table":
        return name
    return name.rpartition(".")[0] if kind in ("column", "index", "foreign key") else ""


def _within(label: str, labels: list[str]) -> bool:
    """Whether it belongs to a table that is in the same list."""
    kind, _rest, name = label.partition(" ")
    if kind == "table":
        return False
    table = name.rpartition(".")[0]
    return bool(table) and f"table {table}" in labels
