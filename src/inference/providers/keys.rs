//! Owns the options that providers are given: for each its key, its type and where it is documented, in one table for a
//! provider. An option that is not in its table, or of another type, is a mistake of ours that every test would find.

/// Type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0` or `1`.
    Switch,
    /// A whole number, not negative.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A path, a name, a list: as the documentation says.
    Text,
}

/// An option that a provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As ONNX Runtime spells it.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Where it is documented.
    pub documented: &'static str,
}

const fn key(name: &'static str, kind: Kind, documented: &'static str) -> Key {
    Key {
        name,
        kind,
        documented,
    }
}

/// CUDA's. <https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html>
pub const CUDA: &[Key] = &[
    key(
        "device_id",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#device_id",
    ),
    key(
        "gpu_mem_limit",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#gpu_mem_limit",
    ),
    key(
        "arena_extend_strategy",
        Kind::Word(&["kNextPowerOfTwo", "kSameAsRequested"]),
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#arena_extend_strategy",
    ),
    key(
        "cudnn_conv_algo_search",
        Kind::Word(&["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]),
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#cudnn_conv_algo_search",
    ),
    key(
        "cudnn_conv_use_max_workspace",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#cudnn_conv_use_max_workspace",
    ),
    key(
        "use_tf32",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#use_tf32",
    ),
    key(
        "prefer_nhwc",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#prefer_nhwc",
    ),
];

/// TensorRT's. <https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html>
pub const TENSORRT: &[Key] = &[
    key(
        "device_id",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#device_id",
    ),
    key(
        "trt_max_workspace_size",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_max_workspace_size",
    ),
    key(
        "trt_fp16_enable",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_fp16_enable",
    ),
    key(
        "trt_layer_norm_fp32_fallback",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_layer_norm_fp32_fallback",
    ),
    key(
        "trt_engine_cache_enable",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_engine_cache_enable",
    ),
    key(
        "trt_engine_cache_path",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_engine_cache_path",
    ),
    key(
        "trt_engine_cache_prefix",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_engine_cache_prefix",
    ),
    key(
        "trt_timing_cache_enable",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_timing_cache_enable",
    ),
    key(
        "trt_timing_cache_path",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_timing_cache_path",
    ),
    key(
        "trt_profile_min_shapes",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_profile_min_shapes",
    ),
    key(
        "trt_profile_opt_shapes",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_profile_opt_shapes",
    ),
    key(
        "trt_profile_max_shapes",
        Kind::Text,
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#trt_profile_max_shapes",
    ),
];

/// MIGraphX's, by the names of the fields that `ort` fills in.
pub const MIGRAPHX: &[Key] = &[
    key(
        "device_id",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/MIGraphX-ExecutionProvider.html#configuration-options",
    ),
    key(
        "migraphx_fp16_enable",
        Kind::Switch,
        "https://onnxruntime.ai/docs/execution-providers/MIGraphX-ExecutionProvider.html#configuration-options",
    ),
    key(
        "migraphx_mem_limit",
        Kind::Number,
        "https://onnxruntime.ai/docs/execution-providers/MIGraphX-ExecutionProvider.html#configuration-options",
    ),
];

/// WebGPU's. <https://github.com/microsoft/onnxruntime/tree/main/onnxruntime/core/providers/webgpu>
pub const WEBGPU: &[Key] = &[
    key(
        "powerPreference",
        Kind::Word(&["high-performance", "low-power"]),
        "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/webgpu/webgpu_provider_options.h",
    ),
    key(
        "preferredLayout",
        Kind::Word(&["NCHW", "NHWC"]),
        "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/webgpu/webgpu_provider_options.h",
    ),
];

/// OpenVINO's, of the plug-in: everything else is in `load_config`, and an unknown property in there is refused by name.
pub const OPENVINO: &[Key] = &[key(
    "load_config",
    Kind::Text,
    "https://onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html#load_config",
)];

/// What a provider is given: pairs of a key and its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    table: &'static [Key],
    pairs: Vec<(&'static str, String)>,
}

impl Options {
    /// None yet, of this table.
    pub fn of(table: &'static [Key]) -> Self {
        Self {
            table,
            pairs: Vec::new(),
        }
    }

    /// Turns something on or off.
    pub fn switch(self, name: &str, on: bool) -> Self {
        self.put(name, if on { "1" } else { "0" }.to_owned(), |kind| {
            kind == Kind::Switch
        })
    }

    /// Sets a number.
    pub fn number(self, name: &str, number: u64) -> Self {
        self.put(name, number.to_string(), |kind| kind == Kind::Number)
    }

    /// Sets one of the words that the key knows.
    pub fn word(self, name: &str, word: &str) -> Self {
        self.put(
            name,
            word.to_owned(),
            |kind| matches!(kind, Kind::Word(words) if words.contains(&word)),
        )
    }

    /// Sets a text.
    pub fn text(self, name: &str, text: String) -> Self {
        self.put(name, text, |kind| kind == Kind::Text)
    }

    fn put(mut self, name: &str, value: String, fits: impl Fn(Kind) -> bool) -> Self {
        let key = self.table.iter().find(|key| key.name == name && fits(key.kind));
        let key = key.unwrap_or_else(|| unreachable!("{name} = {value} is in no table of options"));
        self.pairs.push((key.name, value));
        self
    }

    /// The value of a key, if it was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(key, _)| *key == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// All that was set.
    pub fn pairs(&self) -> &[(&'static str, String)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_names_its_documentation() {
        for table in [CUDA, TENSORRT, MIGRAPHX, WEBGPU, OPENVINO] {
            for (at, key) in table.iter().enumerate() {
                assert!(key.documented.starts_with("https://"), "{key:?}");
                assert!(table[..at].iter().all(|other| other.name != key.name), "{key:?}");
            }
        }
        for key in CUDA.iter().chain(TENSORRT) {
            assert!(key.documented.ends_with(&format!("#{}", key.name)), "{key:?}");
        }
    }

    #[test]
    #[should_panic(expected = "use_tf32 = 3 is in no table")]
    fn a_value_of_another_type_is_a_mistake() {
        let _ = Options::of(CUDA).number("use_tf32", 3);
    }
}
