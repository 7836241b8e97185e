WITH page AS MATERIALIZED (
  SELECT beyond, least(
    (SELECT oid FROM pg_catalog.pg_proc WHERE oid > greatest(beyond, 16383) ORDER BY oid OFFSET 2000 LIMIT 1),
    (SELECT oid FROM pg_catalog.pg_rewrite WHERE oid > beyond ORDER BY oid OFFSET 500 LIMIT 1),
    (SELECT oid FROM pg_catalog.pg_policy WHERE oid > beyond ORDER BY oid OFFSET 1000 LIMIT 1),
    (SELECT oid FROM pg_catalog.pg_type WHERE oid > beyond ORDER BY oid OFFSET 20000 LIMIT 1),
    (SELECT oid FROM pg_catalog.pg_class WHERE oid > beyond ORDER BY oid OFFSET 50000 LIMIT 1),
    4294967295) AS last
  FROM (VALUES ('0'::oid)) start (beyond)
), schemas AS MATERIALIZED (
  SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_temp_' AND nspname !~ '[[:space:][:cntrl:]]'
), own AS MATERIALIZED (
  SELECT p.*, n.nspname FROM page, pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 AND p.oid > beyond AND p.oid <= last AND p.prokind <> 'p'
), trees AS (
  SELECT 'r' AS kind, '' AS schema, c.relname AS name, r.ev_action::text AS tree
  FROM page, pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  WHERE r.oid > beyond AND r.oid <= last AND r.oid >= 16384 AND c.relkind = 'v'
  UNION ALL
  SELECT 'r', '', c.relname, p.polqual::text
  FROM page, pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  WHERE p.oid > beyond AND p.oid <= last
  UNION ALL
  SELECT 'f', n.nspname, t.typname, c.conbin::text
  FROM page, pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE c.contypid > beyond AND c.contypid <= last
  UNION ALL
  SELECT 'f', nspname, proname, proargdefaults::text FROM own WHERE proargdefaults IS NOT NULL
  UNION ALL
  SELECT 'f', nspname, proname, to_jsonb(own) ->> 'prosqlbody' FROM own WHERE prosrc = '' AND provolatile <> 'v'
), mentions AS (
  SELECT t.kind, t.schema, t.name, m.kind AS what, substring(part FROM '^(\d{1,10})\M')::bigint AS oid
  FROM trees t, (VALUES ('f', 'funcid '), ('f', 'fnoid '), ('r', ':relid ')) m (kind, mark),
    unnest((string_to_array(t.tree, m.mark))[2:]) part
  UNION ALL
  SELECT 'f', nspname, proname, 'f', support::oid::bigint
  FROM own JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = own.oid,
    unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn]) support
  UNION ALL
  SELECT 'f', n.nspname, t.typname, 'f', c.castfunc::bigint
  FROM page, pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE c.oid > beyond AND c.oid <= last AND c.oid >= 16384
  UNION ALL
  SELECT 'o', '', oprname, 'f', oprcode::oid::bigint FROM page, pg_catalog.pg_operator
  WHERE oid > beyond AND oid <= last AND oid >= 16384
  AND oprname NOT IN (SELECT oprname FROM pg_catalog.pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace)
), relations AS (
  SELECT oid, relname FROM pg_catalog.pg_class
  WHERE relkind IN ('S', 'v') OR relrowsecurity OR relpersistence = 'u' AND relkind IN ('m', 'r')
), words AS (
  SELECT nspname AS schema, proname AS name, word
  FROM own JOIN pg_catalog.pg_language l ON l.oid = own.prolang, unnest(string_to_array(replace(translate(
    regexp_replace(lower(prosrc), E'\\s+\\(', '(', 'g'), E')"''.,;:=<>+-*/|[]%\n\r\t', repeat(' ', 22)), '(', '( '), ' ')) word
  WHERE provolatile <> 'v' AND prosrc <> '' AND l.lanname NOT IN ('c', 'internal')
)
SELECT CASE WHEN beyond = 0 THEN pg_catalog.current_setting('standard_conforming_strings') END,
  (SELECT string_agg(line, E'\n') FROM (
    SELECT concat_ws(' ', CASE p.provolatile WHEN 'v' THEN 'v' ELSE 'r' END, n.nspname, p.proname, e.extname) AS line
    FROM pg_catalog.pg_proc p JOIN schemas n ON n.oid = p.pronamespace
    LEFT JOIN (pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')
      ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND p.provolatile = 'v'
    WHERE p.oid > beyond AND p.oid <= last AND p.prokind <> 'p' AND p.proname !~ '[[:space:][:cntrl:]]'
    UNION ALL
    SELECT concat_ws(' ', 'r', n.nspname, t.typname) FROM pg_catalog.pg_type t
    JOIN schemas n ON n.oid = t.typnamespace
    WHERE t.oid > beyond AND t.oid <= last
    AND t.typtype IN ('b', 'd', 'e', 'm', 'r') AND t.typcategory <> 'A' AND t.typname !~ '[[:space:][:cntrl:]]'
  ) lines),
  (SELECT string_agg(nspname || E'\t' || proname, E'\n') FROM own
    JOIN pg_catalog.pg_type t ON t.oid = own.proargtypes[0]
    WHERE own.pronargs - own.pronargdefaults <= 1 AND t.typtype IN ('c', 'd', 'p')),
  (SELECT string_agg(relname, E'\n') FROM pg_catalog.pg_class
    WHERE oid > beyond AND oid <= last AND (relkind = 'S' OR relpersistence = 'u' AND relkind IN ('m', 'r'))),
  (SELECT string_agg(concat_ws(E'\t', kind, schema, name, n_kind, n_schema, n_name), E'\n') FROM (
    SELECT m.kind, m.schema, m.name, 'f', n.nspname, p.proname
    FROM mentions m JOIN pg_catalog.pg_proc p ON m.what = 'f' AND p.oid = CASE WHEN m.oid < 4294967296 THEN m.oid::oid END
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE (p.oid >= 16384 OR p.provolatile <> 'i') AND (m.kind, m.name) IS DISTINCT FROM ('f', p.proname)
    UNION
    SELECT m.kind, m.schema, m.name, 'r', '', r.relname
    FROM mentions m JOIN relations r ON m.what = 'r' AND r.oid = CASE WHEN m.oid < 4294967296 THEN m.oid::oid END
    WHERE (m.kind, m.name) IS DISTINCT FROM ('r', r.relname)
    UNION
    SELECT 'f', w.schema, w.name, names.kind, '', names.name
    FROM words w JOIN (
      SELECT DISTINCT 'n', proname, lower(proname) || '(' FROM pg_catalog.pg_proc WHERE oid >= 16384 OR provolatile <> 'i'
      UNION ALL SELECT 'r', relname, lower(relname) FROM relations
    ) names (kind, name, word) ON w.word = names.word
  ) edges (kind, schema, name, n_kind, n_schema, n_name)),
  (SELECT string_agg(word, E'\n') FROM pg_catalog.pg_get_keywords() WHERE beyond = 0 AND catcode IN ('C', 'R')),
  CASE WHEN last < 4294967295 THEN last::text END
FROM page
