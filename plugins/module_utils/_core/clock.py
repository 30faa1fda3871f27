# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Times and durations, always UTC."""

from __future__ import annotations

import datetime
import re

from .errors import Refused

UTC = datetime.timezone.utc
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST = 36525 * 86400  # seconds; what is far longer cannot be taken off a date


def now() -> datetime.datetime:
    return datetime.datetime.now(UTC)


def text(moment: datetime.datetime) -> str:
    """`2026-11-23T21:04:55Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_text(value: str) -> datetime.datetime:
    return datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def given(value: str, option: str) -> datetime.datetime:
    """A time that a user gave: ISO 8601 with an offset, because two people read a bare one differently."""
    try:
        moment = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        raise Refused(f"{option}: {value!r} is not a time", hint="Write it as 2026-11-23T20:00:00+01:00.") from None
    if moment.tzinfo is None:
        raise Refused(
            f"{option}: {value!r} has no offset", hint="Write it as 2026-11-23T20:00:00+01:00 or with Z for UTC."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Refused(f"{option}: {value!r} is before or after all time that can be counted") from None


def duration(value: str, option: str) -> datetime.timedelta:
    """`90s`, `15m`, `20h`, `30d`, `2w`."""
    match = re.match(r"^([0-9]{1,12})([smhdw])$", value.strip())
    if not match:
        raise Refused(
            f"{option}: {value!r} is not a duration", hint="Write a number with s, m, h, d or w, for example 20h."
        )
    seconds = int(match.group(1)) * _UNITS[match.group(2)]
    if seconds > _LONGEST:
        raise Refused(f"{option}: {value!r} is more than 100 years")
    return datetime.timedelta(seconds=seconds)
