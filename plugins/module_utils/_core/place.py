# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Where a tool runs: on this host, or in that container.

Every process started through a place carries ``DAY2_RUN=APP-INSTANCE:MACHINE.RUN`` in its environment. A
killed `docker exec` leaves its tool running inside the container, and a killed module its children:
`sweep` ends what other runs of the same application left, while the caller holds the lock that orders them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Protocol

from .context import Context
from .process import Child, Command, Completed, run

VARIABLE = "DAY2_RUN"

# $1: what the value of DAY2_RUN starts with; $2: the value that is left alone ("" for none).
_END_SCRIPT = r"""
for d in /proc/[0-9]*; do
  p=${d#/proc/}
  [ "$p" = "$$" ] && continue
  v=$(tr '\0' '\n' 2>/dev/null < "$d/environ" | sed -n 's/^DAY2_RUN=//p')
  case "$v" in
    "") ;;
    "$2") ;;
    "$1"*) kill -9 "$p" 2>/dev/null && echo "$p" ;;
  esac
done
exit 0
"""


class Place(Protocol):
    """Builds and runs commands where the server is."""

    @property
    def label(self) -> str:
        """For messages: `this host` or `container NAME`."""

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        """The command as it is run on this host. `env` reaches the tool and may hold secrets."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[bytes] = None,
        timeout: Optional[float] = 600,
        ok: Sequence[int] = (0,),
    ) -> Completed:
        """Run to the end; `ToolFailed` for an exit code not in `ok`."""

    def spawn(
        self, argv: Sequence[str], *, env: Optional[Mapping[str, str]] = None, stdin: Any = subprocess.DEVNULL
    ) -> Child:
        """Start a tool whose standard output (and input, with stdin=PIPE) streams."""

    def end_run(self) -> list[int]:
        """End every process of the current run here; their ids."""

    def sweep(self) -> list[int]:
        """End every process that another run of the same application left here; their ids."""


class _Runs:
    """What both places share: running the commands that they build."""

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        raise NotImplementedError

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[bytes] = None,
        timeout: Optional[float] = 600,
        ok: Sequence[int] = (0,),
    ) -> Completed:
        return run(self.command(argv, env), stdin=stdin, timeout=timeout, ok=ok)

    def spawn(
        self, argv: Sequence[str], *, env: Optional[Mapping[str, str]] = None, stdin: Any = subprocess.DEVNULL
    ) -> Child:
        return Child(self.command(argv, env), stdin=stdin)


@dataclasses.dataclass(frozen=True)
class HostPlace(_Runs):
    """This host, as the current user or (root only) as `user`."""

    context: Context
    user: Optional[str] = None

    @property
    def label(self) -> str:
        return "this host"

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        return Command(tuple(argv), {VARIABLE: self.context.run_mark, **(env or {})}, self.user)

    def end_run(self) -> list[int]:
        return _end_here(self.context.run_mark, "")

    def sweep(self) -> list[int]:
        return _end_here(self.context.run_prefix, self.context.run_mark)


@dataclasses.dataclass(frozen=True)
class ContainerPlace(_Runs):
    """A running container, by `docker exec` without a terminal (one would mangle the stream)."""

    context: Context
    container: str  # the container's id
    name: str
    user: Optional[str] = None

    @property
    def label(self) -> str:
        return f"container {self.name}"

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        variables = {VARIABLE: self.context.run_mark, **(env or {})}
        # `-e NAME` without a value: docker takes it from its own environment, so no secret is in argv.
        flags = [flag for name in variables for flag in ("-e", name)]
        if self.user:
            flags += ["-u", self.user]
        return Command(("docker", "exec", "-i", *flags, self.container, *argv), variables)

    def end_run(self) -> list[int]:
        return self._end(self.context.run_mark, "")

    def sweep(self) -> list[int]:
        return self._end(self.context.run_prefix, self.context.run_mark)

    def _end(self, prefix: str, spared: str) -> list[int]:
        argv = ("docker", "exec", "-i", "-u", "0", self.container, "sh", "-c", _END_SCRIPT, "sh", prefix, spared)
        return [int(pid) for pid in run(Command(argv), timeout=60).text.split()]


def _end_here(prefix: str, spared: str) -> list[int]:
    ended = []
    mark = f"{VARIABLE}=".encode()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            variables = (directory / "environ").read_bytes().split(b"\0")
        except OSError:  # somebody else's process, or one that has just ended
            continue
        values = [variable[len(mark) :].decode(errors="replace") for variable in variables if variable.startswith(mark)]
        if any(value.startswith(prefix) and value != spared for value in values):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(directory.name), signal.SIGKILL)
                ended.append(int(directory.name))
    return ended
