# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose projects: how one was started, and what Compose makes of its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Unavailable
from ansible_collections.day2.ops.plugins.module_utils._platform import compose
from ansible_collections.day2.ops.plugins.module_utils._platform.compose import Project, ServiceMount
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Listed

P = "com.docker.compose."

# Recorded from Compose 2.26.1, shortened.
CONFIG = json.dumps(
    {
        "name": "booking",
        "services": {
            "db": {
                "environment": {"MARIADB_ROOT_PASSWORD": "ro$$ot pass", "UNSET": None, "NUMBER": 1},
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/var/lib/mysql", "volume": {}},
                    {"type": "bind", "source": "/srv/booking/my.cnf", "target": "/etc/my.cnf", "read_only": True},
                    {"type": "volume", "target": "/anonymous"},
                    {"type": "tmpfs", "target": "/tmp"},
                ],
            },
            "web": {"environment": None},
        },
        "volumes": {"data": {"name": "booking_data"}},
    }
).encode()


def started(**labels: str) -> Listed:
    return Listed(
        "x", "booking-db-1", "running", {P + name.replace("__", "."): value for name, value in labels.items()}
    )


def test_a_project_is_read_from_its_labels() -> None:
    container = started(
        project="booking",
        service="db",
        project__working_dir="/srv/booking",
        project__config_files="/srv/booking/compose.yml,/srv/booking/compose.prod.yml",
        project__environment_file="/srv/booking/prod.env",
    )
    project = compose.project_of(container)
    assert project == Project(
        "booking",
        Path("/srv/booking"),
        (Path("/srv/booking/compose.yml"), Path("/srv/booking/compose.prod.yml")),
        (Path("/srv/booking/prod.env"),),
    )
    assert project.argv("config") == (
        *("docker", "compose", "-p", "booking", "--project-directory", "/srv/booking"),
        *("-f", "/srv/booking/compose.yml", "-f", "/srv/booking/compose.prod.yml"),
        *("--env-file", "/srv/booking/prod.env", "config"),
    )
    assert project.interpolation_files == (Path("/srv/booking/prod.env"),)


def test_without_an_env_file_label_it_is_dot_env() -> None:
    project = Project("booking", Path("/srv/booking"), (Path("/srv/booking/compose.yml"),))
    assert project.interpolation_files == (Path("/srv/booking/.env"),)


def test_a_container_without_compose_has_no_project() -> None:
    assert compose.project_of(started()) is None
    assert compose.project_of(started(project="booking")) is None


def test_services_are_read_from_composes_output() -> None:
    services = compose.parse_services(CONFIG)
    assert services["db"].environment == {"MARIADB_ROOT_PASSWORD": "ro$ot pass", "NUMBER": "1"}
    assert services["web"].environment == {}
    assert services["db"].mounts == (
        ServiceMount("volume", "", "/var/lib/mysql", True, "booking_data"),
        ServiceMount("bind", "/srv/booking/my.cnf", "/etc/my.cnf", False),
        ServiceMount("volume", "", "/anonymous", True),
        ServiceMount("tmpfs", "", "/tmp", True),
    )
    assert "ro$ot" not in repr(services)


def test_a_project_whose_files_are_gone_says_which(tmp_path: Path) -> None:
    project = Project("booking", tmp_path, (tmp_path / "compose.yml",))
    with pytest.raises(Unavailable, match=r"compose\.yml, which the Compose project booking was started from, is gone"):
        compose.services(project)
