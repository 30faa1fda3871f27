# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The module `health_check`: from its parameters to checks, and from what they found to a result."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._core import argspec, io
from .._core.context import Context
from .._core.errors import OpsError, Refused, at
from .._core.model import Json
from .._engines import registry as engines
from .._migration import setup as migrations
from .._platform.application import Application
from .._recovery import facts, setup
from . import defaults, history, outputs, registry, report
from .model import Result
from .probe import Options, Probe, Scene
from .running import COMMON, Check, Outcome, run

FILES = {"json_file": 0o600, "junit_file": 0o644, "markdown_file": 0o644, "prometheus_file": 0o644}


# As setup.DESCRIBED; an application without datastores or backups can be checked too.
DESCRIBED: argspec.Spec = {
    **setup.DESCRIBED,
    "repository": {**setup.DESCRIBED["repository"], "required": False},
    "datastores": {**setup.DESCRIBED["datastores"], "required": False, "default": []},
    "migration": {"type": "dict", "options": migrations.MIGRATION},
}


def drivers(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python packages that this run will import."""
    names = set(setup.drivers(params))
    if any(entry["group"] == "containers" or entry.get("container") for entry in params["checks"]):
        names.add("docker")
    if params["migration"]:
        names.update(migrations.drivers({**params, **params["migration"]}))
    return tuple(sorted(names))


def spec() -> argspec.Spec:
    """Of one entry of `checks`: what all have, and the options of every group."""
    groups = {name: group.options for name, group in registry.GROUPS.items()}
    return {**COMMON, "group": {**COMMON["group"], "choices": sorted(groups)}, **argspec.union(groups)}


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module's result, which is a failure where the application is not healthy enough."""
    with at(f"health of {context.app.key}", stage="preflight", untouched="Nothing was checked."):
        scene = _scene(context, params)
        files = {option: path for option in FILES if (path := facts.checked(params[option], option))}
        checks = checks_from([*params["checks"], *_derived(scene, params)])
        if not checks:
            raise Refused("there is nothing to check", hint="Give checks, or describe the application.")
    known = history.History(context.home / history.FILENAME)

    def probe(check: Check) -> Probe:
        before, elapsed = known.remembered(check.id)
        return Probe(scene, check.timeout, before, elapsed)

    outcomes = run(checks, probe, params["budget"])
    results = [result for outcome in outcomes for result in _believed(outcome, known)]
    results = [_struck(context, result) for result in results]
    health = report.document(context.app, results, known.now)
    shown = outputs.all_of(health)
    unwritten = [] if context.check_mode else list(_write(context, known, files, shown))
    result = {"changed": False, "health": health, **{name: shown[f"{name}_file"] for name in outputs.RETURNED}}
    result["nagios"] = outputs.nagios(health)
    why = report.failure(context.app, results, params["fail_on"], params["allow_unknown"]) or "; ".join(unwritten)
    return {**result, "failed": True, "msg": why} if why else result


def _write(
    context: Context, known: history.History, files: Mapping[str, Path], shown: Mapping[str, str]
) -> Iterator[str]:
    """What was found is told in any case, on a full disk above all. Yields why a file that was asked for was not written."""
    try:
        with io.friendly_os_errors("writing what this run saw"):
            known.save()
    except OpsError as error:
        context.warn(f"The next run will not know of this one: {error}")
    for option, path in files.items():
        try:
            facts.write(path, shown[option], FILES[option])
        except OpsError as error:
            yield f"the checks were made, but {option} was not written: {error.what}"


def _derived(scene: Scene, params: Mapping[str, Any]) -> list[Options]:
    """What is checked besides what is named; an id that is named replaces it."""
    wanted = not params["checks"] if params["defaults"] is None else params["defaults"]
    named = {entry.get("id") or entry["group"] for entry in params["checks"]}
    found = defaults.derived(scene) if wanted else ()
    return [entry for entry in found if (entry.get("id") or entry["group"]) not in named]


def _scene(context: Context, params: Mapping[str, Any]) -> Scene:
    datastores = argspec.datastores_from(params["datastores"], setup.ENGINES)
    application = Application(
        project=params["project"] or "",
        units=tuple(params["units"]),
        env_files=tuple(params["env_files"]),
    )
    restic = setup.store_of(context, params, datastores) if params["repository"] else None
    return Scene(
        context,
        application,
        {store.name: engines.engine_for(store, context, application) for store in datastores},
        restic,
        setup.copy_of(context, params, restic) if restic else None,
        params["migration"] or {},
    )


def checks_from(entries: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Validated checks. An option of another group, one that is missing, or an id that is used twice is refused."""
    checks: list[Check] = []
    for entry in entries:
        check = _check(entry)
        if any(check.id == other.id for other in checks):
            raise Refused(f'two checks have the id "{check.id}"', hint="Give each an id of its own.")
        checks.append(check)
    return checks


def _check(entry: Mapping[str, Any]) -> Check:
    group = registry.GROUPS[entry["group"]]
    common = {name: entry[name] for name in COMMON if entry.get(name) is not None}
    identifier = str(common.pop("id", "") or group.name)
    if "/" in identifier or not identifier.strip():
        raise Refused(f"{identifier!r} cannot be the id of a check", hint="It has no slash, and is not empty.")
    for name, least in (("success_threshold", 1), ("failure_threshold", 1), ("retries", 0), ("retry_delay", 0)):
        if common.get(name, least) < least:
            raise Refused(f'check "{identifier}": {name} must be {least} or more')
    if common.get("timeout", 1) <= 0:
        raise Refused(f'check "{identifier}": timeout must be more than 0')
    given = {name: value for name, value in entry.items() if name not in COMMON}
    options = _own_options(identifier, group.name, given)
    if group.needs and not any(options.get(name) for name in group.needs):
        raise Refused(f'check "{identifier}": group {group.name} needs {" or ".join(group.needs)}')
    return Check(**{**common, "id": identifier, "group": group, "options": options})


def _own_options(identifier: str, group: str, given: Options) -> Options:
    specs = {name: one.options for name, one in registry.GROUPS.items()}
    return argspec.own_options(identifier, group, given, specs, kind="check", of="group")


def _believed(outcome: Outcome, known: history.History) -> list[Result]:
    check, results = outcome.check, []
    taken: Counter[str] = Counter()
    for finding in outcome.findings:
        identifier = f"{check.id}/{finding.part}" if finding.part else check.id
        taken[identifier] += 1
        if taken[identifier] > 1:  # an id is a name for other programs: Prometheus refuses one that is there twice
            identifier = f"{identifier} {taken[identifier]}"
        counted, since = known.believe(identifier, finding, check.failure_threshold)
        results.append(
            Result(identifier, check.group.name, check.required, counted, outcome.duration, outcome.attempts, since)
        )
    if outcome.memory:
        known.remember(check.id, outcome.memory)
    return results


def _struck(context: Context, result: Result) -> Result:
    """No secret in what a server or a program said."""
    found = result.finding
    value = context.secrets.strike(found.value) if isinstance(found.value, str) else found.value
    finding = dataclasses.replace(found, message=context.secrets.strike(found.message), value=value)
    return dataclasses.replace(result, finding=finding)
