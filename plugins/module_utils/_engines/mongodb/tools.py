# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""mongodump and mongorestore where the server is: command lines, the password's way to them, what they say."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
from collections.abc import Sequence
from typing import Optional

from ..._core.errors import OpsError, ToolFailed, Unavailable
from ..._core.place import Place
from ..._core.process import Child, ending, failed
from .connection import Way
from .names import is_long, pattern, within

DUMP, RESTORE = "mongodump", "mongorestore"
_NOT_FOUND = (126, 127)  # exit codes of docker exec, and of a shell, for a program that is not there
_HINT = "Install MongoDB's database tools there."

# The tools take a password from a file that --config names, and from nowhere else but the command line and a
# terminal. The file is a pipe that a shell makes of the first line of its input and that only the tool has:
# nothing is on a disk, in an environment, or left behind by a kill. What follows on the input is the tool's
# own. (Where a shell makes a temporary file of it, as bash did before 5.1, that is unlinked before the tool
# begins, and in memory.)
_SHELL = """
if [ -w /dev/shm ]; then TMPDIR=/dev/shm; fi
umask 077
IFS= read -r config
exec 3<<DAY2
$config
DAY2
unset config
exec "$@"
"""
_CONFIG = "--config=/dev/fd/3"

_SUMMARY = re.compile(r"(\d+) document\(s\) restored successfully\. (\d+) document\(s\) failed to restore")


@dataclasses.dataclass(frozen=True)
class Tools:
    place: Place
    way: Way

    def version(self, tool: str) -> str:
        """Its version; refuses when it is not there."""
        try:
            printed = self.place.run([tool, "--version"], timeout=60).text
        except ToolFailed as error:
            if error.rc in _NOT_FOUND:
                raise Unavailable(f"there is no {tool} on {self.place.label}", hint=_HINT) from None
            raise
        except Unavailable as error:
            error.hint = error.hint or _HINT
            raise
        return version_of(printed)

    def spawn(self, argv: Sequence[str]) -> Child:
        """Start a tool; its standard input is open, and what it connects with has been read from there."""
        command = self.place.command(["sh", "-c", _SHELL, "sh", argv[0], _CONFIG, *argv[1:]])
        child = Child(command, stdin=subprocess.PIPE)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says why
                child.stdin.write(self.way.config())
                child.stdin.flush()
        except BaseException:
            child.kill()
            raise
        return child


def version_of(printed: str) -> str:
    """`mongodump version: 100.9.4` → `100.9.4`; "" for a build that does not know its own."""
    found = re.search(r"version: v?(\d[\w.+-]*)", printed)
    return found[1] if found else ""


# Dumping --------------------------------------------------------------------------------------------


def dump_flags(database: str, prefix: str, excluded: Sequence[str]) -> list[str]:
    """What is in the dump; stored with the backup."""
    return [
        f"--db={database}",
        "--archive",
        # One collection after the other: several at a time come interleaved as chance has it, and an unchanged
        # collection would be stored anew each day.
        "--numParallelCollections=1",
        f"--excludeCollectionsWithPrefix={prefix}",
        *(f"--excludeCollection={name}" for name in excluded),
    ]


def explain_dump(child: Child, rc: int) -> OpsError:
    said = _why(child.stderr_tail)
    if re.search(r"connection\(\)|server selection|socket was unexpectedly closed|connection refused", said):
        return Unavailable(
            f"{DUMP} lost its connection to the server: {said}", hint="Did the server or its container stop?"
        )
    return failed(child.argv, rc, child.stderr_tail, what=f"{DUMP} {ending(rc)}: {said}")


def _why(stderr: str) -> str:
    """The tools put the reason into a line of its own; the last lines count."""
    lines = [re.sub(r"^\S+\t", "", line) for line in stderr.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("Failed:", "error", "sh:"))]
    return (reasons or lines or ["no message"])[-1].removeprefix("Failed: ")


# Loading --------------------------------------------------------------------------------------------


def load_flags(source: str, target: str, scratch: str, collections: Sequence[str], without: Sequence[str]) -> list[str]:
    """Everything of the database `source`, but `without`, below the scratch name in the database `target`.

    No indexes: those that remove documents must wait, and the others are made when the documents are there.
    """
    flags = ["--archive", "--noIndexRestore", "--bypassDocumentValidation", f"--nsInclude={pattern(source)}.*"]
    flags += [f"--nsExclude={pattern(f'{source}.{name}')}" for name in without]
    flags += [f"--nsFrom={pattern(source)}.*", f"--nsTo={pattern(f'{target}.{scratch}')}_*"]
    for name in collections:  # the last rule that fits counts
        if is_long(scratch, name, target):
            flags.append(f"--nsFrom={pattern(f'{source}.{name}')}")
            flags.append(f"--nsTo={pattern(f'{target}.{within(scratch, name, target)}')}")
    return flags


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What mongorestore says it did; None where it did not say."""

    restored: Optional[int] = None
    failures: Optional[int] = None


def loaded(stderr: str) -> Loaded:
    found = _SUMMARY.findall(stderr)
    return Loaded(int(found[-1][0]), int(found[-1][1])) if found else Loaded()


def explain_load(child: Child, rc: int, expected: int) -> Optional[OpsError]:
    """Why a load failed; None when it did not. mongorestore ends with 0 also where documents were refused."""
    stderr = child.stderr_tail
    said = loaded(stderr)
    if rc != 0:
        return failed(child.argv, rc, stderr, what=f"{RESTORE} {ending(rc)}: {_why(stderr)}")
    if said.failures is None:
        return failed(child.argv, rc, stderr, what=f"{RESTORE} did not say how many documents it restored")
    if said.failures:
        return failed(child.argv, rc, stderr, what=f"{said.failures} documents could not be restored")
    if said.restored != expected:
        return failed(child.argv, rc, stderr, what=f"{said.restored} of {expected} documents were restored")
    return None
