# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Partial restores: which tables, collections or paths are meant, and what of the live data they are.

The whole part is staged and compared all the same, because its fingerprint proves the backup; only the
chosen ones of it are swapped then. Accounts are left alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from .._core.errors import Refused
from .._core.model import Fingerprint, Part
from .._engines import files_tree
from .._engines.base import Chosen, Engine, Target
from .._engines.chosen import nearest, resolved
from .._engines.files import Files
from .setup import Operation

_SUFFIX = re.compile(r"^[A-Za-z0-9_.-]{1,30}$")


@dataclasses.dataclass(frozen=True)
class Share:
    """What of one datastore is restored. `held`: the chosen ones' fingerprint in the backup, under the
    names that they will have live."""

    chosen: Chosen
    held: Fingerprint

    @property
    def beside(self) -> bool:
        """Nothing live is replaced, so nothing has to stop."""
        return bool(self.chosen.suffix)

    @property
    def included(self) -> list[str]:
        """The names under which the chosen ones will be live."""
        return [self.chosen.target(name) for name in self.chosen.names]

    def of(self, found: Fingerprint) -> Fingerprint:
        """The chosen ones of a staged copy's fingerprint."""
        return _tables(found, self.chosen) if self.held.tables else self.held

    def target(self, engine: Engine, part: Part) -> Target:
        """What of the live data the chosen ones would replace."""
        found = engine.target_chosen(part, self.chosen) if isinstance(engine, Files) else engine.target("counts")
        if self.beside:
            return dataclasses.replace(found, readable=True, objects=(), fingerprint=Fingerprint())
        if isinstance(engine, Files) or not found.readable or found.fingerprint is None:
            return found
        live = _tables(found.fingerprint, self.chosen)
        return dataclasses.replace(found, objects=tuple(live.tables), fingerprint=live)


def given(include: Optional[Mapping[str, Any]], suffix: str) -> dict[str, Chosen]:
    """The option `include`, by datastore, in the user's words."""
    if suffix and not include:
        raise Refused("include_suffix is given without include", hint="Name what to restore in include.")
    if suffix and not _SUFFIX.match(suffix):
        raise Refused(
            f'"{suffix}" cannot be the end of a name',
            hint="include_suffix takes up to 30 letters, digits, dots, hyphens and underscores.",
        )
    chosen = {}
    for name, wanted in (include or {}).items():
        if isinstance(wanted, list):  # a directory called 2026 is a number to YAML
            wanted = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in wanted]
        if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) and one for one in wanted):
            raise Refused(
                f'include of "{name}" is no list of names',
                hint="Give a list of tables, collections or paths for each datastore.",
            )
        chosen[str(name)] = Chosen(tuple(dict.fromkeys(wanted)), suffix)
    return chosen


def only(operation: Operation, named: Sequence[str], include: Mapping[str, Chosen]) -> tuple[str, ...]:
    """The datastores that are meant: those of `only`, and those that `include` speaks of."""
    operation.named(list(include), "include")
    return tuple(dict.fromkeys((*named, *include)))


def share(operation: Operation, engine: Engine, part: Part, chosen: Chosen) -> Share:
    """What of a part is meant; names that it does not hold are refused."""
    if isinstance(engine, Files):
        return _paths(operation, engine, part, chosen)
    names = (resolved(name, part) for name in chosen.names)
    exact = dataclasses.replace(chosen, names=tuple(dict.fromkeys(names)))
    return Share(exact, _tables(part.fingerprint, exact))


# Tables and collections --------------------------------------------------------------------------


def _tables(found: Fingerprint, chosen: Chosen) -> Fingerprint:
    tables = {chosen.target(name): found.tables[name] for name in chosen.names if name in found.tables}
    return Fingerprint(found.level, tables)


# Paths -------------------------------------------------------------------------------------------


def _paths(operation: Operation, engine: Files, part: Part, chosen: Chosen) -> Share:
    """A manifest does not list files: the store is asked."""
    wanted = engine.located(part, chosen)
    stored = [one.stored for one in wanted]
    nodes = list(_below(operation, part, stored))
    there = {node["path"] for node in nodes}
    for one in wanted:
        if one.stored not in there:
            near = _near(operation, part, one.stored, one.pair.stored)
            raise Refused(
                f'include: the backup of {part.datastore} holds no path "{one.name}"',
                hint=f"Did you mean {near}?" if near else "Paths are relative to the datastore's own, or absolute.",
            )
    found = files_tree.fingerprint_from_nodes(nodes, stored)
    return Share(chosen, files_tree.narrowed(found, part.fingerprint))


def _below(operation: Operation, part: Part, stored: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    for node in operation.restic.nodes(part.snapshot):
        if any(files_tree.is_within(node["path"], path) for path in stored):
            yield node


def _near(operation: Operation, part: Part, stored: str, root: str) -> str:
    """What is called alike: beside where it should be, else anywhere below the root."""
    beside, same = [], []
    for node in operation.restic.nodes(part.snapshot):
        if files_tree.is_within(node["path"], root) and node["path"] != root:
            relative = os.path.relpath(node["path"], root)
            if os.path.dirname(node["path"]) == os.path.dirname(stored):
                beside.append(relative)
            if os.path.basename(relative) == os.path.basename(stored):
                same.append(relative)
    return nearest(os.path.relpath(stored, root), beside) or ", ".join(sorted(same)[:3])
