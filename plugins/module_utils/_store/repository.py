# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Where a repository is, how restic gets in, and which of its options it is to use. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from .._core.errors import Refused

Version = tuple[int, ...]
MINIMUM: Version = (0, 14, 0)

# What 0.14.0 lacks, with the version that has it (restic's changelog).
SINCE: Mapping[str, Version] = {"read_concurrency": (0, 15, 0)}
SINCE_EXTENDED: Mapping[str, Version] = {
    "sftp.args": (0, 16, 1),
    "s3.unsafe-anonymous-auth": (0, 17, 0),
    "s3.enable-restore": (0, 18, 0),
    "s3.restore-days": (0, 18, 0),
    "s3.restore-tier": (0, 18, 0),
    "s3.restore-timeout": (0, 18, 0),
}
_WRITING = ("backup", "copy", "prune", "init")  # the verbs for which compression and pack size mean something


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of restic; None leaves restic's own default. Limits are in KiB/s, a pack's size in MiB."""

    limit_upload: Optional[int] = None
    limit_download: Optional[int] = None
    compression: Optional[str] = None
    pack_size: Optional[int] = None
    read_concurrency: Optional[int] = None
    connections: Optional[int] = None
    extended: Mapping[str, str] = dataclasses.field(default_factory=dict)  # `-o NAME=VALUE`

    def given(self) -> dict[str, Union[int, str]]:
        """Those that were set, by name."""
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: value for name, value in named if name != "extended" and value is not None}


@dataclasses.dataclass(frozen=True)
class Repository:
    """Where a repository is and how restic gets in."""

    location: str
    password: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    restic: str = "restic"
    lock_timeout: float = 300
    timeout: float = 120  # seconds for an answer, where no data are moved
    options: Options = dataclasses.field(default_factory=Options)

    @property
    def scheme(self) -> str:
        """`s3`, `rest`, `sftp`, …; `local` for a directory. restic names its options by it."""
        match = re.match(r"^([a-z0-9]+):", self.location)
        return match.group(1) if match else "local"

    @property
    def directory(self) -> Optional[Path]:
        """The directory of a local repository."""
        if self.scheme != "local":
            return None
        return Path(self.location[6:]) if self.location.startswith("local:") else Path(self.location)

    @property
    def extended(self) -> dict[str, str]:
        """Every `-o NAME=VALUE`."""
        connections = self.options.connections
        own = {} if connections is None else {f"{self.scheme}.connections": str(connections)}
        return {**own, **self.options.extended}


def flags(repository: Repository, verb: str, source: Optional[Repository] = None) -> list[str]:
    """The options as restic takes them on its command line. `source`: of a copy, which has one line for both."""
    given = repository.options.given()
    extended = repository.extended
    if source is not None:
        others = source.options.given()
        given.setdefault("limit_upload", others.get("limit_upload", 0))
        given["limit_download"] = others.get("limit_download", given.get("limit_download", 0))
        extended = {**source.extended, **extended}
    words = []
    for name, value in sorted(given.items()):
        wanted = {"compression": _WRITING, "pack_size": _WRITING, "read_concurrency": ("backup",)}.get(name, (verb,))
        if name != "connections" and verb in wanted and value:
            words.append(f"--{name.replace('_', '-')}={value}")
    return words + [word for name, value in sorted(extended.items()) for word in ("-o", f"{name}={value}")]


def check_options(repository: Repository, version: Version, known: Sequence[str]) -> None:
    """Refuse what the installed restic lacks. `known`: the extended options that it lists."""
    for name in repository.options.given():
        since = SINCE.get(name, MINIMUM)
        if version < since:
            raise _lacks(repository, f"the option {name}", version, since)
    for name in repository.options.extended:
        if name not in known:
            raise _lacks(repository, f"the extended option {name}", version, SINCE_EXTENDED.get(name))


def _lacks(repository: Repository, what: str, version: Version, since: Optional[Version]) -> Refused:
    have = f"{repository.restic} is {_dotted(version)}"
    if since is None or since <= version:
        return Refused(f"this restic does not know {what} ({have})", hint="`restic options` lists what it knows.")
    return Refused(
        f"{what} needs restic {_dotted(since)} or newer, and {have}",
        hint="Install a newer restic, name it in repository.restic, or leave the option out.",
    )


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def check_pair(source: Repository, target: Repository) -> None:
    """Refuse two repositories between which restic cannot copy: one restic has one environment and one command line."""
    if source.location.rstrip("/") == target.location.rstrip("/"):
        raise Refused("the repository and its copy are the same", hint="Give copy_repository another location.")
    for what, ours, theirs in (
        ("environment variable", source.environment, target.environment),
        ("option", source.options.extended, target.options.extended),
    ):
        clash = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
        if clash:
            raise Refused(
                f"the repository and its copy need different values of the {what} {clash[0]}, "
                "but one restic works on both and has one for both",
                hint="Give one of the two as rclone:NAME:PATH with its own account in RCLONE_CONFIG_NAME_… variables "
                "(docs/backup.md, Two accounts).",
            )


def from_params(given: Mapping[str, Any]) -> Repository:
    """From the module's option `repository` or `copy_repository`."""
    options = given.get("options") or {}
    for name, value in options.items():
        if name not in ("compression", "extended") and value is not None and value < 1:
            raise Refused(f"options.{name} is {value}", hint="Give a number of at least 1, or leave it out.")
    extended = {str(name): str(value) for name, value in (options.get("extended") or {}).items()}
    plain = {name: value for name, value in options.items() if name != "extended"}
    return Repository(
        location=given["location"],
        password=given["password"],
        environment={name: str(value) for name, value in (given.get("environment") or {}).items()},
        restic=given.get("restic") or "restic",
        lock_timeout=given["lock_timeout"],
        timeout=given["timeout"],
        options=Options(**plain, extended=extended),
    )
