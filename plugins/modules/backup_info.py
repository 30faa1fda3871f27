#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of an application
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Lists what exists in the repository, newest first, with age, size, contents, holds and the last proof.
  - A listing needs one restic call, however many backups there are.
options:
  backup:
    description:
      - Only this backup, with the rows of every table from its manifest. An id, V(latest) or V(latest_verified).
    type: str
  check:
    description:
      - Also lets restic check the repository's structure, and read this share of its data (V(structure) reads none,
        V(all) everything; otherwise a size or percentage such as V(5%)).
    type: str
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.repository
  - day2.ops.repository.copy
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup
"""

EXAMPLES = r"""
- name: List the backups
  day2.ops.backup_info:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
  register: stored

- name: Fail when the newest backup is older than a day, or was never proven
  ansible.builtin.assert:
    that:
      - stored.backups | length > 0
      - stored.backups[0].age < 86400
      - stored.backups | map(attribute='proof') | select | list | length > 0

- name: Look into one backup, and let restic read a twentieth of its data
  day2.ops.backup_info:
    app: booking
    backup: latest
    check: 5%
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
"""

RETURN = r"""
backups:
  description:
    - Backups, newest first. Each as RV(day2.ops.backup#module:backup), safety copies (C(kind=safety)) included.
    - An incomplete one (a part is gone from the repository) has C(complete=false) and names what is C(missing).
  returned: success
  type: list
  elements: dict
  sample:
    - id: 20261123T210455Z-1f0c9a
      kind: regular
      age: 3600
      bytes: 481230112
      complete: true
      missing: []
      hold: ""
      proof: {finished: "2026-11-23T21:10:00Z", seconds: 31.5, datastores: {main: {rows: 120345, tables: 31}}}
orphans:
  description:
    - Snapshots that no manifest names, left by runs that failed or were killed. A later backup on the same machine forgets them.
  returned: success
  type: list
  elements: dict
  sample: []
repository:
  description:
    - The repository, and the result of O(check).
    - C(damaged) names each damaged file of the repository (C(pack)) with the backups of this application that need it, and of each
      the datastores. Other backups are not touched by it.
  returned: success
  type: dict
  sample:
    location: /var/backups/day2
    restic: 0.14.0
    checked: true
    errors: [Pack ID does not match]
    damaged: [{pack: cae0a0fd3cfa, backups: [{id: 20261123T210455Z-1f0c9a, datastores: [uploads], manifest: false}]}]
copy:
  description:
    - The second repository. C(backups) are the ids that it holds, whole; C(missing) those that it lacks, safety copies apart.
    - When it cannot be read, C(status) is V(failed), and a warning says why. Empty without O(copy_repository).
  returned: success
  type: dict
  sample: {status: read, location: "s3:https://s3.example.org/day2", message: "", backups: [20261123T210455Z-1f0c9a], missing: []}
tables:
  description:
    - Rows (and checksums) by datastore and table, from the manifest. Only with O(backup).
  returned: when O(backup) is given
  type: dict
  sample: {main: {bookings: {rows: 4711}}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import info


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            **argspec.REPOSITORY,
            **argspec.COPY_REPOSITORY,
            "backup": {"type": "str"},
            "check": {"type": "str"},
        },
        supports_check_mode=True,
    )
    core_module.run(module, (), lambda context: info.from_params(context, module.params))


if __name__ == "__main__":
    main()
