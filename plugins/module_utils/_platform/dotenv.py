# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Env files: read as Compose, python-dotenv and sh read them, changed without touching the rest.

Reading is generous. Writing only uses forms that all of them (and systemd) understand alike, and refuses
a value that has none.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from .._core import io
from .._core.errors import Refused, Unavailable

_START = re.compile(r"^[^\S\n]*(?:export[^\S\n]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[^\S\n]*(?:=|:(?=[^\S\n]))[^\S\n]*")
_PLAIN = re.compile(r"^[A-Za-z0-9_.~:/@%+,=-]*$")
_REFERENCE = re.compile(r"\\\$|\$\$|\$\{(?P<braced>[A-Za-z_]\w*)(?P<rule>:?[-+?])?|\$(?P<bare>[A-Za-z_]\w*)")
# In double quotes, as Compose has them. A dollar sign keeps its backslash until references are expanded.
_ESCAPES: Mapping[str, str] = dict(
    zip("abfnrtv\"'\\`$", ("\a", "\b", "\f", "\n", "\r", "\t", "\v", '"', "'", "\\", "`", "\\$"))
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One assignment with the comment behind it, or a stretch of the file that is none (`name` is "").

    `text` is what stands in the file, line end included; `value` is unquoted but not expanded.
    """

    text: str
    name: str = ""
    value: str = ""
    literal: bool = True  # in single quotes: nothing in it is expanded
    comment: str = ""


class DotEnv:
    """The content of one env file."""

    def __init__(self, lines: Sequence[Line] = ()) -> None:
        self.lines = list(lines)

    @classmethod
    def parse(cls, text: str) -> DotEnv:
        lines = []
        position = 0
        while position < len(text):
            line = _line(text, position)
            lines.append(line)
            position += len(line.text)
        return cls(lines)

    @property
    def text(self) -> str:
        return "".join(line.text for line in self.lines)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(line.name for line in self.lines if line.name))

    def values(self, environment: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        """All variables with their references expanded, from lines above them and `environment`."""
        known = dict(environment or {})
        values: dict[str, str] = {}
        for line in self.lines:
            if line.name:
                values[line.name] = line.value if line.literal else expand(line.value, known)
                known[line.name] = values[line.name]
        return values

    def change(self, name: str, value: str) -> bool:
        """Set a variable wherever it stands, at the end when it is new; whether anything changed.

        A name that stands twice is changed twice, because readers differ in which one counts.
        """
        before = self.text
        written = f"{name}={quote(name, value)}"
        found = False
        for index, line in enumerate(self.lines):
            if line.name != name:
                continue
            found = True
            if line.value != value or (not line.literal and _REFERENCE.search(value)):
                lead = re.match(r"^[^\S\n]*(?:export[^\S\n]+)?", line.text)
                start, end = lead[0] if lead else "", _line_end(line.text)
                comment = f" {line.comment}" if line.comment else ""
                self.lines[index] = Line(f"{start}{written}{comment}{end}", name, value, True, line.comment)
        if not found:
            self._append(Line(f"{written}{self._newline()}", name, value))
        return self.text != before

    def remove(self, name: str) -> bool:
        """Take a variable out; whether it was there."""
        kept = [line for line in self.lines if line.name != name]
        changed = len(kept) != len(self.lines)
        self.lines = kept
        return changed

    def _append(self, line: Line) -> None:
        if self.lines and not self.lines[-1].text.endswith("\n"):
            last = self.lines[-1]
            self.lines[-1] = dataclasses.replace(last, text=last.text + self._newline())
        self.lines.append(line)

    def _newline(self) -> str:
        return "\r\n" if any(line.text.endswith("\r\n") for line in self.lines) else "\n"


def merge(live: str, restored: str) -> str:
    """The live file, with those variables of the restored one that it lacks put at its end.

    A variable that the live file has keeps its value, because it may have been rotated since the backup.
    """
    merged = DotEnv.parse(live)
    known = set(merged.names)
    for line in DotEnv.parse(restored).lines:
        if line.name and line.name not in known:
            merged._append(dataclasses.replace(line, text=line.text.rstrip("\r\n") + merged._newline()))
    return merged.text


def quote(name: str, value: str) -> str:
    """The value as it is written behind `NAME=`, read alike by Compose, python-dotenv, sh and systemd."""
    if _PLAIN.match(value) and not value.startswith("~"):
        return value
    if any(not character.isprintable() and character != "\t" for character in value):
        raise Refused(f"the new value of {name} holds a line break or a control character", hint="Choose another one.")
    if "'" not in value and "${" not in value and "\\\\" not in value and not value.endswith("\\"):
        return f"'{value}'"
    if "$" not in value and "`" not in value:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    raise Refused(
        f"the new value of {name} cannot be written so that Compose, python-dotenv and sh read the same",
        hint="It has both a dollar sign or backtick, and a quote, a brace or a backslash. Choose another one.",
    )


def expand(value: str, environment: Mapping[str, str], template: bool = False) -> str:
    """`${NAME}`, `${NAME:-default}` and their kin, and `$NAME` where such a variable is known.

    A bare `$NAME` that is not known stays: it is part of a password then, for python-dotenv and systemd.
    `template`: the text is from a compose file, where two dollar signs are one.
    """
    pieces: list[str] = []
    position = 0
    for match in _REFERENCE.finditer(value):
        if match.start() < position:  # inside of what was expanded already
            continue
        text, end = match[0], match.end()
        if match["braced"]:
            word = up_to_brace(value[end:])
            if word is not None and (match["rule"] or not word):
                text, end = _braced(match, expand(word, environment, template), environment), end + len(word) + 1
        elif match["bare"]:
            text = environment.get(match["bare"], text)
        elif text == "\\$" or template:
            text = "$"
        pieces += [value[position : match.start()], text]
        position = end
    return "".join([*pieces, value[position:]])


def _braced(match: re.Match[str], word: str, environment: Mapping[str, str]) -> str:
    current, rule = environment.get(match["braced"]), match["rule"] or ""
    present = bool(current) if rule.startswith(":") else current is not None
    if rule.endswith("+"):
        return word if present else ""
    if rule.endswith("-") and not present:
        return word
    return current or ""


def up_to_brace(text: str) -> Optional[str]:
    """The text up to the brace that closes what came before; braces inside it pair up."""
    depth = 0
    for position, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return text[:position]
            depth -= 1
    return None


def read(path: Path) -> DotEnv:
    try:
        # newline="": line ends stay as they are, for what is written back.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return DotEnv.parse(stream.read())
    except OSError as error:
        raise Unavailable(
            f"the env file {path} cannot be read ({error.strerror})", hint="Check env_files, and the file's owner."
        ) from None


def write(path: Path, text: str) -> None:
    """Replace an env file atomically. Its mode and owner stay, and a symbolic link goes on pointing to it."""
    real = path.resolve()
    content = text.encode("utf-8", errors="surrogateescape")
    try:
        status = real.stat()
    except FileNotFoundError:
        io.write_atomic(real, content, 0o600)
        return
    owner = (status.st_uid, status.st_gid)
    try:
        io.write_atomic(real, content, stat.S_IMODE(status.st_mode), owner)
    except OSError as error:
        raise Unavailable(
            f"the env file {path} cannot be replaced ({error.strerror})",
            untouched="It is as it was.",
            hint=f"This user (id {os.geteuid()}) must be allowed to write its directory and to keep its owner.",
        ) from None


# Reading one line -----------------------------------------------------------------------------------


def _line(text: str, position: int) -> Line:
    """The assignment (over several lines, in quotes) or other stretch that begins at `position`."""
    newline = text.find("\n", position)
    end = len(text) if newline < 0 else newline + 1
    first = text[position:end]
    start = _START.match(first)
    if not start:
        return Line(first)
    name, begin = start["name"], position + start.end()
    mark = text[begin : begin + 1]
    if mark in ("'", '"'):
        quoted = _quoted(text, begin, mark)
        if quoted is not None:
            value, stop, rest_end = quoted
            rest = text[stop:rest_end].strip()
            comment = rest if rest.startswith("#") else ""
            return Line(text[position:rest_end], name, value, mark == "'", comment)
    value, comment = _unquoted(first[start.end() :])
    return Line(first, name, value, False, comment)


def _quoted(text: str, begin: int, mark: str) -> Optional[tuple[str, int, int]]:
    """Value, end of the quote, end of its last line; None where the quote is not closed. What follows the
    quote on its line does not count, as for Compose."""
    value = []
    position = begin + 1
    while position < len(text) and text[position] != mark:
        if text[position] == "\\" and mark == '"' and text[position + 1 : position + 2] in _ESCAPES:
            value.append(_ESCAPES[text[position + 1]])
            position += 2
        else:
            value.append(text[position])
            position += 1
    if position >= len(text):
        return None
    stop = position + 1
    newline = text.find("\n", stop)
    rest_end = len(text) if newline < 0 else newline + 1
    return "".join(value), stop, rest_end


def _unquoted(rest: str) -> tuple[str, str]:
    rest = rest.rstrip("\r\n")
    found = re.search(r"\s+#", rest)
    if found:
        return rest[: found.start()], rest[found.start() :].strip()
    return rest.rstrip(), ""


def _line_end(text: str) -> str:
    return text[len(text.rstrip("\r\n")) :]
