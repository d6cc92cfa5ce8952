//! Owns what a TIFF's directory says of its picture: how samples lie and what they mean. Never reads one.

use std::io::{Read, Seek};

use super::super::stream::Stream;
use super::super::{Flaw, Outline};
use super::{Dialect, Entry};
use crate::codec::density::Density;
use crate::codec::raw::{Alpha, Ink, Model, RawLayout, Sample};
use crate::size::Size;

/// Values that are read at once from the tables of offsets and lengths.
const VALUES_PER_BLOCK: u64 = 8192;

/// What a reader spends on a strip's or tile's place and length.
const TABLE_ENTRY_BYTES: u64 = 128;

/// Most bytes of an ICC profile: those of printers have a few megabytes.
const MOST_PROFILE_BYTES: u64 = 32 << 20;

/// Most bytes of the tables that JPEGs of a page share: four of quantisation, eight of Huffman.
const MOST_JPEG_TABLE_BYTES: u64 = 64 << 10;

/// Two numbers of 32 bits.
const FRACTION_BYTES: u64 = 8;

/// The decoder of CCITT faxes keeps changes of colour in two bytes each, of three lines.
const FAX_LINE_BYTES: u64 = 64;

/// How strips and tiles are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Compression {
    None,
    Fax3,
    Fax4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

/// What samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
    /// `a` and `b` are signed.
    CieLab,
    IccLab,
}

/// What a directory says of its picture.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::codec) struct Page {
    pub(in crate::codec) dialect: Dialect,
    pub(super) subfile: u64,
    pub(super) width: u64,
    height: u64,
    pub(in crate::codec) bits: u64,
    /// Stored for a pixel, wanted or not.
    pub(in crate::codec) samples: u64,
    pub(super) photometric: u64,
    pub(super) compression: u64,
    predictor: u64,
    pub(super) sample_format: u64,
    extra_sample: Option<u64>,
    rows_per_strip: u64,
    planar: u64,
    tile_width: u64,
    tile_height: u64,
    fill_order: u64,
    pub(super) fax_options: u64,
    pub(super) ink_set: u64,
    orientation: u64,
    pub(super) subsampling: [u64; 2],
    /// Shares of red and blue in the luminance.
    luma: [f32; 2],
    /// All reds first, then greens, then blues.
    pub(in crate::codec) palette: Vec<u8>,
    pub(in crate::codec) offsets: Option<Entry>,
    pub(in crate::codec) lengths: Option<Entry>,
    jpeg_tables: Option<Entry>,
    icc: Option<Entry>,
    resolution: [Option<Entry>; 2],
    resolution_unit: u64,
    pub(super) has_sub_pictures: bool,
    pub(super) is_dng: bool,
}

impl Page {
    fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            subfile: 0,
            width: 0,
            height: 0,
            bits: 1,
            samples: 1,
            photometric: 0,
            compression: 1,
            predictor: 1,
            sample_format: 1,
            extra_sample: None,
            rows_per_strip: u64::MAX,
            planar: 1,
            tile_width: 0,
            tile_height: 0,
            fill_order: 1,
            fax_options: 0,
            ink_set: 1,
            orientation: 1,
            subsampling: [2, 2],
            luma: [0.299, 0.114],
            palette: Vec::new(),
            offsets: None,
            lengths: None,
            jpeg_tables: None,
            icc: None,
            resolution: [None; 2],
            resolution_unit: 2,
            has_sub_pictures: false,
            is_dng: false,
        }
    }

    pub(super) fn read<R: Read + Seek>(
        stream: &mut Stream<R>,
        dialect: Dialect,
        entries: &[Entry],
    ) -> Result<Self, Flaw> {
        let mut page = Self::empty(dialect);
        let (mut palette, mut luma) = (None, None);
        for entry in entries {
            let slot = match entry.tag {
                254 => &mut page.subfile,
                256 => &mut page.width,
                257 => &mut page.height,
                258 => &mut page.bits,
                259 => &mut page.compression,
                262 => &mut page.photometric,
                266 => &mut page.fill_order,
                274 => &mut page.orientation,
                277 => &mut page.samples,
                278 => &mut page.rows_per_strip,
                284 => &mut page.planar,
                292 => &mut page.fax_options,
                296 => &mut page.resolution_unit,
                317 => &mut page.predictor,
                322 => &mut page.tile_width,
                323 => &mut page.tile_height,
                332 => &mut page.ink_set,
                338 => page.extra_sample.insert(0),
                339 => &mut page.sample_format,
                other => {
                    match other {
                        273 | 324 => page.offsets = Some(*entry),
                        279 | 325 => page.lengths = Some(*entry),
                        282 => page.resolution[0] = Some(*entry),
                        283 => page.resolution[1] = Some(*entry),
                        320 => palette = Some(*entry),
                        330 => page.has_sub_pictures = true,
                        347 => page.jpeg_tables = Some(*entry),
                        529 => luma = Some(*entry),
                        530 => {
                            if let [across, down] = dialect.values(stream, entry, 0, 2)?[..] {
                                page.subsampling = [across, down];
                            }
                        }
                        34_675 => page.icc = Some(*entry),
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
        if let (Some(entry), 3, 1..=8) = (palette, page.photometric, page.bits) {
            page.palette = palette_of(&dialect.values(stream, &entry, 0, 3 << page.bits)?);
        }
        if let Some(entry) = luma {
            page.luma = luma_of(dialect, &dialect.bytes(stream, &entry, 24)?).unwrap_or(page.luma);
        }
        Ok(page)
    }

    /// Says what was found, and looks whether its data are there.
    pub(super) fn describe<R: Read + Seek>(
        self,
        stream: &mut Stream<R>,
        table_bytes: &mut u64,
        outline: &mut Outline,
    ) -> Result<(), Flaw> {
        let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
        outline.size = Some(Size::new(side(self.width), side(self.height)));
        outline.stored_bits = u8::try_from(self.bits).unwrap_or(u8::MAX);
        outline.refusal = self.refusal();
        outline.raw = self.raw();
        self.describe_bands(outline);
        self.check_data(stream, table_bytes, outline)?;
        outline.tiff = Some(Box::new(self));
        Ok(())
    }

    /// The ICC profile.
    pub(in crate::codec) fn icc<R: Read + Seek>(&self, stream: &mut Stream<R>) -> Option<Vec<u8>> {
        self.dialect.bytes(stream, &self.icc?, MOST_PROFILE_BYTES).ok()
    }

    /// Pixels in a unit of length.
    pub(in crate::codec) fn density<R: Read + Seek>(&self, stream: &mut Stream<R>) -> Option<Density> {
        let mut fraction = |entry: Option<Entry>| {
            let bytes = self.dialect.bytes(stream, &entry?, FRACTION_BYTES).ok()?;
            let halves = bytes.as_chunks::<4>().0;
            let [above, below] = <[[u8; 4]; 2]>::try_from(halves).ok()?;
            // Four bytes each.
            Some([above, below].map(|half| self.dialect.value(&half) as u32).into())
        };
        let [across, down] = self.resolution.map(&mut fraction);
        Density::of_tiff(across?, down?, Some(self.resolution_unit))
    }

    /// The tables that the JPEGs of this page share.
    pub(in crate::codec) fn jpeg_tables<R: Read + Seek>(&self, stream: &mut Stream<R>) -> Option<Vec<u8>> {
        self.dialect
            .bytes(stream, &self.jpeg_tables?, MOST_JPEG_TABLE_BYTES)
            .ok()
    }

    /// As EXIF has it: 1..=8.
    pub(in crate::codec) fn orientation(&self) -> u8 {
        match self.orientation {
            value @ 1..=8 => value as u8,
            _ => 1,
        }
    }

    /// `None` for one that is not known.
    pub(in crate::codec) fn compression(&self) -> Option<Compression> {
        Some(match self.compression {
            1 => Compression::None,
            3 => Compression::Fax3,
            4 => Compression::Fax4,
            5 => Compression::Lzw,
            7 => Compression::Jpeg,
            8 | 32_946 => Compression::Deflate,
            32_773 => Compression::PackBits,
            _ => return None,
        })
    }

    /// 1: none. Only where it has a meaning.
    pub(in crate::codec) fn predictor(&self) -> u64 {
        match self.compression() {
            Some(Compression::Lzw | Compression::Deflate) => self.predictor,
            _ => 1,
        }
    }

    /// `None` for one that is not known.
    pub(in crate::codec) fn photometric(&self) -> Option<Photometric> {
        Some(match self.photometric {
            0 => Photometric::WhiteIsZero,
            1 => Photometric::BlackIsZero,
            2 => Photometric::Rgb,
            3 => Photometric::Palette,
            5 => Photometric::Cmyk,
            6 => Photometric::YCbCr,
            8 => Photometric::CieLab,
            9 => Photometric::IccLab,
            _ => return None,
        })
    }

    pub(in crate::codec) fn is_float(&self) -> bool {
        self.sample_format == 3
    }

    /// Samples of a kind lie together.
    pub(in crate::codec) fn is_planar(&self) -> bool {
        self.planar == 2 && self.samples > 1
    }

    pub(in crate::codec) fn is_tiled(&self) -> bool {
        self.tile_width > 0
    }

    /// The lowest bit of a byte comes first.
    pub(in crate::codec) fn is_bit_reversed(&self) -> bool {
        self.fill_order == 2 && self.compression() != Some(Compression::Jpeg)
    }

    /// Rows can be had one by one.
    pub(in crate::codec) fn is_plain(&self) -> bool {
        self.compression() == Some(Compression::None) && !self.is_tiled() && !self.is_planar()
    }

    /// Columns × rows of a strip or tile.
    pub(in crate::codec) fn chunk(&self) -> (u64, u64) {
        if self.is_tiled() {
            (self.tile_width, self.tile_height)
        } else {
            (self.width, self.rows_per_strip.min(self.height))
        }
    }

    /// Samples that each pixel of a strip or tile has.
    pub(in crate::codec) fn chunk_samples(&self) -> u64 {
        if self.is_planar() { 1 } else { self.samples }
    }

    /// Whether rows are stored as they are given, so that a strip is unpacked where it belongs.
    pub(in crate::codec) fn is_in_place(&self, raw: RawLayout) -> bool {
        let as_stored = matches!(
            (raw.sample, self.bits),
            (Sample::Eight, 8) | (Sample::Sixteen, 16) | (Sample::Float, 32)
        );
        as_stored
            && !self.is_planar()
            && !self.is_tiled()
            && self.photometric() != Some(Photometric::Palette)
            && raw.samples() as u64 == self.samples
    }

    /// How samples come out of strips and tiles.
    fn raw(&self) -> Option<RawLayout> {
        let photometric = self.photometric()?;
        let model = match photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero => Model::Grey,
            Photometric::Rgb | Photometric::Palette => Model::Rgb,
            Photometric::Cmyk => Model::Cmyk(Ink::Full),
            Photometric::YCbCr => Model::YCbCr {
                red: self.luma[0],
                blue: self.luma[1],
            },
            Photometric::CieLab => Model::Lab { icc: false },
            Photometric::IccLab => Model::Lab { icc: true },
        };
        let colors = stored_colors(photometric);
        let alpha = match self.extra_sample {
            _ if self.samples <= colors => Alpha::None,
            Some(1) => Alpha::Premultiplied,
            Some(2) => Alpha::Straight,
            // Written by those who forget to say what the fourth is.
            None if colors >= 3 => Alpha::Straight,
            _ => Alpha::None,
        };
        let sample = match (self.is_float(), photometric) {
            (true, _) => Sample::Float,
            (false, _) if self.bits <= 8 => Sample::Eight,
            (false, _) => Sample::Sixteen,
        };
        Some(RawLayout { model, alpha, sample })
    }

    /// How much of the picture comes at once, and what its decoder holds besides.
    fn describe_bands(&self, outline: &mut Outline) {
        let (chunk_width, chunk_height) = self.chunk();
        let chunk_height = if self.is_plain() { 1 } else { chunk_height };
        let band_rows = chunk_height.min(self.height).max(1);
        outline.band_rows = u32::try_from(band_rows).unwrap_or(u32::MAX);
        let row_bits = chunk_width.saturating_mul(self.bits.saturating_mul(self.chunk_samples()));
        let row_bytes = row_bits.div_ceil(8);
        let chunk_bytes = row_bytes.saturating_mul(chunk_height);
        // What must change places is unpacked next to where it belongs; a row of bytes is taken apart and put
        // together anew.
        if !outline.raw.is_some_and(|raw| self.is_in_place(raw)) {
            outline.add_work(chunk_bytes);
        }
        outline.add_work(row_bytes);
        match self.compression() {
            // Unpacked by a decoder of its own, whole.
            Some(Compression::Jpeg) => outline.add_work(chunk_bytes.saturating_mul(2)),
            Some(Compression::Fax3 | Compression::Fax4) => {
                outline.add_work(chunk_width.saturating_mul(FAX_LINE_BYTES));
            }
            _ => {}
        }
        outline.add_work((self.palette.len() * 2) as u64);
    }

    /// Every strip or tile must lie inside the file. The tables are read in blocks: they may be long.
    fn check_data<R: Read + Seek>(
        &self,
        stream: &mut Stream<R>,
        table_bytes: &mut u64,
        outline: &mut Outline,
    ) -> Result<(), Flaw> {
        let Some(offsets) = self.offsets else {
            return Err(Flaw::Damaged("it holds no picture"));
        };
        // Some writers leave the lengths out where data are not compressed.
        let Some(lengths) = self.lengths else {
            outline.add_work(offsets.count.min(stream.len()).saturating_mul(TABLE_ENTRY_BYTES));
            return Ok(());
        };
        let count = offsets.count.min(lengths.count);
        let left = table_bytes.checked_sub(count.saturating_mul(offsets.value_bytes));
        *table_bytes = left.ok_or(Flaw::Short)?;
        let mut longest = 0;
        for first in (0..count).step_by(VALUES_PER_BLOCK as usize) {
            let places = self.dialect.values(stream, &offsets, first, VALUES_PER_BLOCK)?;
            let sizes = self.dialect.values(stream, &lengths, first, VALUES_PER_BLOCK)?;
            for (place, size) in places.into_iter().zip(sizes) {
                // Left out of a sparse file: the decoder decides.
                if size > 0 && place.saturating_add(size) > stream.len() {
                    return Err(Flaw::Short);
                }
                longest = longest.max(size);
            }
        }
        match self.compression() {
            Some(Compression::Jpeg) => {
                outline.add_work(longest.saturating_mul(2).saturating_add(MOST_JPEG_TABLE_BYTES));
            }
            // Of a hostile one each byte may be a change of colour.
            Some(Compression::Fax3 | Compression::Fax4) => outline.add_work(longest.saturating_mul(4)),
            _ => {}
        }
        // Both tables, and one of them once more as the values of a directory, in vectors that doubled.
        outline.add_work(count.saturating_mul(TABLE_ENTRY_BYTES));
        Ok(())
    }
}

/// Samples that are stored for a colour.
pub(super) fn stored_colors(photometric: Photometric) -> u64 {
    match photometric {
        Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => 1,
        Photometric::Rgb | Photometric::YCbCr | Photometric::CieLab | Photometric::IccLab => 3,
        Photometric::Cmyk => 4,
    }
}

/// Sixteen bits, which nobody chose with such care; some writers have eight in their place.
fn palette_of(values: &[u64]) -> Vec<u8> {
    let most = if values.iter().all(|value| *value < 256) {
        255
    } else {
        65_535
    };
    values
        .iter()
        .map(|value| ((value.min(&most) * 255 + most / 2) / most) as u8)
        .collect()
}

/// Three fractions: red, green, blue.
fn luma_of(dialect: Dialect, bytes: &[u8]) -> Option<[f32; 2]> {
    let share = |at: usize| {
        let number = |at: usize| bytes.get(at..at + 4).map(|four| dialect.value(four) as f32);
        Some(number(at)? / number(at + 4)?)
    };
    let (red, green, blue) = (share(0)?, share(8)?, share(16)?);
    let sane = [red, green, blue]
        .iter()
        .all(|share| (0.01..0.99).contains(share));
    (sane && (red + green + blue - 1.0).abs() < 0.01).then_some([red, blue])
}
