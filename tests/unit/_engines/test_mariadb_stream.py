# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump passes on its way into scratch: lines rewritten, lines refused, data left alone."""

from __future__ import annotations

import io
import os

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Refused
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.stream import (
    BEGUN,
    Continued,
    Rewriter,
    Rewritten,
    is_complete,
)

HEADER = b"-- MariaDB dump 10.19\n--\n-- Host: localhost    Database: live\n"
TRIGGER = b"/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER `live`.t\nAFTER DELETE ON `live`.x"
PAIRS = [
    (b"  `id` int(11) DEFAULT nextval(`live`.`s`)", b"  `id` int(11) DEFAULT nextval(`s`)"),
    (b"ALTER DATABASE `live` CHARACTER SET ", b"ALTER DATABASE CHARACTER SET "),
    (TRIGGER, TRIGGER.replace(b"`live`.", b"")),
]


def passed(data: bytes, size: int, pairs: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """The data in chunks of one size, each in the same buffer as the relay has it."""
    rewriter, written, buffer = Rewriter(PAIRS if pairs is None else pairs), [], bytearray(size)
    for start in range(0, len(data), size):
        chunk = data[start : start + size]
        buffer[: len(chunk)] = chunk
        written.append(rewriter.feed(memoryview(buffer)[: len(chunk)]))
    return b"".join([*written, rewriter.end()])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 255, 256, 257, 1000, 1 << 20])
def test_known_lines_are_rewritten_wherever_the_chunks_end(size: int) -> None:
    body = b"\n".join(
        [
            HEADER,
            b"CREATE TABLE `x` (",
            PAIRS[0][0] + b",",
            b");",
            b"INSERT INTO `x` VALUES (1,'"
            + b"x" * 900
            + b"\\nUSE `live`;\\n  `id` int(11) DEFAULT nextval(`live`.`s`)');",
            b"ALTER DATABASE `live` CHARACTER SET latin1 COLLATE latin1_german1_ci ;",
            b"DELIMITER ;;",
            TRIGGER + b" FOR EACH ROW BEGIN",
            b"USE INDEX (a)",
            b"ALTER DATABASE is what this says",
            b"END */;;",
            b"DELIMITER ;",
            b"-- Dump completed\n",
        ]
    )
    expected = body
    for find, put in PAIRS:
        expected = expected.replace(b"\n" + find, b"\n" + put)
    assert passed(body, size) == expected != body


@pytest.mark.parametrize("size", [1, 5, 300, 1 << 20])
def test_a_stream_without_such_lines_is_passed_on_byte_for_byte(size: int) -> None:
    data = HEADER + os.urandom(3000).replace(b"\nUSE", b"") + b"\n" * 5
    assert passed(data, size, []) == data
    assert passed(b"", size) == b""
    assert passed(b"\n", size) == b"\n"


@pytest.mark.parametrize("size", [1, 4, 50, 1 << 20])
@pytest.mark.parametrize(
    "line",
    [
        b"USE `live`;",
        b"USE live;",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `live`;",
        b"/*!40000 DROP DATABASE IF EXISTS `live`*/;",
        b"DROP SCHEMA live;",
        b"ALTER DATABASE `other` CHARACTER SET latin1;",
    ],
)
def test_a_line_that_leads_out_of_scratch_is_refused(line: bytes, size: int) -> None:
    for data in (line + b"\n", HEADER + line + b"\n", b"DELIMITER ;;\nx;;\nDELIMITER ;\n" + line + b"\n"):
        with pytest.raises(Refused, match="leads out of the scratch copy"):
            passed(data, size)
    assert passed(b"DELIMITER ;;\n" + line + b";;\nDELIMITER ;\n", size), "the body of a routine may hold it"
    assert passed(b"x " + line + b"\n", size)


def test_a_loading_tools_input_is_closed_with_its_last_bytes() -> None:
    reading, writing = os.pipe()
    pipe = os.fdopen(writing, "wb")
    stdin = Rewritten(pipe, Rewriter(PAIRS))
    assert stdin.fileno() == writing
    stdin.write(memoryview(HEADER))
    stdin.flush()
    stdin.close()
    stdin.close()
    assert pipe.closed
    with os.fdopen(reading, "rb") as end:
        assert end.read() == HEADER


def test_a_dump_goes_on_after_what_was_looked_at() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"rest of it")
    stream = Continued(b"head and ", os.fdopen(reading, "rb"))
    assert stream.fileno() == reading
    assert stream.read(4) == b"head"
    assert io.BufferedReader(stream).read() == b" and rest of it"


@pytest.mark.parametrize(
    ("end", "complete"),
    [
        (b"/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed\n", True),
        (b"\n-- Dump completed on 2026-11-23 21:08:19\n", True),
        (b"\n-- Dump complete", False),
        (b"\n-- Dump completed\nINSERT INTO `t` VALUES (1);\n", False),
        (b"VALUES ('-- Dump completed')", False),
        (b"", False),
    ],
)
def test_a_dump_is_complete_by_its_own_last_line(end: bytes, complete: bool) -> None:
    assert is_complete(end) == complete


@pytest.mark.parametrize(
    ("head", "begun"),
    [
        (HEADER, False),
        (HEADER.replace(b"live", b"CREATE TABLE"), False),
        (HEADER + b"/*!40101 SET NAMES utf8mb4 */;\n", False),
        (HEADER + b"\n--\n-- Table structure for table `a`\n", True),
        (HEADER + b"\n--\n-- Sequence structure for `a`\n", True),
        (HEADER + b"\n--\n-- Dumping routines for database 'live'\n", True),
        (HEADER + b"CREATE TABLE `a` (", True),
        (HEADER + b"\n-- Dump completed\n", True),
    ],
)
def test_the_header_alone_does_not_show_that_the_transaction_has_begun(head: bytes, begun: bool) -> None:
    assert bool(BEGUN.search(head)) == begun
