# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Certificates: the one that a server gives, those in files, and what openssl says of them."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from .._core.clock import UTC
from .._core.errors import OpsError, Unavailable
from .._core.process import Command, run
from . import web

_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """`names`: those of the subject's alternative names that are DNS names or addresses."""

    subject: str
    issuer: str
    begins: datetime.datetime
    ends: datetime.datetime
    serial: str
    names: tuple[str, ...] = ()

    @property
    def lifetime(self) -> datetime.timedelta:
        return self.ends - self.begins


@dataclasses.dataclass(frozen=True)
class Served:
    """What a server gave; `refused` says why a client would not take it ("" where it would)."""

    certificate: Certificate
    protocol: str
    refused: str = ""


def served(host: str, port: int, name: str, ca_file: Optional[str], timeout: float) -> Served:
    """With `name` as SNI. `OSError` where nothing answers."""
    try:
        pem, protocol = _handshake(host, port, name, web.trust(ca_file, True), timeout)
        return Served(parse(pem), protocol)
    except ssl.SSLCertVerificationError as error:
        pem, protocol = _handshake(host, port, name, web.trust(ca_file, False), timeout)
        return Served(parse(pem), protocol, error.verify_message)


def _handshake(host: str, port: int, name: str, context: ssl.SSLContext, timeout: float) -> tuple[str, str]:
    with socket.create_connection((host, port), timeout) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secured:
            der = secured.getpeercert(binary_form=True) or b""
            return ssl.DER_cert_to_PEM_cert(der), secured.version() or ""


def in_file(path: Path) -> Certificate:
    """The first certificate of a PEM file: the server's own, by convention."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise Unavailable(f"the certificate {path} cannot be read ({error.strerror})") from None
    if _BEGIN not in text:
        raise Unavailable(f"{path} holds no certificate (PEM)")
    return parse(text[text.index(_BEGIN) :])


def in_store(path: Path) -> Iterator[Certificate]:
    """All certificates of Traefik's ACME store (acme.json)."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise Unavailable(f"the ACME store {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise Unavailable(f"the ACME store {path} is no JSON") from None
    for resolver in document.values() if isinstance(document, dict) else ():
        for entry in (resolver.get("Certificates") or ()) if isinstance(resolver, dict) else ():
            yield parse(base64.b64decode(entry["certificate"]).decode("ascii", "replace"))


def parse(pem: str) -> Certificate:
    argv = ("openssl", "x509", "-noout", "-subject", "-issuer", "-dates", "-serial", "-ext", "subjectAltName")
    try:
        said = run(Command((*argv, "-nameopt", "RFC2253")), stdin=pem.encode(), timeout=10).text
    except OpsError as error:
        raise Unavailable(f"openssl cannot read the certificate ({error.stderr_tail or error.what})") from None
    return parse_text(said)


def parse_text(said: str) -> Certificate:
    """From what `openssl x509` prints."""
    found: dict[str, Any] = {}
    names: list[str] = []
    for line in said.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith(" "):
            found[key.strip()] = value.strip()
        else:
            entries = (entry.strip().partition(":") for entry in line.split(","))
            names += [value.strip() for kind, _colon, value in entries if kind in ("DNS", "IP Address")]
    return Certificate(
        found.get("subject", ""),
        found.get("issuer", ""),
        _moment(found["notBefore"]),
        _moment(found["notAfter"]),
        found.get("serial", ""),
        tuple(names),
    )


def _moment(text: str) -> datetime.datetime:
    """`Nov 26 17:00:00 2026 GMT`."""
    return datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
