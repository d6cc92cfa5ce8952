//! Owns the walk through a TIFF's directories, classic and big: pages, kind of samples, and whether every strip
//! or tile lies inside the file. Never decodes one.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};
use crate::size::Size;

/// Most directories that are followed: for a refusal, more pages are as good as endless.
const MOST_DIRECTORIES: u64 = 4096;

/// Most entries of a directory. The standards know about two hundred tags.
const MOST_ENTRIES: u64 = 4096;

/// Values that are read at once from the tables of offsets and lengths.
const VALUES_PER_BLOCK: u64 = 8192;

/// Compression schemes whose data the decoder takes in whole.
const JPEG: u64 = 7;
const WEBP: u64 = 50_001;

/// What the decoder spends on a strip's or tile's place and length.
const TABLE_ENTRY_BYTES: u64 = 128;

/// Follows the chain of directories.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    let (dialect, mut next) = Dialect::read(stream)?;
    // Written last by those who write front to back.
    if next == 0 {
        return Err(Flaw::Short);
    }
    let mut seen = BTreeSet::new();
    for index in 0..MOST_DIRECTORIES {
        if !seen.insert(next) {
            return Err(Flaw::Damaged("its directories form a loop"));
        }
        stream.seek_to(next)?;
        let (entries, following) = dialect.directory(stream)?;
        if index == 0 {
            let page = Page::read(stream, dialect, &entries)?;
            page.describe(outline);
            page.check_data(stream, dialect, outline)?;
        } else if !dialect.is_reduced(&entries) {
            outline.pictures += 1;
        }
        next = following;
        if next == 0 {
            break;
        }
    }
    Ok(())
}

/// A smaller version of another page, or the mask of one.
const REDUCED_OR_MASK: u64 = 0b101;

/// Byte order and width of offsets.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    big_endian: bool,
    wide: bool,
}

/// A directory's entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    value_bytes: u64,
    count: u64,
    /// The value itself where it fits, else its place; the first bytes of eight.
    field: [u8; 8],
}

impl Dialect {
    /// Reads the file header; also gives the place of the first directory.
    fn read<R: Read + Seek>(stream: &mut Stream<R>) -> Result<(Self, u64), Flaw> {
        let order: [u8; 2] = stream.bytes()?;
        let mut dialect = Self {
            big_endian: order == *b"MM",
            wide: false,
        };
        dialect.wide = dialect.number(stream, 2)? == 43;
        if dialect.wide {
            stream.skip(4)?;
        }
        let first = dialect.offset(stream)?;
        Ok((dialect, first))
    }

    fn number<R: Read + Seek>(self, stream: &mut Stream<R>, bytes: usize) -> Result<u64, Flaw> {
        let mut field = [0; 8];
        stream.fill(&mut field[..bytes])?;
        Ok(self.value(&field[..bytes]))
    }

    /// An unsigned number of up to eight bytes.
    fn value(self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }

    fn offset<R: Read + Seek>(self, stream: &mut Stream<R>) -> Result<u64, Flaw> {
        self.number(stream, self.offset_bytes())
    }

    fn offset_bytes(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// The entries at this place, and where the next directory is.
    fn directory<R: Read + Seek>(self, stream: &mut Stream<R>) -> Result<(Vec<Entry>, u64), Flaw> {
        let count = self.number(stream, if self.wide { 8 } else { 2 })?;
        if count > MOST_ENTRIES {
            return Err(Flaw::Damaged("one of its directories is damaged"));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let tag = self.number(stream, 2)?;
            let value_bytes = match self.number(stream, 2)? {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16 | 17 | 18 => 8,
                _ => 1,
            };
            let count = self.offset(stream)?;
            let mut field = [0; 8];
            stream.fill(&mut field[..self.offset_bytes()])?;
            entries.push(Entry {
                tag: u16::try_from(tag).unwrap_or(0),
                value_bytes,
                count,
                field,
            });
        }
        Ok((entries, self.offset(stream)?))
    }

    /// Whether a further directory is no page of its own. Looks at what lies in the directory only: a hostile
    /// chain of them could make every value a leap through the file.
    fn is_reduced(self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| {
            let width = usize::try_from(entry.value_bytes).unwrap_or(1);
            entry.tag == 254 && self.value(&entry.field[..width]) & REDUCED_OR_MASK != 0
        })
    }

    /// Values of an entry, from one of them on.
    fn values<R: Read + Seek>(
        self,
        stream: &mut Stream<R>,
        entry: &Entry,
        first: u64,
        count: u64,
    ) -> Result<Vec<u64>, Flaw> {
        let bytes = usize::try_from(entry.value_bytes).unwrap_or(1);
        let count = count.min(entry.count - first.min(entry.count));
        if entry.count.saturating_mul(entry.value_bytes) <= self.offset_bytes() as u64 {
            let values = entry.field.chunks_exact(bytes).map(|value| self.value(value));
            let (first, count) = (usize::try_from(first), usize::try_from(count));
            return Ok(values.skip(first.unwrap_or(0)).take(count.unwrap_or(0)).collect());
        }
        let place = self.value(&entry.field[..self.offset_bytes()]);
        stream.seek_to(place.saturating_add(first.saturating_mul(entry.value_bytes)))?;
        (0..count).map(|_| self.number(stream, bytes)).collect()
    }
}

/// What a directory says of its picture.
#[derive(Debug, Default)]
struct Page {
    subfile: u64,
    width: u64,
    height: u64,
    bits: u64,
    samples: u64,
    photometric: u64,
    compression: u64,
    predictor: u64,
    sample_format: u64,
    extra_samples: u64,
    rows_per_strip: u64,
    planar: u64,
    tile_width: u64,
    tile_height: u64,
    offsets: Option<Entry>,
    lengths: Option<Entry>,
    has_sub_pictures: bool,
    is_dng: bool,
}

impl Page {
    fn read<R: Read + Seek>(
        stream: &mut Stream<R>,
        dialect: Dialect,
        entries: &[Entry],
    ) -> Result<Self, Flaw> {
        let mut page = Self {
            bits: 1,
            samples: 1,
            sample_format: 1,
            rows_per_strip: u64::MAX,
            planar: 1,
            compression: 1,
            predictor: 1,
            ..Self::default()
        };
        for entry in entries {
            let slot = match entry.tag {
                254 => &mut page.subfile,
                256 => &mut page.width,
                257 => &mut page.height,
                258 => &mut page.bits,
                259 => &mut page.compression,
                262 => &mut page.photometric,
                277 => &mut page.samples,
                278 => &mut page.rows_per_strip,
                284 => &mut page.planar,
                317 => &mut page.predictor,
                322 => &mut page.tile_width,
                323 => &mut page.tile_height,
                338 => &mut page.extra_samples,
                339 => &mut page.sample_format,
                other => {
                    match other {
                        273 | 324 => page.offsets = Some(*entry),
                        279 | 325 => page.lengths = Some(*entry),
                        330 => page.has_sub_pictures = true,
                        50_706 => page.is_dng = true,
                        _ => {}
                    }
                    continue;
                }
            };
            if let Some(value) = dialect.values(stream, entry, 0, 1)?.first() {
                *slot = *value;
            }
        }
        Ok(page)
    }

    fn describe(&self, outline: &mut Outline) {
        let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
        let size = Size::new(side(self.width), side(self.height));
        outline.size = Some(size);
        outline.stored_bits = u8::try_from(self.bits).unwrap_or(u8::MAX);
        outline.refusal = self.refusal();
        outline.premultiplied = self.extra_samples == 1;
        self.describe_bands(outline);
    }

    /// How much of the picture comes at once, and what its decoder holds besides.
    fn describe_bands(&self, outline: &mut Outline) {
        let chunky = self.planar != 2;
        outline.plain_tiff = chunky
            && self.tile_width == 0
            && (self.compression, self.predictor) == (1, 1)
            && matches!(self.bits, 8 | 16)
            && matches!(self.photometric, 1 | 2);
        let (chunk_width, chunk_height) = match (self.tile_width, outline.plain_tiff) {
            (_, true) => (self.width, 1),
            (0, false) => (self.width, self.rows_per_strip.min(self.height)),
            (tile_width, false) => (tile_width, self.tile_height),
        };
        let band_rows = chunk_height.min(self.height).max(1);
        outline.band_rows = u32::try_from(band_rows).unwrap_or(u32::MAX);
        let row_bits = chunk_width.saturating_mul(self.bits.saturating_mul(self.samples));
        let chunk_bytes = row_bits.div_ceil(8).saturating_mul(chunk_height);
        // Strips are unpacked where they belong, by way of a row where samples are left out. What must change
        // places is unpacked next to it.
        let in_place = chunky && self.tile_width == 0 && self.bits >= 8;
        outline.add_work(if in_place {
            row_bits.div_ceil(8)
        } else {
            chunk_bytes
        });
        if matches!(self.compression, JPEG | WEBP) {
            // Unpacked by a decoder of its own, whole, from a copy in a buffer that doubled.
            outline.add_work(chunk_bytes.saturating_mul(2));
        }
    }

    fn refusal(&self) -> Option<String> {
        let raw = "it is a camera raw file; develop it and save it as TIFF or JPEG";
        let kind = match self.photometric {
            32_803 | 34_892 => return Some(raw.to_owned()),
            _ if self.is_dng || self.subfile & REDUCED_OR_MASK != 0 && self.has_sub_pictures => {
                return Some(raw.to_owned());
            }
            3 => "with a palette",
            4 => "that is only a mask",
            5 => "in CMYK",
            6 => "in YCbCr",
            8..=10 => "in Lab",
            0..=2 if self.sample_format == 3 => "of floating-point samples",
            0..=2 if self.sample_format == 2 => "of signed samples",
            0..=2 => return self.depth_refusal(),
            _ => "of an unknown colour space",
        };
        Some(format!("it is a TIFF {kind}; save it as RGB with 8 or 16 bits"))
    }

    fn depth_refusal(&self) -> Option<String> {
        match (self.bits, self.samples) {
            (8 | 16, _) | (1, 1) => None,
            (bits, _) => Some(format!(
                "it is a TIFF of {bits}-bit samples; save it with 8 or 16 bits"
            )),
        }
    }

    /// Every strip or tile must lie inside the file. The tables are read in blocks: they may be long.
    fn check_data<R: Read + Seek>(
        &self,
        stream: &mut Stream<R>,
        dialect: Dialect,
        outline: &mut Outline,
    ) -> Result<(), Flaw> {
        let Some(offsets) = self.offsets else {
            return Err(Flaw::Damaged("it holds no picture"));
        };
        // Some writers leave the lengths out where data are not compressed.
        let Some(lengths) = self.lengths else {
            return Ok(());
        };
        let count = offsets.count.min(lengths.count);
        if count.saturating_mul(offsets.value_bytes) > stream.len() {
            return Err(Flaw::Short);
        }
        let mut longest = 0;
        for first in (0..count).step_by(VALUES_PER_BLOCK as usize) {
            let places = dialect.values(stream, &offsets, first, VALUES_PER_BLOCK)?;
            let sizes = dialect.values(stream, &lengths, first, VALUES_PER_BLOCK)?;
            for (place, size) in places.into_iter().zip(sizes) {
                // Left out of a sparse file: the decoder decides.
                if size > 0 && place.saturating_add(size) > stream.len() {
                    return Err(Flaw::Short);
                }
                longest = longest.max(size);
            }
        }
        if matches!(self.compression, JPEG | WEBP) {
            outline.add_work(longest.saturating_mul(3));
        }
        // Both tables, and one of them once more as the values of a directory, in vectors that doubled.
        outline.add_work(count.saturating_mul(TABLE_ENTRY_BYTES));
        Ok(())
    }
}
