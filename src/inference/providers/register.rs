//! Owns how providers come into a session that is about to be opened. Never decides which.

use std::path::{Path, PathBuf};

use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;

use super::keys::Options;
use super::options::{self, ProviderSettings};
use super::plugin::{self, Wanted};
use super::{describe, found_name};
use crate::config::{DeviceKind, Provider};
use crate::inference::Runtime;

/// File name of OpenVINO's plug-in, which lies beside ONNX Runtime.
const OPENVINO_LIBRARY: &str = "libonnxruntime_providers_openvino_plugin.so";

/// A session about to be opened, with its providers.
pub(in crate::inference) struct Registered {
    /// The session's options.
    pub(in crate::inference) builder: SessionBuilder,
    /// The device's name, where only the provider could tell.
    pub(in crate::inference) device: Option<String>,
    /// Whether it is half precision after all, once the device is known.
    pub(in crate::inference) is_half: bool,
}

/// Adds `provider` to the session, and what has to be behind it: what TensorRT cannot run, CUDA takes. The processor is
/// always behind every session.
///
/// # Errors
/// ONNX Runtime's, or ours for a plug-in: why it cannot be used, to be explained.
pub(in crate::inference) fn register(
    runtime: &Runtime,
    builder: SessionBuilder,
    provider: Provider,
    settings: &ProviderSettings<'_>,
) -> ort::Result<Registered> {
    let named = |builder| Registered {
        builder,
        device: None,
        is_half: settings.is_half,
    };
    let with = |builder: SessionBuilder, providers: Vec<ExecutionProviderDispatch>| {
        Ok(named(builder.with_execution_providers(providers)?))
    };
    match provider {
        Provider::Cpu => Ok(named(processor(runtime, builder)?)),
        Provider::Cuda => with(builder, vec![cuda(settings)]),
        Provider::Tensorrt => with(builder, vec![tensorrt(settings), cuda(settings)]),
        Provider::Migraphx => with(builder, vec![migraphx(settings)]),
        Provider::Webgpu => with(builder, vec![webgpu()]),
        Provider::Openvino => openvino(runtime, builder, settings),
        Provider::Plugin => named_plugin(runtime, builder, settings),
    }
}

/// The processor, by its name: a session that names nobody is given one by ONNX Runtime, and once a plug-in is loaded that
/// is the plug-in (OpenVINO in half precision, for one; PREFER_CPU among the policies makes no difference).
///
/// # Errors
/// ONNX Runtime's.
pub(in crate::inference) fn processor(
    runtime: &Runtime,
    builder: SessionBuilder,
) -> ort::Result<SessionBuilder> {
    let name = describe(Provider::Cpu).name;
    let own = runtime
        .environment
        .devices()
        .find(|device| device.ep().ok() == Some(name));
    Ok(builder.with_env_allocators()?.with_devices(own, None)?)
}

fn cuda(settings: &ProviderSettings<'_>) -> ExecutionProviderDispatch {
    told(ep::CUDA::default(), &options::cuda(settings))
        .build()
        .error_on_failure()
}

fn tensorrt(settings: &ProviderSettings<'_>) -> ExecutionProviderDispatch {
    told(ep::TensorRT::default(), &options::tensorrt(settings))
        .build()
        .error_on_failure()
}

fn webgpu() -> ExecutionProviderDispatch {
    told(ep::WebGPU::default(), &options::webgpu())
        .build()
        .error_on_failure()
}

/// The only one whose options are no texts at ONNX Runtime.
fn migraphx(settings: &ProviderSettings<'_>) -> ExecutionProviderDispatch {
    let options = options::migraphx(settings);
    let number = |name| options.get(name).and_then(|value| value.parse().ok());
    ep::MIGraphX::default()
        .with_device_id(number("device_id").unwrap_or(0) as i32)
        .with_fp16(options.get("migraphx_fp16_enable") == Some("1"))
        .with_mem_limit(number("migraphx_mem_limit").unwrap_or(usize::MAX))
        .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
        .build()
        .error_on_failure()
}

fn told<P: ep::ArbitrarilyConfigurableExecutionProvider>(provider: P, options: &Options) -> P {
    let pairs = options.pairs().iter();
    pairs.fold(provider, |provider, (key, value)| {
        provider.with_arbitrary_config(key, value)
    })
}

/// Graphics before the processor, unless the configuration says which.
fn openvino(
    runtime: &Runtime,
    builder: SessionBuilder,
    settings: &ProviderSettings<'_>,
) -> ort::Result<Registered> {
    let library = beside(&runtime.path, OPENVINO_LIBRARY).ok_or_else(|| {
        ort::Error::new(format!(
            "its plug-in ({OPENVINO_LIBRARY}) does not lie beside ONNX Runtime; fetch it with fetch-runtime --openvino"
        ))
    })?;
    let kinds = match &settings.choices.openvino_device {
        Some(kind) => std::slice::from_ref(kind),
        None => &[DeviceKind::Gpu, DeviceKind::Cpu],
    };
    let wanted = Wanted {
        library: &library,
        provider: Some(describe(Provider::Openvino).name),
        kinds,
        device_id: settings.device_id,
    };
    let options = |kind| match kind {
        Some(kind) => options::openvino(settings, kind)
            .pairs()
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        None => Vec::new(),
    };
    let (builder, kind) = plugin::register(runtime, builder, &wanted, options)?;
    Ok(Registered {
        builder,
        device: Some(found_name(Provider::Openvino, kind, settings.device_id)),
        is_half: kind.is_some_and(|kind| options::openvino_is_half(settings, kind)),
    })
}

fn named_plugin(
    runtime: &Runtime,
    builder: SessionBuilder,
    settings: &ProviderSettings<'_>,
) -> ort::Result<Registered> {
    let plugin = settings.choices.plugin.as_ref().ok_or_else(|| {
        ort::Error::new(
            "no library is named; name it as library in [plugin], or take plugin out of providers",
        )
    })?;
    let wanted = Wanted {
        library: &plugin.library,
        provider: plugin.provider.as_deref(),
        kinds: plugin.device.as_slice(),
        device_id: settings.device_id,
    };
    let (builder, kind) = plugin::register(runtime, builder, &wanted, |_| plugin.options.clone())?;
    Ok(Registered {
        builder,
        device: Some(found_name(Provider::Plugin, kind, settings.device_id)),
        is_half: settings.is_half,
    })
}

/// A library in the directory of another, where that really lies.
fn beside(library: &Path, name: &str) -> Option<PathBuf> {
    let real = library.canonicalize().ok();
    let dirs = [library.parent(), real.as_deref().and_then(Path::parent)];
    let places = dirs.into_iter().flatten().map(|dir| dir.join(name));
    places.into_iter().find(|path| path.is_file())
}
