-- Stop the workers first: what they hold then stays running, and nobody rescues it.

DROP TABLE soundhash_job_leases;
