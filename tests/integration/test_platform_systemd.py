# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform on a host with systemd: units, their timers and environment files, who holds what open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.support.compose import wait_until
from tests.integration.support.systemd import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.postgresql]

UPLOADS = "/srv/garage/uploads"
PASSWORD = "gar$age #1 pass"

UNITS = {
    # Peer authentication through the socket, with a session that stays open; no variable says so.
    "garage": """
        [Service]
        User=postgres
        EnvironmentFile=/etc/garage/env
        ExecStart=/usr/bin/psql -d garage -c "select pg_sleep(3600)"
        """,
    "report": """
        [Service]
        User=postgres
        ExecStart=/usr/bin/psql -h 127.0.0.1 -p 5432 -d garage -c "select pg_sleep(3600)"
        Environment=PGUSER=reporter PGPASSWORD=reporter
        """,
    "idle": """
        [Service]
        Environment=DATABASE_URL=postgresql://u:p@localhost:5432/garage
        ExecStart=/usr/bin/sleep infinity
        """,
    "other": """
        [Service]
        Environment=DATABASE_URL=postgresql://u:p@localhost:5432/another REDIS_HOST=localhost
        ExecStart=/usr/bin/sleep infinity
        """,
    "nightly": """
        [Service]
        Type=oneshot
        EnvironmentFile=/etc/garage/env
        ExecStart=/usr/bin/true
        """,
    "thumbnails": f"""
        [Service]
        PrivateTmp=yes
        ProtectSystem=strict
        ExecStart=/usr/bin/tail -f {UPLOADS}/a.jpg
        """,
}


@pytest.fixture(scope="module")
def garage(systemd_host: SystemdHost) -> Iterator[SystemdHost]:
    host = systemd_host
    for name, text in UNITS.items():
        host.write(f"/etc/systemd/system/day2t-{name}.service", text)
    host.write("/etc/systemd/system/day2t-nightly.timer", "[Timer]\nOnCalendar=03:00\n")
    host.write("/etc/garage/env", f'DATABASE_URL="postgresql:///garage"\nDB_PASSWORD="{PASSWORD}"\n')
    host.write(f"{UPLOADS}/a.jpg", "x")
    wait_until(lambda: host.active("postgresql@15-main.service"), "PostgreSQL runs")
    role = "create role reporter login password 'reporter'; create database garage owner reporter"
    for statement in role.split("; "):
        host.run("runuser", "-u", "postgres", "--", "psql", "-c", statement)
    host.run("systemctl", "daemon-reload")
    names = [f"day2t-{name}.service" for name in UNITS if name != "nightly"]
    host.run("systemctl", "start", *names, "day2t-nightly.timer")
    busy = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"
    wait_until(lambda: host.run("runuser", "-u", "postgres", "--", "psql", "-Atc", busy) == "2", "sessions are open")
    yield host
    host.run("systemctl", "stop", *names, "day2t-nightly.timer")
    for name in UNITS:
        host.run("rm", "-f", f"/etc/systemd/system/day2t-{name}.service")
    host.run("rm", "-f", "/etc/systemd/system/day2t-nightly.timer")
    host.run("systemctl", "daemon-reload")


FIND = """
way = access.resolve(Datastore("main", "postgresql", options={options}), context, Application(), 5432)
usage = Usage(hosts=way.hosts, port=5432, database="garage")
found = consumers.find(context, Application(), usage)
answer([[one.kind, one.name, one.reason] for one in found])
"""


def test_units_and_the_timers_that_start_them_are_found(garage: SystemdHost) -> None:
    found = garage.python(FIND.format(options={"run_as": "postgres"}))
    assert {(kind, name): reason for kind, name, reason in found} == {
        ("unit", "day2t-garage.service"): "it is connected to it",
        ("unit", "day2t-report.service"): "it is connected to it",
        ("unit", "day2t-idle.service"): "its variable DATABASE_URL points to it",
        ("timer", "day2t-nightly.timer"): "it starts day2t-nightly.service",
    }


def test_the_unit_that_we_run_in_is_not_found(garage: SystemdHost) -> None:
    before = (
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--unit=day2t-restore",
        "-p",
        "Environment=DB_HOST=localhost",
    )
    found = garage.python(FIND.format(options={"run_as": "postgres"}), *before)
    assert "day2t-restore.service" not in {name for _, name, _ in found}
    assert "day2t-garage.service" in {name for _, name, _ in found}


def test_units_that_the_user_names_are_the_applications(garage: SystemdHost) -> None:
    found = garage.python(
        """
        application = Application(units=("day2t-other.service",))
        found = consumers.find(context, application, Usage(paths=("/srv/nothing",)))
        answer([[one.kind, one.name, one.reason] for one in found])
        """
    )
    assert found == [["unit", "day2t-other.service", "it runs the application"]]


def test_who_has_a_file_open_is_found_also_in_a_mount_namespace_of_its_own(garage: SystemdHost) -> None:
    # Nobody's child, in no unit: as someone's forgotten shell.
    script = f"exec 3<{UPLOADS}/a.jpg; exec sleep 3600"
    pid = garage.run("sh", "-c", f"setsid bash -c '{script}' >/dev/null 2>&1 </dev/null & echo $!")
    try:
        wait_until(lambda: garage.run("cat", f"/proc/{pid}/comm") == "sleep", "the file is open")
        found = garage.python(
            f"""
            found = consumers.find(context, Application(), Usage(paths=({UPLOADS!r},)))
            try:
                services.stop(found)
            except OpsError as error:
                refused = str(error)
            answer([[[one.kind, one.name, one.id, one.reason] for one in found], refused])
            """
        )
    finally:
        garage.run("kill", "-9", pid)
    holding = f"it has {UPLOADS}/a.jpg open"
    consumers, refused = found
    assert sorted(consumers) == [
        ["process", "sleep", pid, holding],
        ["unit", "day2t-thumbnails.service", "day2t-thumbnails.service", holding],
    ]
    assert f"process {pid} (sleep)" in refused
    assert garage.active("day2t-thumbnails.service")


def test_units_are_stopped_with_their_timers_and_come_back(garage: SystemdHost) -> None:
    answer = garage.python(
        """
        found = services.named(["day2t-garage.service", "day2t-nightly.service"])
        services.stop(found)
        services.stop(found)
        answer([[[one.kind, one.name] for one in found], [one.name for one in services.running(found)]])
        """
    )
    assert answer == [[["unit", "day2t-garage.service"], ["timer", "day2t-nightly.timer"]], []]
    assert not garage.active("day2t-garage.service")
    assert not garage.active("day2t-nightly.timer")
    garage.python(
        """
        found = [Consumer("timer", "day2t-nightly.timer", "day2t-nightly.timer"),
                 Consumer("unit", "day2t-garage.service", "day2t-garage.service")]
        answer(services.start(found))
        """
    )
    assert garage.active("day2t-garage.service")
    assert garage.active("day2t-nightly.timer")


def test_a_unit_that_does_not_exist_is_refused(garage: SystemdHost) -> None:
    message = garage.python(
        """
        try:
            services.named(["day2t-idle.service", "nosuch.service"])
        except OpsError as error:
            answer(str(error))
        """
    )
    assert "there is no systemd unit nosuch.service on this host" in message
    assert garage.active("day2t-idle.service")


def test_a_password_is_read_from_a_units_environment_file(garage: SystemdHost) -> None:
    found = garage.python(
        """
        look = variables.Variables(context, Application(units=("day2t-garage.service",)))
        found = look.find("DB_PASSWORD")
        answer([found.value, found.source])
        """
    )
    assert found == [PASSWORD, "the environment of day2t-garage.service"]


def test_what_a_unit_points_to_and_no_datastore_covers_is_listed(garage: SystemdHost) -> None:
    found = garage.python(
        """
        application = Application(units=("day2t-other.service",))
        none = coverage.find(context, application, coverage.Covered())
        both = coverage.Covered(hosts=(("localhost", 5432), ("localhost", 6379)))
        one = coverage.Covered(hosts=(("127.0.0.1", 5432),))
        answer([[str(x) for x in coverage.find(context, application, c)] for c in (coverage.Covered(), one, both)])
        """
    )
    database = "server localhost:5432 (DATABASE_URL of day2t-other.service)"
    cache = "server localhost (REDIS_HOST of day2t-other.service)"
    assert found == [[database, cache], [cache], []]
