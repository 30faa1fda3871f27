# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Where the migration tool runs: in a release's virtual environment, or in a container of the new image."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional, Protocol

from .._core.context import Context
from .._core.errors import OpsError, Refused
from .._core.io import write_atomic
from .._core.place import HostPlace
from .._core.process import Command
from .._platform import compose, dotenv, systemd
from .._platform.application import Application
from .._platform.compose import Project
from .._platform.docker import Docker

_LABEL = "day2.migrate"
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")


class Runtime(Protocol):
    """Builds the command of a program of the application's, with the application's environment."""

    @property
    def label(self) -> str:
        """The code that runs: the image's name, or the virtual environment."""

    @property
    def name(self) -> str:
        """Of the container that runs it; "" on the host."""

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command: ...

    def environment(self) -> Mapping[str, str]:
        """What must be added to the environment that a program finds where it runs."""

    def end(self) -> None:
        """End what this run started there, and remove what it made for it."""

    def sweep(self) -> None:
        """End what a killed run of the same application left running; the caller holds the lock."""


@dataclasses.dataclass(frozen=True)
class HostRuntime:
    """On this host, as the application's user, with what its units and env files set."""

    context: Context
    application: Application
    given: Mapping[str, str] = dataclasses.field(repr=False)
    directory: str
    venv: str
    user: Optional[str] = None

    @property
    def label(self) -> str:
        return self.venv or self.directory or "this host"

    @property
    def name(self) -> str:
        return ""

    def environment(self) -> Mapping[str, str]:
        values: dict[str, str] = {}
        for unit in self.application.units:
            if unit.endswith(".service"):
                values.update(systemd.environment(unit))
        for path in self.application.env_files:
            values.update(dotenv.read(Path(path)).values(values))
        return {**values, **self.given}

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        return HostPlace(self.context, self.user).command(argv, env)

    def end(self) -> None:
        HostPlace(self.context).end_run()

    def sweep(self) -> None:
        HostPlace(self.context).sweep()


@dataclasses.dataclass(frozen=True)
class ContainerRuntime:
    """In a one-off container of a Compose service, with its networks, volumes and variables. Its dependencies are
    left as they are and its entrypoint is not run: many migrate, or start the application."""

    context: Context
    project: Project
    service: str
    image: str
    given: Mapping[str, str] = dataclasses.field(repr=False)
    directory: str
    user: Optional[str] = None

    @property
    def label(self) -> str:
        return self.image

    @property
    def name(self) -> str:
        return f"day2-migrate-{self.context.app.key}-{self.context.run_id}"

    @property
    def _override(self) -> Path:
        return Path(tempfile.gettempdir()) / f"{self.name}.json"

    def environment(self) -> Mapping[str, str]:
        return self.given

    def command(self, argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> Command:
        service = {"image": self.image, "environment": sorted(env or {})}  # names only: values come from our own
        write_atomic(self._override, json.dumps({"services": {self.service: service}}).encode(), durable=False)
        flags = ["--rm", "--no-deps", "-T", "--name", self.name, "--label", f"{_LABEL}={self.context.run_mark}"]
        if self.user:
            flags += ["--user", self.user]
        if self.directory:
            flags += ["--workdir", self.directory]
        flags += ["--entrypoint", argv[0]]
        project = dataclasses.replace(self.project, files=(*self.project.files, self._override))
        return Command(project.argv("--profile", "*", "run", *flags, self.service, *argv[1:]), dict(env or {}))

    def end(self) -> None:
        with contextlib.suppress(OpsError), Docker() as docker:
            docker.remove(self.name)
        with contextlib.suppress(OSError):
            self._override.unlink()

    def sweep(self) -> None:
        with Docker() as docker:
            for container in docker.list():
                mark = container.labels.get(_LABEL, "")
                if mark.startswith(self.context.run_prefix) and mark != self.context.run_mark:
                    docker.remove(container.id)


def find_project(name: str, directory: str) -> Project:
    """The project as it was started; before its first start, by the directory that holds its files."""
    with Docker() as docker:
        projects = (compose.project_of(one) for one in docker.list() if one.project == name and not one.oneoff)
        found = next((project for project in projects if project is not None), None)
    if found is not None:
        return found
    files = [Path(directory, file) for file in _FILES if directory and Path(directory, file).exists()]
    if not files:
        raise Refused(
            f"the Compose project {name} has no containers"
            + (f", and there is no compose file in {directory}" if directory else ""),
            hint="Start it first, or name the directory of its compose file with project_directory.",
        )
    override = [path for path in (files[0].with_name(f"{files[0].stem}.override{files[0].suffix}"),) if path.exists()]
    return Project(name, Path(directory), (files[0], *override))


def image_of(project: Project, service: str) -> str:
    """The image that the service would be started from now."""
    known = compose.images(project)
    if service not in known:
        raise Refused(
            f"the Compose project {project.name} has no service {service}", hint=f"It has {', '.join(sorted(known))}."
        )
    return known[service]
