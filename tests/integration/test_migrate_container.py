# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations in a one-off container of a Compose service, of an application that migrates when it starts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import modules
from tests.integration.support.mariadb import wait_until
from tests.integration.support.migrated import VENV, Migrated
from tests.integration.support.modules import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.mariadb]

PASSWORD = "inside-" + secrets.token_hex(6)
IMAGE = "day2-test/webapp:bookworm"
# As many real ones: the entrypoint migrates, and hides that it failed. Alembic comes from the tests' environment.
COMPOSE = """
services:
  db:
    image: day2-test/mariadb:10.11
    environment: {{MARIADB_ROOT_PASSWORD: "${{DB_PASSWORD:?}}", MARIADB_DATABASE: booking}}
    networks: [inner]
  app:
    image: {image}
    entrypoint: [sh, -c, "echo started >> /code/starts; python3 -m alembic upgrade head; exec sleep 3600"]
    init: true
    stop_grace_period: 1s
    working_dir: /code
    environment:
      DATABASE_URL: "mysql+pymysql://root:${{DB_PASSWORD:?}}@db/booking"
      PYTHONPATH: /site
    volumes: ["./code:/code", "{site}:/site:ro"]
    networks: [inner]
    depends_on: {{db: {{condition: service_healthy}}}}
networks: {{inner: {{internal: true}}}}
"""


def docker(*words: str, check: bool = True) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=check, timeout=300).stdout.strip()


@dataclasses.dataclass
class InCompose(Migrated):
    project: str = ""

    def compose(self, *words: str) -> str:
        return docker("compose", "-p", self.project, "--project-directory", str(self.root), *words)

    def sql(self, statement: str) -> list[str]:
        words = (
            "exec",
            "-e",
            "MYSQL_PWD",
            f"{self.project}-db-1",
            "mariadb",
            "-uroot",
            "-N",
            "booking",
            "-e",
            statement,
        )
        environment = {**os.environ, "MYSQL_PWD": PASSWORD}
        done = subprocess.run(
            ["docker", *words], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    def tables(self) -> set[str]:
        return set(self.sql("SHOW TABLES"))

    def at(self) -> list[str]:
        return self.sql("SELECT version_num FROM alembic_version") if "alembic_version" in self.tables() else []

    @property
    def starts(self) -> int:
        return len((self.code / "starts").read_text().splitlines())

    def app_runs(self) -> bool:
        return docker("inspect", "-f", "{{.State.Running}}", f"{self.project}-app-1") == "true"

    def arguments(self, **more: Any) -> dict[str, Any]:
        return {
            "app": self.app,
            "state_dir": str(self.root / "state"),
            "project": self.project,
            "service": "app",
            "datastores": [
                {
                    "name": "main",
                    "engine": "mariadb",
                    "container": f"{self.project}/db",
                    "database": "booking",
                    "user": "root",
                    "password_variable": "DB_PASSWORD",
                }
            ],
            **more,
        }


@pytest.fixture
def in_compose(tmp_path: Path) -> Iterator[InCompose]:
    subprocess.run([ROOT / "tests" / "tools" / "environment.sh", "migrate"], check=True, timeout=900)
    site = next((VENV / "lib").glob("python3*")) / "site-packages"
    made = InCompose(tmp_path / "booking", "mariadb", None, "booking", project=f"day2t-{secrets.token_hex(4)}")
    made.root.mkdir()
    made.deploy_files()
    (made.root / ".env").write_text(f"DB_PASSWORD={PASSWORD}\n")
    (made.root / "compose.yml").write_text(COMPOSE.format(image=IMAGE, site=site.resolve()))
    made.table("a1", None)
    try:
        made.compose("up", "-d", "--wait")
        wait_until(lambda: made.at() == ["a1"], 60, "the application has migrated itself")
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            made.compose("down", "-v", "--timeout", "1")
        shutil.rmtree(made.root, ignore_errors=True)


def test_the_application_is_stopped_and_its_entrypoint_not_run(in_compose: InCompose) -> None:
    in_compose.table("b2", "a1")
    told = in_compose.info(writers=True)["migration"]
    assert told["source"] == IMAGE and told["current"] == ["a1"]
    assert [one["name"] for one in told["writers"]] == [f"{in_compose.project}-app-1"]
    done = in_compose.migrate(at_start=True)
    assert [one["revision"] for one in done["migration"]["applied"]] == ["b2"] and in_compose.at() == ["b2"]
    assert [one["name"] for one in done["migration"]["stopped"]] == [f"{in_compose.project}-app-1"]
    assert in_compose.app_runs() and in_compose.starts == 2
    assert docker("ps", "-aq", "--filter", "label=day2.migrate", "--filter", f"name={in_compose.app}") == ""
    assert PASSWORD not in done.stdout


def test_half_applied_leaves_the_application_stopped(in_compose: InCompose) -> None:
    in_compose.revision("b2", "a1", "op.create_table('half', sa.Column('id', sa.Integer))\nop.execute('nonsense')")
    outcome = in_compose.migrate(at_start=True)
    assert outcome.failed and "stays stopped" in outcome.msg
    assert not in_compose.app_runs() and in_compose.starts == 1
    in_compose.sql("DROP TABLE half")
    in_compose.table("b2", "a1")
    assert in_compose.migrate(at_start=True)["migration"]["current"] == ["b2"]
    assert in_compose.app_runs()  # what the failed run had stopped


def test_the_image_that_is_named_is_run(in_compose: InCompose) -> None:
    image = f"day2t-migrate:{secrets.token_hex(4)}"
    docker("tag", IMAGE, image)
    try:
        in_compose.table("b2", "a1")
        assert in_compose.migrate(image=image)["migration"]["source"] == image
        (in_compose.versions / "b2.py").unlink()
        outcome = in_compose.migrate()
        assert outcome.failed and f"b2 came from {image}" in outcome.msg
    finally:
        docker("rmi", image)


def test_another_database_of_the_service_is_refused(in_compose: InCompose) -> None:
    in_compose.table("b2", "a1")
    url = f"mysql+pymysql://root:{PASSWORD}@db/mysql"
    outcome = in_compose.migrate(environment={"DATABASE_URL": url})
    assert outcome.failed and "it is the database mysql of that server" in outcome.msg
    assert PASSWORD not in outcome.stdout


def test_a_container_that_a_killed_run_left_is_ended_by_the_next(in_compose: InCompose) -> None:
    in_compose.revision(
        "b2",
        "a1",
        "op.create_table('half', sa.Column('id', sa.Integer))\nopen('/code/running', 'w')\n__import__('time').sleep(300)",
    )
    process = modules.start("migrate", in_compose.arguments(backup=in_compose.backup()))
    wait_until((in_compose.code / "running").exists, 90, "the revision runs")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    outcome = in_compose.migrate()
    assert outcome.failed and "table half was made" in outcome.msg
    assert docker("ps", "-q", "--filter", "label=day2.migrate", "--filter", f"name={in_compose.app}") == ""
