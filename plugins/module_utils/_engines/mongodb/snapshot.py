# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One dump, and the fingerprint of exactly what is in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, Optional, cast

from ..._core.errors import OpsError, Unavailable
from ..._core.model import Fingerprint, Json, TableFingerprint
from ..._core.process import Child
from ..base import DumpOptions
from . import catalog, fingerprint, oplog, tools
from .archive import Archive, Watched, ends_whole
from .connection import Mongo
from .names import is_scratch

if TYPE_CHECKING:
    from . import MongoDB


class DumpProducer:
    """The running mongodump."""

    def __init__(self, engine: MongoDB, child: Child, archive: Archive, more: Callable[[], Iterator[bytes]]) -> None:
        self._engine = engine
        self._child = child
        self.over = threading.Event()  # no more of it will come
        self._more = more
        self._stdout = Watched(child.stdout, archive, self.over.set, self._after)

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self._stdout)

    def finish(self) -> Mapping[str, int]:
        rc = self._child.wait()
        self.over.set()
        if rc != 0:
            raise tools.explain_dump(self._child, rc)
        return {tools.DUMP: rc}

    def _after(self) -> Iterator[bytes]:
        return self._more() if self._child.wait() == 0 else iter(())

    def kill(self) -> None:
        self._child.kill()
        if self._engine.access.container is not None:
            with contextlib.suppress(OpsError):  # the container may be gone, and the tool with it
                self._engine.place.end_run()
        self.over.set()


class MongoSnapshot:
    """No moment in time: mongodump reads one collection after the other while others write.

    What the dump holds is counted where it passes by, so the fingerprint is exact all the same. Collections
    that moved meanwhile are named in a warning.
    """

    format = "mongoarchive"

    def __init__(self, engine: MongoDB, options: DumpOptions) -> None:
        self._engine = engine
        self._options = options
        self._producer: Optional[DumpProducer] = None
        self._thread = threading.get_ident()
        self.filename = f"{engine.datastore.name}.archive"
        self.facts: Json = {}
        wanted = engine.newest
        self._newest = fingerprint.Newest(wanted["column"]) if wanted else None
        watch = {(engine.database, wanted["table"]): self._newest} if wanted and self._newest else {}
        self._archive = Archive(options.level == "full", watch)
        with engine.session() as mongo:
            self._excluded = catalog.definitions(mongo, options.exclude_tables)
            strays = [name for name in catalog.names(mongo) if is_scratch(name)]
        prefix = engine.context.scratch_prefix(engine.datastore.name)
        strays = [name for name in strays if not name.startswith(prefix)]
        self.flags = tuple(tools.dump_flags(engine.database, prefix, [*options.exclude_tables, *strays]))
        self._before: dict[str, tuple[Optional[int], ...]] = {}
        self._since: Any = None  # where the oplog ended when the dump began
        self._touched: dict[str, list[int]] = {}  # by the operations that follow the dump: added, removed
        self._followed = 0  # bytes of them

    def dump(self) -> DumpProducer:
        with self._engine.session() as mongo:
            self._before = self._marks(mongo)
            if self._engine.uses_oplog:
                self._since = oplog.newest(mongo)
        child = self._engine.tools.spawn([tools.DUMP, *self.flags])
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says why
            child.stdin.close()
        self._producer = DumpProducer(self._engine, child, self._archive, self._written_meanwhile)
        return self._producer

    def fingerprint(self) -> Fingerprint:
        self._wait_for_the_end()
        if not self._archive.whole:
            raise Unavailable("the dump did not come to its end, and so cannot be counted")
        database = self._engine.database
        held = {
            name: catalog.from_archive(entry) for (of, name), entry in self._archive.metadata.items() if of == database
        }
        self.facts = {
            "collections": [one.json() for one in held.values()],
            "excluded": [one.json() for one in self._excluded],
        }
        tables = {
            name: TableFingerprint(
                self._archive.documents[(database, name)], checksum=self._archive.checksum((database, name))
            )
            for name, one in held.items()
            if one.kind != catalog.VIEW
        }
        if self._since is None:
            self._warn_of_moved(tables)
        else:
            self.facts["oplog"] = {"bytes": self._followed, "documents": sum(one.rows for one in tables.values())}
            tables.update({name: oplog.ranged(tables[name], *counted) for name, counted in self._touched.items()})
        tables.update({one.name: TableFingerprint(0) for one in self._excluded if one.kind != catalog.VIEW})
        return Fingerprint(
            level=self._options.level,
            tables=tables,
            objects=fingerprint.objects([*held.values(), *self._excluded]),
            newest=self._newest_value(),
        )

    def _written_meanwhile(self) -> Iterator[bytes]:
        if self._since is None:
            return
        with self._engine.session() as mongo:
            until = oplog.newest(mongo)
            found = oplog.operations(mongo, self._since, until, self._options.exclude_tables)
            for piece in oplog.block(found, self._touched):
                self._followed += len(piece)
                yield piece

    def _newest_value(self) -> Optional[str]:
        wanted = self._engine.newest
        if wanted is None or self._newest is None or wanted["table"] in self._touched:
            return None  # what the operations make of it is known when they are done again
        return self._newest.value

    def complete(self, head: bytes, end: bytes) -> bool:
        return self._archive.whole and (ends_whole(head, end) or not self._archive.metadata)

    def close(self) -> None:
        if self._producer is not None and not self._producer.over.is_set():
            self._producer.kill()

    def _marks(self, mongo: Mongo) -> dict[str, tuple[Optional[int], ...]]:
        """By collection: how many documents, how many writes."""
        found = [one for one in catalog.listed(mongo) if catalog.kind_of(one) != catalog.VIEW]
        named = [one["name"] for one in found if one["name"] not in self._options.exclude_tables]
        return {name: (catalog.count(mongo, name), catalog.writes(mongo, name)) for name in named}

    def _warn_of_moved(self, tables: Mapping[str, TableFingerprint]) -> None:
        with self._engine.session() as mongo:
            after = self._marks(mongo)
        moved = sorted(
            name
            for name in {*self._before, *after, *tables}
            if self._before.get(name) != after.get(name) or name not in tables or tables[name].rows != after[name][0]
        )
        if moved:
            self._engine.context.warn(
                f"{', '.join(moved)} changed while they were dumped: the dump holds them as they were read, not as "
                "they were at one moment; stop what writes to get one"
            )

    def _wait_for_the_end(self) -> None:
        if self._producer is not None and threading.get_ident() != self._thread:
            self._producer.over.wait()
