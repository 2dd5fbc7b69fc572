-- Tells waiting workers of new jobs, whoever inserts them: one notification for each statement and job type,
-- delivered at COMMIT.

CREATE FUNCTION soundhash_wake_job_workers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('soundhash_jobs', created.job_type)
    FROM (SELECT DISTINCT job_type FROM new_jobs WHERE status = 'pending') AS created;
    RETURN NULL;
END
$$;

CREATE TRIGGER soundhash_wake_job_workers AFTER INSERT ON processing_jobs
    REFERENCING NEW TABLE AS new_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION soundhash_wake_job_workers();
