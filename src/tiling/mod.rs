//! Owns the geometry of tiles: where windows and cores lie, which plan fits and costs least. Pure: knows
//! neither pixels nor sessions nor files.

pub mod cost;
pub mod geom;
pub mod plan;
mod weights;

pub use cost::{MemoryNeed, Speed};
pub use geom::{Axis, Span};
pub use plan::{Demands, Joint, Limits, PlanError, TilePlan, plan};
