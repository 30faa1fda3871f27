# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Fingerprints of the keys with which an application encrypts its data.

HMAC-SHA256 under a random salt, cut to 16 hexadecimal digits: enough to notice another key, not enough
to tell the key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from .._core.errors import Refused
from .._platform.variables import Variables
from .setup import Operation


def fingerprints(operation: Operation, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Salt and fingerprint of each variable's value as the application gets it."""
    result = {}
    for name in names:
        salt = secrets.token_hex(8)
        result[name] = {"salt": salt, "fingerprint": _fingerprint(salt, _value(operation, name))}
    return result


def check(operation: Operation, recorded: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> None:
    """Refuse when a live key is not the one that the backup was made under."""
    for name in names:
        if name not in recorded:
            operation.context.warn(f"the backup has no fingerprint of the data key {name}; it cannot be compared")
            continue
        salt = recorded[name]["salt"]
        if not hmac.compare_digest(_fingerprint(salt, _value(operation, name)), recorded[name]["fingerprint"]):
            raise Refused(
                f"the data key {name} is not the one that this backup was made under: its encrypted data could not be read",
                hint="Restore the configuration that holds the old key, or choose another backup.",
            )


def _value(operation: Operation, name: str) -> str:
    return Variables(operation.context, operation.application).find(name).value


def _fingerprint(salt: str, value: str) -> str:
    return hmac.new(salt.encode(), value.encode(), hashlib.sha256).hexdigest()[:16]
