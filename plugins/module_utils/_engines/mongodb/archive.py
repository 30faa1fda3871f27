# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""mongodump's archive, read while it streams by: what it holds, how many documents, and whether it is whole.

A magic number; the prelude (a header, then one document per collection with its options and indexes, then
a terminator); blocks of documents, each with a header that names the collection and a terminator behind it.
The last block of every collection has EOF in its header and no documents.
https://github.com/mongodb/mongo-tools/blob/master/common/archive/spec.md
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from ..._core import drivers
from ..._core.errors import Mismatch

MAGIC = b"\x6d\xe2\x99\x81"
_TERMINATOR = -1
_LARGEST = 64 << 20  # a document has at most 16 MiB, the tools allow some more
# The last block of an archive that holds at least one collection.
_END = re.compile(rb"\x08EOF\x00\x01\x12CRC\x00.{8}\x00\xff\xff\xff\xff\Z", re.DOTALL)
_WIDTH = 32  # bytes of a document's hash
_MASK = (1 << (8 * _WIDTH)) - 1
_length_of = struct.Struct("<i").unpack_from

Namespace = tuple[str, str]  # database, collection


def ends_whole(head: bytes, end: bytes) -> bool:
    """By its first and last bytes alone."""
    return head.startswith(MAGIC) and _END.search(end) is not None


def document_hash(document: Any) -> int:
    return int.from_bytes(hashlib.blake2b(document, digest_size=_WIDTH).digest(), "little")


def added(total: int, document: int) -> int:
    """Sums of hashes: the same for the same documents in any order."""
    return (total + document) & _MASK


def checksum(total: int) -> str:
    return hashlib.sha256(total.to_bytes(_WIDTH, "little")).hexdigest()


class Archive:
    """Fed with an archive piece by piece; holds no document but the one that is cut between two pieces.

    `full`: hash every document. `watch`: called with the bytes of every document of one collection.
    """

    def __init__(self, full: bool = False, watch: Optional[Mapping[Namespace, Callable[[bytes], None]]] = None) -> None:
        self._full = full
        self._watch = watch or {}
        self.header: dict[str, Any] = {}
        self.metadata: dict[Namespace, dict[str, Any]] = {}
        self.documents: dict[Namespace, int] = {}
        self._sums: dict[Namespace, int] = {}
        self._closed: set[Namespace] = set()
        self._begun = False  # the magic number was there
        self._prelude = True
        self._current: Optional[Namespace] = None  # of the block that is being read
        self._rest = bytearray()  # the beginning of what the last piece cut, or its first bytes
        self._skip = 0  # bytes of a document that nobody looks into

    @property
    def whole(self) -> bool:
        """Whether everything that the prelude names, and all else that was begun, has come to its end."""
        between = self._current is None and not self._rest and not self._skip
        return self._begun and not self._prelude and between and self._closed >= set(self.documents)

    def checksum(self, namespace: Namespace) -> Optional[str]:
        return checksum(self._sums.get(namespace, 0)) if self._full else None

    def feed(self, piece: memoryview) -> None:
        if self._skip:
            taken = min(self._skip, len(piece))
            self._skip -= taken
            piece = piece[taken:]
        if self._rest:
            piece = self._continued(piece)
        if not self._begun and len(piece) >= len(MAGIC):
            self._begin(bytes(piece[: len(MAGIC)]))
            piece = piece[len(MAGIC) :]
        self._rest += piece[self._whole_ones(piece) :] if self._begun else piece

    def _begin(self, magic: bytes) -> None:
        if magic != MAGIC:
            raise Mismatch("what mongodump writes is no archive", hint="Look at what mongodump is on that server.")
        self._begun = True

    def _continued(self, piece: memoryview) -> memoryview:
        """Complete what the last piece cut, with as little of this one as it takes; what is left of this one."""
        needed = (len(MAGIC) if not self._begun else 4) - len(self._rest)
        if needed > 0:
            self._rest += piece[:needed]
            piece = piece[needed:]
            if len(self._rest) < 4:
                return piece
        if not self._begun:
            self._begin(bytes(self._rest))
            self._rest.clear()
            return piece
        size = self._checked(_length_of(self._rest)[0])
        missing = max(size - len(self._rest), 0)
        self._rest += piece[:missing]
        piece = piece[missing:]
        if len(self._rest) >= size:
            whole = memoryview(bytes(self._rest))
            self._rest.clear()
            self._whole_ones(whole)
        return piece

    def _whole_ones(self, piece: memoryview) -> int:
        """Everything that is whole in the piece; where the rest begins."""
        position, end, looked, counted = 0, len(piece), self._looked_into, 0
        while end - position >= 4:
            size = _length_of(piece, position)[0]
            if size == _TERMINATOR:
                counted = self._count(counted)
                self._terminated()
                looked = True
                position += 4
                continue
            self._checked(size)
            if not looked:
                counted += 1
                if position + size > end:
                    self._skip = position + size - end
                    position = end
                else:
                    position += size
            elif position + size > end:
                break
            else:
                self._document(piece[position : position + size])
                looked = self._looked_into
                position += size
        self._count(counted)
        return position

    @staticmethod
    def _checked(size: int) -> int:
        """A size, or 4 for a terminator."""
        if size == _TERMINATOR:
            return 4
        if not 5 <= size <= _LARGEST:
            raise Mismatch(f"mongodump's archive is damaged: a document of {size} bytes", hint="Run it again.")
        return size

    @property
    def _looked_into(self) -> bool:
        return self._full or self._current is None or self._current in self._watch

    def _count(self, documents: int) -> int:
        if documents and self._current is not None:
            self.documents[self._current] += documents
        return 0

    def _document(self, document: memoryview) -> None:
        if self._prelude:
            self._described(_decoded(document))
        elif self._current is None:
            self._opened(_decoded(document))
        else:
            self._count(1)
            if self._full:
                self._sums[self._current] = added(self._sums.get(self._current, 0), document_hash(document))
            watcher = self._watch.get(self._current)
            if watcher is not None:
                watcher(bytes(document))

    def _described(self, found: dict[str, Any]) -> None:
        if not self.header:
            self.header = found
            return
        namespace = (found["db"], found["collection"])
        self.metadata[namespace] = found
        self.documents[namespace] = 0

    def _opened(self, header: dict[str, Any]) -> None:
        namespace = (header["db"], header["collection"])
        self._current = namespace
        self.documents.setdefault(namespace, 0)
        if header.get("EOF"):
            self._closed.add(namespace)

    def _terminated(self) -> None:
        self._prelude = False
        self._current = None


def _decoded(document: memoryview) -> dict[str, Any]:
    return dict(drivers.bson().decode(bytes(document)))


class Watched(io.RawIOBase):
    """A dump's output that an `Archive` reads along; `more` follows it, `ended` is called at its end."""

    def __init__(
        self, source: Any, archive: Archive, ended: Callable[[], None], more: Callable[[], Iterator[bytes]]
    ) -> None:
        super().__init__()
        self._source = source
        self._archive = archive
        self._ended = ended
        self._more = more
        self._pieces: Optional[Iterator[bytes]] = None  # of what follows
        self._rest = b""

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._source.fileno())

    def readinto(self, buffer: Any) -> int:
        count = int(self._source.readinto1(buffer)) if self._pieces is None else 0
        count = count or self._followed(buffer)
        if count:
            self._archive.feed(memoryview(buffer)[:count])
        else:
            self._ended()
        return count

    def _followed(self, buffer: Any) -> int:
        if self._pieces is None:
            self._pieces = self._more()
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(self._rest), len(buffer))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
