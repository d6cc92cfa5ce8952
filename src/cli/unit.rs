//! Owns the drop-in of systemd's unit that names the folders of a configuration: they are open to the service, everything
//! else is read-only or not there. Never talks to systemd.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::out::shown;
use crate::config::{Config, Folder, OnSuccess};
use crate::error::plain;
use crate::fs::{RealFilesystem, replace_file};
use crate::inference::Runtime;
use crate::sandbox::{self, Access, Grant};

/// Where it goes.
pub const DROP_IN: &str = "/etc/systemd/system/upscaled.service.d/folders.conf";

/// How it begins: whatever stands there without it is somebody else's.
const HEAD: &str = "# Written by `upscaled config init --systemd`";

/// What `ProtectHome=tmpfs` empties.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What `PrivateTmp=` replaces.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// The drop-in of this configuration.
///
/// # Errors
/// A folder whose name a unit cannot hold.
pub fn drop_in(config: &Config, path: &Path) -> Result<String, Failure> {
    let library = Runtime::locate(config.runtime.library.as_deref()).ok();
    let grants = sandbox::places(config, path, library.as_deref());
    let writable = outermost(grants.iter().filter(|grant| grant.access.includes(Access::Take)));
    let readable = outermost(grants.iter().filter(|grant| !lies_in(&grant.path, &writable)));
    let is_hidden = |path: &&PathBuf| lies_in(path, &HOMES) || lies_in(path, &TEMPORARY);
    let has_home = grants.iter().any(|grant| lies_in(&grant.path, &HOMES));

    let mut text = format!(
        "{HEAD} for {}.\n# Folders that it does not name are read-only for the service, and those below homes are not there: write it\n\
         # anew when the configuration names others. `upscaled doctor` says when that is.\n\n[Service]\nProtectSystem=strict\n",
        shown(path)
    );
    if has_home {
        // Empty but for what is bound there; the directories on the way belong to root and can be passed.
        text.push_str("ProtectHome=tmpfs\n");
    }
    // A folder that is not there at the start is no reason to stay down: the service waits for it.
    for path in writable.iter().filter(|path| !is_hidden(path)) {
        let _ = writeln!(text, "ReadWritePaths=-{}", escaped(path)?);
    }
    for path in writable.iter().filter(is_hidden) {
        let _ = writeln!(text, "BindPaths=-{}", escaped(path)?);
    }
    for path in readable.iter().filter(is_hidden) {
        let _ = writeln!(text, "BindReadOnlyPaths=-{}", escaped(path)?);
    }
    if needs_network(config) {
        text.push_str("IPAddressAllow=any\n");
    }
    Ok(text)
}

/// Whether something beyond this machine is called, or calls: the unit itself allows the machine alone.
fn needs_network(config: &Config) -> bool {
    let is_heard = |listen: std::net::SocketAddr| !listen.ip().is_loopback();
    !config.webhooks.is_empty() || config.metrics.listen.is_some_and(is_heard)
}

/// The folders of the configuration that a drop-in does not open.
pub fn closed<'c>(drop_in: &str, config: &'c Config) -> Vec<&'c str> {
    let opens = |path: &Path, keys: &[&str]| {
        let Ok(wanted) = escaped(&path.canonicalize().unwrap_or_else(|_| path.to_owned())) else {
            return false;
        };
        let mut lines = drop_in.lines().filter_map(|line| line.split_once("=-"));
        lines.any(|(key, opened)| keys.contains(&key) && Path::new(&wanted).starts_with(opened))
    };
    let is_closed = |folder: &&Folder| {
        let is_hidden = lies_in(&folder.input, &HOMES) || lies_in(&folder.input, &TEMPORARY);
        let writable = ["ReadWritePaths", "BindPaths"];
        let is_read_only = !opens(&folder.output, &writable)
            || (folder.on_success != OnSuccess::Keep && !opens(&folder.input, &writable));
        is_read_only || (is_hidden && !opens(&folder.input, &["BindPaths", "BindReadOnlyPaths"]))
    };
    let closed = config.folders.iter().filter(is_closed);
    closed.map(|folder| folder.name.as_str()).collect()
}

/// Writes it to its place; an earlier one is replaced, somebody else's is not.
///
/// # Errors
/// Why not, and the command that does.
pub fn write(text: &str) -> Result<(), Failure> {
    write_to(Path::new(DROP_IN), text)
}

fn write_to(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |why: &str| {
        let next =
            format!("run it with sudo, or: upscaled config init --systemd --print | sudo tee {DROP_IN}");
        Failure::new(Exit::Io, format!("cannot write {DROP_IN}: {why}; {next}"))
    };
    match std::fs::read_to_string(path) {
        Ok(there) if !there.starts_with(HEAD) => {
            let next = "rename it, or print this one with --print";
            let text = format!("{DROP_IN} is not from here and stays as it is; {next}");
            return Err(Failure::new(Exit::Io, text));
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&plain(&error))),
        _ => {}
    }
    replace_file(&RealFilesystem, path, text.as_bytes()).map_err(|error| failed(&plain(&error)))
}

/// The paths, without those that lie in others; sorted.
fn outermost<'g>(grants: impl Iterator<Item = &'g Grant>) -> Vec<PathBuf> {
    let mut paths: Vec<_> = grants.map(|grant| grant.path.clone()).collect();
    paths.sort();
    // What holds another path sorts before it.
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !lies_in(&path, &kept) {
            kept.push(path);
        }
    }
    kept
}

fn lies_in(path: &Path, dirs: &[impl AsRef<Path>]) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir))
}

/// A path as a unit writes it.
fn escaped(path: &Path) -> Result<String, Failure> {
    let refused = || {
        let next = "rename it, or write the drop-in by hand";
        Failure::new(
            Exit::Config,
            format!("a unit cannot name {}; {next}", shown(path)),
        )
    };
    let text = path.to_str().ok_or_else(refused)?;
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            '%' => escaped.push_str("%%"),
            ' ' | '\t' | '"' | '\'' | '\\' | ':' => escaped.extend(['\\', char]),
            _ if char.is_control() => return Err(refused()),
            _ => escaped.push(char),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_in_opens_what_is_written_and_nothing_twice() {
        let grant = |path: &str, access| Grant {
            path: PathBuf::from(path),
            access,
        };
        let grants = [
            grant("/srv/photos/out", Access::Write),
            grant("/srv/photos", Access::Write),
            grant("/srv/photos-2", Access::Write),
        ];
        let paths = outermost(grants.iter());
        assert_eq!(paths, [Path::new("/srv/photos"), Path::new("/srv/photos-2")]);
        let path = escaped(Path::new("/srv/50% of \"a\":b")).unwrap();
        assert_eq!(path, "/srv/50%%\\ of\\ \\\"a\\\"\\:b");
        assert!(escaped(Path::new("/srv/a\nb")).is_err());
    }

    #[test]
    fn the_drop_in_of_a_configuration_parses_and_names_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().canonicalize().unwrap();
        for name in ["in", "out", "state"] {
            std::fs::create_dir(site.join(name)).unwrap();
        }
        let text = "state_dir = \"state\"\n[[folder]]\nname = \"a\"\ninput = \"in\"\noutput = \"out\"\n";
        let config = Config::parse(text, &site.join("c.toml")).unwrap();
        let text = drop_in(&config, &site.join("c.toml")).unwrap();
        assert!(
            text.starts_with(HEAD) && text.contains("\nProtectSystem=strict\n"),
            "{text}"
        );
        // Below the temporary directory, which the unit's PrivateTmp= hides.
        assert!(
            text.contains(&format!("\nBindPaths=-{}\n", site.display())),
            "{text}"
        );
        assert!(!text.contains("IPAddressAllow"), "nothing to call: {text}");
        assert_eq!(closed(&text, &config), Vec::<&str>::new());
        let mut told = config.clone();
        told.metrics.listen = Some(([0, 0, 0, 0], 9753).into());
        let text_of_told = drop_in(&told, &site.join("c.toml")).unwrap();
        assert!(text_of_told.ends_with("\nIPAddressAllow=any\n"), "{text_of_told}");
        let mut moved = config.clone();
        moved.folders[0].output = PathBuf::from("/srv/elsewhere");
        assert_eq!(closed(&text, &moved), ["a"]);
    }

    #[test]
    fn an_earlier_drop_in_is_replaced_and_somebody_elses_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upscaled.service.d/folders.conf");
        for text in [format!("{HEAD} one"), format!("{HEAD} two")] {
            write_to(&path, &text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::write(&path, "[Service]\n").unwrap();
        assert!(matches!(
            write_to(&path, HEAD),
            Err(Failure::Told { exit: Exit::Io, .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[Service]\n");
    }
}
