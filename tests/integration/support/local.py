# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that need no server (SQLite, files): how tests make them, and kill them at any point."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal, Step
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore, Part
from ansible_collections.day2.ops.plugins.module_utils._engines import files_tree, registry, sqlite_file
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Engine
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application


@dataclasses.dataclass
class Bench:
    """One application's state directory, and engines of any run that it has."""

    root: Path
    warnings: list[str] = dataclasses.field(default_factory=list)

    def context(self, run_id: str = "0000aa") -> Context:
        return Context(App("booking", "production"), self.root / "state", warn=self.warnings.append, run_id=run_id)

    def engine(self, kind: str, run_id: str = "0000aa", name: str = "main", **options: Any) -> Any:
        """Options that are not given have their defaults, as the argument spec fills them in."""
        spec = registry.KINDS[kind].OPTIONS
        known = {option: options.get(option, rules.get("default")) for option, rules in spec.items()}
        assert set(options) <= set(spec)
        return registry.engine_for(Datastore(name, kind, options=known), self.context(run_id), Application())

    def step(self) -> Step:
        """A step of a fresh journal on disk."""
        return Journal(self.root / "journal.json").begin("swap:main", datastore="main")

    def recorded(self) -> Step | None:
        """The step as a later process reads it; None when the journal was never written."""
        path = self.root / "journal.json"
        return Journal.read(path).steps[-1] if path.exists() else None

    def scratch(self) -> list[str]:
        """What is left in the directory for scratch copies."""
        directory = self.context().home / "scratch"
        return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


@contextlib.contextmanager
def open_to_others() -> Iterator[Bench]:
    """A bench that an ordinary user can enter too; pytest's own directories are closed to others, and
    closed again whenever another pytest starts."""
    root = Path(tempfile.mkdtemp(prefix="day2t-", dir="/var/tmp"))
    root.chmod(0o711)
    try:
        yield Bench(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def effects(before: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Calls around everything that changes what is on disk: renames, removals, copies, journal writes."""

    def around(function: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            before()
            result = function(*arguments, **keywords)
            after()
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (os, ("rename", "unlink", "mkdir", "rmdir", "chmod", "chown", "utime")),
            (Path, ("unlink", "mkdir")),
            (files_tree, ("exchange", "apply_metadata")),
            (sqlite_file, ("copy", "set_journal_mode", "copy_to_new")),
            (Journal, ("write",)),
        ):
            for name in names:
                patch.setattr(owner, name, around(getattr(owner, name)))
        yield


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Do the work in a process that is killed (SIGKILL) right before or after one of its effects.

    False when it came to its end, because it has fewer effects than that.
    """
    pid = os.fork()
    if pid == 0:
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with effects(tick, tick):
                work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed in the child; see its traceback"
    return False


def dumped(engine: Engine, level: str = "full", **facts: Any) -> tuple[Part, bytes]:
    """A backup of a stream, as the relay would store it."""
    import hashlib

    from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

    description = engine.describe(DumpOptions(level))
    with engine.snapshot(DumpOptions(level)) as snapshot:
        producer = snapshot.dump()  # type: ignore[union-attr]
        data = producer.stdout.read()
        fingerprint = snapshot.fingerprint()  # type: ignore[union-attr]
        codes = producer.finish()
        assert set(codes.values()) == {0}
        assert snapshot.complete(data[:4096], data[-4096:])  # type: ignore[union-attr]
        part = Part(
            datastore=engine.datastore.name,
            engine=engine.datastore.engine,
            flavour=description.flavour,
            content="data",
            format=snapshot.format,  # type: ignore[union-attr]
            filename=snapshot.filename,  # type: ignore[union-attr]
            snapshot="0" * 8,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            fingerprint=fingerprint,
            server_version=description.server_version,
            facts={**description.facts, **getattr(snapshot, "facts", {}), **facts},
        )
    return part, data


def staged(engine: Engine, part: Part, data: bytes) -> str:
    """The backup in its scratch place, compared."""
    scratch = engine.context.scratch_name(engine.datastore.name, "stage")
    engine.accepts(part)
    engine.stage(part, scratch)
    loader = engine.load(part, scratch)
    loader.stdin.write(data)
    loader.stdin.close()
    loader.finish()
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    return scratch
