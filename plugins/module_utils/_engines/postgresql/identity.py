# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Acting as another system user for the length of one connect: peer authentication.

The server asks the kernel who opened its socket, and the kernel answers with the effective user of
the connecting thread (unix(7), SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import pwd
from collections.abc import Iterator
from typing import Optional

from ..._core.errors import OpsError, Refused

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEEP = ctypes.c_uint(0xFFFFFFFF)

# libc's seteuid changes every thread of the process; the system call changes the calling one only, and
# other threads go on as who they were. Its number by machine (64 bits); 147 is the generic table's.
_SETRESUID = {"x86_64": 117, "ppc64le": 164, "s390x": 208, "aarch64": 147, "riscv64": 147, "loongarch64": 147}


@contextlib.contextmanager
def acting_as(user: Optional[str]) -> Iterator[None]:
    """Be `user` to the kernel inside the context, in this thread only. None: nothing changes."""
    uid = _uid(user) if user else os.geteuid()
    before = os.geteuid()
    if uid == before:
        yield
        return
    if before != 0:
        raise Refused(
            f"run_as: {user} needs root, and this runs as {_name(before)}",
            hint="Let the inventory set become, or leave run_as out.",
        )
    _switch(uid)
    try:
        yield
    finally:
        _switch(before)


def _switch(uid: int) -> None:
    number = _SETRESUID.get(platform.machine())
    if number is None:
        os.seteuid(uid)
    elif _LIBC.syscall(number, _KEEP, ctypes.c_uint(uid), _KEEP) != 0:
        raise OpsError(f"the effective user cannot be changed: {os.strerror(ctypes.get_errno())}")


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Refused(f"run_as: there is no user {user} on this host") from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
