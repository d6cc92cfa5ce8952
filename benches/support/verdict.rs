//! The lines that say whether a figure is what was wanted. They are told again at the end, because a benchmark runs for
//! minutes and its tables scroll away. A missed figure does not fail the run: on a busy machine it may mean nothing.

use std::fmt;

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// No farther from zero than this, on either side.
    Within(f64),
}

impl Wanted {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Within(most) => value.abs() <= most,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Within(most) => write!(f, "within ±{most}"),
        }
    }
}

/// What became of all figures.
#[derive(Debug, Default)]
pub struct Verdicts {
    lines: Vec<String>,
    missed: usize,
}

impl Verdicts {
    /// Tells a figure now and again at the end.
    pub fn check(&mut self, what: impl fmt::Display, value: f64, unit: &str, wanted: Wanted) {
        let is_met = wanted.is_met_by(value);
        let digits = if value.abs() < 10.0 { 3 } else { 1 };
        self.tell(
            is_met,
            format!("{what}: {value:.digits$}{unit} (wanted {wanted}{unit})"),
        );
    }

    /// As [`Verdicts::check`], of something that is or is not.
    pub fn require(&mut self, what: impl fmt::Display, is_met: bool) {
        self.tell(is_met, what.to_string());
    }

    fn tell(&mut self, is_met: bool, line: String) {
        let word = if is_met { "ok    " } else { "MISSED" };
        self.missed += usize::from(!is_met);
        let line = format!("{word} {line}");
        println!("{line}");
        self.lines.push(line);
    }

    /// Tells all lines again.
    pub fn finish(self) {
        println!("\n{} figures, {} missed", self.lines.len(), self.missed);
        for line in self.lines {
            println!("  {line}");
        }
    }
}
