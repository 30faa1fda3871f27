# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A value in a JSON document, by a path such as `checks.database.status` or `items[0].name`; and what it must be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Optional

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Missing(Exception):
    """There is no such value."""


def value_at(document: Any, path: str) -> Any:
    """Objects by key, lists by number. A leading `$.` is allowed."""
    found = document
    for number, key in _STEP.findall(path.removeprefix("$").lstrip(".")):
        try:
            if number or isinstance(found, list):
                found = found[int(number or key)]
            elif isinstance(found, Mapping):
                found = found[key]
            else:
                raise Missing
        except (KeyError, IndexError, ValueError):
            raise Missing from None
    return found


def complaint(document: Any, rule: Mapping[str, Any]) -> Optional[str]:
    """Why a document does not satisfy a rule (`path`, and any of `equals`, `regex`, `min`, `max`); None when it does."""
    path = rule["path"]
    try:
        value = value_at(document, path)
    except Missing:
        return f"{path} is missing"
    shown = value if isinstance(value, str) else json.dumps(value)
    if rule.get("equals") is not None and shown != rule["equals"]:
        return f"{path} is {shown!r}, not {rule['equals']!r}"
    if rule.get("regex") and not re.search(rule["regex"], shown):
        return f"{path} is {shown!r}, which does not match {rule['regex']!r}"
    if rule.get("min") is None and rule.get("max") is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{path} is {shown!r}, not a number"
    if rule.get("min") is not None and value < rule["min"]:
        return f"{path} is {shown}, less than {rule['min']:g}"
    if rule.get("max") is not None and value > rule["max"]:
        return f"{path} is {shown}, more than {rule['max']:g}"
    return None
