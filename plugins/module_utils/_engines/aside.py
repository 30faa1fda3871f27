# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Names for what is found where nobody expected it, and is kept for a person to look at."""

from __future__ import annotations

import itertools
import os


def unused(path: str) -> str:
    """`PATH.day2-found`, or with a number behind it where that is taken."""
    names = (f"{path}.day2-found{number or ''}" for number in itertools.count())
    return next(name for name in names if not os.path.lexists(name))
