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
from typing import Any, Union

from .._core.errors import Busy, OpsError, Refused, ToolFailed, Unavailable
from .._core.process import TAIL, failed

NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12
_OPENING = re.compile(
    r"Is there a repository at the following location|unable to open (config file|repository at)"
    r"|create repository at .* failed|unable to start the sftp session"
)
# How a backend says that the repository's configuration is not there, as opposed to a network, a login
# or a server that fails: before 0.17 restic asks "Is there a repository …?" after all of them.
_ABSENT = re.compile(
    r"no such file or directory|do(es not|esn't) exist|NoSuch(Bucket|Key)|object not found|\b404\b", re.I
)

# A login or a right that is refused. S3's "The AWS Access Key Id you provided does not exist in our records" is one
# too, and no sign of a missing repository.
_REFUSED = (
    r"\b401\b|\b403\b|signature we calculated|Access Key Id you provided|Access ?Denied|InvalidAccessKeyId"
    r"|SignatureDoesNotMatch"
)
_LOGIN = re.compile(_REFUSED, re.I)
_TRIES_AGAIN = re.compile(
    rf"returned error, retrying after .*({_REFUSED}|bucket does not exist|NoSuchBucket|Bucket name )", re.I
)
_REMOVE = re.compile(
    rf"(Remove\(<(?:snapshot|data|index|key)/.*|not removed.*)({_REFUSED}|permission denied|not permitted)", re.I
)

# ssh or rclone itself failed: whatever file it misses, it is not the repository's.
_SESSION = re.compile(r"unable to start the sftp session|unable to open repository at|create repository at")


# What a backend says whose server does not answer any more.
_LOST = re.compile(
    r"connection (?:refused|reset|lost|timed out)|dial tcp|no such host|i/o timeout|no route to host|network is unreachable"
    r"|unexpectedly closed|ssh command exited|broken pipe|\b50[234]\b .*(?:Gateway|Unavailable)",
    re.I,
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


class Damaged(ToolFailed):
    """What is in the repository is not what was stored."""


class AppendOnly(Refused):
    """The repository does not let us remove anything."""


def classify(argv: Sequence[str], rc: int, stderr: str, location: str) -> OpsError:
    """What a failed restic means, with what to do about it."""
    details: dict[str, Any] = {"cmd": list(argv), "rc": rc, "stderr_tail": stderr[-TAIL:]}
    opening = bool(_OPENING.search(stderr))
    if _REMOVE.search(stderr):
        return AppendOnly(
            f"the repository {location} does not let this host remove anything: it is append-only here",
            hint="Let the retention run where removing is allowed, with a login that may, and leave it out on this host.",
            **details,
        )
    if _LOGIN.search(stderr) and (opening or gave_up(stderr)):
        return Unavailable(
            f"the server of the repository {location} refuses the login: {_line(stderr, _LOGIN)}",
            hint="Check repository.environment (the keys), or the user and password in repository.location, "
            "and what that account may do.",
            **details,
        )
    if rc == NO_REPOSITORY or (opening and not _SESSION.search(stderr) and _ABSENT.search(stderr)):
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
        where = _target(argv) or f"for the repository {location}"
        return ToolFailed(f"there is no space left {where}", hint="Free some, then run it again.", **details)
    if re.search(r"permission denied", stderr) and "config" in stderr:
        return Unavailable(
            f"the repository {location} may not be read by this user", hint="Check its owner and mode.", **details
        )
    if opening:
        return Unavailable(
            f"the repository {location} cannot be reached: {_line(stderr, 'config file|repository at')}",
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
        return Damaged(
            f"the repository {location} is damaged: {damaged[-1]}",
            hint="Run day2.ops.backup_info with check: all to see which backups are touched; use another backup or the copy.",
            **details,
        )
    return failed(argv, rc, stderr[-TAIL:], hint=f"The repository is {location}.")


def _target(argv: Sequence[str]) -> str:
    """Where `restic restore` writes to; of the repository it only reads."""
    return f"in {argv[argv.index('--target') + 1]}" if "--target" in argv[:-1] else ""


def is_locked(rc: int, stderr: str) -> bool:
    # Not "unable to create lock", which restic also says of a full disk.
    return rc == LOCKED or "repository is already locked" in stderr


def tries_again(stderr: str) -> bool:
    """Whether a running restic is about to try something again. (Before 0.15 it does not say that it went well then,
    but it gives up after ten times.)"""
    said = [line for line in stderr.splitlines() if ", retrying after " in line or "operation successful after" in line]
    return bool(said) and ", retrying after " in said[-1]


def gave_up(stderr: str) -> bool:
    """Whether a running restic tries again what cannot go better: a login or a right was refused, there is no bucket."""
    return bool(_TRIES_AGAIN.search(stderr))


def _line(stderr: str, word: Union[str, re.Pattern[str]]) -> str:
    found = re.compile(word)
    return next((line.strip() for line in stderr.splitlines() if found.search(line)), last_message(stderr))


def last_message(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def last_complaint(stderr: str) -> str:
    """Why it tries again."""
    said = [line.strip() for line in stderr.splitlines() if ", retrying after " in line]
    return said[-1] if said else last_message(stderr)


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
