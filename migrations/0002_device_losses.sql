-- How often the device was lost under the job since it was queued. Its own column: such a job gets its attempt back,
-- so that `attempts` cannot tell.
ALTER TABLE jobs ADD COLUMN device_losses INTEGER NOT NULL DEFAULT 0 CHECK (device_losses >= 0);
