# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Secrets that stand in a URL or in what is sent: a server may say them again, and so would a result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit, urlunsplit

SHORTEST = 4  # characters; struck out of results, a shorter one would make holes in everything

_NAME = re.compile(r"pass|secret|token|key|pwd|signature", re.I)
_SENT = re.compile(r'"?(\w*(?:pass|secret|token|key|pwd)\w*)"?\s*[:=]\s*"?([^"&,}\s]{4,})', re.I)


def in_checks(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Of all entries of `checks`."""
    return {value for entry in entries for value in _in_entry(entry) if len(value) >= SHORTEST}


def _in_entry(entry: Mapping[str, Any]) -> Iterator[str]:
    url = str(entry.get("url") or "")
    try:
        password, query = urlsplit(url).password, urlsplit(url).query
    except ValueError:  # no URL at all; the check says so
        return
    yield from (password or "", unquote(password or ""))
    yield from (value for name, value in parse_qsl(query) if _NAME.search(name))
    for _name, value in _SENT.findall(str(entry.get("body") or "")):
        yield from (value, unquote_plus(value))


def without_login(url: str) -> tuple[str, Optional[str], Optional[str]]:
    """A URL without user and password, and these."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare), unquote(parts.username), unquote(parts.password or "")
