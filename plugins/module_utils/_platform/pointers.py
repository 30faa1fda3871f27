# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Which servers an application's variables point to. Nothing here looks at the system."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Optional

from . import dsn

# Families whose servers hold data. A memcached or a directory service is no datastore of an application.
DATA = frozenset(
    {"mysql", "postgresql", "mongodb", "redis", "s3", "amqp", "mssql", "oracle", "clickhouse", "elasticsearch"}
    | {"couchdb", "nats", "kafka"}
)

_HOST = re.compile(r"^(?P<prefix>[A-Z0-9_]*?)_?(?P<kind>HOST|HOSTNAME|SERVER|ADDR|ADDRESS|ENDPOINT|ENDPOINT_URL|URL)$")
_NAMES: tuple[tuple[str, str], ...] = (
    (r"MYSQL|MARIADB", "mysql"),
    (r"POSTGRES|POSTGRESQL|PG|PSQL", "postgresql"),
    (r"MONGO|MONGODB", "mongodb"),
    (r"REDIS|VALKEY", "redis"),
    (r"RABBITMQ|AMQP", "amqp"),
    (r"ELASTIC|ELASTICSEARCH|OPENSEARCH|ES", "elasticsearch"),
    (r"CLICKHOUSE", "clickhouse"),
    (r"COUCHDB", "couchdb"),
    (r"S3|MINIO|AWS_S3|AWS", "s3"),
    (r"DB|DATABASE|SQL", "database"),  # one of the above, which one is not said
)
_BUCKET = re.compile(r"(^|_)(S3|AWS|GCS|GS|MINIO|STORAGE|R2|B2|SPACES)?_?BUCKET(_NAME)?$")
_HOSTNAME = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$|^[0-9a-fA-F:]+:[0-9a-fA-F:]*$")


@dataclasses.dataclass(frozen=True)
class Pointer:
    """What one variable says of one server. `family` is "" where neither value nor name tell."""

    variable: str
    host: str
    port: Optional[int] = None
    family: str = ""
    socket: str = ""
    database: str = ""

    @property
    def likely_port(self) -> Optional[int]:
        return self.port or dsn.PORTS.get(self.family)

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


def pointers(variables: Mapping[str, str]) -> Iterator[Pointer]:
    """From database URLs, and from variables called …HOST, …SERVER, …ENDPOINT with their …PORT."""
    for name, value in variables.items():
        if not value:
            continue
        parsed = dsn.parse(value)
        if parsed is not None:
            yield from _from_url(name, parsed)
        elif value.startswith("/") and (value.endswith(".sock") or (family_of(name) and name.endswith("HOST"))):
            yield Pointer(name, "", family=family_of(name), socket=value)
        else:
            yield from _from_host(name, value, variables)


def _from_url(name: str, parsed: dsn.Dsn) -> Iterator[Pointer]:
    family = parsed.family
    if not family and parsed.scheme in ("http", "https", "tcp"):
        # S3, Elasticsearch and the like are reached by http; any other web address is no data server.
        guessed = family_of(name)
        family = guessed if guessed in ("s3", "elasticsearch", "clickhouse", "couchdb") else ""
    if not family or family == "sqlite":
        return
    database = parsed.database or ""
    if family == "mongodb" and database == "admin":
        database = ""  # where the user was made; which database the client uses is not said
    if parsed.socket or not parsed.hosts:
        if parsed.scheme.startswith(("mysql", "mariadb", "postgres", "unix")) or parsed.socket:
            socket = parsed.socket or (f"/{database}" if parsed.scheme == "unix" else "")
            yield Pointer(name, "", parsed.port, family, socket, database)
        return
    for host, port in parsed.hosts:
        yield Pointer(name, host, port, family, database=database)


def _from_host(name: str, value: str, variables: Mapping[str, str]) -> Iterator[Pointer]:
    match = _HOST.match(name.upper())
    if not match or match["kind"] == "URL":
        return
    host, _rest, port = value.rpartition(":") if re.fullmatch(r"[^:]+:\d+", value) else (value, "", "")
    if not _HOSTNAME.match(host):
        return
    beside = variables.get(f"{name[: len(match['prefix'])]}_PORT" if match["prefix"] else "PORT", "")
    number = port or (beside if match["prefix"] else "")
    yield Pointer(name, host, int(number) if number.isdigit() else None, family_of(name))


def family_of(name: str) -> str:
    """What a variable's name tells: MYSQL_HOST, PGHOST, APP_REDIS_HOST, DB_HOST; "" for SMTP_HOST."""
    upper = name.upper()
    for words, family in _NAMES:
        if re.search(rf"(^|_)({words})(_|HOST|PORT|SERVER|URL|$)", upper):
            return family
    return ""


def buckets(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that name a bucket, with its name."""
    for name, value in variables.items():
        if _BUCKET.search(name.upper()) and re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,62}", value):
            yield name, value
        elif value.startswith("s3://"):
            parsed = dsn.parse(value)
            if parsed is not None and parsed.host:
                yield name, parsed.host
