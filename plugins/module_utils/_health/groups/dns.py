# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a name resolves to. Addresses by the system's resolver; other records, or another resolver, by `dig`."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence

from ..._core.errors import Refused
from ..._core.process import Command, run
from ..model import CRIT, OK, Finding
from ..probe import Group, Options, Probe

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    if not options["resolvers"]:
        yield _compared(options, _resolve(options, None, probe.timeout), "")
    for resolver in options["resolvers"]:
        yield _compared(options, _resolve(options, resolver, probe.timeout), resolver)


def _resolve(options: Options, resolver: str | None, timeout: float) -> Sequence[str] | str:
    """The records, or why there are none."""
    name, kind = options["name"], options["type"]
    if resolver is None and kind in _FAMILIES:
        try:
            found = socket.getaddrinfo(name, None, _FAMILIES[kind], socket.SOCK_STREAM)
        except OSError as error:
            return str(error.strerror or error)
        return sorted({str(one[4][0]) for one in found})
    if not re.match(r"^[A-Za-z0-9_*]", name):  # dig takes no `--`
        raise Refused(f"{name!r} is no name")
    argv = ["dig", "+short", f"+time={max(1, int(timeout / 2))}", "+tries=1"]
    if resolver:
        address, _separator, port = resolver.partition("#")
        argv += [f"@{address}", *(["-p", port] if port else [])]
    done = run(Command((*argv, name, kind)), timeout=timeout + 5, ok=range(256))
    lines = [line.strip() for line in done.text.splitlines() if line.strip()]
    if done.rc != 0 or any(line.startswith(";;") for line in lines):
        return next(iter(lines), f"dig ended with {done.rc}").lstrip("; ")
    return [line.replace('"', "") if kind == "TXT" else line.rstrip(".") for line in lines]


def _compared(options: Options, found: Sequence[str] | str, resolver: str) -> Finding:
    asked = f"{options['type']} of {options['name']}" + (f" at {resolver}" if resolver else "")
    if isinstance(found, str):
        return Finding(CRIT, f"{asked}: {found}", part=resolver)
    shown = ", ".join(found) or "no record"
    wanted, holding = set(options["equals"]), set(options["contains"])
    if not found or (wanted and set(found) != wanted) or not holding <= set(found):
        expected = f", expected {', '.join(sorted(wanted | holding))}" if wanted | holding else ""
        return Finding(CRIT, f"{asked}: {shown}{expected}", part=resolver)
    return Finding(OK, f"{asked}: {shown}", part=resolver)


GROUP = Group(
    "dns",
    {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "choices": ["A", "AAAA", "CNAME", "MX", "TXT"], "default": "A"},
        "equals": {"type": "list", "elements": "str", "default": []},
        "contains": {"type": "list", "elements": "str", "default": []},
        "resolvers": {"type": "list", "elements": "str", "default": []},
    },
    look,
)
