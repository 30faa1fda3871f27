# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL engine without the layers above it: dump into a file, load from it, swap."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal, Step
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore, Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql import PostgreSQL
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application

from .postgres import Postgres

# Of this process: a sweep ends what other runs of the same application left, and tests run beside others.
APP = App(f"pg{secrets.token_hex(4)}", "test")


def engine_for(server: Postgres, database: str, directory: Path, app: App = APP, **options: Any) -> PostgreSQL:
    """A new run's engine; its warnings are in `engine.warnings`."""
    warnings: list[str] = []
    given = {**dict.fromkeys(PostgreSQL.OPTIONS), **server.options, "database": database, **options}
    context = Context(app, directory, warn=warnings.append)
    engine = PostgreSQL(Datastore("main", "postgresql", "data", given), context, Application())
    engine.warnings = warnings  # type: ignore[attr-defined]
    return engine


def back_up(
    engine: PostgreSQL,
    file: Path,
    options: DumpOptions | None = None,
    while_running: Callable[[], object] = lambda: None,
) -> Part:
    """A dump into a file, with the fingerprint taken in another thread while it streams."""
    options = options or DumpOptions()
    described = engine.describe(options)
    with engine.snapshot(options) as snapshot, file.open("wb") as output:
        producer = snapshot.dump()
        counted: list[Fingerprint] = []
        counting = threading.Thread(target=lambda: counted.append(snapshot.fingerprint()))
        counting.start()
        while_running()
        shutil.copyfileobj(producer.stdout, output)
        exit_codes = producer.finish()
        counting.join()
    content = file.read_bytes()
    if not snapshot.complete(content[:4096], content[-4096:]):
        raise AssertionError("the dump does not look complete")
    return Part(
        datastore="main",
        engine="postgresql",
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
        facts=described.facts,
        exit_codes=exit_codes,
    )


def load(engine: PostgreSQL, part: Part, file: Path, while_running: Callable[[], object] = lambda: None) -> str:
    """The part in a staged copy; its name."""
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
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


def restore(engine: PostgreSQL, part: Part, file: Path, directory: Path) -> None:
    """Staged, compared, swapped and finished."""
    engine.accepts(part)
    scratch = load(engine, part, file)
    wrong = part.fingerprint.differences(engine.staged(part, scratch))
    if wrong:
        raise AssertionError(wrong)
    step = journal_step(directory)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    engine.finish(step)


def journal_step(directory: Path) -> Step:
    return Journal(directory / "journal.json").begin("swap:main")


def read_step(directory: Path) -> Step:
    """The step as the next process finds it."""
    return Journal.read(directory / "journal.json").steps[0]
