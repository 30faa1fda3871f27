#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_retention
short_description: Remove backups that a policy no longer keeps
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Decides over whole backups, never over single parts. In check mode it shows the plan.
  - Whatever the policy says, it never removes the newest proven backup, the only one, or one that is held.
  - The manifest of a backup is forgotten before its data, so that a run that is killed leaves no backup that looks whole.
  - A store that is append-only for this host lets nothing be removed. The module then fails and says so, and all backups stay as they were.
options:
  keep_last:
    description: Keeps the newest N backups.
    type: int
  keep_hourly:
    description: Keeps the newest backup of each of the last N hours that have one.
    type: int
  keep_daily:
    description: Keeps the newest backup of each of the last N days that have one. Days are UTC, as are weeks, months and years.
    type: int
  keep_weekly:
    description: Keeps the newest backup of each of the last N ISO weeks that have one.
    type: int
  keep_monthly:
    description: Keeps the newest backup of each of the last N months that have one.
    type: int
  keep_yearly:
    description: Keeps the newest backup of each of the last N years that have one.
    type: int
  keep_within:
    description: Keeps every backup younger than this, for example V(30d).
    type: str
  keep_safety_within:
    description: Keeps safety copies younger than this. Without it no safety copy is removed.
    type: str
  release:
    description: Ids of backups whose hold ends. Their holds are removed before the policy is applied.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Also frees the space of what was removed (C(restic prune)). It needs the repository's exclusive lock and time in proportion to the repository's size.
    type: bool
    default: false
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.repository
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
seealso:
  - module: day2.ops.backup
"""

EXAMPLES = r"""
- name: Keep a week of days, a month of weeks and a year of months
  day2.ops.backup_retention:
    app: booking
    keep_daily: 7
    keep_weekly: 5
    keep_monthly: 12
    keep_safety_within: 14d
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"

- name: Release a backup that an old release held
  day2.ops.backup_retention:
    app: booking
    release: [20261123T210455Z-1f0c9a]
    keep_last: 10
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
"""

RETURN = r"""
retention:
  description:
    - The plan, and what came of it.
  returned: success
  type: dict
  contains:
    keep:
      description: Backups that stay, each with the reasons.
      type: list
      elements: dict
      sample: [{id: 20261123T210455Z-1f0c9a, reasons: [daily 2026-11-23, newest proven]}]
    remove:
      description: Backups that were removed (in check mode, would be).
      type: list
      elements: str
      sample: []
    released:
      description: Backups whose hold was ended.
      type: list
      elements: str
      sample: []
    pruned:
      description: Whether space was freed.
      type: bool
      sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import retention


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            **argspec.REPOSITORY,
            "keep_last": {"type": "int"},
            "keep_hourly": {"type": "int"},
            "keep_daily": {"type": "int"},
            "keep_weekly": {"type": "int"},
            "keep_monthly": {"type": "int"},
            "keep_yearly": {"type": "int"},
            "keep_within": {"type": "str"},
            "keep_safety_within": {"type": "str"},
            "release": {"type": "list", "elements": "str", "default": []},
            "prune": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        required_one_of=[
            [
                "keep_last",
                "keep_hourly",
                "keep_daily",
                "keep_weekly",
                "keep_monthly",
                "keep_yearly",
                "keep_within",
                "release",
            ]
        ],
    )
    core_module.run(module, (), lambda context: retention.from_params(context, module.params))


if __name__ == "__main__":
    main()
