# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A program's exit code and output: whatever no other group asks (error tracking is on, a validator says yes)."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator

from ..._core.place import HostPlace
from ..._core.process import Child
from ..model import CRIT, OK, Finding
from ..probe import Group, Options, Probe

KEPT = 1 << 20  # bytes of output


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    place = HostPlace(probe.scene.context.beside(), options["run_as"])
    child = place.spawn(options["argv"], env=options["environment"])
    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.signal(signal.SIGKILL)

    timer = threading.Timer(probe.timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        output = _output(child)
        rc = child.wait()
    finally:
        timer.cancel()
        child.close()
    if late.is_set():
        yield Finding(CRIT, f"{options['argv'][0]} did not end within {probe.timeout:g} s")
        return
    said = (output or child.stderr_tail).strip()
    first = next(iter(said.splitlines()), "no output")[:200]
    if rc not in options["exit_codes"]:
        wanted = ", ".join(map(str, options["exit_codes"]))
        yield Finding(CRIT, f"{options['argv'][0]} ended with {rc}, not {wanted}: {first}", rc)
    elif options["output"] and not re.search(options["output"], said, re.M):
        yield Finding(CRIT, f"the output does not match {options['output']!r}: {first}", rc)
    else:
        yield Finding(OK, first, rc)


def _output(child: Child) -> str:
    """To its end, of which no more is kept than anybody looks at."""
    kept = bytearray()
    for chunk in iter(lambda: child.stdout.read(65536), b""):
        kept += chunk[: max(0, KEPT - len(kept))]
    return kept.decode(errors="replace")


GROUP = Group(
    "command",
    {
        "argv": {"type": "list", "elements": "str", "required": True},
        "exit_codes": {"type": "list", "elements": "int", "default": [0]},
        "output": {"type": "str"},
        "environment": {"type": "dict", "default": {}, "no_log": True},
        "run_as": {"type": "str"},
    },
    look,
)
