# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles promise: specs and defaults agree, and every option of a module can be set."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
MISSING = object()

# Options that a role does not hand on, with the reason.
NOT_BOUND = {
    ("prepare", "backup_repository"): {
        "state": "there is one state",
        "lock_token": "a host is prepared before anything could hold a lock",
    },
    ("prepare", "requirements_info"): {
        "lock_token": "it changes nothing",
        "units": "they decide nothing about what is needed",
        "env_files": "they decide nothing about what is needed",
    },
    **{
        (role, "backup_info"): {
            "lock_token": "it changes nothing",
            "backup": "the facts are those of all backups",
            "check": "a check takes long, and has a time of its own",
        }
        for role in ("backup", "verify")
    },
    ("health", "health_check"): {"lock_token": "it changes nothing"},
    ("migrate", "migrate_info"): {"lock_token": "it changes nothing"},
    ("migrate", "backup"): {
        "copy_repository": "the backup before a migration is there to go back at once; the next regular one is copied",
        "hold": "it is held by whoever deploys",
        "exclude_tables": "it must be able to bring everything back",
        "allow_vanished": "as for a regular backup, whose role sets it",
        "fingerprint": "as for a regular backup, whose role sets it",
    },
    ("migrate", "restore"): {
        **dict.fromkeys(("before", "from_instance"), "the backup is the one from before the migration"),
        **dict.fromkeys(
            ("include", "include_suffix", "into", "allow_flavour_change"), "the datastore is restored as it was"
        ),
        **dict.fromkeys(
            ("accounts", "configuration", "safety_copy", "stop"), "nothing uses the datastore, or it is refused"
        ),
    },
    ("backup", "backup_retention"): {"release": "a hold is ended by whoever asked for it, not by every backup"},
}


def load(role: str, name: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / name).read_text(encoding="utf-8"))


def spec_of(role: str) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


def tasks_of(role: str) -> list[dict[str, Any]]:
    """Every task of a role's files; blocks are opened."""
    found: list[dict[str, Any]] = []

    def visit(tasks: list[dict[str, Any]]) -> None:
        for task in tasks:
            found.append(task)
            for part in ("block", "rescue", "always"):
                visit(task.get(part, []))

    for path in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")):
        visit(yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


def is_template(value: Any) -> bool:
    return "{{" in str(value)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_spec_have_the_same_variables(role: str) -> None:
    assert set(load(role, "defaults/main.yml")) == set(spec_of(role))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_spec_have_the_same_values(role: str) -> None:
    for name, value in load(role, "defaults/main.yml").items():
        documented = spec_of(role)[name].get("default", MISSING)
        if value is None or is_template(value):
            assert documented is MISSING, f"{name} is computed, or unset, but documented as {documented!r}"
        else:
            assert documented == value, name
            assert type(documented) is type(value), name


@pytest.mark.parametrize("role", ROLES)
def test_every_option_has_a_type_and_a_description(role: str) -> None:
    for name, option in spec_of(role).items():
        assert option.get("type"), name
        assert option.get("description"), name
        assert option["type"] != "list" or option.get("elements"), name


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_starts_with_the_roles_name(role: str) -> None:
    names = set(load(role, "defaults/main.yml"))
    names |= {task["register"] for task in tasks_of(role) if "register" in task}
    names |= {name for task in tasks_of(role) for name in task.get("vars", {})}
    assert all(name.startswith(f"{role}_") for name in names), names


# Choices that a role has besides the module's.
WIDER = {("migrate", "tool"): ["none"], ("migrate", "on_failure"): ["restore"]}


def choices(module: str) -> dict[str, list[str]]:
    """Options with choices, from a module's documentation."""
    documentation = yaml.safe_load(
        importlib.import_module(f"ansible_collections.day2.ops.plugins.modules.{module}").DOCUMENTATION
    )
    return {name: option["choices"] for name, option in documentation.get("options", {}).items() if "choices" in option}


@pytest.mark.parametrize("role", ROLES)
def test_choices_are_the_modules(role: str) -> None:
    for module, arguments in modules_of(role):
        for option, allowed in choices(module).items():
            if option in arguments and f"{role}_{option}" in spec_of(role):
                assert spec_of(role)[f"{role}_{option}"]["choices"] == [*allowed, *WIDER.get((role, option), [])]


def modules_of(role: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name.removeprefix("day2.ops."), arguments)
        for task in tasks_of(role)
        for name, arguments in task.items()
        if name.startswith("day2.ops.")
    ]


def documented_options(module: str) -> set[str]:
    """A module's own options and those of its fragments."""
    documentation = yaml.safe_load(
        importlib.import_module(f"ansible_collections.day2.ops.plugins.modules.{module}").DOCUMENTATION
    )
    names = set(documentation.get("options", {}))
    for reference in documentation.get("extends_documentation_fragment", []):
        fragment, _, variant = reference.removeprefix("day2.ops.").partition(".")
        text = importlib.import_module(
            f"ansible_collections.day2.ops.plugins.doc_fragments.{fragment}"
        ).ModuleDocFragment
        names |= set(yaml.safe_load(getattr(text, variant.upper() or "DOCUMENTATION"))["options"])
    return names


@pytest.mark.parametrize("role", ROLES)
def test_every_option_of_a_module_can_be_set_by_its_role(role: str) -> None:
    called = modules_of(role)
    assert called, "the role calls no module of the collection"
    for module, arguments in called:
        left_out = NOT_BOUND.get((role, module), {})
        assert not set(left_out) & set(arguments), "listed as not bound, but it is"
        assert documented_options(module) - set(left_out) == set(arguments), module


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_read(role: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")))
    defaults = load(role, "defaults/main.yml")
    read = lambda name, where: re.search(rf"\b{name}\b", where)  # noqa: E731
    for name in defaults:
        others = "".join(str(value) for other, value in defaults.items() if other != name)
        assert read(name, text) or read(name, others), f"{name} is read nowhere"


@pytest.mark.parametrize("role", ROLES)
def test_no_role_becomes_another_user_or_hides_an_error(role: str) -> None:
    for task in tasks_of(role):
        assert not {"become", "become_user", "ignore_errors", "ignore_unreachable"} & set(task), task.get("name")


def test_the_primary_host_is_found_in_the_same_way_everywhere() -> None:
    rules = {load(role, "defaults/main.yml")[f"{role}_primary"].replace(f"{role}_", "ROLE_") for role in ROLES}
    assert len(rules) == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_playbook_that_looks_at_the_inventory_first(role: str) -> None:
    first, second = yaml.safe_load((ROOT / "playbooks" / f"{role}.yml").read_text(encoding="utf-8"))
    target = "{{ target | default('day2', true) }}"
    assert first["hosts"] == "localhost"
    assert first["tasks"][0]["day2.ops.inventory_check"] == {"target": target}
    assert second["hosts"] == target
    assert second["roles"][0]["role"] == f"day2.ops.{role}"


@pytest.mark.parametrize("role", ["verify", "restore", "migrate"])
def test_an_empty_answer_of_a_survey_is_turned_into_an_unset_one(role: str) -> None:
    """By the playbook, for everything that a survey chooses; the role hands on what it is given."""
    play = yaml.safe_load((ROOT / "playbooks" / f"{role}.yml").read_text(encoding="utf-8"))[1]
    selection = f"{role}_selection"
    given = play["roles"][0]["vars"][selection]
    assert set(given) == set(spec_of(role)[selection]["options"]) == set(load(role, "defaults/main.yml")[selection])
    for name, template in given.items():
        assert re.fullmatch(rf"{{{{ {role}_{name} \| default\((none|\[\]|'latest'|'head'), true\) }}}}", template), name
    assert all("default" not in template for template in load(role, "defaults/main.yml")[selection].values())
