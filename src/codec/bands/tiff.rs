//! Owns the strips and tiles of a TIFF's page. Holds the band that it is asked for, and besides it at most one strip
//! or tile, where samples must change their places. Of what is not compressed it reads single rows.
//!
//! The road not taken: the `tiff` crate's reader, which knows no palettes, no Lab, no faxes of group 3, no ink with
//! alpha and no few bits of colour, and holds compressed data it need not hold.

mod samples;
mod unpack;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use image::ImageError;
use image::error::{DecodingError, ImageFormatHint};

use super::{Bands, Trouble};
use crate::codec::file::Source;
use crate::codec::outline::{Compression, Flaw, Page, Stream};
use crate::codec::raw::RawLayout;
use crate::size::Size;
use samples::{Reshape, native, unpredict};

/// Strips or tiles whose places are known.
pub(super) struct Chunks {
    file: BufReader<File>,
    page: Box<Page>,
    raw: RawLayout,
    size: Size,
    /// Columns × rows of a strip or tile; of plain rows, one.
    chunk: Size,
    /// Where they begin, and how long they are.
    places: Vec<(u64, u64)>,
    /// What the JPEGs of a page share.
    jpeg_tables: Option<Vec<u8>>,
    /// How samples change their places; `None` where they need not.
    reshape: Option<Reshape>,
    /// A strip or tile that is to be taken apart.
    scratch: Vec<u8>,
    /// The next row's number.
    next: u32,
}

impl Chunks {
    pub(super) fn open(source: Source, raw: RawLayout) -> Result<Self, Trouble> {
        let Some(page) = source.outline.tiff else {
            return Err(Trouble::Changed);
        };
        let (chunk_width, chunk_height) = page.chunk();
        let side = |side: u64| u32::try_from(side).ok().filter(|side| *side > 0);
        let (Some(chunk_width), Some(chunk_height)) = (side(chunk_width), side(chunk_height)) else {
            return Err(damaged("its strips or tiles have no size"));
        };
        let mut stream = Stream::of(&source.file).map_err(ImageError::IoError)?;
        let places = places(&page, &mut stream).map_err(trouble)?;
        let jpeg_tables = page.jpeg_tables(&mut stream);
        let down = source.size.height.div_ceil(chunk_height) as usize;
        let across = source.size.width.div_ceil(chunk_width) as usize;
        let planes = if page.is_planar() {
            page.samples as usize
        } else {
            1
        };
        if places.len() < down.saturating_mul(across).saturating_mul(planes) {
            return Err(damaged("it has too few strips or tiles"));
        }
        let reshape = (!page.is_in_place(raw)).then(|| Reshape::new(&page, raw));
        Ok(Self {
            file: BufReader::with_capacity(1 << 16, source.file),
            raw,
            size: source.size,
            chunk: Size::new(chunk_width, chunk_height),
            places,
            jpeg_tables,
            reshape,
            scratch: Vec::new(),
            next: 0,
            page,
        })
    }

    fn row_bytes(&self) -> usize {
        self.raw.row_bytes(self.size.width)
    }

    /// Bytes of a row of a strip or tile as it is stored.
    fn stored_row_bytes(&self) -> usize {
        let bits = u64::from(self.chunk.width) * self.page.bits * self.page.chunk_samples();
        bits.div_ceil(8) as usize
    }

    /// Reads a band: all strips or tiles of one height.
    fn read_band(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let across = self.size.width.div_ceil(self.chunk.width);
        let in_plane = self.size.height.div_ceil(self.chunk.height) * across;
        let planes = if self.page.is_planar() {
            self.page.samples as u32
        } else {
            1
        };
        let lines = (rows.len() / self.row_bytes()) as u32;
        let stored_row = self.stored_row_bytes();
        for plane in 0..planes {
            if !self.reshape.as_ref().is_none_or(|reshape| reshape.wants(plane)) {
                continue;
            }
            for column in 0..across {
                let index = plane * in_plane + self.next / self.chunk.height * across + column;
                if self.reshape.is_none() {
                    self.unpack(index, lines, rows)?;
                    self.finish(rows);
                    continue;
                }
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.resize(stored_row * lines as usize, 0);
                self.unpack(index, lines, &mut scratch)?;
                self.finish(&mut scratch);
                let left = column * self.chunk.width;
                let width = self.chunk.width.min(self.size.width - left);
                let to = rows.chunks_exact_mut(self.row_bytes());
                if let Some(reshape) = &self.reshape {
                    for (to, from) in to.zip(scratch.chunks_exact(stored_row)) {
                        reshape.row(from, plane, left as usize, width as usize, to);
                    }
                }
                self.scratch = scratch;
            }
        }
        if self.reshape.is_none() {
            samples::adjust(&self.page, self.raw, rows);
        }
        Ok(())
    }

    /// The first `lines` rows of a strip or tile, as they were before they were compressed.
    fn unpack(&mut self, index: u32, lines: u32, bytes: &mut [u8]) -> Result<(), Trouble> {
        let Some((place, length)) = self.places.get(index as usize).copied() else {
            return Err(damaged("it has too few strips or tiles"));
        };
        let into = if self.page.is_plain() {
            // A row in its strip.
            u64::from(self.next % self.chunk.height) * bytes.len() as u64 / u64::from(lines.max(1))
        } else {
            0
        };
        let most = if self.page.compression() == Some(Compression::None) {
            u64::MAX
        } else {
            length
        };
        let page = &self.page;
        let mut packed = go_to(&mut self.file, place.saturating_add(into))?.take(most);
        if page.is_bit_reversed() {
            let mut reversed = BufReader::new(unpack::BitReversed(&mut packed));
            return unpack::unpack(page, self.chunk.width, lines, None, &mut reversed, bytes);
        }
        let tables = self.jpeg_tables.as_deref();
        unpack::unpack(page, self.chunk.width, lines, tables, &mut packed, bytes)
    }

    /// The machine's byte order, and values instead of differences.
    fn finish(&self, bytes: &mut [u8]) {
        for row in bytes.chunks_exact_mut(self.stored_row_bytes()) {
            let (page, samples) = (&self.page, self.page.chunk_samples() as usize);
            if page.predictor() != 3 {
                native(row, page.bits, page.dialect.big_endian);
            }
            unpredict(row, page.bits, samples, page.predictor());
        }
    }
}

impl Bands for Chunks {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let height = if self.page.is_plain() {
            1
        } else {
            self.chunk.height
        };
        let band_bytes = self.row_bytes() * height.min(self.size.height) as usize;
        for band in rows.chunks_mut(band_bytes) {
            self.read_band(band)?;
            self.next += (band.len() / self.row_bytes()) as u32;
        }
        Ok(())
    }
}

/// Goes to a place in the file. Relative, so that a buffer that reaches there is kept.
fn go_to(file: &mut BufReader<File>, place: u64) -> Result<&mut BufReader<File>, ImageError> {
    let here = file.stream_position().map_err(ImageError::IoError)?;
    let moved = match i64::try_from(i128::from(place) - i128::from(here)) {
        Ok(distance) => file.seek_relative(distance),
        Err(_) => file.seek(SeekFrom::Start(place)).map(drop),
    };
    moved.map_err(ImageError::IoError)?;
    Ok(file)
}

/// Where strips or tiles begin and how long they are.
fn places(page: &Page, stream: &mut Stream<&File>) -> Result<Vec<(u64, u64)>, Flaw> {
    let Some(offsets) = page.offsets else {
        return Ok(Vec::new());
    };
    // The walk saw that the tables lie inside the file.
    let most = page.lengths.map_or(u64::MAX, |lengths| lengths.count);
    let count = offsets.count.min(most).min(stream.len());
    let places = page.dialect.values(stream, &offsets, 0, count)?;
    let lengths = match page.lengths {
        Some(lengths) => page.dialect.values(stream, &lengths, 0, count)?,
        None => vec![u64::MAX; places.len()],
    };
    Ok(places.into_iter().zip(lengths).collect())
}

fn trouble(flaw: Flaw) -> Trouble {
    match flaw {
        Flaw::Io(error) => ImageError::IoError(error).into(),
        Flaw::Short => ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()).into(),
        Flaw::Damaged(detail) => damaged(detail),
    }
}

/// In the words that the `image` crate, which reads other formats, has for it.
fn damaged(detail: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Trouble {
    let format = ImageFormatHint::Exact(image::ImageFormat::Tiff);
    ImageError::Decoding(DecodingError::new(format, detail)).into()
}
