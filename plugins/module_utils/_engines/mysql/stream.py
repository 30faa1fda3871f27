# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Streams: a dump whose beginning was read already, and what a dump passes on its way into scratch."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any

from ..._core.errors import Refused

# From here on the dump's transaction has begun: its header is written before that.
BEGUN = re.compile(
    rb"^(?:CREATE |DROP |-- (?:Table structure|Sequence structure|Temporary (?:table|view) structure|Dumping |Final view|Dump completed))",
    re.MULTILINE,
)
_COMPLETED = re.compile(rb"(?:^|\n)-- Dump completed[^\n]*\s*\Z")

# What only a dump of whole databases holds, and what would lead out of the scratch copy. A routine's
# body may hold such a line; it stands between two DELIMITER lines.
_WATCHED = rb"(?P<delimiter>DELIMITER )|(?P<outside>USE[ `]|(?:/\*!\d+ *)?(?:CREATE|DROP|ALTER) (?:DATABASE|SCHEMA)\b)"
# What the other flavour's server would refuse: a comment for MariaDB alone leaves an empty statement behind, and
# modes may be unknown.
_FOREIGN = rb"(?P<only_theirs>/\*M!)|(?P<modes>/\*!50003 SET sql_mode += '[^'\n]*')"
_LOOKAHEAD = 256


def is_complete(end: bytes) -> bool:
    """Whether the tool wrote its end mark, and nothing after it."""
    return _COMPLETED.search(end) is not None


class Continued(io.RawIOBase):
    """A pipe whose first bytes were read to look at them."""

    def __init__(self, head: bytes, pipe: IO[bytes]) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._pipe = pipe
        self._descriptor = pipe.fileno()

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return os.readv(self._descriptor, [view])


class Rewriter:
    """Passes a dump on. `pairs` are whole beginnings of lines that are written differently; a line that
    would leave the scratch copy is refused. A line break inside data is escaped in a dump, so data never
    look like the beginning of a line."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]], unknown_modes: Iterable[str] = ()) -> None:
        self._replace = dict(pairs)
        self._unknown_modes = {mode.encode() for mode in unknown_modes}
        finds = sorted(self._replace, key=len, reverse=True)
        known = [b"(?P<find>" + b"|".join(re.escape(find) for find in finds) + b")"] if finds else []
        foreign = [_FOREIGN] if self._unknown_modes else []
        groups = [*known, *foreign, _WATCHED]  # in this order: some lines that are watched for are known
        self._pattern = re.compile(b"\n(?:" + b"|".join(groups) + b")")
        self._hold = max([4 * _LOOKAHEAD if foreign else _LOOKAHEAD, *(len(find) + 2 for find in finds)])
        self._rest = b"\n"  # as if a line had ended before the first one
        self._first = True
        self._inside = False  # between DELIMITER ;; and DELIMITER ;

    def _translated(self, found: re.Match[bytes]) -> bytes:
        """The beginning of a line that only the other flavour's server understands."""
        if found["modes"] is None:
            return b"-- " + found["only_theirs"]
        head, _quote, modes = found["modes"][:-1].partition(b"'")
        return head + b"'" + b",".join(one for one in modes.split(b",") if one not in self._unknown_modes) + b"'"

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """What may be written by now. The last bytes wait when a watched line may begin in them."""
        buffer = self._rest + bytes(chunk)
        cut = buffer.find(b"\n", max(0, len(buffer) - self._hold))
        return self._pass(buffer, cut if cut >= 0 else len(buffer))

    def end(self) -> bytes:
        return self._pass(self._rest, len(self._rest))

    def _pass(self, buffer: bytes, cut: int) -> bytes:
        pieces, position = [], 0
        if self._first and cut:
            self._first, position = False, 1
        for found in self._pattern.finditer(buffer):
            if found.start() >= cut:
                break
            if found.lastgroup == "find":
                pieces += [buffer[position : found.start() + 1], self._replace[found["find"]]]
                position = found.end()  # may lie behind the cut: a line's beginning may hold a line break
            elif found.lastgroup in ("modes", "only_theirs"):
                if not self._inside:
                    pieces += [buffer[position : found.start() + 1], self._translated(found)]
                    position = found.end()
            elif found.lastgroup == "delimiter":
                self._inside = not buffer.startswith(b";\n", found.end())
            elif not self._inside:
                line = buffer[found.start() + 1 : found.start() + 80].split(b"\n")[0].decode(errors="replace")
                raise Refused(
                    f"the dump holds {line!r}, which leads out of the scratch copy",
                    hint="It was not made by this collection, or it was altered.",
                )
        cut = max(cut, position)
        pieces.append(buffer[position:cut])
        self._rest = buffer[cut:]
        return b"".join(pieces)


class Rewritten(io.RawIOBase):
    """A loading tool's standard input behind a `Rewriter`."""

    def __init__(self, pipe: IO[bytes], rewriter: Rewriter) -> None:
        super().__init__()
        self._pipe = pipe
        self._rewriter = rewriter

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._pipe.fileno()

    def write(self, chunk: Any) -> int:
        self._pipe.write(self._rewriter.feed(chunk))
        return len(chunk)

    def flush(self) -> None:
        if not self.closed and not self._pipe.closed:
            self._pipe.flush()

    def close(self) -> None:
        if not self.closed:
            try:
                if not self._pipe.closed:
                    self._pipe.write(self._rewriter.end())
            finally:
                try:
                    self._pipe.close()
                finally:
                    super().close()
