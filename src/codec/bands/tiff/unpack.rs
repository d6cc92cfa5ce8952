//! Owns the compressions of TIFF. Fills what it is given and holds no more than a decoder's tables, apart from JPEG,
//! whose decoder takes and gives all at once.

use std::io::{self, BufRead, Read};

use fax::Color;
use fax::decoder::{DecodeStatus, Group3Decoder, Group4Decoder, pels};
use flate2::bufread::ZlibDecoder;
use image::ImageError;
use weezl::{BitOrder, LzwStatus};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::Trouble;
use super::damaged;
use crate::codec::outline::{Compression, Page};

/// Fills `bytes` with the first `lines` rows of a strip or tile that is `width` pixels wide.
pub(super) fn unpack(
    page: &Page,
    width: u32,
    lines: u32,
    jpeg_tables: Option<&[u8]>,
    packed: &mut impl BufRead,
    bytes: &mut [u8],
) -> Result<(), Trouble> {
    match page.compression() {
        Some(Compression::None) => packed.read_exact(bytes).map_err(io_error),
        Some(Compression::Deflate) => ZlibDecoder::new(packed).read_exact(bytes).map_err(io_error),
        Some(Compression::Lzw) => lzw(packed, bytes),
        Some(Compression::PackBits) => pack_bits(packed, bytes).map_err(io_error),
        Some(Compression::Jpeg) => jpeg(page, width, lines, jpeg_tables, packed, bytes),
        Some(Compression::Fax3 | Compression::Fax4) => fax(page, width, packed, bytes),
        None => Err(Trouble::Changed),
    }
}

fn io_error(error: io::Error) -> Trouble {
    ImageError::IoError(error).into()
}

fn lzw(packed: &mut impl BufRead, bytes: &mut [u8]) -> Result<(), Trouble> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut filled = 0;
    let mut is_first = true;
    while filled < bytes.len() {
        let input = packed.fill_buf().map_err(io_error)?;
        // Before version 6, codes were written from the lowest bit on; such a stream begins with 0x00 0x01.
        if std::mem::take(&mut is_first) && input.starts_with(&[0, 1]) {
            return Err(damaged("its LZW is of the old kind; save it anew"));
        }
        let result = decoder.decode_bytes(input, &mut bytes[filled..]);
        filled += result.consumed_out;
        packed.consume(result.consumed_in);
        match result.status {
            Ok(LzwStatus::Done) if filled < bytes.len() => {
                return Err(io_error(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(LzwStatus::NoProgress) => return Err(io_error(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(damaged(error)),
        }
    }
    Ok(())
}

fn pack_bits(packed: &mut impl BufRead, bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let mut byte = [0];
        packed.read_exact(&mut byte)?;
        let left = bytes.len() - filled;
        // The sign tells: so many bytes as they are, or one of them so often. -128 means nothing.
        match i16::from(byte[0].cast_signed()) {
            -128 => {}
            count @ 0.. => {
                let count = (count as usize + 1).min(left);
                packed.read_exact(&mut bytes[filled..filled + count])?;
                filled += count;
            }
            count => {
                let count = ((1 - count) as usize).min(left);
                packed.read_exact(&mut byte)?;
                bytes[filled..filled + count].fill(byte[0]);
                filled += count;
            }
        }
    }
    Ok(())
}

/// A JPEG whose tables may be kept elsewhere. Its components come as they are stored: the directory says what they
/// mean.
fn jpeg(
    page: &Page,
    width: u32,
    lines: u32,
    tables: Option<&[u8]>,
    packed: &mut impl BufRead,
    bytes: &mut [u8],
) -> Result<(), Trouble> {
    /// Begin and end of an image, a marker each.
    const MARKER_BYTES: usize = 2;
    let mut data = Vec::new();
    if let Some(tables) = tables {
        data.extend_from_slice(&tables[..tables.len().saturating_sub(MARKER_BYTES)]);
        packed.read_exact(&mut [0; MARKER_BYTES]).map_err(io_error)?;
    }
    packed.read_to_end(&mut data).map_err(io_error)?;
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(side)
        .set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&data), options);
    decoder
        .decode_headers()
        .map_err(|error| damaged(error.to_string()))?;
    let (Some(stored), Some((wide, high))) = (decoder.input_colorspace(), decoder.dimensions()) else {
        return Err(Trouble::Changed);
    };
    let row_bytes = bytes.len() / lines.max(1) as usize;
    let fits = stored.num_components() as u64 == page.chunk_samples()
        && wide == width as usize
        && high >= lines as usize
        && high as u64 <= page.chunk().1;
    if !fits {
        return Err(damaged("a JPEG in it is not as its directory says"));
    }
    decoder.set_options(options.jpeg_set_out_colorspace(stored));
    let mut pixels = vec![0; row_bytes * high];
    decoder
        .decode_into(&mut pixels)
        .map_err(|error| damaged(error.to_string()))?;
    bytes.copy_from_slice(&pixels[..bytes.len()]);
    Ok(())
}

/// Black is 1, as everywhere in TIFF where a fax is not what it says.
fn fax(page: &Page, width: u32, packed: &mut impl BufRead, bytes: &mut [u8]) -> Result<(), Trouble> {
    let width = u16::try_from(width).map_err(|_| Trouble::Changed)?;
    let rows = bytes.chunks_exact_mut(usize::from(width).div_ceil(8));
    let wrong = || damaged("a fax in it is damaged");
    let line = |transitions: &[u16], row: &mut [u8]| {
        row.fill(0);
        for (at, color) in pels(transitions, width).enumerate() {
            if color == Color::Black {
                row[at / 8] |= 0x80 >> (at % 8);
            }
        }
    };
    let input = packed.bytes();
    if page.compression() == Some(Compression::Fax4) {
        let mut decoder = Group4Decoder::new(input, width).map_err(io_error)?;
        for row in rows {
            match decoder.advance().map_err(|_| wrong())? {
                DecodeStatus::Incomplete => line(decoder.transition(), row),
                DecodeStatus::End => return Err(wrong()),
            }
        }
    } else {
        let mut decoder = Group3Decoder::new(input).map_err(|_| wrong())?;
        let last = rows.len().saturating_sub(1);
        for (at, row) in rows.enumerate() {
            let ended_well = decoder.advance().is_ok();
            line(decoder.transitions(), row);
            // Behind the last row some writers leave the mark of its end out.
            if !ended_well && at < last {
                return Err(wrong());
            }
        }
    }
    Ok(())
}

/// Bytes whose lowest bit came first.
pub(super) struct BitReversed<R>(pub(super) R);

impl<R: Read> Read for BitReversed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(bytes)?;
        bytes[..count]
            .iter_mut()
            .for_each(|byte| *byte = byte.reverse_bits());
        Ok(count)
    }
}
