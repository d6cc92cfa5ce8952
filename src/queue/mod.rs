//! Owns the ledger (`state_dir/state.db`): which jobs there are, who works on them, how they ended. Keeps
//! I2 (one job per content, recipe and output path), I3 (a claim spends an attempt before work) and I10 (every
//! finished job has a reason), in the code and in the schema. Never opens a picture and never renames a file.
//!
//! `job` is the vocabulary, `retry` the policy, both without SQL; `admit`, `claim`, `recover`, `steer`, `query`,
//! `history` and `adopt` are the [`Store`]'s methods by who calls them: intake, the worker, the start, a person, status,
//! housekeeping, and the start after a loss. `aside` keeps copies and damaged ledgers.
//!
//! ```text
//!             admit          claim           record_publishing      record_done
//! (settling) ──────▶ queued ──────▶ running ──────────────────▶ publishing ──────────▶ done
//!                      ▲  │            │ release, retry_later,        │ resolve_interrupted
//!                      └──┼────────────┘ recover                      ▼
//!                         └─ cancel ──▶ cancelled        failed · skipped · cancelled · queued
//! ```
//!
//! A final state is left only by `retry` (a person), by `admit` where the content is there again and its result
//! is not, and by `record_done` of a job that comes so late that it replaces a result which is wanted again.

mod admit;
mod adopt;
pub mod aside;
mod claim;
mod error;
mod history;
pub mod job;
mod known;
pub mod lock;
mod query;
mod recover;
pub mod retry;
mod row;
mod steer;
mod store;

pub use adopt::{Adopted, AdoptedEnd};
pub use error::QueueError;
pub use history::{Cursor, Lying};
pub use job::{
    Admission, Attempt, Claim, Counts, Digest, Filter, Interrupted, Job, JobId, JobOutcome, Known, NewJob,
    Pause, Publishing, Renewal, Resolution, ResultOwner, State, Steered,
};
pub use known::KnownFiles;
pub use lock::InstanceLock;
pub use recover::recover;
pub use store::{Store, prepare_state_dir};

#[cfg(test)]
mod tests;
