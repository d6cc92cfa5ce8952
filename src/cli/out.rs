//! Owns what a person or a program reads on stdout and stderr: lines, tables, JSON, numbers in words. The only
//! place that writes there. Never decides what is said.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::exit::Failure;
use crate::error::one_line;

/// Standard output, buffered where it is no terminal.
pub struct Out {
    writer: Box<dyn Write>,
    /// Columns of the terminal; `None`: not a terminal, nothing is cut.
    width: Option<usize>,
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out")
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl Out {
    /// Takes stdout until it is dropped.
    pub fn stdout() -> Self {
        let stdout: StdoutLock<'static> = io::stdout().lock();
        let width = stdout
            .is_terminal()
            .then(|| rustix::termios::tcgetwinsize(&stdout));
        let width = width
            .and_then(Result::ok)
            .map(|size| usize::from(size.ws_col))
            .filter(|width| *width > 0);
        Self {
            writer: Box::new(BufWriter::new(stdout)),
            width,
        }
    }

    /// One line. What it is made of must not hold line breaks; see [`shown`].
    ///
    /// # Errors
    /// [`Failure::Unread`] where nobody reads.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.writer, "{line}").map_err(|error| Failure::from_stdout(&error))
    }

    /// Text or bytes as they are.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer
            .write_all(bytes)
            .map_err(|error| Failure::from_stdout(&error))
    }

    /// A JSON document that people may look at too.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.writer, document).map_err(|error| json_failure(&error))?;
        self.bytes(b"\n")
    }

    /// A JSON document on a line of its own, sent at once: a stream is read while it is made.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json_line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, document).map_err(|error| json_failure(&error))?;
        self.bytes(b"\n")?;
        self.flush()
    }

    /// A table: columns as wide as their widest cell, the last one as wide as the terminal allows.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        for line in table(head, rows, self.width) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| Failure::from_stdout(&error))
    }
}

fn json_failure(error: &serde_json::Error) -> Failure {
    let kind = error.io_error_kind().unwrap_or(io::ErrorKind::InvalidData);
    Failure::from_stdout(&io::Error::new(kind, error.to_string()))
}

/// One line on stderr with our name before it. Nobody there to read it is no reason to fail.
pub fn complain(message: impl fmt::Display) {
    let _ = writeln!(
        io::stderr().lock(),
        "upscaled: {}",
        one_line(&message.to_string())
    );
}

/// Space between two columns.
const GAP: &str = "  ";

fn table(head: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<&[String]> = std::iter::once(head.as_slice())
        .chain(rows.iter().map(Vec::as_slice))
        .collect();
    let column_width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(column_width).collect();
    let print = |line: &&[String]| {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let text = cells.collect::<Vec<_>>().join(GAP);
        cut(text.trim_end(), width)
    };
    lines.iter().map(print).collect()
}

/// The text within so many columns; what is cut off leaves an ellipsis.
pub fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.chars().count() > width => {
            text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => text.to_owned(),
    }
}

/// A path on one line, whatever its bytes.
pub fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// How long ago, in the largest unit that fits: `now`, `12 s`, `3 min`, `5 h`, `2 d`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match Duration::from_secs(seconds.unsigned_abs()) {
        Duration::ZERO => "now".to_owned(),
        past => format!("{} ago", span(past)),
    }
}

/// A length of time in the largest unit that fits.
pub fn span(time: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let seconds = time.as_secs();
    // Two of a unit before it is used: "90 s" tells more than "1 min".
    match UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

/// Bytes as people read them.
pub fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_cut_at_the_terminals_edge_only() {
        let rows = vec![
            vec!["1".to_owned(), "done".to_owned(), "Grüße.png".to_owned()],
            vec!["127".to_owned(), "queued".to_owned(), "a".to_owned()],
        ];
        assert_eq!(
            table(&["JOB", "STATE", "SOURCE"], &rows, None),
            ["JOB  STATE   SOURCE", "1    done    Grüße.png", "127  queued  a"]
        );
        assert_eq!(
            table(&["JOB", "STATE", "SOURCE"], &rows, Some(17))[1],
            "1    done    Grü…"
        );
    }

    #[test]
    fn a_name_with_control_characters_stays_on_its_line() {
        assert_eq!(shown(Path::new("a\nb\u{1b}[31m.png")), "a\\nb\\u{1b}[31m.png");
    }

    #[test]
    fn times_use_the_largest_unit_of_which_there_are_two() {
        let span = |s| span(Duration::from_secs(s));
        assert_eq!(
            [span(5), span(119), span(120), span(7200), span(200_000)],
            ["5 s", "119 s", "2 min", "2 h", "2 d"]
        );
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(ago(at(100), at(100)), "now");
        assert_eq!(ago(at(100), at(90)), "now", "a clock that was set back");
    }
}
