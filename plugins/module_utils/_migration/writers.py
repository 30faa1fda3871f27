# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Who uses the database now, and must not while its schema changes."""

from __future__ import annotations

from collections.abc import Sequence

from .._core.errors import Refused, at
from .._platform import consumers, services
from .._platform.consumer import PROCESS, Consumer, Usage, merged
from .setup import Job


def find(job: Job) -> list[Consumer]:
    """Everything that runs and uses the datastore, except what belongs to this run."""
    reach = job.engine.reach()
    usage = Usage(
        hosts=reach.hosts,
        port=reach.port,
        database=reach.database,
        container=reach.container,
        paths=tuple(str(path) for path in reach.paths),
    )
    found = consumers.find(job.context, job.application, usage)
    name = job.runtime.name
    return services.running([one for one in found if not job.tool.owns(one.id) and not (name and one.name == name)])


def to_stop(job: Job, at_start: bool, named: Sequence[str]) -> list[Consumer]:
    """What `stop` names, and, where the application migrates when it starts, all that uses the datastore."""
    found = services.named(named)
    if at_start:
        with at(str(job.engine.datastore)):
            own = find(job)
        strangers = [one for one in own if one.kind == PROCESS]
        if strangers:
            raise Refused(
                f"it is used by what belongs to no service that could be stopped: {', '.join(map(str, strangers[:3]))}",
                hint="End it, or name the service that runs it in stop.",
            )
        found += own
    return services.running(merged(found))
