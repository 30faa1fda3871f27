# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports run only downwards, and never between two rooms of one line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.day2.ops.plugins.module_utils."

# Lower number, lower room. Rooms of one line must not know each other.
LINE = {
    "_core": 0,
    "_platform": 1,
    "_engines": 2,
    "_store": 2,
    "_recovery": 3,
    "_migration": 3,
    "_rotation": 3,
    "_release": 3,
    "_health": 4,
}
KNOW_ALL_KINDS = {"_engines/registry.py", "_health/registry.py"}


def imported(path: Path) -> set[str]:
    """Modules of module_utils that a file imports, dotted, from module_utils on."""
    package = path.relative_to(UTILS).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                module = ".".join([*base, *([node.module] if node.module else [])])
            elif (node.module or "").startswith(PREFIX):
                module = (node.module or "")[len(PREFIX) :]
            else:
                continue
            found.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name[len(PREFIX) :] for alias in node.names if alias.name.startswith(PREFIX))
    return found


def violations(source: str, targets: set[str]) -> list[str]:
    room = source.split("/")[0]
    lines = []
    for target in sorted(targets):
        other = target.split(".")[0]
        if other != room and LINE[other] >= LINE[room]:
            lines.append(f"{source} imports {target}")
    return lines


FILES = sorted(UTILS.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UTILS)))
def test_imports_run_downwards(path: Path) -> None:
    assert not violations(str(path.relative_to(UTILS)), imported(path))


def test_only_a_registry_knows_all_engines() -> None:
    kinds = {"mariadb", "postgresql", "sqlite"}
    for path in FILES:
        name = str(path.relative_to(UTILS))
        modules = {
            part for target in imported(path) if target.startswith("_engines.") for part in target.split(".")[1:2]
        }
        assert name in KNOW_ALL_KINDS or not kinds <= modules, f"{name} knows all kinds"


def test_no_module_reaches_around_the_rooms() -> None:
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        allowed = {"_core", "_health", "_migration", "_recovery", "_store", "_platform"}
        assert imported_by_module(path) <= allowed, path.name


def imported_by_module(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name[len(PREFIX) :].split(".")[0] for name in names if name.startswith(PREFIX)}


def test_the_rule_can_fail() -> None:
    assert violations("_core/x.py", {"_store.restic"}) == ["_core/x.py imports _store.restic"]
    assert violations("_store/x.py", {"_engines.base"}) == ["_store/x.py imports _engines.base"]
    assert violations("_recovery/x.py", {"_store.restic", "_core.io"}) == []


def test_nothing_is_imported_dynamically() -> None:
    """A module's payload is built from static imports; anything else is missing on the target."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("importlib.import_module", "import_module", "__import__"), path
