-- soundhash: loses-data

ALTER TABLE audio_fingerprints DROP COLUMN hop_length;
ALTER TABLE audio_fingerprints DROP COLUMN n_fft;
