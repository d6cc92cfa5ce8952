//! Owns what is known of each execution provider: its name at ONNX Runtime, its option keys, and why it could
//! not be used. Never runs a model.

use std::fmt;
use std::path::Path;

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};
use ort::memory::AllocationDevice;
use serde::{Deserialize, Serialize};

use super::classify::first_line;
use crate::config::{Precision, Provider};

/// A provider of the configuration that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedProvider {
    /// Which.
    pub provider: Provider,
    /// One line for a person.
    pub reason: String,
}

impl fmt::Display for SkippedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not available: {}", self.provider.as_str(), self.reason)
    }
}

/// What providers are configured from.
#[derive(Debug, Clone, Copy)]
pub struct ProviderSettings<'a> {
    /// The device's number.
    pub device_id: u32,
    /// Most bytes that inference may hold on it.
    pub device_bytes: u64,
    /// Where TensorRT keeps engines and timings.
    pub engines_dir: &'a Path,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Part of the names of cached engines, so that models do not take each other's.
    pub model_sha256: &'a str,
}

/// The providers to register for `provider`, most specific first: what TensorRT cannot run, CUDA takes, and
/// what CUDA cannot, the processor. Empty for the processor itself, which is always behind every session.
pub(super) fn registrations(
    provider: Provider,
    settings: &ProviderSettings<'_>,
) -> Vec<ExecutionProviderDispatch> {
    match provider {
        Provider::Cpu => Vec::new(),
        Provider::Cuda => vec![cuda(settings)],
        Provider::Tensorrt => vec![tensorrt(settings), cuda(settings)],
    }
}

/// Runs in flight at once. On a GPU one's pixels are copied while another computes; the processor copies nothing, and
/// one run keeps all its cores busy.
pub fn lanes(provider: Provider) -> usize {
    match provider {
        Provider::Cpu => 1,
        Provider::Cuda | Provider::Tensorrt => 2,
    }
}

/// Memory of the host that the driver copies from by itself.
pub(super) fn host_memory(provider: Provider) -> Option<AllocationDevice<'static>> {
    match provider {
        Provider::Cpu => None,
        Provider::Cuda | Provider::Tensorrt => Some(AllocationDevice::CUDA_PINNED),
    }
}

/// The name under which results tell of the device.
pub fn device_name(provider: Provider, device_id: u32) -> String {
    match provider {
        Provider::Cpu => "cpu".to_owned(),
        Provider::Cuda | Provider::Tensorrt => format!("cuda:{device_id}"),
    }
}

/// Whether the network runs in half precision. `has_half`: there is a half-precision variant of the model, which CUDA
/// needs and TensorRT does not.
pub fn precision_name(provider: Provider, precision: Precision, has_half: bool) -> &'static str {
    match (provider, precision) {
        (Provider::Cuda, Precision::Fp16) if has_half => "fp16",
        (Provider::Tensorrt, Precision::Auto | Precision::Fp16) => "fp16",
        _ => "fp32",
    }
}

/// CUDA: the arena is bounded by the budget and grows by what is asked for; the convolution algorithm is
/// searched once per shape, which pays because all tiles of a picture share one.
fn cuda(settings: &ProviderSettings<'_>) -> ExecutionProviderDispatch {
    ep::CUDA::default()
        .with_device_id(i32::try_from(settings.device_id).unwrap_or(0))
        .with_memory_limit(usize::try_from(settings.device_bytes).unwrap_or(usize::MAX))
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Exhaustive)
        .with_conv_max_workspace(true)
        .with_tf32(settings.precision != Precision::Fp32)
        .build()
        .error_on_failure()
}

/// TensorRT: engines take a minute to build, so engines and timings are cached on disk under the model's name.
fn tensorrt(settings: &ProviderSettings<'_>) -> ExecutionProviderDispatch {
    let engines = settings.engines_dir.display().to_string();
    // A workspace beside the activations: half of the budget each.
    let workspace_bytes = usize::try_from(settings.device_bytes / 2).unwrap_or(usize::MAX);
    let prefix: String = settings.model_sha256.chars().take(16).collect();
    ep::TensorRT::default()
        .with_device_id(i32::try_from(settings.device_id).unwrap_or(0))
        .with_max_workspace_size(workspace_bytes)
        .with_fp16(precision_name(Provider::Tensorrt, settings.precision, false) == "fp16")
        .with_engine_cache(true)
        .with_engine_cache_path(&engines)
        .with_engine_cache_prefix(prefix)
        .with_timing_cache(true)
        .with_timing_cache_path(&engines)
        .build()
        .error_on_failure()
}

/// Why a provider could not be registered, from the loader's words, in a line that names the remedy.
pub(super) fn explain(provider: Provider, text: &str) -> SkippedProvider {
    let lower = text.to_lowercase();
    let missing = |library: &str| lower.contains(library);
    let name = provider.as_str();
    let reason = if missing("libcuda.so") || missing("no cuda-capable device") || missing("cuda failure 100")
    {
        "there is no NVIDIA driver or device; install the driver and check with nvidia-smi".to_owned()
    } else if missing("libnvinfer") {
        "TensorRT 10 (libnvinfer.so.10) is missing; install it, or take tensorrt out of providers".to_owned()
    } else if missing("libcudnn")
        || missing("libcublas")
        || missing("libcudart")
        || missing("libcufft")
        || missing("libcurand")
    {
        format!(
            "a CUDA library is missing ({}); install CUDA 13 and cuDNN 9",
            shared_object(text)
        )
    } else if missing("libonnxruntime_providers")
        || missing("not enabled in this build")
        || missing("not supported in this build")
    {
        format!("this ONNX Runtime is built without {name}; fetch the GPU build of ONNX Runtime")
    } else {
        first_line(text)
    };
    SkippedProvider { provider, reason }
}

/// The first file name of a shared library in a loader's message.
fn shared_object(text: &str) -> &str {
    text.split(|c: char| c.is_whitespace() || "'\":".contains(c))
        .find(|word| word.starts_with("lib") && word.contains(".so"))
        .unwrap_or("unnamed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_messages_become_remedies() {
        let cases = [
            (
                "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file",
                "a CUDA library is missing (libonnxruntime_providers_cuda.so); install CUDA 13 and cuDNN 9",
            ),
            (
                "libcuda.so.1: cannot open shared object file: No such file or directory",
                "there is no NVIDIA driver or device; install the driver and check with nvidia-smi",
            ),
            (
                "CUDA execution provider is not enabled in this build.",
                "this ONNX Runtime is built without cuda; fetch the GPU build of ONNX Runtime",
            ),
        ];
        for (text, reason) in cases {
            assert_eq!(explain(Provider::Cuda, text).reason, reason);
        }
    }
}
