# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB without a server: the archive's bytes, the tools' words, connection strings, recorded answers."""

from __future__ import annotations

import datetime
import struct
from typing import Any
from unittest import mock

import bson
import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, Mismatch, OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import App, TableFingerprint
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb import (
    accounts,
    archive,
    catalog,
    connection,
    fingerprint,
    names,
    oplog,
    sessions_of,
    staging,
    tools,
)
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb.archive import Archive
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb.connection import CommandError, Way, way_of
from ansible_collections.day2.ops.plugins.module_utils._platform import dsn
from ansible_collections.day2.ops.plugins.module_utils._platform.access import Access

# The archive ----------------------------------------------------------------------------------------------

END = b"\xff\xff\xff\xff"
# As mongodump 100.6 writes it of a collection with a unique and an expiring index, and of a view (of MongoDB 6).
METADATA = (
    '{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},'
    '{"v":{"$numberInt":"2"},"unique":true,"key":{"n":{"$numberInt":"1"}},"name":"n_1"},'
    '{"v":{"$numberInt":"2"},"key":{"d":{"$numberInt":"1"}},"name":"d_1","expireAfterSeconds":{"$numberInt":"60"}}],'
    '"uuid":"6a36ad5097ee4a6488399a0782a825a6","collectionName":"orders","type":"collection"}'
)
VIEW = (
    '{"options":{"viewOn":"orders","pipeline":[{"$match":{"n":{"$gt":{"$numberInt":"5"}}}}]},"indexes":[],'
    '"uuid":"","collectionName":"named","type":"view"}'
)


def block(collection: str, *documents: dict[str, Any], end: bool = False) -> bytes:
    header = bson.encode({"db": "shop", "collection": collection, "EOF": end, "CRC": bson.Int64(7)})
    return header + b"".join(bson.encode(one) for one in documents) + END


def made(prelude: tuple[tuple[str, str, str], ...], *blocks: bytes) -> bytes:
    header = bson.encode({"concurrent_collections": 4, "version": "0.1", "server_version": "7.0", "tool_version": "x"})
    described = b"".join(
        bson.encode({"db": "shop", "collection": name, "metadata": metadata, "size": 0, "type": kind})
        for name, metadata, kind in prelude
    )
    return archive.MAGIC + header + described + END + b"".join(blocks)


ORDERS = [
    {"_id": number, "at": datetime.datetime(2026, 1, 1 + number), "pad": "x" * number * 40} for number in range(9)
]
WHOLE = made(
    (("orders", METADATA, "collection"), ("named", VIEW, "view"), ("empty", "", "collection")),
    block("orders", *ORDERS[:4]),
    block("empty", end=True),
    block("orders", *ORDERS[4:]),
    block("orders", end=True),
    block("named", end=True),
)


def read(content: bytes, pieces: int, **options: Any) -> Archive:
    found = Archive(**options)
    for begin in range(0, len(content), pieces):
        found.feed(memoryview(content[begin : begin + pieces]))
    return found


@pytest.mark.parametrize("full", [False, True])
def test_an_archive_is_counted_however_it_is_cut_into_pieces(full: bool) -> None:
    sums = set()
    for pieces in (*range(1, 70), 500, len(WHOLE)):
        seen: list[bytes] = []
        found = read(WHOLE, pieces, full=full, watch={("shop", "orders"): seen.append})
        assert found.whole, pieces
        assert found.documents == {("shop", "orders"): 9, ("shop", "named"): 0, ("shop", "empty"): 0}
        assert [bson.decode(one) for one in seen] == ORDERS
        assert read(WHOLE, pieces, full=full).documents == found.documents
        sums.add(found.checksum(("shop", "orders")))
        assert found.header["version"] == "0.1"
    assert len(sums) == 1
    assert (sums == {None}) is not full


def test_an_archive_without_its_end_is_not_whole() -> None:
    """Cut at every byte; also right behind the end of one collection, where the last bytes look well."""
    for length in range(len(WHOLE)):
        found = read(WHOLE[:length], 37)
        assert not found.whole, length
    early = WHOLE[: -len(block("named", end=True))]
    assert archive.ends_whole(early[:4096], early[-4096:])
    assert not read(early, 4096).whole
    assert archive.ends_whole(WHOLE[:4096], WHOLE[-4096:])
    assert not archive.ends_whole(WHOLE[:4096], WHOLE[:-1])
    assert not archive.ends_whole(b"", WHOLE)


def test_checksums_tell_documents_apart_and_not_their_order() -> None:
    def checksum(*documents: dict[str, Any]) -> str | None:
        content = made((("a", "", ""),), block("a", *documents), block("a", end=True))
        return read(content, 1000, full=True).checksum(("shop", "a"))

    assert checksum({"a": 1}, {"a": 2}) == checksum({"a": 2}, {"a": 1})
    different = [checksum(), checksum({"a": 1}), checksum({"a": 1}, {"a": 1}), checksum({"a": bson.Int64(1)})]
    assert len(set(different)) == 4


@pytest.mark.parametrize(
    "content",
    [b"-- a dump of SQL\n", archive.MAGIC + struct.pack("<i", 4) * 9, archive.MAGIC + b"\xff\xff\xff\x7f" * 9],
)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, pieces: int) -> None:
    with pytest.raises(Mismatch, match=r"no archive|damaged"):
        read(content, pieces)


def test_definitions_come_from_the_archive_and_through_json() -> None:
    found = read(WHOLE, 4096)
    orders, named, empty = (catalog.from_archive(entry) for entry in found.metadata.values())
    assert [one["name"] for one in orders.lasting] == ["n_1"]
    assert [(one["name"], one["expireAfterSeconds"]) for one in orders.expiring] == [("d_1", 60)]
    assert all("v" not in one for one in orders.indexes)
    assert (named.kind, named.options["viewOn"], named.indexes) == ("view", "orders", ())
    assert (empty.kind, empty.indexes) == ("collection", ())
    for one in (orders, named, empty):
        assert catalog.Definition.from_json(one.json()) == one
    assert fingerprint.objects([orders, named, empty]) == {"index": 2, "view": 1}


# The tools --------------------------------------------------------------------------------------------------

# Standard error of mongorestore, as recorded: loaded over documents that are there, cut, and well.
OVER = """2026-11-26T02:36:11.060+0000	restoring to existing collection shop.a without dropping
2026-11-26T02:36:11.071+0000	continuing through error: E11000 duplicate key error collection: shop.a index: _id_ dup key: { _id: 1 }
2026-11-26T02:36:11.083+0000	finished restoring shop.a (2 documents, 1 failure)
2026-11-26T02:36:11.105+0000	2 document(s) restored successfully. 1 document(s) failed to restore."""
CUT = """2026-11-26T02:36:11.083+0000	finished restoring shop.a (0 documents, 0 failures)
2026-11-26T02:36:11.105+0000	Failed: shop.a: error restoring from archive on stdin: reading bson input: unexpected EOF
2026-11-26T02:36:11.105+0000	0 document(s) restored successfully. 0 document(s) failed to restore."""
WELL = "2026-11-26T02:36:11.105+0000	100003 document(s) restored successfully. 0 document(s) failed to restore."


@pytest.mark.parametrize(
    ("rc", "stderr", "expected", "message"),
    [
        (0, OVER, 3, "1 documents could not be restored"),
        (0, OVER, 2, "1 documents could not be restored"),
        (
            1,
            CUT,
            0,
            "mongorestore ended with 1: shop.a: error restoring from archive on stdin: reading bson input: unexpected EOF",
        ),
        (0, WELL, 100004, "100003 of 100004 documents were restored"),
        (0, "", 0, "did not say how many"),
        (0, WELL, 100003, ""),
    ],
)
def test_what_mongorestore_says_counts_more_than_its_exit_code(
    rc: int, stderr: str, expected: int, message: str
) -> None:
    child = mock.Mock(argv=("mongorestore",), stderr_tail=stderr)
    error = tools.explain_load(child, rc, expected)
    assert (str(error.what) if error else "") == (
        message if not message.startswith("did not") else error and error.what
    )
    assert bool(error) is bool(message)


def test_versions_are_read_from_what_the_tools_print() -> None:
    assert tools.version_of("mongodump version: 100.9.4\ngit version: x\n") == "100.9.4"
    assert tools.version_of("mongodump version: built-without-version-string\ngit version: x") == ""


def test_everything_goes_below_the_scratch_name() -> None:
    scratch = "day2_0123456789_abcdef_stage"
    long, odd = "l" * 215, "a*b\\c"
    flags = tools.load_flags("shop", "other", scratch, ["orders", long, odd], ["named"])
    assert "--nsExclude=shop.named" in flags
    assert "--noIndexRestore" in flags
    pairs = [one for one in flags if one.startswith(("--nsFrom", "--nsTo"))]
    assert pairs == [
        "--nsFrom=shop.*",
        f"--nsTo=other.{scratch}_*",
        f"--nsFrom=shop.{long}",
        f"--nsTo=other.{names.within(scratch, long, 'other')}",
    ]
    assert names.within(scratch, "orders", "other") == f"{scratch}_orders"
    hashed = names.within(scratch, long, "other")
    assert hashed.startswith(f"{scratch}_")
    assert len(f"other.{hashed}") < names.LIMIT
    assert names.is_scratch(hashed)
    assert names.pattern(odd) == "a\\*b\\\\c"
    for name in ("orders", "day2_orders", "my_day2_0123456789_abcdef_stage_orders"):
        assert not names.is_scratch(name)


# Connecting -------------------------------------------------------------------------------------------------


def access(url: str = "", **more: Any) -> Access:
    parsed = dsn.parse(url) if url else None
    values = (
        {"user": parsed.user, "password": parsed.password, "host": parsed.host, "port": parsed.port} if parsed else {}
    )
    return Access(place=mock.Mock(), url=parsed, **{**values, **more})


def test_a_connection_string_holds_any_password() -> None:
    way = way_of(access(user="ü@x", password='a/b:c@d%e"f g'), {"port": None}, "day2 x")
    assert way.uri() == (
        "mongodb://%C3%BC%40x:a%2Fb%3Ac%40d%25e%22f%20g@127.0.0.1:27017/?appName=day2+x&directConnection=true&authSource=admin"
    )
    assert way.config().decode() == f'uri: "{way.uri()}"\n'
    assert way.config().count(b"\n") == 1
    assert "a/b" not in repr(way)


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("mongodb://u:p@db/shop", {}, {"hosts": (("db", 27017),), "auth_database": "admin"}),
        ("mongodb://u:p@db:1/shop?authSource=shop", {}, {"hosts": (("db", 1),), "auth_database": "shop"}),
        ("mongodb://u:p@db/shop?authSource=shop", {"auth_database": "x"}, {"auth_database": "x"}),
        (
            "mongodb://u:p@a:1,b:2,c/shop?replicaSet=rs0&tls=true",
            {},
            {"hosts": (("a", 1), ("b", 2), ("c", 27017)), "replica_set": "rs0", "tls": True},
        ),
        ("mongodb://u:p@a:1,b:2/shop", {}, {"hosts": (("a", 1),), "replica_set": None}),
        ("mongodb://u:p@a/shop?tls=true", {"tls": False}, {"tls": False}),
        ("mongodb://u:p@a/shop?ssl=true", {"tls_ca": "/ca.pem"}, {"tls": True, "tls_ca": "/ca.pem"}),
    ],
)
def test_what_a_url_says_is_followed_unless_an_option_says_other(
    url: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    way = way_of(access(url), options, "day2")
    assert {key: getattr(way, key) for key in expected} == expected


def test_a_url_of_names_in_dns_is_refused_unless_the_host_is_given() -> None:
    url = "mongodb+srv://u:p@cluster.example.org/shop"
    with pytest.raises(Refused, match=r"mongodb\+srv .*Name host and port"):
        way_of(access(url), {}, "day2")
    way = way_of(access(url, host="db"), {"host": "db"}, "day2")
    assert (way.hosts, way.user) == ((("db", 27017),), "u")


def test_in_a_container_the_one_server_is_meant() -> None:
    reached = access("mongodb://u:p@a:1,b:2/shop?replicaSet=rs0&tls=true", container="c", host="172.17.0.2", port=27018)
    outside, inside = (way_of(reached, {"port": 27018, "tls_ca": "/ca"}, "day2", place) for place in (False, True))
    assert outside.hosts == (("172.17.0.2", 27018),)
    assert inside.hosts == (("127.0.0.1", 27018),)
    assert outside.options() == {
        "appName": "day2",
        "directConnection": True,
        "authSource": "admin",
        "tls": True,
        "tlsCAFile": "/ca",
        "tlsAllowInvalidHostnames": True,
    }
    assert "tlsCAFile" not in inside.options()
    assert "replicaSet" not in inside.options()
    assert Way((("::1", 1),)).uri() == "mongodb://[::1]:1/?appName=day2&directConnection=true"


def test_only_who_does_not_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", slept.append)
    answers: list[Exception] = [connection.Unreached("nobody") for number in range(3)]
    monkeypatch.setattr(connection, "_connect", mock.Mock(side_effect=[*answers, "connected"]))
    assert connection.connect(Way(()), "shop", 5, 5) == "connected"  # type: ignore[comparison-overlap]
    assert slept == [5, 5, 5]
    monkeypatch.setattr(connection, "_connect", mock.Mock(side_effect=OpsError("wrong password")))
    with pytest.raises(OpsError, match="wrong password"):
        connection.connect(Way(()), "shop", 5, 5)
    assert len(slept) == 3


# What the test bed's server does not have: answers as MongoDB's manual and 7.0 give them -----------------------

IN_PROGRESS = [
    {"type": "op", "opid": 12, "ns": "shop.orders", "client": "10.0.0.5:41000", "appName": "web",
     "effectiveUsers": [{"user": "app", "db": "admin"}], "op": "query", "active": True},
    {"type": "op", "opid": 13, "ns": "shop.$cmd.aggregate", "client": "[::1]:41000", "op": "command", "active": True},
    {"type": "op", "opid": 14, "ns": "shop.orders", "client": "10.0.0.6:41000", "appName": "day2 a-b:c.d", "active": True},
    {"type": "op", "opid": 15, "ns": "shopping.orders", "client": "10.0.0.7:41000", "active": True},
    {"type": "op", "opid": 16, "ns": "shop.orders", "desc": "TTLMonitor", "active": True},
    {"type": "idleSession", "opid": 17, "ns": "", "client": "10.0.0.8:1", "active": False},
]  # fmt: skip


def test_sessions_are_those_of_clients_that_work_on_the_database() -> None:
    found = sessions_of(IN_PROGRESS, "shop")
    assert [(one.id, one.user, one.address, one.program) for one in found] == [
        ("12", "app", "10.0.0.5", "web"),
        ("13", "", "[::1]", ""),
    ]


def test_what_cannot_be_renamed_is_refused_by_name() -> None:
    mongo = mock.Mock()
    for listed, message in (
        ({"name": "t", "type": "timeseries", "options": {"timeseries": {"timeField": "t"}}}, "t is a time series"),
        ({"name": "e", "type": "collection", "options": {"encryptedFields": {"fields": []}}}, "e has encrypted fields"),
    ):
        with pytest.raises(Refused, match=message):
            catalog.check_carried([listed], [], mongo)
        catalog.check_carried([listed], [listed["name"]], mongo)
    with mock.patch.object(catalog, "count", return_value=1), pytest.raises(Refused, match=r"system\.js"):
        catalog.check_carried([{"name": "system.js", "type": "collection"}], [], mongo)
    with mock.patch.object(catalog, "count", return_value=0):
        catalog.check_carried([{"name": "system.js", "type": "collection"}], [], mongo)


USERS = {"users": [{"_id": "shop.app", "userId": b"1", "user": "app", "db": "shop", "mechanisms": ["SCRAM-SHA-256"],
                    "roles": [{"role": "clerk", "db": "shop"}]}], "ok": 1}  # fmt: skip
ROLES = {"roles": [{"role": "chief", "db": "shop", "isBuiltin": False, "roles": [{"role": "clerk", "db": "shop"}],
                    "privileges": []},
                   {"role": "clerk", "db": "shop", "isBuiltin": False, "roles": [{"role": "read", "db": "admin"}],
                    "privileges": [{"resource": {"db": "shop", "collection": ""}, "actions": ["find"]}]}], "ok": 1}  # fmt: skip


class Server:
    """Answers as recorded; createRole refuses a role with one that does not exist, as MongoDB does."""

    name = "copy"

    def __init__(self, users: dict[str, Any], roles: dict[str, Any] | int) -> None:
        self.answers = {"usersInfo": users, "rolesInfo": roles}
        self.made: dict[str, Any] = {}

    def command(self, command: str, value: Any = 1, **more: Any) -> Any:
        if command == "createRole":
            if any(one["role"] not in {*self.made, "read"} for one in more["roles"]):
                raise CommandError(31, "No role named")
            self.made[value] = more
            return {}
        answer = self.answers[command]
        if isinstance(answer, int):
            raise CommandError(answer, "no")
        return answer


def test_missing_roles_are_made_and_missing_users_are_named() -> None:
    warnings: list[str] = []
    context = Context(App("a", "b"), mock.Mock(), warn=warnings.append)
    facts, said = accounts.read(Server(USERS, ROLES))  # type: ignore[arg-type]
    assert said == []
    empty = Server({"ok": 1}, {"roles": [], "ok": 1})
    assert accounts.create(empty, facts, "shop", context) == ["clerk", "chief"]  # type: ignore[arg-type]
    assert empty.made["clerk"] == {
        "privileges": [{"resource": {"db": "copy", "collection": ""}, "actions": ["find"]}],
        "roles": [{"role": "read", "db": "admin"}],
    }
    assert empty.made["chief"]["roles"] == [{"role": "clerk", "db": "copy"}]
    (warning,) = warnings
    assert warning.startswith("the user app (roles: clerk on shop) does not exist here, and cannot be made without")
    warnings.clear()
    same = Server(USERS, ROLES)
    assert accounts.create(same, facts, "shop", context) == []  # type: ignore[arg-type]
    assert (same.made, warnings) == ({}, [])


def test_users_that_cannot_be_read_are_said_to_be_missing() -> None:
    facts, warnings = accounts.read(Server(USERS, 59))  # type: ignore[arg-type]
    assert (facts["roles"], warnings, len(facts["users"])) == ([], [], 1)
    facts, warnings = accounts.read(Server(USERS, 13))  # type: ignore[arg-type]
    assert warnings == ["the roles of the database cannot be read by this user, and are not in the backup"]


# Small things --------------------------------------------------------------------------------------------------


def test_the_newest_value_is_the_servers_largest() -> None:
    def newest(*values: Any, column: str = "a") -> str | None:
        found = fingerprint.Newest(column)
        for value in values:
            found(bson.encode({"a": value}))
        return found.value

    day = datetime.datetime(2026, 1, 1)
    assert newest() is None
    assert newest(None, [1], {"b": 1}) is None
    assert newest(1, 3.5, 2) == "3.5"
    assert newest(bson.Decimal128("3.6"), 3.5) == "3.6"
    assert newest(5, "b", "a") == "b"
    assert newest("b", day, 5, True) == "2026-01-01T00:00:00"
    assert newest(day, bson.Timestamp(1, 2), bson.Timestamp(1, 1)) == str(bson.Timestamp(1, 2))
    assert newest(bson.DatetimeMS(2**60), day) == str(bson.DatetimeMS(2**60))
    assert newest({"b": 1}, {"b": 2}, column="a.b") == "2"


def test_a_query_reads_the_staged_copies_of_everything_that_it_names() -> None:
    pipeline = [
        {"$lookup": {"from": "customers", "pipeline": [{"$unionWith": "old"}], "as": "c"}},
        {"$unionWith": {"coll": "more", "pipeline": [{"$graphLookup": {"from": "tree", "as": "t"}}]}},
        {"$match": {"from": "customers"}},
        {"$facet": {"a": [{"$lookup": {"from": "x", "as": "y"}}]}},
    ]
    assert staging._staged(pipeline, "S", "shop") == [
        {"$lookup": {"from": "S_customers", "pipeline": [{"$unionWith": "S_old"}], "as": "c"}},
        {"$unionWith": {"coll": "S_more", "pipeline": [{"$graphLookup": {"from": "S_tree", "as": "t"}}]}},
        {"$match": {"from": "customers"}},
        {"$facet": {"a": [{"$lookup": {"from": "S_x", "as": "y"}}]}},
    ]
    for stage in ("$out", "$merge"):
        with pytest.raises(Refused, match="writes"):
            staging._staged([{"$facet": {"a": [{stage: "x"}]}}], "S", "shop")


# The oplog ----------------------------------------------------------------------------------------------------

NOW = bson.Timestamp(1700000000, 1)


def entry(op: str, ns: str, o: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"ts": NOW, "t": 1, "v": 2, "op": op, "ns": ns, "o": o, "wall": datetime.datetime(2026, 1, 1), **more}


def transaction(*inner: dict[str, Any], session: int = 1, **more: Any) -> dict[str, Any]:
    before = more.pop("prevOpTime", {"ts": bson.Timestamp(0, 0), "t": -1})
    said = {"applyOps": list(inner), **more}
    return entry("c", "admin.$cmd", said, lsid={"id": session}, txnNumber=bson.Int64(1), prevOpTime=before)


def inner(op: str, ns: str, o: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"op": op, "ns": ns, "ui": bson.Binary(b"u" * 16, 4), "o": o, **more}


def told(*entries: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    return [(one.kind, one.collection, one.document, one.id) for one in oplog.flat(entries, "shop")]


def test_operations_on_the_database_come_from_the_oplog_in_their_order() -> None:
    earlier = {"ts": NOW, "t": 1}
    assert told(
        entry("n", "", {"msg": "periodic noop"}),
        entry("i", "shop.a", {"_id": 1}),
        entry("i", "shopping.a", {"_id": 2}),
        entry("c", "other.$cmd", {"create": "x"}),
        entry("u", "shop.a.b", {"$v": 2, "diff": {"u": {"x": 1}}}, o2={"_id": 1}),
        transaction(inner("i", "shop.t", {"_id": 1}), inner("i", "other.t", {"_id": 1}), partialTxn=True),
        transaction(inner("i", "shop.t", {"_id": 2}), session=2),
        transaction(inner("d", "shop.t", {"_id": 1}), count=bson.Int64(2), prevOpTime=earlier),
        transaction(inner("i", "other.t", {"_id": 1}), prepare=True),
        entry("d", "shop.a", {"_id": 1}),
    ) == [
        ("i", "a", {"_id": 1}, None),
        ("u", "a.b", {"$v": 2, "diff": {"u": {"x": 1}}}, 1),
        ("i", "t", {"_id": 2}, None),
        ("i", "t", {"_id": 1}, None),
        ("d", "t", {"_id": 1}, None),
        ("d", "a", {"_id": 1}, None),
    ]


@pytest.mark.parametrize(
    "entries",
    [
        [entry("c", "shop.$cmd", {"create": "x"})],
        [entry("c", "shop.$cmd", {"createIndexes": "a", "v": 2})],
        [entry("i", "shop.system.views", {"_id": "shop.v"})],
        [entry("xi", "shop.a", {"_id": 1})],
        [transaction(inner("i", "shop.t", {"_id": 1}), prepare=True)],
        [transaction(inner("i", "shop.t", {"_id": 1}), count=bson.Int64(9), prevOpTime={"ts": NOW, "t": 1})],
    ],
)
def test_what_cannot_be_done_again_fails_the_backup(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(Busy):
        told(*entries)


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"$set": {"a": 1}, "$unset": {"b": True}}, [{"$set": {"a": 1}, "$unset": {"b": True}}]),
        ({"$v": 1, "$set": {"a": 1}}, [{"$set": {"a": 1}}]),
        ({"$v": 2, "diff": {"u": {"a": 1}, "i": {"b": 2}}}, [{"$set": {"a": 1, "b": 2}}]),
        ({"$v": 2, "diff": {"d": {"a": False, "b": False}}}, [{"$unset": {"a": "", "b": ""}}]),
        ({"$v": 2, "diff": {"sdoc": {"u": {"a": 1}, "sin": {"d": {"x": False}}}}},
         [{"$set": {"doc.a": 1}, "$unset": {"doc.in.x": ""}}]),
        ({"$v": 2, "diff": {"slist": {"a": True, "l": 3, "u0": 9, "s2": {"u": {"b": 1}}}}},
         [{"$push": {"list": {"$each": [], "$slice": 3}}}, {"$set": {"list.0": 9, "list.2.b": 1}}]),
        ({"$v": 2, "diff": {}}, []),
    ],
)  # fmt: skip
def test_updates_are_written_as_a_client_would(update: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert oplog.changes(update) == expected


def test_a_change_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(Mismatch, match="not understood"):
        oplog.changes({"$v": 2, "diff": {"x": {"a": 1}}})


def test_operations_travel_behind_the_archive() -> None:
    done = [
        oplog.Operation("i", "a", {"_id": 1, "x": bson.Int64(1)}),
        oplog.Operation("u", "a", {"$v": 1, "$set": {"x": 2}}, 1),
        oplog.Operation("d", "b", {"_id": 1}),
    ]
    touched: dict[str, list[int]] = {}
    appended = b"".join(oplog.block(done, touched))
    assert touched == {"a": [1, 0], "b": [0, 1]}
    back = list(oplog.read(appended))
    assert [(one.kind, one.collection, bson.decode(one.document.raw), one.id) for one in back] == [  # type: ignore[attr-defined]
        (one.kind, one.collection, one.document, one.id) for one in done
    ]
    assert isinstance(bson.decode(back[0].document.raw)["x"], bson.Int64)  # type: ignore[attr-defined]
    found = read(WHOLE + appended, 100)
    assert found.whole
    assert found.documents[("shop", "orders")] == 9
    assert archive.ends_whole(WHOLE, WHOLE + appended)
    for length in range(1, len(appended)):
        assert not read(WHOLE + appended[:length], 100).whole
    with pytest.raises(Mismatch, match="damaged"):
        list(oplog.read(appended[:-120]))
    assert oplog.ranged(TableFingerprint(5), 2, 9) == TableFingerprint(0, 7)
