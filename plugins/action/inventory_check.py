# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse an inventory that would make a playbook do nothing, or do it to the wrong application.

It looks at names. Values are left alone, because resolving them may ask a vault for passwords that
nobody needs here; only what makes up an application's name is resolved.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

ROOT = "day2"
PREFIX = "day2_"
NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")

# Every variable that describes an application. What is not here is taken for a typing mistake, so a
# role that reads a new one adds it here; a test holds the roles' defaults against this list.
KNOWN = frozenset(
    {
        "day2_app",
        "day2_copy_repository_environment",
        "day2_copy_repository_location",
        "day2_copy_repository_options",
        "day2_copy_repository_password",
        "day2_copy_retention",
        "day2_data_keys",
        "day2_datastores",
        "day2_env_files",
        "day2_health",
        "day2_health_allow_unknown",
        "day2_health_fail_on",
        "day2_health_json_file",
        "day2_health_junit_file",
        "day2_health_markdown_file",
        "day2_health_prometheus_file",
        "day2_instance",
        "day2_json_file",
        "day2_migration",
        "day2_primary",
        "day2_prometheus_file",
        "day2_reconnect_timeout",
        "day2_release_directory",
        "day2_release_files",
        "day2_release_kind",
        "day2_release_profiles",
        "day2_release_project",
        "day2_release_source",
        "day2_release_units",
        "day2_release_version",
        "day2_repository_environment",
        "day2_repository_location",
        "day2_repository_lock_timeout",
        "day2_repository_options",
        "day2_repository_password",
        "day2_repository_restic",
        "day2_repository_timeout",
        "day2_retention",
        "day2_secrets",
        "day2_state_dir",
        "day2_uncovered",
    }
)
# What the roles publish for a workflow (set_stats) comes back as an extra variable in its next job,
# alone and with the application and instance behind it.
PUBLISHED = re.compile(r"^day2_((backup|verified|restored)_id|health_status)(_|$)")


@dataclasses.dataclass(frozen=True)
class Described:
    """A host of the target as its inventory describes it. `raw` is not templated."""

    name: str
    groups: tuple[str, ...]  # of applications
    raw: Mapping[str, Any]
    app: Optional[str] = None
    instance: Optional[str] = None
    unreadable: tuple[str, ...] = ()  # why app or instance could not be resolved


def problems(hosts: Sequence[Described]) -> list[str]:
    """What is wrong with these hosts, a sentence each."""
    found: list[str] = []
    for host in hosts:
        found += _groups(host) + _unknown(host) + _names(host) + _datastores(host)
    return found + _shared(hosts)


def _groups(host: Described) -> list[str]:
    if len(host.groups) < 2:
        return []
    return [
        f"host {host.name} is in two applications, {_listed(host.groups)}: one of them would win, silently. Give "
        f"each application an inventory name of its own for this machine, with the same ansible_host."
    ]


def _unknown(host: Described) -> list[str]:
    found = []
    for variable in sorted(host.raw):
        if not variable.startswith(PREFIX) or variable in KNOWN or PUBLISHED.match(variable):
            continue
        near = difflib.get_close_matches(variable, KNOWN, 1)
        advice = f"did you mean {near[0]}?" if near else "variables of your own need another prefix."
        found.append(f"host {host.name} has the variable {variable}, which day2.ops does not know: {advice}")
    return found


def _names(host: Described) -> list[str]:
    found = list(host.unreadable)
    if "day2_app" not in host.raw:
        where = (
            f"the variables of its group {host.groups[0]}" if host.groups else f"an application's group below {ROOT}"
        )
        found.append(f"host {host.name} has no day2_app: put {'it' if host.groups else 'the host'} into {where}.")
    for variable, value in (("day2_app", host.app), ("day2_instance", host.instance)):
        if value is not None and not NAME.match(value):
            found.append(
                f"host {host.name}: {variable} is {value!r}, and must match {NAME.pattern}, "
                f"because it is part of every file name, tag and message."
            )
    return found


def _datastores(host: Described) -> list[str]:
    entries = host.raw.get("day2_datastores")
    if entries is None or isinstance(entries, str):  # a template: the modules look at what it gives
        return []
    if not isinstance(entries, Sequence):
        return [f"host {host.name}: day2_datastores is not a list."]
    found = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, str):
            continue
        name = entry.get("name") if isinstance(entry, Mapping) else None
        which = f"entry {number} of day2_datastores" + (f" ({name})" if isinstance(name, str) else "")
        if not isinstance(entry, Mapping):
            found.append(f"host {host.name}: {which} is not a dictionary.")
            continue
        missing = [key for key in ("name", "engine") if not entry.get(key)]
        if missing:
            found.append(f"host {host.name}: {which} has no {_listed(missing)}.")
    return found


def _shared(hosts: Sequence[Described]) -> list[str]:
    """Two groups that claim to be one application: usually a copied group_vars file."""
    claims: dict[tuple[str, str], set[str]] = defaultdict(set)
    for host in hosts:
        if host.app is not None and host.instance is not None and len(host.groups) == 1:
            claims[host.app, host.instance].update(host.groups)
    return [
        f"the groups {_listed(sorted(groups))} have the same day2_app {app} and day2_instance {instance}: their "
        f"backups could not be told apart. Give one of them another day2_app or day2_instance."
        for (app, instance), groups in sorted(claims.items())
        if len(groups) > 1
    ]


def _listed(names: Iterable[str]) -> str:
    return " and ".join(str(name) for name in names)


def nothing_matches(target: str, applications: Mapping[str, Sequence[str]], limited: bool) -> str:
    """Why a target has no hosts."""
    if limited:
        return f"target {target!r} matches hosts, but --limit leaves none of them. Choose hosts with target alone."
    if not applications:
        return (
            f"target {target!r} matches no host, and the inventory has no applications: "
            f"an application is a group that is a direct child of the group {ROOT}."
        )
    return (
        f"target {target!r} matches no host. The applications of this inventory are: {', '.join(sorted(applications))}."
    )


class ActionModule(ActionBase):
    """Runs on the controller alone."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validation, args = self.validate_argument_spec({"target": {"type": "str", "default": ROOT}})
        hostvars = (task_vars or {})["hostvars"]
        inventory = self._task.get_variable_manager()._inventory  # pylint: disable=protected-access
        applications = {
            group.name: [host.name for host in group.get_hosts()]
            for group in getattr(inventory.groups.get(ROOT), "child_groups", [])
        }
        target = args["target"]
        try:
            hosts = inventory.get_hosts(target, ignore_restrictions=True)
            if not hosts:
                limited = bool(inventory.get_hosts(target, ignore_limits=True, ignore_restrictions=True))
                raise AnsibleError(nothing_matches(target, applications, limited))
        except AnsibleError as error:
            return {**result, "failed": True, "msg": str(error)}
        found = problems([self._described(host, applications, hostvars) for host in hosts])
        if found:
            return {**result, "failed": True, "msg": "\n".join(["the inventory needs correcting:", *found])}
        names = [host.name for host in hosts]
        return {
            **result,
            "changed": False,
            "inventory": {"target": target, "hosts": names, "applications": applications},
        }

    @staticmethod
    def _described(host: Any, applications: Mapping[str, Any], hostvars: Any) -> Described:
        raw = hostvars.raw_get(host.name)
        values: dict[str, Optional[str]] = {
            "day2_app": None,
            "day2_instance": None if "day2_instance" in raw else "production",
        }
        unreadable = []
        for variable in ("day2_app", "day2_instance"):
            if variable not in raw:
                continue
            try:
                values[variable] = str(hostvars[host.name][variable])
            except AnsibleError as error:
                unreadable.append(f"host {host.name}: {variable} cannot be resolved: {error}")
        groups = tuple(sorted(group.name for group in host.get_groups() if group.name in applications))
        return Described(host.name, groups, raw, values["day2_app"], values["day2_instance"], tuple(unreadable))
