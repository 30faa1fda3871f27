# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every engine is known by name and has all the verbs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, Datastore
from ansible_collections.day2.ops.plugins.module_utils._engines import registry
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Engine
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application

VERBS = [name for name, value in vars(Engine).items() if callable(value) and not name.startswith("_")]


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_an_engine_has_every_verb_and_is_made_without_a_connection(kind: str, tmp_path: Path) -> None:
    options = dict.fromkeys(registry.KINDS[kind].OPTIONS)
    engine = registry.engine_for(
        Datastore("main", kind, options=options), Context(App("a", "b"), tmp_path), Application()
    )
    assert len(VERBS) > 15
    assert [verb for verb in VERBS if not callable(getattr(engine, verb, None))] == []
    assert engine.TRANSPORT in ("stream", "tree")


def test_an_unknown_engine_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"no engine oracle\. There are files, mariadb, mongodb, mysql, postgresql, redis, sqlite"
    ):
        registry.engine_for(Datastore("main", "oracle"), Context(App("a", "b"), tmp_path), Application())


def test_options_of_the_same_name_are_the_same_option() -> None:
    spec = argspec.datastore_spec({name: kind.OPTIONS for name, kind in registry.KINDS.items()})
    assert {"path", "paths", "volume", "database"} <= set(spec)
