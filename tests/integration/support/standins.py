# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins of the five reference systems: each a small real application of the same stack and layout
(tests/standins), deployed as its operators would, and reached as its users and as its database would."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pymongo

from tests.integration.support.compose import ComposeProject, docker, wait_until
from tests.integration.support.modules import ROOT

STANDINS, INVENTORIES = ROOT / "tests" / "standins", ROOT / "inventories"


@dataclasses.dataclass
class StandIn:
    """One deployed application. `path`: of its list of items; `health`: of its health."""

    base: Path

    name: ClassVar[str]
    path: ClassVar[str]
    health: ClassVar[str]
    caches: ClassVar[bool] = False
    instance: ClassVar[str] = "production"
    witness: ClassVar[str] = "main"  # the health check that must say so when its database is down
    revision: ClassVar[str] = ""  # of its schema at first; "" where it has no migrations
    table: ClassVar[str] = ""  # that a coming release changes

    # What a test does -------------------------------------------------------------------------------
    def deploy(self) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        raise NotImplementedError

    def direct(self) -> dict[str, Any]:
        """What it holds, seen from beside it: rows, other objects, files."""
        raise NotImplementedError

    def harm(self) -> None:
        """Change rows and remove an object and a file, behind the application's back."""
        raise NotImplementedError

    def sql(self, statement: str) -> str:
        """As an administrator of its database."""
        raise NotImplementedError

    def release(self, revision: str, upgrade: Sequence[str] | None, down: str = "") -> None:
        """Add a revision to the code that is deployed; None takes it away again."""
        name = f"{revision}.py"
        if upgrade is None:
            self.write_revision(name, None)
            return
        body = "\n    ".join(f"op.execute({statement!r})" for statement in upgrade)
        text = (
            f'"""revision {revision}"""\nfrom alembic import op\n\nrevision = {revision!r}\ndown_revision = {down!r}\n'
        )
        self.write_revision(name, f"{text}\n\ndef upgrade():\n    {body}\n\n\ndef downgrade():\n    pass\n")

    def write_revision(self, name: str, text: str | None) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def database_down(self) -> Iterator[None]:
        """What holds its rows is away meanwhile."""
        raise NotImplementedError
        yield

    # What an operator gives -------------------------------------------------------------------------
    def variables(self) -> dict[str, Any]:
        """Extra variables: what the inventory says to change, and the vault."""
        raise NotImplementedError

    def host(self) -> dict[str, Any]:
        """How its machine is reached, in place of the inventory's address."""
        return {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }

    def play(self, playbook: str, fails: bool = False, **more: Any) -> str:
        """A playbook of the collection with the inventory of this system; its screen. `fails`: it must."""
        given = json.loads(subprocess.check_output(self._ansible("inventory", "--list"), env=self._environment()))
        hosts = {name: self.host() for name in given["_meta"]["hostvars"]}
        overlay = self.base / "addresses.yml"
        overlay.write_text(json.dumps({"all": {"hosts": hosts}}))
        variables = self.base / "variables.json"
        variables.touch(mode=0o600)
        # The load of this machine is that of the tests beside this one.
        host = {"id": "host", "group": "host", "paths": ["/"], "load_warn": 1000, "load_crit": 1000, "timeout": 30}
        busy = {"health_checks": "{{ day2_health + [busy_host] }}", "busy_host": host}
        variables.write_text(json.dumps({**self.variables(), **busy, **more}))
        argv = self._ansible("playbook", "-i", str(overlay), f"day2.ops.{playbook}", "-e", f"@{variables}")
        done = subprocess.run(argv, env=self._environment(), cwd=self.base, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def _ansible(self, tool: str, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name(f"ansible-{tool}")), "-i", str(INVENTORIES / self.name), *words]

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "RESTIC_"))},
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
            "ANSIBLE_HOME": str(self.base / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "LC_ALL": "C.UTF-8",
        }

    # What its users do ------------------------------------------------------------------------------
    @property
    def address(self) -> str:
        raise NotImplementedError

    def http(self, method: str, path: str, content: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://{self.address}{path}", content, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def add(self, name: str, content: bytes) -> None:
        self.http("POST", f"{self.path}?name={urllib.parse.quote(name)}", content)

    def items(self) -> Any:
        return self.http("GET", self.path)

    def delete_first(self) -> None:
        first = self.items()[0]
        identity = first["_id"]["$oid"] if "_id" in first else first["id"]
        self.http("DELETE", f"{self.path}/{identity}")

    def healthy(self) -> bool:
        try:
            state = self.http("GET", self.health)
        except (OSError, urllib.error.URLError):
            return False
        return bool(state["status"] in ("healthy", "ok"))


def files(directory: Path) -> dict[str, Any]:
    """Every file's content, owner and mode."""
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_uid,
            oct(path.lstat().st_mode),
        )
        for path in sorted(directory.rglob("*"))
    }


# In Compose -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Composed(StandIn):
    """On this machine's engine, as a project with a name of its own. `web`: the service that users reach."""

    web: ClassVar[tuple[str, int]]
    holder: ClassVar[str]  # the service that holds its rows

    def __post_init__(self) -> None:
        self.project = ComposeProject(f"day2t-{self.name}-{secrets.token_hex(3)}", self.base / self.name)
        self.vault = {f"vault_{self.name}_repository_password": secrets.token_hex(12)}

    def settings(self) -> Mapping[str, str]:
        """The variables in its env file."""
        raise NotImplementedError

    def deploy(self) -> None:
        shutil.copytree(STANDINS / self.name, self.project.directory)
        self.project.env_file.touch(mode=0o600)
        self.project.env_file.write_text("".join(f"{key}={value}\n" for key, value in self.settings().items()))
        self.before_start()
        self.project.compose("up", "-d", "--wait", "--wait-timeout", "180")
        wait_until(self.healthy, f"{self.name} is healthy", 60)

    def before_start(self) -> None:
        """Make what must be there first."""

    def remove(self) -> None:
        self.project.compose("down", "-v", "--remove-orphans", "-t", "1", check=False)

    def variables(self) -> dict[str, Any]:
        return {
            f"{self.name}_directory": str(self.project.directory),
            f"{self.name}_project": self.project.name,
            f"{self.name}_url": f"http://{self.address}",
            "day2_state_dir": str(self.base / "state"),
            "day2_repository_location": str(self.base / "repository"),
            **self.vault,
        }

    @contextlib.contextmanager
    def database_down(self) -> Iterator[None]:
        docker("stop", "-t", "5", self.project.container(self.holder))
        try:
            yield
        finally:
            docker("start", self.project.container(self.holder))
            wait_until(self._serves, f"{self.name} serves again")

    def write_revision(self, name: str, text: str | None) -> None:
        path = self.project.directory / "migrations" / "versions" / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)

    def _serves(self) -> bool:
        """Some are healthy while their database is down, and show lists from a cache."""
        return self.project.inspect(self.holder, "{{.State.Health.Status}}") == "healthy" and self.healthy()

    @property
    def address(self) -> str:
        service, port = self.web
        return f"{self.ip(service)}:{port}"

    def ip(self, service: str) -> str:
        return self.project.inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}").split()[0]

    def inside(self, service: str, *argv: str) -> str:
        return docker("exec", self.project.container(service), *argv)


class Booking(Composed):
    name, path, health = "booking", "/api/v1/items", "/api/v1/health"
    revision, table = "b1f7c2d90a44", "bookings"
    web = ("frontend", 80)
    holder = "db"
    caches = True

    def settings(self) -> Mapping[str, str]:
        names = ("DB_ROOT_PASSWORD", "DB_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY", "MESSAGING_TOKEN")
        return {name: secrets.token_hex(12) for name in names}

    def before_start(self) -> None:
        (self.project.directory / "uploads").mkdir()
        shutil.chown(self.project.directory / "uploads", 1000, 1000)

    def sql(self, statement: str) -> str:
        client = 'MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb -uroot --default-character-set=utf8mb4 -NBe "$1" booking'
        return self.inside("db", "bash", "-c", client, "sh", statement)

    def direct(self) -> dict[str, Any]:
        return {
            "rows": self.sql("SELECT * FROM bookings ORDER BY id; SELECT * FROM alembic_version; SELECT * FROM newest"),
            "objects": self.sql(
                "SHOW FULL TABLES; SHOW CREATE TABLE bookings;"
                " SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'booking'"
            ),
            "uploads": files(self.project.directory / "uploads"),
        }

    def harm(self) -> None:
        self.sql("UPDATE bookings SET name = CONCAT('gone ', id), price = 0; DROP TRIGGER priced")
        next((self.project.directory / "uploads").glob("*.bin")).write_bytes(b"overwritten")


class Station(Composed):
    name, path, health = "station", "/api/items", "/health"
    revision, table = "7f3a90c1d2e4", "trips"
    web = ("frontend", 80)
    holder = "mysql"
    caches = True

    def settings(self) -> Mapping[str, str]:
        names = ("MYSQL_ROOT_PASSWORD", "DB_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY")
        keys = {"ENCRYPTION_KEY": secrets.token_hex(32), "ENCRYPTION_SALT": secrets.token_hex(16)}
        return {**{name: secrets.token_hex(12) for name in names}, **keys}

    def sql(self, statement: str) -> str:
        client = 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot --default-character-set=utf8mb4 -NBe "$1" station'
        return self.inside("mysql", "bash", "-c", client, "sh", statement)

    def direct(self) -> dict[str, Any]:
        return {
            "rows": self.sql(
                "SELECT id, name, media, HEX(note), extras, created_at FROM trips ORDER BY id;"
                " SELECT id, trip, ST_AsText(place) FROM stops ORDER BY id; SELECT * FROM alembic_version"
            ),
            "objects": self.sql("SHOW CREATE TABLE trips; SHOW CREATE TABLE stops"),
            "media": files(self.project.volume("media")),
        }

    def harm(self) -> None:
        self.sql("UPDATE trips SET extras = '{}', name = CONCAT('gone ', id); ALTER TABLE trips ADD COLUMN more INT")
        next(self.project.volume("media").glob("*.bin")).write_bytes(b"overwritten")


class Storefront(Composed):
    name, path, health = "storefront", "/api/items", "/api/health"
    web = ("web", 3000)
    holder = "mongo"
    caches = True

    def settings(self) -> Mapping[str, str]:
        return {name: secrets.token_hex(12) for name in ("MONGO_ROOT_PASSWORD", "NEXTAUTH_SECRET")}

    @contextlib.contextmanager
    def _database(self) -> Iterator[Any]:
        password = self.project.env_file.read_text().split("MONGO_ROOT_PASSWORD=")[1].split()[0]
        client: Any = pymongo.MongoClient(self.ip("mongo"), username="root", password=password, directConnection=True)
        try:
            yield client.storefront
        finally:
            client.close()

    def direct(self) -> dict[str, Any]:
        with self._database() as database:
            names = sorted(database.list_collection_names())
            rows = {name: b"".join(database[name].find_raw_batches({}, sort=[("_id", 1)])) for name in names}
            indexes = {name: sorted(map(str, database[name].list_indexes())) for name in names}
        return {"rows": rows, "objects": indexes, "media": files(self.project.volume("media"))}

    def harm(self) -> None:
        with self._database() as database:
            database.products.update_many({}, {"$set": {"price": 0}})
            database.products.drop_index("slug_1")
            database.sessions.drop()
        next(self.project.volume("media").glob("*.bin")).write_bytes(b"overwritten")


class Coach(Composed):
    name, path, health = "coach", "/api/items", "/health"
    revision, table = "5a61e0b7c3f9", "plans"
    web = ("proxy", 80)
    holder, witness = "backend", "backend"  # its file is well, and nobody serves it

    def settings(self) -> Mapping[str, str]:
        return {"JWT_SECRET": secrets.token_hex(12)}

    def before_start(self) -> None:
        shutil.chown(self.project.directory / "config", 0, 0)

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.project.volume("data") / "coach.db", timeout=20)) as connection:
            yield connection

    def direct(self) -> dict[str, Any]:
        with self._database() as connection:
            rows = connection.execute("SELECT * FROM plans ORDER BY id").fetchall()
            objects = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
            mode = connection.execute("PRAGMA journal_mode").fetchone()
        return {"rows": rows, "objects": (objects, mode), "media": files(self.project.volume("data") / "media")}

    def harm(self) -> None:
        with self._database() as connection:
            connection.execute("UPDATE plans SET done = NULL, name = 'gone ' || id")
            connection.execute("DROP INDEX plans_name")
            connection.commit()
        next((self.project.volume("data") / "media").glob("*.bin")).write_bytes(b"overwritten")

    def sql(self, statement: str) -> str:
        with self._database() as connection:
            rows = connection.execute(statement).fetchall()
            connection.commit()
        return "\n".join("|".join(map(str, row)) for row in rows)

    def configuration(self) -> dict[str, Any]:
        return files(self.project.directory / "config")


# On a host with systemd -----------------------------------------------------------------------------

_FILES = """
cd /srv/garage/{instance}/uploads
find . -printf '%P %y %m %U\\n' | sort
find . -type f -print0 | sort -z | xargs -0 -r sha256sum
"""


@dataclasses.dataclass
class Garage(StandIn):
    """Production and development on one machine, which is a container. `stage` is the one that users reach."""

    stage: str = "production"

    name, path, health = "garage", "/items", "/health"
    revision, table = "0c5d7be21f08", "repairs"

    def __post_init__(self) -> None:
        self.machine = f"day2t-garage-{secrets.token_hex(3)}"
        self.password = secrets.token_hex(12)

    def run(self, *argv: str, stdin: str | None = None) -> str:
        return docker("exec", "-i", self.machine, *argv, stdin=stdin)

    def deploy(self) -> None:
        rights = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]
        places = ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
        control = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]
        docker("run", "-d", "--name", self.machine, *rights, *places, *control, "day2-test/webhost:bookworm")
        wait_until(self._is_up, "systemd is up")
        self.run("useradd", "--system", "garage")
        self.run("runuser", "-u", "postgres", "--", "psql", "-qXv", "ON_ERROR_STOP=1", stdin=_ROLE)
        for stage, database in (
            ("production", "postgresql:///garage"),
            ("development", "sqlite:////srv/garage/development/instance/garage.db"),
        ):
            home = f"/srv/garage/{stage}"
            self.run("install", "-d", "-o", "garage", home, f"{home}/uploads", f"{home}/instance")
            settings = f"DATABASE_URL={database}\nUPLOADS={home}/uploads\nSECRET_KEY={secrets.token_hex(12)}\n"
            self._write(f"/etc/garage/.env.{stage}", settings)
            self.run("chmod", "600", f"/etc/garage/.env.{stage}")
            code = STANDINS / "garage"
            for path in (code / "app.py", *(code / "migrations").rglob("*")):
                if path.is_file() and path.suffix in (".py", ".ini"):
                    self._write(f"{home}/{path.relative_to(code)}", path.read_text())
            self.run("python3", "-m", "venv", "--system-site-packages", "--without-pip", f"{home}/venv")
            unit = "garage.service" if stage == "production" else f"garage-{stage}.service"
            self._write(f"/etc/systemd/system/{unit}", (STANDINS / "garage" / unit).read_text())
            self.run("systemctl", "enable", "-q", "--now", unit)
        for stage in ("production", "development"):
            wait_until(self.at(stage).healthy, f"garage's {stage} is healthy")

    def _is_up(self) -> bool:
        state = docker("exec", self.machine, "systemctl", "is-system-running", check=False)
        return state in ("running", "degraded")

    def _write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)

    def write_revision(self, name: str, text: str | None) -> None:
        path = f"/srv/garage/{self.stage}/migrations/versions/{name}"
        if text is None:
            self.run("rm", path)
        else:
            self._write(path, text)

    def at(self, stage: str) -> Garage:
        other = dataclasses.replace(self, stage=stage)
        other.machine, other.password = self.machine, self.password
        return other

    def remove(self) -> None:
        docker("rm", "-f", "-v", self.machine, check=False)

    @contextlib.contextmanager
    def database_down(self) -> Iterator[None]:
        """Of SQLite: its file is away, and with it what the unit had open."""
        file = "/srv/garage/development/instance/garage.db"
        unit = "postgresql" if self.stage == "production" else "garage-development"
        self.run("systemctl", "stop", unit)
        if self.stage == "development":
            self.run("mv", file, f"{file}.away")
        try:
            yield
        finally:
            if self.stage == "development":
                self.run("mv", f"{file}.away", file)
            self.run("systemctl", "start", unit)
            wait_until(self.healthy, "garage is healthy again")

    def host(self) -> dict[str, Any]:
        return {
            "ansible_connection": "community.docker.docker",
            "ansible_host": self.machine,
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def variables(self) -> dict[str, Any]:
        return {"day2_repository_location": "/var/backups/day2", "vault_garage_repository_password": self.password}

    @property
    def address(self) -> str:
        ip = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.machine)
        return f"{ip}:{8001 if self.stage == 'production' else 8002}"

    def sql(self, statement: str) -> str:
        if self.stage == "production":
            return self.run("runuser", "-u", "postgres", "--", "psql", "-qXAt", "-d", "garage", "-c", statement)
        return self.run("sqlite3", "/srv/garage/development/instance/garage.db", statement)

    def direct(self) -> dict[str, Any]:
        objects = "SELECT sql FROM sqlite_master ORDER BY name"
        if self.stage == "production":
            objects = "SELECT c.relname, c.relkind, c.relowner::regrole FROM pg_class c WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        return {
            "rows": (self.sql("SELECT * FROM repairs ORDER BY id"), self.sql("SELECT * FROM alembic_version")),
            "objects": self.sql(objects),
            "uploads": self.run("sh", "-c", _FILES.format(instance=self.stage)),
        }

    def harm(self) -> None:
        self.sql("UPDATE repairs SET cost = 0")
        self.sql("CREATE INDEX stray ON repairs (name)")
        self.run("sh", "-c", f"cd /srv/garage/{self.stage}/uploads && echo overwritten > $(ls | head -n 1)")


_ROLE = """CREATE ROLE garage LOGIN;
CREATE DATABASE garage OWNER garage;
"""
