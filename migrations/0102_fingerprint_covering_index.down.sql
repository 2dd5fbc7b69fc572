-- soundhash: no-transaction

DROP INDEX CONCURRENTLY idx_fingerprints_hash_covering;
