# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test's sanity tests on the oldest and the newest core. usage: sanity.py [--full] [NAME]

Without a Python for the newest core (a plain Debian 12 has 3.11 only) the oldest is all that can be tested.
"""

from __future__ import annotations

import subprocess
import sys

from checks import ROOT, Check, run_all

TOOLS = ROOT / "tests" / "tools"
NO_PYTHON = 3
# The pylint of 2.22 asks for a package as an archive of a commit on GitHub, and no package index has it. The two
# cores before it run pylint on the same files.
LEFT_OUT = {"next": ["--skip-test", "pylint"]}


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--full"]
    names = ["dev", "newest", "next"] if "--full" in sys.argv else ["dev", "newest"]
    checks = []
    for name in names:
        made = subprocess.run([TOOLS / "environment.sh", name], check=False)
        if made.returncode == NO_PYTHON:
            print(f"skipped {name}: see docs/testing.md on the Pythons of the tests")
            continue
        # An environment that could not be made fails as a check, with what its script says.
        checks.append(
            Check(
                f"{core(name)} ({name})",
                [str(TOOLS / "sanity.sh"), name, *LEFT_OUT.get(name, [])],
                minutes=30,
                aloud=True,
            )
        )
    return run_all("sanity", checks, *words)


def core(name: str) -> str:
    asked = [str(ROOT / ".venv" / name / "bin" / "python"), "-c", "import ansible; print(ansible.__version__)"]
    try:
        return "ansible-core " + subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no ansible-core"


if __name__ == "__main__":
    sys.exit(main())
