# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From a number and its limits to a finding. Pure."""

from __future__ import annotations

from typing import Optional

from .model import CRIT, OK, WARN, Finding


def above(
    value: float, warn: Optional[float], crit: Optional[float], message: str, unit: str = "", part: str = ""
) -> Finding:
    """Bad when it is the limit or more."""
    reached = [name for name, limit in ((CRIT, crit), (WARN, warn)) if limit is not None and value >= limit]
    return Finding(reached[0] if reached else OK, message, value, unit, warn, crit, part)


def below(
    value: float, warn: Optional[float], crit: Optional[float], message: str, unit: str = "", part: str = ""
) -> Finding:
    """Bad when it is the limit or less."""
    reached = [name for name, limit in ((CRIT, crit), (WARN, warn)) if limit is not None and value <= limit]
    return Finding(reached[0] if reached else OK, message, value, unit, warn, crit, part)
