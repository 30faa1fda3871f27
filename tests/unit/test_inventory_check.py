# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory that would make a playbook do nothing, or do it to the wrong application, is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.day2.ops.plugins.action import inventory_check
from ansible_collections.day2.ops.plugins.action.inventory_check import KNOWN, Described, nothing_matches, problems

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"


def host(name: str = "web1", **changes: Any) -> Described:
    values: dict[str, Any] = {
        "groups": ("booking",),
        "raw": {"day2_app": "booking"},
        "app": "booking",
        "instance": "production",
    }
    return Described(name, **{**values, **changes})


# The rules -------------------------------------------------------------------------------------------


def test_a_good_host_has_no_problems() -> None:
    datastores = [{"name": "main", "engine": "sqlite", "path": "/srv/booking.db"}]
    raw = {"day2_app": "booking", "day2_datastores": datastores, "day2_backup_id": "x", "other": 1}
    assert problems([host(raw=raw)]) == []


def test_every_known_variable_is_accepted() -> None:
    assert problems([host(raw={name: [] for name in KNOWN})]) == []


CASES = {
    "two applications": (
        host(groups=("booking", "garage")),
        "host web1 is in two applications, booking and garage",
    ),
    "a variable with a typing mistake": (
        host(raw={"day2_app": "booking", "day2_datastore": []}),
        "host web1 has the variable day2_datastore, which day2.ops does not know: did you mean day2_datastores?",
    ),
    "an unknown variable that is like no other": (
        host(raw={"day2_app": "booking", "day2_xyzzy": 1}),
        "day2_xyzzy, which day2.ops does not know: variables of your own need another prefix",
    ),
    "no application name in a group": (
        host(raw={}, app=None),
        "host web1 has no day2_app: put it into the variables of its group booking",
    ),
    "no application at all": (
        host(raw={}, app=None, groups=()),
        "host web1 has no day2_app: put the host into an application's group below day2",
    ),
    "an application name with a capital": (host(app="Booking"), "host web1: day2_app is 'Booking', and must match"),
    "an instance name with a dash": (
        host(instance="pro-duction"),
        "host web1: day2_instance is 'pro-duction', and must",
    ),
    "an empty instance name": (host(instance=""), "host web1: day2_instance is '', and must match"),
    "a name of 32 characters": (host(app="a" * 32), "must match"),
    "a datastore without an engine": (
        host(raw={"day2_app": "booking", "day2_datastores": [{"name": "main"}]}),
        "host web1: entry 1 of day2_datastores (main) has no engine",
    ),
    "a datastore without anything": (
        host(raw={"day2_app": "booking", "day2_datastores": [{"name": "a", "engine": "files"}, {}]}),
        "host web1: entry 2 of day2_datastores has no name and engine",
    ),
    "a datastore that is no dictionary": (
        host(raw={"day2_app": "booking", "day2_datastores": [7]}),
        "host web1: entry 1 of day2_datastores is not a dictionary",
    ),
    "datastores that are no list": (
        host(raw={"day2_app": "booking", "day2_datastores": {"main": {}}}),
        "host web1: day2_datastores is not a list",
    ),
}


@pytest.mark.parametrize(("described", "expected"), CASES.values(), ids=CASES.keys())
def test_a_mistake_is_named(described: Described, expected: str) -> None:
    found = problems([described])
    assert len(found) == 1
    assert expected in found[0]


def test_a_name_of_31_characters_is_accepted() -> None:
    assert problems([host(app="a" * 31)]) == []


def test_templates_are_left_alone() -> None:
    raw = {"day2_app": "booking", "day2_datastores": "{{ from_elsewhere }}"}
    assert problems([host(raw=raw)]) == []
    assert (
        problems([host(raw={**raw, "day2_datastores": ["{{ one }}", {"name": "{{ two }}", "engine": "files"}]})]) == []
    )


def test_two_groups_that_claim_one_application_are_named_once() -> None:
    found = problems([host("web1"), host("web2"), host("copy1", groups=("booking_copy",))])
    assert len(found) == 1
    assert "booking and booking_copy have the same day2_app booking and day2_instance production" in found[0]


def test_two_instances_of_one_application_are_fine() -> None:
    assert problems([host("web1"), host("stage1", groups=("booking_staging",), instance="staging")]) == []


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems([host(app="A", groups=("booking", "garage")), host("web2", raw={}, app=None)])) == 3


def test_a_target_without_hosts_names_the_applications() -> None:
    text = nothing_matches("bookink", {"garage": [], "booking": []}, limited=False)
    assert "'bookink' matches no host" in text
    assert "booking, garage" in text
    assert "--limit" in nothing_matches("booking", {"booking": []}, limited=True)
    assert "has no applications" in nothing_matches("day2", {}, limited=False)


# The list ---------------------------------------------------------------------------------------------


def test_every_variable_that_a_role_reads_is_known() -> None:
    read = {
        word
        for defaults in ROLES.glob("*/defaults/main.yml")
        for word in _day2_words(defaults.read_text(encoding="utf-8"))
    }
    assert read, "the roles' defaults read no variables of an application"
    assert read <= KNOWN


def test_what_the_roles_publish_comes_back_without_complaint() -> None:
    published = {
        word
        for tasks in ROLES.glob("*/tasks/*.yml")
        for word in _day2_words(tasks.read_text(encoding="utf-8"))
        if word.endswith(("_id", "_id_"))
    }
    assert published
    assert all(inventory_check.PUBLISHED.match(word) for word in published)


def _day2_words(text: str) -> set[str]:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return {
        word
        for line in lines
        for word in "".join(c if c.isalnum() or c == "_" else " " for c in line).split()
        if word.startswith("day2_")
    }


# Through Ansible --------------------------------------------------------------------------------------

PLAYBOOK = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"day2.ops.inventory_check": {"target": "{{ target }}"}}],
    }
]


def check(tmp_path: Path, inventory: dict[str, Any], target: str, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and result of the task, from a real ansible-playbook."""
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAYBOOK))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "LC_ALL": "C.UTF-8",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-v", "-i", "hosts.yml", "play.yml"]
    done = subprocess.run(
        [*command, "-e", f"target={target}", *more],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    shown = re.search(r"^(?:ok|fatal): \[localhost\].*? => (\{.*\})$", done.stdout, re.M)
    assert shown, done.stdout + done.stderr
    return done.returncode, json.loads(shown.group(1))


BROKEN: dict[str, Any] = {
    "day2": {
        "children": {
            "booking": {
                "vars": {"day2_app": "booking"},
                # A password that nobody may ask for here: resolving it leaves a mark.
                "hosts": {"web1": {"day2_repository_password": "{{ lookup('pipe', 'touch asked; echo secret') }}"}},
            },
            "garage": {
                "vars": {"day2_app": "{{ 'garage' }}"},
                "children": {"garage_front": {"hosts": {"web1": {}, "web2": {"day2_datastore": []}}}},
            },
            "empty": {},
        }
    },
    "elsewhere": {"hosts": {"other1": {}}},
}
GOOD: dict[str, Any] = {"day2": {"children": {"booking": BROKEN["day2"]["children"]["booking"]}}}


@pytest.mark.ansible
def test_ansible_accepts_a_good_inventory_and_asks_for_no_secret(tmp_path: Path) -> None:
    code, result = check(tmp_path, GOOD, "day2", "--check")
    assert code == 0
    assert result["inventory"] == {"target": "day2", "hosts": ["web1"], "applications": {"booking": ["web1"]}}
    assert result["changed"] is False
    assert not (tmp_path / "asked").exists()


@pytest.mark.ansible
def test_ansible_refuses_a_host_in_two_groups_and_a_typing_mistake(tmp_path: Path) -> None:
    code, result = check(tmp_path, BROKEN, "day2")
    assert code != 0
    assert "host web1 is in two applications, booking and garage" in result["msg"]
    assert "host web2 has the variable day2_datastore, which day2.ops does not know" in result["msg"]
    assert not (tmp_path / "asked").exists()


@pytest.mark.ansible
@pytest.mark.parametrize("target", ["empty", "bookink"])
def test_ansible_refuses_a_target_without_hosts(tmp_path: Path, target: str) -> None:
    code, result = check(tmp_path, BROKEN, target)
    assert code != 0
    assert f"target '{target}' matches no host" in result["msg"]
    assert "booking, empty, garage" in result["msg"]


@pytest.mark.ansible
def test_ansible_refuses_a_host_that_is_no_application(tmp_path: Path) -> None:
    code, result = check(tmp_path, BROKEN, "other1")
    assert code != 0
    assert "host other1 has no day2_app" in result["msg"]


@pytest.mark.ansible
def test_ansible_refuses_a_limit_that_leaves_nothing(tmp_path: Path) -> None:
    code, result = check(tmp_path, {**GOOD, "elsewhere": BROKEN["elsewhere"]}, "web1", "--limit", "localhost,other1")
    assert code != 0
    assert "--limit leaves none of them" in result["msg"]


@pytest.mark.ansible
def test_ansible_sees_a_mistake_in_an_extra_variable(tmp_path: Path) -> None:
    code, result = check(tmp_path, GOOD, "day2", "-e", "day2_retentions={}")
    assert code != 0
    assert "did you mean day2_retention?" in result["msg"]
