//! Owns the configuration: what was written (`file`) and what it means (`resolved`).

pub mod resolved;

pub use resolved::*;
