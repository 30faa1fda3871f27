# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Where backups are stored."""

    DOCUMENTATION = r"""
options:
  repository:
    description:
      - The restic repository that holds the backups. It must exist; the role P(day2.ops.prepare#role) creates it.
    type: dict
    required: true
    suboptions:
      location:
        description:
          - A directory on the target, or a restic location such as V(sftp:backup@nas:/srv/day2),
            V(s3:https://s3.example.org/day2) or V(rest:https://backup.example.org/booking/).
          - A user and password inside it count as secret.
        type: str
        required: true
      password:
        description:
          - The repository's password. Without it nothing in the repository can be read, so keep it outside of the host too.
          - At least 8 characters, and not the name of anything in use (application, instance, datastore, database, user).
        type: str
        required: true
      environment:
        description:
          - Further variables for restic, for example C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY). Their values count as secret.
        type: dict
        default: {}
      restic:
        description:
          - Path or name of restic, version 0.14.0 or newer.
        type: str
        default: restic
      lock_timeout:
        description:
          - Seconds to wait while another restic holds the repository's lock. Locks are never removed by force.
        type: int
        default: 300
requirements:
  - restic 0.14.0 or newer on the target
"""
