//! Owns providers that come as libraries of their own: loading one once for the process, and finding the device that is
//! wanted among those that it offers. Never decides which library.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::device::Device;
use ort::environment::Environment;
use ort::memory::DeviceType;
use ort::session::builder::SessionBuilder;

use crate::config::{DeviceKind, Word};
use crate::inference::Runtime;

/// A device of a library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The library.
    pub(super) library: &'a Path,
    /// The provider's name at ONNX Runtime; `None`: the first that the library brings.
    pub(super) provider: Option<&'a str>,
    /// Its kind, the first of these that there is; none given: any.
    pub(super) kinds: &'a [DeviceKind],
    /// Its place among those of its kind.
    pub(super) device_id: u32,
}

/// A library that is loaded, and the names of the providers that came with it.
struct Loaded {
    library: PathBuf,
    providers: Vec<String>,
}

/// ONNX Runtime takes a library once, and keeps it for as long as the process.
static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// Adds the device that is wanted to the session, with the options of its kind, which comes back too.
///
/// # Errors
/// Why not, to be explained.
pub(super) fn register(
    runtime: &Runtime,
    builder: SessionBuilder,
    wanted: &Wanted<'_>,
    options: impl FnOnce(Option<DeviceKind>) -> Vec<(String, String)>,
) -> ort::Result<(SessionBuilder, Option<DeviceKind>)> {
    let environment = &runtime.environment;
    let providers = load(environment, wanted.library)?;
    let provider = match wanted.provider {
        Some(name) => Some(name),
        None => providers.first().map(String::as_str),
    };
    let of_provider = || {
        environment
            .devices()
            .filter(|device| device.ep().ok() == provider)
    };
    let kinds: Vec<Option<DeviceKind>> = of_provider().map(|device| kind_of(&device)).collect();
    let Some((at, kind)) = choose(&kinds, wanted.kinds, wanted.device_id) else {
        return Err(ort::Error::new(refusal(wanted, provider, &providers, &kinds)));
    };
    let prefix = provider.unwrap_or_default();
    let options: Vec<(String, String)> = options(kind)
        .into_iter()
        .map(|(key, value)| (format!("{prefix}.{key}"), value))
        .collect();
    let device = of_provider().nth(at);
    Ok((builder.with_devices(device, Some(&options))?, kind))
}

/// Loads a library, and tells the providers that it brought.
fn load(environment: &Environment, library: &Path) -> ort::Result<Vec<String>> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = loaded.iter().find(|known| known.library == library) {
        return Ok(known.providers.clone());
    }
    if !library.is_file() {
        return Err(ort::Error::new(format!(
            "there is no library {}; correct library in [plugin]",
            library.display()
        )));
    }
    let names = || {
        let mut names: Vec<String> = Vec::new();
        for name in environment
            .devices()
            .filter_map(|device| device.ep().ok().map(str::to_owned))
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    let before = names();
    environment.register_ep_library(library.display().to_string(), library)?;
    let providers: Vec<String> = names()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    loaded.push(Loaded {
        library: library.to_owned(),
        providers: providers.clone(),
    });
    Ok(providers)
}

fn kind_of(device: &Device<'_>) -> Option<DeviceKind> {
    match device.hardware_device().ty() {
        DeviceType::CPU => Some(DeviceKind::Cpu),
        DeviceType::GPU => Some(DeviceKind::Gpu),
        DeviceType::NPU => Some(DeviceKind::Npu),
        DeviceType::FPGA => None,
    }
}

/// Which of these devices, and its kind: of the first wanted kind that there is, the one with this number. There is one
/// processor, whatever number is asked for.
fn choose(
    kinds: &[Option<DeviceKind>],
    wanted: &[DeviceKind],
    device_id: u32,
) -> Option<(usize, Option<DeviceKind>)> {
    let of_kind = |kind: Option<DeviceKind>| {
        let mut places = (0..kinds.len()).filter(move |at| kind.is_none() || kinds[*at] == kind);
        let number = if kind == Some(DeviceKind::Cpu) {
            0
        } else {
            device_id as usize
        };
        places.nth(number).map(|at| (at, kinds[at]))
    };
    match wanted {
        [] => of_kind(None),
        wanted => wanted.iter().find_map(|kind| of_kind(Some(*kind))),
    }
}

/// Why none of the devices will do.
fn refusal(
    wanted: &Wanted<'_>,
    provider: Option<&str>,
    providers: &[String],
    kinds: &[Option<DeviceKind>],
) -> String {
    let library = wanted.library.file_name().unwrap_or_default().to_string_lossy();
    if kinds.is_empty() {
        return match (provider, providers) {
            (Some(name), [_, ..]) if !providers.iter().any(|other| other == name) => format!(
                "{library} brings {} and no {name}; correct provider in [plugin]",
                providers.join(", ")
            ),
            _ => format!("{library} found no device that it can use; check the device's driver"),
        };
    }
    let found: Vec<&str> = kinds
        .iter()
        .map(|kind| kind.map_or("other", Word::word))
        .collect();
    format!(
        "{library} found no such device with the number {} (it found {}); correct the device or device_id",
        wanted.device_id,
        found.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_kind_that_there_is_is_taken_by_its_number() {
        use DeviceKind::{Cpu, Gpu, Npu};
        let machine = [Some(Cpu), Some(Gpu), None, Some(Gpu)];
        let cases: [(&[DeviceKind], u32, Option<usize>); 8] = [
            (&[], 0, Some(0)),
            (&[], 2, Some(2)),
            (&[Gpu, Cpu], 0, Some(1)),
            (&[Gpu], 1, Some(3)),
            (&[Gpu], 2, None),
            (&[Gpu, Cpu], 2, Some(0)),
            (&[Cpu], 1, Some(0)),
            (&[Npu], 0, None),
        ];
        for (wanted, device_id, place) in cases {
            let chosen = choose(&machine, wanted, device_id);
            assert_eq!(chosen.map(|(at, _)| at), place, "{wanted:?} {device_id}");
        }
    }
}
