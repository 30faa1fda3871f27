# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a number of measurements says."""

from __future__ import annotations

import math
from collections.abc import Sequence

ENOUGH = 20  # measurements, below which a 95th percentile is a word for the slowest one


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` in percent."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def said(values: Sequence[float]) -> tuple[float, str]:
    """The value that counts, and a sentence: the 95th percentile, or the slowest one of a few."""
    if len(values) < ENOUGH:
        slowest = max(values)
        several = f"the slowest of {len(values)} answers" if len(values) > 1 else "the answer"
        return slowest, f"{several} took {slowest * 1000:.0f} ms"
    p50, p95, p99 = (percentile(values, share) for share in (50, 95, 99))
    text = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(values)} answers"
    return p95, text
