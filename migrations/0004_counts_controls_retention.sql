-- How many jobs each folder has in each state. Kept by triggers, because status asks every second, and counting a
-- million rows takes tens of milliseconds each time.
CREATE TABLE job_counts (
    folder TEXT    NOT NULL,
    state  TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (folder, state)
) STRICT, WITHOUT ROWID;

INSERT INTO job_counts SELECT folder, state, count(*) FROM jobs GROUP BY state, folder;

CREATE TRIGGER jobs_are_counted_in AFTER INSERT ON jobs
BEGIN
    INSERT INTO job_counts VALUES (NEW.folder, NEW.state, 1)
    ON CONFLICT (folder, state) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER jobs_are_counted_out AFTER DELETE ON jobs
BEGIN
    UPDATE job_counts SET n = n - 1 WHERE folder = OLD.folder AND state = OLD.state;
END;

CREATE TRIGGER jobs_are_counted_anew AFTER UPDATE OF folder, state ON jobs
WHEN OLD.folder <> NEW.folder OR OLD.state <> NEW.state
BEGIN
    UPDATE job_counts SET n = n - 1 WHERE folder = OLD.folder AND state = OLD.state;
    INSERT INTO job_counts VALUES (NEW.folder, NEW.state, 1)
    ON CONFLICT (folder, state) DO UPDATE SET n = n + 1;
END;

-- Lists take the newest of a state, of a folder in a state: both in the order of rows, which ends every index. The
-- counts no longer need the other order.
DROP INDEX jobs_state;
CREATE INDEX jobs_state  ON jobs (state);
CREATE INDEX jobs_folder ON jobs (folder, state);

-- Since when a source was not found where it lay; NULL while it is there, and until somebody has looked
-- (docs/decisions/0016).
ALTER TABLE sources ADD COLUMN gone_since_ms INTEGER;

-- A rescan is asked for like a pause. A CHECK cannot be changed in place.
CREATE TABLE wishes (
    name     TEXT    NOT NULL PRIMARY KEY CHECK (name IN ('pause', 'rescan')),
    since_ms INTEGER NOT NULL,
    until_ms INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO wishes SELECT name, since_ms, until_ms FROM controls;
DROP TABLE controls;
ALTER TABLE wishes RENAME TO controls;

-- Folders whose job files were asked what the ledger does not know (docs/decisions/0017). Those of a ledger that
-- comes from an earlier version are known to it.
CREATE TABLE adopted (
    folder TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO adopted SELECT DISTINCT folder FROM job_counts;
