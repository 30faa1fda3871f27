# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB and PostgreSQL with files, on this host and in a container: restores that are killed or fail are undone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.kills import Point, killed_everywhere
from tests.integration.support.recovery import wait_for_end_of_processes
from tests.integration.support.servers import ServerWorld, served, with_backups  # noqa: F401

pytestmark = pytest.mark.faults

SLICE = [(5, "before"), (9, "after"), (14, "before"), (16, "after")]


@pytest.mark.parametrize(
    "points", [pytest.param(SLICE, id="slice"), pytest.param(None, id="all", marks=pytest.mark.full)]
)
def test_a_restore_killed_at_any_point_is_whole_or_undone_once_it_is_run_again(
    served: ServerWorld,  # noqa: F811
    points: Iterable[Point] | None,
) -> None:
    earlier = with_backups(served, 2)
    report = killed_everywhere(served, earlier, points)
    print("\n".join(f"{point}: {outcome}" for point, outcome in report))
    assert {"undone", "completed"} <= {outcome for _point, outcome in report}


def test_a_dump_that_dies_leaves_no_backup(served: ServerWorld) -> None:  # noqa: F811
    """Early, by SIGKILL; late, cut before its end mark with exit code 0; after full output, with exit code 3."""
    earlier = with_backups(served, 1)
    served.grow(8)
    ids, tool = served.snapshot_ids(), served.dump_tool
    restic = Wrapper(served)

    go = served.root / "go"
    restic.at("backup-1", faults.hold_until(go))  # meanwhile the dump fills all pipes and waits
    running = served.start("backup")
    for pid in faults.wait_for(lambda: faults.running_tools(served.key, tool), what="the dump"):
        os.kill(pid, signal.SIGKILL)
    go.touch()
    failed = running.finish()
    assert f'backup {served.key}: {served.engine} datastore "main": dump' in failed.msg
    assert tool in failed.msg
    assert "earlier backups are untouched" in failed.msg
    assert served.snapshot_ids() == ids
    restic.calm()

    cut = served.run("backup", prelude=faults.changed_tool(tool, '"$@" | head -c -300'))
    assert "without its end mark" in cut.msg
    assert served.snapshot_ids() == ids

    refused = served.run("backup", prelude=faults.changed_tool(tool, '"$@"; exit 3'))
    assert "ended with 3" in refused.msg
    assert served.snapshot_ids() == ids
    served.is_clean()
    wait_for_end_of_processes(served.key)
    served.holds_up(earlier)


def test_a_module_killed_in_the_middle_of_a_dump_leaves_nothing_that_the_next_run_does_not_end(
    served: ServerWorld,  # noqa: F811
) -> None:
    earlier = with_backups(served, 1)
    served.grow(8)
    restic = Wrapper(served)
    restic.at("backup-1", faults.hold_until(served.root / "never"))
    running = served.start("backup")
    faults.wait_for(lambda: bool(faults.running_tools(served.key, served.dump_tool)), what="the dump")
    running.send_signal(signal.SIGKILL)
    assert running.finish().killed
    restic.calm()
    served.holds_up(earlier)
    assert faults.running_tools(served.key, served.dump_tool) == []


def test_a_restore_that_ends_in_the_middle_of_loading_leaves_the_live_data_alone(
    served: ServerWorld,  # noqa: F811
) -> None:
    """The loading tool is killed; the module is asked to end; the module is killed."""
    served.grow(8)
    earlier = with_backups(served, 1)
    served.run("backup_verify")["changed"]  # its manifest is at hand, so that `dump-1` reads the database
    before, tool = served.state(), served.load_tool
    restic = Wrapper(served)
    for victim, number in (("tool", signal.SIGKILL), ("module", signal.SIGTERM), ("module", signal.SIGKILL)):
        restic.calm()
        restic.at("dump-1", faults.pause_after(2_000_000, served.root / "pipe"))
        running = served.start("restore", replace=True)
        loading = faults.wait_for(lambda: faults.running_tools(served.key, tool), what="the load")
        for pid in loading if victim == "tool" else [running.pid]:
            os.kill(pid, number)
        outcome = running.finish()
        if (victim, number) == ("module", signal.SIGKILL):
            assert outcome.killed
            assert served.settle()[0] == "undone"
        else:
            assert f'{served.engine} datastore "main"' in outcome.msg
            assert "live data are untouched" in outcome.msg
            assert (tool if victim == "tool" else "SIGTERM") in outcome.msg
        wait_for_end_of_processes(served.key)
        assert served.state() == before
        served.is_clean()
    restic.calm()
    served.holds_up(earlier)


def test_a_swap_of_files_that_fails_takes_the_databases_swap_back(served: ServerWorld) -> None:  # noqa: F811
    earlier = with_backups(served, 1)
    before = served.state()
    restic = Wrapper(served)
    restic.at("backup-3", f'"$real" "$@"; chattr +i {served.uploads}; exit 0')  # the safety copy is complete
    try:
        failed = served.restore(safety_copy="required")
    finally:
        subprocess.run(["chattr", "-i", str(served.uploads)], check=True)
    assert f'restore {served.key}: files datastore "uploads": swap' in failed.msg
    assert "Every datastore is as it was before" in failed.msg
    assert served.state() == before
    served.is_clean()
    restic.calm()
    served.holds_up(earlier)


def test_chosen_tables_come_back_alone_or_beside(served: ServerWorld) -> None:  # noqa: F811
    """Beside, whoever is connected stays so; in place, killed and settled, or whole."""
    ((backup, then),) = with_backups(served, 1).items()
    served.add_orders("since", 3)
    served.execute("UPDATE alembic_version SET version_num = 'since'", served.name)
    before, ids = served.state(), served.snapshot_ids()
    with contextlib.closing(served.server.connect(served.name)) as session:
        beside = served.run("restore", include={"main": ["orders"]}, include_suffix="_then", backup=backup)
        with session.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM orders_then")
            assert cursor.fetchone()[0] == len(then["main"]["table orders"])
    assert beside["restore"]["stopped"] == []
    assert served.snapshot_ids() == ids
    served.execute("DROP TABLE orders_then", served.name)
    assert served.state() == before
    include = {"main": ["orders", "log"]}
    for number in (5, 6, 8):
        assert served.restore(include=include, backup=backup, kill_at=(number, "after")).killed
        wait_for_end_of_processes(served.key)
        assert served.settle()[0] == "undone"
        assert served.state() == before, number
        served.is_clean()
    done = served.restore(include=include, backup=backup, safety_copy="required")
    after = served.state()
    mine = {key for key in after["main"] if key in ("table orders", "table log", "sequences")}
    assert {key: after["main"][key] for key in mine} == {key: then["main"][key] for key in mine}
    assert {k: v for k, v in after["main"].items() if k not in mine} == {
        k: v for k, v in before["main"].items() if k not in mine
    }
    assert after["uploads"] == before["uploads"]
    assert done["restore"]["safety_backup"]
    assert sorted(one.rpartition(".")[2] for one in done["restore"]["datastores"]["main"]["included"]) == [
        "log",
        "orders",
    ]
    served.is_clean()
