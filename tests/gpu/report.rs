//! Owns the report: what was seen, part by part, whether or not a part failed.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::rig::Rig;

/// What a part has to say: lines of Markdown.
pub type Seen = Vec<String>;

/// The report as it grows.
pub struct Report {
    text: String,
    failed: Vec<String>,
    path: PathBuf,
}

impl Report {
    /// With what the machine is.
    pub fn new(rig: &Rig) -> Self {
        let mut text = format!("# upscaled {} on a GPU\n\n", env!("CARGO_PKG_VERSION"));
        if rig.is_rehearsal {
            text += "**A rehearsal on the processor: no figure here is a card's.**\n\n";
        }
        let _ = writeln!(text, "```\n{}```", rig.doctor());
        let path = std::env::var_os("UPSCALED_GPU_REPORT").map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gpu-report.md"),
            PathBuf::from,
        );
        Self {
            text,
            failed: Vec::new(),
            path,
        }
    }

    /// Does a part. What is written so far stands in the file even if the process dies in the next part.
    pub fn part(&mut self, title: &str, part: impl FnOnce() -> Seen) {
        println!("{title}");
        let _ = write!(self.text, "\n## {title}\n\n");
        match catch_unwind(AssertUnwindSafe(part)) {
            Ok(seen) => {
                for line in seen {
                    println!("  {line}");
                    let _ = writeln!(self.text, "{line}");
                }
            }
            Err(panic) => {
                let why = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default();
                println!("  FAILED: {why}");
                let _ = writeln!(self.text, "**Failed:** {why}");
                self.failed.push(title.to_owned());
            }
        }
        self.write();
    }

    fn write(&self) {
        std::fs::write(&self.path, &self.text)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }

    /// Fails if a part has.
    pub fn finish(self) {
        println!("the report: {}", self.path.display());
        assert!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
    }
}
