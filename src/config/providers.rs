//! Owns what the configuration says of execution providers: their names, and what they are told beyond their order.
//! Never loads one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::RuntimeConfig;
use super::file::Section;
use super::read::{auto, boolean, found, path, text, word};
use super::values::{Word, quoted};

/// Every key of `[plugin]`.
pub(super) const PLUGIN_KEYS: &[&str] = &["library", "device", "provider", "options"];

/// Options of a plug-in: more than any provider has.
const OPTIONS_MAX: usize = 64;

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// NVIDIA TensorRT: fastest, builds engines first.
    Tensorrt,
    /// NVIDIA CUDA.
    Cuda,
    /// AMD's MIGraphX, on top of ROCm.
    Migraphx,
    /// Intel's OpenVINO: its processors and graphics.
    Openvino,
    /// Any graphics card with a Vulkan driver.
    Webgpu,
    /// A library that the configuration names.
    Plugin,
    /// The processor: always there.
    Cpu,
}

impl Provider {
    /// Its name in configuration, documents and messages.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl Word for Provider {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tensorrt", Self::Tensorrt),
        ("cuda", Self::Cuda),
        ("migraphx", Self::Migraphx),
        ("openvino", Self::Openvino),
        ("webgpu", Self::Webgpu),
        ("plugin", Self::Plugin),
        ("cpu", Self::Cpu),
    ];
}

/// The kind of a device that a provider finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A processor.
    Cpu,
    /// A graphics card.
    Gpu,
    /// A neural engine.
    Npu,
}

impl Word for DeviceKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cpu", Self::Cpu), ("gpu", Self::Gpu), ("npu", Self::Npu)];
}

/// What providers are told beyond their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderChoices {
    /// Which of Intel's devices OpenVINO takes; `None`: its graphics where there are some, else the processor.
    pub openvino_device: Option<DeviceKind>,
    /// Whether CUDA keeps the channels of a pixel together; `None`: where it computes in half precision.
    pub channels_last: Option<bool>,
    /// The library behind the provider `plugin`.
    pub plugin: Option<PluginConfig>,
}

/// `[plugin]`
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// The library; absolute.
    pub library: PathBuf,
    /// What kind of device it shall run on; `None`: the first that it offers.
    pub device: Option<DeviceKind>,
    /// The provider's name at ONNX Runtime, for a library that brings several; `None`: its first.
    pub provider: Option<String>,
    /// Handed to it as they are.
    pub options: Vec<(String, String)>,
}

impl RuntimeConfig {
    /// Whether this provider is wanted.
    pub fn wants(&self, provider: Provider) -> bool {
        self.providers.contains(&provider)
    }
}

/// What `[runtime]` says of single providers.
pub(super) fn read_choices(section: &mut Section<'_>) -> ProviderChoices {
    ProviderChoices {
        openvino_device: section.value("openvino_device", None, |v| auto(v, word)),
        channels_last: section.value("channels_last", None, |v| auto(v, boolean)),
        plugin: None,
    }
}

/// `[plugin]`; `None` when it names no library, which is a problem by itself.
pub(super) fn read_plugin(section: &mut Section<'_>, base: &Path) -> Option<PluginConfig> {
    section.refuse_unknown(PLUGIN_KEYS, "in [plugin]");
    let library = section.required("library", "the path of the provider's library", |v| path(v, base));
    let plugin = PluginConfig {
        library: PathBuf::new(),
        device: section.value("device", None, |v| auto(v, word)),
        provider: section.value("provider", None, |v| auto(v, name)),
        options: section.value("options", Vec::new(), options),
    };
    Some(PluginConfig {
        library: library?,
        ..plugin
    })
}

fn name(value: &Value) -> Result<String, String> {
    let name = text(value, "a name such as \"OpenVINOExecutionProvider\"")?;
    match is_plain(name) && !name.is_empty() {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "must be a name such as \"OpenVINOExecutionProvider\", not {}",
            found(value)
        )),
    }
}

fn options(value: &Value) -> Result<Vec<(String, String)>, String> {
    const WHAT: &str = "a table such as { num_streams = \"1\" }";
    let Some(table) = value.as_table() else {
        return Err(format!("must be {WHAT}, not {}", found(value)));
    };
    if table.len() > OPTIONS_MAX {
        return Err(format!(
            "holds {} options, at most {OPTIONS_MAX} are allowed; leave some out",
            table.len()
        ));
    }
    let option = |(key, value): (&String, &Value)| match value.as_str() {
        Some(text) if is_plain(key) && is_plain(text) => Ok((key.clone(), text.to_owned())),
        Some(_) => Err(format!("{} holds a control character; leave it out", quoted(key))),
        None => Err(format!(
            "{} must be text in quotes, not {}",
            quoted(key),
            found(value)
        )),
    };
    table.iter().map(option).collect()
}

/// ONNX Runtime takes texts that end at a zero byte.
fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What does not fit together.
pub(super) fn problems(runtime: &RuntimeConfig) -> Option<String> {
    (runtime.wants(Provider::Plugin) && runtime.choices.plugin.is_none()).then(|| {
        "[runtime] providers: \"plugin\" has no library; name it as library in [plugin], or leave it out"
            .to_owned()
    })
}

/// The options as they are written.
pub(super) fn options_table(options: &[(String, String)]) -> Table {
    let entry = |(key, value): &(String, String)| (key.clone(), Value::from(value.clone()));
    options.iter().map(entry).collect()
}
