-- Partial indexes of the job queue and of open work. Equal to the Alembic revision e5f8a2b3d4c1.

CREATE INDEX idx_jobs_status_created ON processing_jobs (status, created_at)
    WHERE status IN ('pending', 'running');
CREATE INDEX idx_videos_channel_date ON videos (channel_id, upload_date);
CREATE INDEX idx_channels_active ON channels (is_active, last_processed) WHERE is_active = true;
CREATE INDEX idx_videos_unprocessed ON videos (created_at) WHERE processed = false;
CREATE INDEX idx_jobs_failed ON processing_jobs (job_type, created_at) WHERE status = 'failed';
