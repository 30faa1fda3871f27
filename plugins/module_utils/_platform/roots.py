# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Paths below another root, such as /proc/PID/root of a container's process."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

_LINKS = 40  # as many as Linux follows


def below(root: Path, path: str) -> Path:
    """The path on this host of `path` as a process with that root sees it.

    An absolute symbolic link starts at that root: /proc/PID/root/var/run/postgresql, left to the kernel,
    would lead through `/var/run -> /run` to this host's own server. What does not exist is left as it is.
    """
    pending = list(reversed(PurePosixPath("/", path).parts[1:]))
    seen: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            seen = seen[:-1]
            continue
        target = root.joinpath(*seen, part)
        if links < _LINKS and target.is_symlink():
            links += 1
            link = PurePosixPath(os.readlink(target))
            if link.is_absolute():
                seen = []
            pending.extend(reversed([piece for piece in link.parts if piece != "/"]))
        else:
            seen.append(part)
    return root.joinpath(*seen)
