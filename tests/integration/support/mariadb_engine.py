# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MariaDB and MySQL engines without the layers above it: dump into a file, load from it, swap."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal, Step
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore, Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mariadb import MariaDB
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.server import SqlServer
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql_server import MySQL
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application

from .mariadb import Mariadb
from .mysql import Mysql

APP = App("mdtests", "test")


def engine_for(server: Mariadb, database: str, directory: Path, **options: Any) -> SqlServer:
    """A new run's engine; its warnings are in `warnings_of(engine)`."""
    warnings: list[str] = []
    kind: type[SqlServer] = MySQL if isinstance(server, Mysql) else MariaDB
    given = {**dict.fromkeys(kind.OPTIONS), **server.options, "database": database, **options}
    context = Context(APP, directory, warn=warnings.append)
    engine = kind(Datastore("main", kind.FLAVOUR.name, "data", given), context, Application())
    engine.warnings = warnings  # type: ignore[attr-defined]
    return engine


def warnings_of(engine: SqlServer) -> list[str]:
    return engine.warnings  # type: ignore[attr-defined,no-any-return]


def back_up(
    engine: SqlServer,
    file: Path,
    options: DumpOptions | None = None,
    while_running: Callable[[], object] = lambda: None,
) -> Part:
    """A dump into a file, with the fingerprint taken in another thread while it streams; its part as a
    manifest gives it back."""
    options = options or DumpOptions()
    described = engine.describe(options)
    with engine.snapshot(options) as snapshot, file.open("wb") as output:
        producer = snapshot.dump()
        counted: list[Fingerprint | BaseException] = []

        def count() -> None:
            try:
                counted.append(snapshot.fingerprint())
            except BaseException as error:
                counted.append(error)

        counting = threading.Thread(target=count)
        counting.start()
        while_running()
        shutil.copyfileobj(producer.stdout, output)
        exit_codes = producer.finish()
        counting.join()
        facts = {**described.facts, **snapshot.facts}
    if isinstance(counted[0], BaseException):
        raise counted[0]
    content = file.read_bytes()
    if not snapshot.complete(content[:4096], content[-4096:]):
        raise AssertionError("the dump does not look complete")
    part = Part(
        datastore="main",
        engine=engine.datastore.engine,
        flavour=described.flavour,
        content="data",
        format=snapshot.format,
        filename=snapshot.filename,
        snapshot="",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        fingerprint=counted[0],
        server_version=described.server_version,
        tool_version=described.tool_version,
        flags=snapshot.flags,
        schema_revision=described.schema_revision,
        facts=facts,
        exit_codes=exit_codes,
    )
    return Part.from_json(json.loads(json.dumps(part.to_json())))


def load(
    engine: SqlServer,
    part: Part,
    file: Path,
    while_running: Callable[[], object] = lambda: None,
    directory: Path | None = None,
) -> str:
    """The part in a staged copy; its name. A verification gives a directory."""
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch, directory)
    loader = engine.load(part, scratch)
    try:
        with file.open("rb") as source:
            shutil.copyfileobj(source, loader.stdin)
        while_running()
        loader.stdin.close()
        loader.finish()
    except BrokenPipeError:
        loader.finish()
        raise
    except BaseException:
        loader.kill()
        raise
    return scratch


def staged(engine: SqlServer, part: Part, file: Path) -> str:
    """Accepted, loaded and compared."""
    engine.accepts(part)
    engine.create_accounts(part, "missing")
    scratch = load(engine, part, file)
    wrong = part.fingerprint.differences(engine.staged(part, scratch))
    if wrong:
        raise AssertionError(wrong)
    return scratch


def restore(engine: SqlServer, part: Part, file: Path, directory: Path) -> None:
    """Staged, compared, swapped and finished."""
    scratch = staged(engine, part, file)
    step = journal_step(directory)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    engine.grant_accounts(part, "missing")
    engine.finish(step)


def journal_step(directory: Path) -> Step:
    return Journal(directory / "journal.json").begin("swap:main")


def read_step(directory: Path) -> Step:
    """The step as the next process finds it."""
    return Journal.read(directory / "journal.json").steps[0]


class Killed(BaseException):
    """What a test raises where a process would have ended."""


@dataclasses.dataclass
class KilledAt(Step):
    """A step whose process ends right before or right after its N-th save."""

    number: int = 0
    after: bool = False
    saves: int = 0

    def save(self, **data: Any) -> None:
        self.saves += 1
        if self.saves == self.number and not self.after:
            raise Killed
        super().save(**data)
        if self.saves == self.number and self.after:
            raise Killed


def killed_step(directory: Path, number: int, after: bool) -> KilledAt:
    journal = Journal(directory / "journal.json")
    begun = journal.begin("swap:main")
    step = KilledAt(journal, begun.name, begun.state, begun.data, number=number, after=after)
    journal.steps[0] = step
    return step


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
        os._exit(3)
    return child


def forked(work: Callable[[], None]) -> int:
    """Runs in a process of its own; how it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1])
