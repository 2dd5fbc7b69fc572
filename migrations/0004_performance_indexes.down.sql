DROP INDEX idx_jobs_failed;
DROP INDEX idx_videos_unprocessed;
DROP INDEX idx_channels_active;
DROP INDEX idx_videos_channel_date;
DROP INDEX idx_jobs_status_created;
