WITH names AS MATERIALIZED (
  SELECT 'f' AS kind, p.oid, n.nspname AS schema, p.proname AS name
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 OR p.provolatile <> 'i'
  UNION ALL
  SELECT 'r', c.oid, '', c.relname FROM pg_catalog.pg_class c
  WHERE c.relkind IN ('S', 'v') OR c.relrowsecurity OR c.relpersistence = 'u' AND c.relkind IN ('m', 'r')
), own AS MATERIALIZED (
  SELECT p.*, n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 AND p.prokind <> 'p'
), trees AS (
  SELECT 'r' AS kind, '' AS schema, c.relname AS name, r.ev_action::text AS tree
  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  WHERE c.relkind = 'v' AND r.oid >= 16384
  UNION ALL
  SELECT 'r', '', c.relname, p.polqual::text
  FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  UNION ALL
  SELECT 'f', n.nspname, t.typname, c.conbin::text
  FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  UNION ALL
  SELECT 'f', nspname, proname, proargdefaults::text FROM own WHERE proargdefaults IS NOT NULL
  UNION ALL
  SELECT 'f', nspname, proname, to_jsonb(own) ->> 'prosqlbody' FROM own WHERE prosrc = '' AND provolatile <> 'v'
), mentions AS (
  SELECT t.kind, t.schema, t.name, m.kind AS what, split_part(part, ' ', 1) AS oid
  FROM trees t, (VALUES ('f', 'funcid '), ('f', 'fnoid '), ('r', ':relid ')) m (kind, mark),
    unnest((string_to_array(t.tree, m.mark))[2:]) part
  UNION ALL
  SELECT 'f', nspname, proname, 'f', support::oid::text
  FROM own JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = own.oid,
    unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn]) support
  UNION ALL
  SELECT 'f', n.nspname, t.typname, 'f', c.castfunc::text
  FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE c.oid >= 16384
  UNION ALL
  SELECT 'o', '', oprname, 'f', oprcode::oid::text FROM pg_catalog.pg_operator
  WHERE oprname NOT IN (SELECT oprname FROM pg_catalog.pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace)
), words AS (
  SELECT nspname AS schema, proname AS name, word
  FROM own JOIN pg_catalog.pg_language l ON l.oid = own.prolang, unnest(string_to_array(replace(translate(
    regexp_replace(lower(prosrc), E'\\s+\\(', '(', 'g'), E')"''.,;:=<>+-*/|[]%\n\r\t', repeat(' ', 22)), '(', '( '), ' ')) word
  WHERE provolatile <> 'v' AND prosrc <> '' AND l.lanname NOT IN ('c', 'internal')
)
SELECT current_setting('standard_conforming_strings'),
  (SELECT string_agg(DISTINCT line, E'\n') FROM (
    SELECT concat_ws(' ', CASE p.provolatile WHEN 'v' THEN 'v' ELSE 'r' END, n.nspname, p.proname, e.extname) AS line
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN (pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')
      ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND p.provolatile = 'v'
    WHERE p.prokind <> 'p' AND n.nspname !~ '^pg_temp_'
    AND n.nspname !~ '[[:space:][:cntrl:]]' AND p.proname !~ '[[:space:][:cntrl:]]'
    UNION ALL
    SELECT concat_ws(' ', 'r', n.nspname, t.typname) FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('b', 'd', 'e', 'm', 'r') AND t.typcategory <> 'A' AND n.nspname !~ '^pg_temp_'
    AND n.nspname !~ '[[:space:][:cntrl:]]' AND t.typname !~ '[[:space:][:cntrl:]]'
  ) lines),
  (SELECT string_agg(DISTINCT nspname || E'\t' || proname, E'\n') FROM own
    JOIN pg_catalog.pg_type t ON t.oid = own.proargtypes[0]
    WHERE own.pronargs - own.pronargdefaults <= 1 AND t.typtype IN ('c', 'd', 'p')),
  (SELECT string_agg(DISTINCT c.relname, E'\n') FROM pg_catalog.pg_class c
    WHERE c.relkind = 'S' OR c.relpersistence = 'u' AND c.relkind IN ('m', 'r')),
  (SELECT string_agg(DISTINCT concat_ws(E'\t', kind, schema, name, n_kind, n_schema, n_name), E'\n') FROM (
    SELECT m.kind, m.schema, m.name, n.kind, n.schema, n.name
    FROM mentions m JOIN names n ON n.kind = m.what AND n.oid::text = m.oid
    WHERE (m.kind, m.name) IS DISTINCT FROM (n.kind, n.name)
    UNION
    SELECT 'f', w.schema, w.name, n.kind, n.schema, n.name
    FROM words w JOIN names n ON w.word = lower(n.name) || CASE n.kind WHEN 'f' THEN '(' ELSE '' END
  ) edges (kind, schema, name, n_kind, n_schema, n_name)),
  (SELECT string_agg(word, E'\n') FROM pg_catalog.pg_get_keywords() WHERE catcode IN ('C', 'R'))
