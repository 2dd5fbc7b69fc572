DROP TRIGGER soundhash_wake_job_workers ON processing_jobs;
DROP FUNCTION soundhash_wake_job_workers();
