# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Files: directories, single files, or a Docker volume. The store reads and writes the trees itself."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Optional

from .._core.context import Context
from .._core.errors import Mismatch, OpsError, Refused, Unavailable
from .._core.io import friendly_os_errors
from .._core.journal import Step
from .._core.model import Datastore, Description, Fingerprint, Json, Part
from .._core.place import HostPlace, Place
from .._core.sizes import readable
from .._platform.application import Application
from . import files_chosen, files_exclude, files_merge, files_swap
from . import files_tree as tree
from .base import Chosen, DumpOptions, Loader, Reach, Session, Target, TreeSnapshot
from .files_paths import Pair, checked, matched
from .sqlite_file import MAGIC

FORMAT = "tree"
OBJECTS = 1000  # names that a target lists at most
LOOK = 10.0  # seconds that the estimate before a backup may take


class Files:
    """Paths on this host, or the content of a Docker volume."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "paths": {"type": "list", "elements": "path"},
        "volume": {"type": "str"},
        "exclude": {"type": "list", "elements": "str", "default": []},
    }
    TRANSPORT: ClassVar[str] = "tree"

    def __init__(self, datastore: Datastore, context: Context, application: Application) -> None:
        self.datastore = datastore
        self.context = context
        self.place: Place = HostPlace(context)
        self._patterns: Optional[list[files_exclude.Pattern]] = None
        self._found: Optional[tuple[str, ...]] = None
        self._stages: dict[str, dict[str, list[Pair]]] = {}  # by scratch name: stage directory → what it holds

    @property
    def given(self) -> tuple[str, ...]:
        """The paths as the user named them; of a volume, its directory."""
        if self._found is None:
            self._found = checked(self.datastore.options)
        return self._found

    @property
    def paths(self) -> tuple[str, ...]:
        """The same with symbolic links resolved: restic stores a link itself, not what it leads to."""
        return tuple(os.path.realpath(path) for path in self.given)

    # Looking -------------------------------------------------------------------------------------

    def ping(self) -> None:
        self._check_paths()

    def describe(self, options: DumpOptions) -> Description:
        if options.exclude_tables:
            raise Refused("files have no tables to exclude", hint="Use the datastore's option exclude.")
        self._check_paths()
        points = tree.mount_points()
        nested = [point for path in self.paths for point in tree.mounts_below(path, points)]
        size, databases = self._estimate()
        warnings = [
            f"{path} is a SQLite database in use, which a copy of its file does not save whole; describe it as a"
            " datastore of engine sqlite and exclude it here"
            for path in databases
        ]
        if nested:
            warnings.append(
                f"mounted inside and backed up too: {', '.join(nested)}; a restore refuses to replace them, so name"
                " them as paths of their own"
            )
        return Description(
            flavour="files",
            size=size,
            facts={
                "paths": [_facts(given, path, points) for given, path in zip(self.given, self.paths)],
                "exclude": self._excludes(),
            },
            warnings=tuple(warnings),
        )

    def _estimate(self) -> tuple[int, list[str]]:
        """Bytes, as far as they are counted in a few seconds, and SQLite databases that are in use."""
        size, databases, until = 0, [], time.monotonic() + LOOK
        for path in self.paths:
            for name, status in tree.walk(path, until, self._left_out):
                size += status.st_size if tree.kind_of(status.st_mode) == "file" else 0
                if name.endswith("-wal") and _is_sqlite(name[: -len("-wal")]):
                    databases.append(name[: -len("-wal")])
        return size, databases

    def _left_out(self, path: str) -> bool:
        """Whether this datastore's backups leave a path out."""
        if self._patterns is None:
            self._patterns = files_exclude.compiled(self._excludes())
        return files_exclude.excluded(path, self._patterns)

    def _excludes(self) -> list[str]:
        """The user's patterns, with symbolic links in the datastore's own paths resolved as in the paths."""
        patterns = []
        for pattern in self.datastore.options.get("exclude") or []:
            for given, path in zip(self.given, self.paths):
                if tree.is_within(pattern, given):
                    pattern = path + pattern[len(given) :]
                    break
            patterns.append(pattern)
        return patterns

    def _check_paths(self) -> None:
        for given, path in zip(self.given, self.paths):
            if not os.path.lexists(path):
                raise Unavailable(
                    f"{given} does not exist" + ("" if given == path else f" (it leads to {path})"),
                    hint="Correct the option paths of this datastore, or make it.",
                )
            if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
                raise Unavailable(f"{given} cannot be read", hint="Run as its owner or as root.")

    def target(self, level: Optional[str] = None) -> Target:
        present = [path for path in self.paths if os.path.lexists(path)]
        names: list[str] = []
        for path in present:
            for name, _status in tree.walk(path, skip=self._left_out):
                if name != path or not os.path.isdir(path):
                    names.append(name if len(self.paths) > 1 else os.path.relpath(name, path).replace("..", path))
                if len(names) >= OBJECTS:
                    break
        return Target(
            exists=bool(present),
            objects=tuple(names[:OBJECTS]),
            fingerprint=tree.count(entry for path in present for entry in tree.walk(path, skip=self._left_out))
            if level
            else None,
        )

    def reach(self) -> Reach:
        return Reach(paths=tuple(Path(path) for path in self.paths))

    def sessions(self) -> list[Session]:
        """None: who works in these paths is found by `reach().paths`."""
        return []

    # Backing up ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, options: DumpOptions) -> Iterator[TreeSnapshot]:
        self._check_paths()
        exclude = [f"{tree.PREFIX}*", *self._excludes()]
        home = os.path.realpath(self.context.state_dir)
        if any(tree.is_within(home, path) for path in self.paths):
            exclude.append(files_exclude.escaped(home))  # our own scratch and journals
        yield TreeSnapshot(self.paths, tuple(exclude))

    # Restoring -----------------------------------------------------------------------------------

    def accepts(self, part: Part) -> list[str]:
        if part.format != FORMAT:
            raise Refused(f"this backup of {part.datastore} has the format {part.format}, not {FORMAT}")
        pairs, warnings = matched(part, self.given)
        points = tree.mount_points()
        for pair in pairs:
            inner = tree.mounts_below(pair.path, points)
            if inner:
                raise Refused(
                    f"{pair.path} has other filesystems mounted inside it: {', '.join(inner)}",
                    hint="Give them as paths of their own, or unmount them for the restore.",
                )
            if pair.path in points and not os.path.isdir(pair.path):
                raise Refused(f"{pair.path} is a mount point of a single file and cannot be replaced")
            if _inside(pair.path, points) and pair.kind != "directory":
                raise Refused(f"{pair.path} is a directory that cannot be replaced, and the backup holds a {pair.kind}")
        return warnings

    def located(self, part: Part, chosen: Chosen) -> list[files_chosen.Located]:
        """Where the chosen paths are in the backup, and where they go."""
        return files_chosen.located(matched(part, self.given)[0], chosen)

    def target_chosen(self, part: Part, chosen: Chosen) -> Target:
        """As `target`, of the chosen paths alone."""
        present = [one.path for one in self.located(part, chosen) if os.path.lexists(one.path)]
        counted = tree.count(entry for path in present for entry in tree.walk(path, skip=self._left_out))
        return Target(exists=bool(present), objects=tuple(present), fingerprint=counted)

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        wanted = self.located(part, chosen)
        files_chosen.check(wanted, [one.path for one in wanted if _inside(one.path, tree.mount_points())])
        return []

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        return []

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Optional[Path]:
        """Make the stage directories (`stage_targets` lists them); the first of them."""
        pairs, _warnings = matched(part, self.given)
        self.drop_scratch(scratch)
        if directory is not None:  # of the user's choice: nobody else looks there for what a killed run left
            self._sweep(bases=[str(directory)])
        stages: dict[str, list[Pair]] = {}
        points = tree.mount_points()
        bases: dict[str, str] = {}  # by filesystem, so that several paths there share a stage
        for pair in pairs:
            base = str(directory) if directory else _base(pair.path, points)
            own = directory is None and _inside(pair.path, points)
            base = base if own else bases.setdefault(tree.mount_of(base, points), base)
            stages.setdefault(os.path.join(base, _hidden(scratch)), []).append(pair)
        self._need_space(part, stages)
        with friendly_os_errors("making the stage directory"):
            for stage in stages:
                with tree.same_time(os.path.dirname(stage)):
                    os.mkdir(stage, 0o700)
        self._stages[scratch] = stages
        return Path(next(iter(stages)))

    def _need_space(self, part: Part, stages: Mapping[str, Sequence[Pair]]) -> None:
        for stage in stages:
            free = shutil.disk_usage(os.path.dirname(stage)).free
            if len(stages) == 1 and free < part.bytes:
                raise Refused(
                    f"the staged copy needs {readable(part.bytes)} in {os.path.dirname(stage)}, "
                    f"where {readable(free)} are free",
                    hint="Make room there.",
                )

    def stage_targets(self, scratch: str) -> Mapping[Path, tuple[str, ...]]:
        """What the store restores into which stage directory: patterns of the paths as they were backed up."""
        stages = self._staged(scratch).items()
        return {Path(stage): tuple(files_exclude.escaped(pair.stored) for pair in pairs) for stage, pairs in stages}

    def load(self, part: Part, scratch: str) -> Loader:
        raise OpsError("files are restored by the store, not loaded from a stream")

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        found = tree.count_tree(stage + pair.stored for stage, pairs in self._staged(scratch).items() for pair in pairs)
        return tree.narrowed(found, part.fingerprint)

    def staged_path(self, scratch: str, path: str) -> Optional[Path]:
        """Where the staged copy of a path (as it was backed up) is; None where it holds no such thing."""
        for stage, pairs in self._staged(scratch).items():
            for pair in pairs:
                for outer in (pair.stored, pair.given):
                    if tree.is_within(path, outer):
                        inner = stage + pair.stored + path[len(outer.rstrip("/")) :]
                        return Path(inner) if os.path.lexists(inner) else None
        return None

    def merge_configuration(self, scratch: str, mode: str) -> list[str]:
        """Before the swap: env files keep their live values, unless `mode` is `replace`. The live files kept."""
        if mode == "replace":
            return []
        stages = self._staged(scratch).items()
        return files_merge.merge((stage + pair.stored, pair.path) for stage, pairs in stages for pair in pairs)

    def query(self, scratch: str, sql: str) -> Any:
        """The staged copy of a path, here in place of a query; None where it holds no such thing."""
        found = self.staged_path(scratch, sql)
        return None if found is None else str(found)

    def drop_scratch(self, scratch: str) -> None:
        known = self._stages.pop(scratch, {})
        for stage in {*known, *(os.path.join(base, _hidden(scratch)) for base in self._bases())}:
            self._remove(stage)

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        return self._sweep(keep)

    def _sweep(self, keep: Sequence[str] = (), bases: Sequence[str] = ()) -> list[str]:
        prefix = _hidden(self.context.scratch_prefix(self.datastore.name))
        pattern = re.compile(re.escape(prefix) + "([0-9a-f]+)_stage")
        removed = []
        for base in bases or self._bases():
            for name in sorted(os.listdir(base)):
                match = pattern.fullmatch(name)
                if match and match[1] not in (*keep, self.context.run_id):
                    self._remove(os.path.join(base, name))
                    removed.append(os.path.join(base, name))
        return removed

    def _remove(self, stage: str) -> None:
        if os.path.lexists(stage):
            with tree.same_time(os.path.dirname(stage)):
                files_swap.remove(stage, self.context.warn)

    def _bases(self) -> list[str]:
        """All directories in which a stage of these paths can be; verification uses our own by default."""
        points = tree.mount_points()
        bases = {_base(path, points) for path in self.paths} | {str(self.context.home / "scratch")}
        return sorted(base for base in bases if os.path.isdir(base))

    def _staged(self, scratch: str) -> Mapping[str, Sequence[Pair]]:
        if scratch not in self._stages:
            raise Mismatch(f"nothing is staged under the name {scratch}")
        return self._stages[scratch]

    # Swapping ------------------------------------------------------------------------------------

    def close_sessions(self) -> list[Session]:
        return []

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        old_name = _hidden(self.context.scratch_name(self.datastore.name, "old"))
        points = tree.mount_points()
        patterns = files_exclude.compiled(part.facts.get("exclude", ()))
        items: list[files_swap.Item] = []
        for stage, pairs in self._staged(scratch).items():
            for pair in pairs:
                inside = _inside(pair.path, points)
                old = os.path.join(os.path.dirname(stage), old_name)
                if not inside:
                    old = os.path.join(old, str(len(items)))
                carried: tuple[str, ...] = ()
                if patterns and os.path.isdir(pair.path):
                    carried = tuple(files_exclude.left_out(pair.path, patterns, pair.stored))
                items.append(files_swap.Item(pair.path, stage + pair.stored, old, inside, pair.parents, carried))
        try:
            files_swap.swap(items, step)
        except (OpsError, OSError):
            self.undo(step)
            raise

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        wanted = self.located(part, chosen)
        points = tree.mount_points()
        files_chosen.check(wanted, [one.path for one in wanted if _inside(one.path, points)])
        patterns = files_exclude.compiled(part.facts.get("exclude", ()))
        old = _hidden(self.context.scratch_name(self.datastore.name, "old"))
        items = [
            files_chosen.item(one, self._stage_of(scratch, one), old, number, _inside(one.path, points), patterns)
            for number, one in enumerate(wanted)
        ]
        try:
            files_swap.swap(items, step)
        except (OpsError, OSError):
            self.undo(step)
            raise

    def _stage_of(self, scratch: str, one: files_chosen.Located) -> str:
        return next(stage for stage, pairs in self._staged(scratch).items() if one.pair in pairs)

    def undo(self, step: Step) -> None:
        files_swap.undo(step, self.context.warn)

    def grant_accounts(self, part: Part, mode: str) -> None:
        pass

    def finish(self, step: Step) -> None:
        files_swap.finish(step, self.context.warn)


def _is_sqlite(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _hidden(scratch: str) -> str:
    """The stage directory's name: `.day2-` and the scratch name's own digits."""
    return tree.PREFIX + scratch[len("day2_") :]


def _inside(path: str, points: Sequence[str]) -> bool:
    """Whether a directory must keep its place, so that its entries are exchanged: a mount point, the
    directory of a volume, or one in a directory that we may not write to."""
    if not os.path.isdir(path):
        return False
    volume = os.path.basename(path) == "_data" and os.path.basename(os.path.dirname(os.path.dirname(path))) == "volumes"
    return volume or path in points or path == "/" or not os.access(os.path.dirname(path), os.W_OK | os.X_OK)


def _base(path: str, points: Sequence[str]) -> str:
    """The directory that gets a path's stage: on its own filesystem, so that it can be renamed."""
    if _inside(path, points):
        return path
    directory = os.path.dirname(path)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def _facts(given: str, path: str, points: Sequence[str]) -> Json:
    """What a restore must know of one path."""
    status = os.lstat(path)
    parents = []
    for directory in reversed([str(parent) for parent in Path(path).parents if str(parent) != "/"]):
        above = os.lstat(directory)
        parents.append({"path": directory, "uid": above.st_uid, "gid": above.st_gid, "mode": above.st_mode & 0o7777})
    return {
        "path": given,
        "stored": path,
        "kind": tree.kind_of(status.st_mode) or "other",
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mode": status.st_mode & 0o7777,
        "mount": path in points,
        "device": status.st_dev,
        "parents": parents,
    }
