-- soundhash: loses-data

DROP TABLE match_results;
DROP TABLE audio_fingerprints;
DROP TABLE videos;
DROP TABLE processing_jobs;
DROP TABLE channels;
