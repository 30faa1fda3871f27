# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of the kernel: its tables and messages are understood."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from ansible_collections.day2.ops.plugins.module_utils._platform import sockets

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0
   1: 030015AC:D2B4 020015AC:0CEA 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:0CEA 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
"""
FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 127.0.0.0/8 2 0 2
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 127.255.255.255
        /32 link BROADCAST
  +-- 172.21.0.0/16 2 0 2
     |-- 172.21.0.1
        /32 host LOCAL
"""


def test_tcp_tables_are_read() -> None:
    first, second = sockets.parse_tcp(TCP)
    assert (first.local, first.local_port, first.state, first.inode) == ("127.0.0.1", 3306, sockets.LISTEN, 4711)
    assert (second.remote, second.remote_port, second.state) == ("172.21.0.2", 3306, sockets.ESTABLISHED)
    mapped, listening = sockets.parse_tcp(TCP6)
    assert (mapped.remote, mapped.remote_port) == ("127.0.0.1", 3306)
    assert (listening.local, listening.local_port) == ("::1", 8080)


def test_own_addresses_are_read() -> None:
    assert list(sockets.parse_fib_trie(FIB)) == ["127.0.0.1", "172.21.0.1"]
    assert {"127.0.0.1", "::1"} <= sockets.local_addresses()


def test_addresses_have_one_spelling() -> None:
    assert sockets.plain("::ffff:10.0.0.1") == "10.0.0.1"
    assert sockets.plain("fe80::1%eth0") == "fe80::1"
    assert sockets.plain("0:0:0:0:0:0:0:1") == "::1"
    assert sockets.plain("db") == "db"


def test_a_unix_diag_message_is_understood() -> None:
    name = b"/run/x.sock\0"
    message = b"\0" * 16
    message += struct.pack("=HH", 4 + len(name), 0) + name + b"\0" * (-len(name) % 4)
    message += struct.pack("=HHI", 8, 2, 4712)
    assert sockets.parse_unix_diag(message) == ("/run/x.sock", 4712)
    assert sockets.parse_unix_diag(b"\0" * 16) == ("", 0)
    abstract = b"\0" * 16 + struct.pack("=HH", 6, 0) + b"\0x" + b"\0\0"
    assert sockets.parse_unix_diag(abstract) == ("", 0)


def test_the_kernel_tells_who_is_connected_to_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "server.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        accepted, _ = server.accept()
        with accepted:
            assert sockets.unix_clients().get(path) == {os.fstat(client.fileno()).st_ino}
