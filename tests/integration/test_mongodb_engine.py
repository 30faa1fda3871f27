# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB's engine on a real server: what goes in comes out, byte for byte, and in no other place."""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Chosen, DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb import oplog
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb.names import is_scratch
from bson import Int64, Timestamp

from tests.integration.support import mongo as servers
from tests.integration.support.mariadb import wait_until
from tests.integration.support.mongo import MongoServer, content
from tests.integration.support.mongo_engine import back_up, engine_for, load, restore, staged, warnings_of
from tests.integration.support.mongo_world import fill

pytestmark = [pytest.mark.mongodb, pytest.mark.docker]

FULL = DumpOptions(level="full")


@pytest.fixture
def other(mongo_in_container: MongoServer) -> Iterator[str]:
    """Another database, which does not exist yet."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    servers.remove(mongo_in_container, name)


def scratch_of(server: MongoServer, database: str) -> list[str]:
    return [name for name in server.collections(database) if is_scratch(name)]


# Whole ----------------------------------------------------------------------------------------------------


def test_everything_comes_back_byte_for_byte(mongo: MongoServer, mongo_database: str, tmp_path: Path) -> None:
    fill(mongo, mongo_database)
    before = content(mongo, mongo_database)
    assert {"fs.files", "fs.chunks", "dotted.name", "empty", "types"} <= set(before)
    assert len(before["types"][2]) > 2000
    engine = engine_for(mongo, mongo_database, tmp_path, newest={"table": "sessions", "column": "seen"})
    part = back_up(engine, tmp_path / "dump", FULL)
    assert part.fingerprint.newest == "2026-01-01T00:00:00"
    assert part.fingerprint.tables["types"].rows == 8
    assert part.fingerprint.objects == {"index": 6, "view": 0}
    assert warnings_of(engine) == []
    with mongo.database(mongo_database) as opened:
        opened.drop_collection("fs.chunks")
        opened.types.update_many({}, {"$set": {"x": 1}})
        opened.sessions.drop_index("seen_1")
        opened["dotted.name"].delete_many({})
        opened["made.later"].insert_one({"_id": 1})
    restorer = engine_for(mongo, mongo_database, tmp_path, newest={"table": "sessions", "column": "seen"})
    restore(restorer, part, tmp_path / "dump", tmp_path)
    assert content(mongo, mongo_database) == before
    assert warnings_of(restorer) == []


def test_a_full_fingerprint_sees_one_changed_byte(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    fill(mongo_in_container, mongo_database_in_container)
    engine = engine_for(mongo_in_container, mongo_database_in_container, tmp_path)
    part = back_up(engine, tmp_path / "dump", FULL)
    scratch = staged(engine, part, tmp_path / "dump")
    with mongo_in_container.database(mongo_database_in_container) as opened:
        opened[f"{scratch}_types"].update_one({"_id": 1}, {"$set": {"true": False}})
    (line,) = part.fingerprint.differences(engine.staged(part, scratch))
    assert line.startswith("table types: 8 rows, checksum")
    with mongo_in_container.database(mongo_database_in_container) as opened:
        opened[f"{scratch}_orders"].drop_index("number_1")
        opened[f"{scratch}_empty"].drop()
    lines = part.fingerprint.differences(engine.staged(part, scratch))
    assert "index: 6 expected, 5 found" in lines
    assert "table empty is missing" in lines
    engine.drop_scratch(scratch)
    assert scratch_of(mongo_in_container, mongo_database_in_container) == []


def test_restored_under_another_name(
    mongo_in_container: MongoServer, mongo_database_in_container: str, other: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    fill(server, database)
    long = "l" * (servers_limit(database) - 5)
    with server.database(database) as opened:
        opened[long].insert_one({"_id": 1})
        opened[long].create_index("a")
    before = content(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump", FULL)
    there = engine_for(server, other, tmp_path)
    assert not there.target().exists
    restore(there, part, tmp_path / "dump", tmp_path)
    assert content(server, other) == before
    assert content(server, database) == before, "the source was touched"
    assert there.target("counts").fingerprint is not None
    with pytest.raises(Refused, match="holds no collections on this server"):
        engine_for(server, "t-nowhere", tmp_path).ping()


def servers_limit(database: str) -> int:
    """The longest name of a collection."""
    return 235 - len(database) - 1


def test_excluded_collections_are_restored_empty_with_their_indexes(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    fill(server, database)
    before = content(server, database)
    engine = engine_for(server, database, tmp_path)
    with pytest.raises(Refused, match="exclude_tables names nothing"):
        engine.describe(DumpOptions(exclude_tables=("nothing",)))
    part = back_up(engine, tmp_path / "dump", DumpOptions(exclude_tables=("orders", "sessions")))
    assert b"sessions" not in (tmp_path / "dump").read_bytes()
    assert "the backup holds no documents of orders, sessions: they will be empty" in engine.accepts(part)
    restore(engine, part, tmp_path / "dump", tmp_path)
    after = content(server, database)
    for name in before:
        kind, options, _raw, indexes = before[name]
        expected = (kind, options, b"", indexes) if name in ("orders", "sessions") else before[name]
        assert after[name] == expected


# While others write -----------------------------------------------------------------------------------------


def test_writers_meanwhile_are_named_and_the_count_is_that_of_the_dump(
    mongo: MongoServer, mongo_database: str, tmp_path: Path
) -> None:
    with mongo.database(mongo_database) as opened:
        opened.calm.insert_many([{"_id": number} for number in range(100)])
        opened.busy.insert_many([{"pad": "x" * 500} for number in range(3000)])
    stop = threading.Event()

    def write() -> None:
        with mongo.database(mongo_database) as opened:
            while not stop.is_set():
                opened.busy.insert_many([{"pad": "y" * 500, "at": time.time()} for number in range(10)])

    writer = threading.Thread(target=write)
    engine = engine_for(mongo, mongo_database, tmp_path)
    writer.start()
    try:
        part = back_up(engine, tmp_path / "dump", FULL, while_running=lambda: time.sleep(0.5))
    finally:
        stop.set()
        writer.join()
    (warning,) = warnings_of(engine)
    assert warning.startswith("busy changed while they were dumped")
    assert part.fingerprint.tables["busy"].rows_max is None
    assert part.fingerprint.tables["busy"].rows >= 3000
    scratch = staged(engine, part, tmp_path / "dump")
    with mongo.database(mongo_database) as opened:
        assert opened[f"{scratch}_busy"].count_documents({}) == part.fingerprint.tables["busy"].rows
        assert opened.busy.count_documents({}) > part.fingerprint.tables["busy"].rows
    engine.drop_scratch(scratch)


# The load ---------------------------------------------------------------------------------------------------


def test_a_truncated_stream_is_no_dump_and_no_load(mongo: MongoServer, mongo_database: str, tmp_path: Path) -> None:
    fill(mongo, mongo_database)
    engine = engine_for(mongo, mongo_database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    whole = (tmp_path / "dump").read_bytes()
    for cut in (1, 4, 100, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut").write_bytes(whole[:-cut])
        with pytest.raises(OpsError):
            load(engine, part, tmp_path / "cut")
    engine.drop_scratch(engine.context.scratch_name("main", "stage"))
    assert scratch_of(mongo, mongo_database) == []
    assert mongo.tools(mongo_database) == []


def test_documents_that_fail_make_the_load_fail_although_the_tool_ends_with_0(
    mongo: MongoServer, mongo_database: str, tmp_path: Path
) -> None:
    fill(mongo, mongo_database)
    engine = engine_for(mongo, mongo_database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    taken = f"{engine.context.scratch_name('main', 'stage')}_sessions"

    def occupy() -> None:
        with mongo.database(mongo_database) as opened:
            opened[taken].insert_one({"_id": 2})

    with pytest.raises(OpsError, match="1 documents could not be restored") as caught:
        load(engine, part, tmp_path / "dump", while_running=occupy)
    assert caught.value.rc == 0

    fewer = dataclasses.replace(
        part,
        fingerprint=dataclasses.replace(
            part.fingerprint, tables={k: v for k, v in part.fingerprint.tables.items() if k != "types"}
        ),
    )
    with pytest.raises(OpsError, match=r"\d+ of \d+ documents were restored"):
        load(engine, fewer, tmp_path / "dump")
    engine.drop_scratch(engine.context.scratch_name("main", "stage"))


def test_expiring_indexes_are_made_at_the_swap_only(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    with server.database(database) as opened:
        opened.sessions.create_index("seen", expireAfterSeconds=60)
        opened.sessions.create_index("user")
        opened.sessions.insert_one({"_id": 1, "seen": datetime.datetime(2020, 1, 1)})
    engine = engine_for(server, database, tmp_path)
    part = back_up(engine, tmp_path / "dump", FULL)
    assert part.fingerprint.tables["sessions"].rows == 1
    scratch = staged(engine, part, tmp_path / "dump")
    with server.database(database) as opened:
        assert set(opened[f"{scratch}_sessions"].index_information()) == {"_id_", "user_1"}
    step = Journal(tmp_path / "journal.json").begin("swap:main")
    engine.swap(part, scratch, step)
    engine.finish(step)
    with server.database(database) as opened:
        assert opened.sessions.index_information()["seen_1"]["expireAfterSeconds"] == 60
        assert set(opened.sessions.index_information()) == {"_id_", "seen_1", "user_1"}


@pytest.mark.full
def test_what_is_older_than_its_time_to_live_survives_until_it_is_swapped(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    with server.database(database) as opened:
        opened.sessions.create_index("seen", expireAfterSeconds=1)
        opened.sessions.insert_one({"_id": 1, "seen": datetime.datetime(2020, 1, 1)})
    engine = engine_for(server, database, tmp_path)
    part = back_up(engine, tmp_path / "dump", FULL)
    scratch = staged(engine, part, tmp_path / "dump")
    with server.database(database) as opened:
        wait_until(lambda: opened.sessions.count_documents({}) == 0, 180, "the expiry of the live document")
    time.sleep(65)  # the server looks once a minute
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    engine.drop_scratch(scratch)


# Verification -----------------------------------------------------------------------------------------------


def test_a_query_reads_the_staged_copy(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    with server.database(database) as opened:
        opened.orders.insert_many([{"_id": number, "customer": number % 2} for number in range(10)])
        opened.customers.insert_many([{"_id": number, "name": f"c{number}"} for number in range(2)])
    engine = engine_for(server, database, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    scratch = staged(engine, part, tmp_path / "dump")
    with server.database(database) as opened:
        opened.orders.delete_many({})
        opened.customers.delete_many({})
    join = '{"$lookup": {"from": "customers", "localField": "customer", "foreignField": "_id", "as": "c"}}'
    assert engine.query(scratch, '{"collection": "orders", "pipeline": [{"$count": "n"}]}') == 10
    joined = (
        f'{{"collection": "orders", "pipeline": [{join}, {{"$unwind": "$c"}}, {{"$match": {{"c.name": "c1"}}}}, '
        '{"$group": {"_id": null, "n": {"$sum": 1}}}]}'
    )
    assert engine.query(scratch, joined) == 5
    assert engine.query(scratch, '{"collection": "nothing", "pipeline": []}') is None
    for wrong in ("SELECT 1", "[]", '{"collection": "orders"}', '{"collection": 1, "pipeline": []}'):
        with pytest.raises(Refused, match="this is no query of MongoDB"):
            engine.query(scratch, wrong)
    with pytest.raises(Refused, match=r"\$out writes"):
        engine.query(scratch, '{"collection": "orders", "pipeline": [{"$out": "x"}]}')
    with pytest.raises(Refused, match="is no scratch copy"):
        engine.query(database, '{"collection": "orders", "pipeline": []}')
    engine.drop_scratch(scratch)


def test_what_killed_runs_left_is_swept_and_nothing_else(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    server, database = mongo_in_container, mongo_database_in_container
    killed, alive, mine = (engine_for(server, database, tmp_path) for number in range(3))
    names = [engine.context.scratch_name("main", "stage") for engine in (killed, alive, mine)]
    kept = killed.context.scratch_name("main", "old")
    stranger = "day2_0123456789_abcdef_stage_orders"
    with server.database(database) as opened:
        for name in (*(f"{one}_orders" for one in names), f"{kept}_orders", stranger, "orders"):
            opened[name].insert_one({"_id": 1})
    assert mine.sweep([alive.context.run_id]) == [names[0]]
    left = {*(f"{one}_orders" for one in names[1:]), f"{kept}_orders", stranger, "orders"}
    assert set(server.collections(database)) == left
    # None of them is taken for the application's.
    part = back_up(mine, tmp_path / "dump")
    assert set(part.fingerprint.tables) == {"orders"}
    assert mine.target().objects == ("orders",)


# Parts of it --------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path) -> Any:
    """A database, backed up, and changed since."""
    server, database = mongo_in_container, mongo_database_in_container
    fill(server, database)
    before = content(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump", FULL)
    with server.database(database) as opened:
        opened.orders.insert_one({"number": 5000})
        opened.types.delete_many({})
        opened["fs.files"].delete_many({})
        opened.later.insert_one({"_id": 1})
    return server, database, part, before


def test_chosen_collections_alone_are_replaced(shop: Any, tmp_path: Path) -> None:
    server, database, part, before = shop
    changed = content(server, database)
    engine = engine_for(server, database, tmp_path)
    chosen = Chosen(("types", "fs.files"))
    assert engine.check_chosen(part, chosen) == []
    scratch = staged(engine, part, tmp_path / "dump")
    step = Journal(tmp_path / "journal.json").begin("swap:main")
    engine.swap_chosen(part, scratch, chosen, step)
    expected = {**changed, "types": before["types"], "fs.files": before["fs.files"]}
    assert {name: one for name, one in content(server, database).items() if not is_scratch(name)} == expected
    engine.undo(step)
    assert {name: one for name, one in content(server, database).items() if not is_scratch(name)} == changed
    scratch = staged(engine_for(server, database, tmp_path), part, tmp_path / "dump")
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    step = Journal(tmp_path / "journal2.json").begin("swap:main")
    engine.swap_chosen(part, scratch, chosen, step)
    engine.finish(step)
    engine_for(server, database, tmp_path).sweep()
    assert content(server, database) == expected


def test_chosen_collections_beside_the_live_ones(shop: Any, tmp_path: Path) -> None:
    server, database, part, before = shop
    changed = content(server, database)
    engine = engine_for(server, database, tmp_path)
    chosen = Chosen(("orders", "sessions"), "_restored")
    assert engine.check_chosen(part, chosen) == [
        "sessions_restored expires like sessions: what is too old will be removed from it"
    ]
    scratch = staged(engine, part, tmp_path / "dump")
    step = Journal(tmp_path / "journal.json").begin("swap:main")
    engine.swap_chosen(part, scratch, chosen, step)
    engine.finish(step)
    beside = {f"{name}_restored": before[name] for name in ("orders", "sessions")}
    assert content(server, database) == {**changed, **beside}
    with pytest.raises(Refused, match="there is a collection orders_restored already"):
        engine.check_chosen(part, chosen)
    engine.undo(step)
    assert content(server, database) == changed


def test_chosen_names_that_do_not_fit_are_refused(shop: Any, tmp_path: Path) -> None:
    server, database, part, _before = shop
    engine = engine_for(server, database, tmp_path)
    for chosen, message in (
        (Chosen(("order",)), "holds no collection order. Did you mean orders"),
        (Chosen(("later",)), "holds no collection later"),
        (Chosen(("orders", "orders")), "named twice"),
        (Chosen(("orders",), "x" * 300), "too long"),
    ):
        with pytest.raises(Refused, match=message):
            engine.check_chosen(part, chosen)


# The oplog ------------------------------------------------------------------------------------------------------


def test_what_is_written_during_a_dump_is_done_again_on_the_staged_copy(
    mongo_in_container: MongoServer,
    mongo_database_in_container: str,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server has no oplog: its entries are written by hand, as MongoDB 7 writes them, elsewhere."""
    server, database = mongo_in_container, mongo_database_in_container
    with server.database(database) as opened:
        opened.calm.insert_one({"_id": 1})
    with pytest.raises(Refused, match="no member of a replica set"):
        engine_for(server, database, tmp_path, oplog=True).describe(DumpOptions())
    monkeypatch.setattr(oplog, "SOURCE", (other, "entries"))
    monkeypatch.setattr(oplog, "check", oplog.newest)
    clock = iter(range(1, 1000))

    def log(opened: Any, op: str, collection: str, o: Any, **more: Any) -> None:
        stamp = Timestamp(1700000000, next(clock))
        entry = {"ts": stamp, "op": op, "ns": f"{database}.{collection}", "o": o, **more}
        opened.client[other].entries.insert_one(entry)

    with server.database(database) as opened:
        log(opened, "n", "", {"msg": "initiating set"})
        opened.busy.insert_many([{"_id": number, "list": [1, 2, 3], "in": {"a": 1}} for number in range(10)])

    def write() -> None:
        with server.database(database) as opened:
            opened.busy.insert_one({"_id": "new", "n": Int64(5)})
            log(opened, "i", "busy", {"_id": "new", "n": Int64(5)})
            opened.busy.delete_one({"_id": 3})
            log(opened, "d", "busy", {"_id": 3})
            opened.busy.update_one({"_id": 4}, {"$set": {"in.a": 2, "list.1": 9}})
            difference = {"sin": {"u": {"a": 2}}, "slist": {"a": True, "u1": 9}}
            log(opened, "u", "busy", {"$v": 2, "diff": difference}, o2={"_id": 4})
            opened.busy.replace_one({"_id": 5}, {"replaced": True})
            log(opened, "u", "busy", {"_id": 5, "replaced": True}, o2={"_id": 5})

    engine = engine_for(server, database, tmp_path, oplog=True)
    part = back_up(engine, tmp_path / "dump", FULL, while_running=write)
    assert warnings_of(engine) == []
    rows = part.fingerprint.tables["busy"]
    assert rows.rows_max is not None
    assert rows.rows <= 10 <= rows.rows_max
    assert part.fingerprint.tables["calm"].checksum
    before = content(server, database)
    with server.database(database) as opened:
        opened.busy.drop()
    restorer = engine_for(server, database, tmp_path)
    restore(restorer, part, tmp_path / "dump", tmp_path)
    assert content(server, database) == before

    cut = (tmp_path / "dump").read_bytes()[:-100]
    (tmp_path / "cut").write_bytes(cut)
    with pytest.raises(OpsError, match="damaged"):
        load(restorer, part, tmp_path / "cut")
    restorer.drop_scratch(restorer.context.scratch_name("main", "stage"))

    monkeypatch.setattr(oplog, "SOURCE", (other, "nothing"))
    with pytest.raises(Refused, match="the oplog is empty"):
        engine.describe(DumpOptions())
