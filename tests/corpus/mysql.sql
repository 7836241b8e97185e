-- Statements of MySQL and MariaDB, and what each of them is. A line that begins with three equals signs
-- says it, with a remark after two dashes if there is one; the statement follows, without its last
-- newline.
--
--   read             truly a read, and the classifier has to say so
--   read on primary  truly a read, but known to be sent to the primary
--   write            never to be taken for a read: it writes, locks, has an effect that even a replica
--                    accepts, depends on its session or server, is several statements, or malformed
--   state            changes the state of its session
--   hidden           a write that a replica refuses, although nothing in the text shows that it is one
--
-- The tables and functions that they are about are in mysql.setup.sql. What only MySQL understands is an error
-- on MariaDB, on either node.

=== read
SELECT 1
=== read
SELECT 1;
=== read
SELECT 1 FROM DUAL
=== read
SELECT `id`, `name` FROM `customer` WHERE `id` = ?
=== read
SELECT * FROM `shop`.`customer` AS `c` WHERE `c`.`deleted_at` IS NULL ORDER BY `c`.`id` DESC LIMIT 10 OFFSET 20
=== read
SELECT * FROM customer LIMIT 20, 10
=== read
SELECT DISTINCT status FROM `order`
=== read
SELECT DISTINCTROW status FROM `order`
=== read
SELECT STRAIGHT_JOIN c.name, o.id FROM customer c JOIN `order` o ON o.customer_id = c.id
=== read
SELECT HIGH_PRIORITY SQL_NO_CACHE SQL_BIG_RESULT id FROM customer
=== read
SELECT SQL_SMALL_RESULT SQL_BUFFER_RESULT status, COUNT(*) FROM `order` GROUP BY status WITH ROLLUP
=== read
SELECT c.name, o.id FROM customer c LEFT JOIN `order` o ON o.customer_id = c.id AND o.status = "paid"
=== read
SELECT * FROM customer NATURAL LEFT JOIN `order` CROSS JOIN (item, product)
=== read
SELECT * FROM customer c INNER JOIN `order` o USING (id) RIGHT OUTER JOIN item i ON i.order_id = o.id
=== read
SELECT * FROM customer USE INDEX (email_idx) WHERE email = 'x'
=== read
SELECT * FROM customer FORCE INDEX FOR ORDER BY (PRIMARY) ORDER BY id
=== read
SELECT * FROM customer IGNORE INDEX FOR JOIN (email_idx, name_idx), `order` FORCE KEY (PRIMARY)
=== read
SELECT * FROM customer USE INDEX FOR GROUP BY () GROUP BY id
=== read
SELECT * FROM measure PARTITION (p0, p1) WHERE value > 1
=== read
SELECT /*+ MAX_EXECUTION_TIME(1000) INDEX(c email_idx) */ * FROM customer c
=== read
SELECT /*+ NO_RANGE_OPTIMIZATION(t3 PRIMARY, f2_idx) BKA(t1) */ 1
=== read -- a hint that would be a variable's is one only here
/* harmless */ SELECT /* also */ 1 # and this
=== read
# leading
SELECT 1
=== read
-- leading
SELECT 1
=== read
-- 
SELECT 1
=== read -- two minuses, not a comment
SELECT 5--1
=== read
SELECT 5--1, 'x', a--b FROM t
=== read
SELECT 5 -- ; DELETE FROM item
=== read
SELECT 5 # ; DELETE FROM item
=== read
SELECT 'it''s', "say ""hi""", 'back\'slash', "a\"b", 'c:\\'
=== read
SELECT '; DELETE FROM item; --', "FOR UPDATE", '/*! no */', '@x := 1'
=== read
SELECT 'a' 'b' "c"
=== read
SELECT N'x', _utf8mb4'ü' COLLATE utf8mb4_bin, x'4D', 0x4D, b'101', 0b101, X'4d', _binary 'x', n'y'
=== read
SELECT 1.5, .5, 5., 1e10, 1.5E-3, 12345678901234567890
=== read
SELECT `a``b`, `for update`, `select`, `-- x`, `/*y*/`, `;` FROM `delete`
=== read
SELECT t.update, t.delete, t.insert, t.into, t.lock, t.for FROM t
=== read
SELECT 1 AS `update`, 2 AS 'delete', 3 AS "insert"
=== read on primary -- elsewhere they are no names
SELECT 1abc FROM t WHERE 2x = 3
=== read
SELECT a$b, größe, 日本 FROM t
=== read
SELECT a AND b, a && b, a OR b, a || b, NOT a, !a, a XOR b, a <=> b, a <> b, a != b, a DIV b, a MOD b, a % b FROM t
=== read
SELECT ~1, 1 << 2, 8 >> 1, 5 & 3, 5 | 2, 5 ^ 3, -1, +1
=== read
SELECT a IS TRUE, b IS NOT UNKNOWN, c BETWEEN 1 AND 2, d IN (1, 2, (3)), e LIKE 'x%' ESCAPE '!', f REGEXP '^x', g RLIKE 'y', h SOUNDS LIKE 'z' FROM t
=== read
SELECT BINARY 'a' = 'A', CAST(a AS CHAR(10) CHARACTER SET utf8mb4), CONVERT(a USING utf8mb4), CONVERT(a, DECIMAL(10, 2)), CAST(b AS UNSIGNED) FROM t
=== read -- MySQL
SELECT CAST(c AS JSON) FROM t
=== read
SELECT CASE status WHEN 'new' THEN (1) ELSE (2) END, IF(total > 10, 'a', 'b'), IFNULL(NULL, 1), NULLIF(1, 2), COALESCE(NULL, 1) FROM `order`
=== read
SELECT COUNT(*), COUNT(DISTINCT a, b), SUM(DISTINCT c), GROUP_CONCAT(DISTINCT d ORDER BY d DESC SEPARATOR ', '), BIT_AND(e), STD(f), JSON_ARRAYAGG(g) FROM t GROUP BY h HAVING COUNT(*) > 1
=== read
SELECT EXTRACT(YEAR_MONTH FROM placed_at), DATE_ADD(placed_at, INTERVAL 1 DAY), placed_at + INTERVAL '1:30' HOUR_MINUTE, DATE_FORMAT(NOW(), '%Y-%m-%d'), TIMESTAMPDIFF(MONTH, placed_at, paid_at), DATEDIFF(paid_at, placed_at) FROM `order`
=== read
SELECT SUBSTRING(a FROM 2 FOR 3), SUBSTR(a, 2), TRIM(LEADING 'x' FROM a), TRIM(BOTH FROM a), POSITION('x' IN a), LOCATE('x', a), INSERT(a, 1, 2, 'x'), REPLACE(a, 'x', 'y'), CHAR(65, 66 USING utf8mb4) FROM t
=== read -- functions whose names are those of statements
SELECT REPLACE(name, 'a', 'b'), INSERT(name, 1, 1, ''), TRUNCATE(price, 1), LEFT(name, 1), RIGHT(name, 1), REPEAT(name, 2) FROM product
=== read
SELECT NOW(), NOW(6), CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(), CURDATE(), CURTIME(), UTC_TIMESTAMP(), SYSDATE(), UNIX_TIMESTAMP(), LOCALTIME
=== read
SELECT DATABASE(), SCHEMA(), VERSION(), USER(), CURRENT_USER, CURRENT_USER(), SESSION_USER()
=== read
SELECT RAND(), RAND(3), UUID()
=== read
SELECT * FROM customer ORDER BY RAND() LIMIT 1
=== read
SELECT SLEEP(0)
=== read
SELECT MD5('x'), SHA2('x', 256), HEX(a), UNHEX('4D'), CRC32(a), TO_BASE64(a), INET_ATON('10.0.0.1'), COMPRESS(a) FROM t
=== read
SELECT JSON_EXTRACT(doc, '$.a'), JSON_UNQUOTE(doc), JSON_CONTAINS(doc, '1'), JSON_OBJECT('a', 1), JSON_ARRAY(1, 2) FROM t
=== read -- MySQL
SELECT doc->'$.a', doc->>'$.b[0]', 1 MEMBER OF (doc) FROM t
=== read
SELECT j.* FROM t, JSON_TABLE(t.doc, '$[*]' COLUMNS (n FOR ORDINALITY, a INT PATH '$.a' DEFAULT '0' ON EMPTY NULL ON ERROR, b INT EXISTS PATH '$.b', NESTED PATH '$.c[*]' COLUMNS (d INT PATH '$'))) AS j
=== read
SELECT * FROM article WHERE MATCH (title, body) AGAINST ('update' IN NATURAL LANGUAGE MODE)
=== read
SELECT MATCH (title) AGAINST ('+a -b' IN BOOLEAN MODE) AS score FROM article WHERE MATCH(title) AGAINST('x' WITH QUERY EXPANSION)
=== read
SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b), RANK() OVER w, SUM(c) OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), LAG(e, 1) OVER w, NTILE(4) OVER (w) FROM t WINDOW w AS (ORDER BY f)
=== read
WITH a AS (SELECT 1 AS x), b (y) AS (SELECT x FROM a) SELECT * FROM a, b
=== read
WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n
=== read -- MariaDB
WITH RECURSIVE n (i) AS (SELECT 1 UNION SELECT i FROM n) CYCLE i RESTRICT SELECT * FROM n
=== read
(SELECT 1) UNION ALL (SELECT 2 ORDER BY 1 LIMIT 1) ORDER BY 1 LIMIT 3
=== read
SELECT 1 UNION DISTINCT SELECT 2 INTERSECT SELECT 3 EXCEPT SELECT 4
=== read
((SELECT a FROM t LIMIT 1))
=== read
SELECT (SELECT MAX(a) FROM t), EXISTS (SELECT * FROM t), a = ANY (SELECT b FROM t), a NOT IN (SELECT c FROM t), (a, b) = (SELECT 1, 2), ROW(1, 2) = ROW(1, 2) FROM t
=== read
SELECT * FROM (SELECT 1 AS a) AS d (x), LATERAL (SELECT d.x) AS l
=== read
TABLE customer ORDER BY id LIMIT 3
=== read
VALUES ROW(1, 2), ROW(3, 4)
=== read -- MariaDB
VALUES (1, 2), (3, 4)
=== read -- MariaDB
SELECT * FROM price FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00' WHERE id = 1
=== read
SELECT * FROM price FOR SYSTEM_TIME BETWEEN '2024-01-01' AND NOW() AS p
=== read
SELECT * FROM price FOR SYSTEM_TIME FROM '2024-01-01' TO '2025-01-01', other FOR SYSTEM_TIME ALL
=== read
SELECT id FROM customer OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY
=== read
SELECT id FROM customer ORDER BY name FETCH NEXT 3 ROWS WITH TIES
=== read
SELECT id FROM customer LIMIT ROWS EXAMINED 1000
=== read -- MariaDB
SELECT MEDIAN(a) OVER (PARTITION BY b), PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a) OVER (PARTITION BY b) FROM t
=== read
SHOW TABLES
=== read
SHOW FULL TABLES FROM shop LIKE 'c%'
=== read
SHOW DATABASES;
=== read
SHOW CREATE TABLE `customer`
=== read
SHOW FULL COLUMNS FROM customer FROM shop
=== read
SHOW INDEX FROM customer
=== read
SHOW CREATE VIEW v
=== read
SHOW CHARACTER SET
=== read
SHOW COLLATION WHERE Charset = 'utf8mb4'
=== read
DESCRIBE customer
=== read
DESC customer name
=== read
EXPLAIN customer
=== read
EXPLAIN SELECT * FROM customer WHERE id = 1
=== read
EXPLAIN FORMAT=JSON SELECT * FROM customer
=== read
EXPLAIN EXTENDED SELECT * FROM customer
=== read
EXPLAIN PARTITIONS SELECT * FROM measure
=== read
DESCRIBE SELECT 1
=== read
EXPLAIN ANALYZE SELECT * FROM customer
=== read
EXPLAIN ANALYZE FORMAT=TREE SELECT COUNT(*) FROM item
=== read -- MariaDB
ANALYZE SELECT * FROM customer
=== read
ANALYZE FORMAT=JSON SELECT * FROM customer WHERE id = 1
=== read -- sqlx
SELECT id, email FROM customer WHERE email = ? AND (? IS NULL OR name LIKE CONCAT('%', ?, '%')) LIMIT ?
=== read -- SeaORM
SELECT `customer`.`id`, `customer`.`name` FROM `customer` LEFT JOIN `order` ON `customer`.`id` = `order`.`customer_id` WHERE `customer`.`id` IN (?, ?) LIMIT ?
=== read
SELECT COUNT(*) AS num_items FROM (SELECT `order`.`id` FROM `order`) AS `sub_query`
=== read -- Diesel
SELECT `customer`.`id`, `customer`.`name` FROM `customer` WHERE (`customer`.`id` = ?) LIMIT ? OFFSET ?
=== read -- Django
SELECT `customer`.`id`, COUNT(`order`.`id`) AS `n` FROM `customer` LEFT OUTER JOIN `order` ON (`customer`.`id` = `order`.`customer_id`) GROUP BY `customer`.`id` HAVING COUNT(`order`.`id`) > 1 ORDER BY NULL LIMIT 21
=== read
SELECT (1) AS `a` FROM `customer` WHERE `customer`.`email` = 'a@b.c' LIMIT 1
=== read -- Rails
SELECT `customer`.* FROM `customer` WHERE `customer`.`id` = 1 LIMIT 1 /*application:Shop,controller:customers*/
=== read
SELECT 1 AS one FROM `customer` WHERE `customer`.`email` = BINARY 'a@b.c' LIMIT 1
=== read -- Hibernate
/* select generatedAlias0 from Customer */ select c1_0.id,c1_0.name from customer c1_0 where c1_0.id=? limit ?,?
=== read -- SQLAlchemy
SELECT customer.id AS customer_id, customer.name AS customer_name 
FROM customer INNER JOIN `order` ON customer.id = `order`.customer_id 
WHERE `order`.status = ? 
 LIMIT ?
=== read -- EF Core
SELECT `c`.`id`, `c`.`name`
FROM `customer` AS `c`
WHERE (`c`.`name` IS NOT NULL) AND EXISTS (
    SELECT 1
    FROM `order` AS `o`
    WHERE `c`.`id` = `o`.`customer_id`)
LIMIT 1
=== read -- Prisma
SELECT `shop`.`customer`.`id`, `shop`.`customer`.`email` FROM `shop`.`customer` WHERE (`shop`.`customer`.`email` = ? AND 1=1) LIMIT ? OFFSET ? /* traceparent=00-00-00-00 */
=== read
SELECT table_name, table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
=== read
SELECT column_name AS `column_name`, data_type, is_nullable = 'YES' FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 'customer' ORDER BY ordinal_position
=== read
SELECT kc.constraint_name, kc.column_name FROM information_schema.key_column_usage AS kc WHERE kc.table_schema = DATABASE() AND kc.referenced_table_name IS NOT NULL
=== read
SELECT ST_Distance(a, POINT(1, 2)), ST_AsText(a), ST_GeomFromText('POINT(1 2)') FROM place
=== read
SELECT FIELD(status, 'a', 'b'), ELT(1, 'a'), FIND_IN_SET('a', 'a,b'), MAKE_SET(1, 'a'), FORMAT(1.5, 2), CONCAT_WS(',', a, b), LPAD(a, 3, '0') FROM t JOIN `order` USING (id)
=== read -- MySQL
SELECT ANY_VALUE(b) FROM t
=== read -- functions may be called with a space before the parenthesis
SELECT LOWER ('A'), CONCAT /* x */ ('a', 'b')
=== read on primary -- no catalog tells what the application's own functions do
SELECT add_tax(price) FROM product
=== read on primary
SELECT shop.order_count(id) FROM customer
=== read
SELECT @@version, @@global.version_comment
=== write
INSERT INTO customer (name) VALUES ('x')
=== write
INSERT IGNORE INTO customer SET name = 'x' ON DUPLICATE KEY UPDATE visits = visits + 1
=== write
INSERT INTO customer (name) VALUES ('x') RETURNING id
=== write
REPLACE INTO customer (id, name) VALUES (1, 'x')
=== write
UPDATE LOW_PRIORITY customer SET visits = 0 ORDER BY id LIMIT 1
=== write
UPDATE customer c JOIN `order` o ON o.customer_id = c.id SET c.visits = 0
=== write
DELETE QUICK FROM item WHERE order_id = 1
=== write
DELETE c, o FROM customer c JOIN `order` o ON o.customer_id = c.id
=== write
WITH x AS (SELECT 1 AS id) DELETE FROM item WHERE order_id IN (SELECT id FROM x)
=== write
WITH x AS (SELECT 1 AS id) UPDATE customer, x SET visits = 0 WHERE customer.id = x.id
=== write
TRUNCATE TABLE audit
=== write
TRUNCATE audit
=== write
LOAD DATA LOCAL INFILE '/tmp/x' INTO TABLE customer
=== write
LOAD XML INFILE '/tmp/x' INTO TABLE customer
=== write
SELECT * FROM customer WHERE id = 1 FOR UPDATE
=== write
SELECT * FROM customer FOR UPDATE SKIP LOCKED
=== write
SELECT * FROM customer FOR UPDATE NOWAIT
=== write
SELECT * FROM customer FOR UPDATE WAIT 5
=== write
SELECT * FROM customer FOR SHARE
=== write
SELECT * FROM customer c FOR SHARE OF c SKIP LOCKED
=== write
SELECT * FROM customer LOCK IN SHARE MODE
=== write
SELECT * FROM customer LOCK/**/IN # x
SHARE -- y
MODE
=== write
SELECT * FROM (SELECT * FROM customer FOR UPDATE) AS x
=== write
SELECT * FROM `order` WHERE customer_id IN (SELECT id FROM customer LOCK IN SHARE MODE)
=== write
(SELECT * FROM customer FOR UPDATE)
=== write
SELECT * FROM customer WHERE `name`='x'FOR UPDATE
=== write
SELECT a.b FROM a WHERE c = 1.FOR UPDATE
=== write
SELECT * FROM customer INTO OUTFILE '/tmp/x'
=== write
SELECT * INTO OUTFILE '/tmp/x' FIELDS TERMINATED BY ',' FROM customer
=== write
SELECT picture INTO DUMPFILE '/tmp/x' FROM product LIMIT 1
=== write
SELECT id INTO @id FROM customer LIMIT 1
=== write
SELECT id, name FROM customer LIMIT 1 INTO @id, @name
=== write
SELECT id INTO local_variable FROM customer
=== write
SELECT @x := 1
=== write
SELECT @row:=@row+1 AS nr, c.* FROM customer c, (SELECT @row := 0) AS r
=== write
SELECT `a`, @`quoted name` := 1, @'another' := 2 FROM t
=== write -- it depends on the session
SELECT @x
=== write
SELECT * FROM customer WHERE id = @id
=== read
SELECT @@session.time_zone
=== write
SELECT @@server_id, @@hostname, @@read_only
=== write
SELECT @@global.gtid_slave_pos
=== write
SELECT @@last_insert_id, @@identity
=== write
SELECT LAST_INSERT_ID()
=== write
SELECT LAST_INSERT_ID(5)
=== write
SELECT id FROM customer WHERE id = LAST_INSERT_ID ()
=== write
SELECT FOUND_ROWS()
=== write
SELECT SQL_CALC_FOUND_ROWS * FROM customer LIMIT 10
=== write
SELECT ROW_COUNT()
=== write
SELECT CONNECTION_ID()
=== write
SELECT GET_LOCK('job', 10)
=== write
SELECT RELEASE_LOCK('job'), RELEASE_ALL_LOCKS()
=== write
SELECT IS_FREE_LOCK('job'), IS_USED_LOCK('job')
=== write
SELECT UUID_SHORT()
=== write
SELECT MASTER_POS_WAIT('x', 4), MASTER_GTID_WAIT('0-1-2', 1), WAIT_FOR_EXECUTED_GTID_SET('x')
=== write
SELECT LOAD_FILE('/etc/passwd')
=== write
SELECT BENCHMARK(1, GET_LOCK('x', 1))
=== write
SELECT NEXT VALUE FOR ticket
=== write
SELECT NEXTVAL(ticket), SETVAL(ticket, 10)
=== write
SELECT PREVIOUS VALUE FOR ticket, LASTVAL(ticket)
=== write
SELECT ticket.nextval
=== write
SELECT ticket.currval FROM DUAL
=== write
SELECT * FROM customer PROCEDURE ANALYSE()
=== write
SELECT sys_exec('touch /tmp/x')
=== write
SELECT `write_something`(1)
=== write
SELECT shop . write_something (1)
=== read -- several statements
SELECT 1; SELECT 2
=== write
SELECT 1; DELETE FROM item
=== write
SELECT 'it\'s'; DELETE FROM item; -- '
=== write
SELECT "a\"; DELETE FROM item; -- "; DELETE FROM item
=== write
SELECT 5--1; DELETE FROM item
=== write
SELECT 5--; DELETE FROM item
=== write
SELECT '--'; DELETE FROM item
=== write
SELECT `#`; DELETE FROM item
=== write
SELECT 1 # ;
; DELETE FROM item
=== write -- comments do not nest
SELECT 1 /* /* x */; DELETE FROM item -- */
=== write
SELECT 1 /*! ; DELETE FROM item */
=== write
/*!50000 DELETE FROM item */
=== write
SELECT * FROM customer /*!40001 FOR UPDATE */
=== write
SELECT /*!99999 SQL_CALC_FOUND_ROWS */ 1
=== write
SELECT 1 /*M! , GET_LOCK('x', 1) */
=== write
SELECT 1 /*M!100100 INTO OUTFILE '/tmp/x' */
=== write
SELECT /*!1*/
=== write
SELECT /*+ SET_VAR(sort_buffer_size = 16M) */ 1; DELETE FROM item
=== write -- nothing is run, and yet a read-only server refuses it (1290)
EXPLAIN UPDATE customer SET visits = 0
=== write
EXPLAIN DELETE FROM item WHERE order_id = 1
=== write
EXPLAIN FORMAT=JSON INSERT INTO audit SELECT id FROM customer
=== write
DESCRIBE REPLACE INTO audit VALUES (1)
=== write
EXPLAIN SELECT * FROM customer FOR UPDATE
=== write
EXPLAIN ANALYZE DELETE FROM item
=== write
EXPLAIN ANALYZE FORMAT=TREE UPDATE customer SET visits = 0
=== write -- MariaDB
ANALYZE UPDATE customer SET visits = 0
=== write
ANALYZE FORMAT=JSON DELETE FROM item
=== write
ANALYZE TABLE customer
=== write
ANALYZE SELECT * FROM customer FOR UPDATE
=== write
EXPLAIN FOR CONNECTION 5
=== write
SHOW ENGINES
=== write
SHOW WARNINGS
=== write
SHOW ERRORS LIMIT 1
=== write
SHOW COUNT(*) WARNINGS
=== write
SHOW PROCESSLIST
=== write
SHOW SLAVE STATUS
=== write
SHOW ALL SLAVES STATUS
=== write
SHOW MASTER STATUS
=== write
SHOW BINARY LOGS
=== write
SHOW STATUS LIKE 'Threads%'
=== read
SHOW SESSION VARIABLES LIKE 'sql_mode'
=== write
SHOW ENGINE INNODB STATUS
=== write
SELECT * FROM information_schema.processlist
=== write
SELECT * FROM performance_schema.threads
=== write
HANDLER customer OPEN
=== write
HANDLER customer READ FIRST
=== write
CREATE TABLE t (id INT)
=== write
CREATE TABLE t AS SELECT * FROM customer
=== write
ALTER TABLE customer ADD COLUMN x INT
=== write
DROP TABLE t
=== write
RENAME TABLE a TO b
=== write
OPTIMIZE TABLE customer
=== write
CHECK TABLE customer
=== write
REPAIR TABLE customer
=== write
FLUSH TABLES
=== write
KILL 5
=== write
GRANT SELECT ON shop.* TO app
=== write
CREATE INDEX i ON customer (name)
=== write
INSTALL PLUGIN x SONAME 'y'
=== write
STOP SLAVE
=== write
CACHE INDEX customer IN hot
=== write
SELECT 'unterminated
=== write
SELECT "unterminated
=== write
SELECT `unterminated
=== write
SELECT 'unterminated\'
=== write
SELECT 1 /* unterminated
=== write
SELECT (1
=== write
SELECT 1)
=== write

=== write
# only a comment
=== write
/* only a comment */
=== write
;
=== write
nonsense
=== state
BEGIN
=== state
BEGIN WORK;
=== state
BEGIN NOT ATOMIC DELETE FROM item; END
=== state
START TRANSACTION READ ONLY
=== state
START TRANSACTION WITH CONSISTENT SNAPSHOT
=== state
COMMIT
=== state
ROLLBACK AND CHAIN
=== state
SAVEPOINT a
=== state
ROLLBACK TO a
=== state
RELEASE SAVEPOINT a
=== state
XA START 'x'
=== state
SET @x = 1
=== state
SET NAMES utf8mb4
=== state
SET SESSION sql_mode = 'ANSI_QUOTES'
=== state
SET GLOBAL max_connections = 10
=== state
SET STATEMENT max_statement_time = 1 FOR SELECT 1
=== state
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
=== state
SET autocommit = 0
=== state
USE shop
=== state
LOCK TABLES customer READ, `order` WRITE
=== state
UNLOCK TABLES
=== state
PREPARE p FROM 'SELECT 1'
=== state
EXECUTE p USING @x
=== state
EXECUTE IMMEDIATE 'DELETE FROM item'
=== state
DEALLOCATE PREPARE p
=== state
CREATE TEMPORARY TABLE t (id INT)
=== state
CREATE TEMPORARY TABLE t AS SELECT * FROM customer
=== state
CREATE OR REPLACE TEMPORARY TABLE t (id INT)
=== state
DROP TEMPORARY TABLE t
=== write
CALL clean_up()
=== write
CALL shop.clean_up
=== write
DO GET_LOCK('x', 1)
=== write
DO SLEEP(0)
=== write -- what is shown is filtered by a call
SHOW TABLES WHERE GET_LOCK('a', 0)
=== write
SHOW VARIABLES WHERE (@x := 1)
=== write -- reading it resets it
SELECT * FROM information_schema.INNODB_CMP_RESET
=== read
SHOW KEYS FROM customer
=== read
SHOW TRIGGERS
=== read
SHOW PROCEDURE STATUS WHERE Db = 'shop'
=== read
SHOW FUNCTION STATUS LIKE 'add%'
=== read
SHOW CREATE FUNCTION add_tax
=== read
SHOW CREATE PROCEDURE clean_up
=== read
SHOW CREATE DATABASE shop
=== read
SHOW CREATE SEQUENCE ticket
=== read
SHOW GRANTS
=== read
SHOW COLUMNS FROM `order` WHERE Field LIKE '%_at'
=== read
DESC `order` 'status'
=== read
EXPLAIN SELECT c.name FROM customer c WHERE c.id IN (SELECT customer_id FROM `order`) ORDER BY c.name
=== read
EXPLAIN (SELECT 1) UNION (SELECT 2)
=== read
EXPLAIN WITH a AS (SELECT 1 AS x) SELECT * FROM a
=== read
ANALYZE FORMAT=JSON SELECT name FROM customer UNION SELECT name FROM product
=== read
WITH a AS (WITH b AS (SELECT 1 AS x) SELECT x FROM b) SELECT x, (SELECT MAX(id) FROM item) FROM a
=== read
SELECT * FROM (VALUES (1, 'x'), (2, 'y')) AS p
=== read
SELECT seq FROM seq_1_to_10 WHERE seq % 3 = 0
=== read
SELECT * FROM customer PARTITION_ LIMIT 1
=== read
SELECT * FROM price FOR SYSTEM_TIME ALL ORDER BY id, amount
=== read
SELECT JSON_VALUE(doc, '$.b'), JSON_QUERY(doc, '$.a'), JSON_LENGTH(doc), JSON_KEYS(doc), JSON_SET(doc, '$.c', 1), JSON_REMOVE(doc, '$.a'), JSON_VALID(doc) FROM t
=== read
SELECT REGEXP_REPLACE(name, '[0-9]+', '#'), REGEXP_SUBSTR(name, '[0-9]+'), REGEXP_INSTR(name, '[0-9]') FROM customer
=== read
SELECT COLUMN_JSON(COLUMN_CREATE('color', 'blue', 'size', 'XL')), COLUMN_GET(COLUMN_CREATE('a', 1), 'a' AS int)
=== read
SELECT CONVERT_TZ('2024-01-01 12:00:00', '+00:00', '+02:00'), STR_TO_DATE('1,5,2024', '%d,%m,%Y'), LAST_DAY('2024-02-01'), WEEK('2024-02-01', 3), MAKEDATE(2024, 31), SEC_TO_TIME(90)
=== read
SELECT TIMESTAMPADD(MINUTE, 1, placed_at), ADDDATE(placed_at, 5), SUBDATE(placed_at, INTERVAL 1 WEEK), DATE_SUB(placed_at, INTERVAL 1 HOUR), GET_FORMAT(DATE, 'ISO') FROM `order`
=== read
SELECT INET6_NTOA(INET6_ATON('::1')), AES_DECRYPT(AES_ENCRYPT('a', 'k'), 'k'), SHA1('x'), PASSWORD('x')
=== read
SELECT VALUES(b), NVL(c, 1), NVL2(d, 1, 2), LENGTHB('x'), CHR(65), TO_CHAR(NOW(), 'YYYY') FROM t
=== read
SELECT FIRST_VALUE(a) OVER (ORDER BY id), LAST_VALUE(a) OVER (ORDER BY id), NTH_VALUE(a, 2) OVER (ORDER BY id), CUME_DIST() OVER (ORDER BY id), DENSE_RANK() OVER (ORDER BY h), PERCENT_RANK() OVER (ORDER BY h), LEAD(a) OVER (ORDER BY id) FROM t
=== read
SELECT JSON_OBJECTAGG(id, name), GROUP_CONCAT(name ORDER BY id LIMIT 3), VAR_POP(id), STDDEV_SAMP(id), BIT_OR(id), BIT_XOR(id) FROM customer
=== read
SELECT {fn UCASE('a')}, {d '2024-01-01'}, {ts '2024-01-01 12:00:00'}, {t '12:00:00'}
=== read
SELECT DATE '2024-01-01', TIME '12:00:00', TIMESTAMP '2024-01-01 12:00:00'
=== read
SELECT id FROM customer WHERE (id, name) IN ((1, 'Customer 1'), (2, 'x')) AND name COLLATE utf8mb4_bin <> 'y'
=== read
SELECT id FROM customer WHERE email LIKE '%\\_%' OR name = '\\' OR name = 'a\nb' OR name = "x\\"
=== read
SELECT `c`.`id`FROM`customer`AS`c`WHERE`c`.`id`=1
=== read on primary -- what is glued to a number is read in more than one way
select id from customer where id=1and name='Customer 1'
=== read
SELECT 1 UNION (SELECT 2 UNION ALL SELECT 3) EXCEPT ALL SELECT 3
=== read
SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM `order` o WHERE o.customer_id = c.id HAVING COUNT(*) > 1)
=== read
SELECT customer.id FROM (customer, item) LEFT JOIN (product p CROSS JOIN place) ON p.id = item.product_id WHERE customer.id = 1 LIMIT 2
=== read
SELECT .customer.id FROM customer LIMIT 1
=== read
SELECT ROUND(1.5), CEILING(1.2), POW(2, 3), MOD(5, 3), SIGN(-1), CONV('ff', 16, 10), RADIANS(180), CRC32('x'), GREATEST(1, 2), LEAST(1, 2), INTERVAL(5, 1, 10)
=== read
SELECT ST_X(a), ST_AsGeoJSON(a), ST_Within(a, ST_GeomFromText('POLYGON((0 0, 9 0, 9 9, 0 9, 0 0))')), MBRContains(a, a), ST_SRID(a) FROM place
=== read
SELECT EXTRACTVALUE('<a>x</a>', '/a'), UPDATEXML('<a>x</a>', '/a', '<b/>'), SOUNDEX('x'), FORMAT(1234.5, 1), SFORMAT('{}', 1), NATURAL_SORT_KEY('a10')
=== read
SELECT table_name, engine FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY table_name
=== read
SELECT index_name, column_name, seq_in_index FROM information_schema.statistics WHERE table_schema = 'shop' AND table_name = 'customer' ORDER BY 1, 3
=== read
SELECT routine_name, routine_type, sql_data_access FROM information_schema.routines WHERE routine_schema = 'shop' ORDER BY 1
=== read
SELECT character_set_name FROM information_schema.character_sets ORDER BY 1
=== write
INSERT DELAYED INTO audit (what) VALUES ('x')
=== write
INSERT INTO audit (what) SELECT name FROM customer
=== write
INSERT INTO audit (what) VALUES ('x') ON DUPLICATE KEY UPDATE what = VALUES(what)
=== write
REPLACE INTO audit SELECT id, name FROM customer
=== write
REPLACE INTO audit (id, what) VALUES (1, 'x') RETURNING id
=== write
DELETE FROM item WHERE order_id = 1 RETURNING id
=== write
DELETE FROM item USING item JOIN `order` ON item.order_id = `order`.id
=== write
DELETE HISTORY FROM price
=== write
UPDATE (SELECT 1 AS id) AS x JOIN customer USING (id) SET visits = 1
=== write
(SELECT id FROM customer) UNION (SELECT id FROM item FOR UPDATE)
=== write
SELECT id FROM customer UNION SELECT id FROM item LOCK IN SHARE MODE
=== write
WITH x AS (SELECT * FROM customer FOR UPDATE) SELECT * FROM x
=== write
SELECT * FROM v FOR UPDATE
=== write
VALUES (NEXTVAL(ticket))
=== write
SELECT (SELECT NEXT VALUE FOR ticket) FROM customer LIMIT 1
=== write
SELECT NEXT  VALUE FOR shop.ticket
=== write
SELECT IF(1, NEXTVAL(ticket), 0)
=== write
SELECT COUNT(*) FROM customer WHERE id = NEXTVAL(shop.ticket)
=== write
SELECT SETVAL(ticket, 10, 0)
=== write
SELECT write_something(id) FROM customer
=== write
SELECT * FROM customer ORDER BY write_something(1)
=== write
SELECT * FROM customer GROUP BY id HAVING write_something(id) > 0
=== write
WITH x AS (SELECT write_something(1)) SELECT * FROM x
=== write
SELECT * FROM (SELECT write_something(1)) AS x
=== write
VALUES (write_something(1))
=== write
SELECT id FROM customer WHERE id IN (1, write_something(2))
=== write
EXPLAIN SELECT write_something(1)
=== write
ANALYZE SELECT write_something(1)
=== write
DO write_something(1)
=== write
CREATE SEQUENCE s
=== write
CREATE OR REPLACE TABLE x (a int)
=== write
CREATE TABLE x LIKE customer
=== write
CREATE VIEW w AS SELECT 1
=== write
CREATE OR REPLACE VIEW v AS SELECT 1
=== write
CREATE TRIGGER tr BEFORE INSERT ON audit FOR EACH ROW SET NEW.what = 'x'
=== write
CREATE FUNCTION f() RETURNS int RETURN 1
=== write
CREATE PROCEDURE p() SELECT 1
=== write
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM audit
=== write
CREATE DATABASE x
=== write
ALTER SEQUENCE ticket RESTART 100
=== write
ALTER VIEW v AS SELECT 1
=== write
ALTER DATABASE shop CHARACTER SET utf8mb4
=== write
ALTER TABLE measure TRUNCATE PARTITION p0
=== write
DROP VIEW v
=== write
DROP SEQUENCE ticket
=== write
DROP FUNCTION add_tax
=== write
DROP DATABASE x
=== write
DROP INDEX name_idx ON customer
=== write
RESET MASTER
=== write
PURGE BINARY LOGS TO 'bin.000001'
=== write
CHANGE MASTER TO MASTER_DELAY = 1
=== write
FLUSH TABLES customer WITH READ LOCK
=== write
LOAD INDEX INTO CACHE customer
=== write
CREATE USER x
=== write
REVOKE SELECT ON shop.* FROM app
=== write
SHUTDOWN WAIT FOR ALL SLAVES
=== write
BACKUP STAGE START
=== write
SIGNAL SQLSTATE '45000'
=== write
HELP 'contents'
=== write
IF 1 THEN DELETE FROM audit; END IF
=== write
WHILE 0 DO DELETE FROM audit; END WHILE
=== write
FOR i IN 1..2 DO DELETE FROM audit; END FOR
=== write
CASE 1 WHEN 1 THEN DELETE FROM audit; END CASE
=== write
BINLOG 'x'
=== write
CHECKSUM TABLE customer
=== write
SHOW OPEN TABLES
=== write
SHOW PROFILES
=== write
SHOW EVENTS
=== write
SHOW RELAYLOG EVENTS
=== write
SELECT 1 AS x INTO @x
=== write
TABLE customer INTO OUTFILE '/tmp/x'
=== write
VALUES (1) INTO @x
=== write
SELECT * FROM customer LIMIT 1 INTO @a, @b, @c, @d, @e, @f FOR UPDATE
=== write
SELECT DEFAULT(id) FROM t
=== state
SET STATEMENT max_statement_time = 1 FOR DELETE FROM item
=== state
SET PASSWORD = ''
=== state
SET ROLE NONE
=== state
SET @@session.sql_mode = 'NO_BACKSLASH_ESCAPES'
=== state
START SLAVE
=== state
XA RECOVER
=== state
HANDLER customer CLOSE
=== state
GET DIAGNOSTICS @n = NUMBER
=== state
BEGIN NOT ATOMIC SELECT 1; END
=== read
SELECT * FROM v
=== hidden -- of views over functions that write
SELECT * FROM visit
=== hidden -- the function claims to be deterministic and to need no SQL
SELECT id + 1 FROM innocent_visit
=== hidden
SELECT COUNT(*) FROM customer WHERE id IN (SELECT id FROM visit)
=== hidden
SELECT number FROM next_ticket

=== write -- all of them, those of the connection and of the server included
SHOW VARIABLES
=== write
SHOW GLOBAL VARIABLES LIKE 'read_only'
=== write
SHOW VARIABLES LIKE 'last_insert_id'
=== write
SHOW SESSION VARIABLES LIKE 'timestamp'
=== write
SHOW VARIABLES LIKE 'hostname'
=== write
SHOW VARIABLES LIKE '%'
=== write
SHOW VARIABLES WHERE variable_name = 'server_id'
=== write
SHOW VARIABLES WHERE variable_name = 'sql_mode' OR value = 'ON'
=== write
SHOW VARIABLES WHERE NOT variable_name = 'sql_mode'
=== read
SHOW VARIABLES LIKE 'sql_mode'
=== read
SHOW GLOBAL VARIABLES WHERE Variable_name = 'sql_mode' OR variable_name LIKE 'version'
=== read
SHOW VARIABLES WHERE Variable_name IN ('lower_case_table_names', 'max_allowed_packet');
=== write -- what tells of one server
SELECT * FROM mysql.gtid_executed
=== write
SELECT * FROM mysql.slave_master_info
=== write
SELECT * FROM `mysql` . `innodb_table_stats`
=== write
SELECT * FROM information_schema.disks
=== write
SELECT * FROM information_schema.wsrep_status
=== write
SELECT plugin_name FROM INFORMATION_SCHEMA.PLUGINS
=== read
SELECT COUNT(*) > 0 FROM mysql.help_topic
=== write -- words that are syntax elsewhere
SELECT escape(1), of(2)
=== write
SELECT 1, sql_cache(1)
=== write
SELECT EXTRACT(YEAR FROM json_table(1))
=== read
SELECT SQL_NO_CACHE (1), name LIKE 'a|%' ESCAPE ('|') FROM customer
=== read
SELECT j.a FROM customer c, JSON_TABLE('[1]', '$[*]' COLUMNS (a int PATH '$')) AS j
