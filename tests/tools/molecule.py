# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's scenarios, one after the other. usage: molecule.py [PART-OF-A-NAME]"""

from __future__ import annotations

import sys

from checks import ROOT, Check, run_all

SCENARIOS = ROOT / "extensions" / "molecule"


def main() -> int:
    names = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))
    if not names:
        print(f"no scenario under {SCENARIOS.relative_to(ROOT)}")
        return 2
    # From the collection's own place: Molecule takes its name from the directories above.
    place = ROOT / ".venv" / "collections" / "ansible_collections" / "day2" / "ops"
    return run_all(
        "molecule",
        [Check(name, ["molecule", "test", "-s", name], place, minutes=15, aloud=True) for name in names],
        *sys.argv[1:2],
    )


if __name__ == "__main__":
    sys.exit(main())
