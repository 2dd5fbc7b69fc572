-- soundhash: no-transaction
-- What `match` reads of a fingerprint is in the index, so that a hit does not cost a page of the
-- table. It needs the visibility map: autovacuum keeps it, VACUUM after a bulk load makes it.

CREATE INDEX CONCURRENTLY idx_fingerprints_hash_covering
    ON audio_fingerprints (fingerprint_hash) INCLUDE (video_id, start_time);
