# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What can go wrong, said so that a person knows what to do next.

An error is raised where it is known and caught once, in `_core.module.run`. Layers above the place
where it was raised only add where it happened, with `at`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional


class Told(BaseException):
    """What a person is told: a failure (`OpsError`) or an interruption.

    `what` says what failed; `untouched` what is unchanged; `hint` what to do next. `cmd`, `rc` and
    `stderr_tail` belong to a program that failed. `where` (application, datastore) and `stage` are
    usually filled in by `at`. `details` are facts for the module's result, for whoever acts on the failure.
    """

    def __init__(
        self,
        what: str,
        *,
        untouched: str = "",
        hint: str = "",
        stage: str = "",
        where: str = "",
        cmd: Optional[Sequence[str]] = None,
        rc: Optional[int] = None,
        stderr_tail: str = "",
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.untouched = untouched
        self.hint = hint
        self.stage = stage
        self.where = where
        self.cmd = cmd
        self.rc = rc
        self.stderr_tail = stderr_tail
        self.details: Mapping[str, Any] = details or {}

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.stage) if part)
        sentences = [f"{place}: {self.what}" if place else self.what, self.untouched, self.hint]
        return " ".join(_sentence(text) for text in sentences if text)


class OpsError(Told, Exception):
    """A failure with a message for a person."""


class Interrupted(Told):
    """A signal asked the module to end; whatever is open is closed on the way out.

    No `Exception`: who copes with a failure on the way (a safety copy that may fail, a lock that could not
    be looked at) must not cope with this one and go on.
    """


class Refused(OpsError):
    """The request cannot be carried out as it stands; nothing was changed."""


class Unavailable(OpsError):
    """A server, a repository, a container or a tool cannot be reached or does not let us in."""


class ToolFailed(OpsError):
    """A program ended with an error."""


class Mismatch(OpsError):
    """Data are not what was promised: a hash, a length, an end mark or a fingerprint differs."""


class Busy(OpsError):
    """Somebody else holds what is needed, a lock for instance."""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":", ";")) else f"{text}."


@contextlib.contextmanager
def at(where: str = "", stage: str = "", untouched: str = "") -> Iterator[None]:
    """Say where a failure or an interruption inside happened; what is already said stays.

    `where` of an outer call is put in front: ``backup booking-production: database "main"``.
    """
    try:
        yield
    except Told as error:
        error.where = ": ".join(part for part in (where, error.where) if part)
        error.stage = error.stage or stage
        error.untouched = error.untouched or untouched
        raise
