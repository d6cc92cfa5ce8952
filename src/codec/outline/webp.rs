//! Owns the walk through a WebP's RIFF chunks. Never decodes a bit stream.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};
use crate::size::Size;

/// Length of `RIFF`, a length and `WEBP`.
const HEADER_BYTES: u64 = 12;

/// Tells that the canvas is animated, in the flags of `VP8X`.
const ANIMATED: u8 = 0x02;

/// Walks to where the RIFF header says that the file ends.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(4)?;
    let riff_end = 8 + u64::from(stream.u32_le()?);
    stream.skip(4)?;
    // A writer that streams fills in the length last.
    if riff_end <= HEADER_BYTES {
        return Err(Flaw::Short);
    }
    let (mut frames, mut animated, mut has_data) = (0u64, false, false);
    while stream.at() + 8 <= riff_end {
        let name: [u8; 4] = stream.bytes()?;
        let length = u64::from(stream.u32_le()?);
        let end = stream.at() + length;
        match &name {
            b"VP8X" if length >= 10 => {
                animated = stream.byte()? & ANIMATED != 0;
                stream.skip(3)?;
                let size = Size::new(u24(stream)? + 1, u24(stream)? + 1);
                outline.size = Some(size);
            }
            b"VP8L" if length >= 5 && !has_data => {
                has_data = true;
                stream.skip(1)?;
                let bits = stream.u32_le()?;
                let size = Size::new((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
                outline.size.get_or_insert(size);
                // All four channels before alpha is dropped, and tables of the transforms.
                outline.add_work(padded_pixels(size) * 6);
            }
            b"VP8 " if length >= 10 && !has_data => {
                has_data = true;
                stream.skip(6)?;
                let [a, b, c, d] = stream.bytes()?;
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                let size = Size::new(side(a, b), side(c, d));
                outline.size.get_or_insert(size);
                // Luminance, quartered chrominance and what is known of blocks; the compressed partitions while
                // they are read into growing buffers.
                outline.add_work(padded_pixels(size) * 2 + length * 4);
            }
            b"ALPH" => {
                // Decoded as if it had four channels.
                outline.add_work(outline.size.map_or(0, padded_pixels) * 6 + length * 4);
            }
            b"ANMF" => frames += 1,
            _ => outline.add_work(length),
        }
        // Past the file: cut off. Past the RIFF but inside the file: somebody else's chunk length.
        stream.seek_to(end)?;
        if length % 2 == 1 && end < stream.len() {
            stream.skip(1)?;
        }
    }
    if animated {
        outline.pictures = frames.max(1);
    } else if !has_data {
        return Err(Flaw::Damaged("it holds no picture"));
    }
    stream.seek_to(riff_end)
}

fn u24<R: Read + Seek>(stream: &mut Stream<R>) -> Result<u32, Flaw> {
    let [a, b, c] = stream.bytes()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

fn padded_pixels(size: Size) -> u64 {
    let side = |side: u32| u64::from(side).next_multiple_of(16) + 16;
    side(size.width) * side(size.height)
}
