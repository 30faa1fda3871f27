# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What an engine can do: the verbs that backup, verification and restore are built from.

An engine is made for one datastore of one run: ``Engine(datastore, context, reach)``. There are two
ways to carry data: a *stream* (a native dump through the relay) and a *tree* (paths that the store
reads and writes itself). A new engine is one file and one line in the registry.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Optional, Protocol, Union

from .._core.context import Context
from .._core.journal import Step
from .._core.model import Datastore, Description, Fingerprint, Part
from .._core.place import Place


@dataclasses.dataclass(frozen=True)
class DumpOptions:
    """What the user asked of a backup that an engine must know.

    `level`: `counts` or `full`. `exclude_tables`: names (`table`, or `schema.table`) of this datastore.
    `salvage`: of a safety copy, made of data that may be damaged already: what is broken and would make
    a regular backup refuse (an invalid view) is left out, with a warning that names it.
    """

    level: str = "counts"
    exclude_tables: tuple[str, ...] = ()
    salvage: bool = False


class Producer(Protocol):
    """A running dump. The relay reads `stdout` to its end, then calls `finish`."""

    @property
    def stdout(self) -> IO[bytes]:
        """The stream, readable with `readinto` or `read`."""

    def finish(self) -> Mapping[str, int]:
        """Wait for its end. Exit codes by program; an `OpsError` that says why when it failed."""

    def kill(self) -> None:
        """End it at once, inside a container and on the server too. May be called at any time, again."""


class StreamSnapshot(Protocol):
    """A consistent view of a datastore, from which one dump and one fingerprint are taken.

    `dump` is called once and first; `fingerprint` may run in another thread while the dump streams,
    and describes exactly the rows that the dump holds (or a range, with a warning that names the
    tables). `complete` is asked with the stream's last bytes (at most `END_BYTES`): the dump's own
    end mark.
    """

    filename: str  # of the stream in its snapshot, without a directory: main.sql
    format: str
    flags: tuple[str, ...]

    def dump(self) -> Producer: ...

    def fingerprint(self) -> Fingerprint: ...

    def complete(self, head: bytes, end: bytes) -> bool: ...


@dataclasses.dataclass(frozen=True)
class TreeSnapshot:
    """Paths that the store reads by itself; the store counts what it read for the fingerprint."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()


END_BYTES = 4096

Snapshot = Union[StreamSnapshot, TreeSnapshot]


class Loader(Protocol):
    """A running load into scratch. The relay writes `stdin`, closes it, then calls `finish`."""

    @property
    def stdin(self) -> IO[bytes]: ...

    def finish(self) -> None:
        """Wait for its end; an `OpsError` that says why when anything at all was refused."""

    def kill(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Target:
    """What a restore would find: `objects` names what is there (tables, files), for `replace` and diff.

    `readable` is False for a database that exists but is too damaged to be read or backed up.
    """

    exists: bool
    readable: bool = True
    objects: tuple[str, ...] = ()
    fingerprint: Optional[Fingerprint] = None

    @property
    def empty(self) -> bool:
        return not self.exists or (self.readable and not self.objects)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What of a datastore is restored: tables or collections as the part's fingerprint names them, or
    paths (of files) as the user gave them. Everything else stays as it is.

    `suffix`: "" to replace the live ones; otherwise they are put beside them under their name with it,
    and nothing live is replaced.
    """

    names: tuple[str, ...]
    suffix: str = ""

    def target(self, name: str) -> str:
        """The name under which a chosen one will be live."""
        return name + self.suffix


@dataclasses.dataclass(frozen=True)
class Session:
    """A client of the live datastore that is not ours."""

    id: str
    user: str
    address: str  # "" for a local socket
    program: str = ""


@dataclasses.dataclass(frozen=True)
class Reach:
    """How clients reach a datastore, to find those that use it: by network, by container, by path."""

    hosts: tuple[str, ...] = ()  # names and addresses that a client's setting may hold
    port: Optional[int] = None
    database: str = ""
    container: Optional[str] = None  # id of the container that serves it
    paths: tuple[Path, ...] = ()  # files or directories on this host that it consists of


class Engine(Protocol):
    """The verbs. Each raises `OpsError`s that name what failed and what to do; none leaves scratch
    behind on failure except under a name that `sweep` knows."""

    OPTIONS: ClassVar[Mapping[str, Any]]  # argument spec of the engine's own datastore options
    TRANSPORT: ClassVar[str]  # stream | tree
    datastore: Datastore
    context: Context

    @property
    def place(self) -> Place:
        """Where its tools run; looked up at the first use."""

    # Looking -------------------------------------------------------------------------------------
    def ping(self) -> None:
        """Reach the server and the database with the given credentials, or say why not."""

    def describe(self, options: DumpOptions) -> Description:
        """Versions and facts; refuses whatever would make a dump incomplete (tool missing, server newer
        than the tool, a view that is invalid, a user that cannot see triggers or routines)."""

    def target(self, level: Optional[str] = None) -> Target:
        """The live datastore as a restore would find it; with its fingerprint when a level is given."""

    def reach(self) -> Reach: ...

    def sessions(self) -> list[Session]:
        """Who is connected to the live datastore, besides us."""

    # Backing up ----------------------------------------------------------------------------------
    def snapshot(self, options: DumpOptions) -> contextlib.AbstractContextManager[Snapshot]:
        """Open a consistent view; leaving the context closes it and ends whatever still runs."""

    # Restoring: all before `swap` leaves the live datastore untouched ------------------------------
    def accepts(self, part: Part) -> list[str]:
        """Refuse a part that this datastore cannot take (older server, another flavour, a character
        set or collation or extension it lacks); warnings otherwise."""

    def check_chosen(self, part: Part, chosen: Chosen) -> list[str]:
        """Before anything is staged: refuse chosen names that the part does not hold (naming the nearest),
        names with the suffix that are taken, and dependencies between what is chosen and what stays that
        a swap of the chosen ones could not carry over. Warnings: what will not be as it was."""

    def create_accounts(self, part: Part, mode: str) -> list[str]:
        """Make the accounts (roles) that the part needs and that do not exist; their names. Never changes
        how an existing account authenticates. `mode`: missing | none | all."""

    def stage(self, part: Part, scratch: str, directory: Optional[Path] = None) -> Path | None:
        """Make an empty scratch copy called `scratch` (see `Context.scratch_name`) beside the live data;
        in `directory` when one is given (verification of files and SQLite). A tree returns the directory
        into which the store restores, the first of them; its `stage_targets` lists them all."""

    def load(self, part: Part, scratch: str) -> Loader:
        """Start loading a stream into the staged copy (streams only). Nothing live is created in it:
        no events, nothing that names the live database."""

    def staged(self, part: Part, scratch: str) -> Fingerprint:
        """The staged copy's fingerprint, at the level of the part's and for the same objects."""

    def query(self, scratch: str, sql: str) -> Any:
        """First column of the first row of a read-only query on the staged copy (user assertions)."""

    def drop_scratch(self, scratch: str) -> None:
        """Remove a staged copy; nothing happens where there is none."""

    def sweep(self, keep: Sequence[str] = ()) -> list[str]:
        """Remove staged copies (purpose `stage`) that other runs of this application left, and what they
        left running; their names. `keep`: run ids that belong to a journal."""

    # Swapping: undo, finish are idempotent and judge by what they find, because a kill may have come
    # right before or right after any effect. `step.save(...)` comes before each effect. -------------
    def close_sessions(self) -> list[Session]:
        """End the sessions of others on the live datastore, right before the swap; those ended."""

    def swap(self, part: Part, scratch: str, step: Step) -> None:
        """Put the staged copy in the live one's place; what was live is kept under
        `Context.scratch_name(…, "old")` until `finish`. A failure undoes itself before it is raised."""

    def swap_chosen(self, part: Part, scratch: str, chosen: Chosen, step: Step) -> None:
        """Put only the chosen ones of the staged copy in the place of the live ones, which are kept until
        `finish`; with a suffix, beside them. Promises what `swap` promises; `undo` and `finish` tell by
        the step's data which of the two it was. What is not chosen is not changed in any way."""

    def undo(self, step: Step) -> None:
        """Bring the state before the swap back, from the step's data alone."""

    def grant_accounts(self, part: Part, mode: str) -> None:
        """After the swap: grants of the part's accounts on the restored objects, given again."""

    def finish(self, step: Step) -> None:
        """Drop what the swap kept. After this there is no way back but the safety copy."""
