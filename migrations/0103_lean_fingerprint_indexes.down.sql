-- soundhash: no-transaction

CREATE INDEX CONCURRENTLY idx_fingerprints_hash ON audio_fingerprints (fingerprint_hash);
CREATE INDEX CONCURRENTLY idx_fingerprints_time ON audio_fingerprints (start_time, end_time);
CREATE INDEX CONCURRENTLY idx_fingerprints_video_id ON audio_fingerprints (video_id);
