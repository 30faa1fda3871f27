# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Third-party packages, imported when they are needed, with an error that says how to get them."""

from __future__ import annotations

from typing import Any

from .errors import Unavailable


def pymysql() -> Any:
    try:
        import pymysql.cursors
    except ImportError:
        raise _missing("PyMySQL") from None
    return pymysql


def psycopg() -> Any:
    try:
        import psycopg
    except ImportError:  # also: neither its binary wheel nor libpq is there
        raise _missing("psycopg") from None
    return psycopg


def redis() -> Any:
    try:
        import redis
        import redis.backoff
        import redis.exceptions
        import redis.retry
    except ImportError:
        raise _missing("redis") from None
    return redis


def pymongo() -> Any:
    try:
        import pymongo
        import pymongo.errors
    except ImportError:
        raise _missing("pymongo") from None
    return pymongo


def bson() -> Any:
    """BSON, which comes with pymongo."""
    try:
        import bson
    except ImportError:
        raise _missing("pymongo") from None
    return bson


def raw_bson() -> Any:
    """Documents that keep their bytes."""
    try:
        from bson import raw_bson
    except ImportError:
        raise _missing("pymongo") from None
    return raw_bson


def json_util() -> Any:
    """Extended JSON, in which every type of BSON comes back."""
    try:
        from bson import json_util
    except ImportError:
        raise _missing("pymongo") from None
    return json_util


def docker() -> Any:
    try:
        import docker
        import docker.errors
    except ImportError:
        raise _missing("docker") from None
    return docker


def _missing(package: str) -> Unavailable:
    return Unavailable(
        f"the Python package {package} is not installed on the target",
        hint="The role day2.ops.prepare installs it into a virtual environment of the collection's own.",
    )
