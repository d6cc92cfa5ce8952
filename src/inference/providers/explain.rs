//! Owns why a provider cannot be used: from the loader's words, or ONNX Runtime's, a line that names the remedy. Pure.

use super::SkippedProvider;
use crate::config::Provider;
use crate::inference::classify::first_line;

/// A cause: what an error's text holds, in small letters, any of it; and what to say then.
struct Cause {
    says: &'static [&'static str],
    reason: &'static str,
}

const fn cause(says: &'static [&'static str], reason: &'static str) -> Cause {
    Cause { says, reason }
}

/// What may be wrong with everything of NVIDIA's, the deepest cause first: a library that cannot be loaded names all that
/// wanted it.
const NVIDIA: &[Cause] = &[
    cause(
        &[
            "libcuda.so",
            "no cuda-capable device",
            "cuda failure 100:",
            "cudaerrornodevice",
        ],
        "there is no NVIDIA driver or device; install the driver and check with nvidia-smi",
    ),
    cause(
        &[
            "cuda failure 35:",
            "driver version is insufficient",
            "cudaerrorinsufficientdriver",
        ],
        "the NVIDIA driver is too old for CUDA 13; update it to version 580 or newer",
    ),
    cause(
        &["cuda failure 101:", "invalid device ordinal"],
        "there is no NVIDIA device of this number; correct [runtime] device_id, nvidia-smi lists them",
    ),
    cause(
        &[
            "cuda failure 2:",
            "out of memory",
            "_alloc_failed",
            "failed to allocate memory",
        ],
        "there is no room for the model on the device now; end what else uses it, or lower [memory] device",
    ),
    cause(
        &["libnvinfer"],
        "TensorRT 10 (libnvinfer.so.10) is missing; fetch it with fetch-runtime --tensorrt, or take tensorrt out of providers",
    ),
];

/// CUDA's own libraries, of which a message names the one that is missing.
const CUDA_LIBRARIES: &[&str] = &[
    "libcudart",
    "libcublas",
    "libcudnn",
    "libcufft",
    "libcurand",
    "libnvrtc",
];

/// What may be wrong with Vulkan.
const WEBGPU: &[Cause] = &[cause(
    &["adapter", "libvulkan", "vulkan"],
    "there is no graphics card with a Vulkan driver; install the card's driver and libvulkan1, and check with vulkaninfo",
)];

/// What may be wrong with AMD's.
const MIGRAPHX: &[Cause] = &[cause(
    &[
        "libmigraphx",
        "libamdhip64",
        "hip failure 100",
        "no rocm-capable device",
    ],
    "there is no ROCm or no device of it; install AMD's ROCm and check with rocminfo",
)];

/// What a library of ONNX Runtime says that was built without a provider.
const NOT_BUILT: &[&str] = &[
    "libonnxruntime_providers",
    "not enabled in this build",
    "not supported in this build",
    "unknown provider name",
];

/// Why a provider could not be used, in a line that names the remedy.
pub(in crate::inference) fn explain(provider: Provider, text: &str) -> SkippedProvider {
    let lower = text.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|words| lower.contains(words));
    let found = |causes: &'static [Cause]| causes.iter().find(|cause| says(cause.says));
    let known = match provider {
        Provider::Tensorrt | Provider::Cuda => found(NVIDIA),
        Provider::Webgpu => found(WEBGPU),
        Provider::Migraphx => found(MIGRAPHX),
        Provider::Openvino | Provider::Plugin | Provider::Cpu => None,
    };
    let is_nvidia = matches!(provider, Provider::Tensorrt | Provider::Cuda);
    let reason = if let Some(cause) = known {
        cause.reason.to_owned()
    } else if is_nvidia && says(CUDA_LIBRARIES) {
        format!(
            "a CUDA library is missing ({}); fetch it with fetch-runtime --cuda",
            missing_library(text)
        )
    } else if let Some(build) = build(provider).filter(|_| says(NOT_BUILT)) {
        format!(
            "this ONNX Runtime is built without {}; fetch {build}",
            provider.as_str()
        )
    } else {
        first_line(after_places(text))
    };
    SkippedProvider { provider, reason }
}

/// Where OpenVINO's words begin: it puts a line for each function before them through which an error came.
fn after_places(text: &str) -> &str {
    const PLACE: &str = "Exception from src/";
    let Some(last) = text.rfind(PLACE) else {
        return text;
    };
    text[last..].split_once('\n').map_or(text, |(_, rest)| rest)
}

/// The build of ONNX Runtime that has it; `None` for what comes as a library of its own.
fn build(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Tensorrt => Some("one with it by fetch-runtime --tensorrt"),
        Provider::Cuda => Some("one with it by fetch-runtime --cuda"),
        Provider::Webgpu => Some("one with it by fetch-runtime --webgpu"),
        Provider::Migraphx => Some("AMD's build of ONNX Runtime"),
        Provider::Openvino | Provider::Plugin | Provider::Cpu => None,
    }
}

/// The last shared library that a loader's message names before it says that it cannot be opened: the ones before it
/// wanted it.
fn missing_library(text: &str) -> &str {
    text.split(|c: char| c.is_whitespace() || "'\":,()[]".contains(c))
        .rfind(|word| word.starts_with("lib") && word.contains(".so"))
        .unwrap_or("unnamed")
}
