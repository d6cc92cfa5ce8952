//! Owns a first look at the colour profile of a JPEG XL: how long it claims to be, before the decoder makes room for
//! it. Never unpacks one.
//!
//! The decoder's limit counts what it holds of pixels. A profile it takes in beside them, and a few bytes may claim, and
//! unpack to, 256 MiB.

use std::fs::File;
use std::io::Read;

use image::ImageError;
use jxl_bitstream::Bitstream;
use jxl_coding::Decoder;
use jxl_oxide::ImageHeader;
use jxl_oxide_common::Bundle;

use super::{damaged, image_error};
use crate::codec::bands::parts::Parts;
use crate::codec::outline::{MOST_METADATA_BYTES, Outline};

/// Most bytes from the beginning to where the packed profile begins: real files have a few hundred, with 256 channels
/// that have names some hundred thousand.
const MOST_HEADER_BYTES: u64 = 512 << 10;

/// Kinds of bytes that are packed each in their own way.
const CONTEXTS: u32 = 41;

/// Most bytes of a number that has seven bits in each.
const NUMBER_BYTES: u64 = 9;

/// Times that an unpacked profile is held: as it is, for the result, for the pixels, and as we are given it.
const COPIES: u64 = 4;

/// Most bytes that the decoder holds for the profile; nothing where there is none.
///
/// # Errors
/// When it claims to be longer than any is.
pub(super) fn work_bytes(file: &File, outline: &Outline) -> Result<u64, ImageError> {
    let mut head = Vec::new();
    Parts::new(file, &outline.parts)
        .take(MOST_HEADER_BYTES)
        .read_to_end(&mut head)
        .map_err(ImageError::IoError)?;
    let mut bits = Bitstream::new(&head);
    let claimed = match ImageHeader::parse(&mut bits, ()) {
        Ok(header) if !header.metadata.colour_encoding.want_icc() => return Ok(0),
        Ok(_) => claims(&mut bits),
        Err(error) => Err(error.into()),
    };
    let (packed, unpacked) = match claimed {
        Ok(claimed) => claimed,
        Err(error) if error.unexpected_eof() && head.len() as u64 == MOST_HEADER_BYTES => {
            return Err(damaged("its header is longer than 512 KiB"));
        }
        Err(error) if error.unexpected_eof() => {
            return Err(ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Err(error) => return Err(image_error(error.into())),
    };
    if packed.max(unpacked) > MOST_METADATA_BYTES {
        return Err(damaged("its colour profile claims to be longer than 16 MiB"));
    }
    Ok(packed + unpacked * COPIES)
}

/// Lengths of the profile, packed and unpacked.
fn claims(bits: &mut Bitstream<'_>) -> Result<(u64, u64), jxl_coding::Error> {
    let packed = bits.read_u64()?;
    let mut decoder = Decoder::parse(bits, CONTEXTS)?;
    decoder.begin(bits)?;
    let mut unpacked = 0;
    for index in 0..packed.min(NUMBER_BYTES) {
        // All of the beginning is of one kind.
        let byte = u64::from(decoder.read_varint(bits, 0)?);
        unpacked |= (byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok((packed, unpacked))
}
