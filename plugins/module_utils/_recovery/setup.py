# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From a module's parameters to what an operation works with: the store and one engine per datastore."""

from __future__ import annotations

import dataclasses
import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core import argspec
from .._core.context import Context
from .._core.errors import Refused
from .._core.model import App, Datastore
from .._engines import registry
from .._engines.base import Engine
from .._engines.redis import Redis
from .._platform.application import Application
from .._store import manifest, repository
from .._store.restic import Restic

ENGINES: Mapping[str, Mapping[str, Any]] = {name: kind.OPTIONS for name, kind in registry.KINDS.items()}
DESCRIBED: argspec.Spec = {
    **argspec.APPLICATION,
    **argspec.REPOSITORY,
    "datastores": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": argspec.datastore_spec(ENGINES),
    },
}
UNITS = (".service", ".timer", ".socket", ".target", ".path")
_DRIVERS = {
    "mariadb": "pymysql",
    "mongodb": "pymongo",
    "mysql": "pymysql",
    "postgresql": "psycopg",
    "redis": "redis",
}


def elsewhere() -> argspec.Spec:
    """The spec of `into` and `scratch`: a datastore's name and the options that are different."""
    return {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"datastore": {"type": "str", "required": True}, **argspec.union(ENGINES)},
    }


def drivers(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python packages that this run will import."""
    names = {_DRIVERS[entry["engine"]] for entry in params["datastores"] if entry["engine"] in _DRIVERS}
    described = [*params["datastores"], *params.get("into", ()), *params.get("scratch", ())]
    containers = [name for name in params.get("stop") or () if not name.endswith(UNITS)]
    if params.get("project") or containers or any(entry.get("container") or entry.get("volume") for entry in described):
        names.add("docker")
    return tuple(sorted(names))


@dataclasses.dataclass(frozen=True)
class Operation:
    """What backup, verification and restore work with."""

    context: Context
    restic: Restic
    application: Application
    engines: Mapping[str, Engine]  # by the datastore's name: databases first, then files
    job: str = ""

    @property
    def app(self) -> App:
        return self.context.app

    @property
    def kept(self) -> Mapping[str, Engine]:
        """Those that are backed up: all but caches."""
        return {name: engine for name, engine in self.engines.items() if engine.datastore.content != "cache"}

    @property
    def caches(self) -> Mapping[str, Redis]:
        return {
            name: engine
            for name, engine in self.engines.items()
            if engine.datastore.content == "cache" and isinstance(engine, Redis)
        }

    def named(self, names: Sequence[str], option: str) -> list[Engine]:
        """The engines of these datastores; a name that is not described is refused."""
        unknown = [name for name in names if name not in self.engines]
        if unknown:
            raise Refused(
                f'{option} names "{unknown[0]}", which is no datastore of {self.app.key}',
                hint=f"Its datastores are {', '.join(self.engines) or 'none'}.",
            )
        return [engine for name, engine in self.engines.items() if name in names]

    def redirected(self, entries: Sequence[Mapping[str, Any]], option: str) -> dict[str, Engine]:
        """Engines for the datastores that go elsewhere, with the options that differ laid over."""
        engines = {}
        for entry in entries:
            engine = self.named([entry["datastore"]], option)[0]
            given = {key: value for key, value in entry.items() if key != "datastore" and value is not None}
            if not given:
                raise Refused(f'{option} names "{entry["datastore"]}" without saying where to')
            engines[entry["datastore"]] = self.with_options(engine, given)
        return engines

    def with_options(self, engine: Engine, given: Mapping[str, Any]) -> Engine:
        store = engine.datastore
        replaced = dict(store.options)
        if given.keys() & {"container", "host", "socket"}:  # another server: nothing of the old way in holds
            replaced.update(dict.fromkeys(("container", "host", "port", "socket", "run_as", "replica_set")))
        if given.keys() & {"password", "password_variable", "password_url"}:
            replaced.update(dict.fromkeys(("password", "password_variable", "password_url")))
        if given.keys() & {"paths", "volume"}:
            replaced.update(dict.fromkeys(("paths", "volume")))
        replaced = {key: value for key, value in replaced.items() if key in ENGINES[store.engine]}
        options = argspec.own_options(store.name, store.engine, {**replaced, **given}, ENGINES)
        return registry.engine_for(dataclasses.replace(store, options=options), self.context, self.application)

    def without_newest(self) -> Operation:
        """For a restore: the live data may be damaged, and the column that tells their age may be gone."""
        engines = {}
        for name, engine in self.engines.items():
            store = engine.datastore
            options = {**store.options, "newest": None} if "newest" in store.options else store.options
            bare = dataclasses.replace(store, options=options)
            engines[name] = registry.engine_for(bare, self.context, self.application)
        return dataclasses.replace(self, engines=engines)


def prepare(context: Context, params: Mapping[str, Any]) -> Operation:
    """Everything validated that can be without connecting to anything."""
    context.allow_flavour_change = bool(params.get("allow_flavour_change"))
    datastores = argspec.datastores_from(params["datastores"], ENGINES)
    if not datastores:
        raise Refused("datastores is empty: there is nothing to work on", hint="Describe what holds the data.")
    for store in datastores:
        if store.content == "cache" and registry.KINDS[store.engine] is not Redis:
            raise Refused(
                f'datastore "{store.name}": content: cache is for engine redis, not for {store.engine}',
                hint="What needs no backup and no flush is named in `uncovered` (day2_uncovered).",
            )
    application = Application(
        project=params.get("project") or "",
        units=tuple(params.get("units") or ()),
        env_files=tuple(params.get("env_files") or ()),
        uncovered=tuple(params.get("uncovered") or ()),
    )
    ordered = sorted(datastores, key=lambda store: registry.KINDS[store.engine].TRANSPORT == "tree")
    engines = {store.name: registry.engine_for(store, context, application) for store in ordered}
    return Operation(context, store_of(context, params, datastores), application, engines, params.get("job") or "")


def store_of(context: Context, params: Mapping[str, Any], datastores: Sequence[Datastore] = ()) -> Restic:
    given = params["repository"]
    argspec.check_repository_password(given["password"], context, datastores)
    return Restic(repository.from_params(given), context)


def copy_of(context: Context, params: Mapping[str, Any], first: Restic) -> Optional[Restic]:
    """The second repository, driven by the same restic; None where none is given."""
    given = params.get("copy_repository")
    if not given:
        return None
    argspec.check_repository_password(given["password"], context, ())
    second = dataclasses.replace(repository.from_params(given), restic=first.repository.restic)
    repository.check_pair(first.repository, second)
    return Restic(second, context)


def tags(context: Context, role: str, backup: str, *more: str) -> list[str]:
    """Tags of a snapshot of ours, with the machine that made it: it alone may call it an orphan."""
    return [*manifest.tags(context.app, role, backup), f"machine={context.machine}", *more]


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
