-- Statements of PostgreSQL, and what each of them is. A line that begins with three equals signs says it,
-- with a remark after two dashes if there is one; the statement follows, without its last newline. The
-- tables and functions are those of postgres.setup.sql.
--
--   read             truly a read, and the classifier has to say so
--   read on primary  truly a read, but known to be sent to the primary
--   write            never to be taken for a read: it writes, locks, has an effect that even a standby
--                    accepts, depends on its session or server, is several statements, or malformed
--   state            changes the state of its session
--   hidden           writes, but nothing in its text shows it: a view, a domain or a cast does. It is taken
--                    for a read, and a standby refuses it
--
=== read
SELECT 1
=== read
select
=== read -- a trailing semicolon is still one statement
SELECT id, name FROM customer WHERE id = 1;
=== read -- and so are several of them
SELECT 1 ; ; 
=== read -- comments after the semicolon
SELECT 1; -- done
=== read
SELECT 1; /* done; really */
=== read
SELECT DISTINCT status FROM "order" ORDER BY status
=== read -- a parenthesis behind ON is no call
SELECT DISTINCT ON (customer_id) order_count(customer_id), placed_at FROM "order" ORDER BY customer_id, placed_at DESC
=== read
SELECT DISTINCT ON (o.customer_id, o.status) o.* FROM "order" AS o ORDER BY o.customer_id, o.status
=== read
SELECT ALL name FROM customer
=== read
SELECT c.*, o.total FROM customer c JOIN "order" o ON o.customer_id = c.id
=== read
SELECT c.name, o.id FROM customer c LEFT OUTER JOIN "order" o ON (o.customer_id = c.id AND o.status = 'paid')
=== read
SELECT * FROM customer RIGHT JOIN "order" ON customer.id = "order".customer_id
=== read
SELECT * FROM category p FULL OUTER JOIN category c ON c.parent_id = p.id
=== read
SELECT * FROM category CROSS JOIN (VALUES (1), (2)) AS v(n)
=== read
SELECT * FROM item NATURAL JOIN product
=== read
SELECT * FROM item i INNER JOIN item j USING (order_id, product_id)
=== read
SELECT * FROM item i JOIN item j USING (order_id) AS merged WHERE merged.order_id > 3
=== read
SELECT * FROM (customer c JOIN "order" o ON o.customer_id = c.id) AS both_of_them(a, b)
=== read
SELECT a, b FROM (VALUES (1, 2), (3, 4)) v(a, b)
=== read
SELECT i FROM generate_series(1, 3) g(i)
=== read
SELECT a, b FROM category u(a, b)
=== read
SELECT a FROM category AS u(a, b, c) WHERE b IS NULL
=== read
SELECT x, y FROM generate_series(1, 3) WITH ORDINALITY AS t(x, y)
=== read
SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) AS r(n, letter)
=== read
SELECT * FROM ROWS FROM (generate_series(1, 2), pairs(3) AS (i int, s int)) WITH ORDINALITY
=== read -- a list of column definitions
SELECT * FROM pairs(3) AS p(i int, square int)
=== read
SELECT * FROM pairs(3) AS (i int, square int)
=== read
SELECT * FROM json_to_recordset('[{"a":1,"b":"x"}]') AS x(a int, b varchar(10))
=== read
SELECT * FROM jsonb_to_record('{"a":1,"b":[1,2]}') x(a numeric(10, 2), b int[])
=== read
SELECT c.name, latest.total FROM customer c, LATERAL (SELECT total FROM "order" o WHERE o.customer_id = c.id ORDER BY placed_at DESC LIMIT 1) latest
=== read
SELECT c.name, o.id FROM customer c LEFT JOIN LATERAL orders_of(c.id) o ON true
=== read
SELECT * FROM customer, LATERAL unnest(tags) WITH ORDINALITY AS t(tag, place)
=== read
SELECT id FROM ONLY customer
=== read
SELECT id FROM customer *
=== read
SELECT count(*) FROM ONLY (measure)
=== read
WITH paid AS (SELECT * FROM "order" WHERE status = 'paid') SELECT count(*) FROM paid
=== read
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a), c (z) AS (SELECT y + 1 FROM b) SELECT * FROM a, b, c
=== read
WITH best AS MATERIALIZED (SELECT * FROM product ORDER BY price DESC LIMIT 3) SELECT * FROM best
=== read
WITH best AS NOT MATERIALIZED (SELECT * FROM product) SELECT * FROM best WHERE price > 3
=== read
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT sum(i) FROM n
=== read
WITH RECURSIVE tree AS (
    SELECT id, title, 1 AS depth FROM category WHERE parent_id IS NULL
    UNION ALL
    SELECT c.id, c.title, t.depth + 1 FROM category c JOIN tree t ON c.parent_id = t.id
) SEARCH DEPTH FIRST BY title, id SET path
SELECT * FROM tree ORDER BY path
=== read
WITH RECURSIVE tree(id) AS (SELECT 1 UNION ALL SELECT c.id FROM category c, tree t WHERE c.parent_id = t.id) SEARCH BREADTH FIRST BY id SET place SELECT id FROM tree ORDER BY place
=== read
WITH RECURSIVE walk(id) AS (SELECT 1 UNION ALL SELECT c.id FROM category c, walk w WHERE c.parent_id = w.id) CYCLE id SET is_cycle USING path SELECT * FROM walk
=== read
WITH RECURSIVE walk(id) AS (SELECT 1 UNION ALL SELECT c.id FROM category c, walk w WHERE c.parent_id = w.id) CYCLE id SET looped TO 'Y' DEFAULT 'N' USING path SELECT * FROM walk
=== read -- a name that looks like a call, and one that looks like a keyword
WITH lower(a, b) AS (SELECT 1, 2), "delete"(n) AS (SELECT 3) SELECT * FROM lower, "delete"
=== read
WITH x AS (WITH y AS (WITH z AS (SELECT 1 AS n) SELECT n + 1 AS n FROM z) SELECT n + 1 AS n FROM y) SELECT n FROM x
=== read
SELECT (WITH t AS (SELECT max(price) AS m FROM product) SELECT m FROM t)
=== read
SELECT count(*), sum(total), avg(total)::numeric(10,2), min(total), max(total) FROM "order"
=== read
SELECT status, count(*) FILTER (WHERE total > 100) AS big FROM "order" GROUP BY status HAVING count(*) > 1
=== read
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total), mode() WITHIN GROUP (ORDER BY status) FROM "order"
=== read
SELECT percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY total) FILTER (WHERE total > 10) FROM "order"
=== read
SELECT rank(100) WITHIN GROUP (ORDER BY total) FROM "order"
=== read
SELECT status, customer_id, sum(total) FROM "order" GROUP BY GROUPING SETS ((status, customer_id), (status), ())
=== read
SELECT status, date_trunc('month', placed_at), sum(total), GROUPING(status) FROM "order" GROUP BY ROLLUP (status, date_trunc('month', placed_at))
=== read
SELECT status, customer_id, count(*) FROM "order" GROUP BY CUBE (status, customer_id)
=== read
SELECT status, customer_id, count(*) FROM "order" GROUP BY DISTINCT ROLLUP (status), CUBE (customer_id)
=== read
SELECT string_agg(DISTINCT status, ', ' ORDER BY status), array_agg(id ORDER BY id DESC) FROM "order"
=== read
SELECT count(DISTINCT (customer_id, status)) FROM "order"
=== read
SELECT json_agg(o), jsonb_object_agg(o.id, o.status), bool_and(total > 0), every(total > 0), bit_or(1) FROM "order" o
=== read
SELECT id, row_number() OVER (PARTITION BY customer_id ORDER BY placed_at DESC) AS nr FROM "order"
=== read
SELECT id, lag(total, 1, 0.0) OVER w, lead(total) OVER w, first_value(total) OVER w FROM "order" WINDOW w AS (PARTITION BY status ORDER BY id)
=== read
SELECT id, sum(total) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM "order"
=== read
SELECT sum(total) OVER (ORDER BY placed_at RANGE BETWEEN INTERVAL '1 day' PRECEDING AND INTERVAL '1 day' FOLLOWING) FROM "order"
=== read
SELECT ntile(4) OVER (w ORDER BY total), dense_rank() OVER w2, percent_rank() OVER w2, cume_dist() OVER (w2 GROUPS UNBOUNDED PRECEDING) FROM "order" WINDOW w AS (PARTITION BY status), w2 AS (w ORDER BY id)
=== read
SELECT id FROM "order" ORDER BY total DESC NULLS LAST, id ASC NULLS FIRST LIMIT 10 OFFSET 5
=== read
SELECT id FROM "order" ORDER BY total USING > LIMIT ALL
=== read
SELECT id FROM "order" ORDER BY status FETCH FIRST 3 ROWS WITH TIES
=== read
SELECT id FROM "order" OFFSET 2 ROWS FETCH NEXT ROW ONLY
=== read
SELECT id FROM "order" OFFSET (SELECT 2) FETCH FIRST (1 + 1) ROWS ONLY
=== read
SELECT count(*) >= 0 FROM customer TABLESAMPLE SYSTEM (50)
=== read
SELECT id FROM customer c TABLESAMPLE BERNOULLI (10.5) REPEATABLE (42) WHERE id > 2
=== read
VALUES (1, 'one'), (2, 'two')
=== read
VALUES (1), (2) ORDER BY 1 DESC LIMIT 1
=== read
TABLE customer
=== read
TABLE ONLY "order" ORDER BY id LIMIT 2;
=== read
(SELECT 1)
=== read
((SELECT id FROM customer) UNION (SELECT id FROM "order")) ORDER BY 1 LIMIT 3
=== read
( ( ( TABLE category ) ) )
=== read
(WITH x AS (SELECT 1) TABLE x)
=== read
(VALUES (9, NULL::int, 'x')) UNION ALL TABLE category
=== read
SELECT id FROM customer UNION SELECT id FROM "order" EXCEPT SELECT 3 INTERSECT ALL SELECT 4
=== read
SELECT id FROM customer EXCEPT ALL (SELECT id FROM "order" INTERSECT DISTINCT SELECT 5) ORDER BY 1
=== read
WITH t AS (TABLE category UNION ALL TABLE category) SELECT count(*) FROM t
=== read
SELECT '1'::int, '2'::numeric(10,2), '3'::character varying(10), 'a'::bpchar(3), '4'::double precision, '{1,2}'::int[], '5'::pg_catalog.int4
=== read
SELECT CAST('1.5' AS numeric(10, 2)), CAST(name AS varchar(10)), CAST(id AS text) COLLATE "C" FROM customer
=== read
SELECT '12:00'::time(0) with time zone, timestamp(3) '2024-01-01 00:00', interval(0) '1 second', INTERVAL '1' DAY, '1 year'::interval year to month
=== read
SELECT date '2024-01-01', time with time zone '10:00+01', timestamptz '2024-01-01', numeric '1', float8 '1', bit '101', bit(3) '101', jsonb '{}'
=== read
SELECT B'1010', X'ff', b'1' || x'0'
=== read
SELECT 1, 1.5, .5, 5., 1e10, 1.5E-3, 1e+2, 12345678901234567890
=== read -- since PostgreSQL 16
SELECT 0xFF, 0o17, 0b101, 1_000_000
=== read
SELECT -1, +2, - - 3, 2 ^ 3, |/ 4, ||/ 8, @ -5, 5 % 3, 7 / 2, 1 << 2, 8 >> 1, 5 & 3, 5 | 2, 5 # 3, ~1
=== read
SELECT (ARRAY[1, 2, 3])[2], (ARRAY[1, 2, 3])[1:2], (ARRAY[[1, 2], [3, 4]])[2][1], ARRAY(SELECT id FROM category ORDER BY id)
=== read
SELECT tags[1], tags[:1], tags[1:], tags || 'new'::text, 't1' = ANY (tags), 't1' <> ALL (tags), tags @> ARRAY['t1'], tags && '{t2}' FROM customer
=== read
SELECT profile -> 'address' ->> 'city', profile #> '{address,city}', profile #>> '{address,city}' FROM customer
=== read
SELECT id FROM customer WHERE profile ? 'age' AND profile ?| array['age', 'x'] AND NOT profile ?& array['x'] AND profile @> '{"age":21}'
=== read
SELECT id FROM customer WHERE profile @? '$.address ? (@.city == "Ulm")' OR profile @@ '$.age > 30'
=== read
SELECT profile - 'age', profile #- '{address,city}', profile || '{"a":1}', profile['address']['city'] FROM customer
=== read
SELECT jsonb_path_query(profile, '$.address.city'), jsonb_path_exists(profile, '$.age ? (@ > 25)') FROM customer
=== read
SELECT key, value FROM customer, jsonb_each_text(profile) WHERE id = 1
=== read
SELECT to_jsonb(c), row_to_json(c, true), jsonb_build_object('id', id, 'tags', tags), jsonb_pretty(profile), jsonb_set(profile, '{age}', '1') FROM customer c
=== read
SELECT int4range(1, 5) @> 3, size && '[2,4)'::int4range, size -|- int4range(9, 10), lower(size), upper_inc(size) FROM product
=== read
SELECT 'a' ~ 'b', 'a' ~* 'B', 'a' !~ 'b', 'a' !~* 'B', name LIKE 'C%', name ILIKE 'c%' ESCAPE '!', name SIMILAR TO '(C|D)%', name NOT LIKE '%;%' FROM customer
=== read
SELECT to_tsvector('simple', title) @@ plainto_tsquery('simple', 'product'), ts_rank(to_tsvector(title), to_tsquery('product & 1')) FROM product
=== read
SELECT 3 OPERATOR(pg_catalog.+) 4, 2 OPERATOR(public.|*|) 5
=== read
SELECT 6 |*| 7
=== read
SELECT a.id FROM category a WHERE (a.id, a.parent_id) IN (SELECT id, parent_id FROM category) AND ROW(a.id, 1) < ROW(5, 2)
=== read
SELECT id FROM product WHERE price BETWEEN 2 AND 8 AND stock NOT BETWEEN SYMMETRIC 9 AND 7 AND category_id IN (1, 2, 3)
=== read
SELECT name FROM customer c WHERE EXISTS (SELECT FROM "order" o WHERE o.customer_id = c.id) AND NOT EXISTS (SELECT 1 FROM item WHERE order_id = c.id)
=== read
SELECT id FROM customer WHERE id > ALL (SELECT 3) AND id < ANY (VALUES (10), (20)) AND id = SOME (ARRAY[4, 5, 6])
=== read
SELECT CASE WHEN stock > (5) THEN 'much' WHEN stock IN (1, 2) THEN ('few') ELSE (SELECT 'some') END FROM product
=== read
SELECT CASE status WHEN 'new' THEN 1 ELSE 2 END, COALESCE(NULL, status), NULLIF(status, 'new'), GREATEST(1, 2), LEAST(3, 4) FROM "order"
=== read
SELECT customer.id IS NOT NULL, (deleted_at) IS NULL, true IS DISTINCT FROM false, stock IS NOT DISTINCT FROM 3, (1 = 1) IS UNKNOWN FROM customer, product
=== read
SELECT EXTRACT(YEAR FROM placed_at), EXTRACT('epoch' FROM placed_at), date_part('dow', placed_at) FROM "order"
=== read
SELECT SUBSTRING(name FROM 2 FOR 3), SUBSTRING(name FOR 2), SUBSTRING(name FROM '[0-9]+'), SUBSTRING(name SIMILAR '%#"1#"%' ESCAPE '#') FROM customer
=== read
SELECT OVERLAY(name PLACING 'xx' FROM 1 FOR 2), POSITION('o' IN name), TRIM(BOTH ' ' FROM name), TRIM(LEADING FROM name), TRIM(TRAILING 'x' FROM name), TRIM(name) FROM customer
=== read
SELECT COLLATION FOR (name), COLLATION FOR ('x' COLLATE "C") FROM customer LIMIT 1
=== read
SELECT NORMALIZE(name), NORMALIZE(name, NFC), name IS NORMALIZED, name IS NFD NORMALIZED FROM customer
=== read
SELECT placed_at AT TIME ZONE 'Europe/Berlin', (placed_at AT TIME ZONE 'UTC')::date FROM "order"
=== read
SELECT (date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-01-15', INTERVAL '10 days')
=== read
SELECT CURRENT_DATE, CURRENT_TIME, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(3), LOCALTIME, LOCALTIMESTAMP(0), now(), statement_timestamp(), transaction_timestamp(), clock_timestamp(), timeofday()
=== read
SELECT CURRENT_USER, CURRENT_ROLE, SESSION_USER, USER, CURRENT_CATALOG, CURRENT_SCHEMA, current_database(), current_schema(), current_schemas(true)
=== read
SELECT random(), gen_random_uuid(), random() * 10
=== read
SELECT pg_sleep(0.001)
=== read
SELECT XMLELEMENT(NAME product, XMLATTRIBUTES(id AS nr, title), 'text') FROM product
=== read
SELECT XMLFOREST(id, title AS "delete"), XMLCONCAT('<a/>', '<b/>'), XMLPI(NAME php, 'echo'), XMLCOMMENT('x') FROM product
=== read
SELECT XMLPARSE(CONTENT '<a>b</a>'), XMLPARSE(DOCUMENT '<a/>'), XMLSERIALIZE(CONTENT spec AS text), XMLROOT(spec, VERSION '1.0', STANDALONE YES), spec IS DOCUMENT FROM product
=== read
SELECT x.* FROM product, XMLTABLE('/p' PASSING spec COLUMNS w int PATH '@w', n FOR ORDINALITY, t text PATH '.' DEFAULT '-') AS x
=== read
SELECT XMLAGG(spec ORDER BY id), XMLAGG(XMLELEMENT(NAME p, id)) FROM product WHERE XMLEXISTS('/p' PASSING BY VALUE spec) AND xpath_exists('/p/@w', spec)
=== read -- since PostgreSQL 16
SELECT JSON_OBJECT('a': 1, 'b' VALUE 2 ABSENT ON NULL WITH UNIQUE KEYS), JSON_ARRAY(1, 2 NULL ON NULL RETURNING jsonb), JSON_ARRAYAGG(id ORDER BY id), JSON_OBJECTAGG(KEY id VALUE title), profile IS JSON OBJECT FROM customer
=== read -- since PostgreSQL 17
SELECT JSON_VALUE(profile, '$.age' RETURNING int DEFAULT 0 ON EMPTY ERROR ON ERROR), JSON_QUERY(profile, '$.address' WITH WRAPPER), JSON_EXISTS(profile, '$.age'), JSON_SCALAR(1), JSON('{}') FROM customer
=== read -- since PostgreSQL 17
SELECT t.* FROM customer, JSON_TABLE(profile, '$.address[*]' COLUMNS (n FOR ORDINALITY, city text PATH '$.city', has boolean EXISTS PATH '$.zip', NESTED PATH '$.x[*]' COLUMNS (y int PATH '$'))) AS t
=== read -- a word as a string
SELECT 'for update', 'INSERT INTO customer', 'DELETE', '; DROP TABLE customer; --', '/* no comment'
=== read
SELECT 'it''s', '''', '', '''''', ''''';'''
=== read
SELECT 'one '
  'and two; delete'
  -- the comment between them is fine
  ' and three'
=== read -- a backslash is nothing special in a plain string
SELECT 'C:\', 'for update' AS path
=== read
SELECT E'it\'s', E'back\\', e'tab\t\x41\u0041\101', E'a;b\'; DELETE FROM customer; --'
=== read
SELECT U&'d\0061ta', U&'d!0061ta' UESCAPE '!', u&"d\0061ta" FROM (SELECT 1 AS data) x
=== read
SELECT N'national', n'x', B'01', x'0F'
=== read
SELECT $$for update; it's fine$$, $tag$ $$ nested; delete $$ $tag$, $größe$ ' $größe$, $_1$x$_1$
=== read -- a dollar inside a name is part of the name
SELECT a$b$c FROM (SELECT 1 AS a$b$c) x WHERE a$b$c = 1
=== read
/* leading */ SELECT 1
=== read
-- leading
SELECT 1 -- trailing
=== read
/* a /* nested; delete */ comment */ SELECT /* for update */ 1 /**/
=== read
SELECT /* ' */ 1, /* " */ 2, -- '
  3 /* $$ */
=== read
SELECT lower /* between a name and its parenthesis */ ('A'), upper -- here, too
  ('b')
=== read
SELECT pg_catalog . lower ( 'A' ), pg_catalog/* here */./* and here */upper('b')
=== read
SELECT c . name , c/**/./**/id FROM public . customer AS c
=== read -- no space at all
SELECT/**/name/**/FROM/**/customer/**/WHERE/**/id=1
=== read
SELECT(1)FROM(SELECT(2))x
=== read
SELECT"name"FROM"customer"WHERE"id"=1 AND'a'='a'
=== read
	SELECT	1,
	2
=== read
SELECT "update", "delete", "into", "for", "select", share, lock, nextval, set, "a""b", größe FROM odd
=== read
SELECT odd.update, odd.delete, odd.insert, odd.into, odd.for, odd.select, odd . lock FROM odd
=== read
SELECT 1 AS update, 2 AS delete, 3 AS insert, 4 AS into, 5 AS for, 6 AS lock, 7 AS "for update"
=== read
SELECT share, lock, set FROM odd WHERE odd.update > 0 AND set = 10 ORDER BY lock
=== read
SELECT nextval + 1, (nextval), odd.nextval FROM odd WHERE nextval > (3)
=== read
SELECT "MixedCase"(1), public."MixedCase"(2), pg_catalog."lower"('A')
=== read
SELECT naïve, größe, 日本, "Straße" FROM (SELECT 1 AS naïve, 2 AS größe, 3 AS 日本, 4 AS "Straße") é
=== read
SELECT x.key, x.value, x.name, x.type, x.at FROM (SELECT 1 AS key, 2 AS value, 3 AS name, 4 AS type, 5 AS at) x
=== read
SELECT insert.id FROM customer AS insert WHERE insert.id = 1
=== read
SELECT id FROM customer AS copy JOIN LATERAL (SELECT 1 AS truncate) AS vacuum ON true
=== read -- words that begin statements are names like any other here
SELECT start, stop, call, copy, execute, prepare, reset, release, begin FROM (SELECT 1 AS start, 2 AS stop, 3 AS call, 4 AS copy, 5 AS execute, 6 AS prepare, 7 AS reset, 8 AS release, 9 AS begin) x
=== read
SELECT add_tax(price), add_tax(amount => 10), add_tax(amount := 10) FROM product
=== read
SELECT order_count(id), public.order_count(id), shop.f(3) FROM customer
=== read
SELECT f.* FROM shop.f(1) AS f, orders_of(1) o(a, b, c, d, e)
=== read -- the function as an attribute
SELECT c.display_name, display_name(c), (c).name FROM customer c
=== read
SELECT product_of(quantity), product_of(ALL quantity) FROM item WHERE order_id < 3
=== read
SELECT (SELECT (SELECT (SELECT max(id) FROM customer))), (((1)))
=== read
SELECT format('%s %I', name, email), concat_ws(', ', VARIADIC ARRAY[name, 'b']), md5(name), encode(sha256(name::bytea), 'hex'), length(name), reverse(name), left(name, 2), right(name, 2), repeat('x', 2), split_part(email, '@', 1), regexp_replace(name, '\d+', '#', 'g') FROM customer
=== read
SELECT round(price, 1), trunc(price), ceil(price), abs(-price), sqrt(price), power(price, 2), mod(stock, 3), width_bucket(price, 0, 20, 4), to_char(price, 'FM990.00'), to_number('1,5', '9,9') FROM product
=== read
SELECT age(placed_at), date_bin('15 minutes', placed_at, timestamp '2024-01-01'), make_interval(days => 3), justify_days('40 days'), to_timestamp(0), to_date('2024', 'YYYY'), make_date(2024, 1, 2), isfinite(placed_at) FROM "order"
=== read
SELECT array_length(tags, 1), cardinality(tags), array_position(tags, 't1'), array_to_string(tags, ','), string_to_array('a,b', ','), array_append(tags, 'x'), array_remove(tags, 't1'), unnest(tags) FROM customer
=== read
SELECT name, similarity FROM (SELECT name, 1.0 AS similarity FROM customer) s
=== read
SELECT * FROM regexp_matches('a1b2', '[a-z]\d', 'g') m, string_to_table('a,b', ',') s, generate_subscripts(ARRAY[1, 2], 1) i
=== read
SELECT inet '10.0.0.1' << inet '10.0.0.0/8', host(inet '10.0.0.1'), point(1, 2) <-> point(3, 4), box '(1,1),(0,0)' @> point '(0.5,0.5)', circle(point(0, 0), 1)
=== read
SELECT version(), current_setting('server_version_num'), current_setting('no_such', true)
=== write -- the application's own settings are its session's
SELECT current_setting('shop.tenant', true)
=== write
SHOW shop.tenant
=== write -- the escape character comes later
SELECT U&"nextv!0061l" UESCAPE '!' ('ticket')
=== read -- a cast that looks like a call
SELECT tsquery('a & b'), uuid('6d7b7f9e-0000-4000-8000-000000000000')
=== write -- a sequence counts ahead on a standby
SELECT last_value FROM ticket
=== write -- a default argument may call anything
SELECT numbered()
=== read
SELECT has_table_privilege('customer', 'SELECT'), pg_table_is_visible('customer'::regclass), pg_get_userbyid(10), to_regclass('no_such_table'), 'customer'::regclass::oid, obj_description('customer'::regclass, 'pg_class'), col_description('customer'::regclass, 1)
=== read
SELECT pg_relation_size('customer'), pg_total_relation_size('customer'), pg_size_pretty(pg_table_size('customer')), pg_database_size(current_database()), pg_column_size(name) FROM customer
=== read
SELECT pg_get_viewdef('recent_order'::regclass), pg_get_indexdef(indexrelid), pg_get_constraintdef(c.oid) FROM pg_index, pg_constraint c WHERE indrelid = 'customer'::regclass AND conrelid = indrelid
=== read
SELECT pg_typeof(1), pg_typeof(name), format_type(25, NULL) FROM customer
=== read
SELECT * FROM recent_order WHERE status = 'paid'
=== read
SELECT * FROM best_seller ORDER BY sold DESC
=== read
SELECT pg_get_serial_sequence('audit', 'id'), seqstart, seqincrement FROM pg_sequence WHERE seqrelid = 'ticket'::regclass
=== read
SELECT s.value FROM shop.setting s WHERE s.key = 'theme'
=== read
SELECT ctid, xmin, tableoid::regclass, * FROM category
=== read
SELECT set.lock FROM (SELECT 1 AS lock) set
=== read
SHOW server_version
=== read
show TIME ZONE
=== read
SHOW search_path;
=== read
SHOW TRANSACTION ISOLATION LEVEL
=== read
EXPLAIN SELECT * FROM customer
=== read
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT * FROM customer WHERE id = 1
=== read
EXPLAIN ANALYZE SELECT count(*) FROM item
=== read
EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) SELECT count(*) FROM item
=== read
EXPLAIN ANALYZE VERBOSE SELECT count(*) FROM item
=== read
EXPLAIN VERBOSE TABLE item
=== read
EXPLAIN (ANALYZE true, SUMMARY false) WITH x AS (SELECT 1) SELECT * FROM x
=== read -- nothing is run
EXPLAIN DELETE FROM item
=== read
EXPLAIN INSERT INTO audit (what) VALUES ('x')
=== read
EXPLAIN UPDATE customer SET visits = 0 WHERE id = 1
=== read
EXPLAIN (VERBOSE, COSTS false) DELETE FROM item WHERE order_id = 1
=== read
EXPLAIN (ANALYZE false) UPDATE customer SET visits = 0
=== read
EXPLAIN (ANALYZE OFF) DELETE FROM item
=== read
EXPLAIN (ANALYZE 0, VERBOSE 1) DELETE FROM item
=== read
EXPLAIN VERBOSE WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone
=== read
EXPLAIN SELECT * FROM customer FOR UPDATE
=== read
EXPLAIN SELECT nextval('ticket'), log_visit('x')
=== read -- SQL has it that this locks nothing
SELECT * FROM customer FOR READ ONLY
=== read
EXPLAIN MERGE INTO product p USING item i ON i.product_id = p.id WHEN MATCHED THEN UPDATE SET stock = 0
=== read
/* why so slow? */ EXPLAIN (FORMAT YAML) (SELECT 1)
=== read
COPY (SELECT * FROM customer ORDER BY id) TO STDOUT
=== read
COPY (SELECT id, name FROM customer) TO STDOUT WITH (FORMAT csv, HEADER true, DELIMITER ';', QUOTE '"')
=== read
COPY customer TO STDOUT
=== read
COPY customer (id, name) TO STDOUT (FORMAT binary);
=== read
COPY "order" TO STDOUT WITH CSV HEADER
=== read
copy (VALUES (1), (2)) to stdout
=== read
COPY (WITH x AS (SELECT 1) TABLE x) TO STDOUT
=== read -- a file's name that is a column's
SELECT 'program', 'stdin' FROM customer
=== read -- sqlx
SELECT id, email, name FROM customer WHERE id = $1
=== read
SELECT id, email AS "email!", name AS "name?: String" FROM customer WHERE email = ANY($1::text[]) ORDER BY id LIMIT $2 OFFSET $3
=== read
SELECT EXISTS(SELECT 1 FROM customer WHERE email = $1) AS "exists!"
=== read
SELECT COUNT(*) AS "count!: i64" FROM "order" WHERE ($1::text IS NULL OR status = $1) AND placed_at >= $2
=== read
SELECT * FROM UNNEST($1::bigint[], $2::text[]) AS t(id, name)
=== read -- SeaORM
SELECT "customer"."id", "customer"."email", "customer"."name" FROM "customer" WHERE "customer"."id" = $1 LIMIT $2
=== read
SELECT COUNT(*) AS num_items FROM (SELECT "order"."id", "order"."status" FROM "order" WHERE "order"."status" IN ($1, $2)) AS "sub_query"
=== read
SELECT "A"."id" AS "A_id", "A"."name" AS "A_name", "B"."id" AS "B_id", CAST("B"."status" AS "text") AS "B_status" FROM "customer" AS "A" LEFT JOIN "order" AS "B" ON "A"."id" = "B"."customer_id" ORDER BY "A"."id" ASC LIMIT 10
=== read -- Diesel
SELECT "customer"."id", "customer"."email" FROM "customer" WHERE (("customer"."name" ILIKE $1) AND ("customer"."deleted_at" IS NULL)) ORDER BY "customer"."id" DESC LIMIT $2 OFFSET $3
=== read
SELECT EXISTS (SELECT "customer"."id" FROM "customer" WHERE ("customer"."email" = $1))
=== read
SELECT "order"."id" FROM "order" WHERE ("order"."customer_id" = ANY($1)) -- binds: [[1, 2]]
=== read -- Django
SELECT "customer"."id", "customer"."name", COUNT("order"."id") AS "orders__count" FROM "customer" LEFT OUTER JOIN "order" ON ("customer"."id" = "order"."customer_id") WHERE "customer"."email"::text LIKE UPPER($1) GROUP BY "customer"."id" HAVING COUNT("order"."id") > 1 ORDER BY "customer"."id" ASC LIMIT 21
=== read
SELECT (1) AS "a" FROM "customer" WHERE "customer"."email" = 'c1@shop.test' LIMIT 1
=== read
SELECT COUNT(*) FROM (SELECT DISTINCT ON ("customer"."name") "customer"."id" AS "col1" FROM "customer") subquery
=== read
SELECT DATE_TRUNC('day', "order"."placed_at" AT TIME ZONE 'UTC') AS "datetimefield" FROM "order" WHERE ("order"."placed_at" AT TIME ZONE 'UTC')::date BETWEEN '2024-01-01'::date AND '2024-12-31'::date ORDER BY 1 ASC
=== read -- Rails
SELECT "customer".* FROM "customer" WHERE "customer"."id" = $1 LIMIT $2 /*application='Shop',controller='customers',action='show'*/
=== read
SELECT 1 AS one FROM "customer" WHERE "customer"."email" = 'a@b.c' LIMIT 1
=== read
SELECT COUNT(*) FROM "order" WHERE "order"."status" != 'new' AND "order"."placed_at" IS NOT NULL
=== read
SELECT MAX("order"."total") AS "maximum_total", "order"."status" AS "order_status" FROM "order" GROUP BY "order"."status"
=== read -- Hibernate
select c1_0.id,c1_0.email,c1_0.name from customer c1_0 where c1_0.email=$1 order by c1_0.id offset $2 rows fetch first $3 rows only
=== read
/* select c from Customer c where c.name like :n */ select customer0_.id as id1_0_, customer0_.name as name2_0_ from customer customer0_ where customer0_.name like $1 escape ''
=== read -- SQLAlchemy
SELECT customer.id, customer.name, anon_1.count_1 
FROM customer LEFT OUTER JOIN (SELECT "order".customer_id AS customer_id, count(*) AS count_1 
FROM "order" GROUP BY "order".customer_id) AS anon_1 ON customer.id = anon_1.customer_id 
WHERE customer.id IN ($1::BIGINT, $2::BIGINT) ORDER BY customer.id
 LIMIT $3::BIGINT
=== read
select pg_catalog.version()
=== read -- EF Core
-- GetCustomers
SELECT c."id", c."name", o0."id", o0."status"
FROM "customer" AS c
LEFT JOIN (
    SELECT o."id", o."customer_id", o."status"
    FROM "order" AS o
    WHERE o."status" = 'new'
) AS o0 ON c."id" = o0."customer_id"
ORDER BY c."id"
=== read
SELECT count(*)::int FROM customer AS c WHERE c.name IS NOT NULL AND (c.name = '' OR strpos(c.name, 'x') > 0 OR c.email LIKE 'c%' ESCAPE '\')
=== read -- Prisma
SELECT "public"."customer"."id", "public"."customer"."email" FROM "public"."customer" WHERE ("public"."customer"."email" = $1 AND 1=1) LIMIT $2 OFFSET $3 /* traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 */
=== read
SELECT COUNT(*) FROM (SELECT "public"."order"."id" FROM "public"."order" WHERE 1=1 OFFSET $1) AS "sub"
=== read
SELECT "t0"."id", "t0"."name", "Customer_orders"."__prisma_data__" AS "orders" FROM "public"."customer" AS "t0" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t1"."id") AS "__prisma_data__" FROM "public"."order" AS "t1" WHERE "t0"."id" = "t1"."customer_id") AS "t2") AS "Customer_orders" ON TRUE LIMIT $1
=== read -- the comments of sqlcommenter
SELECT id FROM customer WHERE id = 1 /*db_driver='django.db.backends.postgresql',framework='django%3A4.2',route='%5Eupdate/%24',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/;
=== read -- catalogs, as ORMs ask for them
SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name
=== read
SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'customer' ORDER BY ordinal_position
=== read
SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_name = '_sqlx_migrations')
=== read
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"customer"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
=== read
SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type AS t LEFT JOIN pg_range AS r ON oid = rngtypid WHERE t.typname IN ('int2', 'int4', 'jsonb')
=== read
SELECT ns.nspname, t.typname, typtype FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace ns ON (ns.oid = typnamespace) WHERE t.oid = 25
=== read
SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = 1 ORDER BY enumsortorder
=== read -- psql's \dt
SELECT n.nspname as "Schema",
  c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'p' THEN 'partitioned table' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','')
      AND n.nspname !~ '^pg_toast'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2;
=== read -- psql's \d customer
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(customer)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;
=== read
SELECT c2.relname, i.indisprimary, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), pg_catalog.pg_get_constraintdef(con.oid, true), contype FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x')) WHERE c.oid = 'customer'::regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid
=== read -- psql's \df
SELECT p.proname, pg_catalog.pg_get_function_result(p.oid), pg_catalog.pg_get_function_arguments(p.oid), CASE p.prokind WHEN 'a' THEN 'agg' ELSE 'func' END FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog'
=== read -- psql's \l
SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.array_to_string(d.datacl, E'\n') FROM pg_catalog.pg_database d ORDER BY 1
=== read
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'customer'::regclass AND NOT tgisinternal
=== read
SELECT conname, confupdtype, confdeltype FROM pg_constraint WHERE contype = 'f' AND confupdtype = 'a'
=== read
SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE privilege_type IN ('INSERT', 'UPDATE')
=== read -- refused everywhere in the same way
SELECT no_such_column FROM customer
=== read
SELECT 1 / 0
=== read
SELECT * FROM no_such_table WHERE id = 1
=== read
SELECT 'x'::int
=== read -- one more of each of what real applications ask
SELECT o.id, o.total, (o.total - lag(o.total) OVER (PARTITION BY o.customer_id ORDER BY o.placed_at)) / NULLIF(o.total, 0) * 100 AS growth FROM "order" o WHERE o.placed_at >= now() - interval '30 days' AND o.status NOT IN ('new', 'gone') ORDER BY o.placed_at DESC
=== read
SELECT p.id, p.title, ts_headline('simple', p.title, q) FROM product p, websearch_to_tsquery('simple', 'product') q WHERE to_tsvector('simple', p.title) @@ q
=== read
SELECT day.day::date, coalesce(sum(m.value), 0) FROM generate_series('2024-01-01'::timestamp, '2024-01-07', '1 day') AS day LEFT JOIN measure m ON m.day = day.day::date GROUP BY 1 ORDER BY 1
=== read
SELECT c.id FROM customer c WHERE (c.created_at, c.id) > ('2023-01-01', 5) ORDER BY c.created_at, c.id LIMIT 20
=== read
SELECT jsonb_agg(jsonb_build_object('id', c.id, 'orders', (SELECT jsonb_agg(o.*) FROM "order" o WHERE o.customer_id = c.id))) FROM customer c
=== read
SELECT current_setting('TimeZone') AS zone, to_char(now() AT TIME ZONE current_setting('TimeZone'), 'YYYY"T"')
=== read
SELECT setseed.id FROM customer setseed WHERE setseed.id = 1
=== read
SELECT pg_notify.id AS currval FROM customer AS pg_notify(id) WHERE (1) = 1
=== read
SELECT pg_snapshot_xmin(s), pg_snapshot_xmax(s) FROM (SELECT '10:20:10,14'::pg_snapshot AS s) x
=== read -- how an outbox is read
SELECT id, what FROM audit WHERE id < 10 AND pg_snapshot_xmin(pg_current_snapshot()) IS NOT NULL ORDER BY id
=== read
SELECT n::numeric(4,1)::text || ' %' FROM (VALUES (1), (2)) AS t (n) WHERE n::int IN (1,2)
=== read
SELECT a.n, b.n FROM (SELECT 1 AS n) AS a, (SELECT 2 AS n) AS b WHERE a.n <> b.n AND a.n!= -1 AND b.n>=-1 AND a.n*-1<0
=== read
SELECT '2024-01-01'::date + 1, date '2024-03-01' - date '2024-01-01', 10 - -5, 10--5 is a comment here
=== read -- an operator is cut before a comment
SELECT 1 +/* x */2, 2 *-- y
3
=== read
SELECT @ -1, 5 != -1, 2<>/**/3, 'a'||'b'||$$c$$
=== read
SELECT * FROM customer WHERE email = 'x' OR name = ' FOR SHARE ' OR name IN ('LOCK IN SHARE MODE', 'INTO OUTFILE')
=== read
SELECT "for update"."nowait" FROM (SELECT 1 AS "nowait") AS "for update"
=== read
SELECT "x;y", "--z", "/*w*/", "$$" FROM (SELECT 1 AS "x;y", 2 AS "--z", 3 AS "/*w*/", 4 AS "$$") AS "a""b"
=== read
SELECT EXTRACT(DAY FROM now())::int + 1 AS update, POSITION('for' IN 'x for update')
=== read
SELECT id AS "id", name AS name FROM customer WHERE name ~ '^(insert|update)\s' OR name ~* E'for\\s+update'
=== read
SELECT generate_series(1, 3), generate_series(1, 2) AS b ORDER BY 1
=== read
SELECT (orders_of(1)).id, (orders_of(1)).*
=== read
SELECT ROW(1, 'a'), (1, 'b'), ROW(c.*) FROM category c
=== read
SELECT (ROW(1, 2, 'x')::category).id, (c).title, (SELECT x FROM category x LIMIT 1).title FROM category c
=== read
SELECT CASE WHEN EXISTS(SELECT 1 FROM pg_extension WHERE extname = 'dblink') THEN 'yes' ELSE 'no' END
=== read
SELECT count(*) FROM pg_proc WHERE proname = 'nextval' AND provolatile = 'v'
=== read on primary -- the name has a second function, which writes
SELECT quote(2)
=== read on primary -- a name with a blank
SELECT "Mixed Case"(1)
=== read on primary -- the comment asks for it
/*dbrouter:primary*/ SELECT 1
=== read on primary
SELECT id, quote(id) FROM customer WHERE id < 3
=== write
INSERT INTO audit (what) VALUES ('x')
=== write
INSERT INTO audit (what) VALUES ('x') RETURNING id
=== write
INSERT INTO product (id, title, price) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title RETURNING *
=== write
INSERT INTO audit (what) SELECT name FROM customer
=== write
insert into audit default values
=== write
UPDATE customer SET visits = visits + 1 WHERE id = 1
=== write
UPDATE customer c SET visits = 0 FROM "order" o WHERE o.customer_id = c.id RETURNING c.id
=== write
DELETE FROM item
=== write
DELETE FROM item USING "order" o WHERE o.id = item.order_id AND o.status = 'gone' RETURNING *
=== write
MERGE INTO product p USING (VALUES (1, 5)) v(id, n) ON v.id = p.id WHEN MATCHED THEN UPDATE SET stock = n WHEN NOT MATCHED THEN DO NOTHING
=== write
TRUNCATE audit
=== write
/* harmless */ DELETE FROM item
=== write
-- SELECT 1
DELETE FROM item
=== write
/* /* */ SELECT 1; */ DELETE FROM item
=== write
WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone
=== write
WITH a AS (SELECT 1), b AS (UPDATE customer SET visits = 1 RETURNING id) SELECT * FROM a
=== write
WITH a AS (INSERT INTO audit (what) VALUES ('x') RETURNING id), b AS (SELECT id FROM a) SELECT * FROM b
=== write
WITH a AS MATERIALIZED (DELETE FROM item RETURNING *) TABLE a
=== write
WITH a(n) AS (SELECT 1), b(m) AS NOT MATERIALIZED (INSERT INTO audit (what) SELECT n::text FROM a RETURNING id) SELECT count(*) FROM b
=== write
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3), w AS (DELETE FROM item WHERE order_id IN (SELECT n FROM t) RETURNING 1) SELECT * FROM t
=== write -- refused everywhere: only at the top
SELECT * FROM (WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone) x
=== write
WITH x AS (WITH y AS (DELETE FROM item RETURNING *) SELECT * FROM y) SELECT * FROM x
=== write
WITH x AS (SELECT 1) INSERT INTO audit (what) SELECT 'x' FROM x
=== write
WITH x AS (SELECT 1 AS id) UPDATE customer SET visits = 1 FROM x WHERE x.id = customer.id
=== write
WITH x AS (SELECT 1 AS id) DELETE FROM item USING x WHERE order_id = x.id
=== write
WITH x AS (SELECT 1 AS id) MERGE INTO product p USING x ON x.id = p.id WHEN MATCHED THEN DELETE
=== write
WITH x AS (/* SELECT */ DELETE /* no */ FROM item RETURNING *) SELECT 1
=== write
(WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone)
=== write
SELECT * FROM customer WHERE id = 1 FOR UPDATE
=== write
SELECT * FROM customer FOR NO KEY UPDATE
=== write
SELECT * FROM customer FOR SHARE
=== write
SELECT * FROM customer FOR KEY SHARE
=== write
SELECT * FROM customer WHERE id = 1 FOR UPDATE SKIP LOCKED
=== write
SELECT * FROM customer WHERE id = 1 FOR UPDATE NOWAIT
=== write
SELECT * FROM customer c JOIN "order" o ON o.customer_id = c.id FOR UPDATE OF c
=== write
SELECT * FROM customer c, "order" o WHERE o.customer_id = c.id FOR UPDATE OF c SKIP LOCKED FOR SHARE OF o NOWAIT
=== write
SELECT * FROM customer FOR/* a comment */UPDATE
=== write
SELECT * FROM customer for -- a comment
update
=== write
SELECT * FROM customer FOR NO /* x */ KEY -- y
  UPDATE LIMIT 1
=== write
SELECT * FROM customer FOR UPDATE LIMIT 1
=== write
SELECT * FROM customer LIMIT 1 FOR UPDATE;
=== write
SELECT * FROM (SELECT * FROM customer FOR UPDATE) locked
=== write
SELECT id FROM customer WHERE id IN (SELECT id FROM customer ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED)
=== write
WITH locked AS (SELECT id FROM customer LIMIT 1 FOR SHARE) SELECT * FROM locked
=== write
WITH locked AS (SELECT id FROM customer WHERE id = 3 FOR KEY SHARE) SELECT * FROM "order" WHERE customer_id IN (SELECT id FROM locked)
=== write
(SELECT * FROM customer FOR UPDATE)
=== write
(SELECT * FROM customer) FOR UPDATE
=== write
SELECT (SELECT name FROM customer c WHERE c.id = o.customer_id FOR SHARE) FROM "order" o
=== write
SELECT * FROM customer WHERE name = 'x' OR id=1FOR UPDATE
=== write
SELECT * FROM customer WHERE name='x'FOR UPDATE
=== write
SELECT * FROM"customer"FOR UPDATE
=== write
SELECT a.update FROM odd a FOR UPDATE
=== write
SELECT "for" FROM odd FOR SHARE
=== write
SELECT 1 AS for FROM odd FOR UPDATE
=== write
TABLE customer FOR UPDATE
=== write
SELECT * INTO backup FROM customer
=== write
SELECT id, name INTO TABLE backup FROM customer WHERE id = 1
=== write
SELECT 1 AS n INTO UNLOGGED backup
=== write
SELECT 1INTO backup
=== write
SELECT "into" INTO backup FROM odd
=== write
WITH x AS (SELECT 1 AS n) SELECT n INTO backup FROM x
=== write
SELECT id/**/INTO/**/backup FROM customer
=== state -- a temporary table
SELECT * INTO TEMP backup FROM customer
=== state
SELECT 1 AS n INTO TEMPORARY TABLE backup
=== write
SELECT 1 UNION SELECT 2 INTO backup
=== write
SELECT nextval('ticket')
=== write
SELECT NEXTVAL ('ticket')
=== write
SELECT pg_catalog.nextval('ticket')
=== write
SELECT "nextval"('ticket'), 1
=== write
SELECT "pg_catalog"."nextval"('ticket')
=== write
SELECT pg_catalog /* x */ . /* y */ nextval -- z
  ('ticket')
=== write
SELECT U&"n\0065xtval"('ticket')
=== write
SELECT id, nextval('ticket') FROM customer
=== write
SELECT * FROM nextval('ticket')
=== write
SELECT * FROM customer, LATERAL nextval('ticket') AS n
=== write
SELECT * FROM ROWS FROM (generate_series(1, 2), nextval('ticket')) AS r
=== write
SELECT 1 WHERE nextval('ticket') > 0
=== write
SELECT CASE WHEN nextval('ticket') > 0 THEN 1 END
=== write
VALUES (nextval('ticket'))
=== write
SELECT 1 ORDER BY nextval('ticket')
=== write
SELECT 1 LIMIT nextval('ticket')
=== write
SELECT count(*) FILTER (WHERE nextval('ticket') > 0) FROM customer
=== write
SELECT sum(id) OVER (ORDER BY nextval('ticket')) FROM customer
=== write
SELECT ARRAY[nextval('ticket')], (ARRAY[1, 2])[nextval('ticket')]
=== write
WITH t AS (SELECT nextval('ticket') AS n) SELECT n FROM t
=== write
SELECT setval('ticket', 10), setval('ticket', 10, false)
=== write
SELECT currval('ticket')
=== write
SELECT lastval()
=== write
SELECT currval(pg_get_serial_sequence('audit', 'id'))
=== write
SELECT pg_advisory_lock(1)
=== write
SELECT pg_advisory_xact_lock(1, 2)
=== write
SELECT pg_try_advisory_lock(1)
=== write
SELECT pg_try_advisory_xact_lock(hashtext('job'))
=== write
SELECT pg_advisory_lock_shared(3), pg_advisory_unlock_shared(3), pg_advisory_unlock(3), pg_advisory_unlock_all()
=== write
SELECT pg_try_advisory_lock_shared(1), pg_try_advisory_xact_lock_shared(1)
=== write
SELECT id FROM customer WHERE pg_try_advisory_xact_lock(id) LIMIT 1
=== write
SELECT pg_notify('channel', 'text')
=== write
SELECT pg_listening_channels()
=== write
SELECT set_config('search_path', 'app', false)
=== write
SELECT set_config('app.tenant', '7', true)
=== write
SELECT c.id FROM customer c, set_config('app.tenant', '7', true) WHERE c.id = 1
=== write
SELECT setseed(0.5)
=== write
SELECT lo_create(0)
=== write
SELECT lo_creat(-1)
=== write
SELECT lo_unlink(1)
=== write
SELECT lo_put(1, 0, '\x00')
=== write
SELECT lo_from_bytea(0, '\x00')
=== write
SELECT lo_open(1, 131072)
=== write
SELECT lo_import('/etc/hostname')
=== write
SELECT lo_export(1, '/tmp/x')
=== write
SELECT loread(0, 10), lowrite(0, 'x')
=== write
SELECT txid_current()
=== write
SELECT txid_current_if_assigned(), pg_current_xact_id_if_assigned()
=== write
SELECT pg_current_xact_id()
=== write
SELECT pg_cancel_backend(0)
=== write
SELECT pg_terminate_backend(0)
=== write
SELECT pg_reload_conf()
=== write
SELECT pg_rotate_logfile()
=== write
SELECT pg_promote()
=== write
SELECT pg_switch_wal()
=== write
SELECT pg_create_restore_point('x')
=== write
SELECT pg_wal_replay_pause(), pg_wal_replay_resume()
=== write
SELECT pg_logical_emit_message(false, 'x', 'y')
=== write
SELECT pg_create_physical_replication_slot('x'), pg_drop_replication_slot('x')
=== write
SELECT pg_create_logical_replication_slot('x', 'test_decoding')
=== write
SELECT pg_replication_origin_create('x')
=== write
SELECT pg_export_snapshot()
=== write
SELECT pg_stat_reset()
=== write
SELECT pg_stat_clear_snapshot()
=== write
SELECT brin_summarize_new_values('customer_pkey')
=== write
SELECT gin_clean_pending_list('customer_pkey')
=== write
SELECT pg_read_file('/etc/hostname'), pg_ls_dir('.'), pg_stat_file('PG_VERSION')
=== write
SELECT pg_import_system_collations('pg_catalog')
=== write
SELECT pg_log_backend_memory_contexts(0)
=== write
SELECT dblink_exec('host=elsewhere', 'DELETE FROM t')
=== write
SELECT * FROM dblink('host=elsewhere', 'SELECT 1') AS t(n int)
=== write -- they run the text that they are given
SELECT query_to_xml('SELECT nextval(''ticket'')', true, false, '')
=== write
SELECT cursor_to_xml('c', 1, true, false, '')
=== write
SELECT ts_stat('SELECT to_tsvector(''x'') WHERE nextval(''ticket'') > 0')
=== write
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery WHERE nextval(''ticket'') > 0')
=== write -- it depends on the session or on the server
SELECT pg_backend_pid()
=== write
SELECT inet_server_addr(), inet_server_port()
=== write
SELECT inet_client_addr(), inet_client_port()
=== write
SELECT pg_is_in_recovery()
=== write
SELECT pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn()
=== write
SELECT pg_last_xact_replay_timestamp()
=== write
SELECT pg_current_wal_lsn()
=== write
SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn()
=== write
SELECT pg_walfile_name('0/1000000')
=== write
SELECT pg_postmaster_start_time(), pg_conf_load_time()
=== write
SELECT * FROM pg_temp.scratch
=== write
SELECT pg_my_temp_schema(), pg_is_other_temp_schema(1)
=== write -- a standby is up to 32 values ahead
SELECT last_value FROM pg_sequences WHERE sequencename = 'ticket'
=== write
SELECT pg_sequence_last_value('ticket'::regclass)
=== write
SELECT setting FROM pg_settings WHERE name = 'transaction_read_only'
=== write
SELECT name, setting FROM pg_show_all_settings()
=== write
SHOW transaction_read_only
=== write
SHOW in_hot_standby
=== write
SHOW ALL
=== write
SELECT current_setting('transaction_read_only'), current_setting('in_hot_standby')
=== write
SELECT pg_control_checkpoint(), pg_control_recovery()
=== write
SELECT * FROM pg_stat_activity
=== write
SELECT pid, state FROM pg_catalog.pg_stat_activity WHERE pid <> 1
=== write
TABLE pg_stat_replication
=== write
SELECT * FROM pg_stat_wal_receiver
=== write
SELECT * FROM pg_locks
=== write
SELECT * FROM "pg_stat_activity"
=== write
SELECT * FROM pg_prepared_statements
=== write
SELECT name FROM pg_cursors
=== write
SELECT * FROM pg_stat_user_tables
=== write
SELECT pg_stat_get_backend_idset(), pg_blocking_pids(1)
=== write
SELECT log_visit('x')
=== write
SELECT shop.touch(1)
=== write
SELECT public.log_visit(name) FROM customer
=== write
SELECT "Loud"(1)
=== write
SELECT public . "Loud" ( 1 )
=== write
SELECT quote(1, 'written')
=== write
SELECT id FROM customer WHERE log_visit(name) IS NOT NULL
=== write
SELECT * FROM log_visit('x')
=== write
SELECT c.id FROM customer c JOIN LATERAL shop.touch(c.id::int) t ON true
=== write
SELECT noisy_sum(id::int) FROM customer
=== write
SELECT noisy_sum(1) OVER ()
=== write -- the function as an attribute
SELECT c.greeted FROM customer c
=== write
SELECT (c).greeted FROM customer c
=== write
SELECT customer.greeted FROM customer
=== write
SELECT (q.x).greeted FROM (SELECT c AS x FROM customer c) q
=== write
SELECT * FROM customer c WHERE c . greeted IS NOT NULL
=== write
SELECT "c"."greeted" FROM customer AS "c"
=== write
SELECT greeted(c) FROM customer c
=== write -- the name of a harmless function, for other arguments
SELECT initcap(c) FROM customer c
=== write
SELECT 1 |+| 2
=== write
SELECT 1|+|2
=== write
SELECT 1 OPERATOR(public.|+|) 2
=== write
SELECT 1 OPERATOR ( public . |+| ) 2
=== write -- the view calls nextval
SELECT * FROM next_ticket
=== write
TABLE public.next_ticket
=== hidden -- the domain's check writes
SELECT 1::shop.checked
=== hidden
SELECT CAST(1 AS shop.checked)
=== hidden -- the cast's function writes
SELECT 'x'::text::shop.code
=== write
SELECT no_such_function(1)
=== write
SELECT shop.no_such_function()
=== write
SELECT clean_up()
=== write
EXPLAIN ANALYZE DELETE FROM item
=== write
EXPLAIN ANALYZE INSERT INTO audit (what) VALUES ('x')
=== write
EXPLAIN (ANALYZE) UPDATE customer SET visits = 0
=== write
EXPLAIN (COSTS OFF, ANALYZE TRUE, FORMAT JSON) DELETE FROM item
=== write
EXPLAIN (ANALYZE on) DELETE FROM item
=== write
EXPLAIN (ANALYZE 1) DELETE FROM item
=== write
EXPLAIN ( analyze 'true' ) DELETE FROM item
=== write
EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM item
=== write
EXPLAIN ("analyze") DELETE FROM item
=== write
EXPLAIN ANALYSE VERBOSE DELETE FROM item
=== write
EXPLAIN ANALYZE SELECT nextval('ticket')
=== write
EXPLAIN ANALYZE WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone
=== write
EXPLAIN ANALYZE SELECT * FROM customer FOR UPDATE
=== write
EXPLAIN /* x */ ANALYZE /* y */ DELETE FROM item
=== write
EXPLAIN ANALYZE CREATE TABLE copied AS SELECT 1
=== write
EXPLAIN ANALYZE EXECUTE prepared(1)
=== write -- what was prepared in this session
EXPLAIN EXECUTE prepared(1)
=== read
EXPLAIN DECLARE c CURSOR FOR SELECT 1
=== write
EXPLAIN SELECT * FROM customer WHERE id = 1; DELETE FROM item
=== write
COPY customer FROM STDIN
=== write
COPY customer (id, name) FROM '/tmp/x' WITH (FORMAT csv)
=== write
COPY audit FROM PROGRAM 'echo 1'
=== write
COPY customer TO '/tmp/customer.txt'
=== write
COPY (SELECT 1) TO '/tmp/x'
=== write
COPY (SELECT 1) TO PROGRAM 'cat'
=== write
COPY customer TO PROGRAM 'cat'
=== write
COPY (DELETE FROM item RETURNING *) TO STDOUT
=== write
COPY (INSERT INTO audit (what) VALUES ('x') RETURNING id) TO STDOUT
=== write
COPY (SELECT nextval('ticket')) TO STDOUT
=== write
COPY (SELECT * FROM customer FOR UPDATE) TO STDOUT
=== write
COPY (WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone) TO STDOUT
=== read -- several statements
SELECT 1; SELECT 2
=== read
; SELECT count(*) FROM customer;; TABLE category;
=== write
SELECT 1; DELETE FROM item
=== write
SELECT 1; SELECT nextval('ticket')
=== write
SELECT 1; SET search_path = shop
=== write
SELECT 1;DELETE FROM item;
=== write
SELECT 'a''; DELETE FROM item; --' ; DELETE FROM item
=== write
SELECT 'a\'; DELETE FROM item; --'
=== write
SELECT E'a\'b'; DELETE FROM item; --'
=== write
SELECT $$ ; $$; DELETE FROM item
=== write
SELECT $a$ $$ $a$; DELETE FROM item -- $$
=== write
SELECT 1 /* ; */ ; /* ; */ DELETE FROM item
=== write
SELECT 1 -- /*
; DELETE FROM item -- */
=== write
SELECT /* /* */ 1; */ 2; DELETE FROM item
=== write
SELECT 1; COMMIT
=== write
SELECT ";"; DROP TABLE item
=== write
; DELETE FROM item
=== write -- a dollar quote does not begin inside a name
SELECT a$$ FROM (SELECT 1 AS a$$) x; DELETE FROM item; SELECT 1 AS b$$
=== write -- a string ends before a backslash
SELECT '\' AS a; DELETE FROM item; SELECT '\'
=== write -- malformed from here on
SELECT 'unterminated
=== write
SELECT "unterminated
=== write
SELECT $$unterminated
=== write
SELECT $tag$unterminated$$
=== write
SELECT 1 /* unterminated
=== write
SELECT 1 /* /* unterminated */
=== write
SELECT E'unterminated\'
=== write
SELECT (1
=== write
SELECT 1)
=== write
SELECT ((1) + 2
=== write
SELECT )1(
=== write
SELECT ARRAY[1, 2
=== write

=== write
   
=== write
;
=== write
-- only a comment
=== write
/* only a comment */
=== write
nonsense
=== write
SELEC 1
=== write
1
=== write
'SELECT 1'
=== write
"SELECT" 1
=== write
WITH x AS (SELECT 1)
=== write
EXPLAIN
=== write
EXPLAIN ANALYZE
=== write
COPY
=== write
CREATE TABLE fresh (id int)
=== write
CREATE TABLE fresh AS SELECT * FROM customer
=== write
CREATE VIEW v AS SELECT 1
=== write
CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'
=== write
CREATE INDEX ON customer (name)
=== write
CREATE INDEX CONCURRENTLY ON customer (name)
=== write
ALTER TABLE customer ADD COLUMN x int
=== write
DROP TABLE IF EXISTS no_such_table
=== write
COMMENT ON TABLE customer IS 'x'
=== write
GRANT SELECT ON customer TO PUBLIC
=== write
REVOKE ALL ON customer FROM PUBLIC
=== write
VACUUM customer
=== write
ANALYZE customer
=== write
REINDEX TABLE customer
=== write
CLUSTER customer USING customer_pkey
=== write
REFRESH MATERIALIZED VIEW best_seller
=== write
CHECKPOINT
=== write
SECURITY LABEL ON TABLE customer IS 'x'
=== write
IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z
=== write
NOTIFY channel, 'text'
=== state
BEGIN
=== state
begin;
=== state
BEGIN ISOLATION LEVEL SERIALIZABLE
=== state
START TRANSACTION
=== state
BEGIN READ ONLY
=== state
START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ
=== state
COMMIT
=== state
COMMIT AND CHAIN
=== state
END
=== state
ROLLBACK
=== state
ROLLBACK TO SAVEPOINT a
=== state
ABORT
=== state
SAVEPOINT a
=== state
RELEASE SAVEPOINT a
=== state
PREPARE TRANSACTION 'x'
=== state
SET search_path = app
=== state
SET LOCAL statement_timeout = '1s'
=== state
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
=== state
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
=== state
SET TIME ZONE 'UTC'
=== state
SET ROLE app
=== state
/* tenant */ SET app.tenant = '7'
=== state
SET CONSTRAINTS ALL DEFERRED
=== state
RESET search_path
=== state
RESET ALL
=== state
DISCARD ALL
=== state
PREPARE by_id (int) AS SELECT * FROM customer WHERE id = $1
=== state
PREPARE gone AS DELETE FROM item
=== state
EXECUTE by_id(1)
=== state
DEALLOCATE by_id
=== state
DEALLOCATE ALL
=== state
DECLARE c CURSOR FOR SELECT * FROM customer
=== state
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM customer
=== state
DECLARE c SCROLL CURSOR FOR SELECT * FROM customer FOR UPDATE
=== state
FETCH 10 FROM c
=== state
MOVE FORWARD ALL IN c
=== state
CLOSE c
=== state
LISTEN channel
=== state
UNLISTEN *
=== state
LOCK TABLE customer IN ACCESS SHARE MODE
=== state
LOCK customer
=== state
LOAD 'auto_explain'
=== state
CREATE TEMP TABLE t (id int)
=== state
CREATE TEMPORARY TABLE t AS SELECT 1
=== state
CREATE LOCAL TEMP VIEW v AS SELECT 1
=== write
CALL clean_up()
=== write
DO $$ BEGIN PERFORM 1; END $$
=== write
DO 'BEGIN DELETE FROM audit; END'
=== write -- an operand follows the parenthesis
SELECT DISTINCT ON (customer_id) nextval('ticket') FROM "order"
=== write
SELECT 1 OPERATOR(pg_catalog.+) nextval('ticket')
=== write -- behind PATH follows an expression, be it quoted or not
SELECT * FROM XMLTABLE('/a' PASSING '<a/>'::xml COLUMNS n text "path" nextval('ticket')::text)

=== write -- attribute notation calls a function of one argument, of whatever type
SELECT ('ticket'::regclass).nextval
=== write
SELECT (1::bigint).pg_advisory_lock
=== write
SELECT (id) . "pg_advisory_lock" FROM customer
=== write
SELECT (ARRAY['ticket'::regclass])[1].nextval
=== write
SELECT a[1].pg_advisory_lock FROM (SELECT ARRAY[1::bigint] AS a) t
=== write
SELECT t.a[1].pg_advisory_lock FROM (SELECT ARRAY[1::bigint] AS a) t
=== write
SELECT $1.pg_advisory_lock
=== write
SELECT (SELECT 'ticket'::regclass).nextval
=== write
SELECT (t).a.pg_advisory_lock FROM (SELECT 1::bigint AS a) t
=== write
EXPLAIN ANALYZE SELECT (1::bigint).pg_advisory_lock
=== write
COPY (SELECT (1::bigint).pg_advisory_lock) TO STDOUT
=== write -- what a function in FROM returns may be the argument
SELECT g.nextval FROM pg_catalog.regclass('ticket') g
=== write
SELECT generate_series.pg_advisory_lock FROM generate_series(1::bigint, 2)
=== write
SELECT g.pg_advisory_lock FROM customer, unnest(ARRAY[1::bigint]) AS g
=== write
SELECT g.pg_advisory_lock FROM CAST(1 AS bigint) g
=== write
SELECT g.pg_advisory_lock FROM (customer CROSS JOIN ROWS FROM (generate_series(1::bigint, 2)) g)
=== write -- a volatile function of the user's
SELECT ('x'::text).log_visit
=== write
SELECT g.log_visit FROM lower('X') g
=== read -- fields, columns, and functions that only read
SELECT (c).email, (c.profile ->> 'age')::int, ('X'::text).lower FROM customer c
=== read
SELECT (jsonb_each(profile)).key, (each).value FROM customer, jsonb_each(profile) each
=== read
SELECT g.g, g.text FROM generate_series(1, 3) g
=== read on primary -- a field that looks like a call
SELECT odd.nextval FROM odd WHERE (odd).nextval > 0
=== read
SELECT o.nextval, d.nextval FROM odd o, generate_series(1, 2) g, (SELECT nextval FROM odd) d
=== write -- what is temporary is of one connection
SELECT * FROM pg_temp.mine
=== write
COPY pg_temp.mine TO STDOUT
=== write
EXPLAIN SELECT * FROM pg_temp.mine
=== write
EXPLAIN SELECT pg_temp.f(1)
=== write
SELECT pg_temp.f(1)
=== write -- views that reach a sequence, or what only one server knows
SELECT number FROM next_number
=== write
SELECT count(*) FROM busy
=== write
SELECT c.email FROM customer c JOIN deeply_busy b ON b.backends > 0
=== write
SELECT * FROM (customer CROSS JOIN busy)
=== write
SELECT * FROM customer, of_mine
=== write -- functions that do
SELECT mine()
=== write
SELECT mine_in_blocks()
=== write
SELECT mine_by_tree()
=== write
SELECT highest_ticket()
=== write -- policies that do
SELECT * FROM guarded
=== write
SELECT * FROM guarded_view
=== read -- what it stored is replicated
SELECT count(*) > 0 FROM was_busy
=== read
SELECT newest(), newest_by_tree(), newest_by_tree(2), mine_plus(id) FROM category
=== read
SELECT * FROM newest_customer
=== read -- the setting is the application's
SELECT * FROM tenanted
=== read -- constructors
SELECT span(1, 5) @> 2, mood('sad'), int4range(1, 2)
=== write -- of a domain whose check writes
SELECT shop.checked(1)
=== read -- the text that it is given is no query
SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)
=== write -- one of them runs a query
SELECT ts_rewrite(ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery'), 'a'::tsquery, 'c'::tsquery)
=== read
EXPLAIN CREATE TABLE backup AS SELECT * FROM customer
=== read
EXPLAIN (COSTS OFF) DECLARE c CURSOR FOR SELECT * FROM customer
=== read
EXPLAIN CREATE MATERIALIZED VIEW backup AS SELECT nextval('ticket')
=== write
EXPLAIN ANALYZE CREATE TABLE backup AS SELECT * FROM customer
=== read -- a name with escapes
SELECT 'a' AS U&"\0061", 'b' AS U&"d!0061t" UESCAPE '!'
=== write -- words that are syntax elsewhere
SELECT cube(1)
=== write
SELECT second(1), xor(1, 2)
=== read
SELECT status, customer_id, count(*) FROM "order" GROUP BY status, ROLLUP (customer_id), GROUPING SETS (CUBE (total), ())
