# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores by the playbooks alone: prepare makes both repositories, backup copies, maintain looks after both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import faults
from tests.integration.support.recovery import make_key_cheap
from tests.integration.support.stores import SECOND, Server
from tests.integration.test_playbooks import PASSWORD, Application, application

pytestmark = [pytest.mark.stores, pytest.mark.ansible, pytest.mark.sqlite, pytest.mark.files]


def test_two_repositories_from_the_inventory_alone(s3_server: Server, tmp_path: Path) -> None:
    app: Application = application(tmp_path)
    app.deploy()
    name = f"playbook-{os.getpid()}"
    given: dict[str, Any] = {
        "day2_copy_repository_location": s3_server.location(name),
        "day2_copy_repository_password": SECOND,
        "day2_copy_repository_environment": s3_server.environment,
        "day2_copy_repository_options": {"limit_upload": 50000},
        "day2_copy_retention": {"keep_last": 1},
    }
    prepared = app.play("prepare", **given).ok()
    assert prepared.changed()
    first = next(path.parent for path in tmp_path.rglob("config") if (path.parent / "keys").is_dir())
    make_key_cheap(first, PASSWORD)
    make_key_cheap(s3_server.place(name), SECOND)
    app.play("backup", **given).ok()
    content = app.content()
    app.add_row()
    second = app.play("backup", "-v", **given).ok()
    assert "Copy: copied, 1 new in the second repository." in second.text
    for secret in (SECOND, PASSWORD, s3_server.password, s3_server.user):
        assert secret not in second.text

    def listed(location: str, password: str) -> set[str]:
        environment = {
            **os.environ,
            **s3_server.environment,
            "RESTIC_REPOSITORY": location,
            "RESTIC_PASSWORD": password,
        }
        command = ["restic", "snapshots", "--json", "--no-cache", "--tag", "role=manifest"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return {tag for one in json.loads(done.stdout) for tag in one["tags"] if tag.startswith("backup=")}

    ours, theirs = listed(str(first), PASSWORD), listed(s3_server.location(name), SECOND)
    assert len(ours) == 2
    assert theirs == {max(ours)}, "the second one has a retention of its own"

    app.play("maintain", maintain_parts=1, maintain_prune_every="7d", **given).ok()
    packs = [path for path in (first / "data").rglob("*") if path.is_file()]
    faults.flip_bytes(max(packs, key=lambda path: path.stat().st_size))
    damaged = app.play("maintain", maintain_parts=1, **given).refused("is damaged", "Touched are the backups")
    assert max(ours).removeprefix("backup=") in damaged.text

    shutil.rmtree(first)
    app.damage()
    alone = {
        "day2_repository_location": given["day2_copy_repository_location"],
        "day2_repository_password": SECOND,
        "day2_repository_environment": s3_server.environment,
    }
    app.play("restore", restore_replace=True, restore_safety_copy="none", **alone).ok()
    connection = app.content()
    assert connection["files"] == content["files"]
    assert len(connection["rows"]["payments"]) == len(content["rows"]["payments"]) + 1
