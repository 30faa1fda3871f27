# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which backups a policy keeps: arithmetic over whole backups, without effects. All times UTC."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Callable, Optional

from .catalogue import Entry

Moment = datetime.datetime


@dataclasses.dataclass(frozen=True)
class Policy:
    """How many to keep, by rule; None where a rule is not used."""

    last: Optional[int] = None
    hourly: Optional[int] = None
    daily: Optional[int] = None
    weekly: Optional[int] = None
    monthly: Optional[int] = None
    yearly: Optional[int] = None
    within: Optional[datetime.timedelta] = None
    safety_within: Optional[datetime.timedelta] = None

    @property
    def empty(self) -> bool:
        rules = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly, self.within)
        return all(rule is None for rule in rules)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Reasons by backup id for what stays (newest first), and the ids of what goes."""

    keep: dict[str, list[str]]
    remove: list[str]


_PERIODS: dict[str, Callable[[Moment], str]] = {
    "hourly": lambda moment: moment.strftime("%Y-%m-%d %H"),
    "daily": lambda moment: moment.strftime("%Y-%m-%d"),
    "weekly": lambda moment: "{}-W{:02}".format(*moment.isocalendar()[:2]),
    "monthly": lambda moment: moment.strftime("%Y-%m"),
    "yearly": lambda moment: moment.strftime("%Y"),
}


def plan(entries: Sequence[Entry], policy: Policy, now: Moment) -> Plan:
    """What stays and what goes. `entries` newest first.

    Only complete backups count for a rule, so that broken ones never push a good one out. Never
    removed: the newest proven backup, the only complete one, and one that is held. Backups from the
    future stay, because a wrong clock must not remove anything.
    """
    reasons: dict[str, list[str]] = {entry.id: [] for entry in entries}
    normal = [entry for entry in entries if entry.kind != "safety" and entry.complete]
    _apply_rules(normal, policy, now, reasons)
    for entry in entries:
        if entry.holds:
            reasons[entry.id].append(f"held: {entry.hold}")
        if entry.started > now:
            reasons[entry.id].append("from the future")
        if entry.kind == "safety" and (policy.safety_within is None or entry.started >= now - policy.safety_within):
            reasons[entry.id].append("safety copy")
    proven = next((entry for entry in normal if entry.proven), None)
    if proven:
        reasons[proven.id].append("newest proven")
    if normal and not any(reasons[entry.id] for entry in normal):
        reasons[normal[0].id].append("the only one left")
    return Plan(
        {backup: why for backup, why in reasons.items() if why},
        [backup for backup, why in reasons.items() if not why],
    )


def _apply_rules(entries: Sequence[Entry], policy: Policy, now: Moment, reasons: dict[str, list[str]]) -> None:
    for entry in entries[: policy.last or 0]:
        reasons[entry.id].append("last")
    for rule, period in _PERIODS.items():
        wanted = getattr(policy, rule) or 0
        seen: set[str] = set()
        for entry in entries:
            name = period(entry.started)
            if name not in seen and len(seen) < wanted:
                seen.add(name)
                reasons[entry.id].append(f"{rule} {name}")
    if policy.within is not None:
        for entry in entries:
            if entry.started >= now - policy.within:
                reasons[entry.id].append("within")
