//! What no row may say about another, for [`super::random`].

/// What must be true of the rows whatever happened: every query counts offenders.
pub(super) const NEVER: [(&str, &str); 9] = [
    (
        "the counts are not those of the rows",
        "SELECT count(*) FROM (SELECT folder, state, count(*) AS n FROM jobs GROUP BY folder, state) AS counted
        FULL JOIN (SELECT * FROM job_counts WHERE n <> 0) AS kept USING (folder, state)
        WHERE counted.n IS NOT kept.n",
    ),
    (
        "an attempt is open that no held job has",
        "SELECT count(*) FROM attempts a WHERE finished_at_ms IS NULL
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = a.job AND attempt = a.id AND attempts = a.number)",
    ),
    (
        "a held job has no open attempt",
        "SELECT count(*) FROM jobs WHERE attempt IS NOT NULL
        AND attempt NOT IN (SELECT id FROM attempts WHERE finished_at_ms IS NULL)",
    ),
    (
        "a request to stop is addressed to nobody",
        "SELECT count(*) FROM jobs WHERE cancel_requested = 1 AND lease_owner IS NULL",
    ),
    (
        "a withdrawn job is neither called off nor being so",
        "SELECT count(*) FROM jobs WHERE withdrawn = 1 AND state <> 'cancelled' AND cancel_requested = 0",
    ),
    (
        "a path counts on a withdrawn job",
        "SELECT count(*) FROM sources s JOIN jobs j ON j.id = s.job WHERE j.withdrawn = 1",
    ),
    (
        "two results lie at one place",
        "SELECT count(*) FROM jobs a JOIN jobs b USING (output_root, result)
        WHERE a.id < b.id AND a.replaced_by IS NULL AND b.replaced_by IS NULL",
    ),
    (
        "a finished job keeps an unfinished one's times",
        "SELECT count(*) FROM jobs WHERE state = 'running' AND (started_at_ms IS NULL OR reason_code IS NOT NULL)",
    ),
    (
        "a row points nowhere",
        "SELECT count(*) FROM pragma_foreign_key_check",
    ),
];
