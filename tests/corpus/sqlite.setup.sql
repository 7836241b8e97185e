-- The shop that the statements of sqlite.sql are about.

CREATE TABLE customer (
    id         INTEGER PRIMARY KEY,
    email      TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    profile    TEXT NOT NULL DEFAULT '{}',
    visits     INTEGER NOT NULL DEFAULT 0,
    deleted_at TEXT
);
CREATE TABLE category (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES category, title TEXT NOT NULL);
CREATE TABLE "order" (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customer,
    status      TEXT NOT NULL DEFAULT 'new',
    placed_at   TEXT NOT NULL DEFAULT '2024-06-01 12:00:00',
    total       REAL NOT NULL DEFAULT 0
);
CREATE TABLE item (order_id INTEGER NOT NULL, product_id INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE INDEX item_by_order ON item (order_id);
CREATE TABLE odd ("update" INTEGER, "delete" INTEGER, "into" INTEGER, [odd name] INTEGER, `a``b` INTEGER, größe INTEGER);
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
CREATE VIRTUAL TABLE article USING fts5(title, body);
CREATE VIRTUAL TABLE old_article USING fts4(title);

WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
    INSERT INTO customer (id, email, name, profile)
    SELECT i, 'c' || i || '@shop.test', 'Customer ' || i, json_object('age', 20 + i, 'tags', json_array('a', i)) FROM n;
INSERT INTO category VALUES (1, NULL, 'All'), (2, 1, 'Books'), (3, 2, 'Novels'), (4, 1, 'Tools');
INSERT INTO "order" (id, customer_id, status, total)
    SELECT id, 1 + id % 7, CASE id % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' ELSE 'sent' END, id * 10 FROM customer;
INSERT INTO item SELECT id, 1 + id % 5, 1 + id % 3 FROM "order";
INSERT INTO odd VALUES (1, 2, 3, 4, 5, 6);
INSERT INTO article VALUES ('How to update', 'Delete nothing; insert little.'), ('Novels', 'To be read.');
INSERT INTO old_article VALUES ('One'), ('Two');

CREATE VIEW recent_order AS SELECT * FROM "order" WHERE placed_at > '2024-01-01';
