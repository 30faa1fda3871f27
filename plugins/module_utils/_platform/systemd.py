# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""systemd, asked through systemctl: a unit's properties and its environment."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._core.errors import ToolFailed, Unavailable
from .._core.process import Command, run

Properties = Mapping[str, Sequence[str]]


ACTIVE = ("active", "activating", "reloading")


def running() -> bool:
    """Whether systemd manages this host."""
    return Path("/run/systemd/system").is_dir()


def show(unit: str, *properties: str) -> Properties:
    """The values of a unit's properties (a property may stand several times)."""
    found = show_all([unit], *properties)[0]
    if "not-found" in found.get("LoadState", ()):
        raise Unavailable(f"there is no systemd unit {unit} on this host", hint="See systemctl list-units --all.")
    return found


def show_all(units: Sequence[str], *properties: str) -> list[Properties]:
    """The same of many units with one call, in their order."""
    if not units:
        return []
    wanted = ",".join(("Id", "LoadState", "ActiveState", *properties))
    argv = ("systemctl", "show", "--no-pager", "-p", wanted, "--", *units)
    try:
        output = run(Command(argv), timeout=60).text
    except ToolFailed as error:
        raise Unavailable(f"systemd cannot be asked about {units[0]} ({error.stderr_tail or error.what})") from None
    return [parse_show(block) for block in output.split("\n\n")]


def active(*types: str) -> list[str]:
    """The names of the active units of these types."""
    states = ",".join(ACTIVE)
    argv = ("systemctl", "list-units", "--no-pager", "--no-legend", "--plain", "--full", f"--state={states}")
    output = run(Command((*argv, f"--type={','.join(types)}")), timeout=60).text
    return [line.split()[0] for line in output.splitlines() if line.strip()]


def is_active(properties: Properties) -> bool:
    return first(properties, "ActiveState") in ACTIVE


def first(properties: Properties, name: str) -> str:
    return next(iter(properties.get(name, ())), "")


def parse_show(output: str) -> dict[str, list[str]]:
    """From `systemctl show`."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            found.setdefault(name, []).append(value)
    return found


def environment(unit: str) -> dict[str, str]:
    """What a start of the unit would find in its environment: `Environment=`, then its files."""
    return environment_of(unit, show(unit, "Environment", "EnvironmentFiles"))


def environment_of(unit: str, properties: Properties) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in properties.get("Environment", ()):
        values.update(parse_environment(line))
    for line in properties.get("EnvironmentFiles", ()):
        pattern, optional = parse_environment_file_entry(line)
        paths = sorted(glob.glob(pattern))
        if not paths and not optional:
            raise Unavailable(f"{pattern}, an environment file of {unit}, does not exist")
        for path in paths:
            try:
                text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
            except OSError as error:
                raise Unavailable(f"{path}, an environment file of {unit}, cannot be read ({error.strerror})") from None
            values.update(parse_environment_file(text))
    return values


def parse_environment_file_entry(line: str) -> tuple[str, bool]:
    """From `/etc/x.env (ignore_errors=yes)`."""
    match = re.match(r"^(?P<path>.*?) \(ignore_errors=(?P<optional>yes|no)\)$", line)
    return (match["path"], match["optional"] == "yes") if match else (line, False)


def parse_environment(line: str) -> dict[str, str]:
    """From `Environment=` of `systemctl show`: words, in shell quotes where one needs them."""
    values = {}
    for word in _words(line):
        name, separator, value = word.partition("=")
        if separator:
            values[name] = value
    return values


# systemctl writes control characters as C does.
_CONTROL: Mapping[str, str] = dict(zip("abfnrtv", "\a\b\f\n\r\t\v"))


def _words(line: str) -> list[str]:
    words: list[str] = []
    word, quote, inside = "", "", False
    position = 0
    while position < len(line):
        character = line[position]
        if character == "\\" and quote != "'" and position + 1 < len(line):
            position += 1
            word, inside = word + _CONTROL.get(line[position], line[position]), True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'":
            quote, inside = character, True
        elif character.isspace():
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + character, True
        position += 1
    return [*words, word] if inside else words


def parse_environment_file(text: str) -> dict[str, str]:
    """The content of an EnvironmentFile= as systemd reads it: nothing is expanded, no comment stands
    behind a value, quoted pieces join, a backslash before the end of a line joins lines."""
    values: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _ASSIGNMENT.match(text, position)
        if match:
            values[match["name"]], position = _file_value(text, match.end())
        else:
            end = text.find("\n", position)
            position = len(text) if end < 0 else end + 1
    return values


_ASSIGNMENT = re.compile(r"[ \t\r]*(?P<name>[A-Za-z_]\w*)[ \t]*=")


def _file_value(text: str, position: int) -> tuple[str, int]:
    """One value and where the next line begins (after systemd's src/basic/env-file.c)."""
    value, kept, state = "", 0, "before"  # kept: the length without trailing blanks
    while position < len(text):
        character, following = text[position], text[position + 1 : position + 2]
        position += 1
        if state in ("'", '"'):
            if character == state:
                state = "before"
            elif character == "\\" and state == '"' and following:
                position += 1
                value += "" if following == "\n" else following if following in '"\\$`' else character + following
            else:
                value += character
            kept = len(value)
        elif character == "\n":
            break
        elif character == "\\" and following:
            position += 1
            value, state = value + ("" if following == "\n" else following), "inside"
            kept = len(value)
        elif state == "before" and character in "'\"":
            state = character
        elif state == "inside" or not character.isspace():
            value, state = value + character, "inside"
            kept = kept if character.isspace() else len(value)
    return value[:kept], position
