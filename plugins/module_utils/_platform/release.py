# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which release of the application ran, as far as a backup can tell: the git commit, the images."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from .._core.errors import OpsError
from .._core.model import Json
from .._core.process import Command, run
from . import compose
from .docker import Docker


def release_facts(project: str) -> Json:
    """`{"git_commit": …, "images": {SERVICE: {"image", "id", "digest"}}}` of a Compose project.

    What is not known is left out: no commit where the directory is no checkout, no digest for an image
    that was built here.
    """
    facts: Json = {}
    images: dict[str, dict[str, str]] = {}
    directory: Optional[Path] = None
    with Docker() as docker:
        for container in compose.members(project, list(docker.containers())):
            source = compose.project_of(container)
            directory = directory or (source.directory if source is not None else None)
            if container.service in images:
                continue
            image = {"image": container.image, "id": container.image_id}
            digests = docker.repo_digests(container.image_id)
            if digests:
                image["digest"] = digests[0]
            images[container.service] = image
    commit = git_commit(directory) if directory is not None else None
    if commit:
        facts["git_commit"] = commit
    if images:
        facts["images"] = dict(sorted(images.items()))
    return facts


def git_commit(directory: Path) -> Optional[str]:
    """The commit that a directory is a checkout of; None where it is none, or git is not installed."""
    # The checkout belongs to whoever deploys, and git refuses those of others unless it is told.
    trust = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    argv = ("git", "-C", str(directory), "rev-parse", "--verify", "HEAD")
    try:
        return run(Command(argv, trust), timeout=30).text or None
    except OpsError:
        return None
