# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application in Compose: MariaDB, a web service that uses it, others that do so less openly, and
one that does not. Started once; a test that stops or changes something puts it back."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

IMAGE = "day2-test/mariadb:10.11"
ROOT_PASSWORD = "root-" + secrets.token_hex(6)
USER_PASSWORD = "user-" + secrets.token_hex(6)
TOKEN = "token-" + secrets.token_hex(6)

# `quiet` has its password in a variable that points nowhere, and the host in a file of its own.
COMPOSE = f"""
x-client: &client
  image: {IMAGE}
  init: true
  healthcheck: {{disable: true}}
  entrypoint: [bash, -c]
  stop_grace_period: 2s
services:
  db:
    image: {IMAGE}
    environment:
      MARIADB_ROOT_PASSWORD: ${{DB_ROOT_PASSWORD:?}}
      MARIADB_DATABASE: booking
      MARIADB_USER: booking
      MARIADB_PASSWORD: ${{DB_PASSWORD:-{USER_PASSWORD}}}
      TOKEN_FILE: /run/secrets/token
      DB_HOST: database
    secrets: [token]
    volumes: [data:/var/lib/mysql]
    networks: {{inner: {{aliases: [database]}}}}
  web:
    <<: *client
    restart: always
    environment:
      DATABASE_URL: mysql+pymysql://booking:${{DB_PASSWORD:-{USER_PASSWORD}}}@database/booking?charset=utf8mb4
    command: ["trap 'exit 0' TERM; while :; do sleep 1; done"]
    volumes: [uploads:/app/uploads]
    networks: [inner]
    depends_on: {{db: {{condition: service_healthy}}}}
  quiet:
    <<: *client
    environment: {{MYSQL_PWD: "${{DB_PASSWORD:-{USER_PASSWORD}}}"}}
    command: ['until mariadb -h "$$(cat /host)" -u booking booking -e "select sleep(3600)"; do sleep 1; done']
    volumes: ["./host:/host:ro"]
    networks: [inner]
    depends_on: {{db: {{condition: service_healthy}}}}
  thumbnails:
    <<: *client
    command: ["sleep infinity"]
    volumes: ["uploads:/in:ro", "./notes:/notes"]
    networks: [outer]
  frontend:
    <<: *client
    environment: {{BACKEND_URL: "http://web:8000", SMTP_HOST: mail.example.org}}
    command: ["sleep infinity"]
    networks: [outer]
  worker:
    <<: *client
    profiles: [jobs]
    environment: {{DB_HOST: db, DB_PORT: "3306"}}
    command: ["sleep infinity"]
    volumes: [exports:/exports]
    networks: [inner]
networks: {{inner: {{internal: true}}, outer: {{}}}}
volumes: {{data: {{}}, uploads: {{}}, exports: {{}}}}
secrets: {{token: {{file: ./token}}}}
"""


@dataclasses.dataclass(frozen=True)
class ComposeProject:
    name: str
    directory: Path

    def compose(self, *words: str, check: bool = True) -> str:
        return docker("compose", "-p", self.name, "--project-directory", str(self.directory), *words, check=check)

    def container(self, service: str) -> str:
        return f"{self.name}-{service}-1"

    def inspect(self, service: str, form: str) -> str:
        return docker("inspect", "-f", form, self.container(service))

    @property
    def env_file(self) -> Path:
        return self.directory / ".env"

    @property
    def file(self) -> Path:
        return self.directory / "compose.yml"

    def volume(self, name: str) -> Path:
        return Path(docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{self.name}_{name}"))

    @contextlib.contextmanager
    def changed(self, path: Path, text: str) -> Iterator[None]:
        """A file with another content, for a while."""
        before = path.read_text()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(before)


def docker(*words: str, check: bool = True, stdin: str | None = None) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, input=stdin)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(words[:6])} ended with {done.returncode}: {done.stderr[-800:]}")
    return done.stdout.strip()


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.1)


def _write(directory: Path) -> None:
    (directory / "compose.yml").write_text(COMPOSE)
    (directory / ".env").write_text(f"DB_ROOT_PASSWORD='{ROOT_PASSWORD}'\n")
    (directory / "token").write_text(TOKEN + "\n")
    (directory / "host").write_text("db\n")
    (directory / "notes").mkdir()


@pytest.fixture(scope="session")
def compose_project() -> Iterator[ComposeProject]:
    directory = Path(tempfile.mkdtemp(prefix="day2t-compose-"))
    _write(directory)
    project = ComposeProject(f"day2t-{secrets.token_hex(3)}", directory)
    git: Sequence[Sequence[str]] = (["init", "-q"], ["add", "compose.yml"], ["commit", "-q", "-m", "x"])
    for words in git:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, "-C", str(directory), *words], check=True)
    try:
        project.compose("up", "-d", "--quiet-pull")  # depends_on waits for what must be healthy
        yield project
    finally:
        project.compose("--profile", "*", "down", "-v", "--remove-orphans", "-t", "1", check=False)
        shutil.rmtree(directory, ignore_errors=True)
