//! Owns the walk through a PNG's chunks, from IHDR to IEND, and what they say of frames. Never inflates one and
//! trusts no length.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline, delay};
use crate::codec::convert::is_hdr;
use crate::size::Size;

const SIGNATURE_BYTES: u64 = 8;
const CRC_BYTES: u64 = 4;

/// Rows that the decoder keeps: it shifts its buffer back after four, which may then be half full, and the buffer
/// grows by doubling: old and new at once.
const ROWS_HELD: u64 = 24;

/// What a PNG says of its colours, apart from an ICC profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::codec) struct ColorChunks {
    /// Primaries, transfer, matrix and range as CICP numbers them.
    pub(in crate::codec) cicp: Option<[u8; 4]>,
    /// It is sRGB.
    pub(in crate::codec) srgb: bool,
    /// 100,000 times the exponent with which light became samples.
    pub(in crate::codec) gamma: Option<u32>,
    /// 100,000 times x and y of white, red, green and blue.
    pub(in crate::codec) chromaticities: Option<[u32; 8]>,
}

impl ColorChunks {
    /// Why such samples are not processed, and what to do.
    pub(super) fn refusal(self) -> Option<String> {
        let [_, transfer, matrix, _] = self.cicp?;
        if is_hdr(transfer) {
            return Some(
                "it is an HDR picture (PQ or HLG); save it for a normal screen, in sRGB or Display P3".into(),
            );
        }
        (matrix != 0).then(|| "its samples are not RGB; save it as RGB".to_owned())
    }
}

/// Finds IEND.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(SIGNATURE_BYTES)?;
    let mut has_data = false;
    let mut animation = Frames::default();
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
                // Expanded, with alpha.
                let expanded = if matches!(color, 0 | 4) { 2 } else { 4 };
                animation.pixel_bytes = expanded * if bits == 16 { 2 } else { 1 };
                let row_bits =
                    outline.size.map_or(0, |size| u64::from(size.width)) * samples * u64::from(bits);
                outline.add_work(ROWS_HELD * (row_bits.div_ceil(8) + 1));
                // The first row of an interlaced picture is complete after its last pass.
                outline.band_rows = u32::from(interlace == 0);
            }
            b"IHDR" => return Err(Flaw::Damaged("its header has the wrong length")),
            // The first of each kind counts.
            b"cICP" if length == 4 && outline.colors.cicp.is_none() => {
                outline.colors.cicp = Some(stream.bytes()?);
                outline.refusal = outline.colors.refusal();
            }
            b"sRGB" => outline.colors.srgb = true,
            b"gAMA" if length == 4 && outline.colors.gamma.is_none() => {
                outline.colors.gamma = Some(stream.u32_be()?);
            }
            b"cHRM" if length == 32 && outline.colors.chromaticities.is_none() => {
                let mut values = [0; 8];
                for value in &mut values {
                    *value = stream.u32_be()?;
                }
                outline.colors.chromaticities = Some(values);
            }
            // Behind the pixels it is too late: no viewer looks for it there.
            b"acTL" if length == 8 && !has_data => {
                animation.promised = stream.u32_be()?.into();
                animation.loops = stream.u32_be()?;
                outline.pictures = animation.promised.max(1);
            }
            b"fcTL" if length == 26 && animation.promised > 0 => animation.frame(stream, outline)?,
            b"IDAT" => {
                outline.understudy = animation.found == 0;
                has_data = true;
            }
            b"IEND" if !has_data => return Err(Flaw::Damaged("it holds no picture")),
            b"IEND" => {
                animation.finish(outline)?;
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

/// What becomes of a frame before the next one.
const CLEAR: u8 = 1;
const RESTORE: u8 = 2;

/// What is known of the frames of an animation.
#[derive(Debug, Default)]
struct Frames {
    /// So many must come; 0 where there is no animation.
    promised: u64,
    found: u64,
    loops: u32,
    /// With alpha.
    pixel_bytes: u64,
    restores: bool,
}

impl Frames {
    /// Reads a frame's header.
    fn frame<R: Read + Seek>(&mut self, stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
        stream.skip(4)?;
        let size = Size::new(stream.u32_be()?, stream.u32_be()?);
        let place = (stream.u32_be()?, stream.u32_be()?);
        let (numerator, denominator) = (stream.u16_be()?, stream.u16_be()?);
        let disposal = stream.byte()?;
        if self.found == 0 {
            outline.holes |= place != (0, 0) || outline.size != Some(size);
        }
        outline.holes |= disposal == CLEAR || disposal == RESTORE;
        self.restores |= disposal == RESTORE;
        self.found += 1;
        // Without a number below the line, hundredths are meant.
        let denominator = if denominator == 0 { 100 } else { denominator };
        let canvas_px = outline.size.map_or(0, Size::pixels);
        outline.add_frame(canvas_px, delay(numerator.into(), denominator.into()));
        Ok(())
    }

    /// The end was reached.
    fn finish(&self, outline: &mut Outline) -> Result<(), Flaw> {
        if self.promised == 0 {
            outline.understudy = false;
            return Ok(());
        }
        if self.found != self.promised {
            return Err(Flaw::Damaged("it has not as many frames as it says"));
        }
        // One frame that is the picture itself is no animation at all.
        if self.found == 1 && !outline.understudy {
            outline.holes = false;
            return Ok(());
        }
        if let Some(animation) = &mut outline.animation {
            animation.loops = self.loops;
        }
        outline.framed = true;
        outline.band_rows = 0;
        // The canvas, the frame, and the canvas as it was.
        let canvases = if self.restores { 3 } else { 2 };
        let canvas_px = outline.size.map_or(0, Size::pixels);
        outline.add_work(canvas_px.saturating_mul(canvases * self.pixel_bytes));
        Ok(())
    }
}
