#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Refuse an inventory that would make a playbook do nothing, or do it to the wrong application
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - A play on a group that has no hosts ends well and did nothing. For a nightly backup that is the worst end, so every playbook
    of this collection begins with this check, on V(localhost).
  - It fails when O(target) matches no host, and names the applications that exist.
  - It fails when a host of the target is in two applications (an application is a group that is a direct child of the group C(day2)),
    when it has a variable C(day2_*) that this collection does not know, when C(day2_app) or C(day2_instance) is missing or
    does not match C(^[a-z][a-z0-9_]{0,30}$), and when an entry of C(day2_datastores) has no name or no engine.
  - It fails when two applications of the target have the same C(day2_app) and C(day2_instance).
  - It looks at the names of variables, and resolves the values of C(day2_app) and C(day2_instance) only.
options:
  target:
    description:
      - The hosts that the playbook is going to work on, as a play's C(hosts).
    type: str
    default: day2
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of the options can be executed on the controller.
    support: full
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
notes:
  - A play on V(localhost) is skipped when C(--limit) names other hosts, and this check with it. Choose hosts with the variable
    C(target) instead.
"""

EXAMPLES = r"""
- name: Look at the inventory before anything else, in a play on localhost
  day2.ops.inventory_check:
    target: "{{ target | default('day2', true) }}"
"""

RETURN = r"""
inventory:
  description:
    - What the target is.
  returned: success
  type: dict
  contains:
    target:
      description: As it was given.
      type: str
      sample: day2
    hosts:
      description: The hosts it matches.
      type: list
      elements: str
      sample: [booking_web1]
    applications:
      description: The hosts of every application of the inventory, by its group.
      type: dict
      sample: {booking: [booking_web1]}
"""
