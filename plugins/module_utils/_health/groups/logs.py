# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What the application logs: how often a pattern, how many slow requests, what belongs to one request.

No line at all is a warning: an application that logs nothing in a period does nothing, or logs elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from ..._core import clock
from ..._core.errors import Refused
from .. import lines, thresholds
from ..jsonpath import Missing, value_at
from ..model import OK, WARN, Finding
from ..probe import Group, Options, Probe

_SHOWN = 20  # lines of one request that a message holds


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    found = _lines(options, probe)
    if not found:
        yield Finding(WARN, f"nothing was logged in the last {options['period']}", 0)
        return
    yield Finding(OK, f"{len(found)} lines in the last {options['period']}", len(found))
    if options["pattern"]:
        yield _matching(options, found)
    if options["duration_field"]:
        yield _slow(options, found)
    if options["correlation_id"]:
        yield _related(options["correlation_id"], found)


def _lines(options: Options, probe: Probe) -> Sequence[str]:
    since = clock.now() - clock.duration(options["period"], "period")
    if options["unit"]:
        return lines.of_unit(options["unit"], since, probe.timeout)
    if options["container"]:
        return lines.of_container(options["container"], since)
    return lines.of_file(Path(options["path"]), since)


def _matching(options: Options, found: Sequence[str]) -> Finding:
    try:
        pattern = re.compile(options["pattern"])
    except re.error as error:
        raise Refused(f"the pattern {options['pattern']!r} is no regular expression ({error})") from None
    hits = [line for line in found if pattern.search(line)]
    text = f"{len(hits)} of {len(found)} lines in {options['period']} match {options['pattern']!r}"
    if hits:
        text += f", the last one: {hits[-1].strip()[:200]}"
    return thresholds.above(len(hits), options["count_warn"], options["count_crit"], text, part="pattern")


def _slow(options: Options, found: Sequence[str]) -> Finding:
    times = [seconds for line in found if (seconds := _duration(options, line)) is not None]
    slow = [seconds for seconds in times if seconds >= options["slow_limit"]]
    if not times:
        return Finding(WARN, f"no line has a duration in {options['duration_field']!r}", part="slow")
    share = round(100 * len(slow) / len(times), 2)
    text = (
        f"{len(slow)} of {len(times)} requests took {options['slow_limit']:g} s or more, the slowest {max(times):.2f} s"
    )
    return thresholds.above(share, options["slow_warn"], options["slow_crit"], text, unit="%", part="slow")


def _duration(options: Options, line: str) -> Optional[float]:
    """Of JSON a field by its path; of text the number behind `NAME=` or `NAME: `."""
    name = options["duration_field"]
    fields = lines.fields_of(line)
    value: Any = None
    if fields is not None:
        try:
            value = value_at(fields, name)
        except Missing:
            return None
    else:
        match = re.search(rf"\b{re.escape(name)}[=:]\s*\"?([0-9.]+)", line)
        value = match[1] if match else None
    try:
        return float(value) * {"s": 1.0, "ms": 0.001, "us": 0.000001}[options["duration_unit"]]
    except (TypeError, ValueError):
        return None


def _related(identifier: str, found: Sequence[str]) -> Finding:
    related = [line.strip() for line in found if identifier in line]
    if not related:
        return Finding(WARN, f"no line holds {identifier}", 0, part="correlation")
    shown = "\n".join(line[:500] for line in related[:_SHOWN])
    return Finding(OK, f"{len(related)} lines hold {identifier}:\n{shown}", len(related), part="correlation")


GROUP = Group(
    "logs",
    {
        "unit": {"type": "str"},
        "container": {"type": "str"},
        "path": {"type": "path"},
        "period": {"type": "str", "default": "15m"},
        "pattern": {"type": "str"},
        "count_warn": {"type": "float", "default": 1.0},
        "count_crit": {"type": "float"},
        "duration_field": {"type": "str"},
        "duration_unit": {"type": "str", "choices": ["s", "ms", "us"], "default": "s"},
        "slow_limit": {"type": "float", "default": 1.0},
        "slow_warn": {"type": "float", "default": 1.0},
        "slow_crit": {"type": "float", "default": 10.0},
        "correlation_id": {"type": "str"},
    },
    look,
    needs=("unit", "container", "path"),
)
