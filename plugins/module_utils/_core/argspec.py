# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Argument specs that several modules share, and how the engines' options become one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .context import Context
from .errors import Refused
from .model import App, Datastore

Spec = dict[str, Any]

NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")

APPLICATION: Spec = {
    "app": {"type": "str", "required": True},
    "instance": {"type": "str", "default": "production"},
    "state_dir": {"type": "path", "default": "/var/lib/day2"},
    "lock_token": {"type": "str", "no_log": False},
}
RUNTIME: Spec = {
    "project": {"type": "str"},
    "units": {"type": "list", "elements": "str", "default": []},
    "env_files": {"type": "list", "elements": "path", "default": []},
}
FOLLOWED: Spec = {
    "reconnect_timeout": {"type": "int", "default": 600},
}
_REPOSITORY: Spec = {
    "location": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "lock_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 120},
    "options": {
        "type": "dict",
        "options": {
            "limit_upload": {"type": "int"},
            "limit_download": {"type": "int"},
            "compression": {"type": "str", "choices": ["auto", "off", "max"]},
            "pack_size": {"type": "int"},
            "read_concurrency": {"type": "int"},
            "connections": {"type": "int"},
            "extended": {"type": "dict"},
        },
    },
}
REPOSITORY: Spec = {
    "repository": {
        "type": "dict",
        "required": True,
        "options": {**_REPOSITORY, "restic": {"type": "str", "default": "restic"}},
    }
}
COPY_REPOSITORY: Spec = {"copy_repository": {"type": "dict", "options": _REPOSITORY}}


def union(specs: Mapping[str, Mapping[str, Any]]) -> Spec:
    """One spec with every engine's options. Options of the same name must be the same option.

    `required` is left to `validate`, because it holds for one engine only.
    """
    merged: Spec = {}
    for engine in sorted(specs):
        for name, option in specs[engine].items():
            plain = {key: value for key, value in option.items() if key not in ("required", "default")}
            if merged.setdefault(name, plain) != plain:
                raise ValueError(f"option {name} of engine {engine} differs from another engine's")
    return merged


def datastore_spec(engines: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The spec of one entry of `datastores`, for the engines' own specs by name."""
    return {
        "name": {"type": "str", "required": True},
        "engine": {"type": "str", "required": True, "choices": sorted(engines)},
        "content": {"type": "str", "choices": ["data", "configuration", "cache"], "default": "data"},
        **union(engines),
    }


def check_name(kind: str, name: str) -> str:
    if not NAME.match(name):
        raise Refused(
            f"{name!r} cannot be the name of {kind}",
            hint=f"A name matches {NAME.pattern}: lower case letters, digits and underscores, a letter first.",
        )
    return name


def app_from(params: Mapping[str, Any]) -> App:
    return App(check_name("an application", params["app"]), check_name("an instance", params["instance"]))


def datastores_from(entries: Sequence[Mapping[str, Any]], engines: Mapping[str, Mapping[str, Any]]) -> list[Datastore]:
    """Validated datastores. An option of another engine, a missing one, or a name used twice is refused."""
    datastores: list[Datastore] = []
    for entry in entries:
        name = check_name("a datastore", entry["name"])
        if any(name == other.name for other in datastores):
            raise Refused(f'two datastores are called "{name}"', hint="Give each a name of its own.")
        options = {key: value for key, value in entry.items() if key not in ("name", "engine", "content")}
        datastores.append(
            Datastore(name, entry["engine"], entry["content"], own_options(name, entry["engine"], options, engines))
        )
    return datastores


def own_options(
    name: str,
    engine: str,
    given: Mapping[str, Any],
    engines: Mapping[str, Mapping[str, Any]],
    kind: str = "datastore",
    of: str = "engine",
) -> dict[str, Any]:
    """The engine's own options with its defaults filled in; any other option that was given is refused. `kind` and
    `of` are what messages call the two."""
    spec = engines[engine]
    for option, value in given.items():
        if value is not None and option not in spec:
            near = difflib.get_close_matches(option, spec, 1)
            raise Refused(
                f'{kind} "{name}": {option} is not an option of {of} {engine}',
                hint=f"Did you mean {near[0]}?" if near else f"Its options are {', '.join(sorted(spec))}.",
            )
    options = {}
    for option, rules in spec.items():
        value = given.get(option)
        if value is None:
            value = rules.get("default")
        if value is None and rules.get("required"):
            raise Refused(f'{kind} "{name}": {of} {engine} needs the option {option}')
        options[option] = value
    return options


def check_repository_password(password: str, context: Context, datastores: Sequence[Datastore]) -> None:
    """Refuse a password that is short, or equal to a name: names stand in every tag and message, and a
    secret that is part of them would be struck out of all results."""
    names = {context.app.name, context.app.instance, context.app.key, "day2"}
    for datastore in datastores:
        names.update((datastore.name, *(str(datastore.options.get(key)) for key in ("database", "user", "volume"))))
    if len(password) < 8:
        raise Refused("the repository password has fewer than 8 characters", hint="Choose a longer one.")
    if password in names:
        raise Refused("the repository password equals a name that is in use", hint="Choose another one.")
