#!/usr/bin/python
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check the health of an application
version_added: 1.1.0
author:
  - The day2.ops authors (@day2-ops)
description:
  - Looks at an application from its host, with checks that run in parallel and change nothing that they look at.
  - Without O(checks), or with O(defaults), everything that is described is checked, each server among O(datastores), the containers of O(project), O(units),
    the backups in O(repository), O(env_files), and the host with the file systems of all of them.
  - What a check finds is V(ok), V(warn), V(crit), V(unknown) (it could not be found out) or V(skipped). The whole is the worst of them.
    From good to bad the order is V(ok), V(warn), V(unknown), V(crit).
  - An application that answers while its database is down is common, and so are containers whose own check does not see it. So an
    application needs an assertion of its operator, by the group V(http) with O(checks[].json), or by V(command).
  - B(http) asks a URL; B(tls) looks at the certificate that is served, and at those in files; B(dns) resolves a name.
  - B(mariadb), B(mysql), B(postgresql), B(mongodb), B(redis) and B(sqlite) ask a datastore, as the user that is described there or
    as O(checks[].user). What that user may not see is left out.
  - B(containers) and B(systemd) look at what runs, B(host) at the machine, B(logs) at what was logged.
  - B(migrations) compares the schema with the revisions of the code that runs, and with what the last migration left (O(migration)).
  - B(backups) looks at age, size and proof of the backups, B(secrets) at env files, B(command) runs a program.
  - Restarts, rates, hit rates and the time until a disk is full are of the time since the last run, which is remembered in
    C(health.json) of the application's directory.
options:
  checks:
    description:
      - What is checked. A check may find several things, each a result of its own, whose id is the check's with a slash and a name.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description:
          - Name of the check in results, files and across runs. By default the name of its group; it has no slash, and is
            used once.
        type: str
      group:
        description:
          - What is looked at, see above.
        type: str
        required: true
        choices: [backups, command, containers, dns, host, http, logs, mariadb, migrations, mongodb, mysql, postgresql, redis, secrets, sqlite, systemd, tls]
      required:
        description:
          - A check that is not required makes the whole a warning at most.
        type: bool
        default: true
      timeout:
        description:
          - Seconds for one try, after which the check counts as V(crit).
        type: float
        default: 10.0
      retries:
        description:
          - How often a check that is not good is tried again in this run.
        type: int
        default: 0
      retry_delay:
        description:
          - Seconds between two tries.
        type: float
        default: 2.0
      success_threshold:
        description:
          - So many tries in a row must be good; for a gate after a deployment.
        type: int
        default: 1
      failure_threshold:
        description:
          - A check that is not good counts only after so many runs in a row; until then it keeps its status, and the
            message says so.
        type: int
        default: 1
      argv:
        description:
          - (command, required) The program and its words; no shell. What is secret goes by O(checks[].environment).
        type: list
        elements: str
      exit_codes:
        description:
          - (command) Exit codes that are good, by default V([0]).
        type: list
        elements: int
      output:
        description:
          - (command) A regular expression that must match standard output, or standard error where that is empty.
        type: str
      environment:
        description:
          - (command) Further variables for it; they count as secret.
        type: dict
      run_as:
        description:
          - (command) The user that it is run as; needs root.
        type: str
      url:
        description:
          - (http, required) What is asked for.
        type: str
      method:
        description:
          - (http) By default V(GET).
        type: str
      headers:
        description:
          - (http) Headers that are sent.
        type: dict
      secret_headers:
        description:
          - (http) The same, of which no value is ever shown, for example C(Authorization).
        type: dict
      body:
        description:
          - (http) What is sent; it counts as secret. Give a header C(Content-Type) with it.
        type: str
      user:
        description:
          - >-
            (http, datastores) The user to log in as: for HTTP with Basic authentication, for a datastore in place of the
            one that makes backups.
        type: str
      password:
        description:
          - (http, datastores) Its password.
        type: str
      password_variable:
        description:
          - (datastores) Name of the variable that holds the password, as O(datastores[].password_variable).
        type: str
      password_url:
        description:
          - (datastores) Name of the variable that holds a URL with user and password, as O(datastores[].password_url).
        type: str
      status:
        description:
          - (http) Status codes that are good, by default V([200]). A login that must be refused has V([401]) here.
        type: list
        elements: int
      json:
        description:
          - (http) What must be true of the answer's JSON; this is what tells an application whose database is down from one
            that works.
        type: list
        elements: dict
        suboptions:
          path:
            description:
              - A value, by keys and numbers joined with dots, for example V(checks.database.status) or V(items[0].name).
            type: str
            required: true
          equals:
            description:
              - It is this, as text; a number, V(true) or V(null) as JSON writes it.
            type: str
          regex:
            description:
              - It matches this regular expression.
            type: str
          min:
            description:
              - It is a number, and at least this.
            type: float
          max:
            description:
              - It is a number, and at most this.
            type: float
      expect_headers:
        description:
          - (http) Regular expressions that headers must match, by their names.
        type: dict
      body_regex:
        description:
          - (http) A regular expression that the body must match.
        type: str
      min_size:
        description:
          - (http) Bytes that the body has at least.
        type: int
      max_size:
        description:
          - (http) Bytes that the body has at most.
        type: int
      redirect:
        description:
          - (http) The answer must be a redirect whose C(Location) matches this regular expression. It is not followed.
        type: str
      follow_redirects:
        description:
          - (http) Whether redirects are followed, by default V(true).
        type: bool
      version:
        description:
          - (http) The version that was deployed; the answer's JSON must say the same.
        type: str
      version_path:
        description:
          - (http) Where it says so, by default V(version).
        type: str
      connect_to:
        description:
          - (http) An address that is connected to, whatever the URL's host is; certificate and C(Host) stay the URL's.
        type: str
      ca_file:
        description:
          - (http, tls) A file of certificate authorities (PEM) in place of the system's.
        type: path
      validate_certs:
        description:
          - (http) Whether the certificate must be good, by default V(true).
        type: bool
      samples:
        description:
          - (http) How often it is asked, by default V(1). From 20 on the 95th percentile counts, and the median and the
            99th are shown; of fewer the slowest.
        type: int
      sample_delay:
        description:
          - (http) Seconds between two of them, by default V(0.1).
        type: float
      latency_warn:
        description:
          - (http) Seconds, by default V(0.5).
        type: float
      latency_crit:
        description:
          - (http) Seconds, by default V(2).
        type: float
      host:
        description:
          - (tls) The host whose certificate is looked at.
        type: str
      port:
        description:
          - (tls) By default V(443).
        type: int
      server_name:
        description:
          - (tls) The name that is asked for (SNI) and must be in the certificate, by default O(checks[].host).
        type: str
      days_warn:
        description:
          - (tls) Days left, by default V(30).
        type: float
      days_crit:
        description:
          - (tls) Days left, by default V(14).
        type: float
      share_warn:
        description:
          - (tls) Of a short-lived certificate this share of its lifetime is the limit, in percent, by default V(33).
        type: float
      share_crit:
        description:
          - (tls) As O(checks[].share_warn), by default V(16).
        type: float
      certificate_files:
        description:
          - (tls) Files with certificates (PEM). One that is newer than what O(checks[].host) serves was not loaded, which
            is V(crit).
        type: list
        elements: path
      acme_file:
        description:
          - >-
            (tls) Traefik's C(acme.json): its mode must be 0600, and the first of its certificates to end counts.
        type: path
      name:
        description:
          - (dns, required) The name that is resolved.
        type: str
      type:
        description:
          - (dns) Kind of record, by default V(A). What is not an address needs the program C(dig).
        type: str
        choices: [A, AAAA, CNAME, MX, TXT]
      equals:
        description:
          - (dns) The records must be exactly these.
        type: list
        elements: str
      contains:
        description:
          - (dns) These must be among the records.
        type: list
        elements: str
      resolvers:
        description:
          - (dns) Ask these, C(ADDRESS) or C(ADDRESS#PORT), rather than the system's; needs C(dig). Each is a result of its
            own.
        type: list
        elements: str
      project:
        description:
          - (containers) The Compose project, by default O(project).
        type: str
      containers:
        description:
          - (containers) Containers by name, or C(PROJECT/SERVICE).
        type: list
        elements: str
      covered:
        description:
          - (containers) Services or containers without a check of their own whose work another check covers, for example a request that
            goes through them. Without this, one that serves none of O(datastores) is V(unknown).
        type: list
        elements: str
      restarts_warn:
        description:
          - (containers, systemd) Restarts since the last run, by default V(1).
        type: float
      restarts_crit:
        description:
          - (containers, systemd) Restarts since the last run, by default V(3).
        type: float
      memory_warn:
        description:
          - >-
            (containers, redis, host) Percent of the memory: of the container's limit, by default V(85); of C(maxmemory), by
            default V(85); of the machine, by default V(90).
        type: float
      memory_crit:
        description:
          - (containers, redis, host) As O(checks[].memory_warn), by default V(95), V(95) and V(97).
        type: float
      log_warn:
        description:
          - (containers) MiB of a container's log, by default V(1024).
        type: int
      log_crit:
        description:
          - (containers) MiB of a container's log, by default V(10240).
        type: int
      units:
        description:
          - (systemd) Units and timers that must run.
        type: list
        elements: str
      failed:
        description:
          - (systemd) Whether any failed unit of the host is a warning, by default V(true).
        type: bool
      parts:
        description:
          - (host) What is looked at, by default all.
        type: list
        elements: str
        choices: [disk, memory, load, clock, reboot, updates]
      paths:
        description:
          - (host) File systems, each by a path in it, by default V([/]).
        type: list
        elements: path
      disk_warn:
        description:
          - (host) Percent used, of the space and of the inodes, by default V(80).
        type: float
      disk_crit:
        description:
          - (host) As O(checks[].disk_warn), by default V(95).
        type: float
      full_warn:
        description:
          - (host) Hours until a file system is full, from this run and the last one, by default V(24).
        type: float
      full_crit:
        description:
          - (host) As O(checks[].full_warn), by default V(4).
        type: float
      load_warn:
        description:
          - (host) Load over five minutes for each processor, by default V(2).
        type: float
      load_crit:
        description:
          - (host) As O(checks[].load_warn), by default V(5).
        type: float
      updates_warn:
        description:
          - (host) Security updates that wait, as far as apt knows, by default V(1).
        type: float
      updates_crit:
        description:
          - (host) As O(checks[].updates_warn); none by default.
        type: float
      datastore:
        description:
          - (datastores, required) Name of the datastore in O(datastores).
        type: str
      write:
        description:
          - >-
            (mariadb, mysql, postgresql, redis, sqlite) Whether a write is tried, by default V(true): a temporary table; a
            key that ends by itself; the lock of a writer.
        type: bool
      connections_warn:
        description:
          - (mariadb, mysql, postgresql, mongodb) Percent of the connections that the server allows, by default V(80).
        type: float
      connections_crit:
        description:
          - (mariadb, mysql, postgresql, mongodb) As O(checks[].connections_warn), by default V(95).
        type: float
      lag_warn:
        description:
          - (mariadb, mysql, postgresql, mongodb) Seconds that a replica is behind, by default V(30).
        type: float
      lag_crit:
        description:
          - (mariadb, mysql, postgresql, mongodb) As O(checks[].lag_warn), by default V(300).
        type: float
      transaction_warn:
        description:
          - (mariadb, mysql) Age of the oldest transaction in seconds, by default V(60).
        type: float
      transaction_crit:
        description:
          - (mariadb, mysql) As O(checks[].transaction_warn), by default V(3600).
        type: float
      slow_warn:
        description:
          - (mariadb, mysql) Slow queries an hour since the last run; none by default. (logs) Percent of the requests that
            are slow, by default V(1).
        type: float
      slow_crit:
        description:
          - (logs) As O(checks[].slow_warn), by default V(10).
        type: float
      aborted_warn:
        description:
          - (mariadb, mysql) Logins an hour that were refused or broke off, since the last run, by default V(60).
        type: float
      idle_warn:
        description:
          - (postgresql) Seconds that a session is idle in a transaction, by default V(60).
        type: float
      idle_crit:
        description:
          - (postgresql) As O(checks[].idle_warn), by default V(3600).
        type: float
      query_warn:
        description:
          - (postgresql) Seconds that a query runs, by default V(300).
        type: float
      query_crit:
        description:
          - (postgresql) As O(checks[].query_warn); none by default.
        type: float
      slot_warn:
        description:
          - (postgresql) MiB of WAL that a replication slot keeps, by default V(1024).
        type: float
      slot_crit:
        description:
          - (postgresql) As O(checks[].slot_warn), by default V(10240).
        type: float
      check_limit:
        description:
          - (sqlite) MiB up to which the file is checked whole (C(PRAGMA quick_check)), by default V(256).
        type: int
      wal_warn:
        description:
          - (sqlite) MiB of the write-ahead log, by default V(64).
        type: int
      wal_crit:
        description:
          - (sqlite) As O(checks[].wal_warn), by default V(1024).
        type: int
      memory_limit_required:
        description:
          - (redis) Whether a server without C(maxmemory) is a warning, by default V(false).
        type: bool
      hit_rate_warn:
        description:
          - (redis) Percent of the reads since the last run that found something, from 100 reads on; none by default.
        type: float
      age_warn:
        description:
          - (backups) Age of the newest complete backup, by default V(26h).
        type: str
      age_crit:
        description:
          - (backups) As O(checks[].age_warn), by default V(50h).
        type: str
      size_warn:
        description:
          - (backups) Its size in percent of the median of the ten before it, by default V(50).
        type: float
      size_crit:
        description:
          - (backups) As O(checks[].size_warn); none by default.
        type: float
      proof_warn:
        description:
          - (backups) Age of the last proof of a whole backup, by default V(8d). None at all is a warning.
        type: str
      proof_crit:
        description:
          - (backups) As O(checks[].proof_warn), by default V(35d).
        type: str
      env_files:
        description:
          - (secrets) Env files, by default O(env_files).
        type: list
        elements: path
      max_age:
        description:
          - (secrets) How old a secret may be, for example V(90d). It is at least as old as the first run that saw its
            value.
        type: str
      processes:
        description:
          - (secrets) Whether the environment of the application's containers and units is compared with the files, by
            default V(true).
        type: bool
      unit:
        description:
          - (logs) The unit whose journal is read.
        type: str
      container:
        description:
          - (logs) The container whose log is read, by name or C(PROJECT/SERVICE).
        type: str
      path:
        description:
          - (logs) The file that is read, its last 64 MiB. Lines carry their time, as ISO 8601 or in a JSON field.
        type: path
      period:
        description:
          - (logs) How far back, by default V(15m). No line at all in it is a warning.
        type: str
      pattern:
        description:
          - (logs) A regular expression; lines that match are counted.
        type: str
      count_warn:
        description:
          - (logs) Lines that match, by default V(1).
        type: float
      count_crit:
        description:
          - (logs) As O(checks[].count_warn); none by default.
        type: float
      duration_field:
        description:
          - >-
            (logs) The field with a request's duration: a path in JSON lines, C(NAME=NUMBER) in others.
        type: str
      duration_unit:
        description:
          - (logs) Its unit, by default V(s).
        type: str
        choices: [s, ms, us]
      slow_limit:
        description:
          - (logs) Seconds from which a request is slow, by default V(1).
        type: float
      correlation_id:
        description:
          - (logs) The lines that hold this are shown, up to twenty.
        type: str
  defaults:
    description:
      - Whether everything that is described is checked, besides O(checks). One of O(checks) with the same id takes its place.
      - By default only where O(checks) is empty.
    type: bool
  budget:
    description:
      - Seconds for all checks together. What has not ended by then is V(unknown).
    type: float
    default: 60
  fail_on:
    description:
      - The module fails when the whole is as bad as this. V(unknown) fails too, unless O(allow_unknown) is set or this is V(never).
    type: str
    choices: [crit, warn, never]
    default: crit
  allow_unknown:
    description:
      - Whether a required check may be V(unknown) without failing the module.
    type: bool
    default: false
  json_file:
    description:
      - Also writes RV(health) as JSON to this file on the target, whole or not at all. Its directory must exist.
      - A new file has mode 0600; one that is there keeps its mode and owner. So with the other files, whose mode is 0644.
    type: path
  junit_file:
    description:
      - The same as JUnit XML. V(crit) is a failure, V(unknown) an error; V(warn) passes, with a word.
    type: path
  markdown_file:
    description:
      - The same as a Markdown table, the worst first.
    type: path
  prometheus_file:
    description:
      - The same as Prometheus text, for the textfile collector of node_exporter (a name that ends in C(.prom)).
    type: path
  datastores:
    required: false
    default: []
  repository:
    required: false
extends_documentation_fragment:
  - day2.ops.application
  - day2.ops.application.runtime
  - day2.ops.datastores
  - day2.ops.repository
  - day2.ops.repository.copy
  - day2.ops.migration.described
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Everything is checked; no file is written, and nothing is remembered.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
seealso:
  - module: day2.ops.backup_info
"""

EXAMPLES = r"""
- name: Check all that is described
  day2.ops.health_check:
    app: booking
    project: booking
    datastores:
      - name: main
        engine: mariadb
        container: booking/db
        database: booking
        user: booking
        password_variable: DB_PASSWORD
    repository:
      location: /var/backups/day2
      password: "{{ vault_repository_password }}"

- name: Wait until a new release is healthy, with the operator's own assertion
  day2.ops.health_check:
    app: booking
    checks:
      - group: http
        url: https://booking.example.org/health
        connect_to: 127.0.0.1
        json:
          - {path: checks.database.status, equals: up}
        version: "{{ release_version }}"
        retries: 20
        retry_delay: 3
        success_threshold: 3
      - id: login
        group: http
        url: https://booking.example.org/api/login
        method: POST
        headers: {Content-Type: application/json}
        body: '{"user": "nobody", "password": "wrong"}'
        status: [401]
        json:
          - {path: detail, equals: Invalid credentials}

- name: A certificate that was renewed and not loaded, and a disk that fills
  day2.ops.health_check:
    app: booking
    checks:
      - group: tls
        host: booking.example.org
        certificate_files: [/etc/letsencrypt/live/booking/fullchain.pem]
      - group: host
        parts: [disk]
        paths: [/, /srv/booking]
    prometheus_file: /var/lib/prometheus/node-exporter/day2-booking-health.prom
    fail_on: never
"""

RETURN = r"""
health:
  description:
    - All of it, as O(json_file) holds it. C(schema) is 1, and changes when the meaning of a key does.
  returned: always, once the checks have run
  type: dict
  contains:
    status:
      description: The whole.
      type: str
      sample: crit
    counts:
      description: How many checks found what.
      type: dict
      sample: {ok: 11, warn: 1, crit: 1, unknown: 0, skipped: 0}
    checks:
      description:
        - What was found. C(duration) in seconds, of all C(attempts); C(since) is when the status began, as far as runs saw it.
      type: list
      elements: dict
      sample:
        - id: main
          group: mariadb
          status: crit
          message: "MariaDB at 172.18.0.2:3306 cannot be reached"
          value:
          unit: ""
          thresholds: {warn: null, crit: null}
          required: true
          duration: 0.012
          attempts: 1
          since: "2026-11-26T17:00:05Z"
  sample: {schema: 1, app: booking, instance: production, generated: "2026-11-26T17:00:05Z", status: crit}
nagios:
  description: One line as Nagios' plugins print it, with performance data.
  returned: always, once the checks have run
  type: str
  sample: "CRITICAL - main: MariaDB at 172.18.0.2:3306 cannot be reached|'host/load'=0.12;2;5"
junit:
  description: As O(junit_file).
  returned: always, once the checks have run
  type: str
  sample: <testsuite name="health of booking-production" tests="13" failures="1" errors="0" skipped="0">
markdown:
  description: As O(markdown_file).
  returned: always, once the checks have run
  type: str
  sample: "## booking-production: crit (2026-11-26T17:00:05Z)"
prometheus:
  description: As O(prometheus_file); gauges C(day2_health_…).
  returned: always, once the checks have run
  type: str
  sample: day2_health_status{app="booking",instance="production"} 2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.day2.ops.plugins.module_utils._core import argspec
from ansible_collections.day2.ops.plugins.module_utils._core import module as core_module
from ansible_collections.day2.ops.plugins.module_utils._health import check, disclosed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **check.DESCRIBED,
            **argspec.COPY_REPOSITORY,
            **argspec.RUNTIME,
            "checks": {"type": "list", "elements": "dict", "default": [], "options": check.spec()},
            "defaults": {"type": "bool"},
            "budget": {"type": "float", "default": 60},
            "fail_on": {"type": "str", "choices": ["crit", "warn", "never"], "default": "crit"},
            "allow_unknown": {"type": "bool", "default": False},
            "json_file": {"type": "path"},
            "junit_file": {"type": "path"},
            "markdown_file": {"type": "path"},
            "prometheus_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.no_log_values.update(disclosed.in_checks(module.params["checks"]))
    core_module.run(module, check.drivers(module.params), lambda context: check.from_params(context, module.params))


if __name__ == "__main__":
    main()
