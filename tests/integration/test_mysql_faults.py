# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL when something is wrong: what is refused and in which words, how one logs in, what is killed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import memory
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql_server import MySQL
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.integration.support import mysql_content as content
from tests.integration.support.mariadb import Mariadb, inspected, wait_until
from tests.integration.support.mariadb_content import differences
from tests.integration.support.mariadb_engine import (
    back_up,
    engine_for,
    forked,
    journal_step,
    restore,
    staged,
    warnings_of,
)
from tests.integration.support.mysql import Mysql, container_server
from tests.integration.support.mysql_content import witness

pytestmark = [pytest.mark.mysql, pytest.mark.docker, pytest.mark.faults]

PASSWORD = "a-password"


@pytest.fixture
def database(mysql_database: str) -> str:
    return mysql_database


@pytest.fixture
def server(mysql_in_container: Mysql) -> Mysql:
    return mysql_in_container


# Refused, with a reason ----------------------------------------------------------------------------------


def test_a_user_who_cannot_see_everything_is_refused(server: Mysql, database: str, tmp_path: Path) -> None:
    content.fill(server, database, big=1000)
    user = f"{database}-u"
    server.run(f"CREATE USER `{user}`@`%` IDENTIFIED BY '{PASSWORD}'")

    def describe() -> tuple[str, ...]:
        engine = engine_for(server, database, tmp_path, user=user, password=PASSWORD)
        return engine.describe(DumpOptions()).warnings

    server.run(f"GRANT SELECT, LOCK TABLES, EVENT, EXECUTE ON `{database}`.* TO `{user}`@`%`")
    with pytest.raises(
        Refused, match=rf"no SHOW VIEW, TRIGGER privilege.*GRANT SHOW VIEW, TRIGGER ON `{database}`.\* TO `{user}`@`%`"
    ):
        describe()
    server.run(f"GRANT SHOW VIEW, TRIGGER ON `{database}`.* TO `{user}`@`%`")
    with pytest.raises(Refused, match=r"cannot see the body of .*function doubled.*GRANT SHOW_ROUTINE ON \*\.\* TO"):
        describe()
    server.run(f"REVOKE EXECUTE ON `{database}`.* FROM `{user}`@`%`")
    with pytest.raises(Refused, match="cannot see whether the database has procedures"):
        describe()
    server.run(f"GRANT SHOW_ROUTINE ON *.* TO `{user}`@`%`", f"GRANT EXECUTE ON `{database}`.* TO `{user}`@`%`")
    assert [line for line in describe() if "accounts are not in the backup" in line]
    server.run(f"REVOKE LOCK TABLES ON `{database}`.* FROM `{user}`@`%`")
    assert [line for line in describe() if "no LOCK TABLES privilege" in line]
    server.run(f"GRANT LOCK TABLES ON `{database}`.* TO `{user}`@`%`")

    # The least privileges that were asked for are enough, and what they give is whole.
    engine = engine_for(server, database, tmp_path, user=user, password=PASSWORD)
    part = back_up(engine, tmp_path / "dump", DumpOptions("full"))
    assert part.fingerprint.objects == {"event": 2, "routine": 4, "sequence": 0, "trigger": 6, "view": 5}
    staged(engine_for(server, database, tmp_path), part, tmp_path / "dump")


def test_a_privilege_that_is_revoked_for_the_database_alone_is_missed(
    server: Mysql, database: str, tmp_path: Path
) -> None:
    server.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    user = f"{database}-u"
    server.run(
        f"CREATE USER `{user}`@`%` IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE ON *.* TO `{user}`@`%`",
    )
    engine = engine_for(server, database, tmp_path, user=user, password=PASSWORD)
    server.run("SET GLOBAL partial_revokes = ON")
    try:
        engine.describe(DumpOptions())
        server.run(f"REVOKE TRIGGER ON `{database}`.* FROM `{user}`@`%`")
        with pytest.raises(Refused, match="no TRIGGER privilege on the database"):
            engine.describe(DumpOptions())
    finally:
        server.run(f"DROP USER `{user}`@`%`", "SET GLOBAL partial_revokes = OFF")


def test_an_account_with_the_documented_rights_proves_and_restores(
    server: Mysql, database: str, tmp_path: Path
) -> None:
    """docs/engines.md."""
    content.fill(server, database, big=1000)
    before = witness(server, database)
    user = f"`{database}-u`@`%`"
    server.run(
        f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE, LOCK TABLES ON `{database}`.* TO {user}",
        f"GRANT SHOW_ROUTINE ON *.* TO {user}",
        f"GRANT SELECT ON mysql.* TO {user}",
    )

    def engine() -> Any:
        return engine_for(server, database, tmp_path, user=f"{database}-u", password=PASSWORD)

    part = back_up(engine(), tmp_path / "dump", DumpOptions("full"))
    server.run(
        f"GRANT ALL ON `day2\\_%`.* TO {user}", f"GRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER ON *.* TO {user}"
    )
    with pytest.raises(OpsError, match=r"1419.*log_bin_trust_function_creators"):
        staged(engine(), part, tmp_path / "dump")
    engine().sweep()
    server.run("SET GLOBAL log_bin_trust_function_creators = ON")
    try:
        with pytest.raises(OpsError, match=r"ERROR 1227 .*SYSTEM_USER like theirs"):  # the objects are root's
            staged(engine(), part, tmp_path / "dump")
        server.run(f"GRANT SYSTEM_USER ON *.* TO {user}")
        engine().sweep()
        prover = engine()
        prover.drop_scratch(staged(prover, part, tmp_path / "dump"))
        server.run(f"GRANT ALL ON `{database}`.* TO {user}", f"GRANT PROCESS, CONNECTION_ADMIN ON *.* TO {user}")
        content.damage(server, database)
        restorer = engine()
        with contextlib.closing(server.connect(database)):
            restore(restorer, part, tmp_path / "dump", tmp_path)
    finally:
        server.run("SET GLOBAL log_bin_trust_function_creators = OFF")
    assert "\n".join(differences(before, witness(server, database))) == ""
    assert warnings_of(restorer) == []


def test_the_other_kind_of_tool_is_refused_by_name(
    mysql_in_container: Mysql, mysql_from_host: Mysql, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql_in_container.run(f"CREATE DATABASE `{database}`")
    engine_for(mysql_from_host, database, tmp_path).describe(DumpOptions())
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where Debian has MariaDB's tools under MySQL's names
    with pytest.raises(Refused, match=r"mysqldump on this host is MariaDB's, which does not do for MySQL \(.*MariaDB"):
        engine_for(mysql_from_host, database, tmp_path).describe(DumpOptions())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"mysqldump.*Install mysql-client there"):
        engine_for(mysql_from_host, database, tmp_path).describe(DumpOptions())
    old = engine_for(mysql_in_container, database, tmp_path)
    old.dump_version = "8.0.44"
    with pytest.raises(Refused, match=r"mysqldump 8.0.44 on container .* is older than the server \(9"):
        old.describe(DumpOptions())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "mariadb"}, "made of mariadb"),
        ({"server_version": "99.1.0"}, "older than the one the backup was made of"),
        ({"collations": ["utf8mb4_uca1400_ai_ci"]}, "does not know the collation utf8mb4_uca1400_ai_ci"),
        ({"tables": {"t": "Aria"}}, r"no storage engine Aria \(table t\)"),
        ({"lower_case_table_names": 1}, "lower_case_table_names is 0 here and was 1"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    server: Mysql, database: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    server.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    engine = engine_for(server, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    assert engine.accepts(part) == []
    fields = {key: value for key, value in change.items() if key in ("flavour", "server_version")}
    facts = {**part.facts, **{key: value for key, value in change.items() if key not in fields}}
    with pytest.raises(Refused, match=message):
        engine.accepts(dataclasses.replace(part, facts=facts, **fields))


def test_a_stricter_server_takes_tables_without_the_keys_that_it_wants(
    server: Mysql, database: str, tmp_path: Path
) -> None:
    server.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "CREATE TABLE t (id INT)",
        "INSERT INTO t VALUES (1), (2)",
        "SET restrict_fk_on_non_standard_key = OFF",  # the default before 8.4
        "CREATE TABLE parents (id INT PRIMARY KEY, n INT, KEY (n))",
        "CREATE TABLE children (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES parents (n))",
    )
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump", DumpOptions("full"))
    for setting in ("sql_require_primary_key", "sql_generate_invisible_primary_key"):
        server.run(f"SET GLOBAL {setting} = ON")
        try:
            restore(engine_for(server, database, tmp_path), part, tmp_path / "dump", tmp_path)
        finally:
            server.run(f"SET GLOBAL {setting} = OFF")
        assert "my_row_id" not in server.rows("SHOW CREATE TABLE t", database)[0][1]
        assert server.value("SELECT COUNT(*) FROM t", database) == 2


def test_a_mysql_server_is_no_mariadb_and_the_reverse(
    server: Mysql, mariadb_on_host: Mariadb, database: str, tmp_path: Path
) -> None:
    server.run(f"CREATE DATABASE `{database}`")
    as_mariadb = Mariadb("host", server.options, server.host, server.port)
    with pytest.raises(Refused, match=r"is not MariaDB, or a version that is too old: .*Name its engine"):
        engine_for(as_mariadb, database, tmp_path).ping()
    mariadb_on_host.run(f"CREATE DATABASE `{database}`")
    as_mysql = Mysql("host", mariadb_on_host.options, mariadb_on_host.host, mariadb_on_host.port)
    try:
        with pytest.raises(Refused, match=r"is not MySQL, or a version that is too old: .*Name its engine"):
            engine_for(as_mysql, database, tmp_path).ping()
    finally:
        mariadb_on_host.run(f"DROP DATABASE `{database}`")


# Logging in ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def without_tls(server: Mysql) -> Iterator[None]:
    """A server that finds no certificate offers none; a running one too."""
    before = server.value("SELECT @@GLOBAL.ssl_cert")
    server.run("SET GLOBAL ssl_cert = '/nonexistent'", "ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR")
    try:
        yield
    finally:
        server.run(f"SET GLOBAL ssl_cert = '{before}'", "ALTER INSTANCE RELOAD TLS")


def test_without_tls_an_account_logs_in_that_the_server_does_not_remember(
    mysql: Mysql, database: str, tmp_path: Path
) -> None:
    """caching_sha2_password wants TLS, or the server's key."""
    mysql.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    user, access = f"`{database}-u`@`%`", {"user": f"{database}-u", "password": PASSWORD}
    mysql.run(f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'", f"GRANT ALL ON *.* TO {user}")
    with without_tls(mysql):
        mysql.run("FLUSH PRIVILEGES")  # empties the cache of passwords
        engine = engine_for(mysql, database, tmp_path, **access)
        with engine.session() as sql:
            assert sql.execute("SHOW STATUS LIKE 'Ssl_cipher'") == [("Ssl_cipher", "")]
        mysql.run("FLUSH PRIVILEGES")
        done = engine.place.run(
            [*engine.tools.load(database, "DO 0")[:-1], "--execute=SELECT 42"], env=engine.tools.environment()
        )
        assert b"42" in done.stdout
        mysql.run("FLUSH PRIVILEGES")
        part = back_up(engine, tmp_path / "dump")
        mysql.run("FLUSH PRIVILEGES")
        staged(engine_for(mysql, database, tmp_path, **access), part, tmp_path / "dump")


def test_an_account_that_requires_tls_backs_up_and_restores(mysql: Mysql, database: str, tmp_path: Path) -> None:
    mysql.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    user, access = f"`{database}-u`@`%`", {"user": f"{database}-u", "password": PASSWORD}
    mysql.run(f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}' REQUIRE SSL", f"GRANT ALL ON *.* TO {user}")
    part = back_up(engine_for(mysql, database, tmp_path, **access), tmp_path / "dump")
    restore(engine_for(mysql, database, tmp_path, **access), part, tmp_path / "dump", tmp_path)
    with without_tls(mysql), pytest.raises(Unavailable, match="refuses the user"):
        engine_for(mysql, database, tmp_path, **access).ping()


def scrambled(*lines: str) -> bytes:
    """A login file as mysql_config_editor writes it, which asks a terminal for the password."""
    key, folded = os.urandom(20), bytearray(16)
    for place, byte in enumerate(key):
        folded[place % 16] ^= byte
    content = bytes(4) + key
    for line in lines:
        padding = 16 - len(line) % 16
        encryptor = Cipher(algorithms.AES(bytes(folded)), modes.ECB()).encryptor()  # the format's own
        sealed = encryptor.update(line.encode() + bytes([padding]) * padding) + encryptor.finalize()
        content += len(sealed).to_bytes(4, "little") + sealed
    return content


def test_a_login_file_of_the_system_user_is_not_read(
    mysql_from_host: Mysql, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL's tools read ~/.mylogin.cnf in spite of --no-defaults, and its password comes before that of the environment."""
    mysql_from_host.run(f"CREATE DATABASE `{database}`", f"CREATE TABLE `{database}`.t (id INT PRIMARY KEY)")
    monkeypatch.setenv("HOME", str(tmp_path))
    login = tmp_path / ".mylogin.cnf"
    login.write_bytes(scrambled("[client]\n", 'password = "another"\n'))
    login.chmod(0o600)
    back_up(engine_for(mysql_from_host, database, tmp_path), tmp_path / "dump")


# Killed --------------------------------------------------------------------------------------------------


def rows(server: Mysql, database: str, count: int) -> None:
    """One table whose dump does not fit into any pipe."""
    server.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500))",
        "SET cte_max_recursion_depth = 1000000",
        f"INSERT INTO t {content.numbers(count)} SELECT seq, REPEAT('x', 400) FROM n",
    )


def test_a_dump_and_a_load_that_are_ended_leave_nothing_running(mysql: Mysql, database: str, tmp_path: Path) -> None:
    rows(mysql, database, 50_000)
    engine = engine_for(mysql, database, tmp_path)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        producer.stdout.read(1000)
        assert mysql.tools()
        assert mysql.sessions_of_tools()
        producer.kill()
        producer.kill()
        assert mysql.sessions_of_tools() == []
        assert mysql.tools() == []
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        begin = producer.stdout.read(1000)
        ((session, _statement),) = mysql.sessions_of_tools()
        mysql.run(f"KILL CONNECTION {session}")
        rest = b"".join(iter(lambda: producer.stdout.read(1 << 20), b""))
        with pytest.raises(OpsError, match="lost its connection to the server"):
            producer.finish()
        assert not taken.complete(begin, rest[-4096:])

    part = back_up(engine, tmp_path / "dump")
    engine.stage(part, scratch := engine.context.scratch_name("main", "stage"))
    loader = engine.load(part, scratch)
    loader.stdin.write((tmp_path / "dump").read_bytes()[:5000])
    assert mysql.tools()
    loader.kill()
    wait_until(lambda: not mysql.tools(), 5, "the client's end")
    engine.drop_scratch(scratch)
    assert scratch not in mysql.databases()


def test_what_a_killed_run_left_running_is_swept(mysql: Mysql, database: str, tmp_path: Path) -> None:
    rows(mysql, database, 50_000)

    def leave() -> None:
        engine = engine_for(mysql, database, tmp_path)
        with engine.snapshot(DumpOptions()) as taken:
            taken.dump()
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(leave) == -signal.SIGKILL
    if mysql.kind == "container":
        assert mysql.tools(), "nothing was left to be swept"
    engine_for(mysql, database, tmp_path).sweep()
    wait_until(lambda: not mysql.tools(), 5, "the tool's end")
    wait_until(lambda: not mysql.sessions_of_tools(), 5, "its session's end")


# Many foreign keys ---------------------------------------------------------------------------------------


def linked(server: Mysql, database: str, tables: int, keys: int) -> None:
    """So many tables, each with so many foreign keys."""
    server.run(
        f"CREATE DATABASE `{database}`",
        f"USE `{database}`",
        "SET foreign_key_checks = 0",
        *(
            f"CREATE TABLE t{number} (id INT PRIMARY KEY, "
            + ", ".join(
                f"c{key} INT, FOREIGN KEY (c{key}) REFERENCES t{(number + 7 * key + 1) % tables} (id)"
                for key in range(keys)
            )
            + ")"
            for number in range(tables)
        ),
    )


REFERRED = (
    "SELECT COUNT(*), COUNT(DISTINCT UNIQUE_CONSTRAINT_SCHEMA), MIN(UNIQUE_CONSTRAINT_SCHEMA) "
    "FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{}'"
)


def test_many_foreign_keys_are_moved_table_by_table(server: Mysql, database: str, tmp_path: Path) -> None:
    """One RENAME TABLE over all of them takes memory that a server in a container may not have."""
    limit, tables = MySQL.FLAVOUR.rename_at_once or 0, 12
    keys = limit // (2 * tables) + 1  # live and staged ones count
    linked(server, database, tables, keys)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    with server_log(server) as statements:
        engine.swap(part, scratch, step := journal_step(tmp_path))
        assert len([one for one in statements() if one.startswith("RENAME TABLE")]) == 2 * tables
    old = engine.context.scratch_name("main", "old")
    for one in (database, old):
        assert server.rows(REFERRED.format(one)) == [(tables * keys, 1, one)], "a foreign key did not follow"
    engine.undo(step)
    assert server.rows(REFERRED.format(database)) == [(tables * keys, 1, database)]
    assert sorted(one for one in server.databases() if one.startswith("day2_")) == [scratch]


@pytest.mark.full
def test_a_server_with_little_memory_outlives_a_swap_of_hundreds_of_foreign_keys(database: str, tmp_path: Path) -> None:
    with container_server(flags=["--memory=1g", "--memory-swap=1g"]) as server:
        linked(server, database, 254, 3)
        part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump")
        engine = engine_for(server, database, tmp_path)
        room = memory.headroom(engine.place)
        assert room is not None
        assert 0 < room < 1 << 30
        scratch = staged(engine, part, tmp_path / "dump")
        engine.swap(part, scratch, step := journal_step(tmp_path))
        engine.finish(step)
        assert server.rows(REFERRED.format(database)) == [(762, 1, database)]
        name = server.options["container"]
        assert inspected(name, "{{.State.OOMKilled}} {{.RestartCount}}") == "false 0"


def test_a_container_without_a_limit_has_no_headroom_to_look_at(server: Mysql, database: str, tmp_path: Path) -> None:
    assert memory.headroom(engine_for(server, database, tmp_path).place) is None


@contextlib.contextmanager
def server_log(server: Mysql) -> Iterator[Any]:
    """What the server is asked meanwhile."""
    server.run("TRUNCATE mysql.general_log", "SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = ON")
    try:
        yield lambda: [
            bytes(row[0]).decode(errors="replace") if isinstance(row[0], (bytes, bytearray)) else row[0]
            for row in server.rows("SELECT argument FROM mysql.general_log WHERE command_type = 'Query'")
        ]
    finally:
        server.run("SET GLOBAL general_log = OFF", "TRUNCATE mysql.general_log", "SET GLOBAL log_output = 'FILE'")
