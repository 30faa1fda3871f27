# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From Ansible's parameters to an operation, and from its outcome or error to a result."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Optional
from urllib.parse import unquote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, respawn_module

from . import argspec, worker
from .context import Context
from .errors import Interrupted, Told, Unavailable
from .model import Json
from .process import SIGNALS

# What a Python package is called, by the name it is imported as.
PACKAGES = {
    "pymysql": "PyMySQL",
    "psycopg": "psycopg[binary]",
    "pymongo": "pymongo",
    "redis": "redis",
    "docker": "docker",
}

_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|ACCOUNT", re.I)


def run(module: AnsibleModule, drivers: Sequence[str], operation: Callable[[Context], Json]) -> None:
    """Carry out a module's operation and end the module with its result or with an error for a person."""
    context: Optional[Context] = None
    try:
        app = argspec.app_from(module.params)
        context = Context(app, Path(module.params["state_dir"]), module.warn, module.check_mode)
        _learn_secrets(context, module)
        worker.enter(context, module._name.rpartition(".")[2], module.params)
        _find_drivers(drivers, context)
        for number in SIGNALS:
            signal.signal(number, _interrupt(context))
        result = operation(context)
    except Told as error:
        if context and context.interrupted and not isinstance(error, Interrupted):
            # A driver has made of it what it makes of everything, or Python has dropped it where it cannot be raised.
            error.what = f"{context.interrupted.what} ({error.what})"
            error.hint = context.interrupted.hint
        fail(module, context, error)
    else:
        module.exit_json(**result)


def fail(module: AnsibleModule, context: Optional[Context], error: Told) -> None:
    strike = context.secrets.strike if context else str
    details: Json = _struck(dict(error.details), strike)
    details["stage"] = error.stage
    if error.cmd is not None:
        details["cmd"] = [strike(word) for word in error.cmd]
    if error.rc is not None:
        details["rc"] = error.rc
    if error.stderr_tail:
        details["stderr_tail"] = strike(error.stderr_tail)
    module.fail_json(msg=strike(str(error)), **details)


def _struck(value: Any, strike: Callable[[str], str]) -> Any:
    """Without the secrets, however deep inside they are."""
    if isinstance(value, str):
        return strike(value)
    if isinstance(value, Mapping):
        return {name: _struck(one, strike) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_struck(one, strike) for one in value]
    return value


def _learn_secrets(context: Context, module: AnsibleModule) -> None:
    holders = [*(module.params.get("datastores") or ())]
    migrating = module.params.get("migration") or {}
    settings: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [
        ({}, holder.get("environment") or {}) for holder in (module.params, migrating)
    ]
    for option in ("repository", "copy_repository"):
        repository = module.params.get(option) or {}
        holders.append(repository)
        settings.append((repository, repository.get("environment") or {}))
    secret = {holder.get("password") for holder in holders} - {None, ""}
    given: set[str] = set()
    for repository, variables in settings:
        environment = {name: str(value) for name, value in variables.items()}
        given.update(environment.values())
        secret |= repository_secrets(repository.get("location") or "", environment)
    # The whole environment is kept out of the system's log; in results only what is secret is struck.
    module.no_log_values.difference_update(given - secret)
    module.no_log_values.update(secret)
    for value in module.no_log_values:
        context.secrets.add(value)


def secret_settings(environment: Mapping[str, str]) -> set[str]:
    """What must not be shown of variables.

    A short setting (a pack size, a number of connections) is no secret: struck, it would make holes in
    every id and time of a result. Nor is the name of an application's module.
    """
    return {
        value
        for name, value in environment.items()
        if _SECRET.search(name) or (len(value) >= 8 and name not in ("FLASK_APP", "PYTHONPATH"))
    }


def repository_secrets(location: str, environment: Mapping[str, str]) -> set[str]:
    """What must not be shown of a repository, besides its password."""
    found = secret_settings(environment)
    authority = location.partition("://")[2].partition("/")[0]  # rest:https://user:password@host/
    password = authority.rpartition("@")[0].partition(":")[2]
    return {value for value in (*found, password, unquote(password)) if value}


def _find_drivers(drivers: Sequence[str], context: Context) -> None:
    """Go on in the collection's own virtual environment when this Python lacks a driver."""
    missing = [name for name in drivers if importlib.util.find_spec(name) is None]
    if not missing:
        return
    interpreter = context.state_dir / "venv" / "bin" / "python"
    if interpreter.exists() and not has_respawned():
        respawn_module(str(interpreter))
    packages = ", ".join(PACKAGES.get(name, name) for name in missing)
    raise Unavailable(
        f"the Python packages {packages} are missing for {sys.executable}",
        hint=f"Run the role day2.ops.prepare, which installs them below {context.state_dir / 'venv'}, or install them yourself.",
        untouched="Nothing was changed.",
    )


def _interrupt(context: Context) -> Callable[[int, Optional[FrameType]], Any]:
    def interrupt(number: int, frame: Optional[FrameType]) -> Any:
        for again in SIGNALS:  # what is begun now is the way out, and a second signal must not cut it short
            signal.signal(again, _ignore)  # not SIG_IGN, which the programs started from here would inherit
        context.interrupted = Interrupted(f"interrupted by {signal.Signals(number).name}", hint="Run it again.")
        raise context.interrupted

    return interrupt


def _ignore(number: int, frame: Optional[FrameType]) -> None:
    pass
