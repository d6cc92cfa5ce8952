//! Owns what is known of each execution provider, one small description each: what ONNX Runtime calls it, what it
//! needs, whose memory it takes, how it likes windows, who makes half precision of a model. How it comes into a session is
//! in [`register`], what it is told in [`options`], why it could not be used in [`explain`]. Never runs a model.

mod explain;
pub mod keys;
mod left;
pub mod options;
mod plugin;
mod register;

use std::fmt;

use ort::memory::AllocationDevice;
use serde::{Deserialize, Serialize};

use crate::config::{DeviceKind, Precision, Provider, ProviderChoices};

pub(super) use explain::explain;
pub(super) use left::{RECORD, left_to_the_processor};
pub use options::{EngineSettings, ProfileShapes, ProviderSettings};
pub(super) use register::{processor, register};

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

/// Whose memory a provider takes, and what keeps it within its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The machine's, out of an arena whose cap is ours.
    HostArena,
    /// The machine's, as the provider sees fit: the budget bounds plans and no allocation.
    Host,
    /// An NVIDIA card's, whose driver tells what is free, out of an arena whose cap is ours.
    Nvidia,
    /// A card's of which nobody tells anything: the budget bounds plans and no allocation.
    Card,
}

/// What a provider makes of windows of different shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// One is as good as another; the first run of each may take a little longer.
    Any,
    /// It is built for a range of shapes beforehand, for a minute or more; a window outside costs another build.
    Range,
    /// It is built for a single shape, for a minute or more.
    Single,
}

/// Who makes half precision of a model, where half precision is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Nobody: it would not be faster, or not be right.
    Never,
    /// We do: the session is given the model's half-precision variant, when the configuration asks for it.
    Variant,
    /// The provider does, of every model that passed its check (`HALF_DECIBELS_MIN`).
    Rounded,
}

/// What is known of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Which.
    pub provider: Provider,
    /// What ONNX Runtime calls it. Of a plug-in the library tells.
    pub name: &'static str,
    /// What has to be there beside ONNX Runtime.
    pub needs: &'static str,
    /// Whose memory it takes.
    pub memory: Memory,
    /// What it makes of windows of different shapes.
    pub shapes: Shapes,
    /// Who makes half precision.
    pub half: Half,
    /// Runs in flight at once. On a card one's pixels are copied while another computes; the processor copies nothing,
    /// and one run keeps all its cores busy.
    pub lanes: usize,
}

/// All of them, the most specific first: the order of the default configuration, as far as that goes.
pub const DESCRIPTIONS: [Description; 7] = [
    Description {
        provider: Provider::Tensorrt,
        name: "TensorrtExecutionProvider",
        needs: "an NVIDIA card with its driver, the GPU build of ONNX Runtime, CUDA 13, cuDNN 9 and TensorRT 10",
        memory: Memory::Nvidia,
        shapes: Shapes::Range,
        half: Half::Rounded,
        lanes: 2,
    },
    Description {
        provider: Provider::Cuda,
        name: "CUDAExecutionProvider",
        needs: "an NVIDIA card with its driver, the GPU build of ONNX Runtime, CUDA 13 and cuDNN 9",
        memory: Memory::Nvidia,
        shapes: Shapes::Any,
        half: Half::Variant,
        lanes: 2,
    },
    Description {
        provider: Provider::Migraphx,
        name: "MIGraphXExecutionProvider",
        needs: "an AMD card with ROCm, and AMD's build of ONNX Runtime",
        memory: Memory::Card,
        shapes: Shapes::Single,
        half: Half::Rounded,
        lanes: 1,
    },
    Description {
        provider: Provider::Openvino,
        name: "OpenVINOExecutionProvider",
        needs: "OpenVINO's plug-in beside ONNX Runtime",
        memory: Memory::Host,
        shapes: Shapes::Any,
        half: Half::Rounded,
        lanes: 1,
    },
    Description {
        provider: Provider::Webgpu,
        name: "WebGpuExecutionProvider",
        needs: "a card with a Vulkan driver, and the WebGPU build of ONNX Runtime",
        memory: Memory::Card,
        shapes: Shapes::Any,
        half: Half::Never,
        lanes: 1,
    },
    Description {
        provider: Provider::Plugin,
        name: "a plug-in",
        needs: "the library that [plugin] names",
        memory: Memory::Card,
        shapes: Shapes::Any,
        half: Half::Never,
        lanes: 1,
    },
    Description {
        provider: Provider::Cpu,
        name: "CPUExecutionProvider",
        needs: "nothing",
        memory: Memory::HostArena,
        shapes: Shapes::Any,
        half: Half::Never,
        lanes: 1,
    },
];

/// What is known of this one.
pub fn describe(provider: Provider) -> &'static Description {
    let found = DESCRIPTIONS.iter().find(|known| known.provider == provider);
    found.unwrap_or_else(|| unreachable!("{provider:?} is not described"))
}

/// Memory of the host that the driver copies from by itself.
pub(super) fn host_memory(provider: Provider) -> Option<AllocationDevice<'static>> {
    (describe(provider).memory == Memory::Nvidia).then_some(AllocationDevice::CUDA_PINNED)
}

/// The name under which results tell of the device, as far as it is known before the provider has looked for it.
pub fn device_name(provider: Provider, device_id: u32, choices: &ProviderChoices) -> String {
    match provider {
        Provider::Cpu => "cpu".to_owned(),
        Provider::Cuda | Provider::Tensorrt => format!("cuda:{device_id}"),
        Provider::Migraphx | Provider::Webgpu => format!("{}:{device_id}", provider.as_str()),
        Provider::Openvino => found_name(provider, choices.openvino_device, device_id),
        Provider::Plugin => {
            let kind = choices.plugin.as_ref().and_then(|plugin| plugin.device);
            found_name(provider, kind, device_id)
        }
    }
}

/// The name of a device of a plug-in: a machine has one processor, and several cards.
fn found_name(provider: Provider, kind: Option<DeviceKind>, device_id: u32) -> String {
    let name = provider.as_str();
    match kind {
        Some(DeviceKind::Cpu) => format!("{name}:cpu"),
        Some(DeviceKind::Gpu) => format!("{name}:gpu:{device_id}"),
        Some(DeviceKind::Npu) => format!("{name}:npu:{device_id}"),
        None => format!("{name}:{device_id}"),
    }
}

/// What of a model in half precision there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfOf {
    /// The half-precision variant is loaded.
    pub has_variant: bool,
    /// The model was checked and comes near enough to itself in half precision.
    pub passes: bool,
}

/// Whether the network runs in half precision.
pub fn precision_name(provider: Provider, precision: Precision, half: HalfOf) -> &'static str {
    let is_half = match (describe(provider).half, precision) {
        (Half::Never, _) | (_, Precision::Fp32) => false,
        (Half::Variant, Precision::Auto) => false,
        (Half::Variant, Precision::Fp16) => half.has_variant,
        (Half::Rounded, Precision::Auto | Precision::Fp16) => half.passes,
    };
    if is_half { "fp16" } else { "fp32" }
}

/// The first of these providers, from `start` on, that `open` opens, with its place in the list; the others before it are
/// added to `skipped`.
pub(super) fn first_that_opens<T>(
    providers: &[Provider],
    start: usize,
    skipped: &mut Vec<SkippedProvider>,
    mut open: impl FnMut(usize, Provider) -> Result<T, String>,
) -> Option<(usize, T)> {
    for (position, provider) in providers.iter().copied().enumerate().skip(start) {
        match open(position, provider) {
            Ok(opened) => return Some((position, opened)),
            Err(why) => skipped.push(explain(provider, &why)),
        }
    }
    None
}

#[cfg(test)]
mod tests;
