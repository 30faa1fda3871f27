#!/usr/bin/python3
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A consumer of the database: it never closes its connection, as an application's pool does."""

from __future__ import annotations

import os
import time

import psycopg2

connection = psycopg2.connect(os.environ["DATABASE_URL"])
connection.autocommit = True
while True:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO heartbeats DEFAULT VALUES")
    time.sleep(0.2)
