# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL without a server: statements, command lines, messages and what a server is refused for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import process
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused, ToolFailed, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._core.process import Completed
from ansible_collections.day2.ops.plugins.module_utils._engines.postgresql import (
    PostgreSQL,
    connection,
    names,
    roles,
    settings,
    snapshot,
    stage,
    tools,
)
from ansible_collections.day2.ops.plugins.module_utils._platform.access import Access


class Server:
    """Answers statements by their beginnings; `ran` holds what was sent."""

    def __init__(self, answers: Mapping[str, Any], version: int = 150018) -> None:
        self.answers = answers
        self.major = version // 10000
        self.version_text = f"{self.major}.{version % 10000}"
        self.ran: list[str] = []

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self.ran.append(sql)
        for part, answer in self.answers.items():
            if part in sql:
                if isinstance(answer, Exception):
                    raise answer
                return list(answer)
        return []

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        return self.rows(sql, *parameters)[0]

    def value(self, sql: str, *parameters: Any) -> Any:
        found = self.rows(sql, *parameters)
        return found[0][0] if found else None

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        return [row[0] for row in self.rows(sql, *parameters)]

    def run(self, sql: str, *parameters: Any) -> None:
        self.rows(sql, *parameters)


# Names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("plain", "'plain'"), ("it's", "'it''s'"), ("a\\b", " E'a\\\\b'"), ("'\\", " E'''\\\\'"), ("", "''")],
)
def test_a_literal_is_one_string_whatever_is_in_it(text: str, quoted: str) -> None:
    assert names.literal(text) == quoted


def test_a_database_name_with_an_equals_sign_is_a_name() -> None:
    assert names.conninfo(dbname="host=evil") == "dbname='host=evil'"
    assert names.conninfo(dbname="it's \\") == "dbname='it\\'s \\\\'"


@pytest.mark.parametrize(
    ("schema", "name", "label"),
    [
        ("public", "orders", "public.orders"),
        ("public", "user", "public.user"),  # reserved, and yet the same on every version
        ("a.b", "c", '"a.b".c'),
        ("a", "b.c", 'a."b.c"'),
        ("Odd", 'x"y', '"Odd"."x""y"'),
    ],
)
def test_a_label_is_unambiguous_and_does_not_depend_on_the_version(schema: str, name: str, label: str) -> None:
    assert names.label(schema, name) == label


KNOWN = {1: ("public", "orders"), 2: ("sales", "orders"), 3: ("sales", "items"), 4: ("x", "t"), 5: ("y", "t")}


@pytest.mark.parametrize(
    ("wanted", "oid"), [("orders", 1), ("sales.orders", 2), ("items", 3), ("y.t", 5), ('"items"', 3)]
)
def test_a_table_is_found_by_its_name_or_with_its_schema(wanted: str, oid: int) -> None:
    assert names.choose(wanted, KNOWN, "exclude_tables") == oid


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("t", "Name one of x.t, y.t"), ("order", "Did you mean orders"), ("zzz", "Name it as table or schema.table")],
)
def test_a_table_that_is_ambiguous_or_unknown_is_refused(wanted: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        names.choose(wanted, KNOWN, "exclude_tables")
    assert message in str(refused.value)


# What a dump leaves out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ('"$user", public', ["$user", "public"]),
        ('"a,b", "say ""hi""",  c ', ["a,b", 'say "hi"', "c"]),
        ("", []),
        ('""', []),
    ],
)
def test_a_list_of_names_is_taken_apart_as_the_server_does(value: str, items: list[str]) -> None:
    assert settings.split_list(value) == items


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        ('search_path="$user", sales, public', "\"search_path\" TO '$user', 'sales', 'public'"),
        ("search_path=", "\"search_path\" TO ''"),
        ("work_mem=7MB", "\"work_mem\" TO '7MB'"),
        ("app.tenant=O'Brien = x", "\"app.tenant\" TO 'O''Brien = x'"),
        ("DateStyle=ISO, DMY", "\"DateStyle\" TO 'ISO, DMY'"),  # a list, but not of names
    ],
)
def test_a_setting_is_given_back_as_it_was(setting: str, statement: str) -> None:
    assert settings.assignment(setting) == statement


def test_privileges_of_a_database_are_exactly_those_recorded() -> None:
    acl = [
        ("own", "own", "CREATE", False),
        ("own", "", "CONNECT", False),
        ("own", "reader", "CONNECT", True),
        ("own", "gone", "CONNECT", False),
    ]
    assert settings.acl_statements("db", "own", acl, {"own", "reader"}) == [
        'REVOKE ALL ON DATABASE "db" FROM PUBLIC',
        'REVOKE ALL ON DATABASE "db" FROM "own"',
        'GRANT CREATE ON DATABASE "db" TO "own"',
        'GRANT CONNECT ON DATABASE "db" TO PUBLIC',
        'GRANT CONNECT ON DATABASE "db" TO "reader" WITH GRANT OPTION',
    ]


@pytest.mark.parametrize(
    ("facts", "server", "clause"),
    [
        ({"provider": "c", "collate": "C", "ctype": "de_DE.utf8"}, 13, "LC_COLLATE 'C' LC_CTYPE 'de_DE.utf8'"),
        ({"provider": "c", "collate": "C", "ctype": "C"}, 15, "LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc"),
        ({"provider": "i", "locale": "de"}, 15, "LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        ({"provider": "i", "locale": "de", "icu_rules": "&a<b"}, 16, "ICU_LOCALE 'de' ICU_RULES '&a<b'"),
        ({"provider": "b", "locale": "C.UTF-8"}, 17, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_a_copy_has_the_databases_encoding_and_locale(facts: dict[str, str], server: int, clause: str) -> None:
    statement = settings.create_database("db", "own", {"encoding": "UTF8", **facts}, server)
    assert statement.startswith('CREATE DATABASE "db" TEMPLATE template0 OWNER "own" ENCODING \'UTF8\' ')
    assert statement.endswith(clause)


# Roles -----------------------------------------------------------------------------------------------

APP: dict[str, Any] = {
    "rolname": "app",
    "rolcanlogin": True,
    "rolinherit": True,
    "rolsuper": True,
    "rolreplication": True,
    "rolconnlimit": 5,
    "rolvaliduntil": "2030-01-01T00:00:00+00:00",
    "password": "SCRAM-SHA-256$x",
    "settings": ["work_mem=1MB"],
    "comment": "the app's",
}
OWNER = {"rolname": "own", "rolcanlogin": False, "rolinherit": True, "rolconnlimit": -1}
FACTS = {
    "roles": [APP, OWNER],
    "memberships": [{"role": "own", "member": "app", "admin_option": False}],
    "owners": ["own"],
}


def test_a_missing_role_is_made_as_it_was() -> None:
    assert settings.create_role(APP) == (
        'CREATE ROLE "app" WITH SUPERUSER NOCREATEDB NOCREATEROLE INHERIT LOGIN REPLICATION NOBYPASSRLS'
        " CONNECTION LIMIT 5 VALID UNTIL '2030-01-01T00:00:00+00:00' PASSWORD 'SCRAM-SHA-256$x'"
    )


@pytest.mark.parametrize("mode", ["missing", "all"])
def test_an_existing_roles_way_in_is_never_touched(mode: str) -> None:
    server = Server({"FROM pg_roles": [("app",), ("own",)], "SELECT EXISTS": [(True,)], "is_superuser": [(True,)]})
    assert roles.create(server, FACTS, mode, lambda text: None) == []  # type: ignore[arg-type]
    sent = " ; ".join(server.ran)
    for word in ("PASSWORD", "VALID UNTIL", " LOGIN", "NOLOGIN", "SUPERUSER", "REPLICATION", "CREATE ROLE"):
        assert word not in sent
    assert ("ALTER ROLE" in sent) is (mode == "all")


def test_missing_roles_are_made_with_their_memberships_and_superusers_are_named() -> None:
    server = Server({"FROM pg_roles": [("postgres",)], "SELECT EXISTS": [(False,)], "is_superuser": [(True,)]})
    warnings: list[str] = []
    assert roles.create(server, FACTS, "missing", warnings.append) == ["app", "own"]  # type: ignore[arg-type]
    made = [sql for sql in server.ran if sql.startswith(("CREATE", "ALTER", "GRANT", "COMMENT", "BEGIN", "COMMIT"))]
    assert [sql.split(" WITH")[0] for sql in made] == [
        "BEGIN",
        'CREATE ROLE "app"',
        'ALTER ROLE "app" SET "work_mem" TO \'1MB\'',
        "COMMENT ON ROLE \"app\" IS 'the app''s'",
        'CREATE ROLE "own"',
        'GRANT "own" TO "app"',
        "COMMIT",
    ]
    assert warnings == ["made superusers, as they were when the backup was made: app"]


def test_without_accounts_missing_roles_are_a_refusal_that_names_them() -> None:
    server = Server({"FROM pg_roles": [("own",)]})
    with pytest.raises(Refused, match="the roles app that"):
        roles.create(server, FACTS, "none", lambda text: None)  # type: ignore[arg-type]


def test_a_role_that_may_not_be_made_is_a_refusal_and_half_of_them_are_none() -> None:
    denied = connection.SqlError("permission denied to create role", "42501")
    server = Server({"FROM pg_roles": [], "is_superuser": [(False,)], 'CREATE ROLE "own"': denied})
    with pytest.raises(Refused, match="cannot be created: permission denied"):
        roles.create(server, FACTS, "missing", lambda text: None)  # type: ignore[arg-type]
    assert server.ran[-1] == "ROLLBACK"
    assert "SCRAM" not in str(denied)


@pytest.mark.parametrize(
    ("membership", "server", "suffix"),
    [
        ({"admin_option": False}, 15, ""),
        ({"admin_option": True}, 15, " WITH ADMIN OPTION"),
        (
            {"admin_option": False, "inherit_option": True, "set_option": False},
            16,
            " WITH ADMIN FALSE, INHERIT TRUE, SET FALSE",
        ),
        ({"admin_option": True}, 16, " WITH ADMIN OPTION"),  # recorded on 15
    ],
)
def test_a_membership_keeps_its_options(membership: dict[str, Any], server: int, suffix: str) -> None:
    statement = settings.grant_membership({"role": "g", "member": "m", **membership}, server)
    assert statement == f'GRANT "g" TO "m"{suffix}'


# Tools -----------------------------------------------------------------------------------------------


def tool(version: str, path: str = "") -> tools.Tool:
    return tools.Tool(path or f"/{version}/pg_dump", version)


@pytest.mark.parametrize(
    ("there", "server", "least", "chosen"),
    [
        (["15.18"], 15, 0, "15.18"),
        (["16.2", "15.1"], 15, 0, "15.1"),
        (["16.2"], 13, 0, "16.2"),
        (["17.1", "18.0"], 17, 0, "17.1"),
        (["16.2", "15.1"], 15, 16, "16.2"),  # what pg_dump 16 wrote, pg_restore 15 cannot read
    ],
)
def test_the_tool_of_the_servers_version_is_preferred(there: list[str], server: int, least: int, chosen: str) -> None:
    assert tools.best([tool(version) for version in there], "pg_dump", server, least, "this host").version == chosen


@pytest.mark.parametrize(
    ("there", "server", "least", "message"),
    [
        (["14.9", "13.1"], 15, 0, "pg_dump 14.9 on this host is older than the server (15)"),
        (["15.1"], 15, 16, "older than the pg_dump that wrote the backup (16)"),
        (["17.5", "18.1"], 16, 0, "transaction_timeout"),
    ],
)
def test_a_tool_that_would_fail_later_is_refused_now(there: list[str], server: int, least: int, message: str) -> None:
    with pytest.raises(Refused) as refused:
        tools.best([tool(version) for version in there], "pg_dump", server, least, "this host")
    assert message in str(refused.value)


class Place:
    """A container in which only some programs are."""

    label = "container db"

    def __init__(self, programs: Mapping[str, str]) -> None:
        self.programs = programs

    def run(self, argv: Sequence[str], **more: Any) -> Completed:
        if argv[0] == "broken":
            raise ToolFailed("the container is not running", rc=1)
        if argv[0] not in self.programs:
            raise ToolFailed("no such program", rc=126)
        return Completed(tuple(argv), 0, self.programs[argv[0]].encode(), b"")


def test_a_tool_outside_the_path_is_found() -> None:
    programs = {
        "pg_dump": "pg_dump (PostgreSQL) 13.2\n",
        "/usr/pgsql-15/bin/pg_dump": "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
    }
    found = tools.find(Place(programs), "pg_dump", 15)  # type: ignore[arg-type]
    assert found == tools.Tool("/usr/pgsql-15/bin/pg_dump", "15.18")


def test_a_missing_tool_is_not_taken_for_a_stopped_container() -> None:
    with pytest.raises(Unavailable, match="pg_dump is not installed on container db"):
        tools.find(Place({}), "pg_dump", 15)  # type: ignore[arg-type]
    with pytest.raises(ToolFailed, match="not running"):
        tools.find(Place({}), "broken", 15)  # type: ignore[arg-type]


def test_no_password_is_on_a_command_line() -> None:
    access = Access(Place({}), "me", "s3cret-pass", tool_host="db", tool_port=5433)  # type: ignore[arg-type]
    argv = tools.dump_argv(tool("15.1"), access, "me", "shop", "1-1", tools.dump_flags([names.pattern("s", 'a"b*')]))
    restore = tools.restore_argv(tool("15.1"), access, "me", "day2_x_stage", ["--no-owner"])
    for argument in (*argv, *restore):
        assert "s3cret-pass" not in argument
    assert tools.environment(access, "day2-x")["PGPASSWORD"] == "s3cret-pass"
    assert '--exclude-table="s"."a""b*"' in argv
    assert {"--no-password", "--host=db", "--port=5433", "--snapshot=1-1", "--compress=0"} <= set(argv)
    assert "--exit-on-error" in restore


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (
            "pg_dump: warning: circular\npg_dump: error: query failed: ERROR:  permission denied for table t\n"
            "pg_dump: detail: Query was: LOCK",
            "query failed: ERROR:  permission denied for table t",
        ),
        (
            "pg_restore: error: could not read from input file: end of file\n",
            "could not read from input file: end of file",
        ),
        ("Killed", "Killed"),
        ("", "no message"),
    ],
)
def test_the_sentence_that_says_why_is_found(stderr: str, sentence: str) -> None:
    assert tools.reason(stderr) == sentence


@pytest.mark.parametrize(
    ("rc", "message"), [(3, "pg_dump ended with 3: no message"), (-9, "pg_dump was killed by signal 9: no message")]
)
def test_a_failed_tool_is_called_by_its_name_wherever_it_ran(rc: int, message: str) -> None:
    child = process.Child(process.Command(("true",)))
    child.wait()
    child.argv = ("docker", "exec", "-i", "db", "pg_dump")
    error = tools.failure("pg_dump", child, rc, "")
    assert error.what == message
    assert error.rc == rc
    child.close()


# Connections -----------------------------------------------------------------------------------------

ATTEMPT = connection.Attempt("127.0.0.1:5432", "app", "shop", "postgres", True)
_TCP = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_TCP + 'FATAL:  password authentication failed for user "app"', "refuses the password of user app"),
        (_TCP + "fe_sendauth: no password supplied", "wants a password for user app"),
        (_TCP + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app"', "pg_hba.conf"),
        ('x failed: FATAL:  Peer authentication failed for user "app"', "does not take postgres for user app"),
        (_TCP + 'FATAL:  database "shop" does not exist', 'no database "shop" on the server'),
        (_TCP + 'FATAL:  role "app" does not exist', 'no user "app" on the server'),
        (_TCP + 'FATAL:  permission denied for database "shop"', "may not connect to database shop"),
        (_TCP + 'FATAL:  database "shop" is not currently accepting connections', "accepts no connections"),
        (_TCP + "FATAL:  sorry, too many clients already", "no free connection: sorry, too many clients already"),
        (_TCP + "FATAL:  the database system is starting up", "not ready: the database system is starting up"),
        (
            _TCP + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            "no PostgreSQL server answers at 127.0.0.1:5432: Connection refused",
        ),
        ("failed to resolve host 'nowhere': [Errno -2] Name or service not known", "no PostgreSQL server answers"),
        ("connection timeout expired", "no PostgreSQL server answers at 127.0.0.1:5432: connection timeout expired"),
    ],
)
def test_a_failed_connection_says_what_it_means(text: str, says: str) -> None:
    error = connection.explain(text, ATTEMPT)
    assert says in str(error)
    assert not isinstance(error, connection.Unexplained)


def test_a_failure_of_another_kind_may_be_damage() -> None:
    text = _TCP + 'FATAL:  "base/16384" is not a valid data directory\nDETAIL:  File missing'
    error = connection.explain(text, ATTEMPT)
    assert isinstance(error, connection.Unexplained)
    assert '"base/16384" is not a valid data directory' in str(error)


# What a server is refused for ------------------------------------------------------------------------


def part(**more: Any) -> Part:
    values: dict[str, Any] = {
        "datastore": "main",
        "engine": "postgresql",
        "flavour": "postgresql",
        "content": "data",
        "format": "pgcustom",
        "filename": "database.pgdump",
        "snapshot": "",
        "bytes": 1,
        "sha256": "",
        "fingerprint": Fingerprint(),
        "server_version": "15.18",
        "tool_version": "15.18",
        "facts": {"extensions": {"plpgsql": "1.0", "pg_trgm": "1.6"}, "collate": "C", "ctype": "C", "owners": ["own"]},
    }
    return Part(**{**values, **more})


FULL_RIGHTS: dict[str, Any] = {
    "rolsuper, rolcreatedb": [("postgres", True, True)],
    "pg_available_extensions": [("plpgsql", "1.0"), ("pg_trgm", "1.6"), ("postgis", "3.3.2")],
    "SELECT %s IN ('C'": [(True,)],
}


def test_a_server_that_has_everything_is_accepted() -> None:
    assert stage.check(Server(FULL_RIGHTS), part()) == []  # type: ignore[arg-type]
    assert stage.check(Server(FULL_RIGHTS, 160001), part()) == []  # type: ignore[arg-type]


def test_an_older_server_is_refused_by_name() -> None:
    with pytest.raises(Refused, match=r"the server has version 14\.9, the backup comes from 15\.18"):
        stage.check(Server(FULL_RIGHTS, 140009), part())  # type: ignore[arg-type]


def test_an_older_minor_version_is_accepted() -> None:
    assert stage.check(Server(FULL_RIGHTS, 150002), part()) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ({"postgis": "3.4.0"}, r"older versions of extensions: postgis 3\.3\.2 \(the backup has 3\.4\.0\)"),
        ({"vector": "0.5"}, "lacks the extensions vector"),
    ],
)
def test_missing_and_older_extensions_are_refused(extensions: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        stage.check(Server(FULL_RIGHTS), part(facts={"extensions": extensions}))  # type: ignore[arg-type]


def test_a_missing_locale_is_refused_and_another_encodings_is_not() -> None:
    unknown = {**FULL_RIGHTS, "SELECT %s IN ('C'": [(False,)]}
    facts = {"collate": "de_DE.utf8", "ctype": "C"}
    gone = connection.SqlError('could not create locale "de_DE.utf8": No such file (The operating system …)', "22023")
    with pytest.raises(Refused, match=r"lacks the locale de_DE\.utf8"):
        stage.check(Server({**unknown, "CREATE COLLATION": gone}), part(facts=facts))  # type: ignore[arg-type]
    other = connection.SqlError('encoding "UTF8" does not match locale "de_DE"', "22023")
    assert stage.check(Server({**unknown, "CREATE COLLATION": other}), part(facts=facts)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rights", "foreign", "message"),
    [
        (("me", False, False), [], "user me may not create databases"),
        (("me", False, True), [("own",)], "belong to own, and user me is not a member"),
    ],
)
def test_a_user_without_the_rights_is_refused(rights: tuple[Any, ...], foreign: list[Any], message: str) -> None:
    answers = {"NOT pg_has_role": foreign, **FULL_RIGHTS, "rolsuper, rolcreatedb": [rights]}
    with pytest.raises(Refused, match=message):
        stage.check(Server(answers), part())  # type: ignore[arg-type]


def test_another_format_is_refused() -> None:
    with pytest.raises(Refused, match="format sql"):
        stage.check(Server(FULL_RIGHTS), part(format="sql"))  # type: ignore[arg-type]


def test_missing_tablespaces_and_roles_become_flags_and_warnings() -> None:
    server = Server({"FROM pg_roles": [("own",)], "pg_tablespace": [("pg_default",)], "current_user": [("me",)]})
    facts = {"roles": [{"rolname": "app"}], "tablespaces": ["fast"]}
    flags, warnings = stage.restore_flags(server, part(facts=facts))  # type: ignore[arg-type]
    assert flags == ["--no-owner", "--no-privileges", "--no-tablespaces"]
    assert "app" in warnings[0]
    assert "fast" in warnings[1]


# The rest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "end", "whole"),
    [
        (b"PGDMP\x01", b"row\n" + bytes(5), True),
        (b"PGDMP\x01", b"\x03" + bytes(8), True),
        (b"PGDMP\x01", b"row\n", False),
        (b"PGDMP\x01", bytes(4), False),
        (b"-- SQL", bytes(5), False),
        (b"", b"", False),
    ],
)
def test_a_whole_dump_has_its_mark_and_a_closed_end(head: bytes, end: bytes, whole: bool) -> None:
    source = snapshot.Source(None, "db", tool("15.1"), snapshot.DumpOptions())  # type: ignore[arg-type]
    assert snapshot.Snapshot(source).complete(head, end) is whole


@pytest.mark.parametrize("name", ["shop", "day2_0123456789_abcdef_old", "day2_9999999999_abcdef_stage", "postgres", ""])
def test_only_this_datastores_scratch_is_dropped_as_scratch(name: str) -> None:
    with pytest.raises(Exception, match="not a scratch copy"):
        stage.refuse_if_live(name, "day2_0123456789_")
    stage.refuse_if_live("day2_0123456789_abcdef_stage", "day2_0123456789_")


def test_secret_options_are_declared_secret() -> None:
    assert PostgreSQL.OPTIONS["password"]["no_log"] is True
    assert PostgreSQL.OPTIONS["database"]["required"] is True
