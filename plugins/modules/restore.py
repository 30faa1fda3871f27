#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Restore a backup of an application, whole or not at all
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Restores a chosen backup into the application's datastores, or into other ones.
  - Everything is loaded beside the live data and compared with the backup's fingerprint first. Only then the services that use
    the data are stopped, a safety copy of the live data is stored, and all datastores are swapped in one short step. When one
    swap fails, those before it are swapped back. The services are started again whatever happens.
  - A restore that was killed is settled by the next run of this module, forward or back, before it does anything else.
options:
  backup:
    description:
      - Which backup. An id, V(latest), or V(latest_verified) (the newest one with a proof). Safety copies are chosen by their id only.
    type: str
    default: latest
  before:
    description:
      - The newest backup begun before this time, with an offset, for example V(2026-11-23T20:00:00+01:00). Cannot be combined with O(backup).
    type: str
  from_instance:
    description:
      - Restores a backup of this other instance of the application, for example production's into staging.
    type: str
  only:
    description:
      - Names of the datastores to restore. Empty means all with content V(data). Those with content V(configuration) are restored
        only when named here. Caches (V(cache)) are emptied when all data are restored, or when they are named as well.
    type: list
    elements: str
    default: []
  include:
    description:
      - What of a datastore to restore, by the datastore's name. Tables (of PostgreSQL as C(schema.table), or C(table)),
        collections, or paths (relative to the datastore's own path when it has one, absolute otherwise). What is not named stays
        as it is. A datastore that is not named here is restored as a whole.
      - Without O(only), exactly the datastores that are named here are restored.
      - All of the backup's part is staged and compared all the same, because that is what proves it. Foreign keys between what is
        chosen and what stays are kept; rows that would lose the row they refer to refuse the restore, and nothing is changed.
      - Views and other objects that are no tables are restored with the whole datastore only. Accounts are left alone.
    type: dict
    default: {}
    version_added: 1.1.0
  include_suffix:
    description:
      - Puts what O(include) names beside the live ones, under its name with this suffix, for example V(_restored). Nothing live is
        replaced, no service is stopped, no safety copy is made, and O(replace) is not needed.
      - Such tables are for looking things up. They have rows, primary key and indexes, but neither foreign keys nor triggers.
    type: str
    default: ""
    version_added: 1.1.0
  replace:
    description:
      - Allows that data that are there are replaced. Without it a target that is not empty is refused.
    type: bool
    default: false
  safety_copy:
    description:
      - Whether what will be replaced is stored first, as a backup of kind V(safety). V(required) refuses the restore when that
        fails; V(if_possible) goes on when the live data cannot be read; V(none) makes no copy.
    type: str
    choices: [required, if_possible, none]
    default: required
  accounts:
    description:
      - What happens to the database accounts (roles) that belong to the data. V(missing) creates those that do not exist and gives
        their privileges again; V(all) also gives the privileges of existing ones again; V(none) does neither.
      - The password of an existing account is never changed, whatever the backup holds.
    type: str
    choices: [missing, none, all]
    default: missing
  configuration:
    description:
      - How env files among restored configuration are written. With V(keep) a variable that the live file has keeps its live value,
        so that a rotated password does not come back; V(replace) writes them as they were.
    type: str
    choices: [keep, replace]
    default: keep
  allow_flavour_change:
    description:
      - Allows that a backup of a MariaDB database is loaded into a datastore that is described as mysql, and the reverse.
      - Accounts are not carried over, and whatever the other server does not know is refused. Tables are compared by their
        number of rows only.
    type: bool
    default: false
    version_added: 1.1.0
  stop:
    description:
      - What uses the data and must not run meanwhile, V(PROJECT/SERVICE), a container's name, or a unit such as V(garage.service).
      - Consumers that the module finds by itself (open files and connections, mounts, variables that point to the datastore, timers
        that start them) are stopped too.
    type: list
    elements: str
    default: []
  data_keys:
    description:
      - Names of the variables that hold the application's data keys. A key that differs from the one the backup was made under stops the restore.
    type: list
    elements: str
    default: []
  job:
    description:
      - Who or what runs this, for the journal and the lock.
    type: str
    default: ""
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.application.followed
  - day2.ops.repository
  - day2.ops.datastores
  - day2.ops.datastores.into
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
      - Chooses the backup and checks the targets; says what would be replaced and what would be stopped. Restores nothing.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
seealso:
  - module: day2.ops.backup
  - module: day2.ops.backup_verify
"""

EXAMPLES = r"""
- name: Bring back the newest proven backup
  day2.ops.restore:
    app: booking
    backup: latest_verified
    replace: true
    project: booking
    stop: [booking/backend]
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

- name: Bring two tables and one directory back as they were, all else stays
  day2.ops.restore:
    app: booking
    project: booking
    replace: true
    include:
      main: [orders, order_lines]
      uploads: [2026/05, logo.png]
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

- name: Put last week's orders beside those of today, as orders_restored
  day2.ops.restore:
    app: booking
    project: booking
    before: "2026-11-16T03:00:00+01:00"
    include:
      main: [orders]
    include_suffix: _restored
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

- name: Look at last night's data in a database beside the live one
  day2.ops.restore:
    app: garage
    before: "2026-11-23T03:00:00+01:00"
    only: [main]
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres
    into:
      - datastore: main
        database: garage_last_night
"""

RETURN = r"""
attached:
  description:
    - This is the result of an operation that an earlier run of the same task had begun, and that was found running or finished.
  returned: when it is
  type: bool
  sample: true
restore:
  description:
    - What was restored. In check mode, what would be.
  returned: success
  type: dict
  contains:
    backup:
      description: Id of the backup.
      type: str
      sample: 20261123T210455Z-1f0c9a
    started:
      description: When the backup was begun, UTC. What was written after that is not in it.
      type: str
      sample: "2026-11-23T21:04:55Z"
    age:
      description: Seconds since then.
      type: int
      sample: 3600
    safety_backup:
      description: Id of the safety copy of what was replaced, or empty.
      type: str
      sample: 20261123T220001Z-77ab10
    stopped:
      description: What was stopped and started again, with the reason.
      type: list
      elements: dict
      sample: [{kind: container, name: booking-backend-1, reason: its DATABASE_URL points to the datastore}]
    accounts:
      description: Database accounts that were created.
      type: list
      elements: str
      sample: []
    flushed:
      description: Names of the caches (C(content=cache)) that were emptied before the services started again.
      type: list
      elements: str
      sample: [cache]
      version_added: 1.1.0
    phases:
      description: Seconds by phase (stage, stop, safety, swap, start). The application stood from stop to start.
      type: dict
      sample: {stage: 28.1, stop: 1.2, safety: 9.0, swap: 0.1, start: 1.5}
    seconds:
      description: How long it took altogether.
      type: float
      sample: 40.1
    datastores:
      description:
        - What was restored, by the datastore's name, with the rows of every table as compared with the manifest.
        - With O(include), what was included only; C(included) has the names under which it is live now.
      type: dict
      sample: {main: {engine: mariadb, rows: 120345, tables: {bookings: 4711}, objects: {view: 2}, replaced: true, included: []}}
    settled:
      description: Unfinished restores of earlier runs that were settled first, each with its outcome.
      type: list
      elements: dict
      sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import restore, setup


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **setup.DESCRIBED,
            **argspec.RUNTIME,
            **argspec.FOLLOWED,
            "backup": {"type": "str", "default": "latest"},
            "before": {"type": "str"},
            "from_instance": {"type": "str"},
            "only": {"type": "list", "elements": "str", "default": []},
            "include": {"type": "dict", "default": {}},
            "include_suffix": {"type": "str", "default": ""},
            "into": setup.elsewhere(),
            "replace": {"type": "bool", "default": False},
            "safety_copy": {"type": "str", "choices": ["required", "if_possible", "none"], "default": "required"},
            "accounts": {"type": "str", "choices": ["missing", "none", "all"], "default": "missing"},
            "configuration": {"type": "str", "choices": ["keep", "replace"], "default": "keep"},
            "allow_flavour_change": {"type": "bool", "default": False},
            "stop": {"type": "list", "elements": "str", "default": []},
            "data_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "job": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    core_module.run(module, setup.drivers(module.params), lambda context: restore.from_params(context, module.params))


if __name__ == "__main__":
    main()
