# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a host needs for an application's backups, and what of it is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.errors import OpsError
from .._core.model import Datastore, Json
from .._core.process import Command, run

Which = Callable[[str], Optional[str]]


@dataclasses.dataclass(frozen=True)
class Tools:
    """Programs that one package brings. Of each of `commands` one alternative must be there."""

    commands: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...] = ()  # Debian's; none where installing it is not for us to decide
    not_a: str = ""  # what another product's program is called, to which these names may be links

    def missing(self, which: Which) -> list[str]:
        return [names[0] for names in self.commands if not any(self._is_there(which(name)) for name in names)]

    def _is_there(self, path: Optional[str]) -> bool:
        return bool(path) and not (self.not_a and os.path.basename(os.path.realpath(path or "")).startswith(self.not_a))


# A server in a container brings its own tools; what talks to it, the driver, is on the host always.
_BY_ENGINE = {
    "mariadb": Tools((("mariadb-dump", "mysqldump"), ("mariadb", "mysql")), ("mariadb-client",)),
    # Debian 12 and 13 have no package of them, and MariaDB's programs under their names.
    "mysql": Tools((("mysqldump",), ("mysql",)), not_a="mariadb"),
    "postgresql": Tools((("pg_dump",), ("pg_restore",)), ("postgresql-client",)),
    "redis": Tools((("redis-cli", "valkey-cli"), ("redis-server", "valkey-server")), ("redis-tools", "redis-server")),
    "mongodb": Tools((("mongodump",), ("mongorestore",))),  # in no Debian; MongoDB has packages of its own
}
_DOCKER = Tools((("docker",),))

# What pip installs for a driver, by the name it is imported as.
PIP = {
    "pymysql": ("PyMySQL>=1.1.0", "cryptography>=41.0.0"),  # for caching_sha2_password without TLS
    "psycopg": ("psycopg[binary]>=3.1.18",),
    "redis": ("redis>=5.0.0",),
    "pymongo": ("pymongo>=4.6.0",),
    "docker": ("docker>=7.0.0", "requests>=2.31.0"),
}
VENV_PACKAGES = ("python3-venv",)

_TRY = """
import importlib, json, sys
missing = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        missing.append(name)
print(json.dumps(missing))
"""


def tools(restic: str, datastores: Iterable[Datastore], project: Optional[str]) -> list[Tools]:
    """What these datastores need on the host itself."""
    datastores = list(datastores)
    wanted = {"restic": Tools(((restic,),), ("restic",) if restic == "restic" else ())}
    for datastore in datastores:
        if not datastore.options.get("container") and datastore.engine in _BY_ENGINE:
            wanted[datastore.engine] = _BY_ENGINE[datastore.engine]
    if project or any(one.options.get("container") or one.options.get("volume") for one in datastores):
        wanted["docker"] = _DOCKER
    return list(wanted.values())


def missing_drivers(python: str, drivers: Sequence[str]) -> list[str]:
    """Drivers that this Python cannot import; all of them where it does not run."""
    if not drivers:
        return []
    try:
        # Isolated (-I): what lies in the current directory is nobody's driver.
        said = run(Command((python, "-I", "-c", _TRY, *drivers)), timeout=120)
        return [str(name) for name in json.loads(said.stdout)]
    except (OpsError, ValueError):
        return list(drivers)


@dataclasses.dataclass(frozen=True)
class Missing:
    """What is not there. `install` is for apt, `pip` for the virtual environment, `make_venv` comes before it."""

    tools: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    make_venv: bool = False
    # What cannot be had from a package: docker, or a restic with a path of its own.
    elsewhere: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.tools or self.drivers)

    def to_json(self) -> Json:
        data: Json = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {**data, "complete": self.nothing}


def missing(
    wanted: Sequence[Tools],
    drivers: Sequence[str],
    venv: Path,
    *,
    which: Which = shutil.which,
    without: Callable[[str, Sequence[str]], list[str]] = missing_drivers,
    has_ensurepip: Optional[bool] = None,
) -> Missing:
    """Look at the host. The drivers may be in the Python that runs this, or all of them in `venv`."""
    absent = [tool for tool in wanted if tool.missing(which)]
    install = [package for tool in absent for package in tool.packages]
    elsewhere = [name for tool in absent if not tool.packages for name in tool.missing(which)]
    names = tuple(name for tool in absent for name in tool.missing(which))
    python = venv / "bin" / "python"
    lacking = without(sys.executable, drivers) and without(str(python), drivers)
    if not lacking:
        return Missing(names, (), tuple(install), elsewhere=tuple(elsewhere))
    # Not executable also where it is a link to an interpreter that an upgrade took away.
    make_venv = not os.access(python, os.X_OK)
    if make_venv and not (ensurepip() if has_ensurepip is None else has_ensurepip):
        install += VENV_PACKAGES
    pip = [requirement for driver in drivers for requirement in PIP[driver]]
    return Missing(names, tuple(lacking), tuple(install), tuple(pip), make_venv, tuple(elsewhere))


def ensurepip() -> bool:
    """Whether a virtual environment of this Python gets its pip. Debian ships that separately."""
    return importlib.util.find_spec("ensurepip") is not None


def host() -> Mapping[str, Any]:
    """Who we are here, for what may be installed and how."""
    return {"python": sys.executable, "apt": shutil.which("apt-get") is not None, "root": os.geteuid() == 0}
