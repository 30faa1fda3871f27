# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From JSON that somebody may have altered to a dataclass: its own fields, each of the right type."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

T = TypeVar("T")


def read(kind: type[T], data: Any) -> T:
    """A dataclass from a JSON object; `ValueError` for one that lacks a field or has a wrong one.

    Keys that the class does not know are left out: a newer version may have written them.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{kind.__name__}: an object is expected")
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in data:
            values[field.name] = data[field.name]
            if not _fits(data[field.name], hints[field.name]):
                raise ValueError(f"{kind.__name__}.{field.name}: {type(data[field.name]).__name__} is unexpected")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{kind.__name__}.{field.name} is missing")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is Union:
        return any(_fits(value, one) for one in inner)
    if origin in (tuple, list):
        return isinstance(value, origin) and all(_fits(one, inner[0]) for one in value)
    if origin is not None:  # Mapping, dict
        return isinstance(value, Mapping) and all(
            _fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items()
        )
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
