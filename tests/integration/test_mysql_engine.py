# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL, dumped and restored on a real server: what comes back, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import mysql_content as content
from tests.integration.support.mariadb_content import differences
from tests.integration.support.mariadb_engine import back_up, engine_for, journal_step, read_step, staged
from tests.integration.support.mysql import Mysql
from tests.integration.support.mysql_content import witness

pytestmark = [pytest.mark.mysql, pytest.mark.docker]


@pytest.fixture
def database(mysql_database: str) -> str:
    return mysql_database


# What comes back -------------------------------------------------------------------------------------


def test_everything_in_a_database_comes_back(mysql: Mysql, database: str, tmp_path: Path) -> None:
    content.fill(mysql, database, big=20_000_000)
    before = witness(mysql, database)
    part = back_up(engine_for(mysql, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    assert part.fingerprint.objects == {"event": 2, "routine": 4, "sequence": 0, "trigger": 6, "view": 5}
    assert part.fingerprint.tables["kinds"].checksum
    assert part.schema_revision == "abc123"

    content.damage(mysql, database)
    damaged = witness(mysql, database)
    assert differences(before, damaged)

    engine = engine_for(mysql, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    assert differences(damaged, witness(mysql, database)) == [], "staging touched the live database"
    assert mysql.value("SELECT @@GLOBAL.max_allowed_packet") == 32 << 20, "the server's limit is not what it was"

    step = journal_step(tmp_path)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    assert "\n".join(differences(before, witness(mysql, database))) == ""

    engine_for(mysql, database, tmp_path).undo(read_step(tmp_path))
    assert differences(damaged, witness(mysql, database)) == [], "undo does not bring it all back"

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert "\n".join(differences(before, witness(mysql, database))) == ""
    assert [name for name in mysql.databases() if name.startswith("day2_")] == []
