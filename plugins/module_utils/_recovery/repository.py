# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Making a repository, where there certainly is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from .._core import lock
from .._core.context import Context
from .._core.errors import Refused, Unavailable, at
from .._core.model import Json
from .._store.messages import NoRepository
from .._store.restic import Restic
from . import setup


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup_repository`."""
    restic = setup.store_of(context, params)
    second = setup.copy_of(context, params, restic)
    restic.version()
    changed, made = _present(context, params, restic, f"repository of {context.app.key}", None)
    result: Json = {"changed": changed, "repository": made}
    if second is not None:
        second.version()
        changed, made = _present(context, params, second, f"second repository of {context.app.key}", restic)
        result.update({"changed": changed or result["changed"], "copy_repository": made})
    return result


def _present(
    context: Context, params: Mapping[str, Any], restic: Restic, where: str, like: Optional[Restic]
) -> tuple[bool, Json]:
    """Make it where there is none; whether that was so, and what it is now."""
    with at(where, stage="open", untouched="No repository was created."):
        config = existing(restic)
        if config is not None and like is not None:
            _compare(restic, config, like)
    if config is not None:
        return False, _described(restic, config)
    if context.check_mode:
        return True, {"location": restic.repository.location}
    with at(where, stage="create"), lock.held(context, params["lock_token"], "create the repository"):
        restic.init(like)
        return True, _described(restic, restic.config())


def _compare(second: Restic, config: Mapping[str, Any], first: Restic) -> None:
    """Files that are cut at other places are stored twice; said, because it can be seen in its size only."""
    if config["chunker_polynomial"] != first.config()["chunker_polynomial"]:
        second.context.warn(
            "the second repository was not made for copies of the first (init --copy-chunker-params): "
            "what is copied into it shares no space with what was backed up there directly"
        )


def existing(restic: Restic) -> Optional[Mapping[str, Any]]:
    """Its configuration; None where there certainly is no repository. Any other failure is raised."""
    try:
        return restic.config()
    except NoRepository:
        _check_directory(restic.repository.directory)
        return None


def _check_directory(directory: Optional[Path]) -> None:
    """restic would make a new repository over one that lost its configuration, or amid other files."""
    if directory is None:
        return
    try:
        content = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"the directory {directory} cannot be read ({error.strerror})") from None
    if content:
        raise Refused(
            f"{directory} holds no repository, but is not empty ({', '.join(content[:4])})",
            hint="A damaged repository can often be repaired, so nothing is written over it. Give an empty directory.",
        )


def _described(restic: Restic, config: Mapping[str, Any]) -> Json:
    return {"location": restic.repository.location, "id": config["id"], "version": config["version"]}
