//! Owns the walk through a PNG's chunks, from IHDR to IEND. Never inflates one and trusts no length.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};
use crate::size::Size;

const SIGNATURE_BYTES: u64 = 8;
const CRC_BYTES: u64 = 4;

/// Rows that the decoder keeps: it shifts its buffer back after four, which may then be half full, and the buffer
/// grows by doubling: old and new at once.
const ROWS_HELD: u64 = 24;

/// Finds IEND.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(SIGNATURE_BYTES)?;
    let mut has_data = false;
    loop {
        let length = stream.u32_be()?;
        let name: [u8; 4] = stream.bytes()?;
        if outline.size.is_none() && name != *b"IHDR" {
            return Err(Flaw::Damaged("it does not begin with its header"));
        }
        // Zeros: the rest of a file whose space was reserved before it was filled.
        if name == [0; 4] {
            return Err(Flaw::Short);
        }
        if length > i32::MAX.cast_unsigned() || !name.iter().all(u8::is_ascii_alphabetic) {
            return Err(Flaw::Damaged("one of its chunks is damaged"));
        }
        let end = stream.at() + u64::from(length) + CRC_BYTES;
        match &name {
            b"IHDR" if length == 13 => {
                outline.size = Some(Size::new(stream.u32_be()?, stream.u32_be()?));
                let [bits, color, _, _, interlace] = stream.bytes()?;
                outline.stored_bits = bits;
                let samples = match color {
                    2 => 3,
                    4 => 2,
                    6 => 4,
                    _ => 1,
                };
                let row_bits =
                    outline.size.map_or(0, |size| u64::from(size.width)) * samples * u64::from(bits);
                outline.add_work(ROWS_HELD * (row_bits.div_ceil(8) + 1));
                // The first row of an interlaced picture is complete after its last pass.
                outline.band_rows = u32::from(interlace == 0);
            }
            b"IHDR" => return Err(Flaw::Damaged("its header has the wrong length")),
            b"acTL" if length >= 4 => outline.pictures = u64::from(stream.u32_be()?).max(1),
            b"IDAT" => has_data = true,
            b"IEND" if !has_data => return Err(Flaw::Damaged("it holds no picture")),
            b"IEND" => {
                stream.seek_to(end)?;
                outline.image_end = Some(end);
                return Ok(());
            }
            b"fdAT" => {}
            // Profiles and texts are kept by the decoder.
            _ => outline.add_work(u64::from(length)),
        }
        stream.seek_to(end)?;
    }
}
