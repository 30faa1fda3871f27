# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The value of a variable, as the service gets it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from .._core.context import Context
from .._core.errors import OpsError, Refused, ToolFailed, Unavailable
from .._core.place import ContainerPlace
from . import compose, dotenv, systemd
from .application import Application
from .compose import Project, Service
from .containers import Container
from .docker import Docker


@dataclasses.dataclass(frozen=True)
class Source:
    """One place where variables are set. `container`: where a file that `NAME_FILE` names would be."""

    label: str
    values: Mapping[str, str] = dataclasses.field(repr=False)
    container: Optional[Container] = None


@dataclasses.dataclass(frozen=True)
class Found:
    value: str = dataclasses.field(repr=False)
    source: str = ""


class Variables:
    """Looks variables up where the application takes them from, the nearest place first.

    The service's own environment as Compose resolves it, other services, the variables that the compose
    file itself is filled in with, the container's environment, systemd units, env files. Every value
    that is handed out counts as secret.
    """

    def __init__(self, context: Context, application: Application, container: Optional[Container] = None) -> None:
        self.context = context
        self.application = application
        self.container = container

    def find(self, name: str) -> Found:
        looked: list[str] = []
        empty: list[str] = []
        seen: set[str] = set()
        for source in self._sources(name):
            looked.append(source.label)
            seen.update(source.values)
            found = self._in(source, name)
            if found is not None and found.value:
                self.context.secrets.add(found.value)
                return found
            if found is not None:
                empty.append(source.label)
        raise _nowhere(name, looked, empty, seen)

    def _in(self, source: Source, name: str) -> Optional[Found]:
        if source.values.get(name):
            return Found(source.values[name], source.label)
        file = source.values.get(f"{name}_FILE")
        if file and source.container is not None:
            return Found(self._read_inside(source.container, file), f"{file} in container {source.container.name}")
        return Found("", source.label) if name in source.values else None

    def _read_inside(self, container: Container, path: str) -> str:
        if not container.running:
            raise Unavailable(f"{path} cannot be read, because container {container.name} does not run")
        place = ContainerPlace(self.context, container.id, container.name)
        # As the image's user first: root without CAP_DAC_OVERRIDE may read less than he does.
        for user in (None, "0"):
            try:
                output = dataclasses.replace(place, user=user).run(["cat", path], timeout=30)
                return output.stdout.decode(errors="replace").rstrip("\r\n")
            except ToolFailed as error:
                failure = error
        raise Unavailable(f"{path} cannot be read in container {container.name}: {failure.stderr_tail}")

    # Where to look -------------------------------------------------------------------------------

    def _sources(self, name: str) -> Iterator[Source]:
        project = self._project()
        if project is not None:
            yield from self._compose(project, name)
        elif self.application.project and self.container is None:
            yield Source(f"project {self.application.project}, which has no containers", {})
        if self.container is not None:
            yield Source(f"the environment of container {self.container.name}", self.container.env, self.container)
        for unit in self.application.units:
            if unit.endswith(".service"):
                yield Source(f"the environment of {unit}", self._of_unit(unit))
        for path in self.application.env_files:
            yield Source(path, dotenv.read(Path(path)).values())

    def _of_unit(self, unit: str) -> dict[str, str]:
        try:
            return systemd.environment(unit)
        except OpsError as error:  # another place may have it
            self.context.warn(str(error))
            return {}

    def _project(self) -> Optional[Project]:
        if self.container is not None and self.container.project:
            return compose.project_of(self.container)
        if not self.application.project:
            return None
        with Docker() as docker:
            projects = (compose.project_of(one) for one in docker.list() if one.project == self.application.project)
            return next((project for project in projects if project is not None), None)

    def _compose(self, project: Project, name: str) -> Iterator[Source]:
        own = self.container.service if self.container is not None else ""
        try:
            services = compose.services(project, own)
        except OpsError as error:
            self.context.warn(f"{error.what}; variables are looked up in the running containers instead.")
            services = {}
        if own in services:
            mine = services[own]
            self._compare(mine, name)
            yield Source(f"service {own} of project {project.name}", mine.environment, self.container)
        yield _others([service for service in services.values() if service.name != own], project, name)
        yield Source(f"the env file of project {project.name}", interpolation(project))
        if services:
            yield Source(f"the defaults in the compose files of project {project.name}", defaults(project))

    def _compare(self, service: Service, name: str) -> None:
        container = self.container
        now, running = service.environment.get(name), container.env.get(name) if container else None
        if container is not None and now is not None and running is not None and now != running:
            self.context.warn(
                f"{name} is not the same in the compose project and in the running container {container.name}: "
                "it was changed since the container was started. The project's value is used."
            )


def interpolation(project: Project) -> dict[str, str]:
    """The variables that a project's compose files are filled in with."""
    values: dict[str, str] = {}
    for path in project.interpolation_files:
        if path.exists():
            values.update(dotenv.read(path).values(values))
    return values


def defaults(project: Project) -> dict[str, str]:
    """Variables that have a default in the compose files: `${NAME:-default}`, `${NAME-default}`."""
    return parse_defaults(compose.templates(project), interpolation(project))


def parse_defaults(texts: Iterator[str] | Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for match in re.finditer(r"(?<!\$)(?:\$\$)*\$\{(?P<name>[A-Za-z_]\w*):?-", text):
            default = dotenv.up_to_brace(text[match.end() :])
            if default is not None:
                found.setdefault(match["name"], dotenv.expand(default, environment, template=True))
    return found


def _others(services: Sequence[Service], project: Project, name: str) -> Source:
    """The other services of a project as one source; refused when they do not agree on the variable."""
    holding = {service.name: service.environment[name] for service in services if service.environment.get(name)}
    if len(set(holding.values())) > 1:
        raise Refused(
            f"the variable {name} has different values in the services {', '.join(sorted(holding))}",
            hint="Name a variable that is set once, or one of the datastore's own service.",
        )
    merged: dict[str, str] = {}
    for service in services:
        merged.update({key: value for key, value in service.environment.items() if value or key not in merged})
    return Source(f"the other services of project {project.name}", merged)


def _nowhere(name: str, looked: Sequence[str], empty: Sequence[str], seen: set[str]) -> Refused:
    places = "; ".join(looked) or "nowhere: neither a container, a project, units nor env_files are given"
    near = difflib.get_close_matches(name, sorted(seen), 3, cutoff=0.6)
    near += [other for other in sorted(seen) if name.upper() in other.upper() and other not in near][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near and not empty else "Name another variable, or give its value."
    what = f"the variable {name} is empty" if empty else f"there is no variable {name}"
    return Refused(f"{what} (looked in: {places})", hint=hint)
