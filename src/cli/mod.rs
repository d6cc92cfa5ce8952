//! Owns what a person types and reads: commands, options, exit codes, output. Every command is a thin file that
//! asks the library and tells the answer. Never decides anything about pixels, jobs or files itself.
//!
//! `args` says what can be typed, `exit` what the process returns, `out` writes, `log` logs; then a file for each
//! group of commands.

mod args;
mod config;
mod confine;
mod doctor;
mod exit;
mod jobs;
mod log;
mod messenger;
mod models;
mod once;
mod out;
mod run;
mod shell;
mod status;
mod steer;
mod unit;
mod upscale;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use self::args::{BuildEngineArgs, Cli, Command, ExamineArgs, MessengerArgs};
use self::exit::{Exit, Failure};
use self::out::complain;
use crate::config::{Config, ConfigError, locate, places};
use crate::fs::RealFilesystem;
use crate::inference::Catalogue;
use crate::inference::{catalogue, engine_builds};

/// Threads of the control plane: it waits for files, timers and the ledger, all day long.
const CONTROL_THREADS: usize = 2;

/// Runs what was typed.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let ran = if arguments
        .peek()
        .is_some_and(|first| first == catalogue::apart::COMMAND)
    {
        ExamineArgs::try_parse_from(arguments).map(models::examine)
    } else if arguments
        .peek()
        .is_some_and(|first| first == engine_builds::COMMAND)
    {
        BuildEngineArgs::try_parse_from(arguments).map(models::build_engine)
    } else if arguments.peek().is_some_and(|first| messenger::is_meant(first)) {
        MessengerArgs::try_parse_from(arguments).map(|args| messenger::messenger(&args))
    } else {
        Cli::try_parse().map(dispatch)
    };
    match ran.unwrap_or_else(|error| Ok(refused(&error))) {
        Ok(exit) => exit.into(),
        Err(Failure::Unread) => Exit::Done.into(),
        Err(Failure::Told { exit, message }) => {
            message.lines().for_each(complain);
            exit.into()
        }
    }
}

/// What was typed is no command, or asks for help.
fn refused(error: &clap::Error) -> Exit {
    use clap::error::ErrorKind as K;
    match error.kind() {
        K::DisplayHelp | K::DisplayVersion | K::DisplayHelpOnMissingArgumentOrSubcommand => {
            // `--help | head` closes the pipe early; there is nothing left to tell.
            let _ = error.print();
        }
        _ => complain(usage_line(&error.to_string())),
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

/// clap's paragraphs as one line: what is wrong, its tips, and where to read on.
fn usage_line(rendered: &str) -> String {
    let mut help = "upscaled".to_owned();
    let mut said = Vec::new();
    for paragraph in rendered.trim().split("\n\n") {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            let is_command = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
            help = usage
                .split_whitespace()
                .take_while(is_command)
                .collect::<Vec<_>>()
                .join(" ");
        } else if !paragraph.starts_with("For more information") {
            said.push(paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let said = said.join("; ");
    format!(
        "{}; see `{help} --help`",
        said.strip_prefix("error: ").unwrap_or(&said)
    )
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let config = cli.config.as_deref();
    let default = match cli.command {
        Command::Run => log::Default::Service,
        Command::Once(_) => log::Default::Teller,
        _ => log::Default::Command,
    };
    let level = cli.log_level.as_deref();
    log::init(level, default)?;
    match cli.command {
        Command::Run => run::run(config, level),
        Command::Once(args) => once::once(config, level, &args),
        Command::Upscale(args) => upscale::upscale(config, &args),
        Command::Status(json) => status::status(config, json.json),
        Command::Pause { time, json } => steer::pause(config, time, json.json),
        Command::Resume(json) => steer::resume(config, json.json),
        Command::Rescan(json) => steer::rescan(config, json.json),
        Command::Jobs(command) => jobs::jobs(config, command),
        Command::Models(command) => models::models(config, command),
        Command::Config(command) => self::config::config(config, command),
        Command::Doctor(json) => doctor::doctor(config, json.json),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man => shell::man(),
    }
}

/// The configuration, for commands that mean nothing without one.
fn load(named: Option<&Path>) -> Result<(PathBuf, Config), Failure> {
    load_by(named, Config::load)
}

/// As [`load`], for commands that watch the folders.
fn load_to_watch(named: Option<&Path>) -> Result<(PathBuf, Config), Failure> {
    load_by(named, Config::load_to_watch)
}

fn load_by(
    named: Option<&Path>,
    read: fn(&Path) -> Result<Config, ConfigError>,
) -> Result<(PathBuf, Config), Failure> {
    let path = locate(named).ok_or_else(|| {
        let looked_in = places()
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let next = "`upscaled config init` writes one, --config names one";
        Failure::new(
            Exit::Config,
            format!("there is no configuration (looked for {looked_in}); {next}"),
        )
    })?;
    let config = read(&path)?;
    Ok((path, config))
}

/// The configuration, or the defaults where there is none. A wrong one is an error all the same.
fn load_or_default(named: Option<&Path>) -> Result<Config, Failure> {
    match locate(named) {
        Some(path) => Ok(Config::load(&path)?),
        None => Ok(Config {
            state_dir: data_home(),
            ..Config::default()
        }),
    }
}

/// The models of a command that is not the daemon: those of the state directory, and those that the person has for
/// themselves. Says when one has to be examined first, because somebody waits.
fn catalogue(config: &Config) -> Arc<Catalogue> {
    let mut places = vec![config.state_dir.clone()];
    if data_home() != config.state_dir {
        places.push(data_home());
    }
    Arc::new(catalogue_of(places, config).with_notice(|text| complain(text)))
}

/// The models that the daemon finds with this configuration.
fn daemon_catalogue(config: &Config) -> Catalogue {
    catalogue_of(vec![config.state_dir.clone()], config)
}

fn catalogue_of(places: Vec<PathBuf>, config: &Config) -> Catalogue {
    let catalogue = Catalogue::new(places, config.runtime.library.clone(), RealFilesystem::shared());
    // Not by its path: a daemon that runs on while its binary is replaced asks itself, not its successor.
    catalogue.examined_by("/proc/self/exe")
}

/// Where a command without a configuration keeps what is worth keeping.
fn data_home() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    base.map_or_else(|| Config::default().state_dir, |base| base.join("upscaled"))
}

/// Runs async work of the control plane to its end.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| {
            let why = crate::error::plain(&error);
            Failure::new(Exit::Temporary, format!("cannot start threads: {why}; try again"))
        })?;
    let ended = runtime.block_on(work);
    // A file system that does not answer must not keep the process; what was open is found by the next start.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> String {
        usage_line(&Cli::try_parse_from(args).unwrap_err().to_string())
    }

    #[test]
    fn wrong_usage_is_told_in_one_line_that_says_where_to_read_on() {
        assert_eq!(
            line(&["upscaled", "upscale"]),
            "the following required arguments were not provided: <INPUT>...; see `upscaled upscale --help`"
        );
        assert_eq!(
            line(&["upscaled", "statsu"]),
            "unrecognized subcommand 'statsu'; tip: a similar subcommand exists: 'status'; see `upscaled --help`"
        );
        assert_eq!(
            line(&["upscaled", "upscale", "a", "--format", "heic"]),
            "--format must be \"same\", \"jpeg\", \"png\", \"webp\", \"tiff\", \"avif\" or \"jxl\", not \"heic\"; \
             see `upscaled upscale --help`"
        );
    }
}
