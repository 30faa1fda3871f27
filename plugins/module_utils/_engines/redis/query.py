# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Questions of users to a restored copy: one command that only reads, written as for redis-cli."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ..._core.errors import Refused
from .connection import Way, connected


def ask(way: Way, text: str) -> Any:
    """`GET key`, or `-n 2 DBSIZE` of database 2. Of a list the first element."""
    words, database = _split(text), 0
    if words[:1] == ["-n"] and len(words) > 1 and words[1].isdigit():
        database, words = int(words[1]), words[2:]
    if not words:
        raise Refused(f"{text!r} is no Redis command", hint="An example: -n 1 GET key.")
    with connected(way, database) as client:
        flags = {plain(flag) for flag in _flags(client.execute_command("COMMAND", "INFO", words[0]))}
        if "readonly" not in flags:
            raise Refused(f"{words[0]} is no command that only reads", hint="An assertion may not change anything.")
        # By a script: the driver would make an answer of its own out of some commands' answers.
        answer = client.execute_command("EVAL", "return redis.call(unpack(ARGV))", 0, *words)
    while isinstance(answer, list):
        answer = answer[0] if answer else None
    return plain(answer) if isinstance(answer, bytes) else answer


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no Redis command ({error})", hint="Quote words as a shell wants them.") from None


def _flags(answer: Any) -> Sequence[Any]:
    """Of COMMAND INFO, which the driver gives as a list or, parsed, as a mapping by name."""
    if isinstance(answer, Mapping):
        return next((one.get("flags", ()) for one in answer.values() if one), ())
    first = answer[0] if answer else None
    return first[2] if first else ()


def plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
