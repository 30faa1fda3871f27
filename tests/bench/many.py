# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small applications: what one costs, and whether a hundred in one play cost more each than ten."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import OURS, Job, Part, timed
from tests.bench.place import PASSWORD, Place

SINGLE = "single"
FORKS = 10


def measure(part: Part, place: Place, counts: tuple[int, ...], rounds: int) -> None:
    _single(part, place, rounds)
    for number in counts:
        part.jobs[f"apps {number}"] = Job(f"{number} applications in one play, seconds for each")
    # The longest play once, the others in each round: the medians are of the same number of applications.
    for turn in range(rounds):
        for number in counts:
            if turn and number == max(counts):
                continue
            with place.home() as home:
                seconds = _play(place, home, number)
                part.jobs[f"apps {number}"].add(OURS, seconds / number)
            print(f"{number} applications: {seconds:.0f} s", flush=True)


def _single(part: Part, place: Place, rounds: int) -> None:
    """One backup of one small application, its restic calls counted."""
    part.jobs[SINGLE] = Job("one application, a backup by its module's task")
    with place.home() as home:
        calls, counting = home / "calls", home / "restic"
        counting.write_text(f'#!/bin/sh\necho "$1" >> {calls}\nexec {shutil.which("restic")} "$@"\n')
        counting.chmod(0o755)
        repository = _repository(place, home)
        arguments = {
            "app": "small",
            "state_dir": str(home / "state"),
            "repository": {"location": str(repository), "password": PASSWORD, "restic": str(counting)},
            "datastores": _application(home / "small"),
        }
        for _turn in range(rounds):
            calls.write_text("")
            part.jobs[SINGLE].add(OURS, timed(lambda: place.task("day2.ops.backup", arguments)))
            made = len([line for line in calls.read_text().split() if line != "version"])
            part.counts["restic calls"] = max(part.counts.get("restic calls", 0), made)
        part.jobs["nothing"] = Job("an ansible-playbook with one task that does nothing")
        for _turn in range(rounds):
            part.jobs["nothing"].add(OURS, timed(lambda: place.task("ansible.builtin.ping", {})))


def _repository(place: Place, home: Path) -> Path:
    repository = home / "repository"
    place.run(["restic", "init", "-q", "-r", str(repository)], {})
    return repository


def _application(directory: Path) -> list[Mapping[str, Any]]:
    """SQLite with 5,000 rows and fifty uploads, 1 MB of them."""
    uploads = directory / "uploads"
    uploads.mkdir(parents=True)
    for number in range(50):
        (uploads / f"{number}.bin").write_bytes(os.urandom(20_000))
    with contextlib.closing(sqlite3.connect(directory / "app.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        database.executemany("INSERT INTO t (x) VALUES (?)", [(f"row {n}",) for n in range(5000)])
        database.commit()
    return [
        {"name": "main", "engine": "sqlite", "path": str(directory / "app.db")},
        {"name": "uploads", "engine": "files", "paths": [str(uploads)]},
    ]


def _play(place: Place, home: Path, number: int) -> float:
    """The playbook day2.ops.backup over so many applications of one machine, with one repository."""
    repository = _repository(place, home)
    groups = {}
    for one in range(number):
        name = f"app{one:03}"
        variables = {"day2_app": name, "day2_datastores": _application(home / name)}
        groups[name] = {"hosts": {f"{name}_local": {}}, "vars": variables}
    everywhere = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "day2_state_dir": str(home / "state"),
        "day2_repository_location": str(repository),
        "day2_repository_password": PASSWORD,
    }
    inventory = home / "inventory.json"
    inventory.write_text(json.dumps({"day2": {"children": groups, "vars": everywhere}}))
    words = ["-i", str(inventory), "--forks", str(FORKS), "day2.ops.backup"]
    return timed(lambda: place.ansible(*words))
