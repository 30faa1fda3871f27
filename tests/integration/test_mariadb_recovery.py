# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB through the modules, with a real repository: backed up, proven, restored."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import forked
from tests.integration.support import mariadb_content as content
from tests.integration.support.mariadb import Mariadb
from tests.integration.support.modules import Outcome
from tests.integration.support.recovery import unique_app

pytestmark = pytest.mark.mariadb


class Modules:
    """One application with one datastore, and a repository."""

    def __init__(self, server: Mariadb, database: str, directory: Path) -> None:
        self.repository = {"location": str(directory / "repository"), "password": "correct horse battery"}
        self.datastore = {"name": "main", "engine": "mariadb", **server.options, "database": database}
        self.app, self.state = unique_app(), directory / "state"
        environment = {"RESTIC_PASSWORD": self.repository["password"], "PATH": "/usr/local/bin:/usr/bin:/bin"}
        argv = ["restic", "init", "-r", self.repository["location"]]
        subprocess.run(argv, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)

    def run(self, name: str, **options: Any) -> Outcome:
        common = {"app": self.app, "state_dir": str(self.state), "repository": self.repository}
        return forked.run(name, {**common, "datastores": [self.datastore], **options})


@pytest.mark.parametrize(
    "mariadb",
    [pytest.param("host", marks=pytest.mark.full), pytest.param("container", marks=pytest.mark.docker)],
    indirect=True,
)
def test_backed_up_proven_and_restored(mariadb: Mariadb, mariadb_database: str, tmp_path: Path) -> None:
    database = mariadb_database
    content.fill(mariadb, database)
    before = content.witness(mariadb, database)
    modules = Modules(mariadb, database, tmp_path)

    backup = modules.run("backup", fingerprint="full")
    assert backup.rc == 0, backup
    assertion = {"datastore": "main", "sql": "SELECT COUNT(*) FROM children", "value": "1000"}
    proof = modules.run("backup_verify", assertions=[assertion])
    assert proof.rc == 0, proof
    assert [name for name in mariadb.databases() if name.startswith("day2_")] == []
    assert content.differences(before, content.witness(mariadb, database)) == [], "a proof changed the live database"

    content.damage(mariadb, database)
    mariadb.run("INSERT INTO newer VALUES (77)", database=database)
    refused = modules.run("restore", backup="latest")
    assert refused.rc != 0
    assert "replace" in str(refused)
    restored = modules.run("restore", backup="latest_verified", replace=True)
    assert restored.rc == 0, restored
    assert content.differences(before, content.witness(mariadb, database)) == []
    assert [name for name in mariadb.databases() if name.startswith("day2_")] == []
    assert mariadb.tools() == []
    for outcome in (backup, proof, restored):
        assert mariadb.options["password"] not in str(outcome)

    # What was replaced is in the safety copy.
    safety = restored["restore"]["safety_backup"]
    again = modules.run("restore", backup=safety, replace=True)
    assert again.rc == 0, again
    assert mariadb.value("SELECT MAX(id) FROM newer", database) == 78  # its trigger has added one
