# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables point to a data server, and which only look like it."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform.pointers import Pointer, buckets, pointers


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"DATABASE_URL": "mysql+pymysql://u:p@db:3307/booking"},
            [Pointer("DATABASE_URL", "db", 3307, "mysql", database="booking")],
        ),
        ({"DB_HOST": "db", "DB_PORT": "3306"}, [Pointer("DB_HOST", "db", 3306, "database")]),
        ({"PGHOST": "pg"}, [Pointer("PGHOST", "pg", None, "postgresql")]),
        ({"PGHOST": "/run/postgresql"}, [Pointer("PGHOST", "", None, "postgresql", "/run/postgresql")]),
        ({"REDIS_HOST": "cache:6380"}, [Pointer("REDIS_HOST", "cache", 6380, "redis")]),
        ({"APP_MYSQL_SERVER": "10.0.0.7"}, [Pointer("APP_MYSQL_SERVER", "10.0.0.7", None, "mysql")]),
        ({"SMTP_HOST": "mail"}, [Pointer("SMTP_HOST", "mail", None, "")]),
        (
            {"DB_SOCKET": "/run/mysqld/mysqld.sock"},
            [Pointer("DB_SOCKET", "", family="database", socket="/run/mysqld/mysqld.sock")],
        ),
        ({"DSN": "mysql:///x?unix_socket=/run/m.sock"}, [Pointer("DSN", "", None, "mysql", "/run/m.sock", "x")]),
        ({"DSN": "postgresql:///garage"}, [Pointer("DSN", "", None, "postgresql", "", "garage")]),
        ({"DSN": "redis://:pw@cache/0"}, [Pointer("DSN", "cache", None, "redis", database="0")]),
        (
            {"DSN": "postgresql://u:p@h1,h2/x"},
            [Pointer("DSN", h, None, "postgresql", database="x") for h in ("h1", "h2")],
        ),
        (
            {"MONGODB_URI": "mongodb://u:p@m1:27018,m2,m3/shop?replicaSet=rs0&authSource=admin"},
            [
                Pointer("MONGODB_URI", "m1", 27018, "mongodb", database="shop"),
                *(Pointer("MONGODB_URI", m, None, "mongodb", database="shop") for m in ("m2", "m3")),
            ],
        ),
        ({"MONGO_URL": "mongodb://u:p@m1/admin"}, [Pointer("MONGO_URL", "m1", None, "mongodb")]),
        ({"MONGO_HOST": "m1"}, [Pointer("MONGO_HOST", "m1", None, "mongodb")]),
        (
            {"AWS_ENDPOINT_URL_S3": "https://s3.example.org"},
            [Pointer("AWS_ENDPOINT_URL_S3", "s3.example.org", None, "s3")],
        ),
        ({"ELASTICSEARCH_URL": "http://es:9200"}, [Pointer("ELASTICSEARCH_URL", "es", 9200, "elasticsearch")]),
        ({"DB_HOST": "fd00::1"}, [Pointer("DB_HOST", "fd00::1", None, "database")]),
        # What is no server: addresses of the web, a local file, a sentence, an empty value.
        ({"PUBLIC_URL": "https://example.org/db"}, []),
        ({"FRONTEND_URL": "http://web:3000"}, []),
        ({"DATABASE_URL": "sqlite:////data/app.db"}, []),
        ({"DB_HOST": "", "GREETING_SERVER": "hello world"}, []),
        ({"DB_NAME": "db", "HOSTNAME_PATTERN": "x"}, []),
    ],
)
def test_what_variables_point_to(variables: dict[str, str], expected: list[Pointer]) -> None:
    assert list(pointers(variables)) == expected


def test_buckets_are_found() -> None:
    variables = {
        "AWS_STORAGE_BUCKET_NAME": "booking-media",
        "S3_BUCKET": "other",
        "BACKUP_TARGET": "s3://third/path",
        "RATE_LIMIT_BUCKETS": "10",
        "BUCKET_POLICY": "private",
    }
    assert dict(buckets(variables)) == {
        "AWS_STORAGE_BUCKET_NAME": "booking-media",
        "S3_BUCKET": "other",
        "BACKUP_TARGET": "third",
    }


def test_a_password_in_a_url_is_not_kept() -> None:
    assert "verysecret" not in repr(list(pointers({"DATABASE_URL": "mysql://u:verysecret@db/x"})))
