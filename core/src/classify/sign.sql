SELECT pg_catalog.concat_ws(' ',
  pg_catalog.pg_postmaster_start_time(), pg_catalog.current_setting('standard_conforming_strings'),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_proc),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_'),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_rewrite WHERE oid >= 16384),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_class
    WHERE relpersistence <> 't' AND (relkind IN ('S', 'v') OR relrowsecurity OR relpersistence = 'u' AND relkind IN ('m', 'r'))),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_policy),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_constraint WHERE contypid <> 0),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_type
    WHERE typtype IN ('b', 'd', 'e', 'm', 'r') AND typcategory <> 'A'),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_aggregate),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_cast),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_operator),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_language),
  (SELECT (pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint)) FROM pg_catalog.pg_extension))
