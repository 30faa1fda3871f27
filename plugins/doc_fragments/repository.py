# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# Options of restic, the same for a repository and its copy.
_OPTIONS = r"""          limit_upload:
            description:
              - Limits uploads to so many KiB per second.
            type: int
          limit_download:
            description:
              - Limits downloads to so many KiB per second.
            type: int
          compression:
            description:
              - How hard restic compresses what it stores.
            type: str
            choices: [auto, 'off', max]
          pack_size:
            description:
              - Target size of the files in the repository in MiB. Larger ones are fewer, which helps large repositories on object stores.
            type: int
          read_concurrency:
            description:
              - How many files are read at once. Needs restic 0.15.0.
            type: int
          connections:
            description:
              - How many connections to the repository are open at once.
            type: int
          extended:
            description:
              - Further options of the store (C(-o NAME=VALUE)), as a dictionary, for example C(s3.storage-class) or C(sftp.command).
                C(restic options) lists them. They are on restic's command line, so no secret belongs here.
            type: dict
"""


class ModuleDocFragment:
    """Where backups are stored. (Annotated, since ansible-test takes a plain assignment here for a literal.)"""

    DOCUMENTATION: str = r"""
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
      timeout:
        description:
          - Seconds to wait for an answer of the repository, for calls that move no data (opening, listing). A transfer may take as long as
            it takes. A login that is refused ends a call at once.
        type: int
        default: 120
        version_added: 1.1.0
      options:
        description:
          - Options of restic. What is left out is restic's own default. One that the installed restic lacks is refused, with the
            version that has it.
        type: dict
        version_added: 1.1.0
        suboptions:
@OPTIONS@requirements:
  - restic 0.14.0 or newer on the target
""".replace("@OPTIONS@", _OPTIONS)

    COPY: str = r"""
options:
  copy_repository:
    description:
      - A second restic repository that holds a copy of the backups. The role P(day2.ops.prepare#role) creates it, such that files are
        stored once only.
      - One restic works on both, so both share its environment. Two that need different values of one variable are refused.
    type: dict
    version_added: 1.1.0
    suboptions:
      location:
        description:
          - As O(repository.location).
        type: str
        required: true
      password:
        description:
          - The second repository's password. Choose one of its own.
        type: str
        required: true
      environment:
        description:
          - As O(repository.environment).
        type: dict
        default: {}
      lock_timeout:
        description:
          - As O(repository.lock_timeout).
        type: int
        default: 300
      timeout:
        description:
          - As O(repository.timeout).
        type: int
        default: 120
      options:
        description:
          - As O(repository.options). While copying, O(copy_repository.options.limit_upload) limits what is written and
            O(repository.options.limit_download) what is read.
        type: dict
        suboptions:
@OPTIONS@""".replace("@OPTIONS@", _OPTIONS)
