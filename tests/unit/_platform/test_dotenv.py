# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Env files: read as their readers do, changed without touching the rest, merged without losing a rotation."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._platform import dotenv, systemd
from ansible_collections.day2.ops.plugins.module_utils._platform.dotenv import DotEnv

# What Compose 2.26 and 2.40 read, measured; where python-dotenv or sh differ it is Compose that counts.
READ = [
    ("A=b\n", {"A": "b"}),
    ("A=b c\n", {"A": "b c"}),
    ("A=b # c\n", {"A": "b"}),
    ("A=b#c\n", {"A": "b#c"}),
    ("A=#c\n", {"A": "#c"}),
    ('A="b c" # d\n', {"A": "b c"}),
    ("A='b$c'\n", {"A": "b$c"}),
    ("B=1\nA=$B\n", {"B": "1", "A": "1"}),
    ('B=1\nA="x${B}y"\n', {"B": "1", "A": "x1y"}),
    ("B=1\nA='x${B}y'\n", {"B": "1", "A": "x${B}y"}),
    ("A=${B:-x}\n", {"A": "x"}),
    ("A=${B:-${C:-x}}y\n", {"A": "xy"}),
    ("B=\nA=${B-x}${B:-y}${B+z}\n", {"B": "", "A": "yz"}),
    ('A="a\\nb"\n', {"A": "a\nb"}),
    ('A="a\\"b"\n', {"A": 'a"b'}),
    ('A="a\\\\b"\n', {"A": "a\\b"}),
    ("A='a\\b'\n", {"A": "a\\b"}),
    ('A="a\\$b"\n', {"A": "a$b"}),
    ('A="l1\nl2"\nB=1\n', {"A": "l1\nl2", "B": "1"}),
    ("export A=b\n", {"A": "b"}),
    ("A = b\n", {"A": "b"}),
    ("  A=b\n", {"A": "b"}),
    ("A=\n", {"A": ""}),
    ("A\n", {}),
    ("A: b\n", {"A": "b"}),
    ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
    ("A=b=c\n", {"A": "b=c"}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("# A=1\n\nB=2", {"B": "2"}),
    ('A="unclosed\nB=2\n', {"A": '"unclosed', "B": "2"}),
    ('A="a" b\n', {"A": "a"}),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_file_is_read_as_compose_reads_it(text: str, expected: dict[str, str]) -> None:
    assert DotEnv.parse(text).values() == expected
    assert DotEnv.parse(text).text == text


def test_a_bare_dollar_of_a_password_stays_where_no_such_variable_is_known() -> None:
    assert DotEnv.parse("P=pa$word\n").values() == {"P": "pa$word"}
    assert DotEnv.parse("P=pa$word\n").values({"word": "x"}) == {"P": "pax"}


def test_a_change_touches_its_line_only() -> None:
    text = "# first\nexport A='old'  # keep me\n\nB = 2\nC=\"x\ny\"\nlast=1"
    file = DotEnv.parse(text)
    assert file.change("A", "new one")
    assert file.change("D", "4")
    assert file.text == "# first\nexport A='new one' # keep me\n\nB = 2\nC=\"x\ny\"\nlast=1\nD=4\n"
    assert file.remove("C")
    assert file.text == "# first\nexport A='new one' # keep me\n\nB = 2\nlast=1\nD=4\n"


def test_setting_the_value_that_is_there_changes_nothing() -> None:
    text = 'A="b"\nP="a b" # c\n'
    file = DotEnv.parse(text)
    assert not file.change("A", "b")
    assert not file.change("P", "a b")
    assert file.text == text


def test_a_value_that_is_literal_now_is_not_left_to_be_expanded() -> None:
    file = DotEnv.parse("A=x$HOME\n")
    assert file.change("A", "x$HOME")
    assert file.text == "A='x$HOME'\n"


def test_a_name_that_stands_twice_is_changed_twice() -> None:
    file = DotEnv.parse("A=1\nB=2\nA=3\n")
    file.change("A", "9")
    assert file.text == "A=9\nB=2\nA=9\n"


def test_line_ends_of_windows_stay() -> None:
    file = DotEnv.parse("A=1\r\nB=2\r\n")
    file.change("A", "9")
    file.change("C", "3")
    assert file.text == "A=9\r\nB=2\r\nC=3\r\n"


# Writing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", ""),
        ("abc-_.~:/@%+,=9", "abc-_.~:/@%+,=9"),
        ("~x", "'~x'"),
        ("a b", "'a b'"),
        ("a#b", "'a#b'"),
        ("pa$$word", "'pa$$word'"),
        ('say "x"', "'say \"x\"'"),
        ("it's", '"it\'s"'),
        ('it\'s "x" \\ y', '"it\'s \\"x\\" \\\\ y"'),
        ("ends\\", '"ends\\\\"'),
    ],
)
def test_a_value_is_quoted_so_that_all_readers_agree(value: str, written: str) -> None:
    assert dotenv.quote("A", value) == written
    assert DotEnv.parse(f"A={written}\n").values() == {"A": value}


@pytest.mark.parametrize("value", ["a\nb", "it's $5", "${A}", "`it's`", "a\x00b", "x\\\\$y"])
def test_a_value_that_readers_would_understand_differently_is_refused_unseen(value: str) -> None:
    with pytest.raises(Refused, match="PASSWORD") as error:
        dotenv.quote("PASSWORD", value)
    assert value not in str(error.value)


def test_sh_and_systemd_read_what_was_written() -> None:
    # Compose and python-dotenv were asked the same of 2,906 such values, and agreed.
    chooser = random.Random(5)
    alphabet = "ab1_.~:/@%+,=-\\\\\\'\"$$`#!&; *?()<>|[]\tä^"
    wanted: dict[str, str] = {}
    lines = []
    for number in range(600):
        value = "".join(chooser.choice(alphabet) for _ in range(chooser.randint(0, 7)))
        try:
            lines.append(f"V{number}={dotenv.quote('V', value)}\n")
        except Refused:
            continue
        wanted[f"V{number}"] = value
    assert len(wanted) > 400
    text = "".join(lines)
    assert DotEnv.parse(text).values() == wanted
    assert systemd.parse_environment_file(text) == wanted
    script = ["env", "-i", "sh", "-c", 'set -a; eval "$1"; exec env -0', "sh", text]
    output = subprocess.run(script, capture_output=True, check=True).stdout.decode()
    seen = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    assert {name: seen.get(name) for name in wanted} == wanted


@pytest.mark.skipif(not shutil.which("docker"), reason="Compose's own reading needs the docker client")
def test_compose_reads_what_was_written(tmp_path: Path) -> None:
    values = {"A": 'it\'s "x" \\ y', "B": "pa$$word $HOME #1", "C": "~a b", "D": "ends\\", "E": "ä ☃"}
    file = DotEnv()
    for name, value in values.items():
        file.change(name, value)
    (tmp_path / "x.env").write_text(file.text)
    (tmp_path / "compose.yml").write_text("services: {a: {image: x, env_file: [x.env]}}\n")
    argv = ["docker", "compose", "-f", str(tmp_path / "compose.yml"), "config", "--format", "json"]
    answer = subprocess.run(argv, capture_output=True, check=False)
    if answer.returncode:
        pytest.skip("no Compose plugin")
    from ansible_collections.day2.ops.plugins.module_utils._platform.compose import parse_services

    assert parse_services(answer.stdout)["a"].environment == values


# Merging --------------------------------------------------------------------------------------------


def test_a_variable_that_the_live_file_has_keeps_its_live_value() -> None:
    live = "# of today\nDB_PASSWORD='rotated#1'\nDEBUG=\nexport TZ=UTC # zone\n"
    restored = 'DB_PASSWORD=retired\nDEBUG=1\nTZ=CET\nSMTP_HOST=mail # was lost\nMAIL="a b"\n'
    merged = dotenv.merge(live, restored)
    assert merged == live + 'SMTP_HOST=mail # was lost\nMAIL="a b"\n'
    assert "retired" not in merged


def test_a_live_value_in_yaml_style_counts_as_there() -> None:
    assert dotenv.merge("A: rotated\n", "A=retired\n") == "A: rotated\n"


def test_a_live_file_without_a_last_line_end_is_not_run_together() -> None:
    assert dotenv.merge("A=1", "B=2") == "A=1\nB=2\n"


def test_nothing_lost_leaves_the_live_file_as_it_is() -> None:
    assert dotenv.merge("A=1\n# x\n", "A=2\n") == "A=1\n# x\n"
    assert dotenv.merge("", "A=2\n# x\n") == "A=2\n"


# Files ----------------------------------------------------------------------------------------------


def test_a_file_is_replaced_with_its_mode_and_owner_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\r\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    file = dotenv.read(path)
    file.change("A", "2")
    dotenv.write(path, file.text)
    after = path.stat()
    assert path.read_bytes() == b"A=2\r\n"
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_goes_on_pointing_to_the_file(tmp_path: Path) -> None:
    real = tmp_path / "shared.env"
    real.write_text("A=1\n")
    link = tmp_path / ".env"
    link.symlink_to("shared.env")
    dotenv.write(link, "A=2\n")
    assert link.is_symlink()
    assert real.read_text() == "A=2\n"


def test_a_new_file_is_private(tmp_path: Path) -> None:
    dotenv.write(tmp_path / ".env", "A=1\n")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe\nB=1\n")
    file = dotenv.read(path)
    file.change("B", "2")
    dotenv.write(path, file.text)
    assert path.read_bytes() == b"A=\xff\xfe\nB=2\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match=r"no\.env cannot be read"):
        dotenv.read(tmp_path / "no.env")
