//! Owns `upscaled config`: check, show, and the starter file. Never changes a configuration that is there.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::ConfigCommand;
use super::exit::{Exit, Failure};
use super::out::{Out, complain, shown};
use super::unit;
use crate::config::{Config, EXAMPLE, Folder, locate, places};
use crate::error::{one_line, plain};
use crate::fs::{Filesystem, RealFilesystem};

/// Checks, shows or starts a configuration.
pub fn config(named: Option<&Path>, command: ConfigCommand) -> Result<Exit, Failure> {
    let mut out = Out::stdout();
    let exit = match command {
        ConfigCommand::Check(json) => check(&mut out, named, json.json)?,
        ConfigCommand::Show(json) => {
            let (_, config) = super::load(named)?;
            if json.json {
                out.json(&config.to_json())?;
            } else {
                out.bytes(config.to_toml().as_bytes())?;
            }
            Exit::Done
        }
        ConfigCommand::Init(args) if args.systemd => {
            let (path, config) = super::load(named)?;
            let text = unit::drop_in(&config, &path)?;
            if args.print {
                out.bytes(text.as_bytes())?;
            } else {
                unit::write(&text)?;
                let next = "systemctl daemon-reload, then systemctl restart upscaled";
                out.line(format_args!("wrote {}; next: {next}", unit::DROP_IN))?;
            }
            Exit::Done
        }
        ConfigCommand::Init(args) if args.print => {
            out.bytes(EXAMPLE.as_bytes())?;
            Exit::Done
        }
        ConfigCommand::Init(_) => {
            let written = init(named)?;
            let next = "set input and output in it, then run `upscaled config check`";
            out.line(format_args!("wrote {}; {next}", shown(&written)))?;
            Exit::Done
        }
    };
    out.flush()?;
    Ok(exit)
}

/// The files of models are looked at too, as `run` will: one that was never seen is examined.
fn check(out: &mut Out, named: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    if json {
        // The problems are the report: they belong on stdout.
        let path = locate(named);
        let (exit, folders, problems) = match path.as_deref().map(Config::load_to_watch) {
            Some(Ok(config)) => {
                let problems = unusable_models(&config);
                let exit = if problems.is_empty() {
                    Exit::Done
                } else {
                    Exit::Unavailable
                };
                (exit, Some(config.folders.len()), problems)
            }
            Some(Err(error)) => (Exit::Config, None, error.problems()),
            None => (
                Exit::Config,
                None,
                vec!["there is no configuration; `upscaled config init` writes one".into()],
            ),
        };
        let path = path.map(|path| path.to_string_lossy().into_owned());
        out.json(
            &json!({ "ok": exit == Exit::Done, "path": path, "folders": folders, "problems": problems }),
        )?;
        return Ok(exit);
    }
    let (path, config) = super::load_to_watch(named)?;
    let problems = unusable_models(&config);
    if !problems.is_empty() {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {problem}", shown(&path)))
            .collect();
        return Err(Failure::new(Exit::Unavailable, lines.join("\n")));
    }
    let folders = match config.folders.len() {
        1 => "1 folder".to_owned(),
        n => format!("{n} folders"),
    };
    out.line(format_args!("ok: {}, {folders}", shown(&path)))?;
    Ok(Exit::Done)
}

/// The folders whose model cannot be used, one line each.
fn unusable_models(config: &Config) -> Vec<String> {
    let catalogue = super::daemon_catalogue(config).with_notice(|text| complain(text));
    let told = |folder: &Folder| {
        let error = catalogue.card(&folder.recipe.model).err()?;
        Some(one_line(&format!("[[folder]] {:?} model: {error}", folder.name)))
    };
    config.folders.iter().filter_map(told).collect()
}

/// Writes the starter file and tells where.
fn init(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let candidates = named.map_or_else(places, |path| vec![path.to_owned()]);
    let mut refused = Vec::new();
    for path in candidates {
        match write_new(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let next = "edit it, or name another with --config";
                return Err(Failure::new(
                    Exit::Io,
                    format!("{} exists already; {next}", shown(&path)),
                ));
            }
            Err(error) => refused.push(format!("{}: {}", shown(&path), plain(&error))),
        }
    }
    let next = "name a file that you may write with --config";
    Err(Failure::new(
        Exit::Io,
        format!("cannot write a configuration ({}); {next}", refused.join("; ")),
    ))
}

/// Whole or not at all: what a full disk cut off would be a configuration with other values than it seems.
fn write_new(path: &Path) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    RealFilesystem.create_dir_all(directory)?;
    let mut file = RealFilesystem.create_new(path)?;
    let written = file
        .write_all(EXAMPLE.as_bytes())
        .and_then(|()| RealFilesystem.sync_file(&file))
        .and_then(|()| RealFilesystem.sync_dir(directory));
    if written.is_err() {
        let _ = RealFilesystem.remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_file_never_replaces_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/upscaled.toml");
        assert_eq!(init(Some(&path)).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), EXAMPLE);
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(
            init(Some(&path)),
            Err(Failure::Told { exit: Exit::Io, .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
