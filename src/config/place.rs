//! Owns where the configuration is looked for, and what a path in it means. The only place of this module
//! that reads the environment.

use std::path::{Component, Path, PathBuf};

/// Where a configuration is looked for when none is named, in this order.
pub fn places() -> Vec<PathBuf> {
    places_from(|name| std::env::var_os(name).map(PathBuf::from))
}

/// The configuration file: the named one whether or not it exists, else the first of [`places`] that does.
pub fn locate(explicit: Option<&Path>) -> Option<PathBuf> {
    match explicit {
        Some(path) => Some(path.to_path_buf()),
        // One that may not be looked at (another user's home kept by sudo) does not hide the next.
        None => places().into_iter().find(|path| path.exists()),
    }
}

fn places_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    // The XDG specification has relative values ignored; so is an unset home.
    let absolute = |name| variable(name).filter(|path: &PathBuf| path.is_absolute());
    let user = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let mut places = vec![PathBuf::from("./upscaled.toml")];
    places.extend(user.map(|user| user.join("upscaled/config.toml")));
    places.push(PathBuf::from("/etc/upscaled/config.toml"));
    places
}

/// `path` as seen from `base` (absolute), without `.` and `..`. By its letters alone: a folder need not exist
/// yet, and a mount that comes later must not change what a path means.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            // At the root it stays at the root, as the kernel has it.
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_file_comes_between_the_working_directory_and_the_system() {
        let xdg = places_from(|name| (name == "XDG_CONFIG_HOME").then(|| "/x".into()));
        assert_eq!(
            xdg,
            [
                "./upscaled.toml",
                "/x/upscaled/config.toml",
                "/etc/upscaled/config.toml"
            ]
            .map(PathBuf::from)
        );
        let home = places_from(|name| (name == "HOME").then(|| "/home/eva".into()));
        assert_eq!(home[1], Path::new("/home/eva/.config/upscaled/config.toml"));
    }

    #[test]
    fn a_service_without_home_and_a_relative_xdg_directory_still_find_the_systems_file() {
        let relative = places_from(|name| (name == "XDG_CONFIG_HOME").then(|| "conf".into()));
        assert_eq!(
            relative,
            ["./upscaled.toml", "/etc/upscaled/config.toml"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_named_file_is_taken_even_if_it_is_not_there_so_that_its_absence_is_told() {
        let path = Path::new("/nowhere/upscaled.toml");
        assert_eq!(locate(Some(path)).as_deref(), Some(path));
    }

    #[test]
    fn dots_are_resolved_by_letters_and_never_above_the_root() {
        assert_eq!(
            absolute(Path::new("/etc/upscaled"), Path::new("../in/./a")),
            Path::new("/etc/in/a")
        );
        assert_eq!(absolute(Path::new("/etc"), Path::new("../../..")), Path::new("/"));
        assert_eq!(
            absolute(Path::new("/etc"), Path::new("/srv//in/")),
            Path::new("/srv/in")
        );
    }
}
