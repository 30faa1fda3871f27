# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords are in no command line, no result, no message, no log and no file that others can read."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from tests.integration.support.modules import ROOT
from tests.integration.support.recovery import Seed, World, make_key_cheap
from tests.integration.support.servers import ServerWorld, served  # noqa: F401

REPOSITORY = "Rp\"x'y\\z $HOME ü%s#; &|"
# Short ones, and what shells, option files and URLs stumble over.
PASSWORDS = ["qZ7", "qZ\"x'y\\\\z $HOME `id` ü%s#;=&|@:/?"]

_LOOK = """
import os, signal, sys
seen = set()
signal.signal(signal.SIGTERM, lambda *_: (sys.stdout.buffer.write(b"\\n".join(seen)), sys.stdout.flush(), os._exit(0)))
print("looking", flush=True)
while True:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    seen.add(stream.read().replace(b"\\n", b" "))
            except OSError:
                pass
"""


@contextlib.contextmanager
def command_lines() -> Iterator[list[str]]:
    """Every command line that any process of this machine has while the body runs (its containers' too)."""
    found: list[str] = []
    with subprocess.Popen([sys.executable, "-c", _LOOK], stdout=subprocess.PIPE) as looker:
        assert looker.stdout is not None
        looker.stdout.readline()
        try:
            yield found
        finally:
            looker.send_signal(signal.SIGTERM)
            found += looker.stdout.read().decode(errors="replace").splitlines()


def tells(text: str, secret: str) -> bool:
    """Whether a text tells a secret, as it is or in one of the forms it may be written in."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return any(form in text for form in forms)


def is_private(world: World) -> None:
    """Nobody else gets at what we made, and nothing of it holds a password in the clear."""
    for top in (world.home, world.state_dir / "cache", world.repository):
        assert top.stat().st_mode & 0o077 == 0, f"{top} is open to others"
    for path in world.repository.rglob("*"):
        assert path.lstat().st_mode & 0o007 == 0, f"{path} is open to others"


@pytest.mark.parametrize("password", PASSWORDS, ids=["short", "special"])
def test_no_password_is_visible_anywhere(served: ServerWorld, password: str) -> None:  # noqa: F811
    """During a backup, a proof and a restore: processes, results, the server's log, files."""
    world, user = served, f"{served.name}_ops"
    if world.engine in ("mariadb", "mysql"):
        quoted = password.replace("\\", "\\\\").replace("'", "\\'")
        world.server.run(f"CREATE USER `{user}`@`%` IDENTIFIED BY '{quoted}'")
        world.server.run(f"GRANT ALL ON *.* TO `{user}`@`%` WITH GRANT OPTION")
        world.server.run("TRUNCATE mysql.general_log", "SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1")
    else:
        role = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password))
        world.server.run(role.as_string())
    world.options = {"user": user, "password": password}
    if world.server.kind == "host":
        world.options |= {"host": world.server.host, "port": world.server.port, "socket": None, "run_as": None}
    change_repository_password(world)

    with command_lines() as seen:
        outcomes = [
            world.run("backup"),
            world.run("backup_verify"),
            world.run("restore", replace=True),
            world.run("backup_info"),
        ]
    wrong = world.run("backup", datastores=[{**world.datastores()[0], "password": password + "!"}])
    for outcome in outcomes:
        assert not outcome.failed, outcome.msg
    assert len(outcomes[2]["restore"]["safety_backup"]) == 23, "an id was struck"
    assert wrong.failed
    assert f'{world.engine} datastore "main"' in wrong.msg
    assert any(world.dump_tool in line for line in seen), "the sampling saw nothing"
    assert any("restic" in line for line in seen)
    for secret in (password, REPOSITORY):
        assert not [line for line in seen if tells(line, secret) and _LOOK not in line]
        for outcome in (*outcomes, wrong):
            assert not tells(outcome.stdout + outcome.stderr, secret)
        for path in (each for each in world.root.rglob("*") if each.is_file()):
            assert secret.encode() not in path.read_bytes(), f"{path} holds it"
    if world.engine in ("mariadb", "mysql"):
        world.server.run("SET GLOBAL general_log = 0")
        log = str(world.server.rows("SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log"))
        assert world.name in log
    else:
        name = world.server.options.get("container")
        log = world.server.log.read_text(errors="replace") if world.server.log else ""
        if name:
            log = subprocess.run(["docker", "logs", name], check=True, capture_output=True).stderr.decode()
        log = "\n".join(line for line in log.splitlines() if "CREATE ROLE" not in line)  # this test's own
    assert not tells(log, password)
    is_private(world)


def change_repository_password(world: World) -> None:
    with_new = {**world.restic_environment(), "RESTIC_PASSWORD": REPOSITORY}
    world.password = REPOSITORY
    subprocess.run(["rm", "-rf", str(world.repository)], check=True)
    subprocess.run(["restic", "init"], env=with_new, check=True, stdout=subprocess.DEVNULL)
    make_key_cheap(world.repository, REPOSITORY)


def test_through_ansible_at_its_loudest(world: World, seed: Seed) -> None:
    """`ansible -vvv` shows a module's arguments, its result and what it printed."""
    change_repository_password(world)
    arguments = json.dumps(world.arguments("backup"))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections")}
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible"), "localhost", "-vvvv", "-c", "local"),
            *("-e", f"ansible_python_interpreter={sys.executable}", "-m", "day2.ops.backup", "-a", arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CHANGED" in done.stdout
    assert not tells(done.stdout + done.stderr, REPOSITORY)
    is_private(world)


@pytest.mark.parametrize("module", ["backup", "backup_info", "backup_verify", "restore", "backup_retention"])
def test_what_a_location_holds_besides_the_host_is_secret(world: World, seed: Seed, module: str) -> None:
    """`rest:https://user:password@host/`: by the environment, never by argv, and struck from messages."""
    location = f"rest:http://anna:{'qZ7%24secret' if module != 'restore' else 'qZ7@secret'}@127.0.0.1:1/x/"
    repository = {**world.arguments("backup")["repository"], "location": location}
    more = {"keep_last": 1} if module == "backup_retention" else {}
    with command_lines() as seen:
        failed = world.run(module, repository=repository, **more)
    assert "cannot be reached" in failed.msg
    assert "127.0.0.1:1" in failed.msg
    for secret in ("qZ7", "secret"):
        assert secret not in failed.stdout + failed.stderr
        assert not [line for line in seen if secret in line and _LOOK not in line and "pytest" not in line]


def test_settings_of_the_store_are_struck_only_where_they_are_secrets(world: World, seed: Seed) -> None:
    """A short setting, struck from a result, would make holes in ids and times."""
    world.environment = {"RESTIC_READ_CONCURRENCY": "2", "AWS_SECRET_ACCESS_KEY": "qZ7", "OTHER": "qZ7 and more"}
    outcome = world.run("backup")
    assert outcome["backup"]["id"].startswith("20")
    assert "*" not in json.dumps(outcome["backup"])
    assert "qZ7" not in outcome.stdout


def test_another_user_of_the_machine_reads_nothing(world: World, seed: Seed) -> None:
    """The state directory is made by us, under whatever umask the connection has."""
    subprocess.run(["rm", "-rf", str(world.state_dir)], check=True)

    def open_umask() -> None:
        os.umask(0)

    datastores = world.with_configuration()
    backup = world.run("backup", prelude=open_umask, datastores=datastores)["backup"]["id"]
    world.run("backup_verify", prelude=open_umask, datastores=datastores)["changed"]
    world.restore(prelude=open_umask, backup=backup, datastores=datastores)["changed"]
    for path in (world.root / "app", world.root):
        path.chmod(0o755)
    reading = subprocess.run(
        ["find", str(world.state_dir), str(world.repository), "-type", "f", "-readable"],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert reading.stdout.splitlines() == []
    assert world.env_file.stat().st_mode & 0o777 == 0o640
    is_private(world)


def test_a_live_password_is_used_as_the_service_gets_it_and_never_shown(world: World, seed: Seed) -> None:
    """A restore's diff and an altered manifest's message tell tables and hashes, never an env file's values."""
    datastores = world.with_configuration()
    world.env_file.write_text("DB_PASSWORD=qZ7-live-secret\n")
    world.run("backup", datastores=datastores)["changed"]
    world.env_file.write_text("DB_PASSWORD=qZ7-newer-secret\n")
    outcome = world.restore(datastores=datastores, only=["config"])
    assert outcome["changed"]
    assert "qZ7" not in outcome.stdout + outcome.stderr
