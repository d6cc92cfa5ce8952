//! Owns how a configuration is written out: as a file that means the same, and as JSON. Never writes a file.

use std::path::Path;
use std::time::Duration;

use toml::Value;

use super::values::{self, Word};
use super::{Command, Config, Folder, Happening, PluginConfig, Scale, Webhook, providers};

/// One key; `written` is false where writing it would change what the file means.
struct Entry {
    key: &'static str,
    value: Value,
    written: bool,
}

fn entry(key: &'static str, value: impl Into<Value>) -> Entry {
    Entry {
        key,
        value: value.into(),
        written: true,
    }
}

fn px(key: &'static str, px: Option<u32>) -> Entry {
    match px {
        Some(px) => entry(key, i64::from(px)),
        None => entry(key, "auto"),
    }
}

impl Config {
    /// The resolved configuration as a file: every key, every default in place. Reading it gives an equal
    /// configuration, whatever directory it lies in. A path that is not UTF-8 appears lossily: TOML is UTF-8.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        lines(&mut text, &self.top_entries());
        text.push_str("\n[runtime]\n");
        lines(&mut text, &self.runtime_entries());
        if let Some(plugin) = &self.runtime.choices.plugin {
            text.push_str("\n[plugin]\n");
            lines(&mut text, &plugin.entries());
        }
        text.push_str("\n[memory]\n");
        lines(&mut text, &self.memory_entries());
        text.push_str("\n[hooks]\n");
        lines(&mut text, &self.hooks_entries());
        for webhook in &self.webhooks {
            text.push_str("\n[[webhook]]\n");
            lines(&mut text, &webhook.entries());
        }
        text.push_str("\n[metrics]\n");
        lines(&mut text, &self.metrics_entries());
        for folder in &self.folders {
            text.push_str("\n[[folder]]\n");
            lines(&mut text, &folder.entries());
        }
        text
    }

    /// The resolved configuration as JSON, with the keys and the spelling of the file.
    pub fn to_json(&self) -> serde_json::Value {
        let mut root = object(self.top_entries());
        root.insert("runtime".to_owned(), object(self.runtime_entries()).into());
        let plugin = self.runtime.choices.plugin.as_ref();
        let plugin = plugin.map(|plugin| object(plugin.entries()));
        root.insert("plugin".to_owned(), plugin.into());
        root.insert("memory".to_owned(), object(self.memory_entries()).into());
        root.insert("hooks".to_owned(), object(self.hooks_entries()).into());
        let webhooks: Vec<_> = self.webhooks.iter().map(|hook| object(hook.entries())).collect();
        root.insert("webhook".to_owned(), webhooks.into());
        root.insert("metrics".to_owned(), object(self.metrics_entries()).into());
        let folders: Vec<_> = self
            .folders
            .iter()
            .map(|folder| object(folder.entries()))
            .collect();
        root.insert("folder".to_owned(), folders.into());
        root.into()
    }

    fn top_entries(&self) -> Vec<Entry> {
        vec![
            entry("state_dir", path(&self.state_dir)),
            entry("shutdown_grace", values::show_time(self.shutdown_grace)),
            entry("job_timeout", values::show_time(self.job_timeout)),
            entry("min_free", values::show_size(self.min_free_bytes)),
            entry("schedule", self.schedule.to_string()),
            entry(
                "history",
                self.history
                    .map_or_else(|| "forever".to_owned(), values::show_days),
            ),
            match self.umask {
                Some(bits) => entry("umask", format!("{bits:04o}")),
                None => entry("umask", "auto"),
            },
            entry("sandbox", self.sandbox.word()),
        ]
    }

    fn runtime_entries(&self) -> Vec<Entry> {
        let runtime = &self.runtime;
        let ids: Vec<Value> = runtime.device_ids.iter().map(|id| Value::from(*id)).collect();
        let providers: Vec<&str> = runtime.providers.iter().map(|provider| provider.word()).collect();
        vec![
            entry(
                "library",
                runtime.library.as_deref().map_or_else(|| "auto".to_owned(), path),
            ),
            Entry {
                written: runtime.providers_chosen,
                ..entry("providers", providers)
            },
            match ids.as_slice() {
                [only] => entry("device_id", only.clone()),
                _ => entry("device_id", ids),
            },
            match runtime.threads {
                // In range (1 to 1024) by validation.
                Some(threads) => entry("threads", threads as i64),
                None => entry("threads", "auto"),
            },
            entry("precision", runtime.precision.word()),
            entry(
                "unload_after",
                runtime
                    .unload_after
                    .map_or_else(|| "never".to_owned(), values::show_time),
            ),
            entry("openvino_device", word_or_auto(runtime.choices.openvino_device)),
            match runtime.choices.channels_last {
                Some(wanted) => entry("channels_last", wanted),
                None => entry("channels_last", "auto"),
            },
        ]
    }

    fn memory_entries(&self) -> Vec<Entry> {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "auto".to_owned(), values::show_size);
        vec![
            entry("device", size(self.memory.device_bytes)),
            entry("host", size(self.memory.host_bytes)),
        ]
    }

    fn hooks_entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = Happening::WORDS
            .iter()
            .map(|(_, happening)| {
                let command = self.hooks.command(*happening);
                entry(happening.hook(), command.map_or_else(Vec::new, Command::words))
            })
            .collect();
        entries.push(entry("timeout", values::show_time(self.hooks.timeout)));
        entries
    }

    fn metrics_entries(&self) -> Vec<Entry> {
        let listen = self.metrics.listen;
        vec![entry(
            "listen",
            listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string()),
        )]
    }
}

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

impl Webhook {
    /// Secrets are named and not shown: what this prints is pasted into reports.
    fn entries(&self) -> Vec<Entry> {
        let events: Vec<&str> = self.events.iter().map(|event| event.word()).collect();
        let mut entries = vec![
            entry("url", self.url.clone()),
            entry("format", self.format.word()),
            entry("events", events),
            entry("timeout", values::show_time(self.timeout)),
        ];
        let hidden = |entry| Entry {
            written: false,
            ..entry
        };
        if self.token.is_some() {
            entries.push(hidden(entry("token", HIDDEN)));
        }
        if let Some(file) = &self.token_file {
            entries.push(entry("token_file", path(file)));
        }
        if !self.headers.is_empty() {
            let names = self.headers.iter();
            let names: toml::Table = names.map(|(name, _)| (name.clone(), HIDDEN.into())).collect();
            entries.push(hidden(entry("headers", names)));
        }
        entries
    }
}

impl PluginConfig {
    fn entries(&self) -> Vec<Entry> {
        let name = self.provider.as_deref().unwrap_or("auto");
        vec![
            entry("library", path(&self.library)),
            entry("device", word_or_auto(self.device)),
            entry("provider", name),
            entry("options", providers::options_table(&self.options)),
        ]
    }
}

impl Folder {
    fn entries(&self) -> Vec<Entry> {
        let recipe = &self.recipe;
        let time = |time: Option<Duration>| time.map_or_else(|| "auto".to_owned(), values::show_time);
        vec![
            entry("name", self.name.clone()),
            entry("input", path(&self.input)),
            entry("output", path(&self.output)),
            entry("model", recipe.model.clone()),
            match recipe.scale {
                Scale::Model => entry("scale", "model"),
                Scale::Times(times) => entry("scale", times),
            },
            entry("max_pixels", values::show_pixels(recipe.max_pixels)),
            entry("on_too_big", recipe.on_too_big.word()),
            entry("tiling", recipe.tiling.word()),
            px("tile", recipe.tile_px),
            px("overlap", recipe.overlap_px),
            entry("recursive", self.recursive),
            entry("include", self.include.clone()),
            entry("exclude", self.exclude.clone()),
            entry("settle", time(self.settle)),
            entry("rescan", time(self.rescan)),
            entry("format", recipe.format.word()),
            entry("quality", i64::from(recipe.quality)),
            entry("animation", recipe.animation.word()),
            entry("jpeg_chroma", recipe.encoding.jpeg_chroma.word()),
            entry("jpeg_progressive", recipe.encoding.jpeg_progressive),
            entry("png_effort", recipe.encoding.png_effort.word()),
            entry("webp_mode", recipe.encoding.webp_mode.word()),
            entry("tiff_compression", recipe.encoding.tiff_compression.word()),
            entry("name_template", recipe.name_template.as_str()),
            entry("on_success", self.on_success.word()),
            entry("on_conflict", self.on_conflict.word()),
            entry("metadata", recipe.metadata.word()),
            entry("background", recipe.background.to_string()),
            entry("priority", i64::from(self.priority)),
            entry(
                "schedule",
                self.schedule
                    .as_ref()
                    .map_or_else(|| "auto".to_owned(), ToString::to_string),
            ),
        ]
    }
}

fn word_or_auto(word: Option<impl Word>) -> &'static str {
    word.map_or("auto", Word::word)
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn lines(text: &mut String, entries: &[Entry]) {
    for Entry { key, value, written } in entries {
        let comment = if *written { "" } else { "# " };
        text.push_str(&format!("{comment}{key} = {value}\n"));
    }
}

fn object(entries: Vec<Entry>) -> serde_json::Map<String, serde_json::Value> {
    let json = |value: Value| serde_json::to_value(value).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| (entry.key.to_owned(), json(entry.value)))
        .collect()
}
