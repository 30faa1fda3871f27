# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# The engines' options, once. @HERE@ is the option that they stand below. All of `datastores` and of those
# that say what is different (`into`, `scratch`).
_OPTIONS = r"""
      container:
        description:
          - Container that serves the datastore, V(NAME) or V(PROJECT/SERVICE) of a Compose service.
          - Without it the datastore is on the target itself, or at O(@HERE@[].host).
          - For mariadb, mongodb, mysql, postgresql, redis, sqlite.
        type: str
      host:
        description:
          - Name or address of the database server. For mariadb, mongodb, mysql, postgresql, redis.
        type: str
      port:
        description:
          - Port of the database server; the engine's default where not given. For mariadb, mongodb, mysql, postgresql, redis.
        type: int
      socket:
        description:
          - Path of the server's Unix socket (mariadb, mysql, redis) or of the directory that holds it (postgresql).
        type: path
      database:
        description:
          - Name of the database. Required for mariadb, mongodb, mysql and postgresql.
        type: str
      user:
        description:
          - The database user that backs up and restores; in redis an ACL user. For mariadb, mongodb, mysql, postgresql, redis.
        type: str
      password:
        description:
          - Its password. Better named, by O(@HERE@[].password_variable) or O(@HERE@[].password_url).
        type: str
      password_variable:
        description:
          - Name of the variable that holds the password, read on the target as the service gets it (Compose's resolved
            configuration, the container's environment, a unit's or the application's env files).
        type: str
      password_url:
        description:
          - Name of the variable that holds a URL with the password inside, such as C(DATABASE_URL).
        type: str
      run_as:
        description:
          - System user as whom the tools and the connection run, for peer or socket authentication. Needs root.
            For mariadb, mysql, postgresql.
        type: str
      auth_database:
        description:
          - Database in which the user was made (C(authSource)); what the URL in O(@HERE@[].password_url) says, or V(admin), where not given.
            For mongodb.
        type: str
        version_added: 1.1.0
      replica_set:
        description:
          - Name of the replica set whose primary is looked for, with O(@HERE@[].host) as one of its members. Without it the one server is used
            that was named, as always in a container. For mongodb.
        type: str
        version_added: 1.1.0
      oplog:
        description:
          - Whether what is written during a dump is taken from the oplog of the replica set and done again on the restored copy, so that all
            collections are those of one moment. For mongodb.
        type: bool
        version_added: 1.1.0
      connect_retries:
        description:
          - How often connecting is tried again when nobody answers; 5 where not given. A refused login is not tried again. For mongodb.
        type: int
        version_added: 1.1.0
      connect_delay:
        description:
          - Seconds between two tries to connect; 5 where not given. For mongodb.
        type: int
        version_added: 1.1.0
      databases:
        description:
          - Numbers of the databases that are counted and restored; all of the server where not given. For redis.
        type: list
        elements: int
        version_added: 1.1.0
      tls:
        description:
          - Whether the server is reached by TLS; what the URL in O(@HERE@[].password_url) says where not given. For mongodb, redis.
        type: bool
        version_added: 1.1.0
      tls_ca:
        description:
          - File with the certificates of the authority that signed the server's own; the system's where not given. For mongodb, redis.
        type: path
        version_added: 1.1.0
      newest:
        description:
          - What tells how fresh the data are. Its largest value is recorded with each backup.
            For mariadb, mongodb, mysql, postgresql, sqlite.
        type: dict
        suboptions:
          table:
            description: Name of the table, of the collection in mongodb.
            type: str
            required: true
          column:
            description: Name of the column, of the field in mongodb (C(meta.created) for one in a document).
            type: str
            required: true
      path:
        description:
          - The SQLite database file (absolute; inside the container when O(@HERE@[].container) is given). For sqlite.
        type: path
      vacuum:
        description:
          - Store a copy made by C(VACUUM INTO) in place of a byte-faithful one. It deduplicates better after appends,
            but may renumber the rowids of tables without an INTEGER PRIMARY KEY. For sqlite.
        type: bool
      paths:
        description:
          - Absolute paths of directories and files. For files.
        type: list
        elements: path
      volume:
        description:
          - Name of a Docker volume, in place of O(@HERE@[].paths). For files.
        type: str
      exclude:
        description:
          - Patterns that are left out, as restic's C(--exclude) takes them. For files.
          - What a backup left out stays as it is when that backup is restored.
        type: list
        elements: str
"""

_ELSEWHERE = (
    r"""
options:
  @HERE@:
    description:
      - "@WHAT@"
      - "Each entry names a datastore and the options that are different, for example V({datastore: main, database: booking_copy})."
    type: list
    elements: dict
    default: []
    suboptions:
      datastore:
        description:
          - Name of the datastore.
        type: str
        required: true
"""
    + _OPTIONS
)


class ModuleDocFragment:
    """What holds the application's data, and where else it may go.

    The options of all engines together; each engine accepts its own only, and refuses another's by name.
    ansible-test holds these texts against the argument specs that are made of the engines' own. They are annotated,
    because its yamllint takes every plain assignment in such a class for a literal.
    """

    DOCUMENTATION: str = (
        r"""
options:
  datastores:
    description:
      - Everything that holds the application's data, uploads and configuration included.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the datastore, unique within the application. Matches C(^[a-z][a-z0-9_]{0,30}$).
        type: str
        required: true
      engine:
        description:
          - What it is.
        type: str
        required: true
        choices: [files, mariadb, mongodb, mysql, postgresql, redis, sqlite]
      content:
        description:
          - V(data) is backed up and restored.
          - V(configuration) is backed up, and restored only when named.
          - V(cache) is never backed up, and emptied by a restore (since 1.1.0). For redis.
        type: str
        choices: [data, configuration, cache]
        default: data
"""
        + _OPTIONS.replace("@HERE@", "datastores")
        + r"""
requirements:
  - mariadb-dump and mariadb, mysqldump and mysql (MySQL's own), pg_dump and pg_restore, mongodump and mongorestore, or
    redis-cli and redis-server, where the server is
  - PyMySQL, psycopg 3, pymongo, redis-py and the Docker SDK for Python for the engines and containers in use; the role
    P(day2.ops.prepare#role) installs them
"""
    )

    INTO: str = _ELSEWHERE.replace("@HERE@", "into").replace(
        "@WHAT@", "Restores datastores into other ones: another database, another server, another directory."
    )

    SCRATCH: str = _ELSEWHERE.replace("@HERE@", "scratch").replace(
        "@WHAT@", "Uses another server or directory for the scratch copies of these datastores."
    )
