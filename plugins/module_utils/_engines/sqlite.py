# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""SQLite: a copy by the online backup API, streamed; restored by the same API into the live file."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Optional

from .._core.context import Context
from .._core.errors import Mismatch, OpsError, Refused, Unavailable, at
from .._core.io import friendly_os_errors, private_directory
from .._core.journal import Step
from .._core.model import Datastore, Description, Fingerprint, Json, Part
from .._core.place import HostPlace, Place
from .._platform.application import Application
from . import sqlite_chosen, sqlite_file, sqlite_fingerprint, sqlite_swap
from .base import Chosen, DumpOptions, Reach, Session, Target
from .chosen import refuse_unknown
from .sqlite_file import opened, opened_live, pragma
from .sqlite_place import Location, locate
from .sqlite_stream import FileLoader, SQLiteSnapshot

FORMAT = "sqlite"


class SQLite:
    """One SQLite database file, on this host or in a container's volume."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "container": {"type": "str"},
        "path": {"type": "path", "required": True},
        "vacuum": {"type": "bool", "default": False},
        "newest": {
            "type": "dict",
            "options": {
                "table": {"type": "str", "required": True},
                "column": {"type": "str", "required": True},
            },
        },
    }
    TRANSPORT: ClassVar[str] = "stream"

    def __init__(self, datastore: Datastore, context: Context, application: Application) -> None:
        self.datastore = datastore
        self.context = context
        self.place: Place = HostPlace(context)
        self.wait = sqlite_file.WAIT
        self._location: Optional[Location] = None
        self._directories: dict[str, Path] = {}

    # Looking -------------------------------------------------------------------------------------

    @property
    def location(self) -> Location:
        if self._location is None:
            self._location = locate(self.datastore.options)
        return self._location

    @property
    def path(self) -> Path:
        """The file itself, on this host; SQLite keeps its log beside the file that a symbolic link leads to."""
        return self.location.path

    def ping(self) -> None:
        with opened_live(self.path, wait=self.wait):
            pass

    def describe(self, options: DumpOptions) -> Description:
        if options.exclude_tables:
            raise Refused(
                "a SQLite datastore cannot leave tables out, because a backup is a copy of the whole file",
                hint="Remove it from exclude_tables.",
            )
        path = self.path
        with opened_live(path, wait=self.wait) as live:
            self._check_newest(live)
            facts = _facts(live)
            revision = sqlite_fingerprint.schema_revision(live)
        status = path.stat()
        facts.update(uid=status.st_uid, gid=status.st_gid, mode=status.st_mode & 0o7777)
        size = sqlite_file.size_on_disk(path)
        copies = 2 if self.datastore.options.get("vacuum") else 1
        sqlite_file.need_space(self.context.home / "scratch", size * copies, "A consistent copy")
        return Description(
            flavour="sqlite",
            server_version=sqlite3.sqlite_version,
            tool_version=sqlite3.sqlite_version,
            size=size,
            schema_revision=revision,
            facts=facts,
            warnings=self._ephemeral(),
        )

    def _ephemeral(self) -> tuple[str, ...]:
        given, layer = self.datastore.options["path"], self.location.layer
        return (f"{given} is in no volume of container {layer}: it is lost when that is recreated",) if layer else ()

    def _check_newest(self, live: sqlite3.Connection) -> None:
        newest = self.datastore.options.get("newest")
        if newest:
            with at(stage="newest"):
                sqlite_fingerprint.newest_value(live, newest)

    def target(self, level: Optional[str] = None) -> Target:
        path = self.path
        if path.is_dir():
            sqlite_file.check_exists(path)
        if not path.exists():
            return Target(exists=False)
        try:
            with opened_live(path, wait=self.wait) as live:
                sqlite_file.check_sound(live)
                found = None
                if level:
                    found = sqlite_fingerprint.fingerprint(live, level, self.datastore.options.get("newest"))
                return Target(True, objects=tuple(sqlite_fingerprint.tables(live)), fingerprint=found)
        except Mismatch:
            return Target(exists=True, readable=False)

    def reach(self) -> Reach:
        return Reach(paths=(self.path, *sqlite_file.sidecars(self.path)))

    def sessions(self) -> list[Session]:
        """None: who has the file open is found by `reach().paths`."""
        return []

    # Backing up ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, options: DumpOptions) -> Iterator[SQLiteSnapshot]:
        vacuum = bool(self.datastore.options.get("vacuum"))
        newest = self.datastore.options.get("newest")
        copy = self._scratch_directory() / f"{self.context.scratch_name(self.datastore.name, 'dump')}.sqlite"
        _remove(copy)
        try:
            stored = "Nothing was stored, and earlier backups are untouched."
            with at(untouched=stored), friendly_os_errors(f"copying {self.path}"):
                with opened_live(self.path, wait=self.wait) as live:
                    facts = {**_facts(live), "newest": newest}
                    sqlite_file.copy_to_new(live, copy)
                sqlite_file.check_copy(copy)
                if vacuum:
                    sqlite_file.vacuumed(copy)
            flags = ("vacuum",) if vacuum else ()
            yield SQLiteSnapshot(f"{self.datastore.name}.sqlite", FORMAT, flags, facts, copy, options.level, newest)
        finally:
            _remove(copy)

    # Restoring -----------------------------------------------------------------------------------

    def accepts(self, part: Part) -> list[str]:
        if part.format != FORMAT:
            raise Refused(f"this backup of {part.datastore} has the format {part.format}, not {FORMAT}")
        path = self.path
        if self.location.layer:
            raise Refused(
                f"the database is in no volume of container {self.location.layer}, and nothing can be put there while"
                " the container is stopped",
                hint="Keep the database in a volume, and restore it there.",
            )
        if path.is_dir():
            sqlite_file.check_exists(path)
        if not path.parent.is_dir():
            raise Refused(f"there is no directory {path.parent}", hint="Make it, with the application's owner.")
        if not os.access(path.parent, os.W_OK):
            raise Unavailable(f"the directory {path.parent} cannot be written to", hint="Run as its owner or as root.")
        if _version(part.server_version) > _version(sqlite3.sqlite_version):
            here = f"the backup was made by SQLite {part.server_version} and is read by {sqlite3.sqlite_version} here"
            return [f"{here}; features that are newer than that are refused while it is staged"]
        return []

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        refuse_unknown(part, chosen)
        return sqlite_chosen.check(self.path, part.facts.get("encoding"), chosen, self.wait)

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        return []

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Optional[Path]:
        if directory is not None:
            self._directories[scratch] = directory
            if directory != self.context.home / "scratch":  # nobody else looks there for what a killed run left
                self._sweep(directory)
        with friendly_os_errors("making room for the staged copy"):
            sqlite_file.need_space(self._scratch_directory(scratch), part.bytes, "The staged copy")
            self.drop_scratch(scratch)
        return None

    def load(self, part: Part, scratch: str) -> FileLoader:
        return FileLoader(self._scratch_file(scratch), self.context)

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        with opened(self._scratch_file(scratch), immutable=True) as copy:
            # The column that the backup looked at; the datastore may name another one by now.
            return sqlite_fingerprint.fingerprint(copy, part.fingerprint.level, part.facts.get("newest"))

    def query(self, scratch: str, sql: str) -> Any:
        with opened(self._scratch_file(scratch), immutable=True) as copy:
            row = copy.execute(sql).fetchone()
        return row[0] if row else None

    def drop_scratch(self, scratch: str) -> None:
        _remove(self._scratch_file(scratch))

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        return self._sweep(self.context.home / "scratch", keep)

    def _sweep(self, directory: Path, keep: Sequence[str] = ()) -> list[str]:
        prefix = self.context.scratch_prefix(self.datastore.name)
        pattern = re.compile(re.escape(prefix) + r"([0-9a-f]+)_(stage|dump)\.sqlite(-wal|-shm|-journal|\.vacuum)?")
        removed = []
        for path in sorted(directory.iterdir()) if directory.is_dir() else []:
            match = pattern.fullmatch(path.name)
            if match and match[1] not in (*keep, self.context.run_id):
                path.unlink(missing_ok=True)
                removed.append(path.name)
        return removed

    # Swapping ------------------------------------------------------------------------------------

    def close_sessions(self) -> list[Session]:
        return []

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        with self._undoing(step):
            sqlite_swap.swap(self._plan(part, scratch), step)

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        with self._undoing(step):
            sqlite_chosen.swap(self._plan(part, scratch), chosen, step)

    def _plan(self, part: Part, scratch: str) -> sqlite_swap.Swap:
        old = self.context.scratch_name(self.datastore.name, "old")
        return sqlite_swap.Swap(
            path=self.path,
            staged=self._scratch_file(scratch),
            old=self._scratch_directory() / f"{old}.sqlite",
            suffix=f".day2-old-{self.context.run_id}",
            journal_mode=part.facts.get("journal_mode"),
            owner={key: part.facts[key] for key in ("uid", "gid", "mode") if key in part.facts},
            wait=self.wait,
            warn=self.context.warn,
        )

    @contextlib.contextmanager
    def _undoing(self, step: Step) -> Iterator[None]:
        """A swap that fails undoes itself."""
        try:
            yield
        except (OpsError, OSError, sqlite3.Error):
            self.undo(step)
            raise

    def undo(self, step: Step) -> None:
        if step.data.get("method") == sqlite_chosen.BESIDE:
            sqlite_chosen.undo(step, self.wait)
        else:
            sqlite_swap.undo(step, self.context.warn, self.wait)

    def grant_accounts(self, part: Part, mode: str) -> None:
        pass

    def finish(self, step: Step) -> None:
        if step.data.get("method") == sqlite_chosen.BESIDE:
            sqlite_chosen.finish(step)
        else:
            sqlite_swap.finish(step, self.context.warn)

    # Scratch -------------------------------------------------------------------------------------

    def _scratch_directory(self, scratch: str = "") -> Path:
        return self._directories.get(scratch) or private_directory(self.context.home / "scratch")

    def _scratch_file(self, scratch: str) -> Path:
        return self._scratch_directory(scratch) / f"{scratch}.sqlite"


def _facts(connection: sqlite3.Connection) -> Json:
    """What a restore gives back, or must know."""
    names = ("user_version", "application_id", "journal_mode", "page_size", "encoding", "auto_vacuum")
    return {name: pragma(connection, name) for name in names}


def _remove(path: Path) -> None:
    for each in (path, *sqlite_file.sidecars(path)):
        each.unlink(missing_ok=True)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
