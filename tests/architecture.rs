//! Protects the map of `src/lib.rs`: who may name whom, who may touch what. Reads the sources as text, so that a
//! shortcut fails with the file, the line and the reason instead of being found in a review.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A file longer than this has more than one subject.
const FILE_LINES_MAX: usize = 500;

/// Crates, the only places that may name them (files, or directories with a slash at the end, below `src/`), and
/// why.
const HOMES: &[(&[&str], &[&str], &str)] = &[
    (
        &["notify"],
        &["intake/watch.rs"],
        "events are hints; everyone else lives on scans and on the WatchSource seam",
    ),
    (
        &["sqlx"],
        &["queue/"],
        "the ledger's crash order is kept where its SQL is",
    ),
    (
        &["ort"],
        &["inference/"],
        "the Upscaler seam lets the pipeline be tested without ONNX Runtime",
    ),
    (
        &[
            "brotli_decompressor",
            "gif",
            "image",
            "flate2",
            "fax",
            "image_webp",
            "jpeg_decoder",
            "jpeg_encoder",
            "moxcms",
            "jxl_bitstream",
            "jxl_coding",
            "jxl_oxide",
            "jxl_oxide_common",
            "png",
            "re_rav1d",
            "quantette",
            "rav1e",
            "tiff",
            "webp",
            "weezl",
            "zune_core",
            "zune_jpeg",
            "md5",
            "zune_jpegxl",
        ],
        &["codec/"],
        "pictures are read under codec::DecodeLimits only, and written in one place",
    ),
    (
        &["anyhow"],
        &["main.rs", "cli/"],
        "an error is named where it is born and carries its disposition",
    ),
    (
        &["trash"],
        &["publish.rs", "publish/"],
        "only publish disposes of a source (I5)",
    ),
    (
        &["clap", "clap_complete", "clap_mangen", "indicatif"],
        &["main.rs", "cli/"],
        "the terminal is the command line's",
    ),
    (
        &["signal_hook"],
        &["service/signals.rs", "cli/"],
        "signals become wishes in one place",
    ),
    (
        &["landlock"],
        &["sandbox/"],
        "what the process may touch is decided in one place",
    ),
    (
        &["ureq"],
        &["news/webhook.rs"],
        "TLS and HTTP to the outside stay in the messenger's process",
    ),
    (
        &["hyper", "hyper_util"],
        &["service/answers.rs"],
        "metrics and health are answered in one place, under its limits",
    ),
    (
        &["nvml_wrapper"],
        &["machine/nvidia.rs"],
        "the driver is asked in one place, which a test may take",
    ),
    (
        &["sd_notify"],
        &["service/watchdog.rs"],
        "what systemd is told is one module's",
    ),
];

/// Where files change their names (I4). `std::fs::rename` itself is banned by clippy.toml. The ledger's own file is no
/// result: it is set aside where its connections are.
const RENAMERS: &[&str] = &["fs.rs", "fs_fault.rs", "publish.rs", "publish/", "queue/aside.rs"];

/// Modules that must stay ignorant of others, so that dependencies point one way.
const DIRECTIONS: &[(&str, &[&str], &str)] = &[
    (
        "tiling",
        &[
            "budget",
            "cli",
            "clock",
            "codec",
            "config",
            "fs",
            "inference",
            "intake",
            "machine",
            "models",
            "pipeline",
            "progress",
            "publish",
            "queue",
            "report",
            "service",
            "status",
        ],
        "geometry is pure: it knows sizes and errors",
    ),
    (
        "error",
        &[
            "budget",
            "cli",
            "clock",
            "codec",
            "config",
            "fs",
            "inference",
            "intake",
            "machine",
            "models",
            "pipeline",
            "progress",
            "publish",
            "queue",
            "report",
            "service",
            "size",
            "status",
            "tiling",
        ],
        "everything names error; it names nothing",
    ),
    (
        "config",
        &[
            "budget",
            "cli",
            "codec",
            "inference",
            "intake",
            "machine",
            "pipeline",
            "publish",
            "queue",
            "service",
            "status",
        ],
        "the configuration says what is wanted, not how it is done",
    ),
    (
        "codec",
        &[
            "cli",
            "inference",
            "intake",
            "pipeline",
            "publish",
            "queue",
            "service",
            "status",
            "tiling",
        ],
        "codec gives and takes rows; it does not know what happens in between",
    ),
    (
        "inference",
        &[
            "cli", "codec", "intake", "pipeline", "publish", "queue", "service", "status",
        ],
        "a session sees tensors, no files and no jobs",
    ),
    (
        "pipeline",
        &["cli", "intake", "publish", "queue", "service", "status"],
        "the data plane never touches the ledger and never gives a result its name",
    ),
    (
        "intake",
        &["cli", "inference", "pipeline", "publish", "service", "status"],
        "intake finds files; it does not know what is done with them",
    ),
    (
        "queue",
        &[
            "cli",
            "codec",
            "inference",
            "intake",
            "pipeline",
            "publish",
            "service",
            "status",
            "tiling",
        ],
        "the ledger records; it does not act",
    ),
    (
        "publish",
        &[
            "cli",
            "codec",
            "inference",
            "intake",
            "pipeline",
            "service",
            "status",
            "tiling",
        ],
        "publish moves finished files and never reads pixels",
    ),
    (
        "status",
        &[
            "cli",
            "codec",
            "inference",
            "intake",
            "pipeline",
            "service",
            "tiling",
        ],
        "status tells what it is given",
    ),
    (
        "sandbox",
        &[
            "cli",
            "codec",
            "inference",
            "intake",
            "pipeline",
            "publish",
            "queue",
            "service",
            "status",
        ],
        "the sandbox knows what the configuration names, not what is done with it",
    ),
    (
        "news",
        &[
            "budget",
            "cli",
            "codec",
            "inference",
            "intake",
            "machine",
            "models",
            "pipeline",
            "publish",
            "queue",
            "service",
            "status",
            "tiling",
        ],
        "the messenger knows events and addresses; what happens to jobs is none of its business",
    ),
    ("service", &["cli"], "the daemon does not know who started it"),
];

/// Modules that run no task and open no file.
const PURE: &[(&str, &[&str])] = &[
    (
        "tiling",
        &["tokio", "std::fs", "std::thread", "std::time", "tracing"],
    ),
    ("error", &["tokio", "std::fs", "std::thread"]),
    ("size", &["tokio", "std::fs", "std::thread"]),
    ("report", &["tokio", "std::fs", "std::thread"]),
    ("config", &["tokio", "std::thread"]),
    ("news", &["tokio"]),
    ("pipeline", &["tokio"]),
    ("codec", &["tokio"]),
    ("inference", &["tokio"]),
];

/// A source file: its path below `src/`, and its code without comments, strings and tests.
struct Source {
    path: String,
    text: String,
    code: Vec<(usize, String)>,
}

impl Source {
    /// The module directly below the crate that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        let tests = |part: &str| part == "tests" || part.ends_with("_tests");
        self.path.trim_end_matches(".rs").split('/').any(tests)
    }

    fn within(&self, places: &[&str]) -> bool {
        let inside =
            |place: &&str| self.path == **place || (place.ends_with('/') && self.path.starts_with(*place));
        places.iter().any(inside)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a readable source");
                let path = path
                    .strip_prefix(&root)
                    .expect("a path below src")
                    .display()
                    .to_string();
                let code = code(&text);
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the sources are where this test looks");
    found
}

/// Numbered lines of what is compiled into the product. Comments and the contents of strings on one line go, a
/// `use` over several lines becomes one, and a `#[cfg(test)] mod` goes up to the brace in column one, as rustfmt
/// sets it.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let opens_tests = line == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|(_, next)| next.starts_with("mod ") && next.ends_with('{'));
        if opens_tests {
            lines.by_ref().find(|(_, line)| *line == "}");
            continue;
        }
        let mut statement = bare(line);
        if is_use(&statement) {
            while !statement.contains(';') {
                let Some((_, line)) = lines.next() else { break };
                statement.push_str(bare(line).trim());
            }
        }
        kept.push((number + 1, statement));
    }
    kept
}

fn is_use(line: &str) -> bool {
    let line = line.trim_start();
    let line = line
        .strip_prefix("pub ")
        .or_else(|| line.strip_prefix("pub(crate) "))
        .unwrap_or(line);
    line.starts_with("use ")
}

/// The line without string contents and without its comment.
fn bare(line: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    // A quote as a character would open a string that never ends.
    let line = line.replace("'\"'", "''");
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if in_string => {
                chars.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => out.push(char),
        }
    }
    out
}

/// Whether `word` stands in `line` as the start of a path or in a `use`.
fn names(line: &str, word: &str) -> bool {
    let part_of_name = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + word.len()..];
        let starts = !before.is_some_and(|char| part_of_name(char) || char == '.' || char == ':');
        let is_path =
            word.ends_with("::") || after.starts_with("::") || line.trim_start().starts_with("use ");
        starts && is_path && !after.starts_with(part_of_name)
    })
}

/// Whether `line` names module `name` of this crate: `crate::name` or `use crate::{…, name…}`.
fn names_module(line: &str, name: &str) -> bool {
    let direct = format!("crate::{name}");
    let part_of_name = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(&direct)
        .any(|(at, _)| !line[at + direct.len()..].starts_with(part_of_name))
        || (line.contains("crate::{") && names(line, name))
}

fn assert_none(problems: &str, lesson: &str) {
    assert!(problems.is_empty(), "{lesson}\n{problems}");
}

#[test]
fn every_crate_has_one_home() {
    let mut problems = String::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (crates, homes, why) in HOMES.iter().filter(|(_, homes, _)| !source.within(homes)) {
            for (number, line) in &source.code {
                for name in crates.iter().filter(|name| names(line, name)) {
                    let _ = writeln!(
                        problems,
                        "src/{}:{number}: {name} is for {homes:?}: {why}\n    {line}",
                        source.path
                    );
                }
            }
        }
    }
    assert_none(&problems, "a crate outside its home:");
}

#[test]
fn only_publish_gives_a_file_its_final_name() {
    let mut problems = String::new();
    for source in sources()
        .iter()
        .filter(|source| !source.is_test() && !source.within(RENAMERS))
    {
        for (number, line) in source.code.iter().filter(|(_, line)| line.contains(".rename_")) {
            let _ = writeln!(
                problems,
                "src/{}:{number}: ask publish for it\n    {line}",
                source.path
            );
        }
    }
    assert_none(
        &problems,
        "final names appear only by renaming a synced file (I4):",
    );
}

#[test]
fn dependencies_point_one_way() {
    let mut problems = String::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (module, unknown, why) in DIRECTIONS
            .iter()
            .filter(|(module, ..)| *module == source.module())
        {
            for (number, line) in &source.code {
                for other in unknown.iter().filter(|other| names_module(line, other)) {
                    let _ = writeln!(
                        problems,
                        "src/{}:{number}: {module} must not know {other}: {why}\n    {line}",
                        source.path
                    );
                }
            }
        }
    }
    assert_none(&problems, "a dependency against the direction of src/lib.rs:");
}

#[test]
fn pure_modules_and_the_data_plane_run_no_tasks() {
    let mut problems = String::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (module, banned) in PURE.iter().filter(|(module, _)| *module == source.module()) {
            for (number, line) in &source.code {
                for word in banned.iter().filter(|word| names(line, word)) {
                    let _ = writeln!(
                        problems,
                        "src/{}:{number}: {module} does without {word}\n    {line}",
                        source.path
                    );
                }
            }
        }
    }
    assert_none(&problems, "a module does what its head says that it never does:");
}

#[test]
fn every_file_opens_with_what_it_is_for_and_has_one_subject() {
    let mut problems = String::new();
    for source in sources() {
        // Tests say by their names what they are for.
        if !source.is_test() && !source.text.starts_with("//! ") {
            let _ = writeln!(
                problems,
                "src/{}: opens without `//! Owns …. Never …`",
                source.path
            );
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let _ = writeln!(
                problems,
                "src/{}: {lines} lines, at most {FILE_LINES_MAX}; split it by subject",
                source.path
            );
        }
    }
    assert_none(&problems, "a file without a head, or with too many subjects:");
}

/// The rules above are only worth something if this reader of Rust sees what it should.
#[test]
fn the_reader_sees_paths_and_overlooks_words() {
    assert!(names("use image::ImageReader;", "image"));
    assert!(names("    let x = image::open(path);", "image"));
    assert!(names("use {image, serde};", "image"));
    assert!(!names("    let image = plan.image;", "image"));
    assert!(!names("use crate::image_size::Size;", "image"));
    assert!(!names("    self.work.notify_one();", "notify"));
    assert!(!names("use sd_notify::NotifyState;", "notify"));
    assert!(names_module("use crate::queue::Store;", "queue"));
    assert!(names_module("use crate::{clock, queue};", "queue"));
    assert!(!names_module("use crate::queueing::Next;", "queue"));
    assert_eq!(bare(r#"let a = "use sqlx::x"; // sqlx"#).trim(), "let a = ;");
    assert_eq!(
        bare("match char { '\"' => sqlx::x }"),
        "match char { '' => sqlx::x }"
    );
    assert_eq!(
        code("use crate::{\n    clock,\n    queue,\n};")[0].1,
        "use crate::{clock,queue,};"
    );
    let text = "use a;\n#[cfg(test)]\nmod tests {\n    use sqlx::x;\n}\nuse b;";
    let lines: Vec<_> = code(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["use a;", "use b;"]);
}
