# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories that users start from hold together: groups, variables, options of datastores, secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.day2.ops.plugins.action.inventory_check import KNOWN
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._recovery import setup

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = ROOT / "inventories"
SYSTEMS = ("booking", "coach", "garage", "station", "storefront")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def applications(system: str) -> dict[str, dict[str, Any]]:
    """The variables of each application of an inventory."""
    groups = read(INVENTORIES / system / "hosts.yml")["day2"]["children"]
    variables = INVENTORIES / system / "group_vars"
    shared = read(variables / "day2.yml") if (variables / "day2.yml").exists() else {}
    assert {path.stem for path in variables.glob("*.yml")} - {"day2"} == set(groups)
    return {group: {**shared, **read(variables / f"{group}.yml")} for group in groups}


def test_there_is_one_for_each_system() -> None:
    assert {path.name for path in INVENTORIES.iterdir()} == {"example", *SYSTEMS}


@pytest.mark.parametrize("system", SYSTEMS)
def test_variables_are_known_and_datastores_take_their_options(system: str) -> None:
    for variables in applications(system).values():
        ours = {name for name in variables if name.startswith("day2_")}
        assert ours <= set(KNOWN)
        assert {"day2_app", "day2_datastores", "day2_repository_password", "day2_retention"} <= ours
        entries = [{"content": "data", **entry} for entry in variables["day2_datastores"]]
        assert len(argspec.datastores_from(entries, setup.ENGINES)) == len(entries)
        assert variables["verify_assertions"]
        names = {entry["name"] for entry in entries}
        assert {one["datastore"] for one in variables["verify_assertions"]} <= names


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_secret_is_in_them(system: str) -> None:
    for variables in applications(system).values():
        assert re.fullmatch(r"\{\{ vault_\w+ \}\}", variables["day2_repository_password"])
        for entry in variables["day2_datastores"]:
            assert "password" not in entry


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_an_operator_changes_is_used_and_nothing_else_is_a_place(system: str) -> None:
    """A directory or a project that is written out once more would be overlooked when the file is copied."""
    for variables in applications(system).values():
        for name, value in variables.items():
            if name.endswith(("_directory", "_project")) and not name.startswith("day2_"):
                others = {key: one for key, one in variables.items() if key != name}
                assert f"{{{{ {name} }}}}" in yaml.safe_dump(others), name
                assert str(value) == system or not re.search(
                    rf"(?<![\w.]){re.escape(str(value))}(?!\w)", yaml.safe_dump(others)
                )
