# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""An HTTP endpoint: status, JSON, headers, body, size, redirect, version, and how long it takes.

An application that says 200 while its database is down is common: the operator's own assertion (`json`, `body`, a
login that must be refused in a certain way) is what makes this a check of the application.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from ..._core.errors import Refused
from ..._core.sizes import readable
from .. import disclosed, percentiles, thresholds, web
from ..jsonpath import Missing, complaint, value_at
from ..model import CRIT, OK, Finding
from ..probe import Group, Options, Probe
from ..web import Answer, Request, Unanswered


def look(options: Options, probe: Probe) -> Iterator[Finding]:
    if not options["url"].startswith(("http://", "https://")):
        raise Refused(f"{options['url']!r} is no URL of HTTP")
    request = _request(options)
    seconds: list[float] = []
    try:
        for number in range(max(1, options["samples"])):
            if number:
                time.sleep(options["sample_delay"])
            answer = web.ask(request, probe.timeout)
            seconds.append(answer.seconds)
            wrong = list(_complaints(options, answer))
            if wrong:
                break
    except Unanswered as error:
        yield Finding(CRIT, f"{request.method} {request.url}: {error}")
        return
    if wrong:
        yield Finding(CRIT, f"{request.method} {request.url}: {'; '.join(wrong)}", answer.status)
    else:
        yield Finding(OK, f"{request.method} {request.url}: {answer.status}", answer.status)
    value, text = percentiles.said(seconds)
    yield thresholds.above(
        round(value, 4), options["latency_warn"], options["latency_crit"], text, unit="s", part="latency"
    )


def _request(options: Options) -> Request:
    url, user, password = disclosed.without_login(options["url"])
    return Request(
        url=url,
        method=options["method"],
        headers={**options["headers"], **options["secret_headers"]},
        body=options["body"].encode() if options["body"] is not None else None,
        user=options["user"] or user,
        password=options["password"] or password,
        connect_to=options["connect_to"],
        ca_file=options["ca_file"],
        validate_certs=options["validate_certs"],
        follow=options["follow_redirects"] and options["redirect"] is None,
    )


def _complaints(options: Options, answer: Answer) -> Iterator[str]:
    if options["redirect"] is not None:
        yield from _redirect(options["redirect"], answer)
    elif answer.status not in options["status"]:
        yield f"the status is {answer.status}, not {', '.join(map(str, options['status']))}"
    for name, pattern in options["expect_headers"].items():
        value = answer.headers.get(name.lower())
        if value is None or not re.search(str(pattern), value):
            yield f"the header {name} is {value!r}, which does not match {pattern!r}"
    if options["body_regex"] and not re.search(options["body_regex"], answer.body.decode(errors="replace"), re.M):
        yield f"the body does not match {options['body_regex']!r}"
    for name, broken in (
        ("min_size", len(answer.body) < (options["min_size"] or 0)),
        ("max_size", _too_long(options, answer)),
    ):
        if broken:
            yield f"the body has {readable(len(answer.body))} ({name}: {options[name]} bytes)"
    if options["json"] or options["version"]:
        yield from _json_complaints(options, answer)


def _too_long(options: Options, answer: Answer) -> bool:
    return options["max_size"] is not None and len(answer.body) > options["max_size"]


def _redirect(pattern: str, answer: Answer) -> Iterator[str]:
    location = answer.headers.get("location", "")
    if not 300 <= answer.status < 400:
        yield f"the status is {answer.status}: no redirect"
    elif not re.search(pattern, location):
        yield f"it redirects to {location!r}, which does not match {pattern!r}"


def _json_complaints(options: Options, answer: Answer) -> Iterator[str]:
    try:
        document: Any = json.loads(answer.body)
    except ValueError:
        yield "the body is no JSON"
        return
    for rule in options["json"]:
        wrong = complaint(document, rule)
        if wrong:
            yield wrong
    if options["version"]:
        try:
            served = value_at(document, options["version_path"])
        except Missing:
            yield f"{options['version_path']} is missing, so the version is not known"
        else:
            if str(served) != options["version"]:
                yield f"it is version {served}, and {options['version']} was deployed"


GROUP = Group(
    "http",
    {
        "url": {"type": "str", "required": True},
        "method": {"type": "str", "default": "GET"},
        "headers": {"type": "dict", "default": {}},
        "secret_headers": {"type": "dict", "default": {}, "no_log": True},
        "body": {"type": "str", "no_log": True},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "json": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "path": {"type": "str", "required": True},
                "equals": {"type": "str"},
                "regex": {"type": "str"},
                "min": {"type": "float"},
                "max": {"type": "float"},
            },
        },
        "expect_headers": {"type": "dict", "default": {}},
        "body_regex": {"type": "str"},
        "min_size": {"type": "int"},
        "max_size": {"type": "int"},
        "redirect": {"type": "str"},
        "follow_redirects": {"type": "bool", "default": True},
        "version": {"type": "str"},
        "version_path": {"type": "str", "default": "version"},
        "connect_to": {"type": "str"},
        "ca_file": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "samples": {"type": "int", "default": 1},
        "sample_delay": {"type": "float", "default": 0.1},
        "latency_warn": {"type": "float", "default": 0.5},
        "latency_crit": {"type": "float", "default": 2.0},
    },
    look,
    longest=lambda options, timeout: max(1, options["samples"]) * (timeout + options["sample_delay"]),
)
