# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""A module's work in a process of its own, which goes on when the connection to the host breaks.

The action plugin asks for it by a variable of the environment: how long the module may wait before it answers.
Then the module forks. The new process, the worker, carries on as the module, with files for its output; the first
one, the messenger, tells the plugin the result or how far it is, and ends without cleaning up: Ansible's wrapper
removes the module's code when its process ends, and the worker still imports from it.

Not Ansible's own async: that keeps the parameters, passwords among them, in a file on the target for as
long as the job runs, writes results that every user of the host can read, kills at a time limit, and cannot be
found again by a later run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn, Optional

from . import clock, lock
from .context import Context
from .errors import OpsError, Unavailable
from .operations import KEPT, LOST, RUNNING, Operations, Record, Seen, digest
from .process import identity
from .progress import Progress, State

VARIABLE = "DAY2_ANSWER_WITHIN"  # seconds
KEY = "day2_operation"  # in the answer, for the action plugin, which takes it out
_WORKER = "DAY2_WORKER"  # the run that this process, or the one that it was respawned by, is the worker of


def enter(context: Context, name: str, params: Mapping[str, Any]) -> None:
    """Returns where the work is to be done: in the worker, or here when nobody asked for one.

    The messenger ends in here. It finds an operation that runs or whose result nobody has, or begins one.
    """
    run = os.environ.pop(_WORKER, "")
    within = os.environ.pop(VARIABLE, "")  # no program that is started from here needs it
    if run:
        _become(context, run)
    elif within and not context.check_mode:
        _hand_over(context, name, params, float(within))


def _hand_over(context: Context, name: str, params: Mapping[str, Any], within: float) -> None:
    operations = Operations(context.home)
    wanted = Record(
        run=context.run_id,
        operation=name,
        digest=digest(params, context.secrets.values),
        job=params.get("job") or "",
        owner=lock.me(),
        process="",
        started=clock.text(clock.now()),
    )
    try:
        with operations.guard():
            found = _found(operations, wanted)
            if found is None and _fork(operations, wanted, context):
                return
    except (Unavailable, OSError):  # where no directory can be made, the operation itself says so best
        return
    if found is None:
        _messenger(operations, wanted.run, within)
    seen = operations.wait(found.record.run, within)
    if seen is None:
        raise OpsError(f"the record of the {name} of {context.app.key} is gone from {operations.directory}")
    text, code = _answer(operations, seen, attached=True)
    sys.stdout.write(text)
    raise SystemExit(code)


def _messenger(operations: Operations, run: str, within: float) -> NoReturn:
    """Tell how far the worker is, and end at once: no way out that removes what the worker needs."""
    code = 1
    try:
        seen = operations.wait(run, within)
        if seen is not None:
            text, code = _answer(operations, seen)
        else:
            text = json.dumps(
                {"failed": True, "msg": f"nothing was begun: {operations.directory} cannot be written to"}
            )
        sys.stdout.write(text)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _answer(operations: Operations, seen: Seen, attached: bool = False) -> tuple[str, int]:
    """As a module prints it; what is in a result was made by `exit_json`."""
    result = seen.result or {}
    about = {**seen.public(), "attached": attached, "marker": str(operations.path(seen.record.run, "fetched"))}
    return f"\n{json.dumps({'changed': False, **result, KEY: about})}\n", 1 if result.get("failed") else 0


def _found(operations: Operations, wanted: Record) -> Optional[Seen]:
    """What was asked for already: it runs; or it has succeeded not long ago, nobody has its result, and nothing
    was begun since, which would have removed its record."""
    same = [
        seen
        for seen in operations.all()
        if (seen.record.operation, seen.record.digest) == (wanted.operation, wanted.digest)
    ]
    for seen in same:
        if seen.state == RUNNING:
            return seen
    for seen in same:
        succeeded = seen.result is not None and not seen.result.get("failed")
        if succeeded and not seen.fetched and clock.now() - clock.from_text(seen.finished) < KEPT:
            return seen
    return None


def _fork(operations: Operations, wanted: Record, context: Context) -> bool:
    """True in the worker, as soon as its record is written; False in the messenger."""
    for old in operations.all():
        if old.state != RUNNING:
            _tell_failure(old, wanted, context)
            operations.remove(old.record.run)
    sys.stdout.flush()
    sys.stderr.flush()
    ready, begun = os.pipe()
    if os.fork():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it without Python's way out, like SIGTERM and SIGHUP
        os.close(begun)
        with os.fdopen(ready, "rb") as stream:
            stream.read()
        return False
    os.close(ready)
    os.setsid()  # away from the terminal and the group that end with the connection
    try:
        _redirect(operations, wanted.run)
        operations.write(dataclasses.replace(wanted, process=identity(os.getpid()) or ""))
        _become(context, wanted.run)
    except BaseException:
        os._exit(1)  # nobody would know of it
    os.environ[_WORKER] = wanted.run  # for the process that it may be respawned as, for want of a driver
    os.close(begun)
    return True


def _become(context: Context, run: str) -> None:
    """Keep the record of this run: it is this process that does it, and how far it is."""
    operations = Operations(context.home)
    seen = operations.look(run)
    if seen is None:
        return
    record = dataclasses.replace(seen.record, process=identity(os.getpid()) or "")
    operations.write(record)

    def publish(state: State) -> None:
        with contextlib.suppress(Unavailable):  # a full disk must not end an operation for want of a figure
            operations.write(dataclasses.replace(record, progress=state))

    context.progress = Progress(publish)


def _tell_failure(old: Seen, wanted: Record, context: Context) -> None:
    """The one whose failure nobody has seen. It is tried again: a failed operation changed nothing."""
    if old.fetched or old.record.operation != wanted.operation:
        return
    when = f"the {old.record.operation} that was begun at {old.record.started}, and whose result nobody fetched,"
    if old.state == LOST:
        context.warn(f"{when} ended without a result")
    elif old.result is not None and old.result.get("failed"):
        context.warn(f"{when} failed: {old.result.get('msg')}")


def _redirect(operations: Operations, run: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, suffix in ((1, "out"), (2, "err")):
        descriptor = os.open(operations.path(run, suffix), flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(nothing)
