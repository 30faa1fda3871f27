# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a database holds: its collections with options and indexes, its views, how many documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..._core import drivers
from ..._core.errors import Refused
from ..._core.model import Json
from .connection import NO_NAMESPACE, CommandError, Mongo, translated
from .names import is_scratch, is_system

ID_INDEX = "_id_"
COLLECTION, VIEW = "collection", "view"
TTL = "expireAfterSeconds"
# What the server numbers by itself, or names after where the index is now.
_OWN = ("v", "ns", "background")


@dataclasses.dataclass(frozen=True)
class Definition:
    """A collection or view: its options and indexes as documents; `json` is for manifests and journals."""

    name: str
    kind: str = COLLECTION
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    indexes: tuple[Mapping[str, Any], ...] = ()

    @property
    def lasting(self) -> list[Mapping[str, Any]]:
        """Indexes that only help to find; not the one that every collection has."""
        return [one for one in self.indexes if one["name"] != ID_INDEX and TTL not in one]

    @property
    def expiring(self) -> list[Mapping[str, Any]]:
        """Indexes by which the server removes documents."""
        return [one for one in self.indexes if TTL in one]

    def json(self) -> Json:
        return {
            "name": self.name,
            "kind": self.kind,
            "options": dumps(self.options),
            "indexes": [dumps(one) for one in self.indexes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Definition:
        indexes = tuple(loads(one) for one in data["indexes"])
        return cls(data["name"], data["kind"], loads(data["options"]), indexes)


def dumps(document: Any) -> str:
    """Extended JSON, from which every type comes back."""
    util = drivers.json_util()
    return str(util.dumps(document, json_options=util.CANONICAL_JSON_OPTIONS))


def loads(text: str) -> Any:
    util = drivers.json_util()
    return util.loads(text, json_options=util.CANONICAL_JSON_OPTIONS)


def from_archive(entry: Mapping[str, Any]) -> Definition:
    """What mongodump's archive says of one collection."""
    said = loads(entry["metadata"]) if entry.get("metadata") else {}
    kind = entry.get("type") or said.get("type") or COLLECTION
    return Definition(entry["collection"], kind, said.get("options") or {}, _plain(said.get("indexes") or ()))


def _plain(indexes: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({key: value for key, value in one.items() if key not in _OWN} for one in indexes)


# Reading --------------------------------------------------------------------------------------------


def listed(mongo: Mongo) -> list[dict[str, Any]]:
    """What listCollections says of everything but the server's own and our scratch."""
    with translated(f"listing the collections of {mongo.name}"):
        found = [dict(one) for one in mongo.database.list_collections()]
    mine = [one for one in found if not is_scratch(one["name"]) and one["name"] != "system.views"]
    return sorted(mine, key=lambda one: str(one["name"]))


def names(mongo: Mongo) -> list[str]:
    """Everything that there is, scratch and the server's own too."""
    with translated(f"listing the collections of {mongo.name}"):
        return [str(one) for one in mongo.database.list_collection_names()]


def definitions(mongo: Mongo, only: Optional[Sequence[str]] = None) -> list[Definition]:
    return [
        Definition(one["name"], kind_of(one), one.get("options") or {}, indexes(mongo, one["name"], kind_of(one)))
        for one in listed(mongo)
        if not is_system(one["name"]) and (only is None or one["name"] in only)
    ]


def kind_of(listed_as: Mapping[str, Any]) -> str:
    return str(listed_as.get("type") or COLLECTION)


def indexes(mongo: Mongo, collection: str, kind: str = COLLECTION) -> tuple[Mapping[str, Any], ...]:
    if kind == VIEW:
        return ()
    try:
        with translated(f"reading the indexes of {collection}"):
            return _plain(dict(one) for one in mongo.database[collection].list_indexes())
    except CommandError as error:
        if error.code == NO_NAMESPACE:
            return ()
        raise


def count(mongo: Mongo, collection: str) -> int:
    with translated(f"counting {collection}"):
        return int(mongo.database[collection].count_documents({}))


def writes(mongo: Mongo, collection: str) -> Optional[int]:
    """How often the collection was written to since the server's start; None where it does not say."""
    try:
        found = mongo.aggregate(collection, [{"$collStats": {"latencyStats": {}}}])
    except CommandError:
        return None
    return int(found[0]["latencyStats"]["writes"]["ops"]) if found else None


def check_carried(found: Sequence[Mapping[str, Any]], excluded: Sequence[str], mongo: Mongo) -> None:
    """Refuse, by name, what cannot be restored: a backup that leaves it out would not be one."""
    hint = "Leave it out with exclude_tables, or back it up in another way."
    for one in found:
        name, options = one["name"], one.get("options") or {}
        if name in excluded:
            continue
        if kind_of(one) == "timeseries":
            raise Refused(f"{name} is a time series: the server cannot rename one, and so not swap it", hint=hint)
        if options.get("encryptedFields"):
            raise Refused(f"{name} has encrypted fields: the server cannot rename it, and so not swap it", hint=hint)
        if name == "system.js" and count(mongo, name):
            raise Refused("the database has functions of its own (system.js), which cannot be swapped", hint=hint)


# Making ---------------------------------------------------------------------------------------------


def create(mongo: Mongo, definition: Definition, name: str) -> None:
    """An empty collection, or a view."""
    mongo.command("create", name, doing=f"creating {definition.name}", **definition.options)


def create_indexes(mongo: Mongo, collection: str, wanted: Sequence[Mapping[str, Any]], doing: str) -> None:
    if wanted:
        mongo.command("createIndexes", collection, doing=doing, indexes=[dict(one) for one in wanted])
