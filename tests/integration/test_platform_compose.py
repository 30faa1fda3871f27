# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform on a real Compose application: passwords, ways in, who uses what, stopping and starting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore
from ansible_collections.day2.ops.plugins.module_utils._platform import (
    access,
    consumers,
    coverage,
    release,
    services,
)
from ansible_collections.day2.ops.plugins.module_utils._platform.access import Access
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.consumer import Consumer, Usage
from ansible_collections.day2.ops.plugins.module_utils._platform.docker import Docker
from ansible_collections.day2.ops.plugins.module_utils._platform.variables import Variables

from tests.integration.support.compose import (
    IMAGE,
    ROOT_PASSWORD,
    TOKEN,
    USER_PASSWORD,
    ComposeProject,
    docker,
    wait_until,
)

pytestmark = [pytest.mark.docker, pytest.mark.mariadb]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, warnings: list[str]) -> Context:
    return Context(App("booking", "production"), tmp_path, warnings.append)


def resolve(project: ComposeProject, context: Context, **options: str) -> Access:
    options = {"container": f"{project.name}/db", **options}
    return access.resolve(Datastore("main", "mariadb", options=options), context, Application(), 3306)


def login(way: Access, user: str) -> tuple[str, ...]:
    place = {"unix_socket": way.socket} if way.socket else {"host": way.host, "port": way.port}
    with contextlib.closing(
        pymysql.connect(user=user, password=way.password, connect_timeout=10, **place)
    ) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT CURRENT_USER()")
            return tuple(cursor.fetchone())


def usage(way: Access, *addresses: str) -> Usage:
    return Usage(way.hosts, 3306, "booking", way.container, addresses=addresses)


def names(project: ComposeProject, found: list[Consumer]) -> dict[str, str]:
    return {one.name.removeprefix(f"{project.name}-").removesuffix("-1"): one.reason for one in found}


# Passwords and ways in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "variable", "expected", "user"),
    [
        ("password_variable", "DB_ROOT_PASSWORD", ROOT_PASSWORD, "root"),  # of the project's env file
        ("password_variable", "MARIADB_ROOT_PASSWORD", ROOT_PASSWORD, "root"),  # of the service
        ("password_variable", "DB_PASSWORD", USER_PASSWORD, "booking"),  # a default in the compose file
        ("password_url", "DATABASE_URL", USER_PASSWORD, "booking"),  # of another service, in a URL
    ],
    ids=["env-file", "service", "default", "url"],
)
def test_a_named_password_opens_the_server_at_its_internal_address(
    compose_project: ComposeProject, context: Context, option: str, variable: str, expected: str, user: str
) -> None:
    way = resolve(compose_project, context, **{option: variable})
    assert way.password == expected
    assert login(way, user)[0].startswith(f"{user}@")
    assert {"db", "database", compose_project.container("db")} <= set(way.hosts)
    assert expected in context.secrets.values


def test_a_secret_in_a_file_is_read_inside_the_container(compose_project: ComposeProject, context: Context) -> None:
    assert resolve(compose_project, context, password_variable="TOKEN").password == TOKEN


def test_a_project_answers_for_a_datastore_that_is_in_no_container(
    compose_project: ComposeProject, context: Context
) -> None:
    assert Variables(context, Application(compose_project.name)).find("DB_ROOT_PASSWORD").value == ROOT_PASSWORD
    with pytest.raises(Refused, match="looked in: project day2t-nosuch, which has no containers"):
        Variables(context, Application("day2t-nosuch")).find("DB_ROOT_PASSWORD")


def test_a_rotated_password_is_read_anew_without_a_restart(
    compose_project: ComposeProject, context: Context, warnings: list[str]
) -> None:
    with compose_project.changed(compose_project.env_file, "DB_ROOT_PASSWORD='ro$tated #1'\n"):
        assert resolve(compose_project, context, password_variable="DB_ROOT_PASSWORD").password == "ro$tated #1"
        assert resolve(compose_project, context, password_variable="MARIADB_ROOT_PASSWORD").password == "ro$tated #1"
    assert any("changed since the container was started" in one for one in warnings)
    assert not any("ro$tated" in one or ROOT_PASSWORD in one for one in warnings)


def test_where_the_projects_files_are_gone_the_running_container_answers(
    compose_project: ComposeProject, context: Context, warnings: list[str]
) -> None:
    hidden = compose_project.file.rename(compose_project.directory / "elsewhere.yml")
    try:
        way = resolve(compose_project, context, password_variable="MARIADB_ROOT_PASSWORD")
    finally:
        hidden.rename(compose_project.file)
    assert way.password == ROOT_PASSWORD
    assert any("compose.yml" in one and "is gone" in one for one in warnings)


def test_a_project_that_compose_cannot_read_answers_from_the_running_container(
    compose_project: ComposeProject, context: Context, warnings: list[str]
) -> None:
    with compose_project.changed(compose_project.env_file, "# DB_ROOT_PASSWORD was exported by hand\n"):
        way = resolve(compose_project, context, password_variable="MARIADB_ROOT_PASSWORD")
    assert way.password == ROOT_PASSWORD
    assert any("required variable DB_ROOT_PASSWORD" in one for one in warnings)


def test_a_server_without_any_network_is_reached_through_its_socket(context: Context) -> None:
    name = "day2t-no-network"
    docker("run", "-d", "--name", name, "--network", "none", "-e", f"MARIADB_ROOT_PASSWORD={ROOT_PASSWORD}", IMAGE)
    try:
        wait_until(lambda: docker("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy", "it is healthy")
        options = {"container": name, "password_variable": "MARIADB_ROOT_PASSWORD"}
        way = access.resolve(Datastore("main", "mariadb", options=options), context, Application(), 3306)
        assert way.host is None
        assert login(way, "root") == ("root@localhost",)
    finally:
        docker("rm", "-f", "-v", name, check=False)


def test_missing_and_stopped_containers_are_told_apart(compose_project: ComposeProject, context: Context) -> None:
    with pytest.raises(Unavailable, match=f'service "{compose_project.name}/dbb" has no container.*/db'):
        resolve(compose_project, context, container=f"{compose_project.name}/dbb")
    docker("stop", "-t", "1", compose_project.container("frontend"))
    try:
        with pytest.raises(Unavailable, match="frontend-1 is not running but exited"):
            resolve(compose_project, context, container=f"{compose_project.name}/frontend")
    finally:
        docker("start", compose_project.container("frontend"))


def test_a_one_off_container_does_not_stand_in_for_its_service(compose_project: ComposeProject) -> None:
    identifier = compose_project.compose("run", "-d", "--no-deps", "worker", "sleep infinity")
    try:
        with Docker() as engine, pytest.raises(Unavailable, match="has no container"):
            engine.find(f"{compose_project.name}/worker")
    finally:
        docker("rm", "-f", "-v", identifier)


# Who uses it ----------------------------------------------------------------------------------------


@pytest.fixture
def session(compose_project: ComposeProject) -> None:
    """`quiet` has an open session on the database."""
    question = (
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%sleep(3600)%' AND user = 'booking'"
    )
    argv = ["exec", "-e", f"MYSQL_PWD={ROOT_PASSWORD}", compose_project.container("db"), "mariadb", "-Ne", question]
    wait_until(lambda: docker(*argv, check=False) == "1", "the session is open")


@pytest.mark.usefixtures("session")
def test_services_are_found_by_variable_connection_and_as_one_off_jobs(
    compose_project: ComposeProject, context: Context
) -> None:
    way = resolve(compose_project, context)
    job = compose_project.compose("run", "-d", "--no-deps", "worker", "sleep infinity")
    try:
        found = consumers.find(context, Application(compose_project.name), usage(way))
    finally:
        docker("rm", "-f", "-v", job)
    by_name = {one.name: one for one in found if compose_project.name in one.name}
    (oneoff,) = [one for name, one in by_name.items() if "-worker-run-" in name]
    assert (oneoff.reason, oneoff.again) == ("its variable DB_HOST points to it", False)
    assert names(compose_project, [one for one in found if one is not oneoff]) == {
        "web": "its variable DATABASE_URL points to it",
        "quiet": "it is connected to it",
    }
    assert by_name[compose_project.container("web")].id == compose_project.inspect("web", "{{.Id}}")


@pytest.mark.usefixtures("session")
def test_a_sidecar_in_the_servers_network_is_found_by_its_connection(
    compose_project: ComposeProject, context: Context
) -> None:
    name = f"{compose_project.name}-sidecar-1"
    client = ["mariadb", "-h", "127.0.0.1", "-e", "select sleep(3600)"]
    network = f"container:{compose_project.container('db')}"
    environment = ["-e", f"MYSQL_PWD={ROOT_PASSWORD}"]
    docker("run", "-d", "--init", "--name", name, "--network", network, *environment, IMAGE, *client)
    try:
        way = resolve(compose_project, context)

        def found() -> dict[str, str]:
            return names(compose_project, consumers.find(context, Application(compose_project.name), usage(way)))

        wait_until(lambda: found().get("sidecar") == "it is connected to it", "the session is seen", 20)
    finally:
        docker("rm", "-f", "-v", name, check=False)


@pytest.mark.usefixtures("session")
def test_the_servers_own_container_is_not_found(compose_project: ComposeProject, context: Context) -> None:
    # Neither by its variable DB_HOST, nor by a session from inside.
    client = ["exec", "-d", "-e", f"MYSQL_PWD={ROOT_PASSWORD}", compose_project.container("db")]
    docker(*client, "mariadb", "-h", "127.0.0.1", "-e", "select sleep(15) as inside")
    listing = ["exec", "-e", f"MYSQL_PWD={ROOT_PASSWORD}", compose_project.container("db"), "mariadb", "-e"]
    wait_until(lambda: "as inside" in docker(*listing, "show full processlist"), "the session is open")
    found = consumers.find(context, Application(compose_project.name), usage(resolve(compose_project, context)))
    assert set(names(compose_project, found)) == {"web", "quiet"}


def test_a_service_behind_a_profile_is_known_to_compose(compose_project: ComposeProject, context: Context) -> None:
    compose_project.compose("--profile", "jobs", "up", "-d", "--no-deps", "worker")
    try:
        with Docker() as engine:
            worker = engine.find(f"{compose_project.name}/worker")
        found = Variables(context, Application(), worker).find("DB_PORT")
    finally:
        docker("rm", "-f", "-v", compose_project.container("worker"))
    assert (found.value, found.source) == ("3306", f"service worker of project {compose_project.name}")


def test_a_session_that_the_server_sees_names_its_container(compose_project: ComposeProject, context: Context) -> None:
    way = resolve(compose_project, context)
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = compose_project.inspect("frontend", form)
    found = consumers.find(context, Application(compose_project.name), usage(way, address))
    assert names(compose_project, found)["frontend"] == "it is connected to it"


def test_containers_that_mount_a_restored_directory_are_found(
    compose_project: ComposeProject, context: Context
) -> None:
    uploads = Usage(paths=(str(compose_project.volume("uploads")),))
    found = consumers.find(context, Application(compose_project.name), uploads)
    assert names(compose_project, found) == {
        "web": f"it mounts {compose_project.name}_uploads at /app/uploads",
        "thumbnails": f"it mounts {compose_project.name}_uploads at /in",
    }


HOLD = "import sys, time; f = open(sys.argv[1]); time.sleep(600)"


@contextlib.contextmanager
def holder(path: Path) -> Iterator[int]:
    """A process that has a file open and is not our child."""
    # The shell in between ends at once, so that the process belongs to pid 1.
    argv = ["sh", "-c", '"$@" >/dev/null 2>&1 </dev/null & echo $!', "sh", sys.executable, "-c", HOLD, str(path)]
    pid = int(subprocess.run(argv, capture_output=True, check=True, start_new_session=True).stdout)
    try:
        held = Path(f"/proc/{pid}/fd")
        wait_until(lambda: any(os.readlink(one) == str(path) for one in held.iterdir()), "the file is open")
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_process_that_has_a_file_open_is_named_and_stops_nothing(
    compose_project: ComposeProject, context: Context
) -> None:
    uploads = compose_project.volume("uploads")
    (uploads / "a.jpg").write_text("x")
    with holder(uploads / "a.jpg") as pid:
        found = consumers.find(context, Application(compose_project.name), Usage(paths=(str(uploads),)))
        (process,) = [one for one in found if one.kind == "process"]
        assert (process.id, process.reason) == (str(pid), f"it has {uploads}/a.jpg open")
        with pytest.raises(Refused, match=f"process {pid} .*End it"):
            services.stop(found)
        assert compose_project.inspect("web", "{{.State.Running}}") == "true"
    wait_until(lambda: not services.running([process]), "it has ended")


def test_our_own_open_files_are_not_reported(compose_project: ComposeProject, context: Context) -> None:
    notes = compose_project.directory / "notes"
    with open(notes / "mine.txt", "w", encoding="utf-8"):
        found = consumers.find(context, Application(), Usage(paths=(str(notes),)))
    assert names(compose_project, found) == {"thumbnails": f"it mounts {notes} at /notes"}


# Stopping and starting ------------------------------------------------------------------------------


@pytest.mark.usefixtures("session")
def test_what_is_stopped_stays_down_and_comes_back(compose_project: ComposeProject, context: Context) -> None:
    way = resolve(compose_project, context)
    job = compose_project.compose("run", "-d", "--no-deps", "worker", "sleep infinity")
    found = consumers.find(context, Application(compose_project.name), usage(way))
    try:
        services.stop(found)
        services.stop(found)
        # `web` has restart: always; a docker stop overrides it.
        assert services.running(found) == []
        assert consumers.find(context, Application(compose_project.name), usage(way)) == []
        assert compose_project.inspect("db", "{{.State.Running}}") == "true"
        assert compose_project.inspect("frontend", "{{.State.Running}}") == "true"
    finally:
        # From the journal, as after a kill; twice, as a second run does.
        notes = services.start([Consumer.from_json(one.to_json()) for one in found])
        services.start(found)
        docker("rm", "-f", "-v", job)
    assert len(notes) == 1
    assert "one-off job; it was not started again" in notes[0]
    for service in ("web", "quiet"):
        assert compose_project.inspect(service, "{{.State.Running}}") == "true"


def test_a_users_names_are_checked_before_anything_is_stopped(compose_project: ComposeProject) -> None:
    found = services.named([f"{compose_project.name}/web", compose_project.container("thumbnails")])
    assert [one.name for one in found] == [compose_project.container("web"), compose_project.container("thumbnails")]
    with pytest.raises(Unavailable, match="web"):
        services.named([f"{compose_project.name}/wbe"])


def test_a_container_that_docker_will_not_start_says_why(compose_project: ComposeProject) -> None:
    name = f"{compose_project.name}-broken"
    docker("create", "--name", name, "--entrypoint", "/no/such/program", IMAGE)
    try:
        identifier = docker("inspect", "-f", "{{.Id}}", name)
        with pytest.raises(Unavailable, match=rf"container {name} \(Docker refused .*no such file.*Start them by hand"):
            services.start([Consumer("container", name, identifier)])
    finally:
        docker("rm", "-f", "-v", name)


def test_a_container_that_is_gone_is_said_not_failed(compose_project: ComposeProject) -> None:
    gone = Consumer("container", "day2t-gone", "f" * 64)
    services.stop([gone])
    assert services.start([gone]) == ["container day2t-gone is gone; start it with what made it"]


# What is not covered --------------------------------------------------------------------------------


def test_what_no_datastore_covers_is_listed_until_it_is_described_or_acknowledged(
    compose_project: ComposeProject, context: Context
) -> None:
    name = compose_project.name
    notes = str(compose_project.directory / "notes")
    found = coverage.find(context, Application(name), coverage.Covered())
    assert {(one.kind, one.name) for one in found} == {
        ("server", "db"),
        ("volume", f"{name}_uploads"),
        ("path", notes),
    }
    covered = coverage.Covered(
        paths=(notes,), volumes=(f"{name}_uploads",), containers=(compose_project.inspect("db", "{{.Id}}"),)
    )
    assert coverage.find(context, Application(name), covered) == []
    assert coverage.find(context, Application(name, uncovered=("db", "uploads", notes)), coverage.Covered()) == []


def test_the_release_is_known(compose_project: ComposeProject) -> None:
    facts = release.release_facts(compose_project.name)
    argv = ["git", "-C", str(compose_project.directory), "rev-parse", "HEAD"]
    assert facts["git_commit"] == subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()
    assert set(facts["images"]) == {"db", "web", "quiet", "thumbnails", "frontend"}
    assert facts["images"]["db"] == {"image": IMAGE, "id": compose_project.inspect("db", "{{.Image}}")}


def test_a_checkout_of_another_user_is_read(compose_project: ComposeProject) -> None:
    git = compose_project.directory / ".git"
    os.chown(git, 12345, 12345)
    os.chown(compose_project.directory, 12345, 12345)
    try:
        assert "git_commit" in release.release_facts(compose_project.name)
    finally:
        os.chown(git, 0, 0)
        os.chown(compose_project.directory, 0, 0)
