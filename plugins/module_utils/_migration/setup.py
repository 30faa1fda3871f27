# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From a module's parameters to what a migration works with: one datastore, and the tool where it runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from .._core import argspec
from .._core.context import Context
from .._core.errors import Refused
from .._engines import registry
from .._engines.base import Engine
from .._platform.application import Application
from . import command, runtime
from .alembic import Alembic
from .command import CommandTool
from .database import ENGINES
from .runtime import ContainerRuntime, HostRuntime

_OPTIONS: Mapping[str, Mapping[str, Any]] = {name: kind.OPTIONS for name, kind in registry.KINDS.items()}
# What migrates, and where it runs.
MIGRATION: argspec.Spec = {
    "datastore": {"type": "str"},
    "tool": {"type": "str", "choices": ["alembic", "flask", "command"], "default": "alembic"},
    "config": {"type": "str", "default": "alembic.ini"},
    "migrations": {"type": "str"},
    "x": {"type": "list", "elements": "str", "default": []},
    "commands": {"type": "dict", "options": command.SPEC},
    "directory": {"type": "str"},
    "venv": {"type": "path"},
    "python": {"type": "str"},
    "service": {"type": "str"},
    "project_directory": {"type": "path"},
    "user": {"type": "str"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
}
SPEC: argspec.Spec = {
    **argspec.APPLICATION,
    **argspec.RUNTIME,
    "datastores": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": argspec.datastore_spec(_OPTIONS),
    },
    **MIGRATION,
    "image": {"type": "str"},
    "revision": {"type": "str", "default": "head"},
    "allow_multiple_heads": {"type": "bool", "default": False},
    "connect_delays": {"type": "list", "elements": "int", "default": [1, 2]},
}
_DRIVERS = {"mariadb": "pymysql", "mysql": "pymysql", "postgresql": "psycopg"}


@dataclasses.dataclass(frozen=True)
class Job:
    """What migrate and migrate_info work with."""

    context: Context
    application: Application
    engine: Engine
    runtime: Union[HostRuntime, ContainerRuntime]
    tool: Union[Alembic, CommandTool]
    target: str  # head, heads, base or a revision
    delays: tuple[int, ...]  # seconds before connecting is tried again

    @property
    def datastore(self) -> str:
        return self.engine.datastore.name


def drivers(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python packages that this run will import."""
    chosen = [one for one in params["datastores"] if params["datastore"] in (None, one["name"])]
    names = {_DRIVERS[one["engine"]] for one in chosen if one["engine"] in _DRIVERS}
    if params["project"] or params["service"] or any(one.get("container") for one in chosen):
        names.add("docker")
    return tuple(sorted(names))


def prepare(context: Context, params: Mapping[str, Any]) -> Job:
    """From the parameters of migrate and migrate_info; nothing is connected to."""
    application = Application(
        project=params["project"] or "", units=tuple(params["units"]), env_files=tuple(params["env_files"])
    )
    described = argspec.datastores_from(params["datastores"], _OPTIONS)
    engines = [registry.engine_for(one, context, application) for one in described]
    return job_for(context, application, engines, params, _target(params), params["image"], params["connect_delays"])


def job_for(
    context: Context,
    application: Application,
    engines: Sequence[Engine],
    options: Mapping[str, Any],
    target: str = "heads",
    image: Optional[str] = None,
    delays: Sequence[int] = (),
) -> Job:
    """`options`: as MIGRATION has them. Everything is validated that can be without connecting to anything."""
    where = _runtime(context, application, options, image)
    return Job(
        context=context,
        application=application,
        engine=_chosen(engines, options["datastore"]),
        runtime=where,
        tool=_tool(context, where, options),
        target=target,
        delays=tuple(delays),
    )


def _chosen(engines: Sequence[Engine], wanted: Optional[str]) -> Engine:
    found = [one for one in engines if one.datastore.engine in ENGINES and wanted in (None, one.datastore.name)]
    if not found:
        raise Refused(
            f'datastore "{wanted}" is not described, or has no schema'
            if wanted
            else "no datastore has a schema that could be migrated",
            hint=f"Migrations are for the engines {', '.join(ENGINES)}.",
        )
    if len(found) > 1:
        raise Refused(
            f"several datastores have a schema: {', '.join(one.datastore.name for one in found)}",
            hint="Name the one that the tool migrates with datastore.",
        )
    return found[0]


def _runtime(
    context: Context, application: Application, params: Mapping[str, Any], image: Optional[str]
) -> Union[HostRuntime, ContainerRuntime]:
    given = {name: str(value) for name, value in params["environment"].items()}
    directory = params["directory"] or ""
    if not params["service"]:
        if image:
            raise Refused("image is given without a service", hint="Name the Compose service that it is for.")
        return HostRuntime(context, application, given, directory, params["venv"] or "", params["user"])
    if params["venv"]:
        raise Refused("service and venv are both given", hint="A migration runs in a container, or on the host.")
    if not application.project:
        raise Refused("service is given without a project", hint="Name the Compose project with project.")
    project = runtime.find_project(application.project, params["project_directory"] or "")
    image = image or runtime.image_of(project, params["service"])
    return ContainerRuntime(context, project, params["service"], image, given, directory, params["user"])


def _tool(
    context: Context, where: Union[HostRuntime, ContainerRuntime], params: Mapping[str, Any]
) -> Union[Alembic, CommandTool]:
    if params["tool"] == "command":
        if not params["commands"]:
            raise Refused("tool: command needs commands", hint="Give commands.current, .pending and .upgrade.")
        return CommandTool(where, params["commands"], params["directory"] or "", context)
    venv = params["venv"]
    python = params["python"] or (f"{venv}/bin/python" if venv else "python3")
    if not params["service"] and not venv and not params["python"]:
        raise Refused(
            "neither service nor venv is given",
            hint="Name the Compose service whose image has the tool, or the release's virtual environment.",
        )
    settings = {
        "tool": params["tool"],
        "config": params["config"],
        "migrations": params["migrations"],
        "x": params["x"],
        # In a container the working directory is Compose's to set.
        "directory": "" if params["service"] else params["directory"] or "",
    }
    return Alembic(where, python, settings, context)


def _target(params: Mapping[str, Any]) -> str:
    revision = str(params["revision"] or "head").strip()
    if re.search(r"^[-+]|[-+]\d+$|[:,@]", revision):
        raise Refused(
            f"revision: {revision!r} is relative, and which one it means depends on where the database is",
            hint="Name the revision itself: with two branches, -1 silently takes one of them.",
        )
    return "heads" if revision == "head" and params["allow_multiple_heads"] else revision
