# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Names of staged and kept collections, and which collections of a database are the application's."""

from __future__ import annotations

import hashlib
import re

# The server's limit for DATABASE.COLLECTION: 255 bytes on MongoDB, 235 where it is sharded or FerretDB.
LIMIT = 235
_SCRATCH = re.compile(r"day2_[0-9a-f]{10}_[0-9a-f]+_(?:stage|old)_")


def within(prefix: str, collection: str, database: str) -> str:
    """The name of a collection under a scratch name; one that would be too long is replaced by its hash.

    No dot is put in between: FerretDB renames no collection that has one in its name.
    """
    name = f"{prefix}_{collection}"
    if is_long(prefix, collection, database):
        return f"{prefix}_{hashlib.sha256(collection.encode()).hexdigest()[:32]}"
    return name


def is_long(prefix: str, collection: str, database: str) -> bool:
    return is_too_long(f"{prefix}_{collection}", database)


def is_too_long(collection: str, database: str) -> bool:
    return len(f"{database}.{collection}".encode()) > LIMIT


def is_scratch(collection: str) -> bool:
    """Whether some run of day2.ops made it beside the application's own."""
    return _SCRATCH.match(collection) is not None


def is_system(collection: str) -> bool:
    return collection.startswith("system.")


def pattern(namespace: str) -> str:
    """A namespace as mongorestore's --nsFrom and the like take it: * and \\ are special in it."""
    return namespace.replace("\\", "\\\\").replace("*", "\\*")
