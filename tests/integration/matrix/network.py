# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operation that stands still while restic has the repository open: there the network to it is cut."""

from __future__ import annotations

from tests.integration.matrix.case import HEAD, Case
from tests.integration.matrix.cells import BACKUP
from tests.integration.support.forked import Forked

# More has gone in than a pipe holds: restic reads, so it has opened the repository.
_STREAM = """
rm -f {gate}/pipe; mkfifo {gate}/pipe
exec 3<&0
{{ head -c {head} <&3; touch {gate}/reached; until [ -e {gate}/go ]; do sleep 0.02; done; cat <&3; }} > {gate}/pipe &
exec "$real" "$@" < {gate}/pipe 3<&-
"""
# restic reads and writes a tree by itself: slowly, so that it is still at it when its lock is seen.
_TREE = """
(until [ -n "$(ls -A {locks} | grep -v tmp)" ]; do sleep 0.01; done; touch {gate}/reached) </dev/null >/dev/null 2>&1 &
exec "$real" "$@" --limit-upload 64 --limit-download 64
"""


def start_connected(case: Case) -> Forked:
    """The operation, started, with the repository open."""
    files = case.subject.site.engine == "files"
    if case.operation != BACKUP and not files:
        return case.start_held()
    script = _TREE if files else _STREAM
    case.wrapper.at(
        "backup-1" if case.operation == BACKUP else "restore-1",
        script.format(gate=case.gate, head=HEAD, locks=case.world.repository / "locks"),
    )
    running = case.start()
    case.wait_held(lambda: running.poll() is not None)
    return running
