# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What is pending, what it would do, and whether the schema is what it is said to be. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.context import Context
from .._core.errors import at
from .._core.model import Json
from . import plan, setup, writers


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `migrate_info`."""
    with at(f"migrations of {context.app.key}"):
        job = setup.prepare(context.beside(), params)
        found_writers = [one.to_json() for one in writers.find(job)] if params["writers"] else []
        where = at(str(job.engine.datastore), stage="look", untouched=plan.UNTOUCHED)
        with where, plan.looked(job) as (database, found):
            told = plan.report(job, found, database)
            told["problems"] = [str(one) for one in plan.problems(job, found, params)]
            if params["preview"]:
                told.update(plan.preview(job, found, database))
            told["models"] = None
            at_heads = set(found.look.current) == set(found.look.heads)
            if params["compare_models"] and at_heads and not found.foreign:
                told["models"] = job.tool.compare()
        told["needs_backup"] = bool(told["pending"]) and not told["transactional_ddl"]
        told["writers"] = found_writers
        return {"changed": False, "migration": told}
