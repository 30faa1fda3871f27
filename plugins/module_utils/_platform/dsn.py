# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Database URLs, as applications are given them: `mysql+pymysql://user:p%40ss@db:3306/name?charset=utf8mb4`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Optional
from urllib.parse import parse_qsl, unquote

# What a scheme means, after `+driver` is taken off.
FAMILIES: Mapping[str, str] = {
    "mysql": "mysql",
    "mysql2": "mysql",
    "mariadb": "mysql",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgis": "postgresql",
    "pgsql": "postgresql",
    "psql": "postgresql",
    "mongodb": "mongodb",
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "unix": "redis",
    "sqlite": "sqlite",
    "amqp": "amqp",
    "amqps": "amqp",
    "s3": "s3",
    "memcached": "memcached",
    "mssql": "mssql",
    "sqlserver": "mssql",
    "oracle": "oracle",
    "clickhouse": "clickhouse",
    "elasticsearch": "elasticsearch",
    "opensearch": "elasticsearch",
    "couchdb": "couchdb",
    "nats": "nats",
    "kafka": "kafka",
    "ldap": "ldap",
    "ldaps": "ldap",
}
PORTS: Mapping[str, int] = {
    "mysql": 3306,
    "postgresql": 5432,
    "mongodb": 27017,
    "redis": 6379,
    "amqp": 5672,
    "memcached": 11211,
    "mssql": 1433,
    "oracle": 1521,
    "clickhouse": 8123,
    "elasticsearch": 9200,
    "couchdb": 5984,
    "nats": 4222,
    "kafka": 9092,
    "ldap": 389,
}

_URL = re.compile(r"^(?:jdbc:)?(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*)://(?P<rest>.*)$", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Dsn:
    """A database URL taken apart and decoded; what it does not say is None.

    `hosts` are all of them where the URL names several (`h1:5432,h2`); `host` and `port` the first.
    `socket` is the path of a Unix socket, or the directory of one.
    """

    scheme: str
    user: Optional[str] = None
    password: Optional[str] = dataclasses.field(default=None, repr=False)
    hosts: tuple[tuple[str, Optional[int]], ...] = ()
    database: Optional[str] = None
    socket: Optional[str] = None
    query: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def family(self) -> str:
        """mysql, postgresql, redis, …; "" for a scheme that is no data server's."""
        return FAMILIES.get(self.scheme.partition("+")[0], "")

    @property
    def host(self) -> Optional[str]:
        return self.hosts[0][0] if self.hosts else None

    @property
    def port(self) -> Optional[int]:
        return self.hosts[0][1] if self.hosts else None

    @property
    def default_port(self) -> Optional[int]:
        return PORTS.get(self.family)


def parse(url: str) -> Optional[Dsn]:
    """The parts of a URL, or None for a text that is not one."""
    match = _URL.match(url.strip())
    if not match:
        return None
    scheme = match["scheme"].lower()
    userinfo, rest = _split_userinfo(match["rest"])
    user, _rest, password = (userinfo or "").partition(":")
    location, _rest, tail = rest.partition("?")
    query = dict(parse_qsl(tail.partition("#")[0], keep_blank_values=True))
    authority, _rest, path = location.partition("/")
    hosts = tuple(_host(part) for part in authority.split(",") if part)
    given = query.get("host")
    socket = query.get("unix_socket") or query.get("unix_sock") or query.get("socket")
    if not hosts and given:
        if given.startswith("/"):
            socket = socket or given
        else:
            hosts = tuple(_host(part) for part in given.split(","))
    if hosts and hosts[0][0].startswith("/"):  # postgresql://%2Fvar%2Frun%2Fpostgresql/name
        socket, hosts = hosts[0][0], ()
    if hosts and hosts[0][1] is None:
        hosts = ((hosts[0][0], _port(query.get("port", ""))), *hosts[1:])
    return Dsn(
        scheme=scheme,
        user=unquote(user) or query.get("user") or None,
        password=unquote(password) or query.get("password") or None,
        hosts=hosts,
        database=unquote(path) or query.get("dbname") or None,
        socket=socket,
        query=query,
    )


def _split_userinfo(rest: str) -> tuple[Optional[str], str]:
    # Passwords go into URLs unquoted more often than not. An @ in one is found by taking the last @ before
    # the path; a / or ? or # in one, by taking the first @ at all, as SQLAlchemy does.
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        cut = authority.rindex("@")
    elif "@" in rest and re.match(r"[^:/?#@]*:", rest) and not _looks_like_hosts(authority):
        cut = rest.index("@")
    else:
        return None, rest
    return rest[:cut], rest[cut + 1 :]


def _looks_like_hosts(authority: str) -> bool:
    return all(re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:]*)(:\d+)?", part) for part in authority.split(","))


def _host(part: str) -> tuple[str, Optional[int]]:
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", part)
    if bracketed:
        return bracketed[1], _port(bracketed[2] or "")
    host, _rest, port = part.partition(":")
    return unquote(host), _port(port)


def _port(text: str) -> Optional[int]:
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None
