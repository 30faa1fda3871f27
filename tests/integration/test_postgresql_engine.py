# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL, dumped and restored on real servers, on this host and in a container."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, ToolFailed
from ansible_collections.day2.ops.plugins.module_utils._core.model import Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import postgres_content as content
from tests.integration.support.postgres import Postgres
from tests.integration.support.postgres_engine import back_up, engine_for, journal_step, load, read_step

pytestmark = pytest.mark.postgresql


def test_everything_in_a_database_comes_back(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database, big=650_000)  # one value of 20 MB
    before = content.witness(postgres, database)
    part = back_up(engine_for(postgres, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    part = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert part.fingerprint.tables["sales.kinds"].rows == 504
    assert part.schema_revision == "abc123"

    damage(postgres, database)
    damaged = content.witness(postgres, database)
    assert content.differences(before, damaged)

    engine = engine_for(postgres, database, tmp_path)
    engine.accepts(part)
    scratch = load(engine, part, tmp_path / "dump")
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    assert content.differences(damaged, content.witness(postgres, database)) == [], "staging touched the live database"

    step = journal_step(tmp_path)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    assert content.differences(before, content.witness(postgres, database)) == []

    engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
    assert content.differences(damaged, content.witness(postgres, database)) == [], "undo does not bring it all back"

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert content.differences(before, content.witness(postgres, database)) == []
    assert [name for name in postgres.databases() if name.startswith("day2_")] == []
    assert engine.warnings == []  # type: ignore[attr-defined]


def damage(server: Postgres, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("DROP TABLE sales.children CASCADE")
        connection.execute("DELETE FROM sales.kinds WHERE t IS NULL")
        connection.execute("SELECT nextval('sales.kinds_id_seq')")
        connection.execute("SELECT lo_put(424242, 3, 'x')")
        connection.execute("DROP EXTENSION pg_trgm CASCADE")
        connection.execute(f"ALTER DATABASE {database} RESET search_path")
        connection.execute(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
        connection.execute(f"COMMENT ON DATABASE {database} IS NULL")
