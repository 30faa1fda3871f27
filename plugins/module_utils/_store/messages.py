# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What restic's exit codes and messages mean, by version. Pure.

Exit codes 10, 11 and 12 (no repository, locked, wrong password) exist since 0.17; before that all three
are 1 and only the message differs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import Busy, OpsError, ToolFailed, Unavailable
from .._core.process import TAIL, failed

NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12
# How a backend says that the repository's configuration is not there, as opposed to a network, a login
# or a server that fails: before 0.17 restic asks "Is there a repository …?" after all of them.
_ABSENT = re.compile(
    r"no such file or directory|do(es not|esn't) exist|NoSuch(Bucket|Key)|object not found|\b404\b", re.I
)


# What a backend says whose server does not answer any more.
_LOST = re.compile(
    r"connection (?:refused|reset|lost)|dial tcp|no such host|i/o timeout|no route to host|network is unreachable", re.I
)
# Data that are altered, cut, or gone; a file of the repository that cannot be opened is named by `<data/ID>`.
_DAMAGED = re.compile(
    r"ciphertext verification failed|does not match|id .* not found|invalid data returned|wrong size|unexpected EOF"
    rf"|(?:<data/|StreamPack).*(?:{_ABSENT.pattern})",
    re.I,
)


class NoRepository(Unavailable):
    """There is no repository at the location."""


class Locked(Busy):
    """Another restic holds a lock of the repository."""


def classify(argv: Sequence[str], rc: int, stderr: str, location: str) -> OpsError:
    """What a failed restic means, with what to do about it."""
    details: dict[str, Any] = {"cmd": list(argv), "rc": rc, "stderr_tail": stderr[-TAIL:]}
    opening = "Is there a repository at the following location" in stderr or "unable to open config file" in stderr
    if rc == NO_REPOSITORY or (opening and _ABSENT.search(stderr)):
        return NoRepository(
            f"there is no repository at {location}",
            hint="Check the location; the role day2.ops.prepare creates a repository that is missing.",
            **details,
        )
    if rc == WRONG_PASSWORD or "wrong password or no key found" in stderr:
        return Unavailable(
            f"the password of the repository {location} is wrong", hint="Check repository.password.", **details
        )
    if is_locked(rc, stderr):
        return Locked(
            f"the repository {location} is locked: {_line(stderr, 'locked')}",
            hint="Wait for the other restic. When it is known to be dead, run `restic unlock` yourself.",
            **details,
        )
    if "no space left on device" in stderr:
        return ToolFailed(
            f"there is no space left for the repository {location}", hint="Free some, then run it again.", **details
        )
    if re.search(r"permission denied", stderr) and "config" in stderr:
        return Unavailable(
            f"the repository {location} may not be read by this user", hint="Check its owner and mode.", **details
        )
    if opening:
        return Unavailable(
            f"the repository {location} cannot be reached: {_line(stderr, 'config file')}",
            hint="Check its location, the network and the credentials.",
            **details,
        )
    lost = [line.strip() for line in stderr.splitlines() if _LOST.search(line)]
    if lost:  # before damage, because a stream that is cut ends too early as well
        return Unavailable(
            f"the repository {location} cannot be reached any more: {lost[-1]}",
            hint="Check the network and its server, then run it again.",
            **details,
        )
    damaged = [line.strip() for line in stderr.splitlines() if _DAMAGED.search(line)]
    if damaged:
        return ToolFailed(
            f"the repository {location} is damaged: {damaged[-1]}",
            hint="Run day2.ops.backup_info with check: all to see which backups are touched; use another backup or the copy.",
            **details,
        )
    return failed(argv, rc, stderr[-TAIL:], hint=f"The repository is {location}.")


def is_locked(rc: int, stderr: str) -> bool:
    # Not "unable to create lock", which restic also says of a full disk.
    return rc == LOCKED or "repository is already locked" in stderr


def _line(stderr: str, word: str) -> str:
    return next((line.strip() for line in stderr.splitlines() if word in line), _last(stderr))


def _last(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def read_errors(stderr: str, stdout: bytes) -> tuple[list[str], list[str]]:
    """Files that restic could not read: those that vanished, and others. From its JSON error lines
    (standard output or standard error, by version) and from plain lines on standard error."""
    vanished: list[str] = []
    others: list[str] = []
    for line in [*stderr.splitlines(), *stdout.decode(errors="replace").splitlines()]:
        if line.startswith("{"):
            data = _object(line)
            if data.get("message_type") != "error":
                continue
            text = f"{data.get('item', '')}: {_message(data.get('error'))}"
        elif line.startswith(("error: ", "error for ")):
            text = line.partition(": ")[2]
        else:
            continue
        (vanished if "no such file or directory" in text else others).append(text)
    return vanished, others


def _object(line: str) -> dict[str, Any]:
    """A line of JSON; nothing for one that is cut or only looks like it."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _message(error: Any) -> str:
    if isinstance(error, Mapping):
        number = error.get("Err")
        if isinstance(number, int) and 0 < number < 4096:  # before 0.17: {"Op": "lstat", "Path": "/x", "Err": 2}
            return f"{error.get('Op')}: {os.strerror(number).lower()}"
        return str(error.get("message") or error)
    return str(error)
