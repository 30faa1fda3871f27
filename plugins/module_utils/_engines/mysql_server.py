# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MySQL 8.0 and newer: mysqldump in a consistent snapshot, swapped by RENAME TABLE."""

from __future__ import annotations

from typing import ClassVar

from .mysql.flavours import MYSQL, Flavour
from .mysql.server import SqlServer


class MySQL(SqlServer):
    FLAVOUR: ClassVar[Flavour] = MYSQL
