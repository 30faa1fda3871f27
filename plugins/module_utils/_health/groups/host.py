# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The machine: file systems and how soon they are full, memory, load, clock, what waits for a restart or an update."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..._core.errors import OpsError, Unavailable
from ..._core.process import Command, run
from ..._core.sizes import readable
from .. import thresholds
from ..model import CRIT, OK, SKIPPED, WARN, Finding
from ..probe import Group, Options, Probe

PARTS = ("disk", "memory", "load", "clock", "reboot", "updates")
_SHORTEST = 60.0  # seconds between two samples, below which nothing is said of the time until a disk is full


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    kinds: dict[str, Callable[[], Iterator[Finding]]] = {
        "disk": lambda: _disks(options, probe),
        "memory": lambda: _memory(options),
        "load": lambda: _load(options),
        "clock": _clock,
        "reboot": _reboot,
        "updates": lambda: _updates(options),
    }
    for part in options["parts"]:
        yield from kinds[part]()


def _disks(options: Options, probe: Probe) -> Iterator[Finding]:
    seen: set[int] = set()
    for path in options["paths"]:
        try:
            status, device = os.statvfs(path), os.stat(path).st_dev
        except OSError as error:
            yield Finding(CRIT, f"{path}: {error.strerror}", part=f"disk {path}")
            continue
        if device in seen or not status.f_blocks:
            continue
        seen.add(device)
        yield from _disk(options, probe, path, status)


def _disk(options: Options, probe: Probe, path: str, status: os.statvfs_result) -> Iterator[Finding]:
    free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    used = size - status.f_bfree * status.f_frsize
    share = 100 * used / (used + free) if used + free else 100.0  # as df counts: what is reserved for root is not free
    text = f"{path}: {share:.1f} % used, {readable(free)} free"
    yield thresholds.above(
        round(share, 1), options["disk_warn"], options["disk_crit"], text, unit="%", part=f"disk {path}"
    )
    if status.f_flag & os.ST_RDONLY:
        yield Finding(CRIT, f"{path} is mounted read-only", part=f"read-only {path}")
    if status.f_files:
        inodes = 100 * (status.f_files - status.f_ffree) / status.f_files
        text = f"{path}: {inodes:.1f} % of the inodes used"
        yield thresholds.above(
            round(inodes, 1), options["disk_warn"], options["disk_crit"], text, unit="%", part=f"inodes {path}"
        )
    yield from _until_full(options, probe, path, free)


def _until_full(options: Options, probe: Probe, path: str, free: int) -> Iterator[Finding]:
    """From the free bytes of the last run."""
    before = (probe.before.get("free") or {}).get(path)
    probe.remember(free={**(probe.memory.get("free") or {}), path: free})
    if before is None or probe.elapsed is None or probe.elapsed < _SHORTEST or free >= before:
        return
    hours = free / ((before - free) / probe.elapsed) / 3600
    text = f"{path} is full in {hours:.0f} hours if it goes on like this"
    yield thresholds.below(
        round(hours, 1), options["full_warn"], options["full_crit"], text, unit="h", part=f"full {path}"
    )


def _memory(options: Options) -> Iterator[Finding]:
    facts = _meminfo()
    available, total = facts["MemAvailable"], facts["MemTotal"]
    share = 100 * (total - available) / total
    text = f"{share:.1f} % of the memory used, {readable(available)} available"
    yield thresholds.above(
        round(share, 1), options["memory_warn"], options["memory_crit"], text, unit="%", part="memory"
    )


def _meminfo() -> dict[str, int]:
    """Bytes (proc(5))."""
    found = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _colon, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def _load(options: Options) -> Iterator[Finding]:
    """Over five minutes, for each processor."""
    load, count = os.getloadavg()[1], os.cpu_count() or 1
    text = f"load {load:.2f} on {count} processors"
    yield thresholds.above(round(load / count, 2), options["load_warn"], options["load_crit"], text, part="load")


def _clock() -> Iterator[Finding]:
    try:
        said = run(Command(("timedatectl", "show", "-p", "NTPSynchronized", "--value")), timeout=5).text
    except OpsError:
        yield Finding(SKIPPED, "systemd does not say whether the clock is synchronized", part="clock")
        return
    if said == "yes":
        yield Finding(OK, "the clock is synchronized", part="clock")
    else:
        yield Finding(WARN, "the clock is not synchronized (timedatectl)", part="clock")


def _reboot() -> Iterator[Finding]:
    if Path("/run/reboot-required").exists():
        yield Finding(WARN, "the machine must be restarted (/run/reboot-required)", part="reboot")
    else:
        yield Finding(OK, "no restart is required", part="reboot")


def _updates(options: Options) -> Iterator[Finding]:
    """Of Debian and its kin, from what apt knows; nothing is fetched."""
    try:
        said = run(Command(("apt-get", "-s", "-q", "-o", "Debug::NoLocking=1", "dist-upgrade")), timeout=20).text
    except Unavailable:
        yield Finding(SKIPPED, "there is no apt-get", part="updates")
        return
    except OpsError as error:
        yield Finding(
            WARN, f"apt-get does not say what waits ({error.stderr_tail[-200:] or error.what})", part="updates"
        )
        return
    waiting = [line for line in said.splitlines() if line.startswith("Inst ")]
    security = [line.split()[1] for line in waiting if "-Security" in line or "-security" in line]
    text = f"{len(security)} security updates wait" + (f" ({', '.join(security[:5])})" if security else "")
    yield thresholds.above(
        len(security),
        options["updates_warn"],
        options["updates_crit"],
        f"{text}, {len(waiting)} in all",
        part="updates",
    )


GROUP = Group(
    "host",
    {
        "parts": {"type": "list", "elements": "str", "choices": list(PARTS), "default": list(PARTS)},
        "paths": {"type": "list", "elements": "path", "default": ["/"]},
        "disk_warn": {"type": "float", "default": 80.0},
        "disk_crit": {"type": "float", "default": 95.0},
        "full_warn": {"type": "float", "default": 24.0},
        "full_crit": {"type": "float", "default": 4.0},
        "memory_warn": {"type": "float", "default": 90.0},
        "memory_crit": {"type": "float", "default": 97.0},
        "load_warn": {"type": "float", "default": 2.0},
        "load_crit": {"type": "float", "default": 5.0},
        "updates_warn": {"type": "float", "default": 1.0},
        "updates_crit": {"type": "float"},
    },
    look,
)
