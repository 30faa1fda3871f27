# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Chosen paths of a datastore of files: where each is in the backup, and where it goes.

Nothing outside the datastore's own paths is ever reached: neither by `..` nor by a symbolic link on
the way. The swap itself is that of whole trees, with one item for each chosen path.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import Mismatch, Refused
from . import files_exclude
from . import files_tree as tree
from .base import Chosen
from .files_paths import Pair
from .files_swap import Item


@dataclasses.dataclass(frozen=True)
class Located:
    """A chosen path. `stored`: its path in the backup; `path`: where it would be replaced; `goal`: where
    it will be, the same unless a suffix was given."""

    name: str
    stored: str
    path: str
    goal: str
    pair: Pair


def located(pairs: Sequence[Pair], chosen: Chosen) -> list[Located]:
    found = [_located(pairs, name, chosen) for name in chosen.names]
    for index, one in enumerate(found):
        for other in found[:index] + found[index + 1 :]:
            if tree.is_within(one.path, other.path):
                raise Refused(
                    f'include: "{one.name}" is inside "{other.name}", or the same', hint="Name the outer one only."
                )
    return found


def _located(pairs: Sequence[Pair], name: str, chosen: Chosen) -> Located:
    if ".." in name.split("/"):
        raise Refused(f'include: "{name}" leads out of where it begins', hint='Name the path without "..".')
    if os.path.isabs(name):
        plain = os.path.normpath(name)
        for pair in pairs:
            for top in (pair.path, pair.stored, pair.given):
                if tree.is_within(plain, top):
                    return _below(pair, plain[len(top.rstrip("/")) :].lstrip("/"), name, chosen)
        tops = ", ".join(pair.path for pair in pairs)
        raise Refused(f'include: "{name}" is not in the datastore\'s own paths', hint=f"They are {tops}.")
    if len(pairs) != 1:
        raise Refused(
            f'include: "{name}" is a relative path, and the datastore has {len(pairs)} paths',
            hint=f"Name it from its beginning, such as {pairs[0].path}/{name}.",
        )
    relative = os.path.normpath(name)
    if relative == ".":
        raise Refused('include: "." is everything', hint="Restore the datastore without include.")
    return _below(pairs[0], relative, name, chosen)


def _below(pair: Pair, relative: str, name: str, chosen: Chosen) -> Located:
    path = os.path.join(pair.path, relative) if relative else pair.path
    stored = os.path.join(pair.stored, relative) if relative else pair.stored
    return Located(name, stored, path, path + chosen.suffix, pair)


def check(wanted: Sequence[Located], kept: Sequence[str]) -> None:
    """Refuse what the live tree does not allow. `kept`: directories that must keep their place."""
    for one in wanted:
        for directory in _between(one):
            if os.path.lexists(directory) and not _is_directory(directory):
                raise Refused(
                    f'include: "{one.name}" is below {directory}, which is no directory of its own (a link, or a file)',
                    hint="Name the path by where it really is, in the datastore that has it.",
                )
        if os.path.basename(one.path).startswith(tree.PREFIX):
            raise Refused(f'include: "{one.name}" is a name of our own')
        if one.goal == one.path:
            continue
        if one.path in kept:
            raise Refused(
                f"{one.path} is a mount point, a volume, or in a directory that cannot be written to: nothing can be put beside it",
                hint="Name paths below it.",
            )
        if os.path.lexists(one.goal):
            raise Refused(f"{one.goal} exists already", hint="Remove it, or choose another include_suffix.")


def item(
    one: Located, stage: str, old_name: str, number: int, inside: bool, patterns: Sequence[files_exclude.Pattern]
) -> Item:
    """How one chosen path is swapped."""
    staged = stage + one.stored
    _check_staged(one, stage)
    old = os.path.join(os.path.dirname(stage), old_name)
    carried: tuple[str, ...] = ()
    if patterns and one.goal == one.path and _is_directory(one.path):
        carried = tuple(files_exclude.left_out(one.path, patterns, one.stored))
    return Item(
        path=one.goal,
        staged=staged,
        old=old if inside else os.path.join(old, str(number)),
        inside=inside,
        parents=(*one.pair.parents, *_parents(one, stage)),
        carried=carried,
    )


def _check_staged(one: Located, stage: str) -> None:
    """Through a symbolic link in the copy something else would be found."""
    for directory in _between(one):
        copy = stage + one.pair.stored + directory[len(one.pair.path) :]
        if not _is_directory(copy):
            raise Mismatch(f'"{one.name}" is not in the staged copy')


def _parents(one: Located, stage: str) -> list[Mapping[str, Any]]:
    """The directories above it, with owner and mode as in the backup, outermost first."""
    parents: list[Mapping[str, Any]] = []
    for directory in _between(one):
        status = os.lstat(stage + one.pair.stored + directory[len(one.pair.path) :])
        mode = stat.S_IMODE(status.st_mode)
        parents.append({"path": directory, "uid": status.st_uid, "gid": status.st_gid, "mode": mode})
    return parents


def _between(one: Located) -> list[str]:
    """The datastore's path and the directories from there down to the chosen one, which is not among them."""
    found, directory = [], os.path.dirname(one.path)
    while one.path != one.pair.path and tree.is_within(directory, one.pair.path):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found[::-1]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
