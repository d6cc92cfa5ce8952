//! `upscaled`: watches folders and turns every image dropped there into a larger, better one.
//!
//! # The map
//!
//! ```text
//! file event ─▶ candidate ─▶ stable file ─▶ job row ─▶ claim ─▶ header ─▶ plan ─▶ rows ─▶ tiles ─▶ session
//! └──────────── intake ───────────┘ └────── queue ──────┘ └────────────────── pipeline ──────────────▶
//!            ─▶ band ─▶ encoder ─▶ staged file ─▶ published ─▶ done
//!            ─ pipeline ─────────┘ └──────── publish ─────────┘
//! ```
//!
//! The **control plane** (intake, queue, service, status) is async: small messages, decisions, SQL.
//! The **data plane** (codec, tiling, inference, pipeline) is plain named threads that move pixels and never
//! touch SQL. They meet in `service/worker.rs`.
//!
//! Dependencies point one way: `main → cli → service → intake | queue | pipeline | publish | status | news`, and
//! `pipeline → codec | tiling | inference | budget`. `tests/architecture.rs` keeps it so.
//!
//! # Invariants (module heads, assertions and tests carry the same names)
//!
//! - **I1** no pixel is read before the file is stable
//! - **I2** one job per (content, recipe, output path)
//! - **I3** a claim spends an attempt before work
//! - **I4** final names appear only by renaming a synced file
//! - **I5** a source is disposed of only after its result is published and recorded
//! - **I6** rows reach the encoder in order, once, no gaps
//! - **I7** tile cores partition the image, every window lies inside it
//! - **I8** live permits never exceed the budget
//! - **I9** one thread touches a session
//! - **I10** every finished job has a reason a person can read

pub mod budget;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod error;
pub mod fs;
#[doc(hidden)]
pub mod fs_fault;
pub mod inference;
pub mod intake;
pub mod machine;
pub mod models;
pub mod news;
pub mod pipeline;
pub mod progress;
pub mod publish;
pub mod queue;
pub mod ratio;
pub mod report;
pub mod sandbox;
pub mod service;
pub mod size;
pub mod status;
pub mod tiling;
