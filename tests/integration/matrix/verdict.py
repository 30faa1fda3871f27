# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true after every fault, and how the operation's end is judged."""

from __future__ import annotations

import re
from typing import Optional

from tests.integration.matrix.case import Case
from tests.integration.matrix.cells import BACKUP, EITHER, ERROR, KILLED, RESTORE, VERIFY, WORKS
from tests.integration.matrix.power import Box
from tests.integration.support.modules import Outcome
from tests.integration.support.recovery import wait_for_end_of_processes

WORD = {BACKUP: "backup", VERIFY: "verify", RESTORE: "restore"}


def seen(case: Case, outcome: Optional[Outcome]) -> tuple[str, str]:
    """How the operation ended (`error`, `works`, `killed`), and what a person got to see."""
    if outcome is None:  # nobody was there to be told; the effects are judged
        return case.cell.ends, ""
    if outcome.killed:
        return KILLED, ""
    if outcome.failed:
        return ERROR, plain(case, outcome.msg)
    return WORKS, plain(case, "; ".join(outcome.warnings))


def ended_as_it_must(case: Case, outcome: Optional[Outcome], how: str) -> None:
    """Judged by what it must be, and by its message."""
    if outcome is None:
        return
    said = outcome.msg or outcome.stdout + outcome.stderr
    assert how == case.cell.ends or (case.cell.ends == EITHER and how != KILLED), f"{how}: {said}"
    if how == ERROR:
        is_for_a_person(case, outcome)
    if how == WORKS:
        assert outcome["changed"]


def is_for_a_person(case: Case, outcome: Outcome) -> None:
    """Application, stage, datastore, cause, what is untouched; no traceback, no secret."""
    message, fault, world = outcome.msg, case.cell.fault, case.world
    assert message.startswith(f"{WORD[case.operation]} {world.key}: "), message
    assert outcome.data.get("stage"), f"no stage: {message}"
    assert f"{outcome.data['stage']}: " in message, f"the stage {outcome.data['stage']!r} is not in: {message}"
    if fault.of_data:
        where = case.subject.on_data_disk if fault.name == "data_disk_full" else (case.subject.main,)
        assert any(f'datastore "{name}"' in message for name in where), f"the datastore is not named: {message}"
    assert re.search(fault.says, message), f"the cause ({fault.says}) is not in: {message}"
    assert re.search(r"untouched|Nothing was|as it was before|are restored|the journal is kept", message), (
        f"what is untouched? {message}"
    )
    everything = f"{outcome.stdout} {outcome.stderr}"
    assert "Traceback" not in everything, everything
    for secret in secrets_of(case):
        assert secret not in everything, f"the secret {secret} is in {everything}"


def secrets_of(case: Case) -> list[str]:
    server = getattr(case.world, "server", None)
    known = [case.world.password, "another long password", "not-the-password"]
    return known + [str(server.options["password"])] if server and server.options.get("password") else known


def hold_up(case: Case, outcome: Optional[Outcome], how: str) -> None:
    """Live data before or after, never between; earlier backups whole; nothing half or left; the next run works."""
    world, subject = case.world, case.subject
    wait_for_end_of_processes(world.key, 30)
    became = world.settle()[0] if case.operation == RESTORE else "nothing"
    restored = case.operation == RESTORE and (how == WORKS or became == "completed")
    assert world.state() == (case.target if restored else case.before), f"live data: {how}, {became}"
    made = _effects(case, how)
    world.holds_up(subject.earlier)
    if made:
        assert world.restore(backup=made)["changed"]
        assert world.state() == case.before, "what was backed up is not what was there"
    if case.operation == VERIFY:
        assert world.run("backup_verify")["changed"], "the next verification"
    world.is_clean()
    if isinstance(subject.power, Box):
        assert subject.power.running, "what was stopped does not run again"


def _effects(case: Case, how: str) -> str:
    """What an operation that works must have left, and one that does not must not. The id of a backup that was made."""
    listed = case.world.catalogue()
    new = [entry.id for entry in listed.entries if entry.id not in case.known and entry.kind != "safety"]
    first = case.cell.fault.name == "two_at_once"  # the first one worked
    works = first or how == WORKS or case.cell.fault.name == "module_killed_at_the_end"
    assert len(new) == (works and case.operation == BACKUP), f"backups that are new: {new}"
    if how == ERROR and case.cell.fault.name not in ("store_cut", "store_full"):  # where nothing can be taken back
        assert not listed.orphans, f"what failed has stored {listed.orphans}"
    if case.operation == VERIFY:
        proven = [entry.id for entry in listed.entries if entry.proven]
        assert len(proven) == works, f"proofs: {proven}"
    return new[0] if new else ""


# The message, the same in every run -----------------------------------------------------------------

_PLAIN = (
    (r"\d{8}T\d{6}Z-[0-9a-f]{6}", "BACKUP"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"day2_[0-9a-f]{10}_[0-9a-f]{6}_(stage|old)", r"SCRATCH"),
    (r"day2t-[a-z]+-[0-9a-f]{8}", "CONTAINER"),
    (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b|\b[0-9a-f]{8,10}\b", "ID"),
    (r"\b(172|192|10)\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"port \d+", "port PORT"),
    (r"PID \d+|process \d+|pid \d+", "PID"),
    (r"\bafter \d+ bytes|\b\d{3,} bytes", "N bytes"),
    (r"\b\d+ MiB", "N MiB"),
)


def plain(case: Case, message: str) -> str:
    """Without ids, paths, names and numbers that differ from run to run."""
    world = case.world
    for old, new in (
        (str(world.root), "…"),
        (str(case.subject.base), "…"),
        (world.key, "APP"),
        (world.app, "APP"),
        (str(getattr(world, "name", "")) or "\0", "DATABASE"),
    ):
        message = message.replace(old, new)
    for pattern, word in _PLAIN:
        message = re.sub(pattern, word, message)
    return " ".join(message.split())
