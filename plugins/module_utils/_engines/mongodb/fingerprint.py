# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Fingerprints of collections on a server, comparable with those of an archive."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ..._core import drivers
from ..._core.model import Fingerprint, TableFingerprint
from . import archive, catalog
from .catalog import ID_INDEX, VIEW, Definition
from .connection import Mongo, translated

_length_of = struct.Struct("<i").unpack_from


def read(mongo: Mongo, collection: str, level: str) -> TableFingerprint:
    if level != "full":
        return TableFingerprint(catalog.count(mongo, collection))
    total, rows = 0, 0
    with translated(f"reading {collection}"):
        for batch in mongo.database[collection].find_raw_batches({}):
            view, position = memoryview(batch), 0
            while position < len(view):
                size = _length_of(view, position)[0]
                total = archive.added(total, archive.document_hash(view[position : position + size]))
                rows += 1
                position += size
    return TableFingerprint(rows, checksum=archive.checksum(total))


def live(mongo: Mongo, level: str, newest_of: Optional[Mapping[str, str]]) -> Fingerprint:
    held = catalog.definitions(mongo)
    tables = {one.name: read(mongo, one.name, level) for one in held if one.kind != VIEW}
    return Fingerprint(
        level, tables, objects(held), newest(mongo, newest_of, newest_of["table"]) if newest_of else None
    )


def objects(held: Iterable[Definition]) -> dict[str, int]:
    held = list(held)
    return {
        "index": sum(len([index for index in one.indexes if index["name"] != ID_INDEX]) for one in held),
        "view": sum(one.kind == VIEW for one in held),
    }


# The newest value -----------------------------------------------------------------------------------


def newest(mongo: Mongo, wanted: Mapping[str, str], collection: str) -> Optional[str]:
    column = wanted["column"]
    with translated(f"reading the newest {column} of {collection}"):
        found = mongo.database[collection].find_one({column: {"$ne": None}}, {column: 1}, sort=[(column, -1)])
    return spelled(value_at(found, column)) if found else None


class Newest:
    """The largest value of a field among documents that pass by, in the server's order of types."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._largest: Any = None

    def __call__(self, document: bytes) -> None:
        bson = drivers.bson()
        options = bson.CodecOptions(datetime_conversion=bson.DatetimeConversion.DATETIME_AUTO)
        value = value_at(bson.decode(document, options), self._column)
        if value is None or isinstance(value, (list, dict)):
            return
        if self._largest is None or _order(value) > _order(self._largest):
            self._largest = value

    @property
    def value(self) -> Optional[str]:
        return spelled(self._largest) if self._largest is not None else None


def value_at(document: Any, path: str) -> Any:
    """`meta.created` of {meta: {created: …}}; None where there is nothing."""
    for step in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(step)
    return document


def _order(value: Any) -> tuple[int, Any]:
    """Sort key by the server's order of types: numbers, strings, objects, binary, ids, booleans, dates, timestamps."""
    if isinstance(value, bool):
        return (5, value)
    if hasattr(value, "to_decimal"):
        return (0, value.to_decimal())
    if isinstance(value, (int, float)):
        return (0, value)
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, bytes):
        return (3, (len(value), value))
    if isinstance(value, datetime.datetime):
        return (6, (value - datetime.datetime(1970, 1, 1)) / datetime.timedelta(milliseconds=1))
    if type(value).__name__ == "DatetimeMS":
        return (6, float(int(value)))
    if hasattr(value, "inc"):  # a timestamp of the server
        return (7, (value.time, value.inc))
    return (4, str(value)) if type(value).__name__ == "ObjectId" else (8, str(value))


def spelled(value: Any) -> Optional[str]:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)
