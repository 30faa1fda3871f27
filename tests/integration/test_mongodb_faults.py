# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB when something is wrong: what is refused and in which words, what is killed, what a secret leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb import swapping
from ansible_collections.day2.ops.plugins.module_utils._engines.mongodb.names import is_scratch

from tests.integration.support.mariadb import free_port, wait_until
from tests.integration.support.mariadb_engine import Killed, journal_step, killed_step, read_step
from tests.integration.support.mongo import MongoServer, content
from tests.integration.support.mongo_engine import back_up, engine_for, staged, warnings_of

pytestmark = [pytest.mark.mongodb, pytest.mark.docker, pytest.mark.faults]


def grow(server: MongoServer, database: str, megabytes: int = 12) -> None:
    """More than all pipes on the way hold."""
    with server.database(database) as opened:
        for number in range(megabytes):
            opened.big.insert_one({"_id": number, "noise": os.urandom(1 << 20)})


# Connecting -----------------------------------------------------------------------------------------------


def test_who_is_not_let_in_reads_why_and_is_not_tried_again(
    mongo: MongoServer, mongo_database: str, tmp_path: Path
) -> None:
    with mongo.database(mongo_database) as opened:
        opened.orders.insert_one({"_id": 1})
    patient = {"connect_retries": 5, "connect_delay": 60}
    with pytest.raises(Unavailable, match="wrong password, or no such user"):
        engine_for(mongo, mongo_database, tmp_path, password="not-the-password", **patient).ping()
    with pytest.raises(Unavailable, match="wrong password, or no such user"):
        engine_for(mongo, mongo_database, tmp_path, user="nobody", **patient).ping()
    with pytest.raises(Refused, match="the server's own database"):
        engine_for(mongo, "admin", tmp_path, **patient).ping()
    engine_for(mongo, mongo_database, tmp_path, **patient).ping()


def test_nobody_who_answers_is_tried_again_as_often_as_was_asked(mongo_on_host: MongoServer, tmp_path: Path) -> None:
    options = {"host": "127.0.0.1", "port": free_port()}
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"cannot be reached \(.*\) \(3 times\)"):
        engine_for(mongo_on_host, "t", tmp_path, **options, connect_retries=2, connect_delay=1).ping()
    assert time.monotonic() - begun > 2
    with pytest.raises(Unavailable, match=r"cannot be reached \(.*\)\. Is the server running"):
        engine_for(mongo_on_host, "t", tmp_path, **options, connect_retries=0).ping()


@contextlib.contextmanager
def late_door(server: MongoServer, port: int, seconds: float) -> Iterator[None]:
    """A port that leads to the server, but only from some seconds on."""
    stop = threading.Event()

    def serve() -> None:
        time.sleep(seconds)
        with socket.create_server(("127.0.0.1", port)) as door:
            door.settimeout(0.2)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    near, _address = door.accept()
                    far = socket.create_connection((server.address, server.port))
                    for one, other in ((near, far), (far, near)):
                        threading.Thread(target=_pass, args=(one, other), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_a_server_that_starts_late_is_waited_for(
    mongo_on_host: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    database, port = mongo_database_in_container, free_port()
    with mongo_on_host.database(database) as opened:
        opened.orders.insert_one({"_id": 1})
    with late_door(mongo_on_host, port, 6):  # longer than one try takes
        options = {"host": "127.0.0.1", "port": port, "connect_retries": 5, "connect_delay": 1}
        engine = engine_for(mongo_on_host, database, tmp_path, **options)
        engine.ping()
        assert back_up(engine, tmp_path / "dump").fingerprint.tables["orders"].rows == 1


def test_a_tool_that_is_missing_is_named(
    mongo: MongoServer, mongo_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mongo.database(mongo_database) as opened:
        opened.orders.insert_one({"_id": 1})
    monkeypatch.setattr("ansible_collections.day2.ops.plugins.module_utils._engines.mongodb.DUMP", "mongodump-nowhere")
    with pytest.raises(Unavailable, match=r"mongodump-nowhere.*Install MongoDB's database tools"):
        engine_for(mongo, mongo_database, tmp_path).describe(DumpOptions())


def test_a_part_of_something_newer_or_other_is_refused(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    with mongo_in_container.database(mongo_database_in_container) as opened:
        opened.orders.insert_one({"_id": 1})
    engine = engine_for(mongo_in_container, mongo_database_in_container, tmp_path)
    part = back_up(engine, tmp_path / "dump")
    assert engine.accepts(part) == []
    with pytest.raises(Refused, match="older than the one the backup was made of"):
        engine.accepts(dataclasses.replace(part, server_version="99.0.1"))
    (warning,) = engine.accepts(dataclasses.replace(part, flavour="mongodb", server_version="8.0.1"))
    assert warning == "the backup was made of mongodb 8.0.1, and this is ferretdb 7.0.77"
    with pytest.raises(Refused, match="and this is MongoDB"):
        engine.accepts(dataclasses.replace(part, engine="mariadb", format="sql"))


# Secrets, and what is killed ---------------------------------------------------------------------------------


def seen_of_processes(server: MongoServer) -> bytes:
    """Command lines and environments of everything on this machine, containers too, but this test's own."""
    found = subprocess.run(
        ["docker", "top", server.container, "-eo", "pid,args"], capture_output=True, check=True
    ).stdout
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):
                found += (directory / "cmdline").read_bytes()
                variables = (directory / "environ").read_bytes()
                if b"DAY2_RUN=" in variables:  # the server itself was given its password by its environment
                    found += variables
    return found


def files_with(server: MongoServer, word: str) -> list[str]:
    """Files that a tool's configuration could be in, where its tools run."""
    find = ["find", "/dev/shm", "/tmp", "/run", "-maxdepth", "1", "-type", "f", "-exec", "grep", "-l", word, "{}", "+"]
    argv = ["docker", "exec", "-u", "0", server.container, *find] if server.kind == "container" else find
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()


def test_the_password_is_seen_nowhere_and_a_kill_leaves_nothing(
    mongo: MongoServer, mongo_database: str, tmp_path: Path
) -> None:
    """With a user of its own: the server's container has the superuser's password in its environment."""
    grow(mongo, mongo_database)
    user, password = f"u{secrets.token_hex(4)}", f"dumper/ü:{secrets.token_hex(8)}"
    with mongo.database("admin") as opened:
        opened.command("createUser", user, pwd=password, roles=[{"role": "readWriteAnyDatabase", "db": "admin"}])
    engine = engine_for(mongo, mongo_database, tmp_path, user=user, password=password)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        producer.stdout.read(1000)
        (line,) = mongo.tools(mongo_database)
        assert f"--db={mongo_database}" in line
        seen = seen_of_processes(mongo)
        assert b"mongodump" in seen
        assert b"DAY2_RUN=mgtests-test:" in seen
        secret = password[-16:].encode()
        assert secret not in seen
        assert files_with(mongo, user) == []
        producer.kill()
        producer.kill()
        wait_until(lambda: not mongo.tools(mongo_database), 5, "the end of mongodump")
    with engine.snapshot(DumpOptions()) as taken:
        taken.dump().stdout.read(1000)
    assert mongo.tools(mongo_database) == [], "leaving the snapshot left its dump running"

    part = back_up(engine, tmp_path / "dump")
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    loader = engine.load(part, scratch)
    loader.stdin.write((tmp_path / "dump").read_bytes()[:5_000_000])
    loader.stdin.flush()
    wait_until(
        lambda: [one for one in mongo.tools(mongo_database) if "mongorestore --config" in one], 10, "mongorestore"
    )
    seen = seen_of_processes(mongo)
    assert b"mongorestore" in seen
    assert secret not in seen
    loader.kill()
    wait_until(lambda: not mongo.tools(mongo_database), 5, "the end of mongorestore")
    engine.drop_scratch(scratch)
    assert files_with(mongo, user) == []
    assert [one for one in mongo.collections(mongo_database) if is_scratch(one)] == []
    with mongo.database("admin") as opened:
        opened.command("dropUser", user)


def test_a_tool_that_a_killed_run_left_is_swept(
    mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path
) -> None:
    grow(mongo_in_container, mongo_database_in_container)
    killed = engine_for(mongo_in_container, mongo_database_in_container, tmp_path)
    with killed.session():
        child = killed.tools.spawn(["mongodump", f"--db={mongo_database_in_container}", "--archive"])
    try:
        wait_until(lambda: mongo_in_container.tools(mongo_database_in_container), 10, "mongodump")
        engine_for(mongo_in_container, mongo_database_in_container, tmp_path).sweep()
        assert mongo_in_container.tools(mongo_database_in_container) == []
    finally:
        child.kill()


def test_a_dump_whose_tool_fails_says_why(mongo: MongoServer, mongo_database: str, tmp_path: Path) -> None:
    grow(mongo, mongo_database)
    engine = engine_for(mongo, mongo_database, tmp_path)
    with engine.snapshot(DumpOptions()) as taken:
        producer = taken.dump()
        producer.stdout.read(1000)
        pids = [line.split()[0] for line in mongo.tools(mongo_database) if f"--db={mongo_database}" in line]
        subprocess.run(["kill", "-9", *pids], check=True)
        while producer.stdout.read(1 << 20):
            pass
        with pytest.raises(OpsError, match=r"mongodump (was killed by|ended with)"):
            producer.finish()
        assert not taken.complete(b"\x6d\xe2\x99\x81", b"")
        with pytest.raises(Unavailable, match="did not come to its end"):
            taken.fingerprint()


# The swap -----------------------------------------------------------------------------------------------------


@pytest.fixture
def swapped(mongo_in_container: MongoServer, mongo_database_in_container: str, tmp_path: Path) -> Any:
    """A database with one collection of each fate (replaced, replaced by copying, gone, new), and its backup."""
    server, database = mongo_in_container, mongo_database_in_container
    with server.database(database) as opened:
        for name in ("orders", "fs.files", "new"):
            opened[name].insert_many([{"_id": number, "state": "backed up"} for number in range(5)])
            opened[name].create_index("state")
        opened.orders.create_index("seen", expireAfterSeconds=10**9)
        opened.create_collection("new.empty")
    backed_up = content(server, database)
    part = back_up(engine_for(server, database, tmp_path), tmp_path / "dump", DumpOptions(level="full"))
    with server.database(database) as opened:
        opened.orders.update_many({}, {"$set": {"state": "live"}})
        opened["fs.files"].update_many({}, {"$set": {"state": "live"}})
        opened["fs.files"].create_index("other", unique=True, partialFilterExpression={"other": {"$gt": 1}})
        opened.new.drop()
        opened["new.empty"].drop()
        opened.gone.insert_one({"_id": 1})
        opened["gone.dotted"].insert_one({"_id": 1})
        opened["gone.empty"].create_index("a")
    return server, database, part, backed_up, content(server, database)


def without_scratch(server: MongoServer, database: str) -> dict[str, Any]:
    return {name: one for name, one in content(server, database).items() if not is_scratch(name)}


SLICE = [(1, True), (3, False), (4, True), (6, True), (7, False), (11, True), (16, False), (17, True)]


@pytest.mark.parametrize(
    "points", [pytest.param(SLICE, id="slice"), pytest.param(None, id="all", marks=pytest.mark.full)]
)
def test_a_swap_killed_at_any_point_is_undone_by_the_next_process(
    swapped: Any, tmp_path: Path, points: list[tuple[int, bool]] | None
) -> None:
    server, database, part, backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    kills = 0
    for number, after in points or [(number, after) for number in range(1, 100) for after in (False, True)]:
        scratch = staged(engine, part, tmp_path / "dump")
        where = f"killed {'after' if after else 'before'} save {number}"
        try:
            engine.swap(part, scratch, killed_step(tmp_path, number, after))
        except Killed:
            kills += 1
        else:
            break
        undoer = engine_for(server, database, tmp_path)
        undoer.undo(read_step(tmp_path))
        assert without_scratch(server, database) == live, where
        undoer.undo(read_step(tmp_path))
        engine.drop_scratch(scratch)
        assert content(server, database) == live, where
        assert warnings_of(undoer) == [], where
    if points:
        assert kills == len(points)
        scratch = staged(engine, part, tmp_path / "dump")
        engine.swap(part, scratch, journal_step(tmp_path))
    assert without_scratch(server, database) == backed_up
    finisher = engine_for(server, database, tmp_path)
    finisher.finish(read_step(tmp_path))
    finisher.finish(read_step(tmp_path))
    assert content(server, database) == backed_up


@pytest.mark.parametrize(
    ("victim", "number"), [("rename", 3), ("rename", 8), ("drop", 2), ("aggregate", 1), ("aggregate", 3)]
)
def test_a_swap_whose_command_fails_undoes_itself(
    swapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str, number: int
) -> None:
    """The server refuses the N-th command of a kind."""
    server, database, part, _backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    original, calls = getattr(swapping.Mongo, victim), []

    def fail(self: Any, *words: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            raise OpsError("the disk is full")
        return original(self, *words, **more)

    with monkeypatch.context() as patched:
        patched.setattr(swapping.Mongo, victim, fail)
        with pytest.raises(OpsError, match=r"^the disk is full\.$"):
            engine.swap(part, scratch, journal_step(tmp_path))
    engine.drop_scratch(scratch)
    assert content(server, database) == live


@pytest.mark.parametrize("number", [1, 2])
def test_a_swap_killed_in_the_middle_of_a_copy_is_undone(
    swapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Of the live collection aside, and of the staged one to its place: half of the documents are there."""
    server, database, part, _backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    copy, calls = swapping._copy, []

    def half(mongo: Any, source: str, target: str) -> None:
        calls.append(source)
        copy(mongo, source, target)
        if len(calls) == number:
            mongo.database[target].delete_many({"_id": {"$gt": 2}})
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(swapping, "_copy", half)
        with pytest.raises(Killed):
            engine.swap(part, scratch, journal_step(tmp_path))
    undoer = engine_for(server, database, tmp_path)
    undoer.undo(read_step(tmp_path))
    undoer.drop_scratch(scratch)
    assert content(server, database) == live
    assert warnings_of(undoer) == []


def test_an_undo_that_is_killed_can_be_done_again(
    swapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, database, part, _backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    step = journal_step(tmp_path)
    engine.swap(part, scratch, step)
    copy, drop, rename = swapping._copy, swapping.Mongo.drop, swapping.Mongo.rename

    def half(*words: Any) -> None:
        copy(*words)
        raise Killed

    def never(self: Any, name: str) -> None:
        if "_old_" in name:
            raise Killed
        drop(self, name)

    def later(self: Any, source: str, target: str) -> None:
        rename(self, source, target)
        raise Killed

    for name, stand_in in (("_copy", half), ("drop", never), ("rename", later)):
        with monkeypatch.context() as patched:
            patched.setattr(swapping if name == "_copy" else swapping.Mongo, name, stand_in)
            with pytest.raises(Killed):
                engine_for(server, database, tmp_path).undo(read_step(tmp_path))
    undoer = engine_for(server, database, tmp_path)
    undoer.undo(read_step(tmp_path))
    undoer.drop_scratch(scratch)
    assert content(server, database) == live
    assert warnings_of(undoer) == []


def test_who_writes_during_the_swap_makes_it_go_back_and_loses_nothing(
    swapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, database, part, _backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    scratch = staged(engine, part, tmp_path / "dump")
    rename = swapping.Mongo.rename

    def meanwhile(self: Any, source: str, target: str) -> None:
        rename(self, source, target)
        if source == "orders" and "_old_" in target:
            with server.database(database) as opened:
                opened.orders.insert_one({"_id": "written meanwhile"})

    with monkeypatch.context() as patched:
        patched.setattr(swapping.Mongo, "rename", meanwhile)
        with pytest.raises(Busy, match="something wrote to orders while it was being replaced"):
            engine.swap(part, scratch, journal_step(tmp_path))
    stray = f"orders_day2_{engine.context.run_id}"
    assert warnings_of(engine) == [f"something wrote to orders during the swap; what it wrote is in {stray}"]
    found = without_scratch(server, database)
    assert b"written meanwhile" in found.pop(stray)[2]
    assert found == live


def test_what_was_not_staged_is_not_swapped(swapped: Any, tmp_path: Path) -> None:
    server, database, part, _backed_up, live = swapped
    engine = engine_for(server, database, tmp_path)
    with pytest.raises(Refused, match=r"no staged copy of fs\.files, new"):
        engine.swap(part, engine.context.scratch_name("main", "stage"), journal_step(tmp_path))
    assert content(server, database) == live
