//! Owns what NVIDIA's driver says of itself and of its devices (NVML), and the one place where a test may say it instead.
//! Never uses a device.

use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// What the driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its version: `580.95.05`.
    pub driver: String,
    /// Its devices, by their numbers.
    pub devices: Vec<Gpu>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// What the vendor calls it.
    pub name: String,
    /// Its memory.
    pub total_bytes: u64,
    /// What of it nobody holds.
    pub free_bytes: u64,
    /// What it can compute, as CUDA counts: major and minor.
    pub capability: (u32, u32),
}

/// Why the driver says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// Its library, libnvidia-ml.so.1, is not there.
    NoLibrary,
    /// The kernel's part is not loaded.
    NotLoaded,
    /// Its library is of another version than the kernel's part.
    Mismatch,
    /// This process may not ask.
    Denied,
    /// Whatever else, in its own words.
    Other(String),
}

impl From<NvmlError> for Silence {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Self::NoLibrary,
            NvmlError::DriverNotLoaded => Self::NotLoaded,
            NvmlError::LibRmVersionMismatch => Self::Mismatch,
            NvmlError::NoPermission => Self::Denied,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Asks the driver for everything. The numbers of devices are those of the bus; CUDA's agree where `CUDA_DEVICE_ORDER`
/// is `PCI_BUS_ID`, and where all devices are alike.
///
/// # Errors
/// [`Silence`].
pub fn survey() -> Result<Survey, Silence> {
    // Opened for each question: the driver may be replaced while a service runs, and a question a picture is cheap.
    let nvml = Nvml::init()?;
    let gpu = |index: u32| -> Result<Gpu, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let memory = device.memory_info()?;
        let capability = device.cuda_compute_capability()?;
        let part = |number: i32| u32::try_from(number).unwrap_or(0);
        Ok(Gpu {
            name: device.name()?,
            total_bytes: memory.total,
            free_bytes: memory.free,
            capability: (part(capability.major), part(capability.minor)),
        })
    };
    let devices = (0..nvml.device_count()?).map(gpu).collect::<Result<_, _>>()?;
    Ok(Survey {
        driver: nvml.sys_driver_version()?,
        devices,
    })
}

/// Whom budgets ask for the free memory of the device with a number: [`free_bytes`], or in a test a device that is not
/// there.
pub type FreeMemory = Arc<dyn Fn(u32) -> Option<u64> + Send + Sync>;

/// Bytes that are free now on the device with this number, other programs' use taken off; `None` without a driver.
pub fn free_bytes(device_id: u32) -> Option<u64> {
    let nvml = Nvml::init().ok()?;
    Some(nvml.device_by_index(device_id).ok()?.memory_info().ok()?.free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_not_there_differs_from_one_that_refuses() {
        assert_eq!(Silence::from(NvmlError::DriverNotLoaded), Silence::NotLoaded);
        assert_eq!(Silence::from(NvmlError::LibRmVersionMismatch), Silence::Mismatch);
        assert_eq!(Silence::from(NvmlError::NoPermission), Silence::Denied);
        assert!(matches!(Silence::from(NvmlError::GpuLost), Silence::Other(why) if !why.is_empty()));
    }
}
