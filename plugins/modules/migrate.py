#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Migrate an application's schema, one revision at a time
version_added: 1.1.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Runs what is pending of Alembic, Flask-Migrate or a command of your own, in a container of the new image or in a release's
    virtual environment, each revision by its name and in a transaction of its own.
  - Holds the application's lock and the database's own (C(GET_LOCK), an advisory lock, C(flock) on a SQLite file).
  - Never stamps. A revision that failed half way is named with what it left behind, and nothing runs over it. The schema after each
    run is remembered, and one that was changed since, or that was only stamped, is found.
options:
  backup:
    description:
      - Id of a backup of the datastore that is complete, from M(day2.ops.backup). Needed where a failed revision cannot be rolled
        back by the database (mariadb, mysql, sqlite). Whether the repository has it is not looked up again.
    type: str
  backup_max_age:
    description:
      - How old O(backup) may be, for example V(1h).
    type: str
    default: 1h
  require_backup:
    description:
      - Whether to refuse without O(backup) where a failed revision cannot be rolled back.
    type: bool
    default: true
  on_failure:
    description:
      - V(stop) leaves the revisions before the failed one applied. V(downgrade) goes back to where the run began, when the failed
        revision left nothing behind and no downgrade is empty.
    type: str
    choices: [stop, downgrade]
    default: stop
  at_start:
    description:
      - The application runs its migrations itself when it starts. Everything that uses the datastore is stopped first, and started again afterwards.
    type: bool
    default: false
  stop:
    description:
      - What else must not run meanwhile, V(PROJECT/SERVICE), a container's name, or a unit.
    type: list
    elements: str
    default: []
  start_again:
    description:
      - Whether what was stopped is started again. After a revision that left something behind it never is.
    type: bool
    default: true
  lock_timeout:
    description:
      - Seconds to wait for another migration of the same database.
    type: int
    default: 10
  statement_lock_timeout:
    description:
      - Seconds that a statement waits for a table which somebody else uses (C(lock_timeout) in PostgreSQL, C(lock_wait_timeout) in
        MariaDB and MySQL), while others wait behind it; V(0) leaves the server's own. For Alembic and Flask-Migrate.
    type: int
    default: 60
  allow_drift:
    description:
      - Takes the schema as it is, although it is not what the last migration left.
    type: bool
    default: false
  allow_destructive:
    description:
      - Whether statements that lose data are run. With V(false) the SQL is rendered first, and such statements are refused.
    type: bool
    default: true
  allow_empty_downgrade:
    description:
      - Runs downgrades that do nothing but change the version.
    type: bool
    default: false
  job:
    description:
      - Who or what runs this, for the lock.
    type: str
    default: ""
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.datastores
  - day2.ops.migration
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Looks as M(day2.ops.migrate_info) does, refuses what would be refused (a missing backup apart), and names what would be stopped.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - In check mode the SQL.
seealso:
  - module: day2.ops.migrate_info
  - module: day2.ops.backup
"""

EXAMPLES = r"""
- name: Migrate with the image of the new release, before it is switched to
  day2.ops.migrate:
    app: booking
    project: booking
    service: backend
    image: registry.example.org/booking:v1.4.2
    at_start: true
    backup: 20261123T210455Z-1f0c9a
    datastores:
      - name: main
        engine: mariadb
        container: booking/db
        database: booking
        user: root
        password_variable: DB_ROOT_PASSWORD

- name: Migrate with Flask-Migrate in a release's virtual environment
  day2.ops.migrate:
    app: garage
    tool: flask
    venv: /srv/garage/venv
    directory: /srv/garage/app
    user: garage
    units: [garage.service]
    environment: {FLASK_APP: garage}
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres

- name: Go back to the revision of the release before
  day2.ops.migrate:
    app: garage
    tool: flask
    venv: /srv/garage/venv
    directory: /srv/garage/app
    units: [garage.service]
    revision: 4f1d0a77c2be
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres

- name: Migrate with a tool of the application's own
  day2.ops.migrate:
    app: station
    tool: command
    project: station
    service: backend
    commands:
      current: [/app/manage, migrations, current]
      pending: [/app/manage, migrations, pending]
      upgrade: [/app/manage, migrations, run, "{revision}"]
    backup: 20261123T210455Z-1f0c9a
    datastores:
      - name: main
        engine: mysql
        container: station/mysql
        database: station
        user: root
        password_variable: MYSQL_ROOT_PASSWORD
"""

RETURN = r"""
migration:
  description:
    - What was done, or in check mode what would be, as RV(day2.ops.migrate_info#module:migration) with what follows.
    - On failure too, with C(failed), the revision that failed, its C(statements), C(downgraded), and C(half_applied).
  returned: success, and on the failure of a revision
  type: dict
  contains:
    datastore:
      description: The datastore's name.
      type: str
      sample: main
    source:
      description: The image or virtual environment whose revisions were run.
      type: str
      sample: registry.example.org/booking:v1.4.2
    current:
      description: Revisions that the database is at now.
      type: list
      elements: str
      sample: [9f1c2d3e4a5b]
    applied:
      description: What was run, in its order.
      type: list
      elements: dict
      sample: [{revision: 9f1c2d3e4a5b, message: add prices, seconds: 0.21, direction: upgrade}]
    backup:
      description: The backup that was named.
      type: str
      sample: 20261123T210455Z-1f0c9a
    stopped:
      description: What was stopped, with the reason.
      type: list
      elements: dict
      sample: [{kind: container, name: booking-backend-1, reason: its DATABASE_URL points to the datastore}]
    schema:
      description: Fingerprint of the schema (SHA-256). The same for the same schema.
      type: str
      sample: 0f6f2ae1…
    half_applied:
      description: A revision that was begun and not finished, what it C(left) behind, and the C(statements) that it ran. Empty when there is none.
      type: dict
      sample: {}
    seconds:
      description: How long the revisions took, with what was stopped and started.
      type: float
      sample: 1.4
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._migration import run, setup


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **setup.SPEC,
            "backup": {"type": "str"},
            "backup_max_age": {"type": "str", "default": "1h"},
            "require_backup": {"type": "bool", "default": True},
            "on_failure": {"type": "str", "choices": ["stop", "downgrade"], "default": "stop"},
            "at_start": {"type": "bool", "default": False},
            "stop": {"type": "list", "elements": "str", "default": []},
            "start_again": {"type": "bool", "default": True},
            "lock_timeout": {"type": "int", "default": 10},
            "statement_lock_timeout": {"type": "int", "default": 60},
            "allow_drift": {"type": "bool", "default": False},
            "allow_destructive": {"type": "bool", "default": True},
            "allow_empty_downgrade": {"type": "bool", "default": False},
            "job": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    core_module.run(module, setup.drivers(module.params), lambda context: run.from_params(context, module.params))


if __name__ == "__main__":
    main()
