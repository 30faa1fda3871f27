# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's environment: ansible-core and restic, from what the machine has or from its own sources.

In this order, for each: what is there already; Debian packages unpacked beside it. It is made once;
a stamp says for which Python, which requirements and which place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import command, debian
from .console import DemoError
from .layout import CHECKOUT, Layout, remove

REQUIREMENTS = CHECKOUT / "demo" / "requirements.txt"
RESTIC_NEEDED = (0, 14)
# Packages of Debian that hold pip as a wheel (ensurepip's own).
PIP_PACKAGE = "python3-pip-whl"
PIP_WHEELS = Path("usr/share/python-wheels")


@dataclasses.dataclass(frozen=True)
class Tools:
    """What was found or made."""

    ansible: str
    restic: str
    restic_path: str
    python: str
    made: bool = False

    def __str__(self) -> str:
        return f"ansible-core {self.ansible}, restic {self.restic}, Python {self.python}"


def ensure(layout: Layout) -> Tools:
    """Make the environment, or find it made already (well under a second)."""
    if importlib.util.find_spec("sqlite3") is None or importlib.util.find_spec("_sqlite3") is None:
        raise DemoError(f"{sys.executable} was built without sqlite3, which the sample application needs.")
    layout.prepare()
    stamp = layout.environment / "stamp.json"
    wanted = _wanted(layout)
    known = _read(stamp)
    if known and known["for"] == wanted and (layout.venv / "bin" / "ansible-playbook").exists():
        tools = Tools(**known["tools"])
        if os.access(tools.restic_path, os.X_OK):
            return tools
    remove(layout.environment)
    tools = _make(layout)
    _write(stamp, {"for": wanted, "tools": dataclasses.asdict(tools)})
    return dataclasses.replace(tools, made=True)


def _wanted(layout: Layout) -> dict[str, str]:
    return {
        "python": f"{os.path.realpath(sys.executable)} {sys.version}",
        "requirements": hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest(),
        "place": f"{layout.environment} for {CHECKOUT}",
    }


def _read(stamp: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(stamp.read_text()))
    except (OSError, ValueError):
        return {}


def _write(stamp: Path, content: dict[str, Any]) -> None:
    """The stamp comes last and whole: a bootstrap that was interrupted has none."""
    draft = stamp.with_suffix(".new")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(stamp)


def _make(layout: Layout) -> Tools:
    log = layout.environment / "bootstrap.log"
    layout.binaries.mkdir(parents=True)

    restic = shutil.which("restic")
    if restic and restic_version(restic) < RESTIC_NEEDED:
        restic = None
    pip = _pip_at_hand()
    missing = ([] if restic else ["restic"]) + ([] if pip else [PIP_PACKAGE])
    if missing:
        root = _from_debian(missing, layout, log)
        if not restic:
            restic = str(root / "usr" / "bin" / "restic")
            if restic_version(restic) < RESTIC_NEEDED:
                raise DemoError("the package restic of this system is older than 0.14; put a newer one on PATH.")
        if not pip:
            pip = _wheel(root / PIP_WHEELS)
    assert restic and pip
    # A link, so that one directory on PATH holds what the demo uses, wherever it came from.
    (layout.binaries / "restic").symlink_to(restic)
    _collection_link(layout)
    _install_ansible(layout, pip, log)
    return Tools(
        ansible=_ansible_version(layout),
        restic=".".join(map(str, restic_version(restic))),
        restic_path=restic,
        python=".".join(map(str, sys.version_info[:3])),
    )


def restic_version(path: str) -> tuple[int, ...]:
    """(0, 14, 0); (0,) where it does not run."""
    try:
        said = subprocess.run([path, "version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return (0,)
    found = re.match(r"restic (\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)


def _from_debian(packages: list[str], layout: Layout, log: Path) -> Path:
    if not debian.available():
        names = ["restic 0.14 or newer" if name == "restic" else "pip for this Python" for name in packages]
        raise DemoError(
            f"{' and '.join(names)} cannot be found, and this is no Debian where the demo could fetch it by itself.\n"
            "Install it with the system's package manager and start again."
        )
    return debian.unpack(packages, layout.environment / "debian", log)


# pip ------------------------------------------------------------------------------------------------
# It is given as the words that run it for the environment's own Python.


def _pip_at_hand() -> list[str] | None:
    """ensurepip (then venv brings pip), an installed pip, or the wheel of Debian; None: none of them."""
    if importlib.util.find_spec("ensurepip") and not _ensurepip_is_hollow():
        return ["-m", "ensurepip"]
    wheel = _wheel(Path("/") / PIP_WHEELS)
    if wheel:
        return wheel
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    return None


def _ensurepip_is_hollow() -> bool:
    """Debian splits it: the module may be there while its wheels are not."""
    try:
        import ensurepip

        return not ensurepip.version()
    except Exception:  # pylint: disable=broad-except  # each release of Debian breaks it in its own way
        return True


def _wheel(directory: Path) -> list[str] | None:
    """A wheel of pip runs from inside itself, as ensurepip runs it."""
    found = sorted(directory.glob("pip-*.whl"))
    return [str(found[-1] / "pip")] if found else None


def _install_ansible(layout: Layout, pip: list[str], log: Path) -> None:
    """A virtual environment with ansible-core, by the pip and the index that the machine is set up for."""
    environment = command.clean_environment("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX")
    # A user's or a site's `user = true` cannot be followed inside a virtual environment.
    environment |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    own = str(layout.venv / "bin" / "python")
    with_pip = pip == ["-m", "ensurepip"]
    command.run(
        [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), layout.venv],
        log,
        "making a virtual environment",
        environment=environment,
        advice="On Debian the package python3-venv is a way out.",
    )
    if with_pip:
        words = [own, "-m", "pip"]
    elif pip == ["-m", "pip"]:
        words = [sys.executable, "-m", "pip", "--python", own]
    else:
        words = [own, *pip]
    command.run(
        [*words, "install", "--no-warn-script-location", "-r", REQUIREMENTS],
        log,
        "pip install ansible-core",
        environment=environment,
        advice="pip uses the index, proxy and certificates of pip.conf and of PIP_* variables; set them if this "
        "machine needs others.",
    )


def _ansible_version(layout: Layout) -> str:
    # Without starting Ansible, which takes seconds.
    found = sorted(layout.venv.glob("lib/python3.*/site-packages/ansible_core-*.dist-info"))
    if not found:
        raise DemoError(f"pip ended well, but there is no ansible-core in {layout.venv}.")
    return found[-1].name.removeprefix("ansible_core-").removesuffix(".dist-info")


def _collection_link(layout: Layout) -> None:
    """Ansible finds a collection as ansible_collections/NAMESPACE/NAME; the checkout may have any name."""
    namespace = layout.environment / "collections" / "ansible_collections" / "day2"
    namespace.mkdir(parents=True)
    (namespace / "ops").symlink_to(CHECKOUT)
