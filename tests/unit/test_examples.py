# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the modules' documentation are valid against their argument specs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
PACKAGE = "ansible_collections.day2.ops.plugins.modules"


class Captured(Exception):
    """Raised in place of building the module, with the arguments it was built with."""


def spec_of(name: str) -> dict[str, Any] | None:
    """How a module declares its arguments; None for the documentation of an action plugin."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    if not hasattr(module, "main"):
        return None
    captured: dict[str, Any] = {}

    def capture(**arguments: Any) -> None:
        captured.update(arguments)
        raise Captured

    with mock.patch.object(module, "AnsibleModule", capture), pytest.raises(Captured):
        module.main()
    return captured


def examples_of(name: str) -> list[dict[str, Any]]:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    return [task[f"day2.ops.{name}"] for task in yaml.safe_load(module.EXAMPLES) if f"day2.ops.{name}" in task]


def errors_of(declared: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    declared = {key: value for key, value in declared.items() if key != "supports_check_mode"}
    return ArgumentSpecValidator(**declared).validate(arguments).error_messages


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_valid(name: str) -> None:
    declared = spec_of(name)
    examples = examples_of(name)
    assert examples, f"{name} has no example"
    if declared is None:
        return
    for example in examples:
        assert errors_of(declared, example) == []
        describe(example)


def describe(example: dict[str, Any]) -> None:
    """Each datastore of an example is accepted by its engine too."""
    from ansible_collections.day2.ops.plugins.module_utils._core import argspec
    from ansible_collections.day2.ops.plugins.module_utils._recovery import setup

    entries = [{"content": "data", **entry} for entry in example.get("datastores", [])]
    argspec.datastores_from(entries, setup.ENGINES)


def test_a_wrong_example_would_be_seen() -> None:
    declared = spec_of("backup")
    assert declared is not None
    assert errors_of(declared, {"app": "booking", "datastore": []})


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_own_code_is_small(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert len(text.rsplit('"""\n', 1)[-1].splitlines()) <= 100
