# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """For which application an operation is, and how it runs."""

    DOCUMENTATION = r"""
options:
  app:
    description:
      - Name of the application, in every lock, tag, manifest and message.
      - Matches C(^[a-z][a-z0-9_]{0,30}$).
    type: str
    required: true
  instance:
    description:
      - Which installation of the application, for example V(production) or V(staging).
      - Matches C(^[a-z][a-z0-9_]{0,30}$). Backups of another instance are used only where an option names it.
    type: str
    default: production
  state_dir:
    description:
      - Directory on the target for everything the collection keeps there (lock, journals, scratch, drivers).
      - The application's own part is C(APP-INSTANCE) below it, with mode 0700.
    type: path
    default: /var/lib/day2
  lock_token:
    description:
      - Token of a lock that M(day2.ops.app_lock) took for the whole play. The module renews the lock while it runs.
      - Without it the module takes the application's lock itself and frees it at its end.
    type: str
"""

    RUNTIME = r"""
options:
  project:
    description:
      - The Compose project that the application runs as.
      - Its writable mounts, and the servers its variables point to, must be covered by O(datastores) or named in
        O(day2.ops.backup#module:uncovered), or a backup is refused.
    type: str
  units:
    description:
      - The systemd units that run the application, for example V(garage.service).
    type: list
    elements: str
    default: []
  env_files:
    description:
      - Env files on the target that hold the application's variables.
      - O(datastores[].password_variable) and O(datastores[].password_url) are looked up here too.
    type: list
    elements: path
    default: []
"""

    FOLLOWED = r"""
options:
  reconnect_timeout:
    description:
      - The work goes on on the target when the connection breaks. This is for how many seconds the task then tries to reach the
        host again, before it fails as unreachable.
      - The next run of the same task finds the operation, running or finished, and gives its result.
    type: int
    default: 600
    version_added: 1.1.0
"""
