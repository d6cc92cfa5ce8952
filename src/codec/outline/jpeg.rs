//! Owns the walk through a JPEG's markers, from SOI through every scan to EOI. Never decodes entropy.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};
use crate::codec::raw::{Alpha, Ink, Model, RawLayout, Sample};
use crate::size::Size;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

/// A frame whose scans refine one another.
const PROGRESSIVE: u8 = 0xC2;

/// Adobe's segment begins so; its last byte tells how colours were transformed.
const APP14: u8 = 0xEE;
const ADOBE: &[u8; 5] = b"Adobe";

/// Rows of blocks that a decoder keeps: the tallest MCU has four, twice for its neighbours.
const BLOCK_ROWS_HELD: u64 = 8;

/// Finds the EOI that ends the first picture. What follows it (a Motion Photo's video, an MPO's second
/// picture, padding) does not matter, and an EOI inside it proves nothing about the picture; neither does one
/// inside a thumbnail, which lies in a segment and is skipped with it.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(2)?;
    let mut frame: Option<Frame> = None;
    let mut scans = 0u32;
    let mut adobe = None;
    loop {
        let marker = next_marker(stream)?;
        match marker {
            EOI if scans == 0 => return Err(Flaw::Damaged("it holds no picture")),
            EOI => {
                outline.image_end = Some(stream.at());
                return Ok(());
            }
            // Another file begins in the middle of this one.
            SOI if scans > 0 => return Err(Flaw::Short),
            SOI | 0x01 => {}
            SOS => {
                let components = segment(stream, |stream| stream.byte())?;
                scans += 1;
                if scans == 1 {
                    outline.header_end = Some(stream.at());
                    // The decoder keeps profiles and EXIF, and a segment once more while it looks at it.
                    outline.add_work(stream.at() * 2);
                    let frame = frame.ok_or(Flaw::Damaged("it has no frame header"))?;
                    outline.add_work(frame.work_bytes(components));
                    outline.raw = frame.ink(adobe);
                    outline.apart = frame.marker != PROGRESSIVE && components < frame.components;
                    if outline.apart && frame.components == 4 {
                        let what = "it is a CMYK JPEG whose inks come one after the other; save it anew";
                        outline.refusal.get_or_insert(what.to_owned());
                    }
                }
            }
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) && scans == 0 => {
                let read = segment(stream, |stream| Frame::read(stream, marker))?;
                outline.size = Some(read.size);
                outline.stored_bits = read.bits;
                outline.refusal = read.refusal();
                frame = Some(read);
            }
            APP14 if scans == 0 => {
                // The last one counts, as for the decoder.
                adobe = adobe_transform(stream)?.or(adobe);
            }
            // Tables, application data, comments: also between scans.
            0xC4 | 0xCC | 0xDB..=0xDD | 0xE0..=0xEF | 0xFE => {
                segment(stream, |_| Ok(()))?;
            }
            _ if scans == 0 => {
                segment(stream, |_| Ok(()))?;
            }
            // No marker that can stand between scans: flipped bits. The decoder copes or complains.
            _ => {}
        }
    }
}

/// The code of the next marker. Stuffed zeros, restarts and fill bytes belong to entropy-coded data.
fn next_marker<R: Read + Seek>(stream: &mut Stream<R>) -> Result<u8, Flaw> {
    loop {
        stream.skip_past(0xFF)?;
        let mut code = stream.byte()?;
        while code == 0xFF {
            code = stream.byte()?;
        }
        if !matches!(code, 0x00 | 0xD0..=0xD7) {
            return Ok(code);
        }
    }
}

/// Reads from a segment and goes behind it.
fn segment<R: Read + Seek, T>(
    stream: &mut Stream<R>,
    read: impl FnOnce(&mut Stream<R>) -> Result<T, Flaw>,
) -> Result<T, Flaw> {
    let begin = stream.at();
    let length = stream.u16_be()?;
    let value = read(stream)?;
    let end = begin + u64::from(length);
    if end < stream.at() {
        return Err(Flaw::Damaged("a segment is shorter than what it holds"));
    }
    stream.seek_to(end)?;
    Ok(value)
}

/// Reads APP14 and goes behind it: how colours were transformed, if it is Adobe's.
fn adobe_transform<R: Read + Seek>(stream: &mut Stream<R>) -> Result<Option<u8>, Flaw> {
    const ADOBE_BYTES: u16 = 14;
    let begin = stream.at();
    let length = stream.u16_be()?;
    let mut transform = None;
    if length >= ADOBE_BYTES && stream.bytes::<5>()? == *ADOBE {
        let [.., last] = stream.bytes::<7>()?;
        transform = Some(last);
    }
    stream.seek_to(begin + u64::from(length.max(2)))?;
    Ok(transform)
}

/// A frame header (SOF).
#[derive(Debug, Clone, Copy)]
struct Frame {
    marker: u8,
    bits: u8,
    size: Size,
    components: u8,
    /// Blocks of all components in an MCU.
    blocks: u64,
    /// Columns × rows of an MCU.
    mcu: Size,
}

impl Frame {
    fn read<R: Read + Seek>(stream: &mut Stream<R>, marker: u8) -> Result<Self, Flaw> {
        let bits = stream.byte()?;
        let height = stream.u16_be()?;
        let width = stream.u16_be()?;
        let components = stream.byte()?;
        let (mut blocks, mut across, mut down) = (0, 1, 1);
        for _ in 0..components {
            let [_, factors, _] = stream.bytes()?;
            // The format has 1 to 4; a decoder will complain about anything else.
            let (columns, rows) = ((factors >> 4).clamp(1, 4), (factors & 0x0F).clamp(1, 4));
            blocks += u64::from(columns) * u64::from(rows);
            across = across.max(u32::from(columns));
            down = down.max(u32::from(rows));
        }
        Ok(Self {
            marker,
            bits,
            size: Size::new(width.into(), height.into()),
            components,
            blocks,
            mcu: Size::new(8 * across, 8 * down),
        })
    }

    /// Of four components, which are taken as they are; the decoder makes grey or RGB of all others.
    fn ink(self, adobe: Option<u8>) -> Option<RawLayout> {
        let model = match (self.components, adobe) {
            (4, Some(2)) => Model::Ycck,
            (4, Some(_)) => Model::Cmyk(Ink::None),
            (4, None) => Model::Cmyk(Ink::Full),
            _ => return None,
        };
        Some(RawLayout {
            model,
            alpha: Alpha::None,
            sample: Sample::Eight,
        })
    }

    fn refusal(self) -> Option<String> {
        let kind = match self.marker {
            0xC3 => "lossless",
            0xC5..=0xC7 => "hierarchical",
            0xC9..=0xCF => "arithmetic-coded",
            _ if self.bits != 8 => "12-bit",
            _ if self.components == 2 => "two-coloured",
            _ => return None,
        };
        Some(format!("it is a {kind} JPEG; save it as PNG or TIFF"))
    }

    /// Rows of blocks, and all coefficients where scans refine or complete one another.
    fn work_bytes(self, components_in_scan: u8) -> u64 {
        /// Side of the largest MCU.
        const MCU: u64 = 32;
        /// A coefficient.
        const BYTES: u64 = size_of::<i16>() as u64;
        let components = u64::from(self.components);
        let width = u64::from(self.size.width).next_multiple_of(MCU);
        let rows = width * BLOCK_ROWS_HELD * 8 * components * BYTES;
        let mcus = u64::from(self.size.width.div_ceil(self.mcu.width))
            * u64::from(self.size.height.div_ceil(self.mcu.height));
        if self.marker == PROGRESSIVE {
            rows + mcus * self.blocks * 64 * BYTES
        } else if components_in_scan < self.components {
            // Their samples as they are decoded, of four bytes while a scan is, and the picture made of them.
            rows + mcus * self.blocks * 64 * 4 + self.size.pixels() * components
        } else {
            rows
        }
    }
}
