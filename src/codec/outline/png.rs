//! Owns the walk through a PNG's chunks, from IHDR to IEND. Never inflates one and trusts no length.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};
use crate::size::Size;

const SIGNATURE_BYTES: u64 = 8;
const CRC_BYTES: u64 = 4;

/// Rows that the decoder keeps: this one, the one before, and one of expanded samples, with room to spare.
const ROWS_HELD: u64 = 4;

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
                outline.stored_bits = stream.byte()?;
                let widest = outline.size.map_or(0, |size| u64::from(size.width) * 8);
                outline.add_work(ROWS_HELD * widest);
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
