//! Owns the boxes and the first bits of a JPEG XL: how large it is, and whether its end is there. Never decodes more
//! than the size and how it is turned.

use std::io::{Read, Seek};

use brotli_decompressor::Decompressor;

use super::boxes::{self, FileBox, behind_offset};
use super::stream::Stream;
use super::{Extent, Flaw, MOST_METADATA_BYTES, Outline};
use crate::size::Size;

/// Enough for the size and the orientation: 2 + 2×32 + 3 bits and a few.
const HEAD_BYTES: usize = 12;

/// Bytes that the decoder holds for a pixel: three colours and alpha as 32-bit numbers, before and after they are
/// filtered or changed, and once more for what frames refer to.
const PIXEL_BYTES: u64 = 56;

/// What it holds besides: histograms, tables and groups under way.
const BASE_BYTES: u64 = 24 << 20;

/// What the unpacking of metadata reads at once.
const UNPACKING_BYTES: usize = 4096;

/// Walks the boxes; of a bare codestream nothing tells where it ends.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    let [first, second] = stream.bytes()?;
    if [first, second] == [0xFF, 0x0A] {
        outline.open_ended = true;
        outline.parts.push(Extent {
            at: 0,
            bytes: stream.len(),
        });
        return head(stream, outline);
    }
    stream.seek_to(0)?;
    let mut is_last = false;
    while let Some(found) = boxes::next(stream)? {
        match &found.name {
            b"jxlc" | b"jxlp" => {
                let is_part = found.name == *b"jxlp";
                // Parts are numbered, and the last one is marked.
                is_last = !is_part || stream.u32_be()? >> 31 != 0;
                outline.parts.push(Extent {
                    at: stream.at(),
                    bytes: found.end.saturating_sub(stream.at()),
                });
                if outline.size.is_none() {
                    stream.skip(2)?;
                    head(stream, outline)?;
                }
            }
            b"Exif" => outline.exif = metadata(stream, outline, &found, *b"Exif")?,
            b"xml " => outline.xmp = metadata(stream, outline, &found, *b"xml ")?,
            b"brob" => match &stream.bytes()? {
                b"Exif" => outline.exif = metadata(stream, outline, &found, *b"Exif")?,
                b"xml " => outline.xmp = metadata(stream, outline, &found, *b"xml ")?,
                _ => {}
            },
            _ => {}
        }
        outline.open_ended = found.open_ended;
        stream.seek_to(found.end)?;
    }
    if is_last { Ok(()) } else { Err(Flaw::Short) }
}

/// Reads EXIF or XMP, unpacking it where it is packed.
fn metadata<R: Read + Seek>(
    stream: &mut Stream<R>,
    outline: &mut Outline,
    found: &FileBox,
    kind: [u8; 4],
) -> Result<Option<Vec<u8>>, Flaw> {
    let what = if kind == *b"Exif" { "the EXIF" } else { "the XMP" };
    let bytes = found.end.saturating_sub(stream.at());
    if bytes > MOST_METADATA_BYTES {
        outline
            .warnings
            .push(format!("{what} is longer than 16 MiB and is not carried over"));
        return Ok(None);
    }
    let mut data = vec![0; bytes as usize];
    stream.fill(&mut data)?;
    if found.name == *b"brob" {
        // A few bytes may unpack to gigabytes.
        let mut unpacked = Vec::new();
        let packed = Decompressor::new(&data[..], UNPACKING_BYTES);
        let read = packed.take(MOST_METADATA_BYTES + 1).read_to_end(&mut unpacked);
        if read.is_err() || unpacked.len() as u64 > MOST_METADATA_BYTES {
            outline
                .warnings
                .push(format!("{what} is damaged and is not carried over"));
            return Ok(None);
        }
        data = unpacked;
    }
    outline.add_work(data.len() as u64 * 2);
    if kind == *b"Exif" {
        return Ok(behind_offset(data));
    }
    Ok(Some(data))
}

/// Reads the beginning of a codestream, behind its mark.
fn head<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    // A tiny picture may have fewer bytes than that.
    let there = (stream.len() - stream.at()).min(HEAD_BYTES as u64) as usize;
    let mut head = [0; HEAD_BYTES];
    stream.fill(&mut head[..there])?;
    if there == 0 {
        return Err(Flaw::Short);
    }
    let mut bits = Bits { bytes: &head, at: 0 };
    let stored = bits.size();
    // The decoder turns while it writes, so that for everybody else it is stored upright.
    let size = match bits.orientation() {
        5..=8 => Size::new(stored.height, stored.width),
        _ => stored,
    };
    outline.size = Some(size);
    outline.add_work(size.pixels().saturating_mul(PIXEL_BYTES));
    outline.add_work(BASE_BYTES);
    // The packed bytes, joined, and parts of them in frames.
    outline.add_work(stream.len().saturating_mul(3));
    Ok(())
}

/// Bits, the lowest of a byte first; zeros behind the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> u32 {
        let bit = |at: usize| self.bytes.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1);
        let value = (0..count).fold(0, |sum, index| sum | u32::from(bit(self.at + index)) << index);
        self.at += count;
        value
    }

    fn size(&mut self) -> Size {
        let small = self.take(1) == 1;
        let height = self.side(small);
        let of_height = |numerator: u64, denominator: u64| {
            u32::try_from(u64::from(height) * numerator / denominator).unwrap_or(u32::MAX)
        };
        let width = match self.take(3) {
            0 => self.side(small),
            1 => height,
            2 => of_height(12, 10),
            3 => of_height(4, 3),
            4 => of_height(3, 2),
            5 => of_height(16, 9),
            6 => of_height(5, 4),
            _ => of_height(2, 1),
        };
        Size::new(width, height)
    }

    fn side(&mut self, small: bool) -> u32 {
        if small {
            return (self.take(5) + 1) * 8;
        }
        let bits = [9, 13, 18, 30][self.take(2) as usize];
        self.take(bits) + 1
    }

    /// 1..=8, from the beginning of what follows the size.
    fn orientation(&mut self) -> u32 {
        let all_default = self.take(1) == 1;
        if all_default || self.take(1) == 0 {
            return 1;
        }
        self.take(3) + 1
    }
}
