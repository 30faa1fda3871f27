# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Env files: who may read them, how old their secrets are, and whether what runs has what they say.

How old a secret is nobody writes down. So its digest (keyed, with a key of this application's own) is remembered, and
it is at least as old as the first run that saw it. No value is ever shown or stored.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from ..._core import clock
from ..._core.errors import OpsError, Unavailable
from ..._core.model import Json
from ..._platform import compose, dotenv, systemd
from ..._platform.docker import Docker
from ..model import CRIT, OK, WARN, Finding
from ..probe import Group, Options, Probe

_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|DSN|_URL$|_URI$", re.I)


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    paths = list(map(Path, options["env_files"] or probe.scene.application.env_files))
    if not paths:
        raise Unavailable("no env file is described", hint="Give env_files.")
    values: dict[str, str] = {}
    for path in paths:
        try:
            yield _mode(path)
            found = dotenv.read(path)
        except (OpsError, OSError) as error:
            yield Finding(
                CRIT, error.what if isinstance(error, OpsError) else f"{path}: {error.strerror}", part=str(path)
            )
            continue
        values.update({line.name: line.value for line in found.lines if line.name})
    if options["max_age"]:
        yield from _ages(options, probe, values)
    if options["processes"]:
        yield from _processes(probe, values)


def _mode(path: Path) -> Finding:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    shown = f"{path} has mode {mode:04o}"
    if mode & 0o007:
        return Finding(CRIT, f"{shown}: every user of this host may use it", f"{mode:04o}", part=str(path))
    if mode & 0o020:
        return Finding(WARN, f"{shown}: its group may change it", f"{mode:04o}", part=str(path))
    return Finding(OK, shown, f"{mode:04o}", part=str(path))


def _ages(options: Options, probe: Probe, values: Mapping[str, str]) -> Iterator[Finding]:
    limit, now = clock.duration(options["max_age"], "max_age"), clock.now()
    key = str(probe.before.get("key") or secrets.token_hex(16))
    known: Json = probe.before.get("seen") or {}
    seen: Json = {}
    for name in sorted(filter(_SECRET.search, values)):
        digest = hmac.new(bytes.fromhex(key), values[name].encode(), hashlib.sha256).hexdigest()[:16]
        before = known.get(name) or {}
        since = before["since"] if before.get("digest") == digest else clock.text(now)
        seen[name] = {"digest": digest, "since": since}
    probe.remember(key=key, seen=seen)
    old = [name for name, one in seen.items() if now - clock.from_text(one["since"]) > limit]
    oldest = min((clock.from_text(one["since"]) for one in seen.values()), default=now)
    days = (now - oldest) / datetime.timedelta(days=1)
    if old:
        text = f"not changed for more than {options['max_age']}: {', '.join(old)}"
        yield Finding(WARN, text, round(days, 1), "days", part="age")
    else:
        text = f"{len(seen)} secrets, all seen or changed within {options['max_age']}"
        yield Finding(OK, text, round(days, 1), "days", part="age")


def _processes(probe: Probe, values: Mapping[str, str]) -> Iterator[Finding]:
    """A variable that a process has with another value than the file: changed, and not deployed."""
    application = probe.scene.application
    if application.project:
        with Docker() as docker:
            for container in compose.members(application.project, list(docker.containers(everything=False))):
                yield _compared(container.service or container.name, container.env, values)
    for unit in application.units:
        environment = _environment(unit)
        if environment is not None:
            yield _compared(unit, environment, values)


def _environment(unit: str) -> Optional[dict[str, str]]:
    """Of the main process of a unit that runs."""
    pid = systemd.first(systemd.show(unit, "MainPID"), "MainPID")
    try:
        content = Path(f"/proc/{int(pid or 0)}/environ").read_bytes() if pid not in ("", "0") else b""
    except OSError:
        return None
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in content.split(b"\0") if entry)
    return {name: value for name, _sign, value in pairs} or None


def _compared(what: str, environment: Mapping[str, str], values: Mapping[str, str]) -> Finding:
    # What refers to other variables is not what a process has.
    plain = {name: value for name, value in values.items() if "$" not in value}
    other = sorted(name for name in plain.keys() & environment.keys() if environment[name] != plain[name])
    if other:
        text = f"{what} runs with another value than the env file of {', '.join(other[:5])}: start it anew"
        return Finding(WARN, text, len(other), part=f"{what} environment")
    shared = len(plain.keys() & environment.keys())
    return Finding(OK, f"{what} has {shared} variables as the env file has them", shared, part=f"{what} environment")


GROUP = Group(
    "secrets",
    {
        "env_files": {"type": "list", "elements": "path", "default": []},
        "max_age": {"type": "str"},
        "processes": {"type": "bool", "default": True},
    },
    look,
)
