//! Owns TIFF files: strips of differences along the row, compressed. Never holds more than a strip and a chunk of
//! rows.
//!
//! Strips are compressed here, the crate lays out the file: its own strip writer only compresses a picture that
//! it is given whole, and it knows no grey with alpha.

use tiff::TiffError;
use tiff::encoder::compression::{CompressionAlgorithm, Deflate, DeflateLevel};
use tiff::encoder::{DirectoryEncoder, Rational, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard};
use tiff::tags::{
    CompressionMethod, ExtraSamples, PhotometricInterpretation, PlanarConfiguration, Predictor,
    ResolutionUnit, Tag,
};
use weezl::{BitOrder, encode::Encoder as Lzw};

use super::out::BUFFER_BYTES;
use super::{Output, Rows, Stop, tiff_metadata};
use crate::codec::density::Density;
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, ResultFormat};
use crate::codec::sink::SinkSpec;
use crate::config::TiffCompression;

/// Bytes of a strip before compression, unless a row is longer: a reader of a part decodes little in vain.
const STRIP_BYTES: usize = 256 << 10;

/// What a plain TIFF can address, less room for the directory.
const PLAIN_LIMIT_BYTES: u64 = u32::MAX as u64 - (1 << 20);

/// Dictionary, window and output of a compressor.
const COMPRESSOR_BYTES: u64 = 1 << 20;

/// Writes the picture, or all pages.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let file_bytes: u64 = pages(spec).map(|page| most_file_bytes(&page)).sum();
    let outcome = if file_bytes > PLAIN_LIMIT_BYTES {
        write::<TiffKindBig>(spec, rows, out)
    } else {
        write::<TiffKindStandard>(spec, rows, out)
    };
    outcome.map_err(|stop| stop.into_error(ResultFormat::Tiff, out))
}

/// Each page as a picture of its own.
fn pages(spec: &SinkSpec) -> impl Iterator<Item = SinkSpec> {
    (0..spec.sequence.pictures()).map(|index| spec.picture(index))
}

/// Offsets and lengths of the strips written.
struct Strips<K: TiffKind> {
    offsets: Vec<K::OffsetType>,
    byte_counts: Vec<K::OffsetType>,
}

pub(super) fn write<K: TiffKind>(
    spec: &SinkSpec,
    rows: &mut Rows<'_>,
    out: &mut Output,
) -> Result<Vec<String>, Stop> {
    let mut warnings = Vec::new();
    let mut file = TiffEncoder::<_, K>::new_generic(out)?;
    for (index, page) in pages(spec).enumerate() {
        let mut directory = file.image_directory()?;
        // First of all: its offsets count from the file's beginning.
        let exif = tiff_metadata::begin(&page.metadata, &mut directory, &mut warnings)?;
        let strips = write_strips(&page, rows, &mut directory)?;
        if !spec.sequence.is_single() {
            write_page_number(index, spec.sequence.pictures(), &mut directory)?;
        }
        write_tags(&page, &strips, &mut directory)?;
        tiff_metadata::end(&page.metadata, exif, &mut directory)?;
        directory.finish()?;
        rows.next_picture();
    }
    Ok(warnings)
}

/// Says that this is one page of many. Numbers have 16 bits; what has more pages counts none.
fn write_page_number<K: TiffKind>(
    index: usize,
    pages: usize,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
) -> Result<(), TiffError> {
    /// Of the bits in `NewSubfileType`.
    const ONE_PAGE_OF_MANY: u32 = 2;
    const PAGE_NUMBER: Tag = Tag::Unknown(297);
    file.write_tag(Tag::NewSubfileType, ONE_PAGE_OF_MANY)?;
    if let (Ok(index), Ok(pages)) = (u16::try_from(index), u16::try_from(pages)) {
        file.write_tag(PAGE_NUMBER, [index, pages].as_slice())?;
    }
    Ok(())
}

fn write_strips<K: TiffKind>(
    spec: &SinkSpec,
    rows: &mut Rows<'_>,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
) -> Result<Strips<K>, Stop> {
    let mut strips = Strips {
        offsets: Vec::new(),
        byte_counts: Vec::new(),
    };
    let strip_bytes = rows_per_strip(spec) as usize * rows.row_bytes();
    let mut strip = Vec::with_capacity(strip_bytes);
    let mut compressor = Compressor::new(spec);
    let mut spent = Vec::new();
    while let Some(chunk) = rows.next_chunk(spent)? {
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let taken = rest.len().min(strip_bytes - strip.len());
            strip.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if strip.len() == strip_bytes {
                write_strip(spec, &mut strip, &mut compressor, &mut strips, file)?;
            }
        }
        spent = chunk;
    }
    if !strip.is_empty() {
        write_strip(spec, &mut strip, &mut compressor, &mut strips, file)?;
    }
    Ok(strips)
}

/// Compresses and writes a strip, and empties it.
fn write_strip<K: TiffKind>(
    spec: &SinkSpec,
    strip: &mut Vec<u8>,
    compressor: &mut Compressor,
    strips: &mut Strips<K>,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
) -> Result<(), Stop> {
    if has_differences(spec) {
        differences(spec, strip);
    }
    let compressed = compressor.compress(strip)?;
    strip.clear();
    let length = compressed.len();
    if length % 2 == 1 {
        // Everything in a TIFF begins at an even offset.
        compressed.push(0);
    }
    let offset = file.write_data(compressed.as_slice())?;
    strips.offsets.push(K::convert_offset(offset)?);
    strips.byte_counts.push(K::convert_offset(length as u64)?);
    Ok(())
}

/// Compresses strip after strip into the same buffer.
struct Compressor {
    method: Method,
    compressed: Vec<u8>,
}

enum Method {
    /// The `tiff` crate's own LZW clears 16 MiB for every strip.
    Lzw(Box<Lzw>),
    Deflate,
    None,
}

impl Compressor {
    fn new(spec: &SinkSpec) -> Self {
        let method = match compression(spec) {
            CompressionMethod::LZW => Method::Lzw(Box::new(Lzw::with_tiff_size_switch(BitOrder::Msb, 8))),
            CompressionMethod::Deflate => Method::Deflate,
            _ => Method::None,
        };
        Self {
            method,
            compressed: Vec::new(),
        }
    }

    fn compress(&mut self, strip: &[u8]) -> Result<&mut Vec<u8>, TiffError> {
        self.compressed.clear();
        match &mut self.method {
            Method::Lzw(lzw) => {
                lzw.reset();
                let written = lzw.into_vec(&mut self.compressed).encode_all(strip);
                written.status.map_err(std::io::Error::other)?;
            }
            Method::Deflate => {
                Deflate::with_level(DeflateLevel::Fast).write_to(&mut self.compressed, strip)?;
            }
            Method::None => self.compressed.extend_from_slice(strip),
        }
        Ok(&mut self.compressed)
    }
}

/// LZW is read everywhere and makes enlarged photos of 8 bits a quarter smaller than fast deflate. At 16 bits
/// the lower byte is noise, which LZW inflates and deflate stores.
fn compression(spec: &SinkSpec) -> CompressionMethod {
    match (spec.settings.tiff_compression, spec.layout.depth) {
        (TiffCompression::Lzw, _) | (TiffCompression::Auto, Depth::Eight) => CompressionMethod::LZW,
        (TiffCompression::Deflate, _) | (TiffCompression::Auto, Depth::Sixteen) => CompressionMethod::Deflate,
        (TiffCompression::None, _) => CompressionMethod::None,
    }
}

/// Differences are for a compressor; who wants none wants the samples as they are.
fn has_differences(spec: &SinkSpec) -> bool {
    compression(spec) != CompressionMethod::None
}

/// Each sample less the one a pixel before it, row by row.
fn differences(spec: &SinkSpec, strip: &mut [u8]) {
    let channels = spec.layout.channels.count();
    for row in strip.chunks_exact_mut(spec.layout.row_bytes(spec.size.width)) {
        match spec.layout.depth {
            Depth::Eight => {
                for at in (channels..row.len()).rev() {
                    row[at] = row[at].wrapping_sub(row[at - channels]);
                }
            }
            Depth::Sixteen => {
                let samples = row.as_chunks_mut::<2>().0;
                for at in (channels..samples.len()).rev() {
                    let (before, here) = (samples[at - channels], samples[at]);
                    samples[at] = u16::from_ne_bytes(here)
                        .wrapping_sub(u16::from_ne_bytes(before))
                        .to_ne_bytes();
                }
            }
        }
    }
}

fn write_tags<K: TiffKind>(
    spec: &SinkSpec,
    strips: &Strips<K>,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
) -> Result<(), TiffError> {
    let channels = spec.layout.channels;
    let photometric = match channels {
        Channels::Grey | Channels::GreyAlpha => PhotometricInterpretation::BlackIsZero,
        Channels::Rgb | Channels::Rgba => PhotometricInterpretation::RGB,
    };
    file.write_tag(Tag::ImageWidth, spec.size.width)?;
    file.write_tag(Tag::ImageLength, spec.size.height)?;
    let bits = vec![u16::from(spec.layout.depth.bits()); channels.count()];
    file.write_tag(Tag::BitsPerSample, bits.as_slice())?;
    file.write_tag(Tag::Compression, compression(spec).to_u16())?;
    file.write_tag(Tag::PhotometricInterpretation, photometric.to_u16())?;
    file.write_tag(Tag::SamplesPerPixel, channels.count() as u16)?;
    file.write_tag(Tag::RowsPerStrip, rows_per_strip(spec))?;
    file.write_tag(Tag::PlanarConfiguration, PlanarConfiguration::Chunky.to_u16())?;
    if has_differences(spec) {
        file.write_tag(Tag::Predictor, Predictor::Horizontal.to_u16())?;
    }
    if channels.has_alpha() {
        file.write_tag(Tag::ExtraSamples, ExtraSamples::UnassociatedAlpha.to_u16())?;
    }
    // Baseline readers want a resolution, also where none is known.
    let unknown = ([(1, 1); 2], ResolutionUnit::None.to_u16());
    let density = spec.metadata.notes.density;
    let ([across, down], unit) = density.map_or(unknown, Density::tiff);
    file.write_tag(Tag::ResolutionUnit, unit)?;
    file.write_tag(
        Tag::XResolution,
        Rational {
            n: across.0,
            d: across.1,
        },
    )?;
    file.write_tag(Tag::YResolution, Rational { n: down.0, d: down.1 })?;
    file.write_tag(Tag::StripOffsets, K::convert_slice(&strips.offsets))?;
    file.write_tag(Tag::StripByteCounts, K::convert_slice(&strips.byte_counts))?;
    Ok(())
}

fn rows_per_strip(spec: &SinkSpec) -> u32 {
    let rows = STRIP_BYTES / spec.layout.row_bytes(spec.size.width).max(1);
    (rows.max(1) as u32).min(spec.size.height)
}

/// The most that a strip of so many bytes becomes: LZW spends up to 12 bits on a byte, deflate stores what it
/// cannot compress.
fn most_compressed_bytes(raw: u64) -> u64 {
    raw + raw / 2 + 64
}

/// The largest file that may come out.
fn most_file_bytes(spec: &SinkSpec) -> u64 {
    let raw = spec.layout.row_bytes(spec.size.width) as u64 * u64::from(spec.size.height);
    let strips = u64::from(spec.size.height.div_ceil(rows_per_strip(spec)));
    most_compressed_bytes(raw) + strips * (64 + STRIP_PLACE_BYTES) + spec.metadata.bytes()
}

/// Offset and length of a strip, in the larger form.
const STRIP_PLACE_BYTES: u64 = 16;

/// Most bytes held besides the rows of any page.
pub fn bytes(spec: &SinkSpec) -> u64 {
    pages(spec).map(|page| page_bytes(&page)).max().unwrap_or(0)
}

/// Most bytes held besides the rows of a page: a strip, the same compressed, where the strips lie (once more while that
/// is written), the file's buffer.
fn page_bytes(spec: &SinkSpec) -> u64 {
    let rows = rows_per_strip(spec);
    let strip = spec.layout.row_bytes(spec.size.width) as u64 * u64::from(rows);
    let strips = u64::from(spec.size.height.div_ceil(rows.max(1)));
    // A vector that grows may hold twice what is in it.
    strip
        + 2 * most_compressed_bytes(strip)
        + 4 * strips * STRIP_PLACE_BYTES
        + COMPRESSOR_BYTES
        + BUFFER_BYTES as u64
}
