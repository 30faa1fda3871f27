# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Connections between processes, from the kernel: TCP from /proc, Unix sockets by sock_diag(7)."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

ESTABLISHED, LISTEN = "01", "0A"

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SHOW_NAME, _SHOW_PEER = 0x1, 0x4
_ATTRIBUTE_NAME, _ATTRIBUTE_PEER = 0, 2
_HEADER = struct.Struct("=LHHLL")


@dataclasses.dataclass(frozen=True)
class Connection:
    remote: str
    remote_port: int
    local: str
    local_port: int
    state: str
    inode: int


def tcp(process: Path) -> list[Connection]:
    """The TCP sockets of a process's network namespace (of all its processes)."""
    found: list[Connection] = []
    for name in ("tcp", "tcp6"):
        try:
            found += parse_tcp((process / "net" / name).read_text())
        except OSError:  # it has ended, or there is no IPv6
            continue
    return found


def parse_tcp(table: str) -> Iterator[Connection]:
    """From /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, local_port = _endpoint(fields[1])
        remote, remote_port = _endpoint(fields[2])
        yield Connection(remote, remote_port, local, local_port, fields[3], int(fields[9]))


def _endpoint(text: str) -> tuple[str, int]:
    digits, _rest, port = text.partition(":")
    # Each 32-bit word is printed in the byte order of the machine.
    words = [struct.pack("=I", int(digits[start : start + 8], 16)) for start in range(0, len(digits), 8)]
    return plain(ipaddress.ip_address(b"".join(words)).compressed), int(port, 16)


def plain(address: str) -> str:
    """An address in one spelling; an IPv4 address mapped into IPv6 as IPv4. A name stays as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def local_addresses(proc: Path = Path("/proc")) -> frozenset[str]:
    """The addresses of this host's interfaces."""
    found = {"127.0.0.1", "::1"}
    try:
        found.update(parse_fib_trie((proc / "net" / "fib_trie").read_text()))
        for line in (proc / "net" / "if_inet6").read_text().splitlines():
            found.add(str(ipaddress.ip_address(bytes.fromhex(line.split()[0]))))
    except OSError:  # no IPv6
        pass
    return frozenset(found)


def parse_fib_trie(table: str) -> Iterator[str]:
    """The addresses with `/32 host LOCAL` behind them."""
    address = ""
    for line in table.splitlines():
        text = line.strip()
        if text.startswith("|--"):
            address = text.split()[1]
        elif text.startswith("/32 host LOCAL"):
            yield address


def unix_clients() -> Mapping[str, set[int]]:
    """Inodes of the client ends of connected Unix sockets, by the path that their server listens at."""
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME | _SHOW_PEER, 0, 0)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    found: dict[str, set[int]] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(10)
            netlink.send(header + request)
            done = False
            while not done:
                done = _messages(netlink.recv(1 << 20), found)
    except OSError:  # a kernel without unix_diag: what is open is found by files and TCP only
        return {}
    return found


def _messages(data: bytes, found: dict[str, set[int]]) -> bool:
    """Take one answer apart; whether it was the last."""
    while len(data) >= _HEADER.size:
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
            return True
        name, peer = parse_unix_diag(data[_HEADER.size : length])
        if name and peer:
            found.setdefault(name, set()).add(peer)
        data = data[(length + 3) & ~3 :]
    return False


def parse_unix_diag(message: bytes) -> tuple[str, int]:
    """The path and the peer's inode of one socket: struct unix_diag_msg (16 bytes) and its attributes."""
    name, peer = "", 0
    attributes = message[16:]
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if length < 4:
            break
        value = attributes[4:length]
        if kind == _ATTRIBUTE_NAME and not value.startswith(b"\0"):
            name = value.rstrip(b"\0").decode(errors="surrogateescape")
        elif kind == _ATTRIBUTE_PEER and len(value) >= 4:
            peer = struct.unpack_from("=I", value)[0]
        attributes = attributes[(length + 3) & ~3 :]
    return name, peer
