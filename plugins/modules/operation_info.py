#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_info
short_description: Say which backups, verifications and restores run, and how far they are
version_added: 1.1.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Lists the operations of an application that run on this host by M(day2.ops.backup), M(day2.ops.backup_verify) and
    M(day2.ops.restore), and those that have ended since the last one was begun.
  - An operation goes on when the connection to the host breaks. This says whether it does.
options:
  run:
    description:
      - Only this operation, with its result when it has one.
    type: str
  wait:
    description:
      - Wait up to so many seconds for the end of O(run).
    type: int
    default: 0
extends_documentation_fragment:
  - day2.ops.application
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup
  - module: day2.ops.restore
"""

EXAMPLES = r"""
- name: See what runs
  day2.ops.operation_info:
    app: booking
  register: known

- name: Fail while anything runs
  ansible.builtin.assert:
    that: known.operations | selectattr('state', 'equalto', 'running') | length == 0
"""

RETURN = r"""
operations:
  description: The operations, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    run:
      description: Id of the run, six hexadecimal digits.
      type: str
      sample: 1f0c9a
    operation:
      description: V(backup), V(backup_verify) or V(restore).
      type: str
      sample: backup
    state:
      description: V(running), V(finished), or V(lost) when it ended without a result; it was killed then, or the machine restarted.
      type: str
      sample: running
    fetched:
      description: Whether a playbook has its result.
      type: bool
      sample: false
    pid:
      description: The process that does it. SIGTERM ends it in order.
      type: int
      sample: 4711
    job:
      description: What was given as O(day2.ops.backup#module:job).
      type: str
      sample: nightly
    owner:
      description: The user and machine that it runs as.
      type: str
      sample: root@web1
    started:
      description: When it began, UTC.
      type: str
      sample: "2026-11-23T21:04:55Z"
    finished:
      description: When it ended, UTC; empty while it runs.
      type: str
      sample: ""
    progress:
      description: How far it is. C(bytes) of C(expected) in the stage of this datastore; C(expected) is 0, and C(share)
        empty, where the size is not known.
      type: dict
      sample:
        stage: dump
        datastore: mariadb datastore "main"
        bytes: 104857600
        expected: 419430400
        estimate: true
        share: 0.25
        rate: 47185920
        seconds: 2.2
    error:
      description: The end of its standard error, when it is V(lost).
      type: str
      sample: ""
result:
  description: What the module gave as its result. Only with O(run).
  returned: when it has finished
  type: dict
  sample: {changed: true}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec, operations
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            "run": {"type": "str"},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    core_module.run(module, (), lambda context: operations.from_params(context, module.params))


if __name__ == "__main__":
    main()
