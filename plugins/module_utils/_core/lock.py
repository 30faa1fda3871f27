# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The application's lock: one per application and instance on a host, with an owner and a lease.

The lock is a JSON file that is replaced atomically; a second file, locked with flock for a moment,
orders those who look at it. A lock that a single module took for itself names its process, and ends
with that process; a lock for a whole play has a token, and ends with its lease unless somebody renews it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from . import clock, io
from .context import Context
from .errors import Busy, OpsError, Refused, at
from .model import Json
from .process import identity, pid_of

LEASE = 900  # seconds


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock. `process` is set for a module's own lock: `BOOT_ID:PID:START_TIME`."""

    token: str
    owner: str
    reason: str
    job: str
    since: str
    until: str
    lease: int
    process: Optional[str] = None

    def over(self) -> bool:
        """Whether the lock has ended by itself."""
        if self.process is not None and self.process != identity(pid_of(self.process)):
            return True
        return clock.from_text(self.until) <= clock.now()

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"{self.owner} ({self.reason}{job}) since {self.since}, until {self.until} unless renewed"


class Lock:
    """The lock of one application on this host."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.path = context.home / "lock"

    def holder(self) -> Optional[Holder]:
        """Who holds it now; None when it is free or has ended."""
        data = io.read_json(self.path)
        holder = Holder(**data) if data else None
        return None if holder is None or holder.over() else holder

    def take(
        self,
        *,
        owner: str,
        reason: str,
        job: str = "",
        lease: int = LEASE,
        own_process: bool = False,
        wait: float = 0,
        takeover: bool = False,
    ) -> Holder:
        """Take the lock, waiting up to `wait` seconds for another holder; `Busy` says who it is."""
        deadline = time.monotonic() + wait
        while True:
            with self._guard():
                other = self.holder()
                if other is None or takeover:
                    holder = _holder(secrets.token_hex(8), owner, reason, job, lease, own_process)
                    self._write(holder)
                    return holder
            if time.monotonic() >= deadline:
                raise Busy(
                    f"the lock of {self.context.app.key} is held by {other}",
                    untouched="Nothing was changed.",
                    hint="Wait for it; or, when you know that it does not run any more, take it over with "
                    "day2.ops.app_lock (takeover: true).",
                )
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))

    def renew(self, token: str, at_least: int = 0) -> Holder:
        """Prolong the lease of our own lock; `Busy` when it is not ours any more."""
        with self._guard():
            holder = self._mine(token)
            lease = max(holder.lease, at_least)
            until = clock.text(clock.now() + datetime.timedelta(seconds=lease))
            renewed = dataclasses.replace(holder, until=max(until, holder.until))
            self._write(renewed)
            return renewed

    def check(self, token: str) -> None:
        """Fail unless the lock is still ours; asked right before a point of no return."""
        with self._guard():
            self._mine(token)

    def free(self, token: str) -> bool:
        """Free our own lock; False when it was free already. Somebody else's is left alone."""
        with self._guard():
            holder = self.holder()
            if holder is None:
                return False
            if holder.token != token:
                raise Busy(f"the lock of {self.context.app.key} is held by {holder}", hint="It was not freed.")
            self.path.unlink()
            return True

    def _mine(self, token: str) -> Holder:
        data = io.read_json(self.path)
        holder = Holder(**data) if data else None
        # Our own lock whose lease has ended is still ours while nobody else has taken it.
        if holder is not None and holder.token == token:
            return holder
        who = f"is held by {holder}" if holder and not holder.over() else "is free, its lease has ended"
        raise Busy(
            f"lock_token does not hold the lock of {self.context.app.key}: it {who}",
            hint="Take the lock with day2.ops.app_lock, with a lease that lasts for the whole play.",
        )

    def _write(self, holder: Holder) -> None:
        io.write_json(self.path, dataclasses.asdict(holder))

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        io.private_directory(self.context.home)
        with io.open_to_lock(self.context.home / "lock.guard") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


@dataclasses.dataclass(frozen=True)
class Held:
    """A lock while an operation runs."""

    lock: Lock
    token: str

    def check(self) -> None:
        """Fail unless this run may still go past a point of no return: the lock is ours, and no signal
        has asked it to end. Python drops what a signal's handler raises inside a finalizer (`__del__`)."""
        if self.lock.context.interrupted:
            raise self.lock.context.interrupted
        self.lock.check(self.token)


@contextlib.contextmanager
def held(context: Context, token: Optional[str], reason: str, job: str = "") -> Iterator[Held]:
    """The lock for one operation: the play's, renewed meanwhile, or one of our own."""
    lock = Lock(context)
    with at(stage="lock", untouched="Nothing was changed."):
        if token:
            lock.renew(token)
            mine = Held(lock, token)
        else:
            mine = Held(lock, lock.take(owner=me(), reason=reason, job=job, own_process=True).token)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(mine, stop), daemon=True)
    renewer.start()
    try:
        yield mine
    finally:
        stop.set()
        renewer.join(timeout=10)
        if not token:
            with contextlib.suppress(OpsError):
                lock.free(mine.token)


def me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `app_lock`."""
    lock = Lock(context)
    token = params["lock_token"]
    if params["lease"] < 1:
        raise Refused("lease must be at least 1 second")
    if params["state"] == "absent":
        holder = lock.holder() if context.home.is_dir() else None
        mine = holder is not None and holder.token == token
        if mine and not context.check_mode:
            lock.free(token)
        return {"changed": mine, "lock": {} if holder is None or mine else public(holder, token)}
    if token:
        holder = lock.holder() if context.check_mode else lock.renew(token, params["lease"])
        return {"changed": False, "lock": public(holder, token) if holder else {}}
    owner, reason, job = params["owner"] or me(), params["reason"], params["job"]
    if context.check_mode:
        other = lock.holder() if context.home.is_dir() else None
        if other and not params["takeover"]:
            raise Busy(f"the lock of {context.app.key} is held by {other}", untouched="Nothing was changed.")
        return {"changed": True, "lock": {"owner": owner, "reason": reason, "job": job}}
    holder = lock.take(
        owner=owner,
        reason=reason,
        job=job,
        lease=params["lease"],
        wait=params["wait"],
        takeover=params["takeover"],
    )
    return {"changed": True, "lock": public(holder, holder.token)}


def public(holder: Holder, token: str) -> Json:
    """What a result shows of a lock: the token only to whoever has it."""
    data: Json = {key: getattr(holder, key) for key in ("owner", "reason", "job", "since", "until")}
    return {**data, "token": holder.token} if holder.token == token else data


def _renew(mine: Held, stop: threading.Event) -> None:
    while not stop.wait(LEASE / 6):
        with contextlib.suppress(OpsError, OSError):  # the check before the point of no return decides
            mine.lock.renew(mine.token)


def _holder(token: str, owner: str, reason: str, job: str, lease: int, own_process: bool) -> Holder:
    now = clock.now()
    until = clock.text(now + datetime.timedelta(seconds=lease))
    process = identity(os.getpid()) if own_process else None
    return Holder(token, owner, reason, job, clock.text(now), until, lease, process)
