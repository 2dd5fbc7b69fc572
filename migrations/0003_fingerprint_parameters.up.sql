-- Extraction parameters of a fingerprint. Equal to the Alembic revision c8e9d4a1f2b3.
-- A constant default makes this a change of the catalog alone: no row is rewritten.

ALTER TABLE audio_fingerprints ADD COLUMN n_fft INTEGER DEFAULT '2048' NOT NULL;
ALTER TABLE audio_fingerprints ADD COLUMN hop_length INTEGER DEFAULT '512' NOT NULL;
