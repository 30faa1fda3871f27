# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd: what systemctl prints and environment files hold, as systemd 252 itself read them."""

from __future__ import annotations

import pytest
from ansible_collections.day2.ops.plugins.module_utils._platform import systemd

# Recorded: systemctl show -p Environment -p EnvironmentFiles of a unit with these values.
SHOWN = r"""Id=garage.service
LoadState=loaded
ActiveState=active
Environment=PLAIN=1 "SPACE=a b" "SQ=it\"s" "DOLLAR=a\$b" "BS=a\\b" "QUOTE=it's" HASH=a#b EMPTY= UTF=ä "TAB=a\tb"
EnvironmentFiles=/run/garage.env (ignore_errors=no)
EnvironmentFiles=/etc/default/no*.env (ignore_errors=yes)
"""


def test_an_environment_is_read_from_systemctl() -> None:
    line = systemd.parse_show(SHOWN)["Environment"][0]
    assert systemd.parse_environment(line) == {
        "PLAIN": "1",
        "SPACE": "a b",
        "SQ": 'it"s',
        "DOLLAR": "a$b",
        "BS": "a\\b",
        "QUOTE": "it's",
        "HASH": "a#b",
        "EMPTY": "",
        "UTF": "ä",
        "TAB": "a\tb",
    }
    assert systemd.parse_environment("") == {}


def test_environment_files_are_read_from_systemctl() -> None:
    entries = systemd.parse_show(SHOWN)["EnvironmentFiles"]
    assert [systemd.parse_environment_file_entry(entry) for entry in entries] == [
        ("/run/garage.env", False),
        ("/etc/default/no*.env", True),
    ]


# Each was given to systemd 252, which read the same.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b\n", {"A": "b"}),
        ("A= lead trail  \n", {"A": "lead trail"}),
        ("A='a b' \"c d\"e\n", {"A": "a bc de"}),
        ("A=a\\\nb\n", {"A": "ab"}),
        ('A="multi\nline"\nB=1\n', {"A": "multi\nline", "B": "1"}),
        ("A=a # no comment\n", {"A": "a # no comment"}),
        ("export A=1\n", {}),
        ("; A=1\n# B=2\nC=3\n", {"C": "3"}),
        ("A=$HOME ${HOME}\n", {"A": "$HOME ${HOME}"}),
        ("A=a\\b\\\\c\n", {"A": "ab\\c"}),
        ('A="a\\"b\\$c\\d"\n', {"A": 'a"b$c\\d'}),
        ("A='a\\b'\n", {"A": "a\\b"}),
        ('A=a"b"\n', {"A": 'a"b"'}),
        ("A=\nB=1\n", {"A": "", "B": "1"}),
        ("A=1", {"A": "1"}),
    ],
)
def test_an_environment_file_is_read_as_systemd_reads_it(text: str, expected: dict[str, str]) -> None:
    assert systemd.parse_environment_file(text) == expected
