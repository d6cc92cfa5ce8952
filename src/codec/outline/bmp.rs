//! Owns the headers of a BMP. Never reads its pixels.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline, PlainBmp};
use crate::size::Size;

/// Length of the header of OS/2 1.x, the only one with 16-bit sides.
const CORE_HEADER_BYTES: u32 = 12;

/// Checks that the pixels that the headers promise are there.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(2)?;
    let file_bytes = u64::from(stream.u32_le()?);
    stream.skip(4)?;
    let pixels_at = u64::from(stream.u32_le()?);
    let header_bytes = stream.u32_le()?;
    let mut bottom_up = true;
    let (width, height, bits, compression, data_bytes) = if header_bytes == CORE_HEADER_BYTES {
        let sides = stream.u32_le()?;
        let planes_and_bits = stream.u32_le()?;
        ((sides & 0xFFFF), (sides >> 16), planes_and_bits >> 16, 0, 0)
    } else {
        let width = stream.u32_le()?;
        // Negative: rows lie top to bottom.
        let height = stream.u32_le()?.cast_signed();
        bottom_up = height > 0;
        let height = height.unsigned_abs();
        let bits = stream.u32_le()? >> 16;
        // OS/2 2.x may end after any field; the decoder takes missing ones for zero, and so does this.
        let has_compression = header_bytes >= 24;
        let compression = if has_compression { stream.u32_le()? } else { 0 };
        let data_bytes = if has_compression { stream.u32_le()? } else { 0 };
        (width, height, bits, compression, data_bytes)
    };
    if width.cast_signed() <= 0 || height == 0 {
        return Err(Flaw::Damaged("its header gives no size"));
    }
    outline.size = Some(Size::new(width, height));
    outline.stored_bits = u8::try_from(bits).map_or(8, |bits| bits.min(8));
    let row_bits = u64::from(width) * u64::from(bits);
    outline.add_work(row_bits.div_ceil(8) * 2);
    let stride = row_bits.div_ceil(32) * 4;
    if compression == 0 && matches!(bits, 24 | 32) {
        outline.band_rows = 1;
        outline.plain_bmp = Some(PlainBmp {
            at: pixels_at,
            stride,
            bottom_up,
            pixel_bytes: bits as usize / 8,
        });
    }
    outline.refusal = match compression {
        4 => Some("it is a JPEG wrapped in a BMP; save it as JPEG".to_owned()),
        5 => Some("it is a PNG wrapped in a BMP; save it as PNG".to_owned()),
        _ => None,
    };
    // Plain rows, or plain rows behind bit masks.
    let plain = matches!(compression, 0 | 3 | 6);
    let data_bytes = if plain {
        // As the header claims them: up to 2^64 bytes and more.
        stride.saturating_mul(height.into())
    } else if data_bytes > 0 {
        data_bytes.into()
    } else {
        file_bytes.saturating_sub(pixels_at)
    };
    stream.seek_to(pixels_at.saturating_add(data_bytes))
}
