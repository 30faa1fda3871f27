# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One HTTP request by the standard library, to the address that a name stands for or to another one."""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Optional

LARGEST = 8 << 20  # bytes of a body that are read


class Unanswered(Exception):
    """There was no HTTP answer; the text says why."""


@dataclasses.dataclass(frozen=True)
class Request:
    """`connect_to`: the address that is connected to, whatever the URL's host is; names and certificate stay its own."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: Optional[bytes] = None
    user: Optional[str] = None
    password: Optional[str] = dataclasses.field(default=None, repr=False)
    connect_to: Optional[str] = None
    ca_file: Optional[str] = None
    validate_certs: bool = True
    follow: bool = True


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    seconds: float
    url: str


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, connect_to: Optional[str]) -> None:
        super().__init__()
        self._connect_to = connect_to

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_connection, http.client.HTTPConnection, self._connect_to), req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, connect_to: Optional[str], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._connect_to, self._trust = connect_to, context

    def https_open(self, req: urllib.request.Request) -> Any:
        made = functools.partial(_connection, http.client.HTTPSConnection, self._connect_to, context=self._trust)
        return self.do_open(made, req)


def _connection(kind: Any, connect_to: Optional[str], host: str, **options: Any) -> Any:
    connection = kind(host, **options)
    if connect_to:

        def elsewhere(address: tuple[str, int], timeout: Any, source: Any = None) -> socket.socket:
            return socket.create_connection((connect_to, address[1]), timeout, source)

        connection._create_connection = elsewhere
    return connection


def trust(ca_file: Optional[str], validate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def ask(request: Request, timeout: float) -> Answer:
    """The answer, whatever its status is."""
    handlers: list[Any] = [
        urllib.request.ProxyHandler({}),  # a check looks at the server itself
        _Plain(request.connect_to),
        _Secure(request.connect_to, trust(request.ca_file, request.validate_certs)),
    ]
    opener = urllib.request.build_opener(*handlers, *(() if request.follow else (_Stay,)))
    headers = {"User-Agent": "day2.ops", "Accept": "*/*", **request.headers}
    if request.user is not None:
        login = f"{request.user}:{request.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    made = urllib.request.Request(request.url, request.body, headers, method=request.method)
    begun = time.monotonic()
    try:
        with opener.open(made, timeout=timeout) as answer:
            return _read(answer, begun)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error, begun)
    except urllib.error.URLError as error:
        raise Unanswered(_reason(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unanswered(_reason(error)) from None


def _read(answer: Any, begun: float) -> Answer:
    body = answer.read(LARGEST)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status, headers, body, time.monotonic() - begun, answer.url)


def _reason(error: Any) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
