//! Owns what was written: walks the tables of the file and gives every key a typed value, its default or a
//! problem. Never stops at the first problem and never opens a file.
//!
//! The tables are walked by hand instead of through serde's derive: that stops at the first mistake and
//! speaks of types, while a person wants all mistakes at once, each with its key and the remedy.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::read::{
    auto, background, boolean, device_ids, distinct, folder_name, found, history, list, model, or_word, path,
    patterns, pixels, px, scale, schedule, size, text, time, umask, whole, word,
};
use super::values::{OVERLAP_PX, TILE_PX, nearest, quoted};
use super::{
    Config, EncodeSettings, Folder, MemoryConfig, NameTemplate, Recipe, RuntimeConfig, check, news, providers,
};

/// Every key outside a table, in the order of the example.
pub(super) const TOP_KEYS: &[&str] = &[
    "state_dir",
    "shutdown_grace",
    "job_timeout",
    "min_free",
    "schedule",
    "history",
    "umask",
    "sandbox",
    "runtime",
    "plugin",
    "memory",
    "hooks",
    "webhook",
    "metrics",
    "folder",
];

/// Every key of `[runtime]`.
pub(super) const RUNTIME_KEYS: &[&str] = &[
    "library",
    "providers",
    "device_id",
    "threads",
    "precision",
    "unload_after",
    "openvino_device",
    "channels_last",
];

/// Every key of `[memory]`.
pub(super) const MEMORY_KEYS: &[&str] = &["device", "host"];

/// Every key of `[[folder]]`.
pub(super) const FOLDER_KEYS: &[&str] = &[
    "name",
    "input",
    "output",
    "model",
    "scale",
    "max_pixels",
    "on_too_big",
    "tiling",
    "tile",
    "overlap",
    "recursive",
    "include",
    "exclude",
    "settle",
    "rescan",
    "format",
    "quality",
    "animation",
    "jpeg_chroma",
    "jpeg_progressive",
    "png_effort",
    "webp_mode",
    "tiff_compression",
    "name_template",
    "on_success",
    "on_conflict",
    "metadata",
    "background",
    "priority",
    "schedule",
];

/// The tables and their keys, as a message calls them.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("at the top of the file", TOP_KEYS),
    ("in [runtime]", RUNTIME_KEYS),
    ("in [memory]", MEMORY_KEYS),
    ("in [hooks]", news::HOOKS_KEYS),
    ("in [[webhook]]", news::WEBHOOK_KEYS),
    ("in [metrics]", news::METRICS_KEYS),
    ("in [plugin]", providers::PLUGIN_KEYS),
    ("in [[folder]]", FOLDER_KEYS),
];

/// Each folder has a watcher and a scan of its own; more is a mistake of the program that wrote the file.
const FOLDERS_MAX: usize = 256;

/// Longest that a stop may wait: systemd kills what takes longer anyway.
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Below 10 s a slow tile on an old processor would be called a hang; beyond a week nothing is.
const JOB_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(7 * 24 * 3600);

/// Loading a model again takes about a second, so less than that would only load it for every picture.
const UNLOAD_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// A pause between two writes of a copy lasts milliseconds at least (I1); nobody waits longer than an hour.
const SETTLE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// A scan reads whole trees: more often than that it would do nothing else.
const RESCAN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// Least memory that holds a model and its smallest tile (64 px).
const MEMORY_MIN_BYTES: u64 = 16 << 20;

/// More threads than any machine has cores.
const THREADS_MAX: i64 = 1024;

/// What the file means, or everything that is wrong with it. `base`, absolute, is what its relative paths are
/// relative to.
pub(super) fn resolve(root: &Table, base: &Path) -> Result<Config, Vec<String>> {
    let mut problems = Vec::new();
    let config = read_config(root, base, &mut problems);
    problems.extend(check::problems(&config));
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

fn read_config(root: &Table, base: &Path, problems: &mut Vec<String>) -> Config {
    let default = Config::default();
    let mut top = Section::new(String::new(), root, problems);
    top.refuse_unknown(TOP_KEYS, "at the top of the file");
    let mut config = Config {
        state_dir: top.value("state_dir", default.state_dir, |v| path(v, base)),
        shutdown_grace: top.value("shutdown_grace", default.shutdown_grace, |v| time(v, GRACE)),
        job_timeout: top.value("job_timeout", default.job_timeout, |v| time(v, JOB_TIMEOUT)),
        min_free_bytes: top.value("min_free", default.min_free_bytes, |v| size(v, 1)),
        schedule: top.value("schedule", default.schedule, schedule),
        history: top.value("history", default.history, history),
        umask: top.value("umask", default.umask, |v| auto(v, umask)),
        sandbox: top.value("sandbox", default.sandbox, word),
        runtime: default.runtime,
        memory: default.memory,
        hooks: default.hooks,
        webhooks: Vec::new(),
        metrics: default.metrics,
        folders: Vec::new(),
    };
    if let Some(table) = table(root, "runtime", problems) {
        config.runtime = read_runtime(&mut Section::new("[runtime] ".to_owned(), table, problems), base);
    }
    if let Some(table) = table(root, "plugin", problems) {
        let mut section = Section::new("[plugin] ".to_owned(), table, problems);
        config.runtime.choices.plugin = providers::read_plugin(&mut section, base);
    }
    if let Some(table) = table(root, "memory", problems) {
        config.memory = read_memory(&mut Section::new("[memory] ".to_owned(), table, problems));
    }
    if let Some(table) = table(root, "hooks", problems) {
        config.hooks = news::read_hooks(&mut Section::new("[hooks] ".to_owned(), table, problems), base);
    }
    config.webhooks = news::read_webhooks(root, base, problems);
    if let Some(table) = table(root, "metrics", problems) {
        config.metrics = news::read_metrics(&mut Section::new("[metrics] ".to_owned(), table, problems));
    }
    config.folders = read_folders(root, base, problems);
    config
}

fn read_runtime(section: &mut Section<'_>, base: &Path) -> RuntimeConfig {
    section.refuse_unknown(RUNTIME_KEYS, "in [runtime]");
    let default = RuntimeConfig::default();
    RuntimeConfig {
        library: section.value("library", default.library, |v| auto(v, |v| path(v, base))),
        providers: section.value("providers", default.providers, |v| {
            distinct(list(v, "providers such as [\"cuda\", \"cpu\"]", word)?)
        }),
        providers_chosen: section.table.contains_key("providers"),
        device_ids: section.value("device_id", default.device_ids, device_ids),
        threads: section.value("threads", default.threads, |v| {
            auto(v, |v| Ok(whole(v, 1..=THREADS_MAX)? as usize))
        }),
        precision: section.value("precision", default.precision, word),
        unload_after: section.value("unload_after", default.unload_after, |v| {
            or_word("never", v, |v| time(v, UNLOAD_AFTER))
        }),
        choices: providers::read_choices(section),
    }
}

fn read_memory(section: &mut Section<'_>) -> MemoryConfig {
    section.refuse_unknown(MEMORY_KEYS, "in [memory]");
    let mut bytes = |key| section.value(key, None, |v| auto(v, |v| size(v, MEMORY_MIN_BYTES)));
    MemoryConfig {
        device_bytes: bytes("device"),
        host_bytes: bytes("host"),
    }
}

fn read_folders(root: &Table, base: &Path, problems: &mut Vec<String>) -> Vec<Folder> {
    let mut folders = Vec::new();
    let mut names = Vec::new();
    let blocks = blocks(root, "folder", FOLDERS_MAX, "watch a common parent", problems);
    for (index, table) in blocks.into_iter().enumerate() {
        // A folder is called by its name where it has one, else by its place in the file.
        let name = table
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty());
        let place = match name {
            Some(name) => format!("[[folder]] {}", quoted(name)),
            None => format!("[[folder]] {}", index + 1),
        };
        if let Some(name) = name {
            if names.contains(&name) {
                problems.push(format!(
                    "{place} name: another folder has that name; choose another"
                ));
            }
            names.push(name);
        }
        let mut section = Section::new(format!("{place} "), table, problems);
        section.refuse_unknown(FOLDER_KEYS, &format!("in {place}"));
        folders.extend(read_folder(&mut section, base));
    }
    folders
}

/// The folder; `None` when its name or a path is wrong or missing, so that nothing can be said about it in
/// relation to others.
fn read_folder(section: &mut Section<'_>, base: &Path) -> Option<Folder> {
    let name = section.required(
        "name",
        "a name for logs and --folder, such as \"photos\"",
        folder_name,
    );
    let input = section.required("input", "the folder where pictures are dropped", |v| {
        path(v, base)
    });
    let output = section.required("output", "the folder where results appear", |v| path(v, base));
    let default = Folder::new(String::new(), PathBuf::new(), PathBuf::new());
    let recipe = read_recipe(section, base);
    let folder = Folder {
        name: String::new(),
        input: PathBuf::new(),
        output: PathBuf::new(),
        recipe,
        recursive: section.value("recursive", default.recursive, boolean),
        include: section.value("include", default.include, |v| patterns(v, true)),
        exclude: section.value("exclude", default.exclude, |v| patterns(v, false)),
        settle: section.value("settle", default.settle, |v| auto(v, |v| time(v, SETTLE))),
        rescan: section.value("rescan", default.rescan, |v| auto(v, |v| time(v, RESCAN))),
        on_success: section.value("on_success", default.on_success, word),
        on_conflict: section.value("on_conflict", default.on_conflict, word),
        priority: section.value("priority", default.priority, |v| {
            // In range, so the cast loses nothing.
            Ok(whole(v, i64::from(i32::MIN)..=i64::from(i32::MAX))? as i32)
        }),
        schedule: section.value("schedule", default.schedule, |v| auto(v, schedule)),
    };
    Some(Folder {
        name: name?,
        input: input?,
        output: output?,
        ..folder
    })
}

fn read_recipe(section: &mut Section<'_>, base: &Path) -> Recipe {
    let default = Recipe::default();
    Recipe {
        model: section.value("model", default.model, |v| model(v, base)),
        scale: section.value("scale", default.scale, scale),
        max_pixels: section.value("max_pixels", default.max_pixels, pixels),
        on_too_big: section.value("on_too_big", default.on_too_big, word),
        tiling: section.value("tiling", default.tiling, word),
        tile_px: section.value("tile", default.tile_px, |v| auto(v, |v| px(v, TILE_PX))),
        overlap_px: section.value("overlap", default.overlap_px, |v| auto(v, |v| px(v, OVERLAP_PX))),
        format: section.value("format", default.format, word),
        quality: section.value("quality", default.quality, |v| Ok(whole(v, 1..=100)? as u8)),
        animation: section.value("animation", default.animation, word),
        encoding: read_encoding(section, default.encoding),
        name_template: section.value("name_template", default.name_template, |v| {
            NameTemplate::parse(text(v, "a name such as \"{stem}_{scale}x.{ext}\"")?)
        }),
        metadata: section.value("metadata", default.metadata, word),
        background: section.value("background", default.background, background),
    }
}

fn read_encoding(section: &mut Section<'_>, default: EncodeSettings) -> EncodeSettings {
    EncodeSettings {
        jpeg_chroma: section.value("jpeg_chroma", default.jpeg_chroma, word),
        jpeg_progressive: section.value("jpeg_progressive", default.jpeg_progressive, boolean),
        png_effort: section.value("png_effort", default.png_effort, word),
        webp_mode: section.value("webp_mode", default.webp_mode, word),
        tiff_compression: section.value("tiff_compression", default.tiff_compression, word),
    }
}

/// The blocks `[[key]]` of the file.
pub(super) fn blocks<'t>(
    root: &'t Table,
    key: &str,
    most: usize,
    fewer: &str,
    problems: &mut Vec<String>,
) -> Vec<&'t Table> {
    let refused = match root.get(key) {
        None => return Vec::new(),
        Some(Value::Array(blocks)) if blocks.len() > most => {
            let n = blocks.len();
            format!("{key}: there are {n} [[{key}]] blocks, at most {most} are allowed; {fewer}")
        }
        Some(Value::Array(blocks)) => match blocks.iter().find(|block| !block.is_table()) {
            None => return blocks.iter().filter_map(Value::as_table).collect(),
            Some(other) => format!("{key}: must be [[{key}]] blocks, not {}", found(other)),
        },
        Some(Value::Table(_)) => {
            format!("[{key}]: must be written with two brackets each side: [[{key}]]")
        }
        Some(other) => format!("{key}: must be [[{key}]] blocks, not {}", found(other)),
    };
    problems.push(refused);
    Vec::new()
}

/// A table of the file, if it is there.
fn table<'t>(root: &'t Table, key: &str, problems: &mut Vec<String>) -> Option<&'t Table> {
    match root.get(key)? {
        Value::Table(table) => Some(table),
        other => {
            problems.push(format!("{key}: must be a table [{key}], not {}", found(other)));
            None
        }
    }
}

/// One table of the file and where its problems go.
pub(super) struct Section<'a> {
    /// What stands before a key in a message: empty, or the table's name and a space.
    place: String,
    pub(super) table: &'a Table,
    problems: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    pub(super) fn new(place: String, table: &'a Table, problems: &'a mut Vec<String>) -> Self {
        Self {
            place,
            table,
            problems,
        }
    }

    /// The value of a key; `default` when it is not there, and after noting the problem when it is wrong.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        match self.table.get(key).map(read) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(why)) => {
                self.problems.push(format!("{}{key}: {why}", self.place));
                default
            }
        }
    }

    /// Notes that a value does not fit another.
    pub(super) fn refuse(&mut self, key: &str, why: &str) {
        self.problems.push(format!("{}{key}: {why}", self.place));
    }

    /// The value of a key that has no default.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.problems
                .push(format!("{}{key}: is missing; write {what}", self.place));
        }
        self.value(key, None, |v| read(v).map(Some))
    }

    /// Notes every key that is not `known`, with what was probably meant.
    pub(super) fn refuse_unknown(&mut self, known: &[&str], place: &str) {
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            let elsewhere = SECTIONS.iter().find(|(_, keys)| keys.contains(&key.as_str()));
            let hint = match (nearest(key, known), elsewhere) {
                // TOML's classic trap: a key written below the wrong header.
                (None, Some((section, _))) => format!("it belongs {section}"),
                (Some(near), Some((section, _))) => {
                    format!("did you mean {near:?}, or does it belong {section}?")
                }
                (Some(near), None) => format!("did you mean {near:?}?"),
                (None, None) => format!("known are {}", known.join(", ")),
            };
            self.problems
                .push(format!("unknown key {} {place}; {hint}", quoted(key)));
        }
    }
}
