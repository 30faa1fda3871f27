# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees: a line per step with its time, tables, colours where a terminal shows them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence


class DemoError(Exception):
    """Why the demo cannot go on, for a person; shown without a traceback."""


def colours_wanted(stream: object = None) -> bool:
    """Only on a terminal, and not with NO_COLOR (https://no-color.org) set to anything."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    stream = sys.stdout if stream is None else stream
    return bool(getattr(stream, "isatty", lambda: False)())


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if colours_wanted() else text


def bold(text: str) -> str:
    return paint(text, "1")


def dim(text: str) -> str:
    return paint(text, "2")


def green(text: str) -> str:
    return paint(text, "32")


def red(text: str) -> str:
    return paint(text, "31")


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say()
    say(bold(text))


@dataclasses.dataclass
class Step:
    """A step that is being done; `note` is what its line says at the end."""

    name: str
    note: str = ""
    more: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Print `name`, and when it is done what came of it and how long it took."""
    current = Step(name)
    live = colours_wanted()
    if live:
        print(f"  {name:<9}  {dim('…')}", end="", flush=True)
    started = time.monotonic()
    try:
        yield current
    except BaseException:
        print(("\r" if live else "") + f"  {name:<9}  {red('failed')}", flush=True)
        raise
    current.seconds = time.monotonic() - started
    line = f"  {bold(f'{name:<9}')}  {current.note:<78}  {dim(f'{current.seconds:5.1f} s')}"
    print(("\r" if live else "") + line, flush=True)
    for extra in current.more:
        say(f"             {extra}")


def table(rows: Sequence[Sequence[str]], indent: str = "    ") -> None:
    """Columns as wide as they need to be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(count: float) -> str:
    """Bytes for a person: 812 B, 1.4 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.1f} {unit}" if count < 99.5 else f"{count:.0f} {unit}"


def amount(count: int, noun: str, plural: str = "") -> str:
    """1 row, 6,412 rows."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
