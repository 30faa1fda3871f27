# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Stopping what uses a datastore, and starting it again.

Everything is idempotent and judged by what is found, because a killed restore does it once more from
its journal (`Consumer.to_json`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Optional

from .._core.errors import OpsError, Refused, ToolFailed, Unavailable
from .._core.process import Command, run
from . import systemd
from .consumer import CONTAINER, PROCESS, TIMER, UNIT, Consumer, merged
from .containers import matching, missing
from .docker import Docker

_UNIT_SUFFIXES = (".service", ".timer", ".socket", ".path", ".target")
# Timers first, or they start what has just been stopped; containers last: units may be their clients.
_ORDER = (TIMER, UNIT, CONTAINER)


def named(names: Sequence[str]) -> list[Consumer]:
    """Of what a user names (`PROJECT/SERVICE`, a container's NAME, `UNIT.service`), that which runs.

    An unknown name is refused before anything is stopped.
    """
    units = [name for name in names if name.endswith(_UNIT_SUFFIXES)]
    others = [name for name in names if name not in units]
    found = _named_units(units)
    if others:
        found += _named_containers(others)
    return merged(found)


def _named_units(units: Sequence[str]) -> list[Consumer]:
    if units and not systemd.running():
        raise Refused(f"{units[0]} cannot be stopped: systemd does not run on this host")
    found = []
    for unit in units:
        properties = systemd.show(unit, "TriggeredBy")
        kind = UNIT if unit.endswith((".service", ".target")) else TIMER
        if systemd.is_active(properties):
            found.append(Consumer(kind, unit, unit, "named by the user"))
        triggers = systemd.first(properties, "TriggeredBy").split()
        for trigger, state in zip(triggers, systemd.show_all(triggers)):
            if systemd.is_active(state):
                found.append(Consumer(TIMER, trigger, trigger, f"it starts {unit}"))
    return found


def _named_containers(names: Sequence[str]) -> list[Consumer]:
    found = []
    with Docker() as docker:
        listed = docker.list()
        for name in names:
            matches = matching(name, listed)
            if not matches:
                raise missing(name, listed)
            found += [
                Consumer(CONTAINER, one.name, one.id, "named by the user", again=not one.oneoff)
                for one in matches
                if one.state in ("running", "restarting", "paused")
            ]
    return found


def running(consumers: Iterable[Consumer]) -> list[Consumer]:
    """Those of them that run now, or may start again any moment."""
    return [consumer for kind in (*_ORDER, PROCESS) for consumer in _of(kind, consumers) if _runs(consumer)]


def stop(consumers: Sequence[Consumer], timeout: Optional[int] = None) -> None:
    """Stop them all: timers, units, containers. `timeout`: seconds until a container is killed; its own
    grace period where None. A process cannot be stopped by us: refused before anything is stopped."""
    processes = [consumer for consumer in _of(PROCESS, consumers) if _runs(consumer)]
    if processes:
        raise Refused(
            f"{processes[0].label} uses the data and belongs to no service ({processes[0].reason})",
            hint="End it, then run this again.",
        )
    for kind in _ORDER:
        for consumer in _of(kind, consumers):
            _stop(consumer, timeout)


def start(consumers: Sequence[Consumer]) -> list[str]:
    """Start them again, in the reverse order. All are tried; what failed is raised at the end.

    What cannot be started again is returned, a sentence each: one-off jobs, and containers that are gone.
    """
    notes: list[str] = []
    failures: list[str] = []
    for kind in reversed(_ORDER):
        for consumer in reversed(_of(kind, consumers)):
            if not consumer.again:
                notes.append(f"{consumer.label} was a one-off job; it was not started again")
                continue
            try:
                note = _start(consumer)
            except OpsError as error:
                failures.append(f"{consumer.label} ({error.what})")
            else:
                notes += [note] if note else []
    if failures:
        raise Unavailable(f"could not be started again: {'; '.join(failures)}", hint="Start them by hand.")
    return notes


def _of(kind: str, consumers: Iterable[Consumer]) -> list[Consumer]:
    return [consumer for consumer in consumers if consumer.kind == kind]


def _runs(consumer: Consumer) -> bool:
    if consumer.kind == PROCESS:
        return _process_runs(consumer)
    if consumer.kind == CONTAINER:
        with Docker() as docker:
            container = docker.inspect(consumer.id)
        return container is not None and container.state in ("running", "restarting", "paused")
    return systemd.is_active(systemd.show_all([consumer.id])[0])


def _process_runs(consumer: Consumer) -> bool:
    # The pid may be somebody else's by now; a name is enough to tell, as a false "yes" only delays.
    with contextlib.suppress(OSError), open(f"/proc/{consumer.id}/comm", encoding="utf-8", errors="replace") as stream:
        return stream.read().rstrip("\n") == consumer.name
    return False


def _stop(consumer: Consumer, timeout: Optional[int]) -> None:
    if consumer.kind == CONTAINER:
        with Docker() as docker:
            docker.stop(consumer.id, timeout)
    else:
        _systemctl("stop", consumer)
    if _runs(consumer):
        raise Unavailable(
            f"{consumer.label} was stopped and runs again",
            hint="Something starts it (a supervisor, another unit). Stop that, then run this again.",
        )


def _start(consumer: Consumer) -> str:
    if consumer.kind != CONTAINER:
        _systemctl("start", consumer)
        return ""
    with Docker() as docker:
        # Recreated under its name meanwhile, perhaps by the user who looked after a killed restore.
        container = docker.inspect(consumer.id) or docker.inspect(consumer.name)
        if container is None:
            return f"{consumer.label} is gone; start it with what made it"
        docker.start(container.id)
    return ""


def _systemctl(verb: str, consumer: Consumer) -> None:
    try:
        run(Command(("systemctl", verb, "--", consumer.id)), timeout=600)
    except ToolFailed as error:
        raise Unavailable(f"systemctl {verb} {consumer.name} failed ({error.stderr_tail or error.what})") from None
