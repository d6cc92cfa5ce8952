//! Owns how much inference may hold on the device for the next picture. Never measures what a picture needs.

use super::ExecutorSettings;
use crate::config::Provider;
use crate::inference::Upscaler;
use crate::inference::providers::{Memory, describe};
use crate::machine::{self, nvidia::FreeMemory};

/// The configured budget, or what is free on the device now, less a reserve. What the session that is warm on it holds is
/// ours to use again.
pub(super) fn budget(
    settings: &ExecutorSettings,
    free_memory: &FreeMemory,
    warm: Option<&dyn Upscaler>,
) -> u64 {
    if let Some(bytes) = settings.device_bytes {
        return bytes;
    }
    let held = warm.and_then(Upscaler::device_peak_bytes).unwrap_or(0);
    let provider = warm.map(|warm| warm.place().provider);
    let first = settings.session.providers.first().copied();
    match describe(provider.or(first).unwrap_or(Provider::Cpu)).memory {
        Memory::HostArena | Memory::Host => {
            // A quarter stays with everything else that the machine does.
            let free = machine::available_memory_bytes().saturating_add(held);
            in_steps(free / 4 * 3, MOST_CPU_BYTES)
        }
        Memory::Card => UNKNOWN_CARD_BYTES,
        Memory::Nvidia => gpu_budget(free_memory(settings.session.device_id), held),
    }
}

/// The budget on a graphics card of which so much is free, and so much more is held by the session that is warm.
fn gpu_budget(free: Option<u64>, held: u64) -> u64 {
    let Some(free) = free else {
        return UNKNOWN_CARD_BYTES;
    };
    let free = free.saturating_add(held);
    // The context, workspaces outside the arena, and other programs' next allocation.
    let reserve = (free / 10).max(GPU_RESERVE_BYTES);
    in_steps(free.saturating_sub(reserve), u64::MAX)
}

/// In steps, so that small changes do not make the session start anew for every picture.
fn in_steps(bytes: u64, most: u64) -> u64 {
    const STEP: u64 = 256 << 20;
    (bytes / STEP * STEP).clamp(STEP, most)
}

/// More than the largest window ever needs; a cap keeps a mistaken estimate from filling the machine.
const MOST_CPU_BYTES: u64 = 4 << 30;

/// A CUDA context and a desktop take about so much.
const GPU_RESERVE_BYTES: u64 = 512 << 20;

/// Where no driver tells what is free: half of a small card of today.
const UNKNOWN_CARD_BYTES: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_cards_budget_is_what_is_free_less_a_reserve_in_steps() {
        // A tenth of a large card, half a gibibyte of a small one.
        assert_eq!(gpu_budget(Some(20 * GIB), 0), 18 * GIB);
        assert_eq!(gpu_budget(Some(2 * GIB), 0), GIB + GIB / 2);
        // What the warm session holds is not taken off twice.
        assert_eq!(gpu_budget(Some(12 * GIB), 8 * GIB), 18 * GIB);
        // A card that others fill still gets the smallest step, and the ladder deals with the rest.
        assert_eq!(gpu_budget(Some(0), 0), 256 << 20);
        assert_eq!(gpu_budget(None, 8 * GIB), UNKNOWN_CARD_BYTES);
    }
}
