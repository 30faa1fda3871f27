#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_maintain
short_description: Look after a repository
version_added: 1.1.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Checks the repository's structure, reads the next part of its data, and frees space when that is due.
  - Each run reads another part, so that everything was read after O(parts) runs. What was read last is remembered in the state
    directory; when that is lost, it begins with the first part again.
  - Damage does not make the module fail. RV(maintenance.errors) holds it, and RV(maintenance.damaged) names the backups that it touches. The role
    P(day2.ops.maintain#role) fails then.
options:
  parts:
    description:
      - Into how many parts the data are divided, up to 256. V(1) reads everything each time, V(0) the structure only.
    type: int
    default: 10
  prune_every:
    description:
      - Frees the space of removed backups (C(restic prune)) when it was done longer ago than this, for example V(7d). Without it nothing is pruned.
      - It needs the repository's exclusive lock. A repository in which the check finds an error is not pruned.
    type: str
  max_unused:
    description:
      - How much unused space a prune may leave, as a share or a size, or V(unlimited). Less takes longer, because more is written anew.
    type: str
    default: 5%
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.repository
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Says which part is next and whether a prune is due; reads nothing.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup_info
  - module: day2.ops.backup_retention
"""

EXAMPLES = r"""
- name: Read a twentieth of the data each night, and free space once a week
  day2.ops.backup_maintain:
    app: booking
    parts: 20
    prune_every: 7d
    max_unused: 10%
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
  register: care

- name: Fail when something is damaged
  ansible.builtin.assert:
    that: not care.maintenance.errors
"""

RETURN = r"""
maintenance:
  description:
    - What was looked at, and what came of it.
  returned: success
  type: dict
  contains:
    location:
      description: Where the repository is.
      type: str
      sample: /var/backups/day2
    part:
      description: Which part of the data was read (in check mode, would be).
      type: int
      sample: 3
    parts:
      description: Into how many the data are divided.
      type: int
      sample: 10
    errors:
      description: What restic complains of. Empty when all is well.
      type: list
      elements: str
      sample: []
    damaged:
      description: Each damaged file of the repository, with the backups of this application that need it and of each the datastores.
      type: list
      elements: dict
      sample: []
    prune:
      description: Whether a prune was due and done, when the last one was, and why a due one was not done.
      type: dict
      sample: {due: true, done: true, last: "2026-11-23T03:00:12Z", message: ""}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import care


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            **argspec.REPOSITORY,
            "parts": {"type": "int", "default": 10},
            "prune_every": {"type": "str"},
            "max_unused": {"type": "str", "default": "5%"},
        },
        supports_check_mode=True,
    )
    core_module.run(module, (), lambda context: care.from_params(context, module.params))


if __name__ == "__main__":
    main()
