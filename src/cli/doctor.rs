//! Owns `upscaled doctor`: everything that a new user gets wrong, each checked by really trying it, each with its
//! remedy. Leaves nothing behind and changes nothing.

mod device;
mod gpu;
mod places;
mod told;
mod watch;

use std::path::Path;

use serde::Serialize;

use self::places::Subject;
use super::exit::{Exit, Failure};
use super::out::{Out, bytes, shown};
use super::unit;
use crate::clock::SystemClock;
use crate::config::{Config, SandboxMode, locate};
use crate::error::one_line;
use crate::machine;
use crate::queue::InstanceLock;
use crate::sandbox::kernel;
use crate::status::ServiceSnapshot;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked; stable.
    pub name: String,
    /// What was found.
    pub result: Verdict,
    /// What that means, on one line.
    pub detail: String,
    /// What to do; null where all is well.
    pub remedy: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            result: Verdict::Ok,
            detail: one_line(&detail.into()),
            remedy: None,
        }
    }

    /// It could be better.
    pub fn warn(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            result: Verdict::Warn,
            remedy: Some(one_line(&remedy.into())),
            ..Self::ok(name, detail)
        }
    }

    /// It does not work.
    pub fn fail(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            result: Verdict::Fail,
            ..Self::warn(name, detail, remedy)
        }
    }

    /// What an error says, divided at its own "; what to do next".
    pub fn from_error(name: impl Into<String>, error: &str, remedy: &str) -> Self {
        match error.rsplit_once("; ") {
            Some((detail, remedy)) => Self::fail(name, detail, remedy),
            None => Self::fail(name, error, remedy),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
}

/// Checks everything and tells it.
pub fn doctor(named: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let (config, mut checks) = configuration(named);
    let is_config_wrong = config.is_none();
    // What does not depend on the configuration is worth knowing even where it is wrong.
    let config = config.unwrap_or_else(|| Config {
        state_dir: super::data_home(),
        ..Config::default()
    });
    if !is_config_wrong {
        checks.push(places::state_dir(&config));
        checks.extend(super::block_on(places::ledger(&config))?);
        checks.extend(places::damaged_ledgers(&config));
        for folder in &config.folders {
            checks.extend(places::folder(&Subject::of(folder, config.min_free_bytes)));
        }
        let now = SystemClock::shared().wall();
        checks.extend(watch::folders(&config, now));
        checks.extend(watch::watches(&config));
        checks.extend(told::checks(&config));
    }
    checks.push(memory(&config));
    checks.push(sandbox(&config));
    checks.extend(drop_in(&config));
    let device = device::check(&config);
    let is_runtime_missing = device.is_runtime_missing;
    checks.extend(device.checks);
    let exit = match checks.iter().any(|check| check.result == Verdict::Fail) {
        _ if is_config_wrong => Exit::Config,
        _ if is_runtime_missing => Exit::Unavailable,
        true => Exit::Failed,
        false => Exit::Done,
    };
    let mut out = Out::stdout();
    if json {
        out.json(&Report { checks })?;
    } else {
        tell(&mut out, &checks)?;
    }
    out.flush()?;
    Ok(exit)
}

fn tell(out: &mut Out, checks: &[Check]) -> Result<(), Failure> {
    let width = checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    for check in checks {
        let word = match check.result {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        let remedy = check
            .remedy
            .as_ref()
            .map(|remedy| format!("; {remedy}"))
            .unwrap_or_default();
        out.line(format_args!(
            "{word:<4}  {:<width$}  {}{remedy}",
            check.name, check.detail
        ))?;
    }
    Ok(())
}

/// The configuration, where it is usable, and what there is to say about it.
fn configuration(named: Option<&Path>) -> (Option<Config>, Vec<Check>) {
    const NAME: &str = "config";
    let Some(path) = locate(named) else {
        let remedy = "`upscaled config init` writes one";
        let config = Config {
            state_dir: super::data_home(),
            ..Config::default()
        };
        return (
            Some(config),
            vec![Check::warn(
                NAME,
                "there is none, which only `upscaled upscale` does without",
                remedy,
            )],
        );
    };
    match Config::load_to_watch(&path) {
        Ok(config) if config.folders.is_empty() => {
            let detail = format!("{} is valid and watches no folder", shown(&path));
            (
                Some(config),
                vec![Check::warn(
                    NAME,
                    detail,
                    "add a [[folder]], `upscaled config init` shows how",
                )],
            )
        }
        Ok(config) => {
            let detail = format!(
                "{} is valid, {} watched",
                shown(&path),
                folders(config.folders.len())
            );
            (Some(config), vec![Check::ok(NAME, detail)])
        }
        Err(error) => {
            let problem = |problem: &String| {
                let text = format!("{}: {problem}", shown(&path));
                Check::from_error(NAME, &text, "correct the file")
            };
            (None, error.problems().iter().map(problem).collect())
        }
    }
}

fn folders(n: usize) -> String {
    if n == 1 {
        "1 folder".to_owned()
    } else {
        format!("{n} folders")
    }
}

/// What may be held against what there is. On a processor, device memory is the machine's too.
fn memory(config: &Config) -> Check {
    const NAME: &str = "memory";
    let total = machine::total_memory_bytes();
    let host = config.memory.host_bytes.unwrap_or(total / 4);
    let device = config
        .memory
        .device_bytes
        .map_or_else(|| "what is free".to_owned(), bytes);
    let detail = format!(
        "{} in all, {} free now; decoding and encoding may hold {}, inference {device}",
        bytes(total),
        bytes(machine::available_memory_bytes()),
        bytes(host)
    );
    if host > total {
        return Check::fail(
            NAME,
            detail,
            "lower [memory] host below what there is, or set it to \"auto\"",
        );
    }
    Check::ok(NAME, detail)
}

/// Whether the unit's drop-in, where there is one, opens the configuration's folders: others are read-only for the
/// service, or not there at all.
fn drop_in(config: &Config) -> Option<Check> {
    const NAME: &str = "unit";
    let there = std::fs::read_to_string(unit::DROP_IN).ok()?;
    let closed = unit::closed(&there, config);
    if closed.is_empty() {
        return Some(Check::ok(NAME, format!("{} opens the folders", unit::DROP_IN)));
    }
    let detail = format!(
        "{} does not open the folders of {}",
        unit::DROP_IN,
        closed.join(", ")
    );
    let remedy = "sudo upscaled config init --systemd, then systemctl daemon-reload and restart upscaled";
    Some(Check::warn(NAME, detail, remedy))
}

/// Whether the kernel holds the service to its folders: the one that runs, or the next one.
fn sandbox(config: &Config) -> Check {
    const NAME: &str = "sandbox";
    let running = InstanceLock::holder(&config.state_dir)
        .and_then(|_| ServiceSnapshot::read(&config.state_dir).ok().flatten())
        .and_then(|snapshot| snapshot.sandbox);
    let next = match (config.sandbox, kernel()) {
        (SandboxMode::Off, Ok(abi)) => Check::ok(
            NAME,
            format!("off by the configuration; the kernel has Landlock ABI {abi}"),
        ),
        (SandboxMode::Off, Err(why)) => Check::ok(NAME, format!("off by the configuration; {why}")),
        (SandboxMode::Auto, Ok(abi)) => {
            let detail =
                format!("the kernel has Landlock ABI {abi}, which `run` and `once` hold themselves to");
            Check::ok(NAME, detail)
        }
        (SandboxMode::Auto, Err(why)) => Check::warn(
            NAME,
            format!("not in force: {why}"),
            "systemd's unit restricts the service all the same; add landlock to the kernel's lsm= for both",
        ),
    };
    match running {
        Some(state) => Check {
            detail: format!("the running service says: {state}; {}", next.detail),
            ..next
        },
        None => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_own_advice_becomes_the_remedy() {
        let check = Check::from_error("x", "cannot a; because b; do c", "never seen");
        assert_eq!(
            (check.detail.as_str(), check.remedy.as_deref()),
            ("cannot a; because b", Some("do c"))
        );
        let check = Check::from_error("x", "cannot a", "do d");
        assert_eq!(
            (check.detail.as_str(), check.remedy.as_deref()),
            ("cannot a", Some("do d"))
        );
    }

    #[test]
    fn a_host_budget_beyond_the_machine_fails() {
        let mut config = Config::default();
        assert_eq!(memory(&config).result, Verdict::Ok);
        config.memory.host_bytes = Some(u64::MAX);
        assert_eq!(memory(&config).result, Verdict::Fail);
    }
}
