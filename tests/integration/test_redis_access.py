# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways into a Redis server: a socket, a URL, a variable, TLS; and what is found to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.redis import (
    NO_PERSISTENCE,
    PASSWORD,
    ContainerServer,
    HostServer,
    RedisWorld,
    content,
    deployed,
    host_server,
)

pytestmark = pytest.mark.redis


def _there_and_back(world: RedisWorld) -> None:
    backup, state = world.backup(), content(world.server)
    world.server.client().flushall()
    world.restore(backup=backup)["changed"]
    assert content(world.server) == state


def test_by_socket_and_by_url(redis_on_host: HostServer, tmp_path: Path) -> None:
    port = redis_on_host.port
    with deployed(redis_on_host, tmp_path) as world:
        world.options = {"port": None, "socket": str(redis_on_host.home / "socket")}
        _there_and_back(world)
        world.env_file.write_text(f"REDIS_URL=redis://:{PASSWORD}@127.0.0.1:{port}/0\n")
        world.options = {"port": None, "password": None, "password_url": "REDIS_URL"}
        world.extra = {"env_files": [str(world.env_file)]}
        _there_and_back(world)
        # The URL points to a server that a datastore covers; another one is in none.
        world.env_file.write_text(world.env_file.read_text() + "SESSION_REDIS_HOST=sessions.example.org\n")
        missed = world.run("backup")
        assert "sessions.example.org" in missed.msg and f"{port}" not in missed.msg, missed.data


@pytest.mark.docker
def test_by_a_variable_of_the_container(redis_in_container: ContainerServer, tmp_path: Path) -> None:
    with deployed(redis_in_container, tmp_path) as world:
        world.env_file.write_text(f"CACHE_PASSWORD={PASSWORD}\n")
        world.options = {"password": None, "password_variable": "CACHE_PASSWORD"}
        world.extra = {"env_files": [str(world.env_file)]}
        _there_and_back(world)


def test_by_tls(tmp_path: Path) -> None:
    for name in ("server", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.crt"],
            check=True,
            capture_output=True,
        )
    files = ("--tls-cert-file", str(tmp_path / "server.crt"), "--tls-key-file", str(tmp_path / "server.key"))
    with (
        host_server(*NO_PERSISTENCE, *files, "--tls-auth-clients", "no") as server,
        deployed(server, tmp_path) as world,
    ):
        with_tls = server.port + 1 if server.port < 65000 else server.port - 1
        server.client().config_set("tls-port", with_tls)
        world.options = {"port": with_tls, "host": "127.0.0.1", "tls": True, "tls_ca": str(tmp_path / "server.crt")}
        _there_and_back(world)
        world.options = {**world.options, "tls_ca": str(tmp_path / "other.crt")}
        assert "cannot be reached" in world.run("backup").msg


_CLIENT = """
import os, redis, time
client = redis.Redis(port=int(os.environ["PORT"]), password=os.environ["PASSWORD"])
client.ping()
print("connected", flush=True)
time.sleep(600)
"""


def test_a_process_that_is_connected_is_found_before_anything_is_replaced(
    redis_on_host: HostServer, tmp_path: Path
) -> None:
    with deployed(redis_on_host, tmp_path) as world:
        backup = world.backup()
        world.change("later")
        state = content(redis_on_host)
        environment: dict[str, Any] = {**os.environ, "PORT": str(redis_on_host.port), "PASSWORD": PASSWORD}
        with subprocess.Popen([sys.executable, "-c", _CLIENT], env=environment, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            client.stdout.readline()
            refused = world.restore(backup=backup)
            client.kill()
        assert f"process {client.pid}" in refused.msg and "belongs to no service" in refused.msg
        assert content(redis_on_host) == state
