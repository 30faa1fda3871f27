#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that a backup restores
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Restores a backup into scratch copies beside the live data, compares every table with the fingerprint that was taken inside the
    dump's own snapshot, runs your assertions on it, drops the scratch copies, and records the proof in the repository.
  - The live data are not touched. Events, and whatever else would act on its own, are never created in a scratch copy.
  - A backup that does not restore makes the module fail, with what differs; nothing is recorded then.
options:
  backup:
    description:
      - Which backup; an id or V(latest).
    type: str
    default: latest
  only:
    description:
      - Names of the datastores to verify; empty means all that the backup holds and O(datastores) describes.
        A proof counts for V(latest_verified) only when it covers the whole backup.
    type: list
    elements: str
    default: []
  scratch_directory:
    description:
      - Directory for scratch copies of files and SQLite databases. By default below O(state_dir).
    type: path
  allow_flavour_change:
    description:
      - Allows that a backup of a MariaDB database is loaded into a datastore that is described as mysql, and the reverse.
      - Accounts are not carried over, and whatever the other server does not know is refused. Tables are compared by their
        number of rows only.
    type: bool
    default: false
    version_added: 1.1.0
  assertions:
    description:
      - What must be true of the restored data.
    type: list
    elements: dict
    default: []
    suboptions:
      datastore:
        description:
          - Name of the datastore it is about.
        type: str
        required: true
      sql:
        description:
          - A query; the first column of its first row is looked at. Runs read-only on the scratch copy.
          - "For redis a command that only reads, as for redis-cli: V(GET key), or V(-n 2 DBSIZE) of database 2. Its tables are
            V(db0.string), V(db0.hash) and so on."
          - "For mongodb a pipeline in JSON, C({\"collection\": \"orders\", \"pipeline\": [{\"$count\": \"n\"}]}); the first value of its first
            document but C(_id) is looked at."
        type: str
      value:
        description:
          - The value that O(assertions[].sql) must give, compared as text.
        type: str
      min:
        description:
          - The least number that O(assertions[].sql) may give.
        type: float
      max:
        description:
          - The greatest number that O(assertions[].sql) may give.
        type: float
      table:
        description:
          - A table that must have at least O(assertions[].rows) rows.
        type: str
      rows:
        description:
          - The least number of rows of O(assertions[].table).
        type: int
      file:
        description:
          - A file that must exist (files), by its absolute path as it was backed up.
        type: path
  job:
    description:
      - Who or what runs this, for the proof and the lock.
    type: str
    default: ""
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.application.followed
  - day2.ops.repository
  - day2.ops.datastores
  - day2.ops.datastores.scratch
attributes:
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - Not needed. Without it the work is done by a process of its own on the target, which goes on when the connection breaks,
        shows its progress, and is found by the next run of the same task.
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Says which backup would be verified; restores nothing.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup
  - module: day2.ops.restore
"""

EXAMPLES = r"""
- name: Prove the latest backup
  day2.ops.backup_verify:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    datastores:
      - name: main
        engine: mariadb
        container: booking/db
        database: booking
        user: root
        password_variable: DB_ROOT_PASSWORD
      - name: uploads
        engine: files
        volume: booking_uploads
    assertions:
      - datastore: main
        sql: SELECT COUNT(*) FROM users WHERE role = 'admin'
        min: 1
      - datastore: main
        table: bookings
        rows: 100

- name: Prove it on another server than the live one
  day2.ops.backup_verify:
    app: garage
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres
    scratch:
      - datastore: main
        host: scratch-db.example.org
        user: verify
        password_variable: SCRATCH_PASSWORD
    env_files: [/etc/day2/verify.env]
"""

RETURN = r"""
attached:
  description:
    - This is the result of an operation that an earlier run of the same task had begun, and that was found running or finished.
  returned: when it is
  type: bool
  sample: true
verification:
  description:
    - What was proven.
  returned: success
  type: dict
  contains:
    backup:
      description: Id of the backup.
      type: str
      sample: 20261123T210455Z-1f0c9a
    finished:
      description: When the proof was complete, UTC.
      type: str
      sample: "2026-11-23T21:10:00Z"
    seconds:
      description: How long it took; a first idea of how long a restore takes.
      type: float
      sample: 31.5
    recorded:
      description: Whether the proof was stored in the repository.
      type: bool
      sample: true
    whole:
      description: Whether every datastore of the backup was proven.
      type: bool
      sample: true
    level:
      description: What was compared, V(counts) or V(full).
      type: str
      sample: counts
    datastores:
      description: What was restored and compared, by the datastore's name.
      type: dict
      sample: {main: {engine: mariadb, bytes: 480000000, rows: 120345, tables: 31, objects: {view: 2}, seconds: 28.0}}
    assertions:
      description: The assertions, each with what was found. All of them hold.
      type: list
      elements: dict
      sample: [{datastore: main, sql: SELECT COUNT(*) FROM users, found: "12", ok: true}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import setup, verify


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **setup.DESCRIBED,
            **argspec.RUNTIME,
            **argspec.FOLLOWED,
            "backup": {"type": "str", "default": "latest"},
            "only": {"type": "list", "elements": "str", "default": []},
            "scratch": setup.elsewhere(),
            "scratch_directory": {"type": "path"},
            "allow_flavour_change": {"type": "bool", "default": False},
            "assertions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": verify.ASSERTION,
                "mutually_exclusive": [("sql", "table", "file")],
                "required_one_of": [("sql", "table", "file")],
                "required_by": {"table": "rows"},
            },
            "job": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    core_module.run(module, setup.drivers(module.params), lambda context: verify.from_params(context, module.params))


if __name__ == "__main__":
    main()
