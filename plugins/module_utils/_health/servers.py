# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What the groups of the datastores share: the engine of one, with the application's own user, and its options."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from .._core import argspec
from .._core.argspec import Spec
from .._core.errors import Refused, Unavailable
from .._engines import registry
from .._engines.base import Engine
from .._recovery import setup
from .probe import Options, Probe

STORE: Spec = {"datastore": {"type": "str", "required": True}}
# To connect as the application does, rather than as who makes the backups.
LOGIN: Spec = {
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "password_variable": {"type": "str", "no_log": False},
    "password_url": {"type": "str", "no_log": False},
}
CONNECTIONS: Spec = {
    "connections_warn": {"type": "float", "default": 80.0},
    "connections_crit": {"type": "float", "default": 95.0},
}


class Down(Exception):
    """The server cannot be used: the very thing that a check looks for. Its text says why."""


def engine_of(options: Options, probe: Probe, kind: Any) -> Any:
    """An engine of its own for this check: the connections of others are not shared between threads."""
    name = options["datastore"]
    known = probe.scene.engines
    if name not in known:
        raise Refused(f'"{name}" is no datastore', hint=f"There are {', '.join(known) or 'none'}.")
    store = known[name].datastore
    if registry.KINDS[store.engine] is not kind:
        raise Refused(f'the datastore "{name}" is of engine {store.engine}')
    given = {key: options[key] for key in LOGIN if options.get(key) is not None}
    if "connect_retries" in kind.OPTIONS:  # a check that tries again says so itself (retries)
        given["connect_retries"] = 0
    if given:
        ways = ("password", "password_variable", "password_url")
        without: dict[str, Any] = dict.fromkeys(ways) if any(way in given for way in ways) else {}
        if any(way in given for way in ways) and store.options.get("run_as"):
            # Who is told by his system user on a socket is not asked for a password there.
            without.update(run_as=None, socket=None)
        laid = {**store.options, **without, **given}
        laid = {key: value for key, value in laid.items() if key in kind.OPTIONS}
        own = argspec.own_options(name, store.engine, laid, setup.ENGINES)
        store = dataclasses.replace(store, options=own)
    made: Engine = registry.engine_for(store, probe.scene.context, probe.scene.application)
    return made


@contextlib.contextmanager
def asked() -> Iterator[None]:
    """A server that does not let us in is down for the application."""
    try:
        yield
    except Unavailable as error:
        raise Down(error.what) from None
