//! Owns what a BMP's header says besides how its pixels lie: the resolution. Never reads a pixel.

use std::fs::File;

use super::Found;
use crate::codec::density::Density;
use crate::codec::outline::{Flaw, Stream};

/// Where the header's length stands, behind the file's own.
const HEADER_AT: u64 = 14;

/// Where the resolution stands, and what a header that has one is at least long.
const RESOLUTION_AT: u64 = 38;
const HEADER_BYTES_LEAST: u32 = 40;

/// Reads the header.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(HEADER_AT)?;
    if stream.u32_le()? >= HEADER_BYTES_LEAST {
        stream.seek_to(RESOLUTION_AT)?;
        let per_metre = [stream.u32_le()?, stream.u32_le()?];
        // Signed numbers, of which the negative ones mean nothing.
        if let [Ok(across), Ok(down)] = per_metre.map(i32::try_from) {
            found.notes.density = Density::per_metre(across.unsigned_abs(), down.unsigned_abs());
        }
    }
    Ok(())
}
