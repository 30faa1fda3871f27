-- Copyright (c) 2026, the day2.ops authors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE ROLE garage LOGIN;
CREATE DATABASE garage OWNER garage;
\connect garage
SET ROLE garage;
CREATE TABLE cars (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    plate text NOT NULL UNIQUE,
    papers bytea,
    extras jsonb,
    sold timestamptz
);
CREATE TABLE repairs (
    id bigserial PRIMARY KEY,
    car integer NOT NULL REFERENCES cars,
    cost numeric(10, 2) NOT NULL,
    note text
);
CREATE TABLE heartbeats (id bigserial PRIMARY KEY, beat timestamptz NOT NULL DEFAULT now());
CREATE VIEW bills AS SELECT plate, sum(cost) AS owed FROM cars JOIN repairs ON repairs.car = cars.id GROUP BY plate;

INSERT INTO cars (plate, papers, extras, sold)
SELECT 'B-' || n || CASE WHEN n % 7 = 0 THEN ' 🚗' ELSE '' END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE decode(md5(n::text), 'hex') || '\x00ff27'::bytea END,
       jsonb_build_object('doors', n % 6, 'colour', repeat('x', n % 40)),
       CASE WHEN n % 3 = 0 THEN NULL ELSE timestamptz '2024-02-29 23:59:59.999999+00' + n * interval '1 hour' END
FROM generate_series(1, 500) AS n;
INSERT INTO repairs (car, cost, note)
SELECT 1 + n % 500, n * 1.07, CASE WHEN n % 4 = 0 THEN NULL ELSE E'line\nbreak; -- '';' END
FROM generate_series(1, 2000) AS n;
