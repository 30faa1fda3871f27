# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions: names of the database taken out where the server has put them, and left where a user has."""

from __future__ import annotations

import json

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql import definitions
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.definitions import Definition
from ansible_collections.day2.ops.plugins.module_utils._engines.mysql.describe import reads

DEFINER = b"CREATE DEFINER=`root`@`%` "


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (b"TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1", b"TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1"),
        (b"trigger `a-b`.t after update on `a-b`.`x y` for each row delete from `a-b`.z", b"trigger t after update on `x y` for each row delete from `a-b`.z"),
        (b"TRIGGER a . t\nBEFORE  DELETE /* why */ ON a./* x */x FOR EACH ROW BEGIN END", b"TRIGGER t\nBEFORE  DELETE /* why */ ON x FOR EACH ROW BEGIN END"),
        (b"TRIGGER IF NOT EXISTS a.t BEFORE INSERT ON x FOR EACH ROW BEGIN END", b"TRIGGER IF NOT EXISTS t BEFORE INSERT ON x FOR EACH ROW BEGIN END"),
        (b'TRIGGER "a"."t""1" BEFORE INSERT ON "a"."x" FOR EACH ROW BEGIN END', b'TRIGGER "t""1" BEFORE INSERT ON "x" FOR EACH ROW BEGIN END'),
        (b"TRIGGER `a.t` BEFORE INSERT ON \xfc FOR EACH ROW BEGIN END", b"TRIGGER `a.t` BEFORE INSERT ON \xfc FOR EACH ROW BEGIN END"),
    ],
)  # fmt: skip
def test_a_triggers_own_names_lose_the_database(given: bytes, plain: bytes) -> None:
    assert definitions.unqualified_trigger(DEFINER + given) == DEFINER + plain


def test_a_trigger_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(OpsError, match="cannot be read: CREATE DEFINER"):
        definitions.unqualified_trigger(DEFINER + b"PROCEDURE x() SELECT 1")


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (b"select `db`.`f`(1) AS `x`", b"select `f`(1) AS `x`"),
        (b"select nextval(`db`.`s`) AS `n`,lastval(`db`.`s`)", b"select nextval(`s`) AS `n`,lastval(`s`)"),
        # A table may be called like the database.
        (b"select `db`.`id` AS `id` from `db` join `db`.`t`", b"select `db`.`id` AS `id` from `db` join `db`.`t`"),
        (b"select '`db`.`f`(' AS `y`,'it''s \\' nextval(`db`.`s`)'", b"select '`db`.`f`(' AS `y`,'it''s \\' nextval(`db`.`s`)'"),
        (b"select `other`.`f`(1),nextval(`other`.`s`)", b"select `other`.`f`(1),nextval(`other`.`s`)"),
        (b"select 1 AS `nextval(``db``.``s``)`", b"select 1 AS `nextval(``db``.``s``)`"),
        (b"concat('x',nextval(`db`.`s`))", b"concat('x',nextval(`s`))"),
    ],
)  # fmt: skip
def test_what_the_server_prints_loses_the_database_before_functions_and_sequences(given: bytes, plain: bytes) -> None:
    assert definitions.unqualified_calls(given, "db") == plain


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("DELETE FROM booking.orders", True),
        ("delete from `booking` . `orders`", True),
        ("CALL Booking.purge()", True),
        ("DELETE FROM bookings.orders", False),
        ("DELETE FROM old_booking.orders", False),
        ("SET x.booking.y = 1", False),
        ("SELECT booking FROM orders", False),
    ],
)
def test_a_text_that_names_a_database(body: str, named: bool) -> None:
    assert definitions.mentions(body, "booking") == named


def test_a_database_with_a_dash_is_named_in_backticks() -> None:
    assert definitions.mentions("DELETE FROM `a-b`.orders", "a-b")
    assert not definitions.mentions("SELECT a-b", "a-b")


@pytest.mark.parametrize("sql", [b"CREATE VIEW `v` AS select 1", "ü😀\n".encode(), b"'\xfc'", b"base64:x", b""])
def test_a_definition_survives_the_manifest(sql: bytes) -> None:
    one = Definition("view", "v", sql, "latin1", "latin1_swedish_ci", "utf8mb4_bin", "ORACLE", "SYSTEM")
    assert Definition.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("select `a`.`id` AS `id` from `a`", True),
        ("select 1 AS `x` from (`b` join `a` on(`a`.`id` = `b`.`id`))", True),
        ("select 1 AS `x` from ((`a` left join `b` on(1)))", True),
        ("select 1 AS `x` from `db`.`a` `z`", True),
        ("select `b`.`a` AS `a` from `b`", False),
        ("select `a`(1) AS `x` from `b` `a`", False),
        ("select 1 from `a`.`t`", False),
    ],
)
def test_what_a_view_reads(printed: str, found: bool) -> None:
    assert reads(printed, "a") == found
