#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_lock
short_description: Hold an application's lock for the length of a play
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - There is one lock per application and instance on a host. Every module of this collection that changes something takes it.
  - This module takes it for a whole play. Its token is handed to the other modules as O(lock_token), and they renew the lease while they run.
  - A lock that is not renewed ends with its lease, so that a play that was killed does not stand in the way for ever.
options:
  state:
    description:
      - V(present) takes the lock, or renews it when O(lock_token) is its token. V(absent) frees it.
    type: str
    choices: [present, absent]
    default: present
  owner:
    description:
      - Who holds it, a person or a machine. By default the user's name and the host's.
    type: str
  reason:
    description:
      - What it is held for; shown to whoever waits.
    type: str
    default: a play
  job:
    description:
      - Id of the job that holds it, for example AWX's.
    type: str
    default: ""
  lease:
    description:
      - Seconds until the lock ends by itself when nobody renews it.
    type: int
    default: 900
  wait:
    description:
      - Seconds to wait for a lock that somebody else holds.
    type: int
    default: 0
  takeover:
    description:
      - Takes the lock although somebody else holds it. Only when you know that they do not run any more.
    type: bool
    default: false
extends_documentation_fragment:
  - day2.ops.application
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Take the lock for this play
  day2.ops.app_lock:
    app: booking
    reason: restore after the incident of November 23rd
  register: taken

- name: Free it
  day2.ops.app_lock:
    app: booking
    state: absent
    lock_token: "{{ taken.lock.token }}"
"""

RETURN = r"""
lock:
  description:
    - The lock as it is now. Empty when nobody holds it.
  returned: success
  type: dict
  contains:
    token:
      description: What the other modules take as O(lock_token). In check mode a lock that would be taken has none.
      type: str
      sample: 6c1f5e2d0b9a4c1e
    owner:
      description: Who holds it.
      type: str
      sample: deploy@web1
    reason:
      description: What for.
      type: str
      sample: a play
    job:
      description: The job that holds it.
      type: str
      sample: ""
    since:
      description: When it was taken, UTC.
      type: str
      sample: "2026-11-23T21:00:00Z"
    until:
      description: When its lease ends, UTC.
      type: str
      sample: "2026-11-23T21:15:00Z"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec, lock
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.APPLICATION,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "owner": {"type": "str"},
            "reason": {"type": "str", "default": "a play"},
            "job": {"type": "str", "default": ""},
            "lease": {"type": "int", "default": 900},
            "wait": {"type": "int", "default": 0},
            "takeover": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        required_if=[("state", "absent", ["lock_token"])],
    )
    core_module.run(module, (), lambda context: lock.from_params(context, module.params))


if __name__ == "__main__":
    main()
