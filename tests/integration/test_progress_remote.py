# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection by ssh that breaks while a backup runs, as an ordinary user who becomes root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support.controller import Controller
from tests.integration.support.faults import wait_for
from tests.integration.support.remote import PASSWORD, Remote

pytestmark = [pytest.mark.ansible, pytest.mark.docker, pytest.mark.sqlite, pytest.mark.files, pytest.mark.faults]


@pytest.fixture(params=["pipelining", "files"])
def controller(remote: Remote, tmp_path: Path, request: pytest.FixtureRequest) -> Controller:
    remote.hold()
    pipelining = {"ANSIBLE_PIPELINING": "1"} if request.param == "pipelining" else {}
    return Controller(tmp_path, remote.variables, {**pipelining, "ANSIBLE_SSH_CONTROL_PATH_DIR": "/tmp/day2t-cp"})


def test_a_connection_that_breaks_is_made_again(remote: Remote, controller: Controller) -> None:
    before = remote.backups()
    playbook = controller.start("backup", remote.arguments())
    playbook.wait_until(": dump")

    def broken() -> bool:  # one that is cut between two questions is made again without a word
        remote.cut()
        return bool(playbook.said("the connection is broken; it goes on on the target"))

    wait_for(broken, 90)
    remote.release()
    outcome = playbook.finish()
    assert outcome["changed"] and outcome["backup"]["complete"], outcome.stdout
    assert "attached" not in outcome.data
    assert remote.backups() == before + 1
    assert PASSWORD not in outcome.stdout


def test_a_host_that_stays_away_is_unreachable_and_the_next_run_has_the_result(
    remote: Remote, controller: Controller
) -> None:
    before = remote.backups()
    playbook = controller.start("backup", remote.arguments(reconnect_timeout=1))
    playbook.wait_until(": dump")
    remote.close()
    try:
        playbook.wait_until("UNREACHABLE!")
        assert playbook.finish().rc == 4
        said = playbook.text
        assert "goes on on it (process " in said and "run the same task again" in said, said
    finally:
        remote.open()
    remote.release()
    outcome = controller.run("backup", remote.arguments())
    assert outcome["attached"] and outcome["backup"]["complete"], outcome.stdout
    assert remote.backups() == before + 1
