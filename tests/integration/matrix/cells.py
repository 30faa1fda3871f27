# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cells of the fault matrix as data: what is tested, what cannot happen and why, what must come out.

Nothing here runs anything: the tests, the slice of `make test` and the table of docs/faults.md read it.
"""

from __future__ import annotations

import dataclasses

BACKUP, VERIFY, RESTORE = "backup", "verify", "restore"
OPERATIONS = (BACKUP, VERIFY, RESTORE)
HOST, CONTAINER = "host", "container"

# How the operation that meets the fault must end.
ERROR = "error"  # a message for a person
WORKS = "works"  # the fault must not matter
KILLED = "killed"  # nobody is left to say anything
EITHER = "either"  # an error or success, by what the engine needs of what is broken


@dataclasses.dataclass(frozen=True)
class Site:
    """An engine at a place."""

    engine: str
    place: str

    @property
    def serves(self) -> bool:
        """Whether there is a server with tools of its own."""
        return self.engine not in ("sqlite", "files")

    def __str__(self) -> str:
        return f"{self.engine}-{self.place}"


SITES = (
    Site("sqlite", HOST),
    Site("sqlite", CONTAINER),
    Site("files", HOST),
    Site("files", CONTAINER),
    Site("mariadb", HOST),
    Site("mariadb", CONTAINER),
    Site("mysql", HOST),
    Site("mysql", CONTAINER),
    Site("postgresql", HOST),
    Site("postgresql", CONTAINER),
    Site("mongodb", HOST),
    Site("mongodb", CONTAINER),
    Site("redis", HOST),
    Site("redis", CONTAINER),
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """One kind of fault. `name` is also its function in `matrix/faults.py`.

    `ends`: how each operation must end. `says`: what the message of an error must hold, a regular expression. `of_data`: the message must name
    the datastore, because the fault is in it.
    """

    name: str
    title: str
    ends: dict[str, str]
    says: str = ""
    of_data: bool = False
    servers_only: bool = False
    containers_only: bool = False
    at_host: bool = False  # run for the host only, because the place of the data makes no difference


def _all(end: str) -> dict[str, str]:
    return dict.fromkeys(OPERATIONS, end)


FAULTS = (
    # The engine's own tool: the dump (producer) of a backup, the load of a verification or a restore.
    Fault(
        "tool_dies_early",
        "tool dies early: an error before its first byte",
        _all(ERROR),
        "day2t says no|throwaway server",
        True,
        True,
    ),
    Fault(
        "tool_killed", "tool killed (SIGKILL) in the middle", _all(ERROR), r"killed|ended|lost|137|signal 9", True, True
    ),
    Fault("tool_dies_late", "tool dies late: an error shortly before its end", _all(ERROR), "", True, True),
    Fault("tool_fails_afterwards", "tool fails after all of its output or input", _all(ERROR), r"\b3\b", True, True),
    Fault(
        "tool_cuts_short",
        "tool works on a part only and reports success",
        _all(ERROR),
        r"end mark|not what was backed up|ended|archive|cut|truncated|documents were restored|arrived",
        True,
        True,
    ),
    # Processes
    Fault("module_killed", "module killed (SIGKILL) in the middle", _all(KILLED)),
    Fault(
        "module_killed_before_the_commit",
        "module killed before its last step: manifest, proof, end of the swap",
        _all(KILLED),
    ),
    Fault("module_killed_at_the_end", "module killed right after its last step", _all(KILLED)),
    Fault("module_terminated", "module asked to end (SIGTERM)", _all(ERROR), "interrupted by SIGTERM"),
    Fault("restic_killed", "restic killed (SIGKILL) in the middle", _all(ERROR), r"killed by signal 9", True),
    Fault(
        "restic_killed_at_the_end",
        "restic killed while it stores the manifest, the proof, the safety copy",
        _all(ERROR),
        r"killed by signal 9",
        at_host=True,
    ),
    Fault("controller_gone", "controller gone in the middle, and its terminal: the operation goes on", _all(WORKS)),
    Fault("controller_hangs_up", "the same with the module run by itself, without its action plugin", _all(KILLED)),
    # Servers
    Fault(
        "server_down",
        "server stopped before",
        _all(ERROR),
        r"reached|answers|runs? not|not run|no container|stopped",
        True,
        True,
    ),
    Fault("server_stopped", "server stopped in the middle", _all(ERROR), "", True, True),
    Fault("container_removed", "container removed in the middle", _all(EITHER), "", False, False, True),
    # The store
    Fault("store_gone", "network to the store cut before", _all(ERROR), "cannot be reached", at_host=True),
    Fault("store_cut", "network to the store cut in the middle, for good", _all(ERROR), "", False, at_host=True),
    Fault("store_back", "network to the store cut in the middle, back after 3 s", _all(WORKS), at_host=True),
    Fault("store_full", "disk full in the store", _all(ERROR), r"no space left|MiB are free", at_host=True),
    Fault(
        "store_password",
        "wrong password of the store",
        _all(ERROR),
        r"password of the repository .* is wrong",
        at_host=True,
    ),
    Fault("store_locked", "store locked by another restic", _all(ERROR), "is locked", at_host=True),
    Fault(
        "data_altered",
        "data of a backup altered in the store",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        "is damaged",
        True,
        at_host=True,
    ),
    Fault(
        "data_truncated",
        "data of a backup truncated in the store",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        "is damaged",
        True,
        at_host=True,
    ),
    Fault(
        "data_missing",
        "data of a backup missing in the store",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        "is damaged",
        True,
        at_host=True,
    ),
    Fault(
        "data_forgotten",
        "snapshot of a backup's data removed by somebody else",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        "is not complete",
        at_host=True,
    ),
    Fault(
        "manifest_altered",
        "manifest altered: another size than what was stored",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        r"not what was (stored|backed up)",
        True,
        at_host=True,
    ),
    # Disks, passwords, locks of the datastore and of the host
    Fault(
        "data_disk_full",
        "disk full where the data are",
        _all(EITHER),
        r"space|full|Disk|disk|write|extend|are free",
        True,
    ),
    Fault("state_disk_full", "disk full in the state directory", _all(EITHER), r"[Nn]o space left|cannot be written"),
    Fault("data_password", "wrong password of the database", _all(ERROR), r"password|refuses|authenticat", True, True),
    Fault("data_locked", "data locked by another session", _all(EITHER), r"lock|use|wait", True),
    Fault(
        "app_locked",
        "lock of the application held by a deployment",
        _all(ERROR),
        "the lock of .* is held by",
        at_host=True,
    ),
    Fault("two_at_once", "two runs at once: the second one", _all(ERROR), "the lock of .* is held by", at_host=True),
    # Time
    Fault("clock_ahead", "clock a year ahead during the run", _all(WORKS), at_host=True),
    Fault(
        "clock_behind",
        "clock ten years behind during the run",
        {BACKUP: WORKS, VERIFY: ERROR, RESTORE: ERROR},
        "from the future",
        at_host=True,
    ),
    Fault("clock_jumps_ahead", "clock jumps a year ahead in the middle", _all(WORKS), at_host=True),
    Fault("clock_jumps_back", "clock jumps a day back in the middle", _all(WORKS), at_host=True),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


@dataclasses.dataclass(frozen=True)
class Cell:
    site: Site
    operation: str
    fault: Fault

    @property
    def id(self) -> str:
        return f"{self.site}-{self.operation}-{self.fault.name}"

    @property
    def ends(self) -> str:
        if self.site.engine == "redis" and self.fault.name == "server_stopped" and self.operation != RESTORE:
            return WORKS  # its dump is whole before any of it is stored, and a proof needs no live server
        return self.fault.ends[self.operation]


# Why a cell is none: the table's footnotes.
NO_TOOL = "the collection reads and writes the data itself (SQLite), or restic does (files): there is no tool to fail"
NO_SERVER = "there is no server"
NO_CONTAINER = "nothing runs in a container"
NO_LOGIN = "there is no password"
NO_LOCKS = "there are no locks that another session could hold"
THROWAWAY = "what loads is a throwaway server of the collection's own, on the finished file: it starts or it does not"
SAME = "the fault is in the store or on the target, where the place of the data makes no difference: see `host`"


def why_not(site: Site, operation: str, fault: Fault) -> str:
    """Why a fault cannot happen there; "" where it can."""
    if fault.containers_only and site.place != CONTAINER:
        return NO_CONTAINER
    if fault.servers_only and not site.serves:
        if fault.name.startswith("tool_"):
            return NO_TOOL
        return NO_LOGIN if fault.name == "data_password" else NO_SERVER
    if fault.name == "data_locked" and site.engine in ("files", "redis", "mongodb"):
        return NO_LOCKS
    if fault.name.startswith("tool_") and site.engine == "redis" and operation != BACKUP:
        # On the host it is a program that can be replaced.
        return "" if fault.name == "tool_dies_early" and site.place == HOST else THROWAWAY
    if fault.at_host and site.place != HOST:
        return SAME
    return ""


def cells() -> list[Cell]:
    """Every cell that is run."""
    return [
        Cell(site, operation, fault)
        for site in SITES
        for fault in FAULTS
        for operation in OPERATIONS
        if not why_not(site, operation, fault)
    ]


def _is_slow(cell: Cell) -> bool:
    """It takes minutes: a peer that has gone without a word, a lock that is waited for."""
    stopped = cell.fault.name == "server_stopped" and cell.site.place == HOST
    return cell.site.serves and (stopped or cell.fault.name in ("store_cut", "data_locked"))


def slice_of(every: list[Cell]) -> set[str]:
    """What `make test` runs: each fault once, each operation on each site at least once; the same each time."""
    chosen: list[Cell] = []
    for number, fault in enumerate(FAULTS):
        own = [cell for cell in every if cell.fault is fault]
        turned = own[(number * 7) % len(own) :] + own[: (number * 7) % len(own)]
        turned.sort(key=_is_slow)  # where another site has the fault, that one
        seen = {(cell.site, cell.operation) for cell in chosen}
        chosen.append(next((cell for cell in turned if (cell.site, cell.operation) not in seen), turned[0]))
    for number, (site, operation) in enumerate((site, operation) for site in SITES for operation in OPERATIONS):
        if all((cell.site, cell.operation) != (site, operation) for cell in chosen):
            own = [cell for cell in every if (cell.site, cell.operation) == (site, operation) and not _is_slow(cell)]
            chosen.append(own[(number * 5) % len(own)])
    return {cell.id for cell in chosen}
