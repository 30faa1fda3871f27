# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the collection's playbooks on the sample application, with the demo's own environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import command
from .layout import CHECKOUT, VARIABLE, Layout

INVENTORY = CHECKOUT / "inventories" / "example"
TARGET = "booking"


def argv(layout: Layout, playbook: str, variables: Mapping[str, str] | None = None) -> list[str]:
    """`playbook`: a collection's (day2.ops.backup) or a file."""
    words = [str(layout.venv / "bin" / "ansible-playbook"), "-i", str(INVENTORY), playbook]
    for name, value in {"target": TARGET, **(variables or {})}.items():
        words += ["-e", json.dumps({name: value})]  # as name=value it would end at the first space
    return words


def environment(layout: Layout) -> dict[str, str]:
    """Nothing of the user's own Ansible settings, and nothing written outside of the demo's directory."""
    own = layout.environment / "ansible"
    path = os.pathsep.join([str(layout.binaries), str(layout.venv / "bin"), os.environ.get("PATH", os.defpath)])
    return command.clean_environment("ANSIBLE_", "RESTIC_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV") | {
        "ANSIBLE_CONFIG": str(CHECKOUT / "demo" / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.environment / "collections"),
        "ANSIBLE_HOME": str(own),
        "ANSIBLE_REMOTE_TMP": str(own / "tmp"),
        # The machine's Python, as on any target, not the environment's.
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "PATH": path,
        "RESTIC_CACHE_DIR": str(layout.state / "restic-cache"),
        # Ansible wants UTF-8; a bare machine may have no locale set at all.
        "LC_ALL": "C.UTF-8",
        VARIABLE: str(layout.base),
    }


def run(layout: Layout, playbook: str, variables: Mapping[str, str] | None = None) -> None:
    """To its end; its output goes to a log named after it."""
    name = Path(playbook).stem if playbook.endswith(".yml") else playbook.rpartition(".")[2]
    log = layout.logs / f"{name}.log"
    words = argv(layout, playbook, variables)
    command.run(words, log, f"the playbook {playbook}", environment=environment(layout), cwd=CHECKOUT)


def replace_by(layout: Layout, words: Sequence[str]) -> None:
    """Become ansible-playbook, for a person who looks around after the demo."""
    playbook, *more = words
    line = [*argv(layout, playbook), *more]
    os.execve(line[0], line, environment(layout))
