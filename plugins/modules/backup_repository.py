#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_repository
short_description: Make the repository that holds the backups
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Creates a restic repository where there certainly is none, and checks that an existing one opens.
  - A repository that cannot be reached, has another password, or whose directory is not empty makes the module fail.
    It never creates a repository over a failure.
  - It never removes a repository.
options:
  state:
    description:
      - V(present) makes sure that there is one.
    type: str
    choices: [present]
    default: present
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
- name: Make sure that there is a repository
  day2.ops.backup_repository:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"

- name: The same with a second one, for copies
  day2.ops.backup_repository:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    copy_repository:
      location: sftp:backup@nas.example.org:/srv/day2
      password: "{{ vault_copy_password }}"
"""

RETURN = r"""
repository:
  description:
    - The repository as it is now. In check mode one that would be made has no id.
  returned: success
  type: dict
  contains:
    location:
      description: Where it is.
      type: str
      sample: /var/backups/day2
    id:
      description: Its id.
      type: str
      sample: 5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b
    version:
      description: Version of its format.
      type: int
      sample: 2
copy_repository:
  description:
    - The second repository, likewise.
  returned: when O(copy_repository) is given
  type: dict
  sample:
    location: sftp:backup@nas.example.org:/srv/day2
    id: 9956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b
    version: 2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import repository


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            **argspec.REPOSITORY,
            **argspec.COPY_REPOSITORY,
            "state": {"type": "str", "choices": ["present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    core_module.run(module, (), lambda context: repository.from_params(context, module.params))


if __name__ == "__main__":
    main()
