-- The shop that the statements of mysql.sql are about, as postgres.setup.sql is for those of PostgreSQL.
-- Run on MariaDB by the fixture's superuser, who makes the database; the application gets it whole.

CREATE DATABASE shop;
GRANT ALL PRIVILEGES ON shop.* TO app@'127.0.0.1';
USE shop;

CREATE TABLE customer (
    id         bigint AUTO_INCREMENT PRIMARY KEY,
    email      varchar(100) NOT NULL,
    name       varchar(100) NOT NULL,
    visits     int NOT NULL DEFAULT 0,
    created_at datetime NOT NULL DEFAULT '2024-01-01 00:00:00',
    deleted_at datetime,
    UNIQUE KEY email_idx (email),
    KEY name_idx (name)
);

CREATE TABLE product (
    id      int PRIMARY KEY,
    name    varchar(100) NOT NULL,
    price   decimal(10, 2) NOT NULL,
    picture blob
);

-- A keyword as a name: it must always be quoted.
CREATE TABLE `order` (
    id          bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer (id),
    status      varchar(10) NOT NULL DEFAULT 'new',
    placed_at   datetime NOT NULL DEFAULT '2024-06-01 12:00:00',
    paid_at     datetime,
    total       decimal(10, 2) NOT NULL DEFAULT 0
);

CREATE TABLE item (
    id         bigint PRIMARY KEY,
    order_id   bigint NOT NULL REFERENCES `order` (id),
    product_id int NOT NULL REFERENCES product (id),
    quantity   int NOT NULL
);

-- Columns for statements that are about their own form.
CREATE TABLE t (
    id       int PRIMARY KEY,
    a        int, b int, c int, d int, e int, f int, g int, h int,
    -- Such as a classifier is afraid of.
    `update` int, `delete` int, `insert` int, `into` int, `lock` int, `for` int,
    a$b      int, größe int, 日本 int, 1abc int, 2x int,
    doc      json
);
CREATE TABLE `delete` (
    `a``b` int, `for update` int, `select` int, `-- x` int, `/*y*/` int, `;` int
);

CREATE TABLE place (id int PRIMARY KEY, a geometry NOT NULL);
CREATE TABLE article (
    id    int PRIMARY KEY,
    title varchar(100),
    body  text,
    FULLTEXT KEY title_idx (title),
    FULLTEXT KEY both_idx (title, body)
);
CREATE TABLE price (id int PRIMARY KEY, amount decimal(10, 2)) WITH SYSTEM VERSIONING;
CREATE TABLE other (id int PRIMARY KEY, amount decimal(10, 2)) WITH SYSTEM VERSIONING;
CREATE TABLE measure (day int NOT NULL, value int) PARTITION BY RANGE (day) (
    PARTITION p0 VALUES LESS THAN (10),
    PARTITION p1 VALUES LESS THAN MAXVALUE
);
CREATE TABLE audit (id int AUTO_INCREMENT PRIMARY KEY, what text);
CREATE SEQUENCE ticket;

-- With ids: what the next one will be is no row's, and may differ where rows are replicated.
INSERT INTO customer (id, email, name)
    SELECT seq, CONCAT('c', seq, '@shop.test'), CONCAT('Customer ', seq) FROM seq_1_to_20;
INSERT INTO product SELECT seq, CONCAT('Product ', seq), seq * 1.5, x'00ff' FROM seq_1_to_12;
INSERT INTO `order` (id, customer_id, status, paid_at, total)
    SELECT seq, 1 + seq % 20, ELT(1 + seq % 3, 'new', 'paid', 'sent'), '2024-07-01 12:00:00', seq * 10
    FROM seq_1_to_40;
INSERT INTO item SELECT seq, seq, 1 + seq % 12, 1 + seq % 5 FROM seq_1_to_40;
INSERT INTO t SELECT seq, seq, 2, 3, 4, 5, 6, 7, seq % 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
        '{"a": [1, 2], "b": "x"}'
    FROM seq_1_to_5;
INSERT INTO `delete` VALUES (1, 2, 3, 4, 5, 6);
INSERT INTO place VALUES (1, POINT(1, 2)), (2, POINT(3, 4));
INSERT INTO article VALUES (1, 'An update', 'On what is new'), (2, 'A farewell', 'All the best');
INSERT INTO price VALUES (1, 1.5), (2, 2.5);
UPDATE price SET amount = amount + 1;
INSERT INTO other VALUES (1, 1.5);
INSERT INTO audit (what) VALUES ('opened');
INSERT INTO measure SELECT seq, seq FROM seq_1_to_20;

CREATE VIEW v AS SELECT id, total FROM `order` WHERE placed_at > '2024-01-01';

-- Functions that may run on a replica.
CREATE FUNCTION add_tax(amount decimal(10, 2)) RETURNS decimal(10, 2) DETERMINISTIC NO SQL
    RETURN ROUND(amount * 1.19, 2);
CREATE FUNCTION order_count(customer bigint) RETURNS bigint READS SQL DATA
    RETURN (SELECT COUNT(*) FROM `order` WHERE customer_id = customer);

-- Functions that may not.
CREATE FUNCTION write_something(n int) RETURNS int MODIFIES SQL DATA
BEGIN
    INSERT INTO audit (what) VALUES ('written');
    RETURN n;
END;
-- Whatever it says of itself.
CREATE FUNCTION innocent(n int) RETURNS int DETERMINISTIC NO SQL
BEGIN
    INSERT INTO audit (what) VALUES ('innocent');
    RETURN n;
END;
CREATE VIEW visit AS SELECT write_something(1) AS id;
CREATE VIEW innocent_visit AS SELECT innocent(1) AS id;
CREATE VIEW next_ticket AS SELECT NEXTVAL(ticket) AS number;
CREATE PROCEDURE clean_up() DELETE FROM audit;

-- Both nodes are to estimate the same.
ANALYZE TABLE customer, product, `order`, item, t, article, measure;
