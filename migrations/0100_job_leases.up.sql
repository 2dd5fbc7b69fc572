-- Leases of the jobs that workers have claimed: a table of its own, since processing_jobs stays as Alembic
-- and the Python services know it. A lease is of one run of a job, the one that began at started_at;
-- whoever knows its token holds it, and until expires_at nobody else may claim the job.
-- No foreign key: whoever deletes jobs need not know of this table; the rescue of expired leases tidies up.

CREATE TABLE soundhash_job_leases (
    job_id INTEGER PRIMARY KEY,
    token BIGINT GENERATED ALWAYS AS IDENTITY,
    started_at TIMESTAMP WITHOUT TIME ZONE,
    expires_at TIMESTAMP WITHOUT TIME ZONE NOT NULL
);
