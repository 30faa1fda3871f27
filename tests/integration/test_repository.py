# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a repository: once, and never over a failure. With a real restic."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import modules

PASSWORD = "a-long-password"


def call(tmp_path: Path, location: object, password: str = PASSWORD, **more: Any) -> modules.Outcome:
    repository = {"location": str(location), "password": password, "lock_timeout": 5}
    arguments = {"app": "booking", "state_dir": str(tmp_path / "state"), "repository": repository}
    return modules.run("backup_repository", arguments, **more)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_it_is_made_once(tmp_path: Path) -> None:
    location = tmp_path / "backups"
    assert call(tmp_path, location, check=True)["changed"] is True
    assert not location.exists()
    made = call(tmp_path, location)
    assert made["changed"] is True
    again = call(tmp_path, location)
    assert again["changed"] is False
    assert again["repository"] == made["repository"]
    assert made["repository"]["location"] == str(location)
    assert len(made["repository"]["id"]) == 64


def test_another_password_is_refused_and_nothing_is_made_over_it(tmp_path: Path) -> None:
    location = tmp_path / "backups"
    identity = call(tmp_path, location)["repository"]["id"]
    refused = call(tmp_path, location, "another-password")
    assert refused.failed
    assert "password of the repository" in refused.msg
    assert "No repository was created" in refused.msg
    assert call(tmp_path, location)["repository"]["id"] == identity


def test_a_repository_that_lost_its_configuration_is_not_made_anew(tmp_path: Path) -> None:
    location = tmp_path / "backups"
    call(tmp_path, location)
    shutil.move(location / "config", tmp_path / "config")
    before = names(location)
    refused = call(tmp_path, location)
    assert refused.failed
    assert "is not empty" in refused.msg
    assert names(location) == before


def test_a_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").touch()
    assert "letter.txt" in call(tmp_path, tmp_path / "home").msg
    assert names(tmp_path / "home") == {"letter.txt"}


class Failing(http.server.BaseHTTPRequestHandler):
    """A REST server that is there, but broken for reading. What is written to it is counted."""

    written: list[str]

    def do_HEAD(self) -> None:
        self.send_response(500)
        self.end_headers()

    do_GET = do_HEAD

    def do_POST(self) -> None:
        self.written.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def failing() -> Iterator[tuple[str, list[str]]]:
    written: list[str] = []
    handler = type("Handler", (Failing,), {"written": written})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"rest:http://127.0.0.1:{server.server_address[1]}/booking/", written
    server.shutdown()
    server.server_close()


def test_a_server_that_fails_gets_no_new_repository(tmp_path: Path, failing: tuple[str, list[str]]) -> None:
    location, written = failing
    refused = call(tmp_path, location)
    assert refused.failed
    assert "cannot be reached" in refused.msg
    assert written == []


def test_a_server_that_is_down_is_no_missing_repository(tmp_path: Path) -> None:
    refused = call(tmp_path, "rest:http://127.0.0.1:1/booking/")
    assert refused.failed
    assert "cannot be reached" in refused.msg


@pytest.mark.parametrize("password", ["short", "production"])
def test_a_poor_password_is_refused_before_anything_is_made(tmp_path: Path, password: str) -> None:
    refused = call(tmp_path, tmp_path / "backups", password)
    assert refused.failed
    assert "password" in refused.msg
    assert not (tmp_path / "backups").exists()
