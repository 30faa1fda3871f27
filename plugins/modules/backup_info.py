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
  json_file:
    description:
      - Also writes RV(facts) as JSON to this file on the target, whole or not at all. Its directory must exist.
      - A new file has mode 0600; one that is there keeps its mode and owner.
    type: path
    version_added: 1.1.0
  prometheus_file:
    description:
      - Also writes RV(prometheus) to this file on the target, whole or not at all. Its directory must exist.
      - A new file has mode 0644; one that is there keeps its mode and owner.
      - The textfile collector of node_exporter reads files whose names end in C(.prom). Give each application a file of its own.
    type: path
    version_added: 1.1.0
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.repository
  - day2.ops.repository.copy
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Writes neither O(json_file) nor O(prometheus_file).
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

- name: Tell Prometheus, by the textfile collector of node_exporter
  day2.ops.backup_info:
    app: booking
    prometheus_file: /var/lib/prometheus/node-exporter/day2-booking-production.prom
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
copy_repository:
  description:
    - The second repository. C(backups) are the ids that it holds, whole, and C(newest) is when the last of them was begun;
      C(missing) are those that it lacks, safety copies apart.
    - When it cannot be read, C(status) is V(failed), and a warning says why. Empty without O(copy_repository).
  returned: success
  type: dict
  version_added: 1.1.0
  sample: {status: read, location: "s3:https://s3.example.org/day2", message: "", newest: "2026-11-23T21:04:55Z", backups: [20261123T210455Z-1f0c9a], missing: []}
facts:
  description:
    - What a monitoring system wants to know of all backups, whatever O(backup) names. RV(facts.last_backup) is the newest complete
      one that is no safety copy, RV(facts.last_proof) the last proof of a whole backup; each is empty where there is none.
    - C(schema) is 1, and changes when the meaning of a key does.
  returned: success
  type: dict
  contains:
    last_backup:
      description: The newest complete backup.
      type: dict
    last_proof:
      description: The last proof.
      type: dict
  sample:
    schema: 1
    app: booking
    instance: production
    generated: "2026-11-23T22:05:07Z"
    timestamp: 1795471507
    last_backup: {id: 20261123T210455Z-1f0c9a, timestamp: 1795467895, age: 3612, bytes: 481230112, stored: 1832211, proven: true}
    last_proof: {backup: 20261123T210455Z-1f0c9a, finished: "2026-11-23T21:10:00Z", timestamp: 1795468200, age: 3307}
    counts: {backups: 31, incomplete: 0, held: 1, orphans: 0, errors: 0}
prometheus:
  description:
    - The same as text for Prometheus, gauges C(day2_backup_…) with the labels C(app) and C(instance).
  returned: success
  type: str
  sample: |
    # HELP day2_backup_last_timestamp_seconds When the newest complete backup was begun, Unix time.
    # TYPE day2_backup_last_timestamp_seconds gauge
    day2_backup_last_timestamp_seconds{app="booking",instance="production"} 1795467895
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
            "json_file": {"type": "path"},
            "prometheus_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    core_module.run(module, (), lambda context: info.from_params(context, module.params))


if __name__ == "__main__":
    main()
