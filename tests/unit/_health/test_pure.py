# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no server: limits, percentiles, paths in JSON, times in lines, certificates as openssl prints them, judging."""

from __future__ import annotations

import datetime
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.day2.ops.plugins.module_utils._core import clock
from ansible_collections.day2.ops.plugins.module_utils._core.model import App
from ansible_collections.day2.ops.plugins.module_utils._health import (
    certificates,
    check,
    disclosed,
    history,
    jsonpath,
    lines,
    model,
    outputs,
    percentiles,
    registry,
    report,
    running,
    thresholds,
)
from ansible_collections.day2.ops.plugins.module_utils._health.groups import backups, containers, mongodb
from ansible_collections.day2.ops.plugins.module_utils._health.model import Finding, Result
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("value", "status"), [(79.9, "ok"), (80, "warn"), (94.9, "warn"), (95, "crit"), (1000, "crit")]
)
def test_more_is_worse(value: float, status: str) -> None:
    assert thresholds.above(value, 80, 95, "").status == status


@pytest.mark.parametrize(("value", "status"), [(30.1, "ok"), (30, "warn"), (14.1, "warn"), (14, "crit"), (-1, "crit")])
def test_less_is_worse(value: float, status: str) -> None:
    assert thresholds.below(value, 30, 14, "").status == status


def test_no_limit_is_no_limit() -> None:
    assert thresholds.above(1e9, None, None, "").status == "ok"
    assert thresholds.above(1e9, None, 5, "").status == "crit"
    assert thresholds.below(-1e9, 5, None, "").status == "warn"


def test_the_worst_of_them() -> None:
    order = ["skipped", "ok", "warn", "unknown", "crit"]
    for number in range(1, 5):
        assert model.worst(order[: number + 1]) == order[number]
    assert model.worst([]) == "ok"
    assert model.worst(["skipped"]) == "ok"


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentiles.percentile(values, share) for share in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentiles.percentile([7.0], 95) == 7
    assert percentiles.said([0.1, 0.3, 0.2])[0] == 0.3
    assert percentiles.said([0.1] * 19 + [5.0])[0] == 0.1


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", {"b": [1, {"c": None}]}), ("a.b[0]", 1), ("a.b.0", 1), ("$.a.b[1].c", None), ("x y", True), ("", "whole")],
)
def test_a_path_in_json(path: str, value: Any) -> None:
    document = {"a": {"b": [1, {"c": None}]}, "x y": True}
    assert jsonpath.value_at(document, path) == (document if value == "whole" else value)


@pytest.mark.parametrize("path", ["b", "a.c", "a.b[2]", "a.b.x", "x y.z"])
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(jsonpath.Missing):
        jsonpath.value_at({"a": {"b": [1, 2]}, "x y": True}, path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(json_values, st.text(max_size=12), st.floats(allow_nan=False), st.text(max_size=4))
def test_a_rule_is_judged_whatever_the_document_is(document: Any, path: str, limit: float, text: str) -> None:
    for rule in ({"equals": text}, {"min": limit}, {"max": limit}):
        said = jsonpath.complaint(document, {"path": path, **rule})
        assert said is None or path in said


def test_equals_compares_as_json_writes_it() -> None:
    document = {"yes": True, "none": None, "number": 3, "text": "3"}
    for path, text in (("yes", "true"), ("none", "null"), ("number", "3"), ("text", "3")):
        assert jsonpath.complaint(document, {"path": path, "equals": text}) is None
    assert jsonpath.complaint(document, {"path": "yes", "min": 0}) == "yes is 'true', not a number"


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-11-26T12:00:00Z x", NOW),
        ("x 2026-11-26 12:00:00,123 y", NOW),
        ("2026-11-26T13:00:00+01:00", NOW),
        ("2026-11-26T13:00:00.5+0100", NOW),
        ('{"time": 1795694400}', NOW),
        ('{"ts": 1795694400000}', NOW),
        ('{"timestamp": "2026-11-26T12:00:00Z", "m": "2020-01-01T00:00:00Z"}', NOW),
        ("no time", None),
        ("2026-13-45T99:00:00Z", None),
        ('{"time": "yesterday"}', None),
    ],
)
def test_the_time_of_a_line(line: str, moment: datetime.datetime | None) -> None:
    assert lines.moment_of(line) == moment


@given(st.text())
def test_any_line_can_be_read(line: str) -> None:
    moment = lines.moment_of(line)
    assert moment is None or moment.tzinfo is not None


SAID = """subject=CN=shop.example.org
issuer=CN=R11,O=Let's Encrypt,C=US
notBefore=Oct 27 17:00:00 2026 GMT
notAfter=Jan  5 17:00:00 2027 GMT
serial=04AB
X509v3 Subject Alternative Name: 
    DNS:shop.example.org, DNS:www.shop.example.org, IP Address:192.0.2.1
"""  # noqa: W291


def test_a_certificate_as_openssl_prints_it() -> None:
    found = certificates.parse_text(SAID)
    assert found.names == ("shop.example.org", "www.shop.example.org", "192.0.2.1")
    assert found.lifetime == datetime.timedelta(days=70)
    assert (found.serial, found.issuer) == ("04AB", "CN=R11,O=Let's Encrypt,C=US")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"url": "https://u:p4ss%20word@h/"}, {"p4ss%20word", "p4ss word"}),
        ({"url": "https://h/?api_key=abcd&page=2"}, {"abcd"}),
        ({"body": '{"user": "me", "Password": "s3cret"}'}, {"s3cret"}),
        ({"body": "user=me&password=s3%2Bcret"}, {"s3%2Bcret", "s3+cret"}),
        ({"url": "https://[h/", "body": None}, set()),
        ({"group": "host"}, set()),
    ],
)
def test_secrets_in_what_is_asked(given: dict[str, Any], found: set[str]) -> None:
    assert disclosed.in_checks([given]) == found


def entry(number: int, hours: float, size: int, proof: float | None = None) -> Any:
    started = NOW - datetime.timedelta(hours=hours)
    proofs = []
    if proof is not None:
        proofs = [{"whole": True, "finished": clock.text(NOW - datetime.timedelta(hours=proof))}]
    return SimpleNamespace(
        id=f"b{number}",
        age=lambda now: int((now - started).total_seconds()),
        data={"main": "x"},
        proofs=proofs,
        summary=SimpleNamespace(parts=[SimpleNamespace(bytes=size)]),
    )


def judged(*entries: Any, **options: Any) -> dict[str, Finding]:
    defaults = {name: rule.get("default") for name, rule in backups.GROUP.options.items()}
    return {one.part: one for one in backups.judged({**defaults, **options}, entries, NOW)}


def test_backups_are_judged_by_age_size_and_proof() -> None:
    assert judged()[""].status == "crit"
    good = judged(*(entry(n, 5 + 24 * n, 1000, proof=30) for n in range(5)))
    assert {one.status for one in good.values()} == {"ok"}
    assert judged(entry(1, 30, 1000))[""].status == "warn"
    assert judged(entry(1, 51, 1000))[""].status == "crit"
    others = [entry(n, 24 * n, 1000) for n in range(1, 5)]
    assert judged(entry(0, 1, 499), *others)["size"].status == "warn"
    assert judged(entry(0, 1, 501), *others)["size"].status == "ok"
    assert "size" not in judged(entry(0, 1, 499), *others[:2])
    assert judged(entry(0, 1, 1))["proof"].status == "warn"
    assert judged(entry(0, 1, 1, proof=24 * 9))["proof"].status == "warn"
    assert judged(entry(0, 1, 1, proof=24 * 36))["proof"].status == "crit"


def test_a_replica_set_as_the_server_describes_it() -> None:
    """In the form that MongoDB's manual gives (replSetGetStatus); the test bed's server has no replica sets."""

    def members(*states: tuple[str, int, float]) -> dict[str, Any]:
        return {
            "members": [
                {
                    "name": f"m{number}:27017",
                    "health": health,
                    "stateStr": state,
                    "optimeDate": NOW - datetime.timedelta(seconds=behind),
                }
                for number, (state, health, behind) in enumerate(states)
            ]
        }

    options = {"lag_warn": 30, "lag_crit": 300}

    def found(*states: tuple[str, int, float]) -> dict[str, str]:
        return {one.part: one.status for one in mongodb.replication(options, members(*states))}

    assert found(("PRIMARY", 1, 0), ("SECONDARY", 1, 2)) == {"replication": "ok"}
    assert found(("PRIMARY", 1, 0), ("SECONDARY", 1, 40)) == {"replication": "warn"}
    assert found(("PRIMARY", 1, 0), ("SECONDARY", 1, 400)) == {"replication": "crit"}
    assert found(("SECONDARY", 1, 0), ("SECONDARY", 1, 0)) == {"replication": "crit"}
    assert found(("PRIMARY", 1, 0), ("(not reachable/healthy)", 0, 0)) == {"members": "crit"}


def test_no_id_is_there_twice(tmp_path: Path) -> None:
    group = registry.GROUPS["host"]
    found = [Finding("ok", "", part="disk"), Finding("crit", "", part="disk"), Finding("ok", "")]
    outcome = running.Outcome(running.Check("host", group, {}), found)
    seen = check._believed(outcome, history.History(tmp_path / "health.json"))
    assert [one.id for one in seen] == ["host/disk", "host/disk 2", "host"]


def test_history_keeps_what_other_runs_have_seen(tmp_path: Path) -> None:
    path = tmp_path / "state" / "health.json"
    first = history.History(path)
    first.believe("a", Finding("crit", ""), 1)
    first.remember("a", {"count": 1})
    first.save()
    second = history.History(path)
    second.believe("b", Finding("ok", ""), 1)
    second.save()
    third = history.History(path)
    assert third.remembered("a")[0] == {"count": 1}
    assert third.remembered("b") == ({}, None)
    third.now += datetime.timedelta(seconds=5)
    assert third.believe("a", Finding("crit", ""), 1)[1] == clock.text(first.now)
    assert third.believe("b", Finding("crit", ""), 1)[1] == clock.text(third.now)
    third.now += history.KEPT
    third._seen.clear()
    third.save()
    assert history.History(path).remembered("a") == ({}, None)
    path.write_text("{damaged")
    assert history.History(path).remembered("a") == ({}, None)


def result(identifier: str, status: str, required: bool = True, value: Any = None) -> Result:
    return Result(identifier, "command", required, Finding(status, f"{identifier} says {status}", value), 0.1, 1, "")


@pytest.mark.parametrize(
    ("status", "required", "fail_on", "allow", "fails"),
    [
        ("crit", True, "crit", False, True),
        ("crit", False, "crit", False, False),
        ("crit", False, "warn", False, True),
        ("crit", True, "never", False, False),
        ("warn", True, "crit", False, False),
        ("warn", True, "warn", False, True),
        ("unknown", True, "crit", False, True),
        ("unknown", True, "crit", True, False),
        ("unknown", False, "crit", False, False),
        ("unknown", True, "never", False, False),
        ("skipped", True, "warn", False, False),
    ],
)
def test_when_a_run_fails(status: str, required: bool, fail_on: str, allow: bool, fails: bool) -> None:
    app = App("booking", "production")
    said = report.failure(app, [result("good", "ok"), result("one", status, required)], fail_on, allow)
    assert bool(said) == fails
    assert ("one is" in said) == fails


def test_nagios_quotes_and_cuts_nothing_out() -> None:
    app = App("booking", "production")
    health = report.document(app, [result("it's=a|b", "warn", value=1.5), result("c", "ok", value="text")], NOW)
    line = outputs.nagios(health)
    assert line == "WARNING - it's=a/b: it's=a/b says warn|'its_a_b'=1.5;;"
    assert "'c'=" not in line


def test_every_option_of_every_group_has_one_meaning() -> None:
    """The module's spec is the union of all groups' options; each is documented, and says whose it is."""
    module = importlib.import_module("ansible_collections.day2.ops.plugins.modules.health_check")
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]["checks"]["suboptions"]
    spec = check.spec()
    assert set(documented) == set(spec)
    stores = {"mariadb", "mysql", "postgresql", "mongodb", "redis", "sqlite"}
    for name, rule in spec.items():
        text = " ".join(documented[name]["description"])
        owners = {group for group, one in registry.GROUPS.items() if name in one.options}
        for owner in owners:
            assert owner in text or (owner in stores and "datastores" in text), (name, owner)
        if owners:
            defaults = {
                registry.GROUPS[group].options[name].get("default")
                for group in owners
                if not isinstance(registry.GROUPS[group].options[name].get("default"), (list, dict))
            }
            for default in defaults - {None}:
                shown = (
                    str(default).lower()
                    if isinstance(default, bool)
                    else f"{default:g}"
                    if isinstance(default, float)
                    else str(default)
                )
                assert f"V({shown})" in text, (name, default)
        assert rule["type"] == documented[name]["type"], name


def test_containers_and_the_datastore_that_they_serve() -> None:
    store = SimpleNamespace(name="main", options={"container": "booking/db"})
    probe: Any = SimpleNamespace(scene=SimpleNamespace(engines={"main": SimpleNamespace(datastore=store)}))
    assert containers._served(probe) == {"booking/db": "main"}
