# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: the ways in, and what an engine says when there is none, or when it may not see everything."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.identity import acting_as
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support.postgres import PASSWORD, Postgres, free_port, remove
from tests.integration.support.postgres_engine import back_up, engine_for

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def open_database(postgres_on_host: Postgres) -> Iterator[str]:
    """A database and a user `…_user` with the password `user-password` who may connect and read nothing."""
    name = f"t{secrets.token_hex(4)}"
    postgres_on_host.run(f"CREATE DATABASE {name}")
    postgres_on_host.run(f"CREATE ROLE {name}_user LOGIN PASSWORD 'user-password'")
    postgres_on_host.run("CREATE TABLE t (id serial, i int); INSERT INTO t (i) VALUES (1)", name)
    yield name
    remove(postgres_on_host, name)


def by_password(server: Postgres, **more: Any) -> dict[str, Any]:
    """Options for a way in over TCP."""
    login = {"user": "postgres", "password": PASSWORD, "host": server.host, "run_as": None, "socket": None}
    if server.kind == "container":
        login["host"] = None
    return {**login, **more}


def refusal(server: Postgres, database: str, directory: Path, **options: Any) -> str:
    with pytest.raises(Unavailable) as refused:
        engine_for(server, database, directory, **options).ping()
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_both_servers_let_a_described_user_in(postgres: Postgres, tmp_path: Path) -> None:
    engine_for(postgres, "postgres", tmp_path).ping()
    engine_for(postgres, "postgres", tmp_path, **by_password(postgres)).ping()


def test_a_wrong_password_is_told_from_everything_else(postgres: Postgres, tmp_path: Path) -> None:
    """In the container every password passes on its own sockets; it is asked from outside."""
    message = refusal(postgres, "postgres", tmp_path, **by_password(postgres, password="wrong-password"))
    assert "refuses the password of user postgres" in message
    assert "wrong-password" not in message


def test_a_missing_password_is_asked_for(postgres: Postgres, tmp_path: Path) -> None:
    message = refusal(postgres, "postgres", tmp_path, **by_password(postgres, password=None, host=postgres.host))
    assert "wants a password for user postgres" in message
    assert "password_variable" in message


def test_an_unknown_database_or_user_is_named(postgres: Postgres, tmp_path: Path) -> None:
    assert 'no database "nowhere"' in refusal(postgres, "nowhere", tmp_path)
    message = refusal(postgres, "postgres", tmp_path, **by_password(postgres, user="nobody_here"))
    assert "nobody_here" in message


def test_a_server_that_is_down_is_named_with_its_address(postgres_on_host: Postgres, tmp_path: Path) -> None:
    port = free_port()
    message = refusal(postgres_on_host, "postgres", tmp_path, **by_password(postgres_on_host, port=port))
    assert f"no PostgreSQL server answers at 127.0.0.1:{port}: Connection refused" in message
    message = refusal(postgres_on_host, "postgres", tmp_path, port=port)
    assert "no PostgreSQL server answers" in message


def test_a_user_without_connect_is_told_so(postgres_on_host: Postgres, open_database: str, tmp_path: Path) -> None:
    postgres_on_host.run(f"REVOKE CONNECT ON DATABASE {open_database} FROM PUBLIC")
    try:
        login = by_password(postgres_on_host, user=f"{open_database}_user", password="user-password")
        message = refusal(postgres_on_host, open_database, tmp_path, **login)
        assert f"may not connect to database {open_database}" in message
    finally:
        postgres_on_host.run(f"GRANT CONNECT ON DATABASE {open_database} TO PUBLIC")


# Peer authentication ---------------------------------------------------------------------------------


def test_run_as_is_who_the_server_sees(postgres_on_host: Postgres, open_database: str, tmp_path: Path) -> None:
    """pg_hba.conf has `local all all peer`; only the system user postgres may be the role postgres."""
    engine = engine_for(postgres_on_host, open_database, tmp_path)
    engine.ping()
    assert os.geteuid() == 0
    assert back_up(engine, tmp_path / "dump").fingerprint.tables["public.t"].rows == 1  # the tools, too


def test_without_run_as_the_message_says_how(postgres_on_host: Postgres, open_database: str, tmp_path: Path) -> None:
    message = refusal(postgres_on_host, open_database, tmp_path, run_as=None, user="postgres")
    assert "does not take this system user for user postgres (peer authentication)" in message
    assert "run_as" in message
    message = refusal(postgres_on_host, open_database, tmp_path, run_as="nobody", user="postgres")
    assert "does not take nobody for user postgres" in message


def test_run_as_changes_no_other_thread() -> None:
    """The relay opens files as root while a connection is made as postgres."""
    seen: list[str] = []
    inside, looked = threading.Event(), threading.Event()

    def look() -> None:
        inside.wait(10)
        seen.append(_effective_uid())
        looked.set()

    other = threading.Thread(target=look)
    other.start()
    with acting_as("postgres"):
        mine = _effective_uid()
        inside.set()
        looked.wait(10)
    other.join()
    assert mine != "0"
    assert seen == ["0"]
    assert _effective_uid() == "0"


def _effective_uid() -> str:
    """Of the calling thread, as the kernel has it."""
    status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
    return next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))


# What must be readable -------------------------------------------------------------------------------


def describe(server: Postgres, database: str, directory: Path, *exclude: str) -> Any:
    login = by_password(server, user=f"{database}_user", password="user-password")
    return engine_for(server, database, directory, **login).describe(DumpOptions(exclude_tables=exclude))


def test_what_the_user_cannot_read_is_named_before_anything_is_dumped(
    postgres_on_host: Postgres, open_database: str, tmp_path: Path
) -> None:
    server, user = postgres_on_host, f"{open_database}_user"

    def run(statement: str) -> None:
        server.run(statement, open_database)

    with pytest.raises(Refused, match=r"may not read table public\.t, sequence public\.t_id_seq"):
        describe(server, open_database, tmp_path)
    run(f"GRANT SELECT ON t TO {user}")
    with pytest.raises(Refused, match=r"may not read sequence public\.t_id_seq"):
        describe(server, open_database, tmp_path)
    run(f"GRANT USAGE ON SEQUENCE t_id_seq TO {user}")  # nextval is not what a dump reads
    with pytest.raises(Refused, match=r"may not read sequence public\.t_id_seq"):
        describe(server, open_database, tmp_path)
    run(f"GRANT SELECT ON SEQUENCE t_id_seq TO {user}")
    describe(server, open_database, tmp_path)

    run(f"CREATE SCHEMA closed; CREATE TABLE closed.x (); GRANT SELECT ON closed.x TO {user}")
    with pytest.raises(Refused, match=r"may not read table closed\.x"):
        describe(server, open_database, tmp_path)
    run("DROP SCHEMA closed CASCADE; SELECT lo_from_bytea(4711, 'x')")
    with pytest.raises(Refused, match="may not read 1 of the large objects"):
        describe(server, open_database, tmp_path)
    run(f"GRANT SELECT ON LARGE OBJECT 4711 TO {user}")
    describe(server, open_database, tmp_path)

    run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    with pytest.raises(Refused, match=r"row level security hides rows of public\.t"):
        describe(server, open_database, tmp_path)
    assert describe(server, open_database, tmp_path, "t").flavour == "postgresql"
    run(f"ALTER ROLE {user} BYPASSRLS")
    part = back_up(
        engine_for(server, open_database, tmp_path, **by_password(server, user=user, password="user-password")),
        tmp_path / "dump",
    )
    assert part.fingerprint.tables["public.t"].rows == 1


def test_a_user_confined_to_his_database_can_back_it_up(
    postgres_on_host: Postgres, open_database: str, tmp_path: Path
) -> None:
    """Without CONNECT on postgres and template1 only a restore is refused."""
    server, name = postgres_on_host, f"{open_database}_own"
    server.run(f"CREATE ROLE {name} LOGIN PASSWORD 'user-password'")
    server.run(f"CREATE DATABASE {name} OWNER {name}")
    server.run("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    try:
        with server.connect(name, name, "user-password") as connection:
            connection.execute("CREATE SCHEMA s; CREATE TABLE s.t (i int)")
        engine = engine_for(server, name, tmp_path, **by_password(server, user=name, password="user-password"))
        part = back_up(engine, tmp_path / "dump")
        assert part.facts["owner"] == name
        with pytest.raises(OpsError, match="may not connect to database postgres"):
            engine.accepts(part)
    finally:
        server.run("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")


def test_what_a_dump_leaves_out_is_said(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, name = postgres_on_host, f"t{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {name}")
    try:
        server.run(
            "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
            "CREATE FOREIGN TABLE elsewhere (line text) SERVER files OPTIONS (filename '/etc/hostname');",
            name,
        )
        with server.connect(name) as connection:
            connection.execute(
                f"CREATE SUBSCRIPTION {name}_sub CONNECTION 'host=192.0.2.1 dbname=x' PUBLICATION p WITH (connect = false)"
            )
        described = engine_for(server, name, tmp_path).describe(DumpOptions())
        assert any("foreign tables public.elsewhere" in warning for warning in described.warnings)
        assert any(f"subscription {name}_sub" in warning for warning in described.warnings)
    finally:
        server.run(f"ALTER SUBSCRIPTION {name}_sub SET (slot_name = NONE)", name)
        server.run(f"DROP SUBSCRIPTION {name}_sub", name)
        remove(server, name)
