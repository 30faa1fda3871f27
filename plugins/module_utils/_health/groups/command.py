# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A program's exit code and output: whatever no other group asks (error tracking is on, a validator says yes)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from ..._core.errors import OpsError, Unavailable
from ..._core.place import HostPlace
from ..._core.process import run
from ..model import CRIT, OK, Finding
from ..probe import Group, Options, Probe


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    place = HostPlace(probe.scene.context, options["run_as"])
    command = place.command(options["argv"], options["environment"])
    begun = time.monotonic()
    try:
        done = run(command, timeout=probe.timeout, ok=range(256))
    except Unavailable:
        raise  # the program is not there: nothing is known
    except OpsError as error:
        late = time.monotonic() - begun >= probe.timeout
        yield Finding(CRIT, f"{options['argv'][0]} did not end within {probe.timeout:g} s" if late else error.what)
        return
    said = (done.text or done.stderr_tail).strip()
    first = next(iter(said.splitlines()), "no output")[:200]
    if done.rc not in options["exit_codes"]:
        wanted = ", ".join(map(str, options["exit_codes"]))
        yield Finding(CRIT, f"{options['argv'][0]} ended with {done.rc}, not {wanted}: {first}", done.rc)
    elif options["output"] and not re.search(options["output"], said, re.M):
        yield Finding(CRIT, f"the output does not match {options['output']!r}: {first}", done.rc)
    else:
        yield Finding(OK, first, done.rc)


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
