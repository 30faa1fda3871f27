# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""The result in the forms that other programs read. Pure; each takes what `report.document` gives.

JSON is the document itself. JUnit: critical is a failure, unknown an error, skipped is skipped, a warning passes and
says so. Nagios: one line with performance data (https://www.monitoring-plugins.org/doc/guidelines.html).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

from .._core import prometheus as prometheus_text
from .._core.model import Json
from .model import CRIT, OK, SKIPPED, UNKNOWN, WARN, is_good, severity

RETURNED = ("junit", "markdown", "prometheus")
# 0 to 3 as the exit codes of Nagios' plugins; what was skipped is -1.
CODES = {OK: 0, WARN: 1, CRIT: 2, UNKNOWN: 3, SKIPPED: -1}
_WORDS = {OK: "OK", WARN: "WARNING", CRIT: "CRITICAL", UNKNOWN: "UNKNOWN"}


def all_of(health: Json) -> dict[str, str]:
    """By the name of the option that writes it to a file."""
    return {
        "json_file": json.dumps(health, indent=1, sort_keys=True) + "\n",
        "junit_file": junit(health),
        "markdown_file": markdown(health),
        "prometheus_file": prometheus(health),
    }


def junit(health: Json) -> str:
    """A suite, with a case for each check."""
    counts = health["counts"]
    suite = ElementTree.Element(
        "testsuite",
        name=f"health of {health['app']}-{health['instance']}",
        timestamp=health["generated"],
        tests=str(len(health["checks"])),
        failures=str(counts[CRIT]),
        errors=str(counts[UNKNOWN]),
        skipped=str(counts[SKIPPED]),
    )
    for check in health["checks"]:
        case = ElementTree.SubElement(
            suite, "testcase", classname=check["group"], name=check["id"], time=str(check["duration"])
        )
        kind = {CRIT: "failure", UNKNOWN: "error", SKIPPED: "skipped"}.get(check["status"])
        if kind:
            ElementTree.SubElement(case, kind, message=_printable(check["message"]))
        else:
            ElementTree.SubElement(case, "system-out").text = _printable(f"{check['status']}: {check['message']}")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def markdown(health: Json) -> str:
    """A table, the worst first."""
    head = f"## {health['app']}-{health['instance']}: {health['status']} ({health['generated']})"
    lines = [head, "", "| status | check | value | since | message |", "|---|---|---|---|---|"]
    for check in _worst_first(health["checks"]):
        cells = (check["status"], check["id"], _amount(check), check["since"], check["message"])
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def nagios(health: Json) -> str:
    """`CRITICAL - …|'id'=value;warn;crit`. Performance data of numbers only."""
    bad = _worst_first(check for check in health["checks"] if not is_good(check["status"]))
    said = "; ".join(f"{one['id']}: {one['message']}" for one in bad) or f"{health['counts'][OK]} checks are good"
    data = " ".join(_performance(check) for check in health["checks"] if _is_number(check["value"]))
    line = f"{_WORDS[health['status']]} - {_one_line(said)}"
    return f"{line}|{data}" if data else line


def prometheus(health: Json) -> str:
    """Gauges of this run; `day2_health_timestamp_seconds` says when it was."""
    labels = {"app": health["app"], "instance": health["instance"]}
    return "".join(f"{line}\n" for line in _gauges(health, labels))


def _gauges(health: Json, labels: dict[str, str]) -> Iterator[str]:
    def each(key: str) -> list[tuple[dict[str, str], object]]:
        return [
            ({**labels, "check": one["id"], "group": one["group"]}, one[key])
            for one in health["checks"]
            if _is_number(one[key])
        ]

    codes = [({**labels, "check": one["id"], "group": one["group"]}, CODES[one["status"]]) for one in health["checks"]]
    gauge = prometheus_text.gauge
    yield from gauge(
        "day2_health_timestamp_seconds", "When this was found, Unix time.", [(labels, health["timestamp"])]
    )
    text = "The whole: 0 ok, 1 warn, 2 crit, 3 unknown."
    yield from gauge("day2_health_status", text, [(labels, CODES[health["status"]])])
    text = "Each check: 0 ok, 1 warn, 2 crit, 3 unknown, -1 skipped."
    yield from gauge("day2_health_check_status", text, codes)
    yield from gauge("day2_health_check_value", "What the check measured, in a unit of its own.", each("value"))
    yield from gauge("day2_health_check_duration_seconds", "How long the check took.", each("duration"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _worst_first(checks: Iterable[Json]) -> list[Json]:
    return sorted(checks, key=lambda one: -severity(one["status"]))


def _amount(check: Json) -> str:
    return "" if check["value"] is None else f"{check['value']} {check['unit']}".strip()


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _performance(check: Json) -> str:
    unit = check["unit"] if check["unit"] in ("s", "%", "B") else ""
    limits = [check["thresholds"][name] for name in ("warn", "crit")]
    label = check["id"].replace("'", "").replace("=", "_").replace("|", "_")
    return f"'{label}'={check['value']}{unit};" + ";".join("" if one is None else f"{one:g}" for one in limits)


def _printable(text: str) -> str:
    """XML has no place for control characters."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)
