-- Composite indexes of the common queries. Equal to the Alembic revision b9532a7d8c7a.

CREATE INDEX idx_fingerprints_video_time ON audio_fingerprints (video_id, start_time);
CREATE INDEX idx_fingerprints_hash_video ON audio_fingerprints (fingerprint_hash, video_id);
CREATE INDEX idx_match_results_query_fp ON match_results (query_fingerprint_id, similarity_score);
CREATE INDEX idx_match_results_matched_fp ON match_results (matched_fingerprint_id, similarity_score);
CREATE INDEX idx_processing_jobs_type_status ON processing_jobs (job_type, status);
CREATE INDEX idx_processing_jobs_target ON processing_jobs (target_id, job_type, status);
