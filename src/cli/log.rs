//! Owns where the log goes: to the journal when systemd connected stderr to it, else to stderr for people. Never
//! writes to stdout.

mod fold;
mod journal;
mod said;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::fold::Folding;
use self::journal::Journal;
use super::exit::Failure;
use crate::clock::SystemClock;

/// How much is logged where nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The daemon: what happened.
    Service,
    /// A command: only what is wrong.
    Command,
    /// A command that runs the service and tells what became of each job itself; the service's own words about
    /// them would say everything twice.
    Teller,
}

/// What folds the lines of a service, for its end.
static FOLDING: OnceLock<Folding> = OnceLock::new();

/// Starts logging: `level` (`--log-level`), else `RUST_LOG`, else the default.
///
/// # Errors
/// A filter that cannot be read: wrong usage. One in `RUST_LOG` is ignored with a line on stderr, because it may
/// be meant for another program.
pub fn init(level: Option<&str>, default: Default) -> Result<(), Failure> {
    // A command is short, and what it repeats a person should see.
    let folding = (default == Default::Service).then(|| Folding::new(SystemClock::shared()));
    if let Some(folding) = &folding {
        let _ = FOLDING.set(folding.clone());
    }
    let registry = tracing_subscriber::registry()
        .with(filter(level, default)?)
        .with(folding);
    // Without the journal's socket the lines still reach it through stderr.
    let journal = if stderr_is_journal() {
        Journal::open().ok()
    } else {
        None
    };
    let result = match journal {
        Some(journal) => registry.with(journal).try_init(),
        None => {
            let people = tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
                .with_writer(io::stderr);
            registry.with(people).try_init()
        }
    };
    // Only a second call in one process fails; the first one's log is as good.
    drop(result);
    Ok(())
}

/// Says what is still hidden, before the process ends.
pub fn finish() {
    if let Some(folding) = FOLDING.get() {
        folding.finish();
    }
}

fn filter(level: Option<&str>, default: Default) -> Result<EnvFilter, Failure> {
    match (level, std::env::var(EnvFilter::DEFAULT_ENV)) {
        (Some(level), _) => EnvFilter::builder().parse(level).map_err(|_| {
            let known = "error, warn, info, debug, trace, or a filter such as upscaled::intake=debug";
            Failure::usage(format!("--log-level {level:?} cannot be read; use {known}"))
        }),
        (None, Ok(text)) => Ok(EnvFilter::builder().parse(&text).unwrap_or_else(|error| {
            super::out::complain(format!("RUST_LOG is ignored: {error}; correct it"));
            default_filter(default)
        })),
        (None, Err(_)) => Ok(default_filter(default)),
    }
}

/// The filter where nobody names one. The crates of the watcher and of TLS are quiet in it: intake and news tell the
/// same better.
fn default_filter(default: Default) -> EnvFilter {
    let level = match default {
        Default::Service => LevelFilter::INFO,
        Default::Command => LevelFilter::WARN,
        Default::Teller => LevelFilter::ERROR,
    };
    // Named as a directive: the builder's default one holds only for a filter that has no other.
    EnvFilter::builder().parse_lossy(format!("{level},notify=error,rustls_platform_verifier=off"))
}

/// Whether stderr is the very stream that systemd connected to the journal; the variable alone is inherited by
/// everything that a service starts.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = rustix::fs::fstat(io::stderr()).map(|stat| (stat.st_dev, stat.st_ino));
    stream
        .to_str()
        .and_then(stream_of)
        .is_some_and(|stream| stderr == Ok(stream))
}

/// `device:inode`, as systemd writes it.
fn stream_of(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_stream_is_read_as_systemd_writes_it() {
        assert_eq!(stream_of("8:123456"), Some((8, 123_456)));
        assert_eq!(stream_of("8"), None);
    }

    #[test]
    fn the_service_says_what_happened_where_nobody_names_a_level() {
        let filter = default_filter(Default::Service).to_string();
        assert!(
            filter.contains("info") && filter.contains("notify=error"),
            "{filter}"
        );
    }

    #[test]
    fn a_level_that_is_none_is_wrong_usage() {
        assert!(filter(Some("info"), Default::Command).is_ok());
        assert!(filter(Some("upscaled=debug,warn"), Default::Command).is_ok());
        assert!(matches!(
            filter(Some("upscaled=loud"), Default::Command),
            Err(Failure::Told {
                exit: super::super::exit::Exit::Usage,
                ..
            })
        ));
    }
}
