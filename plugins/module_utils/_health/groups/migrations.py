# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The schema: at the revisions of the code that runs, and what the last migration left it as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from ..._core.errors import OpsError, Refused
from ..._migration import plan, setup
from ..._migration.setup import Job
from ..._platform.docker import Docker
from ..model import CRIT, OK, Finding
from ..probe import Group, Options, Probe


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    scene = probe.scene
    if not scene.migration:
        raise Refused("nothing is said of what migrates the schema", hint="Give migration (day2_migration).")
    service = scene.migration["service"]
    image = _running_image(scene.application.project, service) if service else None
    engines = list(scene.engines.values())
    job = setup.job_for(scene.context.beside(), scene.application, engines, scene.migration, image=image)
    with plan.looked(job) as (_database, found):
        yield from judged(job, found)


def judged(job: Job, found: plan.Survey) -> Iterator[Finding]:
    """Pending revisions, and everything that a migration would be refused for."""
    at_now = ", ".join(found.look.current) or "no revision"
    pending = [step.revision for step in found.look.steps]
    if pending:
        yield Finding(
            CRIT,
            f"the schema is at {at_now}, and {plan.listed(pending, 5)} of {job.runtime.label} is pending",
            len(pending),
        )
    reasons = plan.problems(job, found, {})
    for reason in reasons:
        yield Finding(CRIT, reason.what, part="" if not pending else "problem")
    if not pending and not reasons:
        yield Finding(OK, f"the schema is at {at_now}, the newest of {job.runtime.label}", 0)


def _running_image(project: str, service: str) -> Optional[str]:
    """Of the container that runs, which may be older than what the compose file says; None where none runs."""
    with Docker() as docker:
        try:
            container = docker.find(f"{project}/{service}")
        except OpsError:
            return None
        return container.image if docker.image_id(container.image) == container.image_id else container.image_id


GROUP = Group("migrations", {}, look)
