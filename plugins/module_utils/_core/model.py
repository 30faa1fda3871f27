# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The dataclasses that rooms share: what a backup is made of, and how two states are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from . import shape

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class App:
    """An application and which of its installations is meant."""

    name: str
    instance: str

    @property
    def key(self) -> str:
        """The name used for locks, directories and restic's --host: `booking-production`."""
        return f"{self.name}-{self.instance}"


@dataclasses.dataclass(frozen=True)
class Datastore:
    """One place that holds data, as the user described it; `options` are its engine's own, validated."""

    name: str
    engine: str
    content: str = "data"  # data | configuration | cache
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f'{self.engine} datastore "{self.name}"'


@dataclasses.dataclass(frozen=True)
class TableFingerprint:
    """What is known of one table (or collection): exact rows, or a range when they moved meanwhile.

    `rows_max` is set only where the table could not be counted inside the dump's snapshot: then the
    dump holds between `rows` and `rows_max` rows. `checksum` is set by the level `full`.
    """

    rows: int
    rows_max: Optional[int] = None
    checksum: Optional[str] = None

    def matches(self, other: TableFingerprint) -> bool:
        """Whether the data that `other` counted exactly can be what this fingerprint describes."""
        if self.rows_max is not None:
            return self.rows <= other.rows <= self.rows_max
        if self.checksum and other.checksum and self.checksum != other.checksum:
            return False
        return self.rows == other.rows


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """A state of a datastore, short enough to store and exact enough to compare.

    `tables` by name (qualified by the schema where an engine has schemas), `objects` counts by kind
    (view, trigger, routine, event, sequence, account, file, directory, byte …), `newest` the newest
    value of the column that the user named.
    """

    level: str = "counts"
    tables: Mapping[str, TableFingerprint] = dataclasses.field(default_factory=dict)
    objects: Mapping[str, int] = dataclasses.field(default_factory=dict)
    newest: Optional[str] = None

    @property
    def rows(self) -> int:
        """Rows of all tables together (the lower bound where a table has a range)."""
        return sum(table.rows for table in self.tables.values())

    def differences(self, other: Fingerprint) -> list[str]:
        """What is not the same in `other`, a line each; empty when `other` is a faithful copy."""
        lines = [f"table {name} is missing" for name in sorted(set(self.tables) - set(other.tables))]
        lines += [f"table {name} is not in the backup" for name in sorted(set(other.tables) - set(self.tables))]
        for name in sorted(set(self.tables) & set(other.tables)):
            mine, theirs = self.tables[name], other.tables[name]
            if not mine.matches(theirs):
                lines.append(f"table {name}: {_table(mine)} expected, {_table(theirs)} found")
        for kind in sorted(set(self.objects) | set(other.objects)):
            expected, found = self.objects.get(kind, 0), other.objects.get(kind, 0)
            if expected != found:
                lines.append(f"{kind}: {expected} expected, {found} found")
        if self.newest is not None and other.newest is not None and self.newest != other.newest:
            lines.append(f"newest value: {self.newest} expected, {other.newest} found")
        return lines

    def to_json(self) -> Json:
        return {
            "level": self.level,
            "tables": {
                name: {key: value for key, value in dataclasses.asdict(table).items() if value is not None}
                for name, table in sorted(self.tables.items())
            },
            "objects": dict(sorted(self.objects.items())),
            "newest": self.newest,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fingerprint:
        tables = {name: shape.read(TableFingerprint, table) for name, table in data.get("tables", {}).items()}
        return shape.read(cls, {**data, "tables": tables})


def _table(table: TableFingerprint) -> str:
    rows = f"{table.rows} rows" if table.rows_max is None else f"{table.rows} to {table.rows_max} rows"
    return f"{rows}, checksum {table.checksum[:12]}" if table.checksum else rows


@dataclasses.dataclass(frozen=True)
class Description:
    """What an engine says about its datastore before a dump: versions, and what restore must know.

    `facts` is the engine's own (charset, collation, accounts, owner, …): stored in the manifest,
    given back to the engine at restore, never shown in a result (it may hold password hashes).
    """

    flavour: str
    server_version: str = ""
    tool_version: str = ""
    size: int = 0  # bytes of live data, an estimate, for the check of free space
    schema_revision: Optional[str] = None  # alembic_version where the table exists
    facts: Json = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Part:
    """One datastore's share of a backup, as the manifest records it."""

    datastore: str
    engine: str
    flavour: str
    content: str
    format: str  # sql | pgcustom | sqlite | tree
    filename: str  # name of the stream in its snapshot; "" for a tree
    snapshot: str  # restic snapshot id
    bytes: int
    sha256: str  # "" for a tree (restic verifies each blob itself)
    fingerprint: Fingerprint
    server_version: str = ""
    tool_version: str = ""
    flags: tuple[str, ...] = ()
    schema_revision: Optional[str] = None
    facts: Json = dataclasses.field(default_factory=dict)
    exit_codes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    stored: int = 0  # bytes that this part added to the repository

    def to_json(self) -> Json:
        data = dataclasses.asdict(self)
        data["fingerprint"] = self.fingerprint.to_json()
        data["flags"] = list(self.flags)
        data["exit_codes"] = dict(self.exit_codes)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Part:
        """From what `to_json` gave; `ValueError` and its kin for anything else."""
        fingerprint = Fingerprint.from_json(data["fingerprint"])
        return shape.read(cls, {**data, "fingerprint": fingerprint, "flags": tuple(data.get("flags", ()))})
