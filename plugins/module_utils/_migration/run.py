# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Run what is pending, one revision at a time, and say exactly what was done when one fails."""

from __future__ import annotations

import contextlib
import datetime
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._core import clock
from .._core import lock as locks
from .._core.context import Context
from .._core.errors import Busy, OpsError, Refused, Told, ToolFailed, at
from .._core.model import Json
from .._platform import services
from .._platform.consumer import Consumer, merged
from . import plan, setup, sql_lint, writers
from .database import Database
from .plan import HalfApplied, Survey
from .record import Record, State
from .schema import Schema
from .setup import Job
from .tool import Applied, Failed, NotConnected, Step

_BACKUP = re.compile(r"^(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{6}$")


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `migrate`."""
    with at(f"migrate {context.app.key}"), contextlib.ExitStack() as stack:
        job = setup.prepare(context, params)
        held: Optional[locks.Held] = None
        if not context.check_mode:
            held = stack.enter_context(locks.held(context, params["lock_token"], "migrate", params["job"]))
            job.runtime.sweep()
        return _Run(job, params, held, stack).run()


class _Run:
    """One run of the module. What it knows grows with its stages."""

    def __init__(
        self, job: Job, params: Mapping[str, Any], held: Optional[locks.Held], stack: contextlib.ExitStack
    ) -> None:
        self.job = job
        self.params = params
        self.held = held
        self.stack = stack
        self.record = Record(job.context, job.datastore)
        self.applied: list[Json] = []
        self.stopped: list[Consumer] = []
        self.begun: Optional[Step] = None
        self.state = State((), Schema())  # before the revision that runs
        self.changed: Optional[set[str]] = set()  # tables since `state.schema` was read; None: more than tables
        self.exact = True  # whether `state.schema` is the one right before the revision
        self.version_table = "alembic_version"

    def run(self) -> Json:
        job = self.job
        with at(str(job.engine.datastore), stage="preflight", untouched=plan.UNTOUCHED):
            self.stack.callback(job.tool.close)
            job.tool.start()
            self.database: Database = self.stack.enter_context(plan.opened(job))
            if self.held is not None:
                self.database.lock(self.params["lock_timeout"])
            job.tool.open()
            # What the code of upgrades shows is asked for only where something depends on it.
            closely = self.held is None or not self.params["allow_destructive"] or self.params["on_failure"] != "stop"
            found = plan.survey(job, self.database, self.record, closely)
            self._refuse(found)
        report = plan.report(job, found, self.database)
        report.update(backup=self.params["backup"] or "", applied=[], stopped=[], seconds=0.0)
        if not found.look.steps:
            return self._nothing_to_do(found, report)
        with at(str(job.engine.datastore), stage="preflight", untouched=plan.UNTOUCHED):
            self._refuse_without_backup()
            if not self.params["allow_destructive"] or self.held is None:
                report.update(plan.preview(job, found, self.database))
                self._refuse_destructive(report["findings"])
        diff = {"before": "", "after": report.get("sql", "") + "\n"}
        if self.held is None:
            with at(stage="stop", untouched=plan.UNTOUCHED):
                would = writers.to_stop(job, self.params["at_start"], self.params["stop"])
            report["stopped"] = [one.to_json() for one in would]
            return {"changed": True, "migration": report, "diff": diff}
        begun = time.monotonic()
        self._migrate(found)
        report.update(
            applied=self.applied,
            current=list(self.state.heads),
            schema=self.state.schema.fingerprint,
            pending=[],
            stopped=[one.to_json() for one in self.stopped],
            drift=[],
            seconds=round(time.monotonic() - begun, 2),
        )
        diff = {
            "before": f"revision {', '.join(found.look.current) or 'none'}\n",
            "after": f"revision {', '.join(self.state.heads) or 'none'}\n",
        }
        return {"changed": True, "migration": report, "diff": diff}

    # Before anything is done ---------------------------------------------------------------------

    def _refuse(self, found: Survey) -> None:
        reasons = plan.problems(self.job, found, self.params)
        if reasons:
            raise reasons[0]
        look = found.look
        self.version_table = look.version_table
        self.state = State(look.current, found.schema)
        if not look.database:
            self.job.context.warn(
                f"whether the command's database is {self.job.engine.datastore} was not checked: only Alembic and "
                "Flask-Migrate can be asked for it"
            )

    def _nothing_to_do(self, found: Survey, report: Json) -> Json:
        """Nothing is pending. What is there now is what later runs compare with."""
        if self.held is not None and not found.foreign:
            stopped = [Consumer.from_json(one) for one in self.record.stopped]
            self.record.end(State(found.look.current, found.schema))
            self._start(stopped)
        return {"changed": False, "migration": report, "diff": {"before": "", "after": ""}}

    def _refuse_without_backup(self) -> None:
        """A definition that was run cannot be rolled back here; only a backup leads back."""
        if self.database.transactional_ddl or not self.params["require_backup"] or self.held is None:
            return
        given, oldest = self.params["backup"] or "", self.params["backup_max_age"]
        engine = self.job.engine.datastore.engine
        hint = "The role day2.ops.migrate takes one. require_backup: false goes on without."
        if not given:
            raise Refused(f"a failed revision cannot be rolled back in {engine}, and no backup is named", hint=hint)
        match = _BACKUP.match(given)
        if not match:
            raise Refused(f"backup: {given!r} is no id of a backup", hint=hint)
        made = datetime.datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=clock.UTC)
        age = clock.now() - made
        if age > clock.duration(oldest, "backup_max_age"):
            raise Refused(
                f"the backup {given} is older than backup_max_age ({oldest}): what was written since would be lost",
                hint=hint,
            )
        if age < datetime.timedelta(minutes=-5):
            raise Refused(f"the backup {given} is from the future by this host's clock", hint="Set the clock.")

    def _refuse_destructive(self, findings: Sequence[Json]) -> None:
        lost = [one for one in findings if one["level"] == sql_lint.DESTRUCTIVE]
        if lost and not self.params["allow_destructive"] and self.held is not None:
            first = lost[0]
            raise Refused(
                f"{len(lost)} statements lose data, the first in revision {first['revision']}: {first['statement']}",
                hint="allow_destructive: true runs them.",
                details={"findings": list(findings)},
            )

    # Running -------------------------------------------------------------------------------------

    def _migrate(self, found: Survey) -> None:
        job = self.job
        first = self.state
        self._direction = found.look.direction
        try:
            with at(str(job.engine.datastore), stage="stop", untouched="The schema is untouched."):
                job.context.progress.begin("stop")
                self._stop()
            with at(str(job.engine.datastore), stage="migrate"):
                if self.held is not None:
                    self.held.check()
                job.context.progress.begin("migrate", job.datastore)
                failed = self._run_steps(found)
                if failed is not None:
                    raise ToolFailed(
                        f"revision {failed.revision} failed: {failed.error}",
                        stderr_tail=failed.trace,
                        details={"statements": list(failed.statements)},
                    )
                self._confirm(found)
        except BaseException as error:
            self._failed(error, found, first)
            raise
        self.record.end(self.state)
        with at(stage="start", untouched="The migration is done."):
            job.context.progress.begin("start")
            self._start(self.stopped)

    def _run_steps(self, found: Survey) -> Optional[Failed]:
        """Connecting may be tried again as long as nothing was begun."""
        return plan.with_retries(
            self.job.delays,
            lambda: self.job.tool.migrate(found.look, self.job.target, self.params["statement_lock_timeout"], self),
        )

    def before(self, step: Step, heads: Sequence[str]) -> None:
        """Right before a revision: what a later run needs to know, should this one be killed in it."""
        if self.job.context.interrupted:
            raise self.job.context.interrupted
        self.database.check()
        self.state = State(tuple(heads), self.state.schema)
        self.exact = step.outside or not self.database.transactional_ddl
        if self.exact:
            self._record(step)
        elif not self.applied:
            self.record.begin(step.revision, self._direction, self.state, [one.to_json() for one in self.stopped])
        self.begun = step

    def _record(self, step: Step) -> None:
        """The schema as it is now, on the disk."""
        changed, self.changed = self.changed, set()
        if changed is None:
            self.state = State(self.state.heads, self.database.schema(self.version_table))
        elif changed:
            schema = self.database.refreshed(self.state.schema, sorted(changed), self.version_table)
            self.state = State(self.state.heads, schema)
        if self.record.begun:
            self.record.go_on(step.revision, self.state)
        else:
            self.record.begin(step.revision, self._direction, self.state, [one.to_json() for one in self.stopped])

    def after(self, applied: Applied) -> None:
        step = self.begun
        self.applied.append(
            {
                "revision": applied.revision,
                "message": step.message if step else "",
                "seconds": applied.seconds,
                "direction": self._direction,
            }
        )
        self.state = State(applied.heads, self.state.schema)
        tables = None if applied.definitions is None else sql_lint.changed_tables(applied.definitions)
        if tables is None or self.changed is None:
            self.changed = None
        else:
            self.changed.update(tables)
        if self._direction == "upgrade":
            self.record.by[applied.revision] = self.job.runtime.label
        self.begun = None

    _direction = "upgrade"

    def _confirm(self, found: Survey) -> None:
        look = self.job.tool.look(self.job.target, self.database.proof(), ())
        self.state = State(look.current, self.database.schema(self.version_table))
        if look.steps:
            raise ToolFailed(
                f"the tool ended without an error, and the database is at {', '.join(look.current) or 'no revision'}, "
                f"not at {', '.join(found.look.target) or 'base'}",
                hint="Is its transaction committed? Look at env.py.",
            )

    # Around it -----------------------------------------------------------------------------------

    def _stop(self) -> None:
        earlier = [Consumer.from_json(one) for one in self.record.stopped]
        found = writers.to_stop(self.job, self.params["at_start"], self.params["stop"])
        self.stopped = merged([*earlier, *found])
        if self.stopped:  # so that a later run starts them, should this one be killed
            self.record.begin("", self._direction, self.state, [one.to_json() for one in self.stopped])
        services.stop(found)
        if found and self.params["at_start"]:
            still = writers.to_stop(self.job, True, ())
            if still:
                raise Refused(
                    f"{', '.join(map(str, still[:3]))} still use the data after the services were stopped",
                    hint="Name what starts them in stop.",
                )

    def _start(self, consumers: Sequence[Consumer]) -> None:
        if consumers and self.params["start_again"]:
            for note in services.start(consumers):
                self.job.context.warn(note)

    # When one fails ------------------------------------------------------------------------------

    def _failed(self, error: BaseException, found: Survey, first: State) -> None:
        """Say what is there now; go back where that is asked for and possible; start what may be started."""
        self.job.context.progress.begin("failed")
        if not isinstance(error, ToolFailed) or self.begun is None or not error.details:
            self.job.tool.close()  # it may be in the middle of a revision, and has some seconds to end it
            self._ended_all_the_same()
        half = self._left_behind(error)
        if not isinstance(error, Told):
            return
        details: Json = {
            "datastore": self.job.datastore,
            "source": self.job.runtime.label,
            "applied": self.applied,
            "current": list(self.state.heads),
            "failed": self.begun.revision if self.begun else "",
            "backup": self.params["backup"] or "",
            "stopped": [one.to_json() for one in self.stopped],
            "statements": list(error.details.get("statements", ())),
            "half_applied": half.to_json() if half else {},
        }
        if half is not None:
            error.what += f". It left behind: {plan.listed(half.left)}"
            error.untouched = self._so_far()
            error.hint = (
                "Restore the backup from before it"
                + (f" ({self.params['backup']})" if self.params["backup"] else "")
                + "; or take back by hand what is named, then run this again. It is refused until then."
            )
            if self.stopped:
                error.hint += (
                    " What was stopped stays stopped, because the application would meet a half-applied schema."
                )
        elif isinstance(error, Busy) or self.begun is None:
            error.untouched = error.untouched or self._so_far()
            self._settle(first, found, details, error)
        else:
            error.untouched = f"That revision left nothing behind. {self._so_far()}"
            error.hint = error.hint or "Correct the revision, then run this again."
            self._settle(first, found, details, error)
        error.details = {"migration": details}

    def _ended_all_the_same(self) -> None:
        """The revision that ran when the tool was closed: another one is asked whether it came to its end."""
        if self.begun is None:
            return
        try:
            self.job.tool.start()
            self.job.tool.open()
            look = self.job.tool.look(self.job.target, self.database.proof(), ())
        except (OpsError, NotConnected):
            return  # what it left is compared all the same
        finally:
            self.job.tool.close()
        if set(look.current) != set(self.state.heads):
            self.after(Applied(self.begun.revision, 0.0, look.current))

    def _so_far(self) -> str:
        if not self.applied:
            return f"The database is at {', '.join(self.state.heads) or 'no revision'}, as before."
        names = ", ".join(one["revision"] for one in self.applied[-5:])
        return f"{len(self.applied)} revision{'s were' if len(self.applied) > 1 else ' was'} applied before ({names})."

    def _left_behind(self, error: BaseException) -> Optional[HalfApplied]:
        """The schema now against the one right before the revision that failed."""
        if self.begun is None or not self.exact:  # the server has rolled it back
            return None
        statements = tuple(error.details.get("statements", ())) if isinstance(error, Told) else ()
        try:
            left = self.state.schema.differences(self.database.schema(self.version_table))
        except OpsError as second:
            self.job.context.warn(f"what the revision left behind cannot be seen now: {second}")
            return HalfApplied(self.begun.revision, self._direction, ("unknown",), statements)
        return HalfApplied(self.begun.revision, self._direction, tuple(left), statements) if left else None

    def _settle(self, first: State, found: Survey, details: Json, error: Told) -> None:
        """Nothing is half done: go back where that was asked for, and start the services."""
        with contextlib.suppress(OpsError):
            if self.applied:
                self.state = State(self.state.heads, self.database.schema(self.version_table))
            self.record.end(self.state if self.applied else None)
        details["downgraded"] = False
        if self.params["on_failure"] == "downgrade" and self.applied and not self.job.context.interrupted:
            self._downgrade(first, found, details, error)
        with contextlib.suppress(OpsError):
            self._start(self.stopped)

    def _downgrade(self, first: State, found: Survey, details: Json, error: Told) -> None:
        done = [one["revision"] for one in self.applied]
        steps = [step for step in reversed(found.look.steps) if step.revision in done]
        empty = [step.revision for step in steps if step.empty_downgrade]
        if found.look.direction != "upgrade" or len(first.heads) > 1 or empty:
            reason = f"the downgrade of {', '.join(empty)} is empty" if empty else "it was not one branch upwards"
            error.hint += f" It was not downgraded: {reason}."
            return
        target = first.heads[0] if first.heads else "base"
        self._direction = "downgrade"
        try:
            look = self.job.tool.look(target, self.database.proof(), ())
            again = self.job.tool.migrate(look, target, self.params["statement_lock_timeout"], self)
            if again is not None:
                raise ToolFailed(f"the downgrade of {again.revision} failed: {again.error}")
            now = self.database.schema(self.version_table)
        except Exception as second:
            error.hint += f" Going back failed too: {second}"
            return
        self.record.end(State(first.heads, now))
        details.update(downgraded=True, current=list(first.heads))
        different = first.schema.differences(now)
        error.untouched = f"It was downgraded to {target}" + (
            f", and the schema differs from before: {plan.listed(different)}."
            if different
            else ", and the schema is as before."
        )
