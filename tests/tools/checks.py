# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands as checks: all of them, whatever one of them says, with a JUnit file like pytest's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".venv" / "results"


@dataclass(frozen=True)
class Check:
    """A command that passes when it ends with 0 and `objection` finds nothing in what it said."""

    name: str
    command: Sequence[str]
    directory: Path = ROOT
    minutes: int = 10
    objection: Callable[[str], str] = lambda output: ""
    # Its output is worth reading as it comes: it runs for minutes.
    aloud: bool = False


@dataclass(frozen=True)
class Outcome:
    name: str
    seconds: float
    problem: str
    output: str


def run(check: Check) -> Outcome:
    started = time.monotonic()
    output: list[str] = []
    try:
        with subprocess.Popen(
            ["timeout", "--kill-after=20", f"{check.minutes}m", *check.command],
            cwd=check.directory,
            env={**os.environ, "NO_COLOR": "1"},
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                output.append(line)
                if check.aloud:
                    print(line, end="", flush=True)
        code = process.returncode
        said = "".join(output)
        problem = f"it did not end within {check.minutes} minutes" if code == 124 else f"it ended with {code}"
        if code == 0:
            problem = check.objection(said)
    except OSError as error:
        said, problem = "", f"it could not be started: {error}"
    return Outcome(check.name, time.monotonic() - started, problem, said)


def run_all(part: str, checks: Sequence[Check], chosen: str = "") -> int:
    """Run the checks whose name holds `chosen`, and give the exit code of the whole."""
    wanted = [check for check in checks if chosen in check.name]
    if not wanted:
        print(f"no check of {part} is named {chosen}; there are: {', '.join(check.name for check in checks)}")
        return 2
    outcomes = []
    for check in wanted:
        outcome = run(check)
        outcomes.append(outcome)
        print(f"{'FAILED' if outcome.problem else 'passed'}  {check.name}  ({outcome.seconds:.1f} s)", flush=True)
        if outcome.problem:
            if not check.aloud:
                print(outcome.output, end="" if outcome.output.endswith("\n") else "\n")
            print(f"{part}: {check.name}: {outcome.problem}", flush=True)
    write_junit(part, outcomes)
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def write_junit(part: str, outcomes: Sequence[Outcome]) -> None:
    suite = ElementTree.Element(
        "testsuite",
        name=part,
        tests=str(len(outcomes)),
        failures=str(sum(bool(outcome.problem) for outcome in outcomes)),
        errors="0",
        skipped="0",
    )
    for outcome in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname=part, name=outcome.name, time=f"{outcome.seconds:.1f}"
        )
        if outcome.problem:
            ElementTree.SubElement(case, "failure", message=outcome.problem)
    RESULTS.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(RESULTS / f"{part}.xml", encoding="utf-8", xml_declaration=True)


def shell_scripts() -> list[str]:
    """Everything of this checkout that a shell reads, by its first line."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file() and _is_shell(ROOT / name)]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    return first.startswith(b"# shellcheck shell=") or (
        first.startswith(b"#!") and first.split()[-1].rpartition(b"/")[2] in (b"sh", b"bash")
    )


if __name__ == "__main__":
    sys.exit("start lint.py, sanity.py or molecule.py")
