# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""the first tables

The application makes them itself when it starts.
"""

from __future__ import annotations

revision = "5a61e0b7c3f9"
down_revision = None


def upgrade() -> None:
    raise RuntimeError("the application makes its first tables itself")


def downgrade() -> None:
    raise RuntimeError("there is nothing before this")
