# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What a migration would do, what speaks against it, and whether the schema is what it is said to be."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, TypeVar

from .._core.errors import Refused, Unavailable
from .._core.model import Json
from . import sql_lint
from .database import Database, open_database
from .record import Record
from .schema import Schema
from .setup import Job
from .tool import Look, NotConnected, Rendered

UNTOUCHED = "Nothing was changed."
_DIALECTS = {"mariadb": "mysql", "mysql": "mysql", "postgresql": "postgresql", "sqlite": "sqlite"}
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class HalfApplied:
    """A revision that was begun and not finished, and what it left behind."""

    revision: str
    direction: str
    left: tuple[str, ...]
    statements: tuple[str, ...] = ()

    def to_json(self) -> Json:
        return {
            "revision": self.revision,
            "direction": self.direction,
            "left": list(self.left),
            "statements": list(self.statements),
        }


@dataclasses.dataclass(frozen=True)
class Survey:
    """All that is known before anything is done. `drift`: how the schema differs from what it should be."""

    look: Look
    schema: Schema
    foreign: str  # why the tool's database is not the one that was described; "" where it is
    drift: tuple[str, ...]
    half_applied: Optional[HalfApplied]
    brought_by: Mapping[str, str]  # of unknown revisions, where they are known from


def with_retries(delays: Sequence[int], attempt: Callable[[], _T]) -> _T:
    """For connecting only, when nothing was run yet. A refused login is not tried again."""
    for delay in (*delays, None):
        try:
            return attempt()
        except NotConnected as error:
            if delay is None:
                raise Unavailable(
                    f"the tool cannot connect to its database: {error}",
                    hint=f"It was tried {len(delays) + 1} times. Is the URL that it is given right?",
                    untouched=UNTOUCHED,
                ) from None
        except Unavailable as error:
            if delay is None or "password" in error.what or "user" in error.what:
                raise
        time.sleep(delay)
    raise AssertionError("the last attempt returns or raises")


@contextlib.contextmanager
def opened(job: Job) -> Iterator[Database]:
    """A connection of our own to the described datastore."""
    database = open_database(job.engine)
    with_retries(job.delays, database.__enter__)
    try:
        yield database
    finally:
        database.__exit__(None, None, None)


@contextlib.contextmanager
def looked(job: Job) -> Iterator[tuple[Database, Survey]]:
    """The tool and the database, asked for what only looks; both are open until the end."""
    try:
        job.tool.start()
        with opened(job) as database:
            job.tool.open()
            yield database, survey(job, database, Record(job.context, job.datastore))
    finally:
        job.tool.close()


def survey(job: Job, database: Database, record: Record, closely: bool = True) -> Survey:
    """Ask the tool and the database. The tool has been opened, the database too."""
    since = record.newest.heads if record.newest else ()
    look = with_retries(job.delays, lambda: job.tool.look(job.target, database.proof(), since, closely))
    foreign = database.same(look.database) if look.database else ""
    schema = Schema() if foreign else database.schema(look.version_table)
    half = None if foreign else _half_applied(record, look, schema)
    return Survey(
        look=look,
        schema=schema,
        foreign=foreign,
        drift=() if foreign or half else tuple(_drift(job, record, look, schema)),
        half_applied=half,
        brought_by={one: record.by[one] for one in look.unknown if one in record.by},
    )


def _half_applied(record: Record, look: Look, schema: Schema) -> Optional[HalfApplied]:
    """What a run that ended in the middle of a revision left. Another revision in the database means that somebody
    has been there since: then there is nothing to compare with."""
    if record.before is None or not record.running or set(record.before.heads) != set(look.current):
        return None
    left = record.before.schema.differences(schema)
    return HalfApplied(record.running, record.direction, tuple(left)) if left else None


def _drift(job: Job, record: Record, look: Look, schema: Schema) -> list[str]:
    known = record.newest
    if known is None:
        return []
    if set(known.heads) == set(look.current):
        return known.schema.differences(schema)
    return _broken_promises(job.tool.preview(look.since, "upgrade"), look, schema)


def _broken_promises(rendered: Sequence[Rendered], look: Look, schema: Schema) -> list[str]:
    """The database was brought on by others. A stamp alone proves nothing: what the revisions make must be there."""
    there = {_bare(label) for label in schema.objects}
    sql = "\n".join(one.sql for one in rendered if one.complete)
    lines = []
    for label, expected in sql_lint.promised(sql, look.version_table).items():
        if (_bare(label) in there) != expected:
            state = "is missing" if expected else "is still there"
            lines.append(f"{label} {state}, although revision {', '.join(look.current)} is said to be applied")
    return lines


def _bare(label: str) -> str:
    """Without a schema's name: `column public.orders.id` is `column orders.id`."""
    kind, _rest, name = label.partition(" ")
    return f"{kind} {'.'.join(name.split('.')[-2:] if kind == 'column' else name.split('.')[-1:])}".lower()


# What speaks against it --------------------------------------------------------------------------


def problems(job: Job, found: Survey, params: Mapping[str, Any]) -> list[Refused]:
    """Every reason why this migration would be refused, the gravest first."""
    look, label = found.look, job.runtime.label
    reasons = []
    if found.foreign:
        reasons.append(
            Refused(
                f"the tool's own database is not {job.engine.datastore}: {found.foreign} ({_url(look.database)})",
                hint="Correct the URL that the application is given, or the description of the datastore.",
            )
        )
    if look.unknown:
        known = "; ".join(f"{one} came from {by}" for one, by in found.brought_by.items())
        reasons.append(
            Refused(
                f"the database is at revision {', '.join(look.unknown)}, which {label} does not know: the code is older "
                f"than the database{f' ({known})' if known else ''}",
                hint="Migrate with the release that has this revision. Never stamp over it.",
            )
        )
    if look.several_heads:
        reasons.append(
            Refused(
                f"there are several heads: {', '.join(look.heads)}",
                hint="Merge them (alembic merge), or give allow_multiple_heads: true to run all of them.",
            )
        )
    if found.half_applied and not params.get("allow_drift"):
        reasons.append(half_applied_error(found.half_applied, "an earlier run"))
    if found.drift and not params.get("allow_drift"):
        reasons.append(
            Refused(
                f"the schema is not what it was after the last migration: {listed(found.drift)}",
                hint="Find out who changed it. allow_drift: true takes it as it is.",
            )
        )
    empty = [step.revision for step in look.steps if look.direction == "downgrade" and step.empty_downgrade]
    if empty and not params.get("allow_empty_downgrade"):
        reasons.append(
            Refused(
                f"the downgrade of revision {', '.join(empty)} is empty: it would change the version and not the schema",
                hint="Restore a backup in its place, or write the downgrade. allow_empty_downgrade: true runs it.",
            )
        )
    return reasons


def half_applied_error(half: HalfApplied, whose: str) -> Refused:
    return Refused(
        f"revision {half.revision} was begun by {whose} and not finished; it left behind: {listed(half.left)}",
        hint="Restore the backup from before it; or take back by hand what is named (or finish it and stamp by hand), "
        "then run this again with allow_drift: true.",
        details={"half_applied": half.to_json()},
    )


def listed(lines: Sequence[str], most: int = 8) -> str:
    rest = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + rest


def _url(told: Json) -> str:
    if told.get("dialect") == "sqlite":
        return f"sqlite {told.get('path') or 'in memory'}"
    port = f":{told['port']}" if told.get("port") else ""
    return f"{told.get('dialect')}://{told.get('host') or 'a local socket'}{port}/{told.get('database')}"


# What it would run -------------------------------------------------------------------------------


def report(job: Job, found: Survey, database: Database) -> Json:
    """The facts, without the SQL."""
    look = found.look
    return {
        "datastore": job.datastore,
        "tool": job.tool.name,
        "version": job.tool.version,
        "source": job.runtime.label,
        "current": list(look.current),
        "heads": list(look.heads),
        "target": list(look.target),
        "direction": look.direction,
        "pending": [{"revision": step.revision, "message": step.message} for step in look.steps],
        "transactional_ddl": database.transactional_ddl,
        "schema": found.schema.fingerprint,
        "drift": list(found.drift),
        "half_applied": found.half_applied.to_json() if found.half_applied else {},
    }


def preview(job: Job, found: Survey, database: Database) -> Json:
    """The SQL, what it would lose, and how large the tables are that it touches."""
    look = found.look
    rendered = job.tool.preview(look.steps, look.direction)
    calls = {step.revision: step.calls for step in look.steps}
    dialect = _DIALECTS[job.engine.datastore.engine]
    findings: list[sql_lint.Finding] = []
    tables: dict[str, None] = {}
    for one in rendered:
        findings += sql_lint.lint(one.sql, dialect, one.revision, look.version_table)
        tables.update(dict.fromkeys(sql_lint.touched(one.sql, look.version_table)))
        if not one.complete:  # what the SQL does not show, the code may
            findings += [
                sql_lint.Finding("code", sql_lint.DESTRUCTIVE, "its code drops or renames", call, one.revision)
                for call in calls.get(one.revision, ())
            ]
    sql = "\n".join(one.sql.strip() for one in rendered if one.sql.strip())
    if dialect == "postgresql" and sql:
        findings += sql_lint.squawk(sql, job.context.state_dir) or []
    incomplete = [{"revision": one.revision, "reason": one.reason} for one in rendered if not one.complete]
    empty = [
        sql_lint.Finding(
            "empty-downgrade",
            sql_lint.WARNING,
            "its downgrade does nothing, so only a backup leads back",
            revision=step.revision,
        )
        for step in look.steps
        if step.empty_downgrade
    ]
    return {
        "sql": job.context.secrets.strike(sql),
        "complete": not incomplete,
        "incomplete": incomplete,
        "findings": [one.to_json() for one in (*findings, *empty)],
        "tables": {} if found.foreign else dict(database.rows(list(tables))),
    }
