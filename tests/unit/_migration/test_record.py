# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on the disk of a migration that was ended at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._migration.record import Record, State
from ansible_collections.day2.ops.plugins.module_utils._migration.schema import Schema

STATES = (
    State(("a",), Schema({"table t": "", "column t.id": "int"})),
    State(("b",), Schema({"table t": "", "column t.id": "bigint", "table u": ""})),
    State(("c",), Schema({"table u": ""})),
)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(App("shop", "production"), tmp_path)


def begun(context: Context) -> Record:
    """A run in the middle of its third revision."""
    record = Record(context, "main")
    record.begin("r1", "upgrade", STATES[0], [{"kind": "unit"}])
    record.go_on("r2", STATES[1])
    record.go_on("r3", STATES[2])
    return record


def test_the_state_before_each_revision_is_read_back(context: Context) -> None:
    record = Record(context, "main")
    record.begin("r1", "upgrade", STATES[0], [{"kind": "unit"}])
    for revision, state in (("r2", STATES[1]), ("r3", STATES[2]), ("r4", STATES[2])):
        record.go_on(revision, state)
        again = Record(context, "main")
        assert (again.running, again.before, again.stopped) == (revision, state, [{"kind": "unit"}])
        assert again.newest == state
    assert record.log_path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_is_of_a_revision_that_was_not_begun(context: Context) -> None:
    record = begun(context)
    content = record.log_path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for cut in (last + 1, len(content) - 1):
        record.log_path.write_bytes(content[:cut])
        again = Record(context, "main")
        assert (again.running, again.before) == ("r2", STATES[1])


def test_the_log_of_an_earlier_run_is_none_of_this(context: Context) -> None:
    begun(context)
    record = Record(context, "main")
    record.begin("r9", "downgrade", STATES[1], [])
    again = Record(context, "main")
    assert (again.running, again.direction, again.before) == ("r9", "downgrade", STATES[1])
    again.begin("r1", "upgrade", STATES[0], [])
    again.go_on("r2", STATES[2])
    assert Record(context, "main").before == STATES[2]


def test_the_end_leaves_the_last_state_and_nothing_that_runs(context: Context) -> None:
    record = begun(context)
    record.end(STATES[1])
    again = Record(context, "main")
    assert (again.running, again.before, again.last) == ("", None, STATES[1])
    assert [path.name for path in record.directory.iterdir()] == ["main.json"]
