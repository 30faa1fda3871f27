# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no datastore covers is found; what holds no data is left alone."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._platform import coverage
from ansible_collections.day2.ops.plugins.module_utils._platform.application import Application
from ansible_collections.day2.ops.plugins.module_utils._platform.compose import Service, ServiceMount
from ansible_collections.day2.ops.plugins.module_utils._platform.containers import Container, Mount
from ansible_collections.day2.ops.plugins.module_utils._platform.coverage import Covered, ProjectState, Uncovered

from .made import bind, container, volume

DB = container("db", image="mariadb:10.11", mounts=[volume("booking_data", "/var/lib/mysql"), bind("/srv/dumps")])
REDIS = container("redis", image="redis:7", mounts=[volume("a" * 64, "/data")])
WEB_ENV = {
    "DATABASE_URL": "mysql://u:p@db/booking",
    "BACKEND_URL": "http://backend:8000",
    "SMTP_HOST": "mail.example.org",
}


def findings(containers: Sequence[Container], covered: Covered | None = None, **others: Service) -> list[Uncovered]:
    return coverage.project_findings(ProjectState("booking", tuple(containers), others), covered or Covered())


def names(found: Sequence[Uncovered]) -> set[tuple[str, str]]:
    return {(one.kind, one.name) for one in found}


def test_a_fully_described_application_has_no_findings() -> None:
    web = container("web", env=WEB_ENV, mounts=[volume("booking_uploads", "/app/uploads")])
    proxy = container("proxy", image="nginx:1", mounts=[bind("/srv/nginx.conf", "/etc/nginx.conf", rw=False)])
    assert findings([DB, web, proxy], Covered(volumes=("booking_uploads",), containers=(DB.id,))) == []


def test_an_uploads_volume_that_is_not_described_is_found() -> None:
    web = container("web", env=WEB_ENV, mounts=[volume("booking_uploads", "/app/uploads")])
    (found,) = findings([DB, web], Covered(containers=(DB.id,)))
    assert str(found) == "volume booking_uploads (service web writes to it at /app/uploads)"
    for name in ("booking_uploads", "uploads", "web:/app/uploads"):
        assert found.acknowledged([name])
    assert not found.acknowledged(["booking", "web", "/app/uploads"])


def test_an_undescribed_database_is_found_once_with_its_volume() -> None:
    web = container("web", env={"REDIS_URL": "redis://redis:6379/0"})
    (found,) = findings([REDIS, web])
    assert (found.kind, found.name, found.where) == ("server", "redis", "REDIS_URL of service web")
    for name in ("redis", "booking/redis", "booking-redis-1", "redis:6379", "redis:/data"):
        assert found.acknowledged([name])


def test_an_undescribed_database_is_found_by_its_image_too() -> None:
    assert names(findings([REDIS])) == {("server", "redis")}
    assert names(findings([container("cache", image="registry.example.org:5000/valkey/valkey:8@sha256:0", mounts=[volume("v")])])) == {
        ("server", "cache")
    }  # fmt: skip
    assert findings([container("exporter", image="prom/redis_exporter:1")]) == []


def test_a_job_that_uses_a_servers_image_for_its_tools_is_none(tmp_path: Path) -> None:
    unused = Mount("volume", str(tmp_path), "/var/lib/mysql", True, "b" * 64)
    job = container("dumps", image="mariadb:10.11", mounts=[unused])
    assert names(findings([job])) == {("server", "dumps")}
    assert coverage.project_findings(ProjectState("booking", (job,), idle=frozenset({job.id})), Covered()) == []
    (tmp_path / "something").write_text("x")
    found = coverage.project_findings(ProjectState("booking", (job,), idle=frozenset({job.id})), Covered())
    assert names(found) == {("volume", "dumps:/var/lib/mysql")}


def test_a_service_that_is_no_data_server_is_none() -> None:
    backend = container("backend", env={"FRONTEND_HOST": "web", "API_SERVER": "proxy:8080"})
    web = container("web", env={"BACKEND_HOST": "backend", "BACKEND_URL": "http://backend:8000"})
    assert findings([backend, web, container("proxy", image="nginx:1")]) == []


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"DATABASE_URL": "mysql://u:p@db.example.org:3307/booking"}, ("server", "db.example.org:3307")),
        ({"DB_HOST": "db.example.org"}, ("server", "db.example.org")),
        ({"MONGO_URL": "mongodb+srv://u:p@cluster.example.org/x"}, ("server", "cluster.example.org")),
        ({"BROKER": "amqp://u:p@mq.example.org//"}, ("server", "mq.example.org")),
        ({"AWS_STORAGE_BUCKET_NAME": "booking-media"}, ("bucket", "booking-media")),
        ({"AWS_ENDPOINT_URL_S3": "https://s3.example.org"}, ("server", "s3.example.org")),
        ({"REDIS_URL": "redis://host.docker.internal/0"}, ("server", "host.docker.internal")),
    ],
)
def test_a_server_elsewhere_is_found(env: dict[str, str], expected: tuple[str, str]) -> None:
    found = findings([container("web", env=env)])
    assert names(found) == {expected}
    assert found[0].acknowledged([expected[1]])


@pytest.mark.parametrize(
    "env",
    [
        {
            "PUBLIC_URL": "https://booking.example.org",
            "SMTP_HOST": "mail.example.org",
            "SENTRY_DSN": "https://k@s.io/1",
        },
        {"DATABASE_URL": "sqlite:////data/app.db"},
        {"DB_HOST": "localhost", "REDIS_HOST": "127.0.0.1"},  # inside the container itself
        {"MEMCACHED_URL": "memcached://cache.example.org", "LDAP_URL": "ldap://ldap.example.org"},
    ],
)
def test_what_holds_no_data_of_ours_is_left_alone(env: dict[str, str]) -> None:
    assert findings([container("web", env=env)]) == []


def test_a_server_elsewhere_that_is_described_is_covered_at_its_port_only() -> None:
    web = container("web", env={"DATABASE_URL": "mysql://u:p@db.example.org/x", "REDIS_URL": "redis://db.example.org"})
    assert names(findings([web], Covered(hosts=(("db.example.org", 3306),)))) == {("server", "db.example.org")}
    assert findings([web], Covered(hosts=(("db.example.org", None),))) == []


def test_a_mongodb_url_is_covered_by_its_datastore() -> None:
    web = container("web", env={"MONGODB_URI": "mongodb://u:p@m1.example.org,m2.example.org:27018/shop?replicaSet=rs0"})
    both = (("m1.example.org", 27017), ("m2.example.org", 27018))
    assert findings([web], Covered(hosts=both)) == []
    assert names(findings([web], Covered(hosts=both[:1]))) == {("server", "m2.example.org:27018")}
    server = container("mongo", image="mongo:7")
    inside = container("web", env={"MONGODB_URI": "mongodb://u:p@mongo/shop?authSource=admin"})
    assert names(findings([inside, server])) == {("server", "mongo")}
    assert findings([inside, server], Covered(containers=(server.id,))) == []


def test_a_server_in_another_project_is_found_and_covered_by_its_container() -> None:
    shared = container("pg", project="shared", image="postgres:15")
    web = container("web", env={"DATABASE_URL": "postgresql://u:p@pg/x"})
    state = ProjectState("booking", (web,))
    assert names(coverage.project_findings(state, Covered(), (web, shared))) == {("server", "pg")}
    assert coverage.project_findings(state, Covered(containers=(shared.id,)), (web, shared)) == []


def test_a_service_behind_a_profile_counts() -> None:
    job = Service("job", {}, (ServiceMount("volume", "", "/out", True, "booking_exports"),))
    web = container("web", env={"DB_HOST": "job"})
    assert names(findings([web], job=job)) == {("volume", "booking_exports")}


def test_findings_do_not_show_passwords() -> None:
    web = container("web", env={"DATABASE_URL": "mysql://u:verysecret@db.example.org/x"})
    assert "verysecret" not in repr(findings([web]))


# Mounts ---------------------------------------------------------------------------------------------


def test_mounts_that_hold_no_data_are_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x.sock"))
        mounts = [
            bind(str(tmp_path / "x.sock"), "/x.sock"),
            bind("/var/run/docker.sock", "/var/run/docker.sock"),
            bind("/etc/localtime", "/etc/localtime"),
            bind(str(tmp_path), "/config", rw=False),
            Mount("tmpfs", "", "/tmp", True),
        ]
        assert findings([container("web", mounts=mounts)]) == []


def test_a_bind_mount_is_covered_by_a_path_above_it_and_not_by_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "uploads").mkdir(parents=True)
    web = container("web", mounts=[bind(str(tmp_path / "data" / "uploads"))])
    assert findings([web], Covered(paths=(str(tmp_path / "data"),))) == []
    assert findings([web], Covered(paths=(str(tmp_path / "data" / "uploads"),))) == []
    assert names(findings([web], Covered(paths=(str(tmp_path / "other"),)))) == {
        ("path", str(tmp_path / "data" / "uploads"))
    }


def test_a_directory_is_covered_by_what_is_in_it_when_nothing_else_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "empty").mkdir(parents=True)
    for name in ("app.db", "app.db-wal", "app.db-shm"):
        (data / name).write_text("x")
    web = container("web", mounts=[bind(str(data))])
    covered = Covered(paths=(str(data / "app.db"),))
    assert findings([web], covered) == []
    (data / "empty" / "stray.jpg").write_text("x")
    assert names(findings([web], covered)) == {("path", str(data))}


def test_an_anonymous_volume_is_named_by_its_place(tmp_path: Path) -> None:
    web = container("web", mounts=[volume("0123456789abcdef" * 4, "/app/cache")])
    assert names(findings([web])) == {("volume", "web:/app/cache")}


# Everything together --------------------------------------------------------------------------------


def test_env_files_are_looked_at_and_acknowledged_things_left_out(tmp_path: Path) -> None:
    path = tmp_path / ".env.production"
    path.write_text(
        "DATABASE_URL=postgresql://u:p@localhost/garage\nREDIS_URL=redis://localhost\nS3_BUCKET=garage-media\n"
    )
    context = Context(App("garage", "production"), tmp_path)
    covered = Covered(hosts=(("127.0.0.1", 5432), ("localhost", 5432)))
    application = Application(env_files=(str(path),))
    assert names(coverage.find(context, application, covered)) == {("server", "localhost"), ("bucket", "garage-media")}
    application = Application(env_files=(str(path),), uncovered=("localhost:6379", "garage-media"))
    assert coverage.find(context, application, covered) == []
