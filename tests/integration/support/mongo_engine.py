# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MongoDB engine's verbs in the order in which the operations call them, without a repository."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore, Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb import MongoDB
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application

from .mongo import MongoServer

APP = App("mgtests", "test")


def engine_for(server: MongoServer, database: str, directory: Path, **options: Any) -> MongoDB:
    """A new run's engine; its warnings are in `warnings_of(engine)`."""
    warnings: list[str] = []
    given = {
        **dict.fromkeys(MongoDB.OPTIONS),
        "connect_retries": 1,
        "connect_delay": 0,
        **server.options,
        "database": database,
        **options,
    }
    context = Context(APP, directory, warn=warnings.append)
    engine = MongoDB(Datastore("main", "mongodb", "data", given), context, Application())
    engine.warnings = warnings  # type: ignore[attr-defined]
    return engine


def warnings_of(engine: MongoDB) -> list[str]:
    return engine.warnings  # type: ignore[attr-defined,no-any-return]


def back_up(
    engine: MongoDB,
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
        engine="mongodb",
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
        facts=facts,
        exit_codes=exit_codes,
    )
    return Part.from_json(json.loads(json.dumps(part.to_json())))


def load(engine: MongoDB, part: Part, file: Path, while_running: Callable[[], object] = lambda: None) -> str:
    """The part in a staged copy; its name."""
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    while_running()
    loader = engine.load(part, scratch)
    try:
        with file.open("rb") as source:
            shutil.copyfileobj(source, loader.stdin)
        loader.stdin.close()
        loader.finish()
    except BrokenPipeError:
        loader.finish()
        raise
    except BaseException:
        loader.kill()
        raise
    return scratch


def staged(engine: MongoDB, part: Part, file: Path) -> str:
    """Accepted, loaded and compared."""
    engine.accepts(part)
    engine.create_accounts(part, "missing")
    scratch = load(engine, part, file)
    wrong = part.fingerprint.differences(engine.staged(part, scratch))
    if wrong:
        raise AssertionError(wrong)
    return scratch


def restore(engine: MongoDB, part: Part, file: Path, directory: Path) -> None:
    """Staged, compared, swapped and finished."""
    scratch = staged(engine, part, file)
    step = Journal(directory / "journal.json").begin("swap:main")
    engine.close_sessions()
    engine.swap(part, scratch, step)
    engine.grant_accounts(part, "missing")
    engine.finish(step)
