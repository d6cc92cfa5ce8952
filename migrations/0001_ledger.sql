-- The ledger. Every rule that SQLite can keep is kept here, so that no version of the code can break it.
-- Paths are the raw bytes of their names (BLOB: they need not be UTF-8); times are unix milliseconds, UTC;
-- dev, ino and size are unsigned 64 bits stored as signed.

CREATE TABLE jobs (
    -- AUTOINCREMENT: the number of a removed job is never given to another one; people keep numbers.
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    folder           TEXT    NOT NULL,
    source           BLOB    NOT NULL CHECK (length(source) > 0),
    output_root      BLOB    NOT NULL CHECK (length(output_root) > 0),
    output           BLOB    NOT NULL CHECK (length(output) > 0),
    content          BLOB    NOT NULL CHECK (length(content) = 32),
    recipe           BLOB    NOT NULL CHECK (length(recipe) = 32),
    -- The source's identity when it was hashed.
    dev              INTEGER NOT NULL,
    ino              INTEGER NOT NULL,
    size             INTEGER NOT NULL,
    mtime_ns         INTEGER NOT NULL,
    ctime_ns         INTEGER NOT NULL,
    priority         INTEGER NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN
                         ('queued', 'running', 'publishing', 'done', 'failed', 'skipped', 'cancelled')),
    attempts         INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    not_before_ms    INTEGER NOT NULL,
    lease_owner      TEXT,
    lease_until_ms   INTEGER,
    -- The open row of `attempts`.
    attempt          INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    -- Called off because its content left its place: comes back by itself when the content does, while a job
    -- that a person cancelled stays cancelled.
    withdrawn        INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1)),
    reason_code      TEXT,
    reason_message   TEXT,
    publish_temp     BLOB,
    publish_final    BLOB,
    publish_digest   BLOB    CHECK (length(publish_digest) = 32),
    -- Below output_root. The last published result; kept while the job waits again, so that it finds its own.
    result           BLOB,
    -- The job whose result took the place of this one's. Not a foreign key: it stays true when that job is removed.
    replaced_by      INTEGER,
    report           TEXT    CHECK (json_valid(report)),
    queued_at_ms     INTEGER NOT NULL,
    started_at_ms    INTEGER,
    finished_at_ms   INTEGER,

    -- I2. The output path counts with its root: two folders may share an output tree.
    UNIQUE (content, recipe, output_root, output),
    -- I3
    CHECK (state NOT IN ('running', 'publishing') OR attempts > 0),
    -- I10
    CHECK (state NOT IN ('failed', 'skipped', 'cancelled') OR reason_message IS NOT NULL),
    CHECK ((reason_code IS NULL) = (reason_message IS NULL)),
    CHECK ((state IN ('running', 'publishing')) = (lease_owner IS NOT NULL)),
    CHECK ((lease_owner IS NULL) = (lease_until_ms IS NULL)),
    CHECK ((lease_owner IS NULL) = (attempt IS NULL)),
    CHECK ((state = 'publishing') = (publish_temp IS NOT NULL)),
    CHECK ((publish_temp IS NULL) = (publish_final IS NULL) AND (publish_temp IS NULL) = (publish_digest IS NULL)),
    CHECK (state <> 'done' OR result IS NOT NULL),
    CHECK ((state IN ('done', 'failed', 'skipped', 'cancelled')) = (finished_at_ms IS NOT NULL))
) STRICT;

-- Without statistics SQLite takes any index whose columns are compared with `=`, be it one on three words, over
-- the one that was made for a question. So the questions name theirs (INDEXED BY) and fail where it is gone.

-- With all that a claim asks of a row: a long queue of blocked folders is passed over without reading its rows.
CREATE INDEX jobs_claim  ON jobs (priority DESC, queued_at_ms, id, not_before_ms, folder) WHERE state = 'queued';
CREATE INDEX jobs_due    ON jobs (not_before_ms) WHERE state = 'queued';
CREATE INDEX jobs_held   ON jobs (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX jobs_source ON jobs (folder, source);
-- Covers the counts, and the choice of rows for lists.
CREATE INDEX jobs_state  ON jobs (state, folder);
CREATE INDEX jobs_recent ON jobs (folder, finished_at_ms DESC, id DESC) WHERE finished_at_ms IS NOT NULL;
CREATE INDEX jobs_result ON jobs (output_root, result) WHERE result IS NOT NULL;

-- What lies at a source path: the job that its content asked for, and the identity under which it was hashed.
-- A table of its own, because one job may serve several paths (the same content planned for the same output)
-- and one path has many jobs over time.
CREATE TABLE sources (
    folder   TEXT    NOT NULL,
    source   BLOB    NOT NULL,
    job      INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    dev      INTEGER NOT NULL,
    ino      INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    PRIMARY KEY (folder, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX sources_job ON sources (job);

-- Append-only: one row per claim, closed once.
CREATE TABLE attempts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    job            INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL CHECK (number > 0),
    owner          TEXT    NOT NULL,
    started_at_ms  INTEGER NOT NULL,
    finished_at_ms INTEGER,
    outcome        TEXT CHECK (outcome IN
                       ('done', 'failed', 'skipped', 'cancelled', 'retrying', 'released', 'crashed')),
    reason_code    TEXT,
    reason_message TEXT,
    CHECK ((finished_at_ms IS NULL) = (outcome IS NULL))
) STRICT;

CREATE INDEX attempts_job ON attempts (job, id);

CREATE TRIGGER attempts_are_append_only BEFORE UPDATE ON attempts
WHEN OLD.finished_at_ms IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a finished attempt is history and is not changed');
END;

-- What a model was measured to cost: bytes = weights_bytes + bytes_per_pixel · pixels + const_bytes.
CREATE TABLE model_profiles (
    model_sha256    BLOB    NOT NULL CHECK (length(model_sha256) = 32),
    provider        TEXT    NOT NULL,
    device          TEXT    NOT NULL,
    precision       TEXT    NOT NULL,
    weights_bytes   INTEGER NOT NULL CHECK (weights_bytes >= 0),
    bytes_per_pixel REAL    NOT NULL CHECK (bytes_per_pixel >= 0),
    const_bytes     INTEGER NOT NULL,
    -- The largest window side that worked, and the fastest; NULL until one did.
    tile_px         INTEGER CHECK (tile_px > 0),
    fastest_tile_px INTEGER CHECK (fastest_tile_px > 0),
    updated_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (model_sha256, provider, device, precision)
) STRICT, WITHOUT ROWID;

-- What people asked of the service and what survives a restart: `pause`.
CREATE TABLE controls (
    name     TEXT    NOT NULL PRIMARY KEY CHECK (name IN ('pause')),
    since_ms INTEGER NOT NULL,
    until_ms INTEGER
) STRICT, WITHOUT ROWID;
