# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables: looked up where the service takes them from, the nearest place first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._platform import compose, containers, systemd, variables
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.compose import Project, Service
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container
from ansible_collections.day2.ops.plugins.module_utils._platform.variables import Variables

RECORDED = json.loads((Path(__file__).parent / "data" / "inspect-20.10.json").read_text())


@dataclasses.dataclass
class Compose:
    """Stands in for Compose: what it would print."""

    services: dict[str, Service] = dataclasses.field(default_factory=dict)
    templates: list[str] = dataclasses.field(default_factory=list)
    env_file: Path = Path("/nowhere/.env")
    fails: str = ""

    def project(self, container: Container) -> Project:
        return Project("booking", self.env_file.parent, (), (self.env_file,))

    def resolved(self, project: Project, wanted: str = "") -> dict[str, Service]:
        if self.fails:
            raise Unavailable(self.fails)
        return self.services

    def texts(self, project: Project) -> Iterator[str]:
        return iter(self.templates)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compose:
    fake = Compose(env_file=tmp_path / ".env")
    monkeypatch.setattr(compose, "project_of", fake.project)
    monkeypatch.setattr(compose, "services", fake.resolved)
    monkeypatch.setattr(compose, "templates", fake.texts)
    return fake


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, warnings: list[str]) -> Context:
    return Context(App("booking", "production"), tmp_path, warnings.append)


@pytest.fixture
def look(context: Context) -> Variables:
    return Variables(context, Application(), containers.parse(RECORDED["db"]))


def services(**environments: dict[str, str]) -> dict[str, Service]:
    return {name: Service(name, environment) for name, environment in environments.items()}


def test_the_services_own_environment_comes_first(fake: Compose, look: Variables) -> None:
    fake.services = services(db={"PW": "own"}, web={"PW": "other"})
    fake.env_file.write_text("PW=file\n")
    found = look.find("PW")
    assert (found.value, found.source) == ("own", "service db of project booking")
    assert "own" in look.context.secrets.values
    assert "own" not in repr(found)


def test_then_other_services_then_the_env_file_then_defaults(fake: Compose, look: Variables) -> None:
    fake.services = services(db={}, web={"A": "from-web"})
    fake.env_file.write_text("A=from-file\nB=from-file\n")
    fake.templates = ["${B:-default}", "mysql://u:${C:-changeme}@db/x", "${D-a$$b}", "$${E:-no}", "${F:-${B}}"]
    assert look.find("A").value == "from-web"
    assert look.find("B").value == "from-file"
    assert look.find("C").value == "changeme"
    assert look.find("D").value == "a$b"
    assert look.find("F").value == "from-file"
    with pytest.raises(Refused):
        look.find("E")


def test_services_that_do_not_agree_are_refused(fake: Compose, look: Variables) -> None:
    fake.services = services(db={}, web={"PW": "one-secret"}, job={"PW": "two-secret"})
    with pytest.raises(Refused, match="PW has different values in the services job, web") as error:
        look.find("PW")
    assert "one-secret" not in str(error.value)


def test_where_compose_cannot_be_asked_the_running_container_answers(
    fake: Compose, look: Variables, warnings: list[str]
) -> None:
    fake.fails = "the Compose plugin is not installed"
    found = look.find("MARIADB_ROOT_PASSWORD")
    assert found.value == "root-pw-123"
    assert found.source == "the environment of container booking-db-1"
    assert "not installed; variables are looked up in the running containers" in warnings[0]


def test_a_value_that_was_changed_since_the_container_started_earns_a_warning(
    fake: Compose, look: Variables, warnings: list[str]
) -> None:
    fake.services = services(db={"MARIADB_ROOT_PASSWORD": "edited-since"})
    assert look.find("MARIADB_ROOT_PASSWORD").value == "edited-since"
    assert "changed since the container was started" in warnings[0]
    assert "edited-since" not in warnings[0]
    assert "root-pw-123" not in warnings[0]


def test_an_empty_value_is_passed_over_and_named_when_it_is_all_there_is(fake: Compose, look: Variables) -> None:
    fake.services = services(db={"PW": ""}, web={})
    with pytest.raises(Refused, match="the variable PW is empty"):
        look.find("PW")
    fake.env_file.write_text("PW=there\n")
    assert look.find("PW").value == "there"


def test_a_missing_variable_names_where_was_looked_and_what_is_near(fake: Compose, look: Variables) -> None:
    fake.services = services(db={"DB_ROOT_PASSWORD": "x"}, web={})
    with pytest.raises(Refused) as error:
        look.find("DB_ROOT_PASWORD")
    message = str(error.value)
    assert "there is no variable DB_ROOT_PASWORD (looked in: service db of project booking" in message
    assert "the environment of container booking-db-1" in message
    assert "Did you mean DB_ROOT_PASSWORD" in message


def test_a_variable_that_names_a_file_is_read_inside(
    fake: Compose, look: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def inside(self: Variables, container: Container, path: str) -> str:
        read.append(f"{container.name}:{path}")
        return "from-the-secret"

    monkeypatch.setattr(Variables, "_read_inside", inside)
    fake.services = services(db={"PW_FILE": "/run/secrets/pw"})
    assert look.find("PW").value == "from-the-secret"
    assert read == ["booking-db-1:/run/secrets/pw"]
    assert "from-the-secret" in look.context.secrets.values


def test_env_files_of_an_application_without_containers_are_read(context: Context, tmp_path: Path) -> None:
    (tmp_path / ".env.production").write_text("DB_PASSWORD='of the file'\n")
    look = Variables(context, Application(env_files=(str(tmp_path / ".env.production"),)))
    assert look.find("DB_PASSWORD").value == "of the file"
    with pytest.raises(Refused, match=r"looked in: .*\.env\.production"):
        look.find("NO_SUCH_THING")


def test_a_unit_that_cannot_be_read_does_not_hide_the_env_file(
    context: Context, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(unit: str) -> dict[str, str]:
        raise Unavailable(f"/etc/garage/env, an environment file of {unit}, does not exist")

    monkeypatch.setattr(systemd, "environment", environment)
    (tmp_path / "x.env").write_text("PW=there\n")
    application = Application(units=("garage.service", "garage.timer"), env_files=(str(tmp_path / "x.env"),))
    assert Variables(context, application).find("PW").value == "there"
    assert len(warnings) == 1
    assert "/etc/garage/env" in warnings[0]


def test_nothing_to_look_in_says_so(context: Context) -> None:
    with pytest.raises(Refused, match="neither a container, a project, units nor env_files are given"):
        Variables(context, Application()).find("X")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A:-b}", {"A": "b"}),
        ("${A-b} and ${C:-d}", {"A": "b", "C": "d"}),
        ("${A:-${B:-c}}", {"A": "c", "B": "c"}),
        ("${A:-{x}}", {"A": "{x}"}),
        ("${A:?must}${B}$C", {}),
        ("$${A:-b}", {}),
        ("$$${A:-b}", {"A": "b"}),
        ("${A:-open", {}),
    ],
)
def test_defaults_are_read_from_compose_files(text: str, expected: dict[str, str]) -> None:
    assert variables.parse_defaults([text], {}) == expected
