//! Owns the journal's native protocol: a line for people, and every field under a name of its own, so that
//! `journalctl UPSCALED_JOB=12` finds what became of a job. Never blocks for long: a datagram for a line.
//!
//! Written here and not taken from tracing-journald, whose lines leave the fields out: `journalctl -u upscaled` would
//! say "published" and not which picture.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::said::Said;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// What stands before the name of every field: the names are those that hooks find in their environment.
const PREFIX: &str = "UPSCALED_";

/// Longest name of a field, bytes: the journal's own limit.
const NAME_MAX_BYTES: usize = 64;

/// Longest value, bytes. A datagram of a few of them still fits the kernel's default buffer (208 KiB).
const VALUE_MAX_BYTES: usize = 16 << 10;

/// The journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The system's.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        path.metadata()?;
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            path: path.to_owned(),
        })
    }

    fn write(&self, level: Level, target: &str, place: Option<(&str, u32)>, said: &Said) {
        let mut datagram = Vec::new();
        let line = said.to_string();
        field(&mut datagram, "MESSAGE", &line);
        field(&mut datagram, "PRIORITY", priority(level));
        field(&mut datagram, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        field(&mut datagram, "UPSCALED_TARGET", target);
        if let Some((file, line)) = place {
            field(&mut datagram, "CODE_FILE", file);
            field(&mut datagram, "CODE_LINE", &line.to_string());
        }
        for (name, value) in &said.fields {
            field(&mut datagram, &name_of(name), value);
        }
        // To the address and not connected: a journal that was restarted is another socket of the same name.
        if self.socket.send_to(&datagram, &self.path).is_err() {
            // Stderr leads to the journal, too.
            let _ = writeln!(io::stderr(), "<{}>{line}", priority(level));
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let place = metadata.file().zip(metadata.line());
        self.write(*metadata.level(), metadata.target(), place, &Said::of(event));
    }
}

/// As syslog counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// `oom_retries` is `UPSCALED_OOM_RETRIES`.
fn name_of(name: &str) -> String {
    let letters = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    });
    PREFIX.chars().chain(letters).take(NAME_MAX_BYTES).collect()
}

/// `NAME=value`, or with its length where it holds line breaks.
fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(VALUE_MAX_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value.as_bytes()[..end];
    datagram.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_is_for_people_and_its_fields_for_programs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::at(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(job = 12, result = %"a.png", "two\nlines");
        });
        let mut buffer = vec![0; 4096];
        let n = journald.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..n]);
        let message = "two\nlines job=12 result=a.png";
        let begin = format!(
            "MESSAGE\n{}\0\0\0\0\0\0\0{message}\nPRIORITY=4\nSYSLOG_IDENTIFIER=upscaled\n",
            '\u{1d}'
        );
        assert_eq!(message.len(), 0x1d);
        assert!(text.starts_with(&begin), "{text:?}");
        assert!(
            text.contains("\nUPSCALED_TARGET=upscaled::cli::log::journal::tests\n"),
            "{text:?}"
        );
        assert!(
            text.ends_with("UPSCALED_JOB=12\nUPSCALED_RESULT=a.png\n"),
            "{text:?}"
        );
    }

    #[test]
    fn names_are_what_the_journal_takes() {
        assert_eq!(name_of("oom_retries"), "UPSCALED_OOM_RETRIES");
        assert_eq!(name_of("a.b-é"), "UPSCALED_A_B__");
        assert_eq!(name_of(&"x".repeat(99)).len(), NAME_MAX_BYTES);
    }
}
