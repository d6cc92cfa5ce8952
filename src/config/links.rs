//! Owns what the folders' paths lead to on this disk: a link that no letter of them shows can make a folder feed
//! itself. The only part of the configuration that looks at the folders, and only for whoever is about to watch
//! them: a share that does not answer must not keep `status` from answering.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, check};

impl Config {
    /// As [`Config::load`], and refuses folders that feed themselves or each other by way of links.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_to_watch(path: &Path) -> Result<Self, ConfigError> {
        let config = Self::load(path)?;
        let problems = problems(&config);
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }
}

/// What is wrong with a configuration whose letters are right.
fn problems(config: &Config) -> Vec<String> {
    let mut real = config.clone();
    real.state_dir = resolved(&real.state_dir);
    for folder in &mut real.folders {
        folder.input = resolved(&folder.input);
        folder.output = resolved(&folder.output);
    }
    let told = |problem: String| problem.replacen(": ", ": through links, ", 1);
    check::problems(&real).into_iter().map(told).collect()
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return real.join(rest);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(name: &str, input: &str, output: &str) -> String {
        format!("[[folder]]\nname = {name:?}\ninput = {input:?}\noutput = {output:?}\n")
    }

    #[test]
    fn folders_that_feed_each_other_through_links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b", "c"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        symlink(at("a"), at("a-link")).unwrap();
        symlink(at("b"), at("b-link")).unwrap();
        let told = |text: &str| {
            std::fs::write(at("c.toml"), format!("state_dir = \"state\"\n{text}")).unwrap();
            Config::load(&at("c.toml")).expect("the letters are right");
            match Config::load_to_watch(&at("c.toml")) {
                Ok(_) => String::new(),
                Err(error) => error.problems().join("|"),
            }
        };
        let itself = told(&folder("x", "a", "a-link"));
        assert!(
            itself.contains("\"x\" output: through links, is the input folder itself"),
            "{itself}"
        );
        let inside = told(&folder("x", "a", "a-link/not/there/yet"));
        assert!(inside.contains("lies inside the input"), "{inside}");
        let circle = told(&(folder("x", "a", "b-link") + &folder("y", "b", "a-link/y")));
        assert!(circle.contains("results would go round for ever"), "{circle}");
        // A chain through a link is a chain.
        assert_eq!(told(&(folder("x", "a", "b-link") + &folder("y", "b", "c"))), "");
    }
}
