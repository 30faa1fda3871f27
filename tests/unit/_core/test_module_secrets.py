# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a module's parameters is struck from its results, and what is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.model import App


def struck(tmp_path: Path, **params: Any) -> set[str]:
    """As Ansible does it, every value of what is `no_log` is struck at first."""
    module: Any = SimpleNamespace(params=params, no_log_values=set())
    for holder in (params, params.get("repository") or {}, params.get("migration") or {}):
        module.no_log_values.update((holder.get("environment") or {}).values())
    context = Context(App("shop", "production"), tmp_path)
    core_module._learn_secrets(context, module)
    assert context.secrets.values == module.no_log_values
    found: set[str] = module.no_log_values
    return found


def test_the_settings_of_an_application_are_no_secrets(tmp_path: Path) -> None:
    given = {"FLASK_APP": "application:create", "MODE": "live", "DATABASE_URL": "mysql://u:p@db/shop", "API_KEY": "k1"}
    assert struck(tmp_path, environment=given) == {"mysql://u:p@db/shop", "k1"}
    assert struck(tmp_path, migration={"environment": given}) == {"mysql://u:p@db/shop", "k1"}


def test_what_is_a_secret_somewhere_is_one_everywhere(tmp_path: Path) -> None:
    repository = {"location": "rest:https://u:pw@host/", "password": "short", "environment": {"A": "short", "B": "x"}}
    given = {"MODE": "pw", "USER": "store"}
    found = struck(tmp_path, repository=repository, environment=given, datastores=[{"password": "store"}])
    assert found == {"short", "pw", "store"}


def test_a_secret_deep_inside_of_the_facts_of_a_failure_is_struck() -> None:
    facts = {"left": [{"text": 'a "quoted" secret'}], "number": 1, "nothing": None}
    strike = lambda text: text.replace('"quoted"', "***")  # noqa: E731
    assert core_module._struck(facts, strike) == {"left": [{"text": "a *** secret"}], "number": 1, "nothing": None}
