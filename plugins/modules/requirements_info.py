#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: requirements_info
short_description: Look at what a host lacks for an application's backups
version_added: 1.0.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Says which programs and Python drivers are missing on a host for the datastores that are described, and how to get them.
    The role P(day2.ops.prepare#role) installs what this module finds missing.
  - Connects to nothing; the descriptions themselves are validated.
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.repository
  - day2.ops.datastores
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup_repository
"""

EXAMPLES = r"""
- name: Look at what is missing
  day2.ops.requirements_info:
    app: garage
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"
    datastores:
      - name: main
        engine: postgresql
        database: garage
        run_as: postgres
  register: looked

- name: Say so
  ansible.builtin.assert:
    that: looked.requirements.complete
    fail_msg: "Missing: {{ (looked.requirements.tools + looked.requirements.drivers) | join(', ') }}"
"""

RETURN = r"""
requirements:
  description:
    - What is missing, and how to get it.
  returned: success
  type: dict
  contains:
    complete:
      description: Whether everything is there.
      type: bool
      sample: false
    tools:
      description: Programs that are missing.
      type: list
      elements: str
      sample: [restic]
    drivers:
      description: Python packages that are missing, by the name they are imported as.
      type: list
      elements: str
      sample: [psycopg]
    install:
      description: Debian packages that bring what is missing.
      type: list
      elements: str
      sample: [restic, python3-venv]
    elsewhere:
      description: Missing programs that no package is named for, for example C(docker).
      type: list
      elements: str
      sample: []
    pip:
      description: What pip has to install into the virtual environment.
      type: list
      elements: str
      sample: ["psycopg[binary]>=3.1.18"]
    make_venv:
      description: Whether the virtual environment has to be made.
      type: bool
      sample: true
    venv:
      description: Path of the virtual environment for the drivers.
      type: str
      sample: /var/lib/day2/venv
    python:
      description: The Python that modules run with, and that makes the virtual environment.
      type: str
      sample: /usr/bin/python3
    apt:
      description: Whether this host has apt.
      type: bool
      sample: true
    root:
      description: Whether the module ran as root.
      type: bool
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.model import Json
from ansible_collections.day2.ops.plugins.module_utils._platform import requirements
from ansible_collections.day2.ops.plugins.module_utils._recovery import setup


def look(context: Context, module: AnsibleModule) -> Json:
    operation = setup.prepare(context, module.params)  # validates, connects to nothing
    datastores = [engine.datastore for engine in operation.engines.values()]
    wanted = requirements.tools(module.params["repository"]["restic"], datastores, module.params["project"])
    venv = context.state_dir / "venv"
    missing = requirements.missing(wanted, setup.drivers(module.params), venv)
    return {"changed": False, "requirements": {**missing.to_json(), **requirements.host(), "venv": str(venv)}}


def main() -> None:
    module = AnsibleModule(argument_spec={**setup.DESCRIBED, **argspec.RUNTIME}, supports_check_mode=True)
    core_module.run(module, (), lambda context: look(context, module))


if __name__ == "__main__":
    main()
