# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database URLs as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import dsn

CASES: list[tuple[str, dict[str, Any]]] = [
    (
        "mysql+pymysql://booking:p%40ss%2Fw%C3%B6rd@db:3307/booking?charset=utf8mb4",
        {
            "family": "mysql",
            "user": "booking",
            "password": "p@ss/wörd",
            "host": "db",
            "port": 3307,
            "database": "booking",
        },
    ),
    (
        "postgresql+asyncpg://u:pw@h/x",
        {"family": "postgresql", "password": "pw", "host": "h", "port": None, "default_port": 5432, "database": "x"},
    ),
    ("mariadb://u:pw@h/x", {"family": "mysql", "password": "pw", "default_port": 3306}),
    ("postgres://u:a+b%20c@h", {"password": "a+b c", "database": None}),
    # A password that nobody quoted.
    ("mysql://u:p@ss:w@h:3306/x", {"user": "u", "password": "p@ss:w", "host": "h", "port": 3306}),
    ("mysql://u:p/w#1?z@h/x", {"user": "u", "password": "p/w#1?z", "host": "h", "database": "x"}),
    ("mysql://u:100%@h/x", {"password": "100%"}),
    ("mysql://u@h/x", {"user": "u", "password": None}),
    ("mysql://h/x?user=u&password=p%26w&port=3310", {"user": "u", "password": "p&w", "host": "h", "port": 3310}),
    ("redis://:secret@redis:6379/0", {"family": "redis", "user": None, "password": "secret", "database": "0"}),
    ("redis://redis/1", {"password": None, "host": "redis"}),
    ("mysql+pymysql:///x?unix_socket=/run/mysqld/mysqld.sock", {"socket": "/run/mysqld/mysqld.sock", "host": None}),
    ("postgresql:///x?host=/var/run/postgresql", {"socket": "/var/run/postgresql", "database": "x"}),
    ("postgresql://%2Fvar%2Frun%2Fpostgresql/x", {"socket": "/var/run/postgresql", "host": None, "database": "x"}),
    ("postgresql://u:p@h1:5432,h2:5433/x", {"hosts": (("h1", 5432), ("h2", 5433))}),
    ("postgresql://u:p@[fd00::2]:5432/x", {"host": "fd00::2", "port": 5432}),
    ("jdbc:mysql://h:3306/x?user=u&password=p", {"family": "mysql", "host": "h", "password": "p"}),
    ("mongodb+srv://u:p@cluster.example.org/x?retryWrites=true", {"family": "mongodb", "host": "cluster.example.org"}),
    ("sqlite:////data/app.db", {"family": "sqlite", "database": "/data/app.db", "host": None}),
    ("https://example.org/a@b", {"family": "", "host": "example.org", "user": None}),
]


@pytest.mark.parametrize(("url", "expected"), CASES)
def test_a_url_is_taken_apart(url: str, expected: dict[str, Any]) -> None:
    parsed = dsn.parse(url)
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize("text", ["", "booking", "db:3306", "/var/run/x.sock", "p@ss:w", "://x"])
def test_what_is_no_url_is_none(text: str) -> None:
    assert dsn.parse(text) is None


def test_a_password_does_not_show_when_a_url_is_printed() -> None:
    parsed = dsn.parse("mysql://u:verysecret@h/x?password=verysecret")
    assert "verysecret" not in repr(parsed)
