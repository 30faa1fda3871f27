# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis on the host: one server with the data, and one that a restore goes to."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.bench import rows
from tests.bench.servers import PASSWORD


class _Server:
    """As it comes: a save point now and then, no append-only file."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> Any:
        # DEBUG DIGEST over all keys takes longer than the few seconds that newer drivers wait by default.
        return redis.Redis(port=self.port, password=PASSWORD, socket_timeout=600)

    def start(self) -> None:
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home)]
        argv += ["--requirepass", PASSWORD, "--enable-debug-command", "local", "--loglevel", "warning"]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().ping()  # an error while it loads its file
                return
            except redis.RedisError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError("Redis did not start") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Redis:
    name = "Redis on the host"
    environment: Mapping[str, str] = {"REDISCLI_AUTH": PASSWORD}

    def __init__(self, directory: Path) -> None:
        self.source, self.target = _Server(directory / "source"), _Server(directory / "target")

    @property
    def datastore(self) -> Mapping[str, Any]:
        return {"engine": "redis", "host": "127.0.0.1", "port": self.source.port, "password": PASSWORD}

    @property
    def into(self) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": self.target.port, "password": PASSWORD}

    @property
    def versions(self) -> Sequence[str]:
        return [f"Redis {self.source.client().info('server')['redis_version']}"]

    def fill(self, directory: Path, megabytes: int) -> None:
        client = self.source.client()
        client.flushall()
        for table in range(rows.TABLES):
            pipeline = client.pipeline(transaction=False)
            for row in rows.rows(table, rows.count(megabytes)):
                pipeline.hset(f"t{table}:{row.id}", mapping=row._asdict())
                if row.id % 2000 == 0:
                    pipeline.execute()
            pipeline.execute()

    def change(self, day: int, scattered: bool) -> None:
        client = self.source.client()
        number = client.dbsize() // rows.TABLES
        pipeline = client.pipeline(transaction=False)
        if scattered:
            chosen = [f"t{table}:{one}" for table in range(rows.TABLES) for one in range(day % 100 + 1, number, 100)]
        else:
            chosen = [f"t0:{one}" for one in range(day % 25 * number // 25 + 1, (day % 25 + 1) * number // 25)]
        for key in chosen:
            pipeline.hincrbyfloat(key, "amount", 1)
        pipeline.execute()

    def clear(self) -> None:
        self.target.client().flushall()

    def content(self, restored: bool) -> object:
        """Redis's own digest of everything that it holds."""
        return (self.target if restored else self.source).client().execute_command("DEBUG", "DIGEST")

    def copy(self, target: Path) -> None:
        """A snapshot by the command-line tool, which is what one would store."""
        argv = ["redis-cli", "-p", str(self.source.port), "--no-auth-warning", "-a", PASSWORD, "--rdb", str(target)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def restored(self) -> Path:
        return self.target.home / "dump.rdb"

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Within, the target's file may be put there: a server reads it when it starts."""
        self.target.stop()
        yield
        self.target.start()


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[Redis]:
    subject = Redis(directory)
    try:
        subject.source.start()
        subject.target.start()
        yield subject
    finally:
        for server in (subject.source, subject.target):
            server.stop()
            shutil.rmtree(server.home, ignore_errors=True)
