//! Owns the XMP in a WebP's chunks. Never decodes a bit stream.

use std::fs::File;

use super::{Found, bytes};
use crate::codec::outline::{Flaw, Stream};
use crate::codec::xmp::XMP_BYTES_MAX;

/// Walks the chunks.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(12)?;
    while stream.at() + 8 <= stream.len() {
        let name: [u8; 4] = stream.bytes()?;
        let length = u64::from(stream.u32_le()?);
        let end = stream.at() + length.next_multiple_of(2);
        if name == *b"XMP " {
            match bytes(stream, length, XMP_BYTES_MAX)? {
                Some(packet) => found.take_xmp(packet),
                None => found.warn("the XMP is too large and is not carried over"),
            }
        }
        stream.seek_to(end)?;
    }
    Ok(())
}
