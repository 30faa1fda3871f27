-- Copyright (c) 2026, the day2.ops authors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The sample application's database: a small hotel that takes bookings.

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    floor INTEGER NOT NULL CHECK (floor BETWEEN 0 AND 9),
    beds INTEGER NOT NULL,
    rate REAL NOT NULL
);

CREATE TABLE guests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    email TEXT COLLATE NOCASE,
    note TEXT,
    signature BLOB
);

CREATE TABLE bookings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guest_id INTEGER NOT NULL REFERENCES guests (id),
    room_id INTEGER NOT NULL REFERENCES rooms (id),
    arrival TEXT NOT NULL,
    nights INTEGER NOT NULL CHECK (nights > 0),
    status TEXT NOT NULL DEFAULT 'booked'
);

CREATE TABLE payments (
    booking_id INTEGER NOT NULL REFERENCES bookings (id),
    number INTEGER NOT NULL,
    amount NUMERIC NOT NULL,
    paid_at TEXT,
    PRIMARY KEY (booking_id, number)
) WITHOUT ROWID;

CREATE TABLE audit (
    happened TEXT NOT NULL,
    what TEXT NOT NULL,
    booking_id INTEGER
);

CREATE INDEX bookings_by_arrival ON bookings (arrival, room_id);

CREATE VIEW revenue AS
SELECT rooms.name AS room, count(DISTINCT bookings.id) AS stays, sum(payments.amount) AS income
FROM rooms
JOIN bookings ON bookings.room_id = rooms.id
JOIN payments ON payments.booking_id = bookings.id
GROUP BY rooms.name;

CREATE TRIGGER booking_status AFTER UPDATE OF status ON bookings
BEGIN
    INSERT INTO audit VALUES ('2026-11-20T12:00:00Z', OLD.status || ' -> ' || NEW.status, NEW.id);
END;
