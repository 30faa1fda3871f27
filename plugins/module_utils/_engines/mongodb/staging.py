# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The staged copy: prefixed collections in the same database, loaded by mongorestore."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Optional, cast

from ..._core.errors import OpsError, Refused
from ..._core.model import Fingerprint, Part, TableFingerprint
from ..._core.process import Child
from . import catalog, fingerprint, oplog, tools
from .catalog import VIEW, Definition
from .connection import Mongo
from .names import within

if TYPE_CHECKING:
    from . import MongoDB

_FORBIDDEN = ("$out", "$merge")
_IN_MEMORY = 32 << 20  # bytes of operations that are kept without a file


def held(part: Part) -> list[Definition]:
    """Collections and views that a restore of the part leaves, the excluded ones empty."""
    kept = [*part.facts.get("collections", []), *part.facts.get("excluded", [])]
    return [Definition.from_json(one) for one in kept]


def collections(part: Part) -> list[Definition]:
    return [one for one in held(part) if one.kind != VIEW]


def views(part: Part) -> list[Definition]:
    return [one for one in held(part) if one.kind == VIEW]


def accepts(engine: MongoDB, mongo: Mongo, part: Part) -> list[str]:
    """Refuse a part that this server cannot take; warnings otherwise."""
    if part.format != "mongoarchive":
        raise Refused(f"the backup was made of {part.engine} ({part.format}), and this is MongoDB")
    engine.tools.version(tools.RESTORE)
    flavour, version = engine.server(mongo)
    warnings = []
    if flavour != part.flavour:
        warnings.append(f"the backup was made of {part.flavour} {part.server_version}, and this is {flavour} {version}")
    elif _numbers(version) < _numbers(part.server_version):
        raise Refused(
            f"the server is {version}, older than the one the backup was made of ({part.server_version})",
            hint="Restore into a server of that version or a newer one.",
        )
    excluded = [str(one["name"]) for one in part.facts.get("excluded", [])]
    if excluded:
        warnings.append(f"the backup holds no documents of {', '.join(excluded)}: they will be empty")
    return warnings


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in version.split(".")[:2] if one.isdigit())


class Split:
    """A pipe for the archive alone; the operations behind it are kept until it is loaded. None: there are none."""

    def __init__(self, pipe: IO[bytes], limit: Optional[int], directory: Path) -> None:
        self._pipe = pipe
        self._left = limit
        where = str(directory) if directory.is_dir() else None
        self._kept = None
        if limit is not None:
            self._kept = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=where)  # noqa: SIM115  # `rest` closes it

    def write(self, data: Any) -> int:
        if self._left is None or self._kept is None:
            return self._pipe.write(data)
        mine = memoryview(data)[: self._left]
        if len(mine):
            self._pipe.write(mine)
            self._left -= len(mine)
        self._kept.write(memoryview(data)[len(mine) :])
        return len(data)

    def flush(self) -> None:
        self._pipe.flush()

    def fileno(self) -> int:
        return self._pipe.fileno()

    def close(self) -> None:
        self._pipe.close()

    def rest(self) -> bytes:
        if self._kept is None:
            return b""
        self._kept.seek(0)
        with self._kept:
            return self._kept.read()


class RestoreLoader:
    """The running mongorestore; indexes and what the backup holds no documents of come after it."""

    def __init__(self, engine: MongoDB, child: Child, part: Part, scratch: str) -> None:
        self._engine = engine
        self._child = child
        self._part = part
        self._scratch = scratch
        kept = part.facts.get("oplog", {})
        rows = sum(table.rows for table in part.fingerprint.tables.values())
        self._expected = int(kept.get("documents", rows))
        self._stdin = Split(child.stdin, part.bytes - int(kept["bytes"]) if kept else None, engine.context.home)

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self._stdin)

    def finish(self) -> None:
        with contextlib.suppress(OSError):  # it may have ended; its exit code says why
            self._stdin.close()
        expected = self._expected
        error = tools.explain_load(self._child, self._child.wait(), expected)
        if error is not None:
            raise error
        with self._engine.session() as mongo:
            if self._part.facts.get("oplog"):
                names = {one.name: within(self._scratch, one.name, mongo.name) for one in collections(self._part)}
                oplog.replay(mongo, oplog.read(self._stdin.rest()), names)
            _complete(mongo, self._part, self._scratch)

    def kill(self) -> None:
        self._child.kill()
        if self._engine.access.container is not None:
            with contextlib.suppress(OpsError):  # the container may be gone, and the tool with it
                self._engine.place.end_run()


def _complete(mongo: Mongo, part: Part, scratch: str) -> None:
    excluded = {str(one["name"]) for one in part.facts.get("excluded", [])}
    for one in collections(part):
        name = within(scratch, one.name, mongo.name)
        if one.name in excluded:
            catalog.create(mongo, one, name)
        catalog.create_indexes(mongo, name, one.lasting, f"making the indexes of {one.name}")


def start(engine: MongoDB, part: Part, scratch: str) -> RestoreLoader:
    source = str(part.facts.get("database", engine.database))
    without = [one.name for one in views(part)]
    named = [one.name for one in collections(part)]
    flags = tools.load_flags(source, engine.database, scratch, named, without)
    return RestoreLoader(engine, engine.tools.spawn([tools.RESTORE, *flags]), part, scratch)


def fingerprint_of(engine: MongoDB, mongo: Mongo, part: Part, scratch: str) -> Fingerprint:
    """Like the part's. Views and expiring indexes are made at the swap; until then what came along counts."""
    level, there = part.fingerprint.level, set(catalog.names(mongo))
    tables: dict[str, TableFingerprint] = {}
    found: list[Definition] = []
    for one in collections(part):
        name = within(scratch, one.name, mongo.name)
        if name in there:
            empty = part.fingerprint.tables[one.name].checksum is None
            tables[one.name] = fingerprint.read(mongo, name, "counts" if empty else level)
            made = catalog.indexes(mongo, name)
            found.append(Definition(one.name, one.kind, one.options, (*made, *one.expiring)))
    wanted, newest = engine.newest, None
    if wanted and part.fingerprint.newest is not None and wanted["table"] in tables:
        newest = fingerprint.newest(mongo, wanted, within(scratch, wanted["table"], mongo.name))
    return Fingerprint(level, tables, fingerprint.objects([*found, *views(part)]), newest)


# Assertions -----------------------------------------------------------------------------------------


def query(mongo: Mongo, scratch: str, text: str) -> Any:
    """`{"collection": …, "pipeline": […]}`: the first value of the first document that the pipeline gives."""
    try:
        asked = catalog.loads(text)
        collection, pipeline = asked["collection"], asked["pipeline"]
    except (ValueError, TypeError, KeyError):
        asked, collection, pipeline = {}, None, None
    if not isinstance(collection, str) or not isinstance(pipeline, list) or set(asked) != {"collection", "pipeline"}:
        raise Refused(
            f"this is no query of MongoDB: {text}",
            hint='Write {"collection": "orders", "pipeline": [{"$match": {}}, {"$count": "orders"}]}, in JSON.',
        )
    found = mongo.aggregate(within(scratch, collection, mongo.name), _staged(pipeline, scratch, mongo.name))
    if not found:
        return None
    values = [value for key, value in found[0].items() if key != "_id"] or list(found[0].values())
    return values[0] if values else None


def _staged(pipeline: Any, scratch: str, database: str) -> Any:
    """The pipeline with the staged copies of the collections that its stages name; none may write."""
    if isinstance(pipeline, list):
        return [_staged(one, scratch, database) for one in pipeline]
    if not isinstance(pipeline, Mapping):
        return pipeline
    changed = {}
    for key, value in pipeline.items():
        if key in _FORBIDDEN:
            raise Refused(f"{key} writes; a query of an assertion only reads")
        inner = _staged(value, scratch, database)
        if key in ("$lookup", "$graphLookup") and isinstance(inner, dict) and isinstance(inner.get("from"), str):
            inner["from"] = within(scratch, inner["from"], database)
        elif key == "$unionWith" and isinstance(inner, str):
            inner = within(scratch, inner, database)
        elif key == "$unionWith" and isinstance(inner, dict) and isinstance(inner.get("coll"), str):
            inner["coll"] = within(scratch, inner["coll"], database)
        changed[key] = inner
    return changed


def drop(mongo: Mongo, scratch: str) -> None:
    for name in catalog.names(mongo):
        if name.startswith(f"{scratch}_"):
            mongo.drop(name)


def existing(mongo: Mongo, names: Sequence[str]) -> set[str]:
    there = set(catalog.names(mongo))
    return {one for one in names if one in there}
