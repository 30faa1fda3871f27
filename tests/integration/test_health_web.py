# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what is served: real servers on the loopback address, each of them broken in its own way."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.health import look

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """What the server answers, by path; and how long it takes."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[http.server.BaseHTTPRequestHandler], Answer]] = {}
        self.delay = 0.0
        self.requests: list[tuple[str, str, str]] = []

    def says(self, path: str, status: int = 200, body: Any = "", **headers: str) -> None:
        content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.answers[path] = lambda _request: (status, {n.replace("_", "-"): v for n, v in headers.items()}, content)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            site.requests.append((self.command, self.headers.get("Host", ""), self.rfile.read(length).decode()))
            time.sleep(site.delay)
            status, headers, body = site.answers.get(self.path, lambda _request: (404, {}, b""))(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_words: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(site: Site, context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = _Server(("127.0.0.1", 0), _handler(site))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with serving(site) as port:
        yield f"http://127.0.0.1:{port}"


# http ------------------------------------------------------------------------------------------------


def test_an_answer_that_is_right(site: Site, url: str, tmp_path: Path) -> None:
    site.says("/health", body={"status": "ok", "checks": [{"ms": 12}], "version": "1.4"}, X_Frame_Options="DENY")
    rules = [{"path": "status", "equals": "ok"}, {"path": "checks[0].ms", "min": 1, "max": 50}]
    found = look(
        tmp_path,
        {
            "group": "http",
            "url": f"{url}/health",
            "json": rules,
            "expect_headers": {"X-Frame-Options": "^DENY$"},
            "version": "1.4",
            "body_regex": "ok",
            "max_size": 1000,
        },
    )
    found.is_ok("http", "200")
    found.is_ok("http/latency", "ms")
    assert not found.outcome.failed
    assert not found.outcome["changed"]
    assert 0 < found.checks["http/latency"]["value"] < 1


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"json": [{"path": "checks.database", "equals": "up"}]}, "checks.database is 'down', not 'up'"),
        ({"json": [{"path": "checks.redis", "equals": "up"}]}, "checks.redis is missing"),
        ({"json": [{"path": "checks.database", "regex": "^u"}]}, "does not match '^u'"),
        ({"json": [{"path": "queue", "max": 10}]}, "queue is 11, more than 10"),
        ({"json": [{"path": "queue", "min": 12}]}, "queue is 11, less than 12"),
        ({"json": [{"path": "status", "max": 1}]}, "not a number"),
        ({"version": "2.0"}, "it is version 1.4, and 2.0 was deployed"),
        ({"version": "2.0", "version_path": "build.id"}, "build.id is missing"),
        ({"status": [204]}, "the status is 200, not 204"),
        ({"expect_headers": {"X-Request-Id": "."}}, "the header X-Request-Id is None"),
        ({"body_regex": "fine"}, "the body does not match 'fine'"),
        ({"max_size": 5}, "max_size: 5 bytes"),
        ({"min_size": 5000}, "min_size: 5000 bytes"),
        ({"redirect": "^https:"}, "no redirect"),
    ],
)
def test_two_hundred_is_not_enough(site: Site, url: str, tmp_path: Path, rule: dict[str, Any], said: str) -> None:
    """The application says 200 while its database is down."""
    body = {"status": "degraded", "checks": {"database": "down"}, "queue": 11, "version": "1.4"}
    site.says("/health", body=body)
    look(tmp_path, {"group": "http", "url": f"{url}/health", **rule}).is_crit("http", said)


def test_no_json_no_server_and_no_answer(site: Site, url: str, tmp_path: Path) -> None:
    site.says("/text", body="OK")
    wants = {"group": "http", "json": [{"path": "status", "equals": "ok"}]}
    look(tmp_path, {**wants, "url": f"{url}/text"}).is_crit("http", "the body is no JSON")
    look(tmp_path, {**wants, "url": "http://127.0.0.1:9/"}).is_crit("http", "Connection refused")
    site.delay = 1.5
    look(tmp_path, {**wants, "url": f"{url}/text", "timeout": 0.3}).is_crit("http", "does not answer in time")


def test_a_redirect_is_seen_and_not_followed(site: Site, url: str, tmp_path: Path) -> None:
    site.says("/", 301, Location="https://example.org/")
    wanted = {"group": "http", "url": f"{url}/", "redirect": "^https://example.org/$"}
    look(tmp_path, wanted).is_ok("http")
    site.says("/", 302, Location="http://example.org/")
    look(tmp_path, wanted).is_crit("http", "it redirects to 'http://example.org/'")


def test_a_login_that_must_be_refused_in_a_certain_way(site: Site, url: str, tmp_path: Path) -> None:
    wanted = {
        "group": "http",
        "url": f"{url}/login",
        "method": "POST",
        "body": '{"user": "nobody", "password": "wr0ng-word"}',
        "headers": {"Content-Type": "application/json"},
        "secret_headers": {"X-Api-Key": "k3y-of-ours"},
        "status": [401],
        "json": [{"path": "detail", "equals": "Invalid credentials"}],
    }
    site.says("/login", 401, {"detail": "Invalid credentials"})
    look(tmp_path, wanted).is_ok("http", "POST", "401")
    assert site.requests[-1][0] == "POST"
    assert "wr0ng-word" in site.requests[-1][2]
    site.says("/login", 401, {"detail": "database is locked: wr0ng-word k3y-of-ours"})
    broken = look(tmp_path, wanted)
    broken.is_crit("http", "detail is")
    assert "wr0ng-word" not in json.dumps(broken.outcome.data)
    assert "k3y-of-ours" not in json.dumps(broken.outcome.data)


def test_what_is_secret_in_an_address_is_not_shown(site: Site, url: str, tmp_path: Path) -> None:
    site.answers["/x?token=t0ken-in-it"] = lambda request: (
        200,
        {},
        request.headers.get("Authorization", "none").encode(),
    )
    address = url.replace("://", "://app:pa55%2Fword@") + "/x?token=t0ken-in-it"
    found = look(tmp_path, {"group": "http", "url": address, "body_regex": "^Basic YXBwOnBhNTUvd29yZA==$"})
    found.is_ok("http")
    shown = json.dumps(found.outcome.data)
    assert not [one for one in ("pa55", "t0ken-in-it") if one in shown], shown


def test_latency_is_that_of_many_answers(site: Site, url: str, tmp_path: Path) -> None:
    site.says("/", body="x")
    many = {"group": "http", "url": f"{url}/", "samples": 20, "sample_delay": 0.0, "latency_warn": 0.02}
    few = {**many, "samples": 3, "latency_warn": 0.5, "latency_crit": 0.05}
    fast = look(tmp_path, {**many, "latency_warn": 0.5})
    fast.is_ok("http/latency", "p50", "p95", "p99", "of 20 answers")
    site.delay = 0.06
    slow = look(tmp_path, many)
    assert slow.status("http/latency") == "warn"
    assert slow.health["status"] == "warn"
    assert not slow.outcome.failed
    look(tmp_path, few).is_crit("http/latency", "the slowest of 3 answers")


def test_another_address_with_the_names_own_certificate(site: Site, tmp_path: Path, authority: Authority) -> None:
    site.says("/", body="x")
    with serving(site, authority.context("shop.example.org")) as port:
        wanted = {"group": "http", "url": f"https://shop.example.org:{port}/", "connect_to": "127.0.0.1"}
        look(tmp_path, {**wanted, "ca_file": str(authority.file)}).is_ok("http")
        assert site.requests[-1][1] == f"shop.example.org:{port}"
        look(tmp_path, wanted).is_crit("http", "its certificate is refused")
        look(tmp_path, {**wanted, "validate_certs": False}).is_ok("http")


# tls -------------------------------------------------------------------------------------------------


class Authority:
    """Makes certificates with openssl."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.file = directory, directory / "ca.pem"
        self._key = directory / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(self._key), "-out", str(self.file),
            "-subj", "/CN=Test authority", "-days", "30",
        )  # fmt: skip

    def make(self, name: str, begins: float, ends: float, called: str = "") -> tuple[Path, Path]:
        """Certificate and key; `begins` and `ends` in days from now."""
        stem = self.directory / (called or name)
        key, request, pem = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem"))
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        self._openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}"
        )
        database = self.directory / "index.txt"
        database.write_text("")
        (self.directory / "ca.conf").write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
            f"unique_subject=no\nnew_certs_dir={self.directory}\n[any]\ncommonName=supplied\n"
        )
        times = [
            (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=one)) for one in (begins, ends)
        ]
        start, end = (one.strftime("%Y%m%d%H%M%SZ") for one in times)
        self._openssl(
            "ca", "-batch", "-notext", "-config", str(self.directory / "ca.conf"), "-cert", str(self.file),
            "-keyfile", str(self._key), "-in", str(request), "-out", str(pem), "-startdate", start, "-enddate", end,
            "-extfile", str(extensions),
        )  # fmt: skip
        return pem, key

    def context(self, name: str, begins: float = -1, ends: float = 60, called: str = "") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.make(name, begins, ends, called))
        return context

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _tls(port: int, authority: Authority, **more: Any) -> dict[str, Any]:
    trusted = {"server_name": "localhost", "ca_file": str(authority.file)}
    return {"group": "tls", "host": "127.0.0.1", "port": port, **trusted, **more}


@pytest.mark.parametrize(
    ("begins", "ends", "status"),
    [(-1, 60, "ok"), (-60, 20, "warn"), (-60, 5, "crit"), (-2, 4, "ok"), (-5, 1.5, "warn"), (-5.5, 0.5, "crit")],
)
def test_days_left_and_the_share_of_a_short_lifetime(
    site: Site, authority: Authority, tmp_path: Path, begins: float, ends: float, status: str
) -> None:
    with serving(site, authority.context("localhost", begins, ends)) as port:
        found = look(tmp_path, _tls(port, authority))
    found.is_ok("tls", "TLSv1", "localhost")
    assert found.status("tls/days") == status
    assert abs(found.checks["tls/days"]["value"] - ends) < 0.1


def test_a_certificate_that_clients_refuse(site: Site, authority: Authority, tmp_path: Path) -> None:
    with serving(site, authority.context("localhost", -30, -1)) as port:
        expired = look(tmp_path, _tls(port, authority))
        expired.is_crit("tls", "certificate has expired")
        expired.is_crit("tls/days", "ended at")
        look(tmp_path, _tls(port, authority, server_name="other.example")).is_crit("tls", "refuses the certificate")
    with serving(site, authority.context("localhost")) as port:
        wrong = _tls(port, authority, server_name="other.example")
        look(tmp_path, wrong).is_crit("tls", "Hostname mismatch")
        unknown = _tls(port, authority)
        del unknown["ca_file"]
        look(tmp_path, unknown).is_crit("tls", "unable to get local issuer certificate")
    look(tmp_path, _tls(9, authority)).is_crit("tls", "no TLS connection")


def test_a_renewed_file_that_was_not_loaded(site: Site, authority: Authority, tmp_path: Path) -> None:
    with serving(site, authority.context("localhost", -50, 40, "old")) as port:
        served = authority.directory / "old.pem"
        newer, _key = authority.make("localhost", -1, 89, "renewed")
        same = look(tmp_path, _tls(port, authority, certificate_files=[str(served)]))
        same.is_ok(f"tls/{served}", "ends in 40.0 days")
        found = look(tmp_path, _tls(port, authority, certificate_files=[str(newer)]))
        found.is_crit(f"tls/{newer}", "is newer than what is served: it was not loaded")


def test_the_store_of_an_acme_client(authority: Authority, tmp_path: Path) -> None:
    import base64

    pem, _key = authority.make("shop.example.org", -80, 10, "acme")
    store = tmp_path / "acme.json"
    encoded = base64.b64encode(pem.read_bytes()).decode()
    entry = {"domain": {"main": "shop.example.org"}, "certificate": encoded, "key": "", "Store": "default"}
    store.write_text(json.dumps({"letsencrypt": {"Account": {}, "Certificates": [entry]}}))
    store.chmod(0o600)
    wanted = {"group": "tls", "acme_file": str(store)}
    look(tmp_path, wanted).is_crit("tls/acme", "shop.example.org", "ends in 10.0 days")
    store.chmod(0o644)
    look(tmp_path, wanted).is_crit("tls/acme", "has mode 0644", "0600")
    store.write_text("{")
    unknown = look(tmp_path, wanted)
    assert unknown.status("tls") == "unknown"
    assert "is no JSON" in unknown.message("tls")
    assert unknown.outcome.failed
    assert not look(tmp_path, wanted, allow_unknown=True).outcome.failed


# dns -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def resolver(records: dict[tuple[str, int], list[bytes]]) -> Iterator[int]:
    """A name server of the test's own: answers what it knows, else that there is no such name."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            labels, at = [], 12
            while data[at]:
                labels.append(data[at + 1 : at + 1 + data[at]].decode())
                at += data[at] + 1
            question, kind = data[12 : at + 5], struct.unpack(">H", data[at + 1 : at + 3])[0]
            found = records.get((".".join(labels), kind), [])
            flags = 0x8580 if found else 0x8583
            answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(one)) + one for one in found)
            socket.sendto(
                data[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + question + answers, self.client_address
            )

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_what_a_name_resolves_to(tmp_path: Path) -> None:
    look(tmp_path, {"group": "dns", "name": "localhost", "equals": ["127.0.0.1"]}).is_ok("dns")
    look(tmp_path, {"group": "dns", "name": "localhost", "equals": ["10.0.0.1"]}).is_crit("dns", "expected 10.0.0.1")
    look(tmp_path, {"group": "dns", "name": "no-such-name.invalid"}).is_crit("dns", "no-such-name.invalid")


def test_a_resolver_that_still_says_the_old_address(tmp_path: Path) -> None:
    name = "shop.example.org"
    with (
        resolver({(name, 1): [bytes([192, 0, 2, 1])], (name, 16): [b"\x0bv=spf1 -all"]}) as new,
        resolver({(name, 1): [bytes([192, 0, 2, 9])]}) as old,
    ):
        at = [f"127.0.0.1#{port}" for port in (new, old)]
        found = look(tmp_path, {"group": "dns", "name": name, "equals": ["192.0.2.1"], "resolvers": at})
        found.is_ok(f"dns/{at[0]}")
        found.is_crit(f"dns/{at[1]}", "192.0.2.9", "expected 192.0.2.1")
        text = {"group": "dns", "name": name, "type": "TXT", "contains": ["v=spf1 -all"], "resolvers": at[:1]}
        look(tmp_path, text).is_ok(f"dns/{at[0]}")
        gone = {"group": "dns", "name": "gone.example.org", "resolvers": at[:1]}
        look(tmp_path, gone).is_crit(f"dns/{at[0]}", "no record")


# command ---------------------------------------------------------------------------------------------


def test_a_program_that_says_no(tmp_path: Path) -> None:
    good = {"group": "command", "argv": ["sh", "-c", "echo valid; exit 3"], "exit_codes": [0, 3], "output": "^valid$"}
    look(tmp_path, good).is_ok("command", "valid")
    look(tmp_path, {**good, "exit_codes": [0]}).is_crit("command", "ended with 3, not 0")
    look(tmp_path, {**good, "output": "^invalid$"}).is_crit("command", "does not match")
    look(tmp_path, {"group": "command", "argv": ["sleep", "5"], "timeout": 0.3}).is_crit("command", "0.3")
    missing = look(tmp_path, {"group": "command", "argv": ["no-such-program"]})
    assert missing.status("command") == "unknown"
    assert "is not installed" in missing.message("command")


def test_a_program_that_never_stops_to_talk(tmp_path: Path) -> None:
    """Its output is read, and not kept."""
    endless = {"group": "command", "argv": ["yes"], "timeout": 1}
    look(tmp_path, endless).is_crit("command", "yes did not end within 1 s")
    long = {"group": "command", "argv": ["sh", "-c", "head -c 50000000 /dev/zero; echo"]}
    assert len(look(tmp_path, long).message("command")) < 1000


def test_what_a_program_is_given_is_secret(tmp_path: Path) -> None:
    argv = ["sh", "-c", 'echo "it has $TOKEN"']
    found = look(tmp_path, {"group": "command", "argv": argv, "environment": {"TOKEN": "t0ken-of-ours"}})
    found.is_ok("command", "it has ")
    assert "t0ken-of-ours" not in json.dumps(found.outcome.data)


# logs ------------------------------------------------------------------------------------------------


def _log(path: Path, *lines: tuple[float, str]) -> dict[str, Any]:
    """Lines with their age in minutes."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamped = [
        f"{(now - datetime.timedelta(minutes=age)).isoformat(timespec='milliseconds')} {text}" for age, text in lines
    ]
    path.write_text("\n".join(stamped) + "\n")
    return {"group": "logs", "path": str(path)}


def test_what_is_logged_in_a_period(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    lines = ((60, "ERROR old"), (3, "INFO fine request=abc"), (2, "ERROR broken request=abc"), (1, "INFO fine"))
    wanted = {**_log(file, *lines), "pattern": "ERROR"}
    found = look(tmp_path, wanted)
    found.is_ok("logs", "3 lines")
    assert found.status("logs/pattern") == "warn"
    assert "1 of 3 lines" in found.message("logs/pattern")
    assert "broken" in found.message("logs/pattern")
    look(tmp_path, {**wanted, "count_crit": 1}).is_crit("logs/pattern")
    look(tmp_path, {**wanted, "period": "2h", "count_crit": 2}).is_crit("logs/pattern", "2 of 4 lines")
    related = look(tmp_path, {**wanted, "pattern": None, "correlation_id": "request=abc"})
    assert related.message("logs/correlation").count("request=abc") == 3
    none = look(tmp_path, {**_log(file, (60, "old")), "pattern": "ERROR"})
    assert none.status("logs") == "warn"
    assert "nothing was logged in the last 15m" in none.message("logs")


def test_slow_requests_of_json_and_of_text(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    rows = [{"time": time.time(), "http": {"ms": ms}} for ms in (20, 30, 40, 4000)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = {"group": "logs", "path": str(file), "duration_field": "http.ms", "duration_unit": "ms"}
    look(tmp_path, wanted).is_crit("logs/slow", "1 of 4 requests took 1 s or more, the slowest 4.00 s")
    look(tmp_path, {**wanted, "slow_limit": 5}).is_ok("logs/slow")
    text = {**_log(file, (1, "GET / duration=0.02"), (1, "GET / duration=2.5")), "duration_field": "duration"}
    look(tmp_path, text).is_crit("logs/slow", "1 of 2 requests")
    wrong = look(tmp_path, {**text, "duration_field": "took"})
    assert wrong.status("logs/slow") == "warn"
    missing = look(tmp_path, {"group": "logs", "path": str(tmp_path / "none.log")})
    assert missing.status("logs") == "unknown"
