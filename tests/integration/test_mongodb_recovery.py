# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB through the modules, with a real repository: backed up, proven, restored; and killed on the way."""

from __future__ import annotations

import os

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal

from tests.integration.support.kills import killed_everywhere
from tests.integration.support.mongo_world import MongoWorld, mongo_world  # noqa: F401
from tests.integration.support.servers import with_backups

pytestmark = [pytest.mark.mongodb, pytest.mark.docker]


def test_backed_up_proven_and_restored(mongo_world: MongoWorld) -> None:  # noqa: F811
    before = mongo_world.state()
    backup = mongo_world.run("backup", fingerprint="full")
    assert backup.rc == 0, backup
    assertion = {
        "datastore": "main",
        "sql": '{"collection": "orders", "pipeline": [{"$match": {"number": {"$gte": 5}}}, {"$count": "n"}]}',
        "value": "15",
    }
    rows = {"datastore": "main", "table": "orders", "rows": 20}
    proof = mongo_world.run("backup_verify", assertions=[assertion, rows])
    assert proof.rc == 0, proof
    assert mongo_world.state() == before, "a proof changed the live database"
    wrong = mongo_world.run("backup_verify", assertions=[{**assertion, "value": "16"}])
    assert wrong.rc != 0

    mongo_world.damage()
    damaged = mongo_world.state()
    refused = mongo_world.run("restore", backup="latest")
    assert "replace" in refused.msg
    restored = mongo_world.restore(backup="latest_verified", safety_copy="required")
    assert restored.rc == 0, restored
    assert mongo_world.state() == before
    mongo_world.is_clean()
    assert mongo_world.server.tools(mongo_world.name) == []
    for outcome in (backup, proof, restored):
        assert mongo_world.server.options["password"] not in str(outcome.data)

    # What was replaced is in the safety copy.
    again = mongo_world.restore(backup=restored["restore"]["safety_backup"])
    assert again.rc == 0, again
    assert mongo_world.state() == damaged


def test_what_did_not_change_is_stored_once(mongo_world: MongoWorld) -> None:  # noqa: F811
    """Several large collections: the tool would dump them at the same time, interleaved as chance has it."""
    with mongo_world.server.database(mongo_world.name) as opened:
        for collection in range(4):
            documents = [{"_id": number, "noise": os.urandom(1 << 16)} for number in range(128)]
            opened[f"ballast{collection}"].insert_many(documents)
    sizes = []
    for _day in range(3):
        mongo_world.backup()
        sizes.append(sum(path.stat().st_size for path in mongo_world.repository.rglob("*") if path.is_file()))
    assert sizes[0] > 32 << 20
    assert sizes[2] - sizes[0] < 4 << 20, sizes


def writes_of_a_restore(world: MongoWorld, backup: str) -> int:
    """How often a restore writes its journal."""
    written = world.root / "written"

    def count() -> None:
        write = Journal.write

        def counted(self: Journal) -> None:
            with written.open("a") as stream:
                stream.write("x")
            write(self)

        Journal.write = counted  # type: ignore[method-assign]

    world.start("restore", backup=backup, replace=True, safety_copy="none", prelude=count).finish()["changed"]
    return len(written.read_text())


@pytest.mark.faults
@pytest.mark.parametrize(
    "everywhere", [False, pytest.param(True, marks=[pytest.mark.full, pytest.mark.timeout(900)])], ids=["slice", "all"]
)
def test_a_restore_killed_at_any_point_is_whole_or_undone_once_it_is_run_again(
    mongo_world: MongoWorld,  # noqa: F811
    everywhere: bool,
) -> None:
    earlier = with_backups(mongo_world, 2)  # type: ignore[arg-type]
    points = None
    if not everywhere:
        last = writes_of_a_restore(mongo_world, next(iter(earlier)))
        points = [(9, "before"), (last // 2, "after"), (last - 1, "before")]
    report = killed_everywhere(mongo_world, earlier, points)
    print("\n".join(f"{point}: {outcome}" for point, outcome in report))
    assert {"undone", "completed"} <= {outcome for _point, outcome in report}
