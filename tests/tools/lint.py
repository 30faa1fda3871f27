# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates that read the code. usage: lint.py [PART-OF-A-NAME]"""

from __future__ import annotations

import re
import subprocess
import sys

from checks import ROOT, Check, run_all, shell_scripts


def warnings(output: str) -> str:
    """galaxy-importer ends with 0 whatever it warns of."""
    found = re.findall(r"^.*\b(?:WARNING|ERROR|CRITICAL)\b.*$", output, re.MULTILINE)
    return f"{len(found)} warnings: {found[0]}" if found else ""


def main() -> int:
    tools = ROOT / "tests" / "tools"
    made = subprocess.run(
        [tools / "tree.sh", ROOT / ".venv" / "lint"], stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    tree = ROOT.joinpath(made.stdout.strip())
    checks = [
        Check("ruff check", ["ruff", "check", "."]),
        Check("ruff format", ["ruff", "format", "--check", "."]),
        Check("mypy", ["mypy"]),
        Check("shellcheck", ["shellcheck", "-x", "-P", "SCRIPTDIR", *shell_scripts()]),
        Check("yamllint", ["yamllint", "--strict", "."], tree),
        Check("ansible-lint", ["ansible-lint", "--nocolor"], tree),
        Check(
            "antsibull-docs",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=dependent", "."],
            tree,
        ),
        Check("antsibull-changelog", ["antsibull-changelog", "lint"], tree),
        Check("galaxy-importer", [str(tools / "importer.sh")], objection=warnings),
    ]
    return run_all("lint", checks, *sys.argv[1:2])


if __name__ == "__main__":
    sys.exit(main())
