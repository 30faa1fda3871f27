# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A Compose project as it was started: its directory, files and env files, from its containers' labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.errors import OpsError, Unavailable
from .._core.process import Command, run
from .containers import Container, Listed

_LABEL = "com.docker.compose.project."


@dataclasses.dataclass(frozen=True)
class Project:
    """`env_files` are those given by --env-file; none means `.env` in the directory, where there is one."""

    name: str
    directory: Path
    files: tuple[Path, ...]
    env_files: tuple[Path, ...] = ()

    @property
    def interpolation_files(self) -> tuple[Path, ...]:
        """The env files that the project's own `${VARIABLES}` come from."""
        return self.env_files or (self.directory / ".env",)

    def argv(self, *words: str) -> tuple[str, ...]:
        files = [word for file in self.files for word in ("-f", str(file))]
        env_files = [word for file in self.env_files for word in ("--env-file", str(file))]
        where = ("-p", self.name, "--project-directory", str(self.directory))
        return ("docker", "compose", *where, *files, *env_files, *words)


@dataclasses.dataclass(frozen=True)
class ServiceMount:
    """A mount as the compose file has it; `volume` by the name that Docker knows."""

    type: str
    source: str
    destination: str
    rw: bool
    volume: str = ""


@dataclasses.dataclass(frozen=True)
class Service:
    name: str
    environment: Mapping[str, str] = dataclasses.field(repr=False)
    mounts: tuple[ServiceMount, ...] = ()


def project_of(container: Listed) -> Optional[Project]:
    """The project that a container was started from, or None where its labels do not say."""
    directory = container.labels.get(_LABEL + "working_dir", "")
    files = _paths(container.labels.get(_LABEL + "config_files", ""), directory)
    if not (container.project and directory and files):
        return None
    env_files = _paths(container.labels.get(_LABEL + "environment_file", ""), directory)
    return Project(container.project, Path(directory), files, env_files)


def _paths(joined: str, directory: str) -> tuple[Path, ...]:
    return tuple(Path(directory, part) for part in joined.split(",") if part)


def missing_files(project: Project) -> list[Path]:
    """What the project was started from and is not there any more."""
    return [path for path in (project.directory, *project.files, *project.env_files) if not path.exists()]


def services(project: Project, wanted: str = "") -> dict[str, Service]:
    """The services as Compose resolves them now, env files and defaults included.

    Services behind a profile that is not active are left out by Compose, unless `wanted` is one of them:
    labels do not say which profiles a project was started with.
    """
    found = parse_services(_config(project))
    if wanted and wanted not in found:
        found = parse_services(_config(project, every_profile=True))
    return found


def images(project: Project) -> dict[str, str]:
    """Of every service, the image that it would be started from now."""
    described = json.loads(_config(project, every_profile=True)).get("services") or {}
    return {name: str(service.get("image") or f"{project.name}-{name}") for name, service in described.items()}


def templates(project: Project) -> Iterator[str]:
    """Every text of the compose files that holds a `${VARIABLE}`, with included and extended files."""
    yield from _texts(json.loads(_config(project, "--no-interpolate", every_profile=True)))


def _config(project: Project, *flags: str, every_profile: bool = False) -> bytes:
    gone = missing_files(project)
    if gone:
        raise Unavailable(f"{gone[0]}, which the Compose project {project.name} was started from, is gone")
    profile = ("--profile", "*") if every_profile else ()
    try:
        return run(Command(project.argv(*profile, "config", "--format", "json", *flags)), timeout=60).stdout
    except OpsError as error:
        raise Unavailable(
            f"docker compose cannot read the project {project.name} ({_reason(error)})", cmd=error.cmd, rc=error.rc
        ) from None


def _reason(error: OpsError) -> str:
    # Without the plugin, docker takes `compose`'s own options for its own.
    if "unknown shorthand flag" in error.stderr_tail or "not a docker command" in error.stderr_tail:
        return "the Compose plugin is not installed"
    lines = [line for line in error.stderr_tail.splitlines() if "level=warning" not in line]
    return lines[-1].strip()[:200] if lines else error.what


def parse_services(config: bytes) -> dict[str, Service]:
    """From the output of `docker compose config --format json`."""
    model = json.loads(config)
    volumes = model.get("volumes") or {}
    return {
        name: Service(
            name,
            # Compose writes a dollar sign as two, so that its output can be a compose file again.
            {key: str(value).replace("$$", "$") for key, value in _environment(data) if value is not None},
            tuple(_mount(mount, volumes) for mount in data.get("volumes") or []),
        )
        for name, data in (model.get("services") or {}).items()
    }


def _environment(service: Mapping[str, Any]) -> Iterator[tuple[str, Optional[str]]]:
    environment = service.get("environment") or {}
    if isinstance(environment, list):
        for entry in environment:
            name, _rest, value = entry.partition("=")
            yield name, value
    else:
        yield from environment.items()


def _mount(mount: Mapping[str, Any], volumes: Mapping[str, Any]) -> ServiceMount:
    source = str(mount.get("source") or "").replace("$$", "$")
    volume = ""
    if mount["type"] == "volume" and source:
        volume, source = (volumes.get(source) or {}).get("name", source), ""
    return ServiceMount(mount["type"], source, mount["target"], not mount.get("read_only", False), volume)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "$" in value:
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def members(name: str, containers: Sequence[Container]) -> list[Container]:
    """The containers of a project's services, one-off ones left out; running ones first."""
    found = [one for one in containers if one.project == name and not one.oneoff]
    return sorted(found, key=lambda one: (not one.running, one.service, one.number))
