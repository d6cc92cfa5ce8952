//! Owns the pictures that models are probed with: a natural patch and noise. Never runs anything.

use super::super::PLANES;
use crate::size::Size;

/// 256 × 96 pixels of a photo, 3 bytes each, row by row (models/README.md tells where from).
const PATCH: &[u8] = include_bytes!("../../../models/patch.rgb");
const PATCH_SIZE: Size = Size::new(256, 96);

/// The natural patch, cut from its middle or mirrored to this size: planes, 0..1. One channel: its green.
pub(super) fn patch(size: Size, channels: usize) -> Vec<f32> {
    let column = places(size.width, PATCH_SIZE.width);
    let row = places(size.height, PATCH_SIZE.height);
    let first = if channels == 1 { 1 } else { 0 };
    (first..first + channels)
        .flat_map(|channel| row.iter().map(move |y| (channel, *y)))
        .flat_map(|(channel, y)| {
            column.iter().map(move |x| {
                let pixel = y * PATCH_SIZE.width as usize + x;
                f32::from(PATCH[pixel * PLANES + channel]) / 255.0
            })
        })
        .collect()
}

/// Where each of `wanted` pixels is taken from, of `there`.
fn places(wanted: u32, there: u32) -> Vec<usize> {
    let (wanted, there) = (wanted as usize, there as usize);
    let start = there.saturating_sub(wanted) / 2;
    (start..start + wanted)
        .map(|place| match place % (2 * there) {
            within if within < there => within,
            beyond => 2 * there - 1 - beyond,
        })
        .collect()
}

/// White noise, the same for the same seed: uniform around one half, this far up and down.
pub(super) fn noise(size: Size, channels: usize, swing: f32, seed: u64) -> Vec<f32> {
    // SplitMix64: every seed is a good one.
    let mut state = seed;
    (0..channels as u64 * size.pixels())
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            let unit = (bits >> 40) as f32 / (1u64 << 24) as f32;
            0.5 + swing * (2.0 * unit - 1.0)
        })
        .collect()
}

/// The natural patch twice, one above the other: as it is, and under film grain, noise of this swing on top.
pub(super) fn patch_and_grain(size: Size, channels: usize, swing: f32) -> Vec<f32> {
    let half = Size::new(size.width, size.height / 2);
    let rest = Size::new(size.width, size.height - half.height);
    let grain = noise(rest, channels, swing, 1);
    let grainy: Vec<f32> = patch(rest, channels)
        .iter()
        .zip(grain)
        .map(|(value, grain)| (value + grain - 0.5).clamp(0.0, 1.0))
        .collect();
    let clean = patch(half, channels);
    let planes = clean
        .chunks_exact(half.pixels() as usize)
        .zip(grainy.chunks_exact(rest.pixels() as usize));
    planes
        .flat_map(|(clean, grainy)| [clean, grainy].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_has_its_size_and_is_mirrored_beyond_it() {
        assert_eq!(PATCH.len() as u64, PATCH_SIZE.pixels() * PLANES as u64);
        let wide = patch(Size::new(512, 96), 3);
        assert_eq!(wide[..256], patch(PATCH_SIZE, 3)[..256]);
        assert_eq!(wide[255], wide[256]);
        assert_eq!(wide[0], wide[511]);
        assert_eq!(patch(Size::new(64, 64), 1).len(), 64 * 64);
    }

    #[test]
    fn the_grainy_half_lies_below_the_clean_one_in_every_plane() {
        let size = Size::new(32, 17);
        let both = patch_and_grain(size, 3, 0.1);
        let clean = patch(Size::new(32, 8), 3);
        assert_eq!(both.len(), 3 * 32 * 17);
        for plane in 0..3 {
            assert_eq!(
                both[plane * 32 * 17..][..32 * 8],
                clean[plane * 32 * 8..][..32 * 8]
            );
        }
    }

    #[test]
    fn noise_keeps_its_swing_and_fills_it() {
        let noise = noise(Size::new(64, 64), 3, 0.25, 7);
        let (low, high) = noise.iter().fold((1.0f32, 0.0f32), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        assert!(
            (0.25..0.26).contains(&low) && (0.74..=0.75).contains(&high),
            "{low} {high}"
        );
    }
}
