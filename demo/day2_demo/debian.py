# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages without root: downloaded by apt with lists and caches of our own, and unpacked.

The machine's sources, keys, proxies and certificates are used as they are; only where apt *writes*
is changed. Nothing is installed on the system, for root neither.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import command
from .console import DemoError


def available() -> bool:
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg"))


def apt_options(home: Path) -> list[str]:
    """Own lists and caches; everything else is read from the machine's own apt configuration."""
    options = {
        "Dir::State::lists": f"{home}/lists/",
        "Dir::Cache": f"{home}/cache/",
        "Dir::Cache::archives": f"{home}/cache/archives/",
        "Acquire::Languages": "none",
        "APT::Get::List-Cleanup": "false",
        # Otherwise a source that cannot be reached is a warning and exit 0.
        "APT::Update::Error-Mode": "any",
    }
    if os.geteuid() == 0:
        # As root apt downloads as the user _apt, who may not look into root's directories.
        options["APT::Sandbox::User"] = "root"
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def unpack(packages: Sequence[str], home: Path, log: Path) -> Path:
    """Download `packages` and unpack them; gives the directory that stands for `/`."""
    downloads, root = home / "downloads", home / "root"
    for directory in (home / "lists" / "partial", home / "cache" / "archives" / "partial", downloads, root):
        directory.mkdir(parents=True, exist_ok=True)
    options = apt_options(home)
    advice = (
        f"Or have this machine's administrator install {' and '.join(_as_administrator(packages))}, and start again."
    )
    try:
        command.run(["apt-get", *options, "-q", "update"], log, "apt-get update", advice=advice)
    except DemoError:
        # One source of several may be down; the download decides whether that matters.
        if not any((home / "lists").glob("*_Packages*")):
            raise
    command.run(
        ["apt-get", *options, "-q", "download", *packages],
        log,
        f"apt-get download {' '.join(packages)}",
        cwd=downloads,
        advice=advice,
    )
    for archive in sorted(downloads.glob("*.deb")):
        command.run(["dpkg", "-x", archive, root], log, f"unpacking {archive.name}")
    for leftover in ("lists", "cache", "downloads"):
        shutil.rmtree(home / leftover, ignore_errors=True)
    return root


def _as_administrator(packages: Sequence[str]) -> list[str]:
    """What to install on the system instead of what we would unpack for ourselves."""
    return [{"python3-pip-whl": "python3-venv"}.get(package, package) for package in packages]
