# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run parts of the tests (make's targets) one after the other, all of them, and sum up.

usage: run_parts.py PART…      Needs nothing but Python's own library: it runs before anything is installed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".venv" / "results"


@dataclass(frozen=True)
class Result:
    part: str
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def run(part: str) -> Result:
    """What the part's JUnit file counts; a part that ends badly without a failure in it counts as one."""
    report = RESULTS / f"{part}.xml"
    report.unlink(missing_ok=True)
    print(f"\n=== {part}", flush=True)
    started = time.monotonic()
    code = subprocess.run(["make", "--no-print-directory", part], cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - started
    passed, failed, skipped = counts(report) if report.exists() else (0, 0, 0)
    if code and not failed:
        print(f"{part}: make ended with {code}", flush=True)
        failed = 1
    return Result(part, seconds, passed, failed, skipped)


def counts(report: Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for suite in ElementTree.parse(report).iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        left_out = int(suite.get("skipped", 0))
        passed += int(suite.get("tests", 0)) - bad - left_out
        failed += bad
        skipped += left_out
    return max(passed, 0), failed, skipped


def summary(results: list[Result]) -> str:
    lines = [f"{'part':<14}{'seconds':>9}{'passed':>9}{'failed':>9}{'skipped':>9}"]
    lines += [
        f"{one.part:<14}{one.seconds:>9.0f}{one.passed or '':>9}{one.failed or '':>9}{one.skipped or '':>9}"
        for one in results
    ]
    lines.append(f"{'all':<14}{sum(one.seconds for one in results):>9.0f}")
    return "\n".join(lines)


def main(parts: list[str]) -> int:
    results = [run(part) for part in parts]
    passed = sum(one.passed for one in results)
    failed = sum(one.failed for one in results)
    print(f"\n{summary(results)}\n\n{passed} passed, {failed} failed", flush=True)
    # Nothing that passed is no success: then nothing ran.
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
