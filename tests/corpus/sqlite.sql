-- Statements of SQLite, and what each of them is. A line that begins with three equals signs says it, with
-- a remark after two dashes if there is one; the statement follows, without its last newline. The tables
-- are those of sqlite.setup.sql.
--
--   read             truly a read, and the classifier has to say so
--   read on primary  truly a read, but known to be sent to the primary
--   write            never to be taken for a read: it writes, has an effect that even a reader accepts,
--                    depends on its connection, is several statements, or malformed
--   state            changes the state of its connection
--
=== read
SELECT 1
=== read
SELECT 1;
=== read
SELECT 1; -- done
=== read
SELECT id, name FROM customer WHERE id = 1
=== read
SELECT [id], `name`, "email" FROM [customer] WHERE [id] = 1
=== read
SELECT main.customer.id FROM main.customer, main."order" WHERE [main].[customer].[id] = "order".customer_id
=== read
SELECT c.name, o.id FROM customer c LEFT JOIN "order" o ON o.customer_id = c.id WHERE o.status IS NOT 'new'
=== read
SELECT * FROM customer CROSS JOIN category NATURAL JOIN (SELECT 1 AS id)
=== read
SELECT * FROM customer c JOIN "order" o USING (id) INNER JOIN item i ON i.order_id = o.id
=== read
SELECT * FROM category p FULL OUTER JOIN category c ON c.parent_id = p.id
=== read
SELECT * FROM item INDEXED BY item_by_order WHERE order_id = 3
=== read
SELECT * FROM item NOT INDEXED WHERE order_id = 3
=== read
SELECT * FROM (customer AS c, "order" AS o) WHERE c.id = o.customer_id
=== read
SELECT DISTINCT status FROM "order" ORDER BY status COLLATE NOCASE DESC NULLS LAST LIMIT 3 OFFSET 1
=== read
SELECT ALL id FROM customer LIMIT 2, 3
=== read
WITH paid AS (SELECT * FROM "order" WHERE status = 'paid') SELECT count(*) FROM paid
=== read
WITH a(x) AS (SELECT 1), b(y) AS MATERIALIZED (SELECT x FROM a), c AS NOT MATERIALIZED (SELECT y FROM b) SELECT * FROM a, b, c
=== read
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT sum(i) FROM n
=== read
WITH RECURSIVE tree(id, depth) AS (SELECT 1, 0 UNION ALL SELECT c.id, depth + 1 FROM category c, tree t WHERE c.parent_id = t.id ORDER BY 2 DESC) SELECT * FROM tree
=== read
WITH "delete"(a) AS (SELECT 1), lower(b) AS (SELECT 2) SELECT * FROM "delete", lower
=== read
SELECT (WITH t AS (SELECT max(total) AS m FROM "order") SELECT m FROM t)
=== read
VALUES (1, 'a'), (2, 'b')
=== read
VALUES (1) UNION ALL SELECT 2 ORDER BY 1 LIMIT 1
=== read
SELECT * FROM (VALUES (1, 2), (3, 4)) AS v
=== read
SELECT id FROM customer UNION SELECT id FROM "order" EXCEPT SELECT 3 INTERSECT SELECT 4
=== read
SELECT count(*), count(DISTINCT status), sum(total), avg(total), total(total), min(total), max(total) FROM "order"
=== read
SELECT status, count(*) FILTER (WHERE total > 50) FROM "order" GROUP BY 1 HAVING count(*) > 1
=== read
SELECT group_concat(status, ', '), group_concat(DISTINCT status) FROM "order"
=== read
SELECT string_agg(status, ', ' ORDER BY id) FROM "order"
=== read
SELECT json_group_array(id), json_group_object(id, name) FROM customer
=== read
SELECT row_number() OVER (PARTITION BY status ORDER BY id), rank() OVER w, dense_rank() OVER w, ntile(3) OVER (w ORDER BY id) FROM "order" WINDOW w AS (PARTITION BY status)
=== read
SELECT lag(total, 1, 0) OVER (ORDER BY id), lead(total) OVER (ORDER BY id), first_value(id) OVER w, nth_value(id, 2) OVER w FROM "order" WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW)
=== read
SELECT sum(total) FILTER (WHERE id > 3) OVER (ORDER BY id GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM "order"
=== read
SELECT CASE status WHEN 'new' THEN (1) ELSE (2) END, iif(total > 10, 'a', 'b'), ifnull(NULL, 1), nullif(1, 2), coalesce(NULL, 1) FROM "order"
=== read
SELECT CAST('1.5' AS REAL), CAST(id AS TEXT), CAST('x' AS VARCHAR(10)), CAST(1.5 AS DECIMAL(10, 2)), typeof(id) FROM customer
=== read
SELECT 1, 1.5, .5, 5., 1e10, 1.5E-3, 0xFF, x'00ff', X'AB', NULL, TRUE, CURRENT_DATE, CURRENT_TIME, CURRENT_TIMESTAMP
=== read
SELECT -1, +1, ~1, NOT 1, 1 + 2 - 3 * 4 / 5 % 6, 1 << 2, 8 >> 1, 5 & 3, 5 | 2, 'a' || 'b', 1 = 1, 1 == 1, 1 <> 2, 1 != 2, 1 < 2, 1 >= 2
=== read
SELECT 5 - -1, 5 -(-1), 5--1 is a comment
=== read
SELECT profile -> '$.age', profile ->> '$.tags[1]', profile ->> 'age' FROM customer
=== read
SELECT name LIKE 'C%' ESCAPE '!', name NOT LIKE '%;%', name GLOB 'C*', name IS NULL, name ISNULL, name NOTNULL, name NOT NULL, 1 IS NOT DISTINCT FROM 1 FROM customer
=== read
SELECT id FROM customer WHERE id IN (1, 2, 3) AND id NOT IN (SELECT id FROM category) AND id BETWEEN 1 AND 100 AND (id, name) > (1, 'a')
=== read
WITH some(id) AS (VALUES (1), (2)) SELECT id FROM customer WHERE id IN some
=== read
SELECT name FROM customer c WHERE EXISTS (SELECT 1 FROM "order" o WHERE o.customer_id = c.id) AND NOT EXISTS (SELECT 1 WHERE 0)
=== read
SELECT (SELECT (SELECT max(id) FROM customer)), (((1)))
=== read
SELECT 'it''s', '''', '', 'a\', 'for update', '; DELETE FROM item; --'
=== read
SELECT "a""b", [c"d], `e'f`, "--", [/*], `;` FROM (SELECT 1 AS "a""b", 2 AS [c"d], 3 AS `e'f`, 4 AS "--", 5 AS [/*], 6 AS `;`)
=== read -- a closing bracket ends a name, whatever precedes it
SELECT [x'], [y\] FROM (SELECT 1 AS [x'], 2 AS [y\])
=== read -- a quoted name that is none is a string
SELECT "no such column; DELETE FROM item"
=== read
SELECT "update", "delete", "into", [odd name], `a``b`, größe FROM odd
=== read
SELECT odd."update", o.[delete], o."into" FROM odd AS o JOIN odd ON 1
=== read
SELECT 1 AS "update", 2 AS 'delete', 3 AS [insert], 4 "into"
=== read -- names that are keywords elsewhere
SELECT attach, begin, replace, pragma, vacuum, analyze, explain FROM (SELECT 1 AS attach, 2 AS begin, 3 AS replace, 4 AS pragma, 5 AS vacuum, 6 AS analyze, 7 AS explain)
=== read
SELECT naïve, 日本, größe FROM (SELECT 1 AS naïve, 2 AS 日本, 3 AS größe) é
=== read
/* leading */ SELECT 1
=== read
-- leading
SELECT 1 -- trailing
=== read -- comments do not nest
SELECT 1 /* a /* b */
=== read
SELECT/**/name/**/FROM/**/customer/**/WHERE/**/id=1
=== read
SELECT lower /* between */ ('A'), upper -- here, too
 ('b')
=== read
SELECT(1)FROM(SELECT(2))x
=== read
SELECT"name"FROM[customer]WHERE`id`=1 AND'a'='a'
=== read
SELECT /* ' */ 1, /* " */ 2, -- '
 3 /* [ */
=== read
SELECT abs(-1), round(1.5, 1), length(name), lower(name), upper(name), substr(name, 2), substring(name, 1, 2), trim(name), ltrim(name, 'C'), replace(name, 'C', 'K'), instr(name, 'u'), printf('%d', 1), format('%s', name), hex(name), quote(name), unicode(name), char(65), likely(1) FROM customer
=== read -- the function, not the statement
SELECT replace(name, 'a', 'b') FROM customer
=== read
SELECT max(1, 2), min(1, 2), sign(-1), glob('a*', 'abc'), like('a%', 'abc'), zeroblob(3), concat('a', 'b'), concat_ws(',', 'a', 'b'), octet_length('ü'), unhex('4D')
=== read
SELECT date('now'), time('12:00'), datetime('now', '-1 day', 'localtime'), julianday('2024-01-01'), strftime('%Y-%m', '2024-01-01'), unixepoch('now'), timediff('2024-01-02', '2024-01-01')
=== read
SELECT random(), abs(random() % 10), hex(randomblob(4))
=== read
SELECT json_extract(profile, '$.age'), json_type(profile), json_valid(profile), json_array_length(profile, '$.tags'), json_set(profile, '$.a', 1), json_patch(profile, '{}'), json(profile), json_object('a', 1), json_array(1, 2), json_quote('x') FROM customer
=== read
SELECT j.key, j.value, j.type FROM customer c, json_each(c.profile, '$.tags') AS j WHERE c.id = 1
=== read
SELECT fullkey, atom FROM json_tree('{"a":[1,2]}')
=== read
SELECT name, type, "notnull" FROM pragma_table_info('customer')
=== read
SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) p ON m.type = 'table'
=== read
SELECT * FROM pragma_index_list('item') l, pragma_index_info(l.name) i
=== read
SELECT "table", "from", "to" FROM pragma_foreign_key_list('category')
=== read
SELECT * FROM article WHERE article MATCH 'update'
=== read
SELECT title, bm25(article), highlight(article, 0, '<b>', '</b>'), snippet(article, 1, '', '', '…', 8) FROM article WHERE article MATCH 'delete OR novels' ORDER BY rank
=== read
SELECT rowid, title FROM article WHERE title MATCH 'no*' AND body MATCH 'read'
=== read
SELECT rowid, _rowid_, oid, id FROM customer
=== read
SELECT sqlite_version(), sqlite_source_id() IS NOT NULL
=== read
SELECT * FROM recent_order WHERE status = 'paid'
=== read
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name
=== read
SELECT sql FROM main.sqlite_schema WHERE tbl_name = 'customer'
=== read
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = '_sqlx_migrations')
=== read
SELECT seq FROM sqlite_sequence WHERE name = 'audit'
=== read
SELECT total, total * 1.19 AS gross FROM "order" WHERE total > 0 ORDER BY gross
=== read
SELECT 1 WHERE 'a' = 'a' AND NOT (0 OR NULL)
=== read
SELECT id FROM customer WHERE id = ?
=== read
SELECT id FROM customer WHERE id = ?1 AND (name = ?2 OR ?2 IS NULL) LIMIT ?3
=== read
SELECT id FROM customer WHERE id = :id AND name = @name AND email = $email
=== read
SELECT :a, @b, $c, ?4
=== read
EXPLAIN SELECT * FROM customer
=== read
EXPLAIN QUERY PLAN SELECT * FROM customer WHERE email = 'x'
=== read -- nothing is run
EXPLAIN QUERY PLAN DELETE FROM item
=== read
EXPLAIN INSERT INTO audit (what) VALUES ('x')
=== read
EXPLAIN QUERY PLAN UPDATE customer SET visits = 0 WHERE id = 1;
=== read
EXPLAIN QUERY PLAN WITH x AS (SELECT 1) SELECT * FROM x
=== read -- SeaORM
SELECT "customer"."id", "customer"."name" FROM "customer" LEFT JOIN "order" ON "customer"."id" = "order"."customer_id" WHERE "customer"."id" IN (?, ?) LIMIT ?
=== read
SELECT COUNT(*) AS num_items FROM (SELECT "order"."id" FROM "order" WHERE "order"."status" = ?) AS "sub_query"
=== read
SELECT "A"."id" AS "A_id", "B"."id" AS "B_id" FROM "customer" AS "A" LEFT JOIN "order" AS "B" ON "A"."id" = "B"."customer_id" ORDER BY "A"."id" ASC
=== read -- Diesel
SELECT `customer`.`id`, `customer`.`name` FROM `customer` WHERE (`customer`.`id` = ?) LIMIT ? OFFSET ?
=== read
SELECT EXISTS (SELECT `customer`.`id` FROM `customer` WHERE (`customer`.`email` LIKE ?))
=== read -- Django
SELECT "customer"."id", COUNT("order"."id") AS "n" FROM "customer" LEFT OUTER JOIN "order" ON ("customer"."id" = "order"."customer_id") WHERE "customer"."name" LIKE '%x%' ESCAPE '\' GROUP BY "customer"."id" HAVING COUNT("order"."id") > 1 LIMIT 21
=== read
SELECT 1 AS "a" FROM "customer" WHERE "customer"."email" = 'x' LIMIT 1
=== read -- Rails
SELECT "customer".* FROM "customer" WHERE "customer"."id" = ? LIMIT ? /*application='Shop',action='update'*/
=== read
SELECT 1 AS one FROM "customer" WHERE "customer"."email" = 'x' LIMIT 1
=== read -- Hibernate
select c1_0.id,c1_0.name from customer c1_0 where c1_0.id=? limit ? offset ?
=== read -- SQLAlchemy
SELECT customer.id AS customer_id, customer.name AS customer_name 
FROM customer JOIN "order" ON customer.id = "order".customer_id 
WHERE "order".status = ?
 LIMIT ? OFFSET ?
=== read -- EF Core
SELECT "c"."id", "c"."name"
FROM "customer" AS "c"
WHERE "c"."name" IS NOT NULL AND instr("c"."name", @__p_0) > 0
ORDER BY "c"."id"
LIMIT @__p_1 OFFSET @__p_2
=== read -- Prisma
SELECT `main`.`customer`.`id`, `main`.`customer`.`email` FROM `main`.`customer` WHERE (`main`.`customer`.`email` = ? AND 1=1) LIMIT ? OFFSET ? /* traceparent=00-00-00-00 */
=== read -- refused everywhere in the same way
SELECT no_such_column + 1 FROM customer
=== read
SELECT * FROM no_such_table WHERE id = 1
=== read
SELECT c.*, (SELECT json_group_array(json_object('id', o.id, 'total', o.total)) FROM "order" o WHERE o.customer_id = c.id) AS orders FROM customer c WHERE c.deleted_at IS NULL ORDER BY c.name COLLATE NOCASE LIMIT 10
=== read
SELECT strftime('%Y-%m', placed_at) AS month, sum(total) FROM "order" GROUP BY month ORDER BY month DESC
=== read
SELECT name FROM customer WHERE name IN ('INSERT', 'UPDATE x SET', 'PRAGMA', 'ATTACH') OR name = 'load_extension(''x'')'
=== read on primary -- no catalog tells what the application's own functions do
SELECT add_tax(total) FROM "order"
=== read on primary
SELECT regexp_like(name, '^C') FROM customer
=== read -- a table that is called
SELECT title FROM article('delete OR novels') ORDER BY rank
=== write
INSERT INTO audit (what) VALUES ('x')
=== write
INSERT INTO audit (what) VALUES ('x') RETURNING id
=== write
INSERT OR REPLACE INTO customer (id, email, name) VALUES (1, 'x', 'y')
=== write
INSERT INTO customer (id, email, name) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name
=== write
REPLACE INTO customer (id, email, name) VALUES (1, 'x', 'y')
=== write
UPDATE customer SET visits = visits + 1
=== write
UPDATE OR IGNORE customer SET id = 1 RETURNING *
=== write
DELETE FROM item
=== write
/* SELECT */ DELETE FROM item
=== write
-- SELECT 1
DELETE FROM item
=== write
WITH x AS (SELECT 1 AS id) INSERT INTO audit (what) SELECT id FROM x
=== write
WITH x AS (SELECT 1 AS id) REPLACE INTO audit (id, what) SELECT id, 'x' FROM x
=== write
WITH x AS (SELECT 1 AS id) UPDATE customer SET visits = 0 WHERE id IN (SELECT id FROM x)
=== write
WITH x AS (SELECT 1 AS id) DELETE FROM item WHERE order_id IN (SELECT id FROM x) RETURNING *
=== write
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) INSERT INTO audit (what) SELECT i FROM n
=== write
WITH x AS (WITH y AS (SELECT 1) SELECT * FROM y) DELETE FROM item
=== write
WITH [x] AS (SELECT ')' AS "("), y(a) AS NOT MATERIALIZED (SELECT 1) INSERT INTO audit (what) SELECT a FROM y
=== write
SELECT last_insert_rowid()
=== write
SELECT last_insert_rowid ( ) FROM customer
=== write
SELECT "last_insert_rowid"()
=== write
SELECT [changes]()
=== write
SELECT changes()
=== write
SELECT total_changes()
=== write
SELECT id FROM customer WHERE id = last_insert_rowid()
=== write
SELECT load_extension('x')
=== write
SELECT `load_extension`('x', 'entry')
=== write
SELECT fts3_tokenizer('x', x'00')
=== write
SELECT writefile('/tmp/x', 'y'), readfile('/tmp/x'), edit('x')
=== write
SELECT eval('DELETE FROM item')
=== write
SELECT optimize(old_article) FROM old_article
=== write
SELECT rebuild_everything()
=== write
INSERT INTO article (article) VALUES ('optimize')
=== write
SELECT * FROM pragma_wal_checkpoint('TRUNCATE')
=== write
SELECT * FROM pragma_optimize()
=== write
SELECT * FROM [pragma_foreign_keys]
=== write
SELECT * FROM temp.scratch
=== write
SELECT name FROM sqlite_temp_master
=== read -- several statements
SELECT 1; SELECT 2
=== write
SELECT 1; DELETE FROM item
=== read
; SELECT 1
=== write
SELECT 1;DELETE FROM item;
=== write -- a backslash escapes nothing
SELECT 'a\'; DELETE FROM item; --'
=== write
SELECT "a\"; DELETE FROM item; --"
=== write
SELECT [a']; DELETE FROM item; --']
=== write
SELECT [a[b]; DELETE FROM item; --]]
=== write
SELECT `a``b` FROM odd; DELETE FROM item
=== write
SELECT 1 /* /* */ ; DELETE FROM item -- */
=== write
SELECT 1 -- /*
; DELETE FROM item -- */
=== write
SELECT ';'; DROP TABLE item
=== write -- a hash begins no comment here
SELECT 1 # ; DELETE FROM item
=== write
; DELETE FROM item
=== write
CREATE TABLE t (a)
=== write
CREATE TABLE IF NOT EXISTS customer (a)
=== write
CREATE TABLE t AS SELECT * FROM customer
=== write
CREATE VIEW v AS SELECT 1
=== write
CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM audit; SELECT 1; END
=== write
CREATE VIRTUAL TABLE v USING fts5(a)
=== write
CREATE UNIQUE INDEX i ON customer (name)
=== write
ALTER TABLE customer RENAME TO people
=== write
DROP TABLE item
=== write
VACUUM
=== write
VACUUM INTO 'no/such/folder/copy.db'
=== write
ANALYZE
=== write
REINDEX customer
=== write
EXPLAIN SELECT 1; DELETE FROM item
=== write
SELECT 'unterminated
=== write
SELECT "unterminated
=== write
SELECT [unterminated
=== write
SELECT `unterminated
=== write
SELECT (1
=== write
SELECT 1)
=== write
SELECT x'0
=== write -- SQLite lets a comment end with the text; who sends one has lost something
SELECT 1 /* unterminated
=== write

=== write
-- only a comment
=== write
/* only a comment
=== write
;
=== write
nonsense
=== write
(SELECT 1)
=== write
EXPLAIN
=== write
WITH x AS (SELECT 1)
=== state
BEGIN
=== state
BEGIN IMMEDIATE
=== state
begin exclusive transaction;
=== state
COMMIT
=== state
END TRANSACTION
=== state
ROLLBACK
=== state
ROLLBACK TO a
=== state
SAVEPOINT a
=== state
RELEASE a
=== state
PRAGMA foreign_keys = ON
=== state
PRAGMA journal_mode = WAL
=== state
PRAGMA query_only(0)
=== state
/* x */ PRAGMA main.user_version = 5
=== read
PRAGMA table_info(customer)
=== read
PRAGMA main.index_list(item);
=== read
PRAGMA user_version
=== state -- one that is of the connection
PRAGMA foreign_keys
=== state
PRAGMA user_version(5)
=== state
PRAGMA temp.table_info(customer)
=== state
PRAGMA journal_mode
=== state
PRAGMA optimize
=== state
PRAGMA wal_checkpoint(FULL);
=== state
ATTACH 'x.db' AS other
=== state
ATTACH DATABASE ':memory:' AS aux
=== state
DETACH DATABASE other
=== state
CREATE TEMP TABLE t (a)
=== state
CREATE TEMPORARY TABLE t AS SELECT * FROM customer
=== state
CREATE TEMP VIEW v AS SELECT 1
=== state
CREATE TEMP TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM audit; END

=== read -- a table is given its hidden columns
SELECT title FROM article('update')
=== read
SELECT a.title FROM customer c LEFT JOIN article('novels') a ON a.title = c.name
=== write -- a function
SELECT 1 FROM customer WHERE name IS DISTINCT FROM unknown(1)
=== write -- words that are syntax elsewhere
SELECT row(1), offset(2)
=== write
SELECT any(1), window(2)
=== read
SELECT title FROM article WHERE title MATCH ('update') LIMIT 1 OFFSET (0)
=== write
EXPLAIN SELECT * FROM temp.t
