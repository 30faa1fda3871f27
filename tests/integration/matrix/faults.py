# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults: one function each, which arms it, runs the cell's operation, and takes it away again.

Each returns how the operation ended. None where nobody was left to be told (a controller that is gone).
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from ansible_collections.day2.ops.plugins.module_utils._core import clock, worker
from ansible_collections.day2.ops.plugins.module_utils._core import journal as journals
from ansible_collections.day2.ops.plugins.module_utils._core.journal import Journal

from tests.integration.matrix.case import Case, ended
from tests.integration.matrix.cells import BACKUP, RESTORE
from tests.integration.matrix.network import start_connected
from tests.integration.matrix.power import Box, Store, fill, full
from tests.integration.support import faults, modules
from tests.integration.support.modules import Outcome

Result = Optional[Outcome]

# The engine's tool -------------------------------------------------------------------------------


def _tool(case: Case, script: str) -> Outcome:
    return case.run(prelude=faults.changed_tool(case.tool, script))


def tool_dies_early(case: Case) -> Result:
    return _tool(case, "echo 'day2t says no' >&2; exit 1")


def tool_killed(case: Case) -> Result:
    if case.subject.site.engine == "redis":  # its dump is made before any of it is stored
        return _tool(case, '"$@" | head -c 100000; kill -9 $$')
    running = case.start_held()
    for pid in faults.wait_for(case.tools, what="the tool"):
        os.kill(pid, signal.SIGKILL)
    return case.finish(running)


def tool_dies_late(case: Case) -> Result:
    if case.operation == BACKUP:
        return _tool(case, '"$@" | head -c -300; exit 1')
    return _tool(case, 'head -c -300 | "$@"; cat > /dev/null; exit 1')


def tool_fails_afterwards(case: Case) -> Result:
    return _tool(case, '"$@"; exit 3')


def tool_cuts_short(case: Case) -> Result:
    if case.operation == BACKUP:
        return _tool(case, '"$@" | head -c -300')
    return _tool(case, 'head -c 60000 | "$@"; cat > /dev/null; exit 0')


# Processes ---------------------------------------------------------------------------------------


def module_killed(case: Case) -> Result:
    running = case.start_held()
    running.send_signal(signal.SIGKILL)
    return case.finish(running)


def module_killed_before_the_commit(case: Case) -> Result:
    if case.operation == RESTORE:
        return case.run(prelude=_dies_in_the_swap)
    case.at_last_step(faults.KILL_THE_MODULE)
    return case.run()


def module_killed_at_the_end(case: Case) -> Result:
    if case.operation == RESTORE:
        return case.run(prelude=_dies_after_the_swap)
    case.at_last_step(faults.KILL_THE_MODULE_AFTERWARDS)
    return case.run()


def _dies_in_the_swap() -> None:
    _dies_when(lambda journal: any(step.state == journals.DONE for step in journal.named("swap")))


def _dies_after_the_swap() -> None:
    _dies_when(lambda journal: journal.header["phase"] == "swapped")


def _dies_when(reached: Callable[[Journal], bool]) -> None:
    write = Journal.write

    def killing(self: Journal) -> None:
        write(self)
        if reached(self):
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = killing  # type: ignore[method-assign]


def module_terminated(case: Case) -> Result:
    running = case.start_held()
    running.send_signal(signal.SIGTERM)
    return case.finish(running)


def restic_killed(case: Case) -> Result:
    running = case.start_held()
    os.kill(case.restic_pid, signal.SIGKILL)
    return case.finish(running)


def restic_killed_at_the_end(case: Case) -> Result:
    case.at_last_step(faults.kill_restic_when(faults.any_file(case.world.repository / "locks")))
    return case.run()


def controller_gone(case: Case) -> Result:
    """As the action plugin runs it: it goes on, and the next run finds it."""
    patience = {worker.VARIABLE: "240"}
    controller, messenger = case.under_a_controller(**patience)
    _kill(controller)
    os.kill(messenger, signal.SIGHUP)
    case.go()
    ended(messenger)
    outcome = modules.run(case.module, case.world.arguments(case.module, **case.arguments), env=patience)
    assert outcome.data[worker.KEY]["attached"], "the next run began it once more"
    case.stack.callback(shutil.rmtree, case.world.home / "operations")  # kept until the next one
    return outcome


def controller_hangs_up(case: Case) -> Result:
    controller, module = case.under_a_controller()
    _kill(controller)
    os.kill(module, signal.SIGHUP)
    case.go()
    ended(module)
    return None


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


# Servers -----------------------------------------------------------------------------------------


def server_down(case: Case) -> Result:
    case.subject.stop()
    case.stack.callback(case.subject.start)
    return case.run()


def server_stopped(case: Case) -> Result:
    running = case.start_held()
    case.subject.stop()
    case.stack.callback(case.subject.start)
    return case.finish(running)


def _prepare_for_a_crash(case: Case) -> None:
    """A crash moves those of PostgreSQL's sequences ahead that were used since the last checkpoint."""
    if case.subject.site.engine == "postgresql":
        case.world.server.run("CHECKPOINT")


def container_removed(case: Case) -> Result:
    assert isinstance(case.subject.power, Box)
    _prepare_for_a_crash(case)
    running = case.start_held()
    case.subject.power.remove()
    case.stack.callback(case.subject.start)
    return case.finish(running)


# The store ---------------------------------------------------------------------------------------


def _network(case: Case) -> Store:
    """The same repository over a network, for this run and the next ones."""
    store = Store(case.world.repository)
    store.connect()
    repository = {**case.world.arguments(case.module)["repository"], "location": store.location}
    case.world.extra = {"repository": repository}
    case.afterwards.callback(store.cut)
    return store


def store_gone(case: Case) -> Result:
    store = _network(case)
    store.cut()
    case.stack.callback(store.connect)
    return case.run()


def store_cut(case: Case) -> Result:
    store = _network(case)
    running = start_connected(case)
    store.cut()
    case.stack.callback(store.connect)
    return case.finish(running)


def store_back(case: Case) -> Result:
    store = _network(case)
    running = start_connected(case)
    store.cut()
    case.go()
    time.sleep(3)
    store.connect()
    return case.finish(running)


def store_full(case: Case) -> Result:
    """In the middle; for a verification, which stores its proof only, before that."""
    ballast = case.world.repository / "day2t-ballast"
    case.stack.callback(ballast.unlink, missing_ok=True)
    if case.operation == BACKUP:
        running = case.start_held()
        case.stack.enter_context(full(case.world.repository))
        return case.finish(running)
    case.at_last_step(f"[ -e {ballast} ] || cat /dev/zero > {ballast} 2>/dev/null")
    return case.run()


def store_password(case: Case) -> Result:
    wrong = dataclasses.replace(case.world, password="another long password")
    outcome: Outcome = wrong.run(case.module, **case.arguments)
    return outcome


def store_locked(case: Case) -> Result:
    case.world.lock_timeout = 1
    case.stack.enter_context(faults.locked_by_another_restic(case.world))
    return case.run()


def _with_noise(case: Case) -> tuple[str, Path]:
    """One more backup, with data that no other has, and the file of the repository that holds them."""
    case.known.add(case.world.backup())  # whatever else is new has files of its own there then
    known = set((case.world.repository / "data").rglob("*"))
    case.subject.add_noise()
    backup = case.world.backup()
    case.world.remove_noise()
    new = [path for path in set((case.world.repository / "data").rglob("*")) - known if path.is_file()]
    case.at_hand(backup)
    if case.operation != BACKUP:
        case.arguments["backup"] = backup
    case.before = case.world.state()
    case.known.add(backup)
    # What restic keeps beside the repository must not hide what is wrong in it.
    shutil.rmtree(case.world.state_dir / "cache", ignore_errors=True)
    return backup, max(new, key=lambda path: path.stat().st_size)


def data_altered(case: Case) -> Result:
    _backup, pack = _with_noise(case)
    faults.flip_bytes(pack)
    return case.run()


def data_truncated(case: Case) -> Result:
    _backup, pack = _with_noise(case)
    pack.chmod(0o600)
    os.truncate(pack, pack.stat().st_size // 2)
    return case.run()


def data_missing(case: Case) -> Result:
    _backup, pack = _with_noise(case)
    pack.unlink()
    return case.run()


def data_forgotten(case: Case) -> Result:
    backup, _pack = _with_noise(case)
    tags = (f"backup={backup}", "role=data", f"datastore={case.subject.main}")
    gone = [one["id"] for one in case.world.snapshots() if set(tags) <= set(one["tags"])]
    assert len(gone) == 1
    case.world.call_restic("forget", *gone)
    case.stack.callback(case.world.run, "backup_retention", keep_last=10)  # which takes away what is not whole
    return case.run()


def manifest_altered(case: Case) -> Result:
    backup, _pack = _with_noise(case)

    def change(manifest: Any) -> None:
        part = next(one for one in manifest["parts"] if one["datastore"] == case.subject.main)
        if part["sha256"]:
            part["bytes"] += 1
        else:
            part["fingerprint"]["objects"]["file"] += 1

    faults.altered(case.world, backup, change)
    return case.run()


# Disks, passwords, locks -------------------------------------------------------------------------


def data_disk_full(case: Case) -> Result:
    _prepare_for_a_crash(case)
    running = case.start_held()
    if case.subject.power is not None:  # PostgreSQL ends where it cannot write its log
        case.stack.callback(case.subject.start)
    ballast = case.subject.data_disk / ".day2-ballast"  # the whole disk may be the uploads: what no backup holds
    case.stack.callback(ballast.unlink, missing_ok=True)
    fill(ballast)
    return case.finish(running)


def state_disk_full(case: Case) -> Result:
    running = case.start_held()
    case.stack.enter_context(full(case.world.state_dir))
    return case.finish(running)


def data_password(case: Case) -> Result:
    main, *others = case.world.datastores()
    kept = {name: main[name] for name in ("name", "engine", "database") if name in main}
    return case.run(datastores=[{**kept, **case.subject.wrong_login}, *others])


def data_locked(case: Case) -> Result:
    case.stack.enter_context(case.world.locked())
    return case.run()


def app_locked(case: Case) -> Result:
    taken = case.world.run("app_lock", state="present", owner="ci@example", reason="deployment")["lock"]
    case.stack.callback(case.world.run, "app_lock", state="absent", lock_token=taken["token"])
    return case.run()


def two_at_once(case: Case) -> Result:
    running = case.start_held()
    second = case.run()
    assert case.finish(running)["changed"], "the first run did not come to its end"
    if case.operation == RESTORE:
        case.before = case.target  # what the first one restored
    return second


# Time --------------------------------------------------------------------------------------------

YEAR = datetime.timedelta(days=365)


def _clock(case: Case, shift: datetime.timedelta, after: Optional[Path] = None) -> Callable[[], None]:
    """A prelude: another clock for the module, from the beginning or once a file is there; and for restic."""
    wrong = (datetime.datetime.now() + shift).strftime("%Y-%m-%d %H:%M:%S")
    condition = f"[ -e {after} ]" if after else ":"
    script = f'if [ "$1" = backup ] && {condition}; then shift; set -- backup --time \'{wrong}\' "$@"; fi\n'
    gate = case.wrapper.directory / "at-all"
    gate.write_text((gate.read_text() if gate.exists() else "") + script)

    def prelude() -> None:
        right = clock.now
        shifted: Any = lambda: right() + (shift if after is None or after.exists() else datetime.timedelta())  # noqa: E731
        for module in list(sys.modules.values()):
            if getattr(module, "now", None) is right:
                module.now = shifted  # type: ignore[attr-defined]

    return prelude


def clock_ahead(case: Case) -> Result:
    return case.run(prelude=_clock(case, YEAR))


def clock_behind(case: Case) -> Result:
    return case.run(prelude=_clock(case, -10 * YEAR))


def clock_jumps_ahead(case: Case) -> Result:
    return _jump(case, YEAR)


def clock_jumps_back(case: Case) -> Result:
    return _jump(case, -datetime.timedelta(days=1))


def _jump(case: Case, shift: datetime.timedelta) -> Result:
    case.shut_gate()
    prelude = _clock(case, shift, case.gate / "go")
    running = case.start(prelude=prelude)
    case.wait_held(lambda: running.poll() is not None)
    return case.finish(running)


FUNCTIONS: dict[str, Callable[[Case], Result]] = {
    name: function
    for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", "") == __name__ and not name.startswith("_")
}
