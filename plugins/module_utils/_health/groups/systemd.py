# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Units and timers: whether they run, restart again and again, have failed, or run something older than their file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..._core.errors import Unavailable
from ..._core.process import Command, run
from ..._platform import systemd
from .. import thresholds
from ..model import CRIT, OK, WARN, Finding
from ..probe import Group, Options, Probe

_ASKED = ("SubState", "Result", "NRestarts", "NeedDaemonReload", "Type", "UnitFileState")


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    if not systemd.running():
        raise Unavailable("systemd does not run on this host")
    units = list(options["units"])
    restarts = {}
    for unit, properties in zip(units, systemd.show_all(units, *_ASKED)):
        yield _unit(unit, properties)
        if unit.endswith(".service") and _is_loaded(properties):
            count = int(systemd.first(properties, "NRestarts") or 0)
            restarts[unit] = count
            yield from _restarts(options, probe, unit, count)
    probe.remember(restarts=restarts)
    if options["failed"]:
        yield _failed()


def _is_loaded(properties: Mapping[str, Sequence[str]]) -> bool:
    return systemd.first(properties, "LoadState") == "loaded"


def _unit(unit: str, properties: Mapping[str, Sequence[str]]) -> Finding:
    def said(name: str) -> str:
        return systemd.first(properties, name)

    if not _is_loaded(properties):
        return Finding(CRIT, f"{unit}: {said('LoadState') or 'unknown to systemd'}", part=unit)
    state = f"{said('ActiveState')} ({said('SubState')})"
    finished = said("Type") == "oneshot" and said("ActiveState") == "inactive" and said("Result") == "success"
    if finished:  # a job, which a timer starts
        return Finding(OK, f"{unit} ended well", state, part=unit)
    if said("ActiveState") == "activating":
        return Finding(WARN, f"{unit} is starting: {state}", state, part=unit)
    if not systemd.is_active(properties):
        return Finding(CRIT, f"{unit} is {state}, result {said('Result')}", state, part=unit)
    if said("NeedDaemonReload") == "yes":
        return Finding(WARN, f"{unit} runs, but its file has changed: systemctl daemon-reload", state, part=unit)
    if unit.endswith(".timer") and said("UnitFileState") == "disabled":
        return Finding(WARN, f"{unit} runs, but is disabled: it will not after a restart", state, part=unit)
    return Finding(OK, f"{unit} is {state}", state, part=unit)


def _restarts(options: Options, probe: Probe, unit: str, count: int) -> Iterator[Finding]:
    """Those since the last run; a smaller count than then began anew."""
    before = (probe.before.get("restarts") or {}).get(unit)
    if before is None:
        return
    since = count - int(before) if count >= int(before) else count
    text = f"{unit} was started again {since} times since the last run"
    yield thresholds.above(since, options["restarts_warn"], options["restarts_crit"], text, part=f"{unit} restarts")


def _failed() -> Finding:
    argv = ("systemctl", "list-units", "--failed", "--no-pager", "--no-legend", "--plain", "--full")
    units = [line.split()[0] for line in run(Command(argv), timeout=30).text.splitlines() if line.strip()]
    if units:
        return Finding(WARN, f"{len(units)} units have failed: {', '.join(units[:5])}", len(units), part="failed")
    return Finding(OK, "no unit has failed", 0, part="failed")


GROUP = Group(
    "systemd",
    {
        "units": {"type": "list", "elements": "str", "default": []},
        "failed": {"type": "bool", "default": True},
        "restarts_warn": {"type": "float", "default": 1.0},
        "restarts_crit": {"type": "float", "default": 3.0},
    },
    look,
)
