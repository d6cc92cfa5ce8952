//! Owns what each provider is told: its options, by the tables of [`super::keys`], from the configuration and the budget.
//! Never talks to ONNX Runtime.

use std::path::PathBuf;

use super::keys::{CUDA, MIGRAPHX, OPENVINO, Options, TENSORRT, WEBGPU};
use crate::config::{DeviceKind, Precision, ProviderChoices};

/// What providers are configured from.
#[derive(Debug, Clone, Copy)]
pub struct ProviderSettings<'a> {
    /// The device's number.
    pub device_id: u32,
    /// Most bytes that inference may hold on it.
    pub device_bytes: u64,
    /// What the configuration says of arithmetic.
    pub precision: Precision,
    /// Whether this model runs in half precision at this provider.
    pub is_half: bool,
    /// Threads of a provider that computes on the processor; `None`: as it sees fit.
    pub threads: Option<usize>,
    /// What single providers are told.
    pub choices: &'a ProviderChoices,
    /// For TensorRT.
    pub engine: Option<&'a EngineSettings>,
}

/// What TensorRT needs to build an engine once and find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Where the model's engines are.
    pub engines_dir: PathBuf,
    /// Where timings of kernels are, for all models.
    pub timings_dir: PathBuf,
    /// Beginning of the engines' names.
    pub prefix: String,
    /// The shapes that an engine is built for; `None` where the model has but one.
    pub shapes: Option<ProfileShapes>,
}

/// Shapes of the input, each as `name:1x3x64x64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileShapes {
    /// The smallest.
    pub least: String,
    /// The one it is made fast for.
    pub best: String,
    /// The largest.
    pub most: String,
}

/// CUDA: the arena is bounded by the budget and grows by what is asked for; the convolution algorithm is searched once
/// per shape, which pays because all tiles of a picture share one. TF32 rounds products to ten bits, so a person who
/// asks for single precision does not get it. Tensor cores want a pixel's channels together, which in single precision
/// only costs transpositions.
pub fn cuda(settings: &ProviderSettings<'_>) -> Options {
    Options::of(CUDA)
        .number("device_id", u64::from(settings.device_id))
        .number("gpu_mem_limit", settings.device_bytes)
        .word("arena_extend_strategy", "kSameAsRequested")
        .word("cudnn_conv_algo_search", "EXHAUSTIVE")
        .switch("cudnn_conv_use_max_workspace", true)
        .switch("use_tf32", settings.precision != Precision::Fp32)
        .switch(
            "prefer_nhwc",
            settings.choices.channels_last.unwrap_or(settings.is_half),
        )
}

/// TensorRT: engines take a minute to build, so engines and timings are cached on disk. A workspace beside the
/// activations: half of the budget each.
pub fn tensorrt(settings: &ProviderSettings<'_>) -> Options {
    let options = Options::of(TENSORRT)
        .number("device_id", u64::from(settings.device_id))
        .number("trt_max_workspace_size", settings.device_bytes / 2)
        .switch("trt_fp16_enable", settings.is_half)
        .switch("trt_layer_norm_fp32_fallback", settings.is_half);
    let Some(engine) = settings.engine else {
        return options;
    };
    let options = options
        .switch("trt_engine_cache_enable", true)
        .text("trt_engine_cache_path", engine.engines_dir.display().to_string())
        .text("trt_engine_cache_prefix", engine.prefix.clone())
        .switch("trt_timing_cache_enable", true)
        .text("trt_timing_cache_path", engine.timings_dir.display().to_string());
    let Some(shapes) = &engine.shapes else {
        return options;
    };
    options
        .text("trt_profile_min_shapes", shapes.least.clone())
        .text("trt_profile_opt_shapes", shapes.best.clone())
        .text("trt_profile_max_shapes", shapes.most.clone())
}

/// MIGraphX rounds the weights itself.
pub fn migraphx(settings: &ProviderSettings<'_>) -> Options {
    Options::of(MIGRAPHX)
        .number("device_id", u64::from(settings.device_id))
        .switch("migraphx_fp16_enable", settings.is_half)
        .number("migraphx_mem_limit", settings.device_bytes)
}

/// Of several cards the fast one. The layout is ours: the other one costs transpositions at every end.
pub fn webgpu() -> Options {
    Options::of(WEBGPU)
        .word("powerPreference", "high-performance")
        .word("preferredLayout", "NCHW")
}

/// On a processor half precision gains little, and what it is rounded to there is coarser.
pub fn openvino_is_half(settings: &ProviderSettings<'_>, kind: DeviceKind) -> bool {
    settings.is_half && kind != DeviceKind::Cpu
}

/// OpenVINO rounds to what the device is fastest at unless it is told: on a processor with bfloat16 that was seen to be
/// three levels of 255 off, on graphics it is half precision.
pub fn openvino(settings: &ProviderSettings<'_>, kind: DeviceKind) -> Options {
    let mut properties = serde_json::Map::new();
    let precision = if openvino_is_half(settings, kind) {
        "f16"
    } else {
        "f32"
    };
    properties.insert("INFERENCE_PRECISION_HINT".to_owned(), precision.into());
    // One picture after another, and each as soon as possible.
    properties.insert("PERFORMANCE_HINT".to_owned(), "LATENCY".into());
    if let (DeviceKind::Cpu, Some(threads)) = (kind, settings.threads) {
        properties.insert("INFERENCE_NUM_THREADS".to_owned(), threads.to_string().into());
    }
    let device = match kind {
        DeviceKind::Cpu => "CPU",
        DeviceKind::Gpu => "GPU",
        DeviceKind::Npu => "NPU",
    };
    let config = serde_json::json!({ device: properties });
    Options::of(OPENVINO).text("load_config", config.to_string())
}
