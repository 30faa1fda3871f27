# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only what the described datastores need is asked for, and only what is missing is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.model import Datastore
from ansible_collections.day2.ops.plugins.module_utils._platform import requirements
from ansible_collections.day2.ops.plugins.module_utils._platform.requirements import (
    Missing,
    missing,
    missing_drivers,
    tools,
)

NOWHERE = Path("/nonexistent/venv")


def store(engine: str, **options: Any) -> Datastore:
    return Datastore("main", engine, options=options)


def has(*names: str) -> requirements.Which:
    return lambda name: f"/usr/bin/{name}" if name in names else None


def absent(datastores: Sequence[Datastore], which: requirements.Which, **options: Any) -> Missing:
    wanted = tools(options.pop("restic", "restic"), datastores, options.pop("project", None))
    return missing(wanted, (), NOWHERE, which=which)


CASES = {
    "files and SQLite need restic alone": (
        [store("sqlite"), store("files", paths=["/srv"])],
        {},
        ["restic"],
        ["restic"],
    ),
    "a database on the host needs its tools": (
        [store("mariadb"), store("postgresql")],
        {},
        ["restic", "mariadb-dump", "mariadb", "pg_dump", "pg_restore"],
        ["restic", "mariadb-client", "postgresql-client"],
    ),
    "one in a container brings them": ([store("mariadb", container="a/db")], {}, ["restic", "docker"], ["restic"]),
    "a volume needs Docker": ([store("files", volume="uploads")], {}, ["restic", "docker"], ["restic"]),
    "so does a Compose project": ([store("sqlite")], {"project": "a"}, ["restic", "docker"], ["restic"]),
    "a restic of one's own is not replaced by a package": ([], {"restic": "/opt/restic"}, ["/opt/restic"], []),
}


@pytest.mark.parametrize(("datastores", "options", "names", "packages"), CASES.values(), ids=CASES.keys())
def test_on_a_bare_host(
    datastores: list[Datastore], options: dict[str, Any], names: list[str], packages: list[str]
) -> None:
    found = absent(datastores, has(), **options)
    assert list(found.tools) == names
    assert list(found.install) == packages
    assert not found.nothing


@pytest.mark.parametrize(("datastores", "options", "names", "packages"), CASES.values(), ids=CASES.keys())
def test_nothing_is_missing_where_everything_is(
    datastores: list[Datastore], options: dict[str, Any], names: list[str], packages: list[str]
) -> None:
    assert absent(datastores, has(*names), **options) == Missing()


def test_an_old_name_of_a_tool_will_do() -> None:
    assert absent([store("mariadb")], has("restic", "mysqldump", "mysql")).nothing
    assert absent([store("mariadb")], has("restic", "mysqldump")).tools == ("mariadb",)


def test_docker_is_nothing_that_a_package_is_installed_for() -> None:
    found = absent([store("files", volume="uploads")], has("restic"))
    assert found.elsewhere == ("docker",)
    assert found.install == ()


# Drivers ----------------------------------------------------------------------------------------------


def without(table: dict[str, list[str]]) -> Any:
    """Which drivers each Python lacks."""
    return lambda python, drivers: [name for name in drivers if name in table.get(python, list(drivers))]


def drivers_absent(drivers: Sequence[str], table: dict[str, list[str]], venv: Path, ensurepip: bool = True) -> Missing:
    return missing((), drivers, venv, which=has(), without=without(table), has_ensurepip=ensurepip)


def test_drivers_that_this_python_has_need_no_environment() -> None:
    assert drivers_absent(["pymysql"], {sys.executable: []}, NOWHERE).nothing


def test_an_environment_gets_all_drivers_although_one_is_there_already() -> None:
    found = drivers_absent(["docker", "pymysql"], {sys.executable: ["pymysql"]}, NOWHERE)
    assert found.make_venv
    assert [text.partition(">=")[0] for text in found.pip] == ["docker", "requests", "PyMySQL", "cryptography"]
    assert found.install == ()


def test_an_environment_that_has_them_is_used(tmp_path: Path) -> None:
    python = environment(tmp_path)
    assert drivers_absent(["pymysql"], {sys.executable: ["pymysql"], str(python): []}, tmp_path).nothing


def test_an_environment_that_lacks_one_is_completed_and_not_made_again(tmp_path: Path) -> None:
    python = environment(tmp_path)
    found = drivers_absent(["docker", "pymysql"], {sys.executable: ["pymysql"], str(python): ["docker"]}, tmp_path)
    assert found.drivers == ("docker",)
    assert not found.make_venv


def test_an_environment_whose_interpreter_is_gone_is_made_again(tmp_path: Path) -> None:
    environment(tmp_path, target=tmp_path / "python3.9-that-was")
    assert drivers_absent(["pymysql"], {sys.executable: ["pymysql"]}, tmp_path).make_venv


def test_debian_without_ensurepip_needs_a_package_first() -> None:
    assert drivers_absent(["pymysql"], {}, NOWHERE, ensurepip=False).install == ("python3-venv",)


def environment(path: Path, target: Optional[Path] = None) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(target or sys.executable)
    return path / "bin" / "python"


def test_a_real_python_is_asked() -> None:
    assert missing_drivers(sys.executable, ["json", "no_such_driver"]) == ["no_such_driver"]
    assert missing_drivers("/nonexistent/python", ["json"]) == ["json"]


def test_a_driver_that_cannot_be_imported_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pymysql_broken.py").write_text("raise OSError('libfoo.so.1 not found')")
    (tmp_path / "lying_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert missing_drivers(sys.executable, ["pymysql_broken", "lying_here"]) == ["pymysql_broken", "lying_here"]


def test_every_driver_of_the_modules_can_be_installed() -> None:
    from ansible_collections.day2.ops.plugins.module_utils._core.module import PACKAGES

    assert set(PACKAGES) == set(requirements.PIP)


def test_mariadbs_programs_are_not_mysqls(tmp_path: Path) -> None:
    for program, name in (("mariadb-dump", "mysqldump"), ("mariadb", "mysql")):
        (tmp_path / program).touch()
        (tmp_path / name).symlink_to(program)

    def which(name: str) -> str | None:
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    found = missing(
        [one for one in tools("restic", [store("mysql")], None) if one.commands[0] != ("restic",)],
        (),
        NOWHERE,
        which=which,
    )
    assert found.tools == found.elsewhere == ("mysqldump", "mysql")
    for name in ("mysqldump", "mysql"):
        (tmp_path / name).unlink()
        (tmp_path / name).touch()
    assert missing(tools("restic", [store("mysql")], None)[1:], (), NOWHERE, which=which).nothing
