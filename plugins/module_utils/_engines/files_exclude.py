# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""restic's exclude patterns, so that a restore knows what a backup left out.

As in restic's `internal/filter`: a pattern is a list of path elements that may match anywhere in a path,
at its start when it begins with a slash; `**` stands for any number of elements; `!` takes an exclusion
back. A match of a directory is a match of everything in it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence

from .files_tree import PREFIX

_SPECIAL = re.compile(r"([\\*?\[\]])")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One pattern, compiled: against a whole path."""

    expression: re.Pattern[str]
    negated: bool


def escaped(path: str) -> str:
    """A pattern that matches just this path."""
    return _SPECIAL.sub(r"\\\1", path)


def compiled(patterns: Sequence[str]) -> list[Pattern]:
    found = []
    for text in patterns:
        negated = text.startswith("!")
        text = os.path.normpath(text[1:] if negated else text)
        elements = [element for element in text.split("/") if element]
        start = "" if text.startswith("/") else "(?:/[^/]+)*"
        found.append(Pattern(re.compile(start + "".join(map(_element, elements)) + r"(?:/.*)?", re.DOTALL), negated))
    return found


def excluded(path: str, patterns: Sequence[Pattern]) -> bool:
    matched = False
    for pattern in patterns:
        if pattern.negated == matched and pattern.expression.fullmatch(path):
            matched = not pattern.negated
    return matched


def left_out(top: str, patterns: Sequence[Pattern], as_path: str) -> Iterator[str]:
    """What a backup of `as_path` leaves out of the tree at `top`, the outermost names only, relative to it."""
    pending = [""]
    while pending:
        relative = pending.pop()
        for name in sorted(os.listdir(os.path.join(top, relative))):
            inner = os.path.join(relative, name)
            if name.startswith(PREFIX):
                continue
            if excluded(os.path.join(as_path, inner), patterns):
                yield inner
            elif os.path.isdir(os.path.join(top, inner)) and not os.path.islink(os.path.join(top, inner)):
                pending.append(inner)


def _element(element: str) -> str:
    """A regular expression for one element with its slash, after Go's filepath.Match."""
    if element == "**":
        return "(?:/[^/]+)*"
    expression, position = "/", 0
    while position < len(element):
        character = element[position]
        position += 1
        if character == "*":
            expression += "[^/]*"
        elif character == "?":
            expression += "[^/]"
        elif character == "\\" and position < len(element):
            expression += re.escape(element[position])
            position += 1
        elif character == "[" and "]" in element[position:]:
            end = element.index("]", position)
            inside = element[position:end]
            expression += f"[{'^/' if inside.startswith('^') else ''}{_inside(inside.lstrip('^'))}]"
            position = end + 1
        else:
            expression += re.escape(character)
    return expression


def _inside(text: str) -> str:
    """The inside of brackets: ranges stay, everything else is literal."""
    return re.sub(r"([\\^\[\]&~|])", r"\\\1", text)
