# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The certificate that is served, those that wait in files, and the store of an ACME client.

Only the served one counts for a client: a renewed file that nobody loaded is the common failure.
"""

from __future__ import annotations

import datetime
import stat
from collections.abc import Iterator
from pathlib import Path

from ..._core import clock
from .. import certificates, thresholds
from ..certificates import Certificate, Served
from ..model import CRIT, OK, WARN, Finding
from ..probe import Group, Options, Probe

_DAY = 86400


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    served = None
    if options["host"]:
        name = options["server_name"] or options["host"]
        where = f"{options['host']}:{options['port']}"
        try:
            served = certificates.served(options["host"], options["port"], name, options["ca_file"], probe.timeout)
        except OSError as error:
            yield Finding(CRIT, f"{where}: no TLS connection ({error.strerror or error})")
        else:
            yield from _served(options, where, name, served)
    for path in map(Path, options["certificate_files"]):
        yield from _file(options, path, served)
    if options["acme_file"]:
        yield from _store(options, Path(options["acme_file"]))


def _served(options: Options, where: str, name: str, served: Served) -> Iterator[Finding]:
    if served.refused:
        yield Finding(CRIT, f"{where}: a client that asks for {name} refuses the certificate: {served.refused}")
    else:
        text = f"{where}: {served.protocol}, {', '.join(served.certificate.names[:5])}, by {served.certificate.issuer}"
        yield Finding(OK, text)
    yield _left(options, served.certificate, f"the certificate of {where}", "days")


def _left(options: Options, certificate: Certificate, what: str, part: str) -> Finding:
    """Days to its end; of a short-lived one a share of its lifetime is the limit."""
    lifetime = certificate.lifetime.total_seconds() / _DAY
    days = (certificate.ends - clock.now()).total_seconds() / _DAY
    warn = min(options["days_warn"], lifetime * options["share_warn"] / 100)
    crit = min(options["days_crit"], lifetime * options["share_crit"] / 100)
    end = clock.text(certificate.ends)
    text = f"{what} ended at {end}" if days <= 0 else f"{what} ends in {days:.1f} days, at {end}"
    return thresholds.below(round(days, 2), round(warn, 2), round(crit, 2), text, unit="days", part=part)


def _file(options: Options, path: Path, served: Served | None) -> Iterator[Finding]:
    certificate = certificates.in_file(path)
    if served is not None and certificate.serial != served.certificate.serial:
        if certificate.begins > served.certificate.begins:
            yield Finding(CRIT, f"{path} is newer than what is served: it was not loaded", part=str(path))
        else:
            yield Finding(WARN, f"{path} is older than what is served", part=str(path))
        return
    yield _left(options, certificate, str(path), str(path))


def _store(options: Options, path: Path) -> Iterator[Finding]:
    found = list(certificates.in_store(path))
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        yield Finding(CRIT, f"{path} has mode {mode}: Traefik ignores a store of any other than 0600", part="acme")
        return
    if not found:
        yield Finding(WARN, f"{path} holds no certificate", part="acme")
        return
    first = min(found, key=lambda one: one.ends)
    finding = _left(options, first, f"{', '.join(first.names[:3])} in {path}", "acme")
    if finding.status == OK:
        age = datetime.timedelta(seconds=clock.now().timestamp() - status.st_mtime)
        text = f"{finding.message}; {len(found)} in it, last written {age.days} days ago"
        finding = Finding(OK, text, finding.value, finding.unit, finding.warn, finding.crit, finding.part)
    yield finding


GROUP = Group(
    "tls",
    {
        "host": {"type": "str"},
        "port": {"type": "int", "default": 443},
        "server_name": {"type": "str"},
        "ca_file": {"type": "path"},
        "days_warn": {"type": "float", "default": 30.0},
        "days_crit": {"type": "float", "default": 14.0},
        "share_warn": {"type": "float", "default": 33.0},
        "share_crit": {"type": "float", "default": 16.0},
        "certificate_files": {"type": "list", "elements": "path", "default": []},
        "acme_file": {"type": "path"},
    },
    look,
    needs=("host", "certificate_files", "acme_file"),
)
