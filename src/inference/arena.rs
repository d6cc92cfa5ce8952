//! Owns the capped memory arena of the CPU provider, and with it all `unsafe` of this module: ONNX Runtime's
//! allocator calls have no safe counterpart in `ort`. Never decides how large the cap is.
//!
//! The arena is registered with the environment and shared by every session that asks for environment
//! allocators; there is one at a time, as there is one session at a time. Its cap is what makes the device
//! budget a promise on the CPU: an allocation beyond it fails like one on a full GPU, and the session lives on.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};

use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::{AsPointer, sys};

/// The registered arena; unregistered when dropped. Sessions that use it must be dropped before it.
#[derive(Debug)]
pub struct CpuArena {
    environment: Environment,
    info: MemoryInfo<'static>,
}

/// The strategy that heeds the size of the first region (`kNextPowerOfTwo`).
const FIRST_REGION: usize = 0;

/// What the setting of the first region's size can hold; a second region takes the rest.
const LARGEST_FIRST_REGION: usize = i32::MAX as usize;

/// The rest of a block is given back whatever its size; by default up to 128 MiB of each stay idle.
const MOST_IDLE_BYTES: usize = 1;

impl CpuArena {
    /// Registers an arena that never holds more than `most_bytes`. It reserves them at once, as one region (of
    /// 2 GiB, and another one for the rest), in which freed blocks join with their neighbours: blocks in regions of their own never do, and what a run holds then comes
    /// to twice of what it uses. Reserved is not taken: the system gives pages when they are first written to.
    ///
    /// # Errors
    /// ONNX Runtime's, for instance if another arena is registered.
    pub fn register(environment: &Environment, most_bytes: u64) -> ort::Result<Self> {
        let info = cpu_memory()?;
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        let config = ArenaConfig::new(&[
            (c"max_mem", most),
            (c"initial_chunk_size_bytes", most.min(LARGEST_FIRST_REGION)),
            (c"max_power_of_two_extend_bytes", most),
            (c"arena_extend_strategy", FIRST_REGION),
            (c"max_dead_bytes_per_chunk", MOST_IDLE_BYTES),
        ])?;
        // SAFETY: all three pointers are live for the call: the environment and the memory info are owned by
        // safe handles, the configuration by `config`. The call copies what it needs of the latter two and
        // locks the environment itself, which is why it may be used through a shared reference.
        unsafe {
            check((ort::api().CreateAndRegisterAllocator)(
                environment.ptr().cast_mut(),
                info.ptr(),
                config.0.as_ptr(),
            ))?;
        }
        Ok(Self {
            environment: environment.clone(),
            info,
        })
    }
}

impl Drop for CpuArena {
    fn drop(&mut self) {
        // SAFETY: the pair was registered by `register` and is unregistered only here. Sessions hold a
        // reference-counted pointer to the allocator, so even one that outlived us would keep it valid.
        let result = unsafe {
            check((ort::api().UnregisterAllocator)(
                self.environment.ptr().cast_mut(),
                self.info.ptr(),
            ))
        };
        if let Err(error) = result {
            tracing::debug!("cannot unregister the CPU arena: {}", error.message());
        }
    }
}

/// Whose memory an arena serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor's.
    Cpu,
    /// That of the CUDA device with this number.
    Cuda(u32),
}

impl Device {
    fn memory(self) -> ort::Result<MemoryInfo<'static>> {
        match self {
            Self::Cpu => cpu_memory(),
            Self::Cuda(id) => MemoryInfo::new(
                AllocationDevice::CUDA,
                i32::try_from(id).unwrap_or(0),
                AllocatorType::Device,
                MemoryType::Default,
            ),
        }
    }
}

/// Most bytes that were in use at once in the arena behind `session`, as its statistics tell; `None` where there is none.
pub fn peak_bytes(session: &Session, device: Device) -> Option<u64> {
    let allocator = Allocator::new(session, device.memory().ok()?).ok()?;
    let mut pairs: *mut sys::OrtKeyValuePairs = ptr::null_mut();
    // SAFETY: `allocator` is live; on success the call stores an owned list into `pairs`, which is released
    // below after its last use.
    unsafe { check((ort::api().AllocatorGetStats)(allocator.ptr(), &raw mut pairs)) }.ok()?;
    let pairs = NonNull::new(pairs)?;
    // SAFETY: `pairs` is the list from above; the returned text belongs to it and is read before the release.
    unsafe {
        let text: *const c_char = (ort::api().GetKeyValue)(pairs.as_ptr(), c"MaxInUse".as_ptr());
        let bytes = (!text.is_null())
            .then(|| CStr::from_ptr(text).to_str().ok()?.parse().ok())
            .flatten();
        (ort::api().ReleaseKeyValuePairs)(pairs.as_ptr());
        bytes
    }
}

/// The memory that the CPU provider's arena serves.
fn cpu_memory() -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Arena,
        MemoryType::Default,
    )
}

/// An `OrtArenaCfg`, released when dropped.
struct ArenaConfig(NonNull<sys::OrtArenaCfg>);

impl ArenaConfig {
    fn new(entries: &[(&CStr, usize)]) -> ort::Result<Self> {
        let keys: Vec<CString> = entries.iter().map(|(key, _)| CString::from(*key)).collect();
        let key_pointers: Vec<*const c_char> = keys.iter().map(|key| key.as_ptr()).collect();
        let values: Vec<usize> = entries.iter().map(|(_, value)| *value).collect();
        let mut config: *mut sys::OrtArenaCfg = ptr::null_mut();
        // SAFETY: both arrays hold `entries.len()` elements and outlive the call, which copies them; on
        // success it stores an owned configuration into `config`.
        unsafe {
            check((ort::api().CreateArenaCfgV2)(
                key_pointers.as_ptr(),
                values.as_ptr(),
                entries.len(),
                &raw mut config,
            ))?;
        }
        NonNull::new(config)
            .map(Self)
            .ok_or_else(|| ort::Error::new("no arena configuration was returned"))
    }
}

impl Drop for ArenaConfig {
    fn drop(&mut self) {
        // SAFETY: owned by us and released once.
        unsafe { (ort::api().ReleaseArenaCfg)(self.0.as_ptr()) }
    }
}

/// Takes ownership of a status and turns it into a result.
fn check(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: every caller passes a status that an ONNX Runtime call has just returned.
    unsafe { ort::Error::result_from_status(status) }
}
