//! Owns the checks of what is told to others: commands that can be run, tokens that can be read. Never runs a command and
//! never calls anybody: a check that rings a phone is none.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::Check;
use crate::cli::out::shown;
use crate::config::{Command, Config, Happening, Word};
use crate::error::plain;

/// One for each command and each file with a token; none where nothing is configured.
pub fn checks(config: &Config) -> Vec<Check> {
    let hooks = Happening::WORDS.iter().filter_map(|(_, happening)| {
        let command = config.hooks.command(*happening)?;
        Some(hook(
            happening.hook(),
            command,
            std::env::var_os("PATH").as_deref(),
        ))
    });
    let tokens = config
        .webhooks
        .iter()
        .filter_map(|webhook| Some(token(webhook.host(), webhook.token_file.as_deref()?)));
    hooks.chain(tokens).collect()
}

fn hook(key: &str, command: &Command, path: Option<&std::ffi::OsStr>) -> Check {
    let name = format!("hook:{key}");
    let places: Vec<PathBuf> = match command.program.is_absolute() {
        true => vec![command.program.clone()],
        false => path
            .map(|path| {
                std::env::split_paths(path)
                    .map(|dir| dir.join(&command.program))
                    .collect()
            })
            .unwrap_or_default(),
    };
    match places.iter().find(|place| is_executable(place)) {
        Some(place) => Check::ok(name, shown(place)),
        None if places.iter().any(|place| place.exists()) => Check::fail(
            name,
            format!("{} cannot be run by this user", shown(&command.program)),
            "chmod +x it, and let the service's user reach it",
        ),
        None => Check::fail(
            name,
            format!("there is no {}", shown(&command.program)),
            format!("correct {key} in [hooks]"),
        ),
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn token(host: &str, path: &Path) -> Check {
    let name = format!("webhook:{host}");
    match File::open(path).and_then(io::read_to_string) {
        Ok(text) if !text.trim().is_empty() => Check::ok(name, format!("{} holds a token", shown(path))),
        Ok(_) => Check::fail(
            name,
            format!("{} is empty", shown(path)),
            "write the token into it",
        ),
        Err(error) => Check::fail(
            name,
            format!("cannot read {}: {}", shown(path), plain(&error)),
            "let the service's user read it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_command_that_cannot_be_run_is_found_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        let check = |program: &Path| {
            let command = Command {
                program: program.to_owned(),
                arguments: Vec::new(),
            };
            hook("on_done", &command, Some("/nowhere:/bin".as_ref()))
        };
        assert_eq!(check(Path::new("sh")).result, Verdict::Ok);
        assert_eq!(check(Path::new("/bin/sh")).result, Verdict::Ok);
        for (program, why) in [
            (dir.path().join("plain"), "cannot be run"),
            (dir.path().join("absent"), "there is no"),
            (PathBuf::from("no-such-program"), "there is no"),
        ] {
            let check = check(&program);
            assert_eq!(check.result, Verdict::Fail);
            assert!(check.detail.contains(why), "{check:?}");
        }
        assert_eq!(
            token("a", &dir.path().join("plain")).result,
            Verdict::Fail,
            "empty"
        );
    }
}
