-- The five tables of SoundHash. Equal to the Alembic revision ce1ffb204f19 of the Python services.

CREATE TABLE channels (
    id SERIAL NOT NULL,
    channel_id VARCHAR(255) NOT NULL,
    channel_name VARCHAR(500),
    description TEXT,
    subscriber_count INTEGER,
    video_count INTEGER,
    created_at TIMESTAMP WITHOUT TIME ZONE,
    updated_at TIMESTAMP WITHOUT TIME ZONE,
    last_processed TIMESTAMP WITHOUT TIME ZONE,
    is_active BOOLEAN,
    PRIMARY KEY (id),
    UNIQUE (channel_id)
);

CREATE TABLE processing_jobs (
    id SERIAL NOT NULL,
    job_type VARCHAR(50),
    status VARCHAR(20),
    target_id VARCHAR(255),
    parameters TEXT,
    progress DOUBLE PRECISION,
    current_step VARCHAR(200),
    created_at TIMESTAMP WITHOUT TIME ZONE,
    started_at TIMESTAMP WITHOUT TIME ZONE,
    completed_at TIMESTAMP WITHOUT TIME ZONE,
    error_message TEXT,
    retry_count INTEGER,
    max_retries INTEGER,
    PRIMARY KEY (id)
);
CREATE INDEX idx_processing_jobs_status ON processing_jobs (status);
CREATE INDEX idx_processing_jobs_type ON processing_jobs (job_type);

CREATE TABLE videos (
    id SERIAL NOT NULL,
    video_id VARCHAR(255) NOT NULL,
    channel_id INTEGER NOT NULL,
    title VARCHAR(1000),
    description TEXT,
    duration DOUBLE PRECISION,
    view_count INTEGER,
    like_count INTEGER,
    upload_date TIMESTAMP WITHOUT TIME ZONE,
    url VARCHAR(500),
    thumbnail_url VARCHAR(500),
    processed BOOLEAN,
    processing_started TIMESTAMP WITHOUT TIME ZONE,
    processing_completed TIMESTAMP WITHOUT TIME ZONE,
    processing_error TEXT,
    created_at TIMESTAMP WITHOUT TIME ZONE,
    updated_at TIMESTAMP WITHOUT TIME ZONE,
    FOREIGN KEY (channel_id) REFERENCES channels (id),
    PRIMARY KEY (id),
    UNIQUE (video_id)
);
CREATE INDEX idx_videos_channel_id ON videos (channel_id);
CREATE INDEX idx_videos_processed ON videos (processed);
CREATE INDEX idx_videos_video_id ON videos (video_id);

CREATE TABLE audio_fingerprints (
    id SERIAL NOT NULL,
    video_id INTEGER NOT NULL,
    start_time DOUBLE PRECISION NOT NULL,
    end_time DOUBLE PRECISION NOT NULL,
    fingerprint_hash VARCHAR(64) NOT NULL,
    fingerprint_data BYTEA,
    sample_rate INTEGER,
    segment_length DOUBLE PRECISION,
    confidence_score DOUBLE PRECISION,
    peak_count INTEGER,
    created_at TIMESTAMP WITHOUT TIME ZONE,
    FOREIGN KEY (video_id) REFERENCES videos (id),
    PRIMARY KEY (id)
);
CREATE INDEX idx_fingerprints_hash ON audio_fingerprints (fingerprint_hash);
CREATE INDEX idx_fingerprints_time ON audio_fingerprints (start_time, end_time);
CREATE INDEX idx_fingerprints_video_id ON audio_fingerprints (video_id);

CREATE TABLE match_results (
    id SERIAL NOT NULL,
    query_fingerprint_id INTEGER,
    matched_fingerprint_id INTEGER,
    similarity_score DOUBLE PRECISION NOT NULL,
    match_confidence DOUBLE PRECISION,
    query_source VARCHAR(50),
    query_url VARCHAR(1000),
    query_user VARCHAR(100),
    responded BOOLEAN,
    response_sent_at TIMESTAMP WITHOUT TIME ZONE,
    created_at TIMESTAMP WITHOUT TIME ZONE,
    FOREIGN KEY (matched_fingerprint_id) REFERENCES audio_fingerprints (id),
    FOREIGN KEY (query_fingerprint_id) REFERENCES audio_fingerprints (id),
    PRIMARY KEY (id)
);
CREATE INDEX idx_match_results_similarity ON match_results (similarity_score);
