# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap

# What migrates, once. @HERE@ is the option that they stand below, with a point, or nothing.
_OPTIONS = r"""
  datastore:
    description:
      - Name of the datastore whose schema the tool migrates. Needed only when more than one of O(datastores) has a schema
        (mariadb, mysql, postgresql, sqlite).
    type: str
  tool:
    description:
      - What migrates. V(alembic), with a sync or async C(env.py); V(flask) for Flask-Migrate, whose C(FLASK_APP) comes from
        the application's variables or from O(@HERE@environment); V(command) for commands of your own.
    type: str
    choices: [alembic, flask, command]
    default: alembic
  config:
    description:
      - Alembic's configuration, relative to O(@HERE@directory), or C(pyproject.toml) with Alembic 1.16 and newer. For O(@HERE@tool=alembic).
    type: str
    default: alembic.ini
  migrations:
    description:
      - Directory of Flask-Migrate's C(env.py); what the application says where not given. For O(@HERE@tool=flask).
    type: str
  x:
    description:
      - Arguments C(KEY=VALUE) for C(env.py), as C(alembic -x) takes them. They are no place for secrets.
    type: list
    elements: str
    default: []
  commands:
    description:
      - Argument vectors of your own tool, for O(@HERE@tool=command). No shell runs them.
    type: dict
    suboptions:
      current:
        description: Prints the revisions that the database is at, one per line; nothing for an empty database.
        type: list
        elements: str
        required: true
      pending:
        description: Prints the revisions that an upgrade would run, one per line, the next one first; a message may follow after a space.
        type: list
        elements: str
        required: true
      upgrade:
        description:
          - Runs migrations. With V({revision}) in it, it is run once for each pending revision, so that a failing one is known;
            otherwise once for all.
        type: list
        elements: str
        required: true
      downgrade:
        description: Goes back to V({revision}).
        type: list
        elements: str
  directory:
    description:
      - Working directory of the tool, on the target, or in the container (its own where not given).
    type: str
  venv:
    description:
      - Virtual environment of the release on the target, when the tool runs there.
    type: path
  python:
    description:
      - The Python that has the tool; C(bin/python) of O(@HERE@venv), and V(python3) in a container, where not given.
    type: str
  service:
    description:
      - Compose service of O(project) in whose image the tool runs, in a one-off container with the service's networks, volumes and
        variables (C(docker compose run --rm --no-deps), its entrypoint not run).
    type: str
  project_directory:
    description:
      - Directory of the compose file, for a project that has no containers yet.
    type: path
  user:
    description:
      - System user as whom the tool runs on the target (needs root), or user in the container.
    type: str
  environment:
    description:
      - Variables for the tool, besides those that the service, O(units) and O(env_files) give it. Here belongs a database URL that they do not hold.
    type: dict
    default: {}
"""


class ModuleDocFragment:
    """What migrates an application's schema, and where it runs."""

    DOCUMENTATION: str = (
        "options:"
        + _OPTIONS.replace("@HERE@", "")
        + r"""
  image:
    description:
      - Image to run in place of the one that the service has now, for example that of a release which is not switched to yet.
    type: str
  revision:
    description:
      - Where to go. V(head), a revision by its name, or V(base). A revision that is older than the database downgrades.
      - Relative ones such as V(-1) are refused, because with two branches they silently take one of them.
    type: str
    default: head
  allow_multiple_heads:
    description:
      - Runs all branches where there are several heads. Without it, several heads are refused.
    type: bool
    default: false
  connect_delays:
    description:
      - Seconds to wait before connecting is tried again, so V([1, 2]) makes three attempts. Only before the first revision is begun.
    type: list
    elements: int
    default: [1, 2]
"""
    )

    # The same as one dictionary.
    DESCRIBED: str = r"""
options:
  migration:
    description:
      - What migrates the schema of one of O(datastores), as M(day2.ops.migrate) takes it. Without it nothing is said of migrations.
    type: dict
    suboptions:
""" + textwrap.indent(_OPTIONS.replace("@HERE@", "migration."), "    ")
