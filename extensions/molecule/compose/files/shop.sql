-- Copyright (c) 2026, the day2.ops authors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE TABLE items (
    id INT PRIMARY KEY AUTO_INCREMENT,
    name VARCHAR(80) NOT NULL,
    picture BLOB,
    price DECIMAL(10, 2),
    extras JSON,
    changed DATETIME(6) NOT NULL
) DEFAULT CHARSET = utf8mb4;
CREATE TABLE orders (
    id INT PRIMARY KEY AUTO_INCREMENT,
    item INT NOT NULL,
    amount INT NOT NULL,
    FOREIGN KEY (item) REFERENCES items (id)
);
CREATE TABLE heartbeats (id BIGINT PRIMARY KEY AUTO_INCREMENT, beat DATETIME(6) NOT NULL DEFAULT NOW(6));
CREATE VIEW sold AS SELECT name, SUM(amount) AS pieces FROM items JOIN orders ON orders.item = items.id GROUP BY name;
CREATE TRIGGER ordered BEFORE INSERT ON orders FOR EACH ROW SET NEW.amount = GREATEST(NEW.amount, 1);
CREATE PROCEDURE restock(IN which INT) UPDATE items SET extras = JSON_SET(extras, '$.stock', 10) WHERE id = which;

INSERT INTO items (name, picture, price, extras, changed)
SELECT CONCAT('item ', seq, IF(seq % 7 = 0, ' 🛒', '')),
       IF(seq % 5 = 0, NULL, CONCAT(UNHEX(MD5(seq)), X'00FF270A5C')),
       seq * 1.01, JSON_OBJECT('stock', seq % 9), '2024-02-29 23:59:59.999999' - INTERVAL seq HOUR
FROM seq_1_to_400;
INSERT INTO orders (item, amount) SELECT 1 + seq % 400, seq % 5 FROM seq_1_to_1500;
