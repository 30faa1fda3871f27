# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What was written during a dump, from the oplog of a replica set, and done again on a staged copy.

With it all collections are those of one moment, the dump's end. mongodump's own --oplog takes all databases of
the server along, and mongorestore's replay knows the original names only, so that it would write to the live
database. Here the operations on one database follow its archive, as one more block of it.

Doing an operation again changes nothing: an insert puts a document, whether it is there or not, and a change
or removal of one that is not there does nothing. The dump may have seen it, or not.
https://www.mongodb.com/docs/manual/core/replica-set-oplog/
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._core import drivers
from ..._core.errors import Busy, Mismatch, Refused
from ..._core.model import Json, TableFingerprint
from .connection import Mongo, translated
from .names import is_scratch

SOURCE = ("local", "oplog.rs")
TERMINATOR = b"\xff\xff\xff\xff"
_HINT = "Run the backup again when no migration runs."
_length_of = struct.Struct("<i").unpack_from


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change of one document. `kind`: i(nsert), u(pdate), d(elete)."""

    kind: str
    collection: str
    document: Mapping[str, Any]  # what is inserted, how it is changed, or whose _id is removed
    id: Any = None  # of the document that is changed

    def encoded(self) -> bytes:
        entry = {"op": self.kind, "c": self.collection, "o": self.document, "id": self.id}
        return bytes(drivers.bson().encode(entry))


# Backing up -----------------------------------------------------------------------------------------


def check(mongo: Mongo) -> None:
    if not mongo.admin("hello").get("setName"):
        raise Refused("oplog: this server is no member of a replica set, and so has none", hint="Leave the option out.")
    newest(mongo)


def newest(mongo: Mongo) -> Any:
    """The oplog's end."""
    with translated("reading the oplog"):
        found = mongo.client[SOURCE[0]][SOURCE[1]].find_one({}, sort=[("$natural", -1)])
    if found is None:
        raise Refused("the oplog is empty, or this user may not read it", hint="Give it read on the database local.")
    return found["ts"]


def operations(mongo: Mongo, since: Any, until: Any, excluded: Sequence[str]) -> Iterator[Operation]:
    """Those on the database between two moments, in their order; what cannot be done again is an error."""
    raw = drivers.raw_bson()
    options = drivers.bson().CodecOptions(document_class=raw.RawBSONDocument)
    with translated("reading the oplog"):
        source = mongo.client[SOURCE[0]].get_collection(SOURCE[1], codec_options=options)
        oldest = source.find_one({}, sort=[("$natural", 1)])
        if oldest is None or oldest["ts"] > since:
            raise Busy("the oplog is too small: what was written when the dump began is not in it any more")
        entries = source.find({"ts": {"$gte": since, "$lte": until}})
        for one in flat(entries, mongo.name):
            if one.collection not in excluded and not is_scratch(one.collection):
                yield one


def flat(entries: Iterable[Mapping[str, Any]], database: str) -> Iterator[Operation]:
    """Entries of the oplog, transactions taken apart."""
    waiting: dict[bytes, list[Operation]] = {}  # of transactions that have more than one entry
    for entry in entries:
        inside = entry["o"]
        if entry["op"] == "c" and "applyOps" in inside:
            mine = [one for inner in inside["applyOps"] for one in _single(inner, database)]
            key = drivers.bson().encode({"s": entry.get("lsid"), "n": entry.get("txnNumber")})
            before = entry.get("prevOpTime")
            if inside.get("prepare"):
                if mine:
                    raise Busy("a transaction over several shards ran during the dump", hint=_HINT)
            elif inside.get("partialTxn"):
                waiting.setdefault(key, []).extend(mine)
            elif key not in waiting and before is not None and before["ts"].time and "count" in inside:
                raise Busy("a transaction was being written when the dump began", hint="Run the backup again.")
            else:
                yield from [*waiting.pop(key, []), *mine]
        else:
            yield from _single(entry, database)


def _single(entry: Mapping[str, Any], database: str) -> Iterator[Operation]:
    of, _dot, collection = str(entry["ns"]).partition(".")
    kind = entry["op"]
    if of != database or kind == "n":
        return
    if kind == "c" or collection.startswith("system."):
        what = next(iter(entry["o"]), "a command") if kind == "c" else f"a change of {collection}"
        raise Busy(f"collections or indexes were changed during the dump ({what})", hint=_HINT)
    if kind not in ("i", "u", "d"):
        raise Busy(f"the oplog holds an operation {kind} that is not understood")
    yield Operation(kind, collection, entry["o"], entry["o2"]["_id"] if kind == "u" else None)


def block(found: Iterable[Operation], touched: dict[str, list[int]]) -> Iterator[bytes]:
    """The operations as a block of the archive; how many were added and removed, by collection."""
    bson = drivers.bson()
    yield bson.encode({"db": "", "collection": "oplog", "EOF": False, "CRC": bson.Int64(0)})
    for one in found:
        counted = touched.setdefault(one.collection, [0, 0])
        if one.kind != "u":
            counted[one.kind == "d"] += 1
        yield one.encoded()
    end = bson.encode({"db": "", "collection": "oplog", "EOF": True, "CRC": bson.Int64(0)})
    yield TERMINATOR + end + TERMINATOR


def ranged(table: TableFingerprint, added: int, removed: int) -> TableFingerprint:
    """What a collection holds once they are done again: the dump may have seen each of them, or not."""
    return TableFingerprint(max(table.rows - removed, 0), table.rows + added)


# Restoring ------------------------------------------------------------------------------------------


def read(content: bytes) -> Iterator[Operation]:
    """The operations of a block."""
    raw = drivers.raw_bson()
    position = _length_of(content)[0]
    while content[position : position + 4] != TERMINATOR:
        size = _length_of(content, position)[0] if position + 4 <= len(content) else 0
        if size < 5 or position + size > len(content):
            raise Mismatch("the operations behind the archive are damaged", hint="Use another backup.")
        entry = raw.RawBSONDocument(content[position : position + size])
        position += size
        yield Operation(entry["op"], entry["c"], entry["o"], entry["id"])


def replay(mongo: Mongo, found: Iterable[Operation], names: Mapping[str, str]) -> None:
    """Do them again on the collections that `names` gives for the original ones."""
    with translated("doing again what was written during the dump"):
        for one in found:
            collection = mongo.database[names[one.collection]]
            if one.kind == "i":
                collection.replace_one({"_id": one.document["_id"]}, one.document, upsert=True)
            elif one.kind == "d":
                collection.delete_one({"_id": one.document["_id"]})
            elif any(key.startswith("$") for key in one.document):
                for change in changes(one.document):
                    collection.update_one({"_id": one.id}, change)
            else:
                collection.replace_one({"_id": one.id}, one.document)


def changes(entry: Mapping[str, Any]) -> list[Json]:
    """An update as the oplog has it → updates as a client writes them.

    `$v: 1` has them as they are, `$v: 2` (since 5.0) has a difference: https://github.com/mongodb/mongo, the file
    src/mongo/db/update/document_diff_serialization.h
    """
    if entry.get("$v", 1) == 1:
        return [{key: value for key, value in entry.items() if key != "$v"}]
    cuts: list[Json] = []
    sets: Json = {}
    unsets: Json = {}
    _difference(entry["diff"], "", cuts, sets, unsets)
    both: Json = {**({"$set": sets} if sets else {}), **({"$unset": unsets} if unsets else {})}
    return [*cuts, *([both] if both else [])]


def _difference(diff: Mapping[str, Any], path: str, cuts: list[Json], sets: Json, unsets: Json) -> None:
    array = bool(diff.get("a"))
    for key, value in diff.items():
        if array and key == "a":
            continue
        if array and key == "l":
            cuts.append({"$push": {path[:-1]: {"$each": [], "$slice": value}}})
        elif not array and key in ("u", "i"):
            sets.update({path + name: one for name, one in value.items()})
        elif not array and key == "d":
            unsets.update(dict.fromkeys((path + name for name in value), ""))
        elif array and key.startswith("u"):
            sets[path + key[1:]] = value
        elif key.startswith("s"):
            _difference(value, f"{path}{key[1:]}.", cuts, sets, unsets)
        else:
            raise Mismatch(f"a change in the oplog is not understood ({key})")
