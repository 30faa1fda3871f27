# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""MariaDB 10.6 and newer: mariadb-dump in a consistent snapshot, swapped by one RENAME TABLE."""

from __future__ import annotations

from typing import ClassVar

from .mysql.flavours import MARIADB, Flavour
from .mysql.server import SqlServer


class MariaDB(SqlServer):
    FLAVOUR: ClassVar[Flavour] = MARIADB
