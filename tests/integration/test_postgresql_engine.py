# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL, dumped and restored on real servers: what comes back, and what must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused, ToolFailed
from ansible_collections.day2.ops.plugins.module_utils._core.model import Part
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions

from tests.integration.support import postgres_content as content
from tests.integration.support.postgres import ON_HOST, Postgres, standby_of
from tests.integration.support.postgres_engine import back_up, engine_for, journal_step, load, read_step, restore

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database(postgres_database: str) -> str:
    return postgres_database


def damage(server: Postgres, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("DROP TABLE sales.children CASCADE")
        connection.execute("DELETE FROM sales.kinds WHERE t IS NULL")
        connection.execute("SELECT nextval('sales.kinds_id_seq')")
        connection.execute("SELECT lo_put(424242, 3, 'x')")
        connection.execute("DROP EXTENSION pg_trgm CASCADE")
        connection.execute(f"ALTER DATABASE {database} RESET search_path")
        connection.execute(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
        connection.execute(f"COMMENT ON DATABASE {database} IS NULL")


# What comes back -------------------------------------------------------------------------------------


def test_everything_in_a_database_comes_back(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database, big=650_000)  # one value of 20 MB
    before = content.witness(postgres, database)
    part = back_up(engine_for(postgres, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    part = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert part.fingerprint.tables["sales.kinds"].rows == 504
    assert part.fingerprint.tables["sales.base"].rows == 1, "rows of an inheriting table are counted there"
    assert part.schema_revision == "abc123"

    damage(postgres, database)
    damaged = content.witness(postgres, database)
    assert content.differences(before, damaged)

    engine = engine_for(postgres, database, tmp_path)
    engine.accepts(part)
    scratch = load(engine, part, tmp_path / "dump")
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    assert content.differences(damaged, content.witness(postgres, database)) == [], "staging touched the live database"

    step = journal_step(tmp_path)
    engine.close_sessions()
    engine.swap(part, scratch, step)
    assert content.differences(before, content.witness(postgres, database)) == []
    assert postgres.value("SELECT count(*) FROM pg_stats WHERE schemaname = 'sales'", database) > 20, "not analyzed"

    engine_for(postgres, database, tmp_path).undo(read_step(tmp_path))
    assert content.differences(damaged, content.witness(postgres, database)) == [], "undo does not bring it all back"

    engine.swap(part, scratch, step)
    engine.finish(step)
    assert content.differences(before, content.witness(postgres, database)) == []
    assert [name for name in postgres.databases() if name.startswith("day2_")] == []
    assert engine.warnings == []  # type: ignore[attr-defined]


def test_a_lost_server_comes_back_with_its_roles(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database)
    names = content.roles(database)
    before, roles_before = content.witness(postgres, database), content.role_state(postgres, database)
    part = back_up(engine_for(postgres, database, tmp_path), tmp_path / "dump")
    assert part.fingerprint.tables["sales.base"].rows == 1, "rows of an inheriting table are counted there"
    postgres.drop(database)
    for name in names.values():
        postgres.run(f"DROP ROLE {name}")

    engine = engine_for(postgres, database, tmp_path)
    assert engine.target().exists is False
    assert engine.target().empty
    with pytest.raises(Refused, match=names["owner"]):
        engine.create_accounts(part, "none")
    assert sorted(engine.create_accounts(part, "missing")) == sorted(names.values())
    restore(engine, part, tmp_path / "dump", tmp_path)

    assert content.differences(before, content.witness(postgres, database)) == []
    assert content.role_state(postgres, database) == roles_before
    assert postgres.accepts(names["app"], content.APP_PASSWORD, database)
    assert not postgres.accepts(names["app"], "another", database)
    assert not postgres.accepts(names["lone"], content.APP_PASSWORD, database)


@ON_HOST
@pytest.mark.parametrize("mode", ["missing", "all"])
def test_a_password_rotated_since_the_backup_stays(
    postgres: Postgres, database: str, tmp_path: Path, mode: str
) -> None:
    content.fill(postgres, database)
    names = content.roles(database)
    part = back_up(engine_for(postgres, database, tmp_path), tmp_path / "dump")
    postgres.run(f"ALTER ROLE {names['app']} PASSWORD 'rotated-since'")
    postgres.run(f"ALTER ROLE {names['owner']} NOLOGIN")
    postgres.run(f"REVOKE {names['group']} FROM {names['app']}")

    engine = engine_for(postgres, database, tmp_path)
    assert engine.create_accounts(part, mode) == []
    restore(engine, part, tmp_path / "dump", tmp_path)
    engine.grant_accounts(part, mode)

    member = bool(postgres.rows(f"SELECT FROM pg_auth_members WHERE roleid = '{names['group']}'::regrole"))
    assert member is (mode == "all"), "memberships are given again by `all` only"
    postgres.run(f"GRANT {names['group']} TO {names['app']}")
    assert postgres.accepts(names["app"], "rotated-since", database)
    assert not postgres.accepts(names["app"], content.APP_PASSWORD, database)
    assert not postgres.accepts(names["owner"], content.OWNER_PASSWORD, database), "a closed account was opened again"


def test_a_backup_goes_into_another_database_and_leaves_that_ones_owner_and_settings(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    content.fill(postgres, database)
    copy = f"{database}_copy"
    postgres.run(f"CREATE ROLE {copy}")
    postgres.run(f"CREATE DATABASE {copy} OWNER {copy}")
    postgres.run(f"ALTER DATABASE {copy} SET work_mem = '9MB'")
    before = content.witness(postgres, database)
    part = back_up(engine_for(postgres, database, tmp_path), tmp_path / "dump")

    engine = engine_for(postgres, copy, tmp_path)
    assert engine.target().empty
    restore(engine, part, tmp_path / "dump", tmp_path)

    assert postgres.value(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{copy}'") == copy
    assert postgres.value("SHOW work_mem", copy) == "9MB"
    assert content.differences(before, content.witness(postgres, database)) == []
    found = content.witness(postgres, copy)
    for own in ("database", "settings", "schema"):  # these name the database
        found[own] = before[own]
    assert content.differences(before, found) == []


@ON_HOST
@pytest.mark.parametrize(
    ("encoding", "text"), [("LATIN1", "Grüße ß"), ("SQL_ASCII", "plain"), ("UTF8", "🦑")], ids=lambda value: value
)
def test_encoding_locale_and_an_odd_name_are_kept(
    postgres: Postgres, database: str, tmp_path: Path, encoding: str, text: str
) -> None:
    name = f"""{database} "q" it's=1 \\ ü"""
    quoted = '"' + name.replace('"', '""') + '"'
    postgres.run(f"CREATE DATABASE {quoted} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    postgres.run("CREATE TABLE odd (t text)", name)
    with postgres.connect(name, client_encoding="utf8") as connection:
        connection.execute("INSERT INTO odd VALUES (%s)", (text,))
        connection.execute("CREATE SCHEMA kept; ALTER TABLE odd SET SCHEMA kept; DROP SCHEMA public")
    engine = engine_for(postgres, name, tmp_path)
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    postgres.run("DELETE FROM kept.odd", name)
    restore(engine, part, tmp_path / "dump", tmp_path)

    with postgres.connect(name, client_encoding="utf8") as connection:
        assert connection.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()"
        ).fetchone() == (encoding, "C", "C")
        assert connection.execute("SELECT t FROM kept.odd").fetchone() == (text,)
        assert connection.execute("SELECT to_regnamespace('public')").fetchone() == (None,), "a dropped schema is back"


def test_a_user_who_owns_the_database_and_may_create_databases_is_enough(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    owner = f"{database}_plain"
    postgres.run(f"CREATE ROLE {owner} LOGIN CREATEDB PASSWORD 'plain-password'")
    postgres.run(f"CREATE DATABASE {database} OWNER {owner}")
    with postgres.connect(database, owner, "plain-password") as connection:
        connection.execute("CREATE SCHEMA mine; CREATE TABLE mine.t (i int); INSERT INTO mine.t VALUES (1), (2)")
        connection.execute("CREATE EXTENSION pg_trgm SCHEMA mine; SELECT lo_from_bytea(0, 'x')")
    login = {"user": owner, "password": "plain-password", "run_as": None, "socket": None, "host": postgres.host}
    if postgres.kind == "container":
        login.pop("host")
    engine = engine_for(postgres, database, tmp_path, **login)
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    described = engine.describe(DumpOptions())
    assert any("passwords of the roles" in warning for warning in described.warnings)
    assert not any(role.get("password") for role in described.facts["roles"])
    before = content.witness(postgres, database)
    postgres.run("DELETE FROM mine.t", database)
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert content.differences(before, content.witness(postgres, database)) == []

    postgres.run(f"ALTER ROLE {owner} NOCREATEDB")
    with pytest.raises(Refused, match="may not create databases"):
        engine.accepts(part)


def test_the_rights_that_the_documentation_names_are_enough(postgres: Postgres, database: str, tmp_path: Path) -> None:
    """docs/engines.md; the role `garage` owns the database and its objects."""
    user, garage = f"{database}_day2", f"{database}_garage"
    postgres.run(
        f"CREATE ROLE {garage} LOGIN PASSWORD 'garage-password'; CREATE ROLE {user} LOGIN PASSWORD 'day2-password'"
    )
    postgres.run(f"CREATE DATABASE {database} OWNER {garage}")
    with postgres.connect(database, garage, "garage-password") as connection:
        connection.execute(
            "CREATE TABLE cars (id serial PRIMARY KEY, v text); INSERT INTO cars (v) VALUES ('a'), (NULL);"
            "CREATE SCHEMA parts; CREATE TABLE parts.t (i int); CREATE EXTENSION pg_trgm; GRANT SELECT ON cars TO PUBLIC;"
            "CREATE FUNCTION parts.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT lo_from_bytea(0, 'x');"
            "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM cars; REVOKE USAGE ON SCHEMA public FROM PUBLIC"
        )
    login = {"user": user, "password": "day2-password", "run_as": None, "socket": None, "host": postgres.host}
    if postgres.kind == "container":
        login.pop("host")
    engine = engine_for(postgres, database, tmp_path, **login)
    with pytest.raises(Refused, match=r"may not read table parts\.t"):
        engine.describe(DumpOptions())
    postgres.run(f"GRANT pg_read_all_data TO {user}; GRANT {garage} TO {user}; ALTER ROLE {user} CREATEDB")
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    assert {role["rolname"] for role in part.facts["roles"] if role.get("password")} >= {garage}
    before = content.witness(postgres, database)
    postgres.run("DELETE FROM cars; DROP TABLE parts.t", database)
    with postgres.connect(database):  # somebody else's session
        scratch = load(engine, part, tmp_path / "dump")
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
        with pytest.raises(Refused, match="cannot be ended"):
            engine.close_sessions()
        step = journal_step(tmp_path)
        with pytest.raises(Refused, match="cannot be ended"):
            engine.swap(part, scratch, step)
        assert engine.target().exists
    postgres.run(f"GRANT pg_signal_backend TO {user}")
    with postgres.connect(database, garage, "garage-password"):
        engine.close_sessions()
        engine.swap(part, scratch, step)
    engine.finish(step)
    assert content.differences(before, content.witness(postgres, database)) == []


def test_a_copy_on_a_server_without_the_roles_loads_without_owners(
    postgres_on_host: Postgres, postgres_in_container: Postgres, tmp_path: Path
) -> None:
    """A verification elsewhere makes no accounts there."""
    database = "tforeign"
    try:
        content.fill(postgres_in_container, database)
        postgres_in_container.run("DROP POLICY own_rows ON sales.private", database)
        part = back_up(engine_for(postgres_in_container, database, tmp_path), tmp_path / "dump")
        engine = engine_for(postgres_on_host, database, tmp_path)
        engine.accepts(part)
        scratch = load(engine, part, tmp_path / "dump")
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
        assert any(f"{database}_owner" in warning for warning in engine.warnings)  # type: ignore[attr-defined]
        assert content.role_state(postgres_on_host, database) == []
        engine.drop_scratch(scratch)
    finally:
        for server in (postgres_in_container, postgres_on_host):
            content.remove(server, database)


def test_rows_are_the_same_when_a_restore_orders_their_columns_anew(postgres_on_host: Postgres, tmp_path: Path) -> None:
    """A table that inherits later has its columns in its parent's order when it is made again."""
    server, name = postgres_on_host, "tinherit"
    try:
        server.run(f"CREATE DATABASE {name}")
        server.run(
            "CREATE TABLE base (a int, z int); CREATE TABLE late (z int, own text, a int); ALTER TABLE late INHERIT base;"
            "INSERT INTO late VALUES (1, 'x', 2)",
            name,
        )
        engine = engine_for(server, name, tmp_path)
        part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
        scratch = load(engine, part, tmp_path / "dump")
        assert server.rows("SELECT * FROM late", name) != server.rows("SELECT * FROM late", scratch)
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    finally:
        content.remove(server, name)


@ON_HOST
def test_a_database_that_is_read_only_by_default_is_backed_up_and_restored(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    postgres.run(f"CREATE DATABASE {database}")
    postgres.run("CREATE TABLE t AS SELECT 1 AS i", database)
    postgres.run(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert postgres.rows("SELECT i FROM t", database) == [(1,)]
    assert postgres.value("SHOW default_transaction_read_only", database) == "on"


@ON_HOST
def test_an_icu_locale_is_kept(postgres: Postgres, database: str, tmp_path: Path) -> None:
    postgres.run(f"CREATE DATABASE {database} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'")
    postgres.run("CREATE TABLE t (v text); INSERT INTO t VALUES ('Ärger'), ('Afrika')", database)
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    postgres.run("DELETE FROM t", database)
    restore(engine, part, tmp_path / "dump", tmp_path)
    assert postgres.rows(f"SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = '{database}'") == [
        ("i", "de-u-co-phonebk")
    ]
    assert postgres.rows("SELECT v FROM t ORDER BY v", database) == [("Ärger",), ("Afrika",)]


def test_what_a_user_may_not_give_back_is_said_and_stops_nothing(postgres_on_host: Postgres, tmp_path: Path) -> None:
    """A setting of somebody else's role, and one that only a superuser may make."""
    server, name = postgres_on_host, "tlimited"
    try:
        server.run(f"CREATE ROLE {name}_owner LOGIN CREATEDB PASSWORD 'plain-password'; CREATE ROLE {name}_other")
        server.run(f"CREATE DATABASE {name} OWNER {name}_owner")
        server.run(f"ALTER ROLE {name}_other IN DATABASE {name} SET work_mem = '5MB'")
        server.run(f"ALTER DATABASE {name} SET log_min_duration_statement = '123s'")
        server.run(f"ALTER DATABASE {name} SET work_mem = '6MB'")
        login = {
            "user": f"{name}_owner",
            "password": "plain-password",
            "host": server.host,
            "run_as": None,
            "socket": None,
        }
        engine = engine_for(server, name, tmp_path, **login)
        part = back_up(engine, tmp_path / "dump")
        restore(engine, part, tmp_path / "dump", tmp_path)
        said = " ".join(engine.warnings)  # type: ignore[attr-defined]
        assert 'SET "log_min_duration_statement"' in said
        assert f'ALTER ROLE "{name}_other"' in said
        assert "123s" not in said
        assert server.value("SHOW work_mem", name) == "6MB"
    finally:
        content.remove(server, name)


# Live databases that are damaged ---------------------------------------------------------------------


def test_a_damaged_or_half_dropped_database_is_replaced(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, name = postgres_on_host, "tdamaged"
    assert server.log is not None
    try:
        server.run(f"CREATE DATABASE {name}")
        server.run("CREATE TABLE t AS SELECT 1 AS i", name)
        part = back_up(engine_for(server, name, tmp_path), tmp_path / "dump")

        oid = server.value(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
        (server.log.parent / "data" / "base" / str(oid) / "PG_VERSION").unlink()
        engine = engine_for(server, name, tmp_path)
        target = engine.target()
        assert target.exists
        assert not target.readable
        assert not target.empty
        restore(engine, part, tmp_path / "dump", tmp_path)
        assert server.rows("SELECT i FROM t", name) == [(1,)]

        server.run(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")
        engine = engine_for(server, name, tmp_path)
        assert not engine.target().readable
        restore(engine, part, tmp_path / "dump", tmp_path)
        assert server.rows("SELECT i FROM t", name) == [(1,)]
    finally:
        content.remove(server, name)


@pytest.mark.full
def test_a_standby_is_backed_up_and_says_what_it_does_not_see(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, name = postgres_on_host, "tstandby"
    try:
        content.fill(server, name)
        with standby_of(server) as standby:
            engine = engine_for(standby, name, tmp_path)
            assert any("public.cache" in warning for warning in engine.describe(DumpOptions()).warnings)
            part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
        assert part.fingerprint.tables["public.cache"].rows == 0
        engine = engine_for(server, name, tmp_path)
        scratch = load(engine, part, tmp_path / "dump")
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    finally:
        content.remove(server, name)


# What is left out ------------------------------------------------------------------------------------


def test_excluded_tables_stay_out_of_dump_and_fingerprint(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database)
    engine = engine_for(postgres, database, tmp_path)
    options = DumpOptions(exclude_tables=("sales.audit", "events", 'Odd Schema-é.Tab le "x" ü-1', "sales.empty"))
    part = back_up(engine, tmp_path / "dump", options)
    named = {"sales.audit", "sales.events_2025", "sales.empty", '"Odd Schema-é"."Tab le ""x"" ü-1"'}
    assert not named & set(part.fingerprint.tables)
    assert "sales.kinds" in part.fingerprint.tables
    scratch = load(engine, part, tmp_path / "dump")
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    assert postgres.value("SELECT to_regclass('sales.audit')", scratch) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("sales.kinds", "view sales.v1"),
        ("sales.parents", "foreign key children_parent_fkey of table sales.children"),
        ("sales.base", "inheriting table sales.heir"),
        ("sales.orders", "no table"),
        ("kindz", "Did you mean kinds"),
    ],
)
def test_a_table_that_others_need_or_nobody_knows_is_not_excluded(
    postgres_on_host: Postgres, shop: str, tmp_path: Path, table: str, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        engine_for(postgres_on_host, shop, tmp_path).describe(DumpOptions(exclude_tables=(table,)))
    assert message in str(refused.value)


@pytest.fixture(scope="module")
def shop(postgres_on_host: Postgres) -> object:
    """A filled database that tests only look at."""
    content.fill(postgres_on_host, "tshop")
    yield "tshop"
    content.remove(postgres_on_host, "tshop")


def test_the_newest_value_tells_how_fresh_the_data_are(postgres_on_host: Postgres, shop: str, tmp_path: Path) -> None:
    def described(table: str, column: str) -> object:
        engine = engine_for(postgres_on_host, shop, tmp_path, newest={"table": table, "column": column})
        engine.describe(DumpOptions())
        return back_up(engine, tmp_path / "dump").fingerprint.newest

    assert described("events", "at") == "2026-07-06"
    assert described("sales.empty", "id") is None
    for table, column, message in [
        ("sales.kinds", "no", 'no column "no"'),
        ("sales.kinds", "jb", "without a largest value"),
        ("nowhere", "at", "no table"),
    ]:
        with pytest.raises(Refused, match=message):
            described(table, column)


def test_a_safety_copy_is_made_even_when_the_newest_table_is_gone(
    postgres_on_host: Postgres, shop: str, tmp_path: Path
) -> None:
    engine = engine_for(postgres_on_host, shop, tmp_path, newest={"table": "dropped", "column": "at"})
    with pytest.raises(Refused, match="no table"):
        engine.describe(DumpOptions())
    part = back_up(engine, tmp_path / "dump", DumpOptions(salvage=True))
    assert part.fingerprint.newest is None
    assert part.fingerprint.tables["sales.kinds"].rows == 504
    assert any("how fresh" in warning for warning in engine.describe(DumpOptions(salvage=True)).warnings)


@ON_HOST
def test_a_full_fingerprint_sees_one_changed_value(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database)
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump", DumpOptions(level="full"))
    scratch = load(engine, part, tmp_path / "dump")
    changes = {
        "UPDATE sales.kinds SET f8 = 0.30000000000000004 WHERE f8 = 0.3": "sales.kinds",
        "UPDATE sales.children SET parent = CASE id WHEN 1 THEN 49 ELSE 50 END WHERE id < 3": "sales.children",
        "SELECT lo_put(424242, 5000, '\\x00')": "pg_largeobject",
        "UPDATE sales.kinds SET b = decode('00', 'hex') WHERE b = ''": "sales.kinds",
    }
    for change, table in changes.items():
        postgres.run(change, scratch)
        found = part.fingerprint.differences(engine.staged(part, scratch))
        assert len(found) == 1, change
        assert f"table {table}:" in found[0], change
        engine.drop_scratch(scratch)
        load(engine, part, tmp_path / "dump")
        assert part.fingerprint.differences(engine.staged(part, scratch)) == []


# A staged copy is nobody's ---------------------------------------------------------------------------


def test_nobody_but_the_restore_gets_into_a_staged_copy(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database)
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    scratch = load(engine, part, tmp_path / "dump")
    names = content.roles(database)
    assert postgres.accepts(names["app"], content.APP_PASSWORD, database)
    assert not postgres.accepts(names["app"], content.APP_PASSWORD, scratch)


def test_assertions_read_the_copy_and_cannot_change_it(postgres: Postgres, database: str, tmp_path: Path) -> None:
    content.fill(postgres, database)
    engine = engine_for(postgres, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    scratch = load(engine, part, tmp_path / "dump")
    assert engine.query(scratch, "SELECT count(*), 'x' FROM kinds") == 504, "the database's search_path counts"
    assert engine.query(scratch, "SELECT id FROM sales.empty") is None
    for sql in (
        "DELETE FROM sales.kinds RETURNING id",
        "SELECT 1; DROP TABLE sales.kinds",
        "COMMIT; DELETE FROM sales.kinds",
        "SET default_transaction_read_only = off; COMMIT; DELETE FROM sales.kinds",
        "DROP TABLE sales.kinds",
    ):
        with pytest.raises(ToolFailed):
            engine.query(scratch, sql)
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []


@ON_HOST
def test_scratch_of_dead_runs_is_swept_and_nothing_else(postgres: Postgres, database: str, tmp_path: Path) -> None:
    postgres.run(f"CREATE DATABASE {database}")
    dead, journalled, now = (engine_for(postgres, database, tmp_path) for _run in range(3))
    stages = [engine.context.scratch_name("main", "stage") for engine in (dead, journalled, now)]
    old = dead.context.scratch_name("main", "old")
    foreign = "day2_0000000000_abcdef_stage"
    for name in (*stages, old, foreign):
        postgres.run(f"CREATE DATABASE {name}")
    assert now.sweep(keep=[journalled.context.run_id]) == [stages[0]]
    assert {*stages[1:], old, foreign, database} <= set(postgres.databases())
    for name in (database, old, foreign, "postgres"):
        with pytest.raises(OpsError, match="not a scratch copy"):
            now.drop_scratch(name)
    now.drop_scratch(stages[2])
    now.drop_scratch(stages[2])
    assert stages[2] not in postgres.databases()


# Secrets ---------------------------------------------------------------------------------------------


def test_no_password_or_hash_is_seen_by_others(postgres_on_host: Postgres, tmp_path: Path) -> None:
    server, database = postgres_on_host, "tsecret"
    try:
        content.fill(server, database)
        password = content.OWNER_PASSWORD
        postgres_superuser = f"{database}_owner"
        server.run(f"ALTER ROLE {postgres_superuser} SUPERUSER")
        login = {"user": postgres_superuser, "password": password, "run_as": None, "socket": None, "host": server.host}
        engine = engine_for(server, database, tmp_path, **login)
        seen: list[str] = []
        part = back_up(engine, tmp_path / "dump", while_running=lambda: seen.extend(_command_lines()))
        assert any("pg_dump" in line for line in seen)
        hashes = [role["password"] for role in part.facts["roles"] if role.get("password")]
        assert len(hashes) >= 3
        assert all(value in engine.context.secrets.values for value in hashes)
        server.drop(database)
        for name in ("app", "lone"):
            server.run(f"DROP OWNED BY {database}_{name}; DROP ROLE {database}_{name}")
        assert server.log is not None
        logged = server.log.stat().st_size
        engine.create_accounts(part, "missing")
        scratch = load(engine, part, tmp_path / "dump", while_running=lambda: seen.extend(_command_lines()))
        assert any("pg_restore" in line for line in seen)
        assert not [line for line in seen if password in line]
        text = server.log.read_bytes()[logged:].decode()
        assert f'REVOKE CONNECT, TEMPORARY ON DATABASE "{scratch}"' in text, "the log is not where this test looks"
        assert not re.search("SCRAM-SHA-256", text)
        assert password not in text
    finally:
        content.remove(server, database)


def _command_lines() -> list[str]:
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return lines
