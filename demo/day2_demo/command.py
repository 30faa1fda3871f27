# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running other programs: their output goes to a log, and to the screen only when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .console import DemoError
from .layout import readable

SHOWN_LINES = 30


def run(
    argv: Sequence[str | Path],
    log: Path,
    what: str,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    advice: str = "",
) -> None:
    """Run to its end, or raise a `DemoError` with the last lines of what it said."""
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"+ {' '.join(words)}\n".encode(errors="surrogateescape"))
        output.flush()
        begin = output.tell()
        try:
            done = subprocess.run(
                words, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
            code = done.returncode
        except OSError as error:
            raise DemoError(f"{what}: {words[0]} cannot be started ({error.strerror}).") from error
    if code:
        raise DemoError(_failure(what, code, log, begin, advice))


def _failure(what: str, code: int, log: Path, begin: int, advice: str) -> str:
    with log.open("rb") as output:
        output.seek(begin)
        lines = output.read().decode(errors="replace").splitlines()
    shown = [f"    | {line}" for line in lines[-SHOWN_LINES:]] or ["    | (it said nothing)"]
    text = [f"{what} ended with {code}. Its last lines:", *shown, f"Everything it said: {readable(log)}"]
    return "\n".join(text + ([advice] if advice else []))


def clean_environment(*dropped: str) -> dict[str, str]:
    """The environment without the variables that start with one of `dropped`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
