#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_info
short_description: What migrations are pending, what they would do, and whether the schema is what it is said to be
version_added: 1.1.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Asks the application's migration tool and its database, and changes nothing.
options:
  preview:
    description:
      - Whether the SQL of the pending revisions is rendered (C(--sql)) and looked through. A revision that reads rows cannot be
        rendered, and is marked.
    type: bool
    default: true
  compare_models:
    description:
      - Whether Alembic compares the database with the application's models when it is at the heads (C(alembic check)).
    type: bool
    default: true
  writers:
    description:
      - Whether to look for what uses the datastore now.
    type: bool
    default: false
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.datastores
  - day2.ops.migration
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.migrate
"""

EXAMPLES = r"""
- name: See what the new release would change
  day2.ops.migrate_info:
    app: booking
    project: booking
    service: backend
    image: registry.example.org/booking:v1.4.2
    datastores:
      - name: main
        engine: mariadb
        container: booking/db
        database: booking
        user: root
        password_variable: DB_ROOT_PASSWORD
  register: pending

- name: Let a person look before data are lost
  ansible.builtin.assert:
    that: pending.migration.findings | selectattr('level', 'equalto', 'destructive') | length == 0
"""

RETURN = r"""
migration:
  description: The database and what is pending.
  returned: success
  type: dict
  contains:
    datastore:
      description: The datastore's name.
      type: str
      sample: main
    tool:
      description: What migrates, with its C(version).
      type: str
      sample: Alembic
    source:
      description: The image or virtual environment whose revisions are meant.
      type: str
      sample: registry.example.org/booking:v1.4.2
    current:
      description: Revisions that the database is at.
      type: list
      elements: str
      sample: [4f1d0a77c2be]
    heads:
      description: The newest revisions of the code.
      type: list
      elements: str
      sample: [9f1c2d3e4a5b]
    pending:
      description: Revisions that would be run, in their order. C(direction) says whether they are upgrades or downgrades.
      type: list
      elements: dict
      sample: [{revision: 9f1c2d3e4a5b, message: add prices}]
    sql:
      description: The SQL from the current revision on.
      type: str
      sample: ALTER TABLE orders ADD COLUMN price INTEGER;
    complete:
      description: Whether all of it could be rendered; C(incomplete) names those revisions that could not, with the reason.
      type: bool
      sample: true
    findings:
      description:
        - What would lose data (C(level=destructive)), or may fail or lock a table (C(level=warning)).
        - With what squawk says, where it is installed and the database is PostgreSQL.
      type: list
      elements: dict
      sample:
        - rule: drop-column
          level: destructive
          message: the column's values are lost
          statement: ALTER TABLE orders DROP COLUMN price
          revision: 9f1c2d3e4a5b
          table: orders
    tables:
      description: Rows of the tables that would be touched, as the server estimates them.
      type: dict
      sample: {orders: 120345}
    transactional_ddl:
      description: Whether the database rolls a failed revision back.
      type: bool
      sample: false
    needs_backup:
      description: Whether M(day2.ops.migrate) wants a backup for this.
      type: bool
      sample: true
    schema:
      description: Fingerprint of the schema (SHA-256).
      type: str
      sample: 0f6f2ae1…
    drift:
      description:
        - How the schema differs from the one after the last migration, a line each. Where others have brought the database on since,
          which tables and columns their revisions make that are not there.
      type: list
      elements: str
      sample: [column orders.price is missing, although revision 9f1c2d3e4a5b is said to be applied]
    half_applied:
      description: A revision that an earlier run began and did not finish, with what it C(left) behind.
      type: dict
      sample: {}
    models:
      description: How the database differs from the application's models, a line each; null where that cannot be told.
      type: list
      elements: str
      sample: []
    problems:
      description: Every reason why M(day2.ops.migrate) would refuse.
      type: list
      elements: str
      sample: []
    writers:
      description: What uses the datastore now. Only with O(writers).
      type: list
      elements: dict
      sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._migration import info, setup


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **setup.SPEC,
            "preview": {"type": "bool", "default": True},
            "compare_models": {"type": "bool", "default": True},
            "writers": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    core_module.run(module, setup.drivers(module.params), lambda context: info.from_params(context, module.params))


if __name__ == "__main__":
    main()
