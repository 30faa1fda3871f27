#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back up everything an application holds
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Makes one backup of an application, with all its datastores under one id.
  - Each database is dumped from one consistent snapshot, by its own native tool where the server is. What the snapshot
    holds is counted inside the very same snapshot (its fingerprint), so that a restore can be compared with it.
  - A backup exists only when its manifest does, and the manifest is written last. A run that fails or is killed leaves
    nothing that could be taken for a backup.
  - Databases are stored first and directories after them, so that no row points to a file that is not there yet.
  - With O(copy_repository) everything that the second repository lacks is copied into it afterwards, the manifest of each backup
    last. When that fails, the backup is still made, and a warning and RV(backup.copy_repository) say what happened; the next run goes on.
options:
  kind:
    description:
      - Why the backup is made. M(day2.ops.backup_retention) and C(latest) treat all kinds alike.
    type: str
    choices: [regular, pre_deploy, pre_migrate]
    default: regular
  hold:
    description:
      - A reason to keep this backup whatever the retention says, until M(day2.ops.backup_retention) releases it.
    type: str
  max_age:
    description:
      - Does nothing when there is a backup younger than this that is complete for every datastore named now.
      - A number with V(s), V(m), V(h), V(d) or V(w), for example V(20h).
    type: str
  exclude_tables:
    description:
      - Tables that are left out, as a dictionary of lists by the datastore's name. The manifest records them.
    type: dict
    default: {}
  allow_vanished:
    description:
      - Accepts that files vanish while a directory is read. Any other read error still fails the backup.
    type: bool
    default: false
  fingerprint:
    description:
      - V(counts) counts the rows of every table. V(full) adds a checksum over the content of every table, which reads everything once more.
    type: str
    choices: [counts, full]
    default: counts
  data_keys:
    description:
      - Names of the variables that hold keys with which the application encrypts its data. A salted fingerprint of each is stored,
        so that a restore onto an application with another key is noticed.
    type: list
    elements: str
    default: []
  uncovered:
    description:
      - Mounts, servers and buckets of the application that are in no datastore, and that you know to be in no backup.
        What is neither covered nor named here makes the backup fail before anything is stored.
    type: list
    elements: str
    default: []
  job:
    description:
      - Who or what runs this, for the manifest and the lock, for example V(nightly) or an AWX job's id.
    type: str
    default: ""
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.application.followed
  - day2.ops.repository
  - day2.ops.repository.copy
  - day2.ops.datastores
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
      - Connects to everything and checks everything that can be checked; stores nothing.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup_verify
  - module: day2.ops.restore
"""

EXAMPLES = r"""
- name: Back up a Compose application
  day2.ops.backup:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    project: booking
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

- name: Back up a SQLite application, unless that was done within the last 20 hours
  day2.ops.backup:
    app: coach
    max_age: 20h
    repository:
      location: rest:https://backup.example.org/coach/
      password: "{{ vault_repository_password }}"
    datastores:
      - name: main
        engine: sqlite
        path: /srv/coach/data/coach.db
      - name: config
        engine: files
        content: configuration
        paths: [/srv/coach/config]

- name: Back up to a directory, and copy to an object store
  day2.ops.backup:
    app: booking
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    copy_repository:
      location: s3:https://s3.example.org/day2-booking
      password: "{{ vault_copy_password }}"
      environment:
        AWS_ACCESS_KEY_ID: "{{ vault_s3_key }}"
        AWS_SECRET_ACCESS_KEY: "{{ vault_s3_secret }}"
      options:
        limit_upload: 5000
    datastores:
      - name: uploads
        engine: files
        volume: booking_uploads

- name: Before an update, keep a backup until it is released, with checksums over all content
  day2.ops.backup:
    app: garage
    kind: pre_deploy
    hold: rollback target of release 42
    fingerprint: full
    repository:
      location: sftp:backup@nas.example.org:/srv/day2
      password: "{{ vault_repository_password }}"
    units: [garage.service]
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres
"""

RETURN = r"""
attached:
  description:
    - This is the result of an operation that an earlier run of the same task had begun, and that was found running or finished.
  returned: when it is
  type: bool
  sample: true
backup:
  description:
    - The backup that was made, or the recent one that made it unnecessary. In check mode, what would be made (without an id).
  returned: success
  type: dict
  contains:
    id:
      description: The backup's id, C(YYYYMMDDTHHMMSSZ-) and six hexadecimal digits; UTC.
      type: str
      sample: 20261123T210455Z-1f0c9a
    app:
      description: The application.
      type: str
      sample: booking
    instance:
      description: The installation.
      type: str
      sample: production
    kind:
      description: Why it was made.
      type: str
      sample: regular
    started:
      description: When it began, UTC.
      type: str
      sample: "2026-11-23T21:04:55Z"
    finished:
      description: When it was complete, UTC.
      type: str
      sample: "2026-11-23T21:05:07Z"
    seconds:
      description: How long it took.
      type: float
      sample: 12.3
    age:
      description: Seconds since it was begun.
      type: int
      sample: 12
    bytes:
      description: Bytes of all dumps and files together.
      type: int
      sample: 481230112
    stored:
      description: Bytes that were added to the repository, after deduplication and, from restic 0.17 on, compression.
      type: int
      sample: 1832211
    hold:
      description: Why the backup is held, or empty.
      type: str
      sample: ""
    complete:
      description: Whether the manifest and every part are there.
      type: bool
      sample: true
    schema_revision:
      description: Alembic revision of the first datastore that has one.
      type: str
      sample: 9f1c2d3e4a5b
    release:
      description: Git commit and image ids of the application that wrote the data, where known.
      type: dict
      sample: {git_commit: 5e0c6f2a1b, images: {}}
    proof:
      description: The last proof that this backup restores, see M(day2.ops.backup_verify). Empty where there is none.
      type: dict
      sample: {}
    copy_repository:
      description: What became of the copy in the second repository.
      type: dict
      version_added: 1.1.0
      contains:
        status:
          description: V(copied) when this backup is there, whole; V(failed) when it is not; V(skipped) without O(copy_repository) and in check mode.
          type: str
          sample: copied
        location:
          description: Where the second repository is.
          type: str
          sample: s3:https://s3.example.org/day2
        seconds:
          description: How long copying took.
          type: float
          sample: 3.2
        message:
          description: What went wrong, or why nothing was copied. Empty when all is well.
          type: str
          sample: ""
        copied:
          description: Backups that were copied by this run, earlier ones that were missing included.
          type: list
          elements: str
          sample: [20261123T210455Z-1f0c9a]
    caches:
      description: Names of the datastores that are caches (C(content=cache)), which are never backed up.
      type: list
      elements: str
      sample: [cache]
      version_added: 1.1.0
    datastores:
      description: The parts.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the datastore.
          type: str
          sample: main
        engine:
          description: Its engine.
          type: str
          sample: mariadb
        content:
          description: V(data) or V(configuration).
          type: str
          sample: data
        bytes:
          description: Bytes of the dump or the files.
          type: int
          sample: 480000000
        stored:
          description: Bytes that it added to the repository.
          type: int
          sample: 1800000
        rows:
          description: Rows of all tables, or 0 for files.
          type: int
          sample: 120345
        tables:
          description: Number of tables.
          type: int
          sample: 31
        objects:
          description: Counts of other objects by kind (view, trigger, routine, event, sequence, file, directory, byte, …).
          type: dict
          sample: {view: 2, trigger: 1}
        newest:
          description: Largest value of the column that O(datastores[].newest) names.
          type: str
          sample: "2026-11-23 21:04:50"
        snapshot:
          description: Id of the restic snapshot.
          type: str
          sample: 3f8e9c1a
        seconds:
          description: How long it took.
          type: float
          sample: 8.1
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._recovery import backup, setup


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **setup.DESCRIBED,
            **argspec.COPY_REPOSITORY,
            **argspec.RUNTIME,
            **argspec.FOLLOWED,
            "kind": {"type": "str", "choices": ["regular", "pre_deploy", "pre_migrate"], "default": "regular"},
            "hold": {"type": "str"},
            "max_age": {"type": "str"},
            "exclude_tables": {"type": "dict", "default": {}},
            "allow_vanished": {"type": "bool", "default": False},
            "fingerprint": {"type": "str", "choices": ["counts", "full"], "default": "counts"},
            "data_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "uncovered": {"type": "list", "elements": "str", "default": []},
            "job": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    core_module.run(module, setup.drivers(module.params), lambda context: backup.from_params(context, module.params))


if __name__ == "__main__":
    main()
