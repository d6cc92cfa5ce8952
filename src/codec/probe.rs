//! Owns what a file's header says, read under limits before any large allocation. Never decodes a pixel.

use std::io::Read;
use std::path::Path;

use image::{ImageDecoder, ImageError};

use super::color;
use super::decoder;
use super::error::CodecError;
use super::exif;
use super::file::{self, Source};
use super::gather;
use super::guard::{Panicked, fenced};
use super::layout::{Channels, PixelLayout, SourceFormat};
use super::sequence::{Page, Sequence};
use super::source;
use crate::report::InputFacts;
use crate::size::Size;

/// What a source may ask for before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest side.
    pub side_px: u32,
    /// Most pixels.
    pub pixels: u64,
    /// Most bytes that decoding may hold.
    pub decode_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            side_px: 50_000,
            pixels: 500_000_000,
            decode_bytes: 4 << 30,
        }
    }
}

/// A source's header.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    /// What the file is, whatever its name says.
    pub format: SourceFormat,
    /// Columns × rows as stored, before the orientation is applied; of the first picture, as all that follows.
    pub stored: Size,
    /// Samples as [`open`](super::open) gives them.
    pub layout: PixelLayout,
    /// Bits of a sample in the file: 1, 2, 4, 8, 16.
    pub stored_bits: u8,
    /// EXIF orientation, 1..=8; 1 where there is none.
    pub orientation: u8,
    /// ICC profile whose colour space fits `layout`.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF structure (begins with `II` or `MM`), without the `Exif\0\0` of JPEG.
    pub exif: Option<Vec<u8>>,
    /// XMP: the packet, joined where a file had it in parts.
    pub xmp: Option<Vec<u8>>,
    /// IPTC: the records (IIM), without what a format wraps around them.
    pub iptc: Option<Vec<u8>>,
    /// The pictures after the first.
    pub sequence: Sequence,
    /// What could not be taken along, one line each.
    pub warnings: Vec<String>,
    /// Most bytes that [`open`](super::open)'s rows will hold until the last is read: the picture where it must be
    /// turned or its decoder only gives it whole, else a band of it; the decoder's own buffers; the metadata.
    pub decode_bytes: u64,
}

impl ImageHeader {
    /// Columns × rows as people see it: orientations 5 to 8 swap the sides.
    pub fn upright(&self) -> Size {
        match self.orientation {
            5..=8 => Size::new(self.stored.height, self.stored.width),
            _ => self.stored,
        }
    }

    /// The picture at `index`: 0 is the first.
    pub fn page(&self, index: usize) -> Page {
        self.sequence.page(index).cloned().unwrap_or_else(|| Page {
            size: self.stored,
            layout: self.layout,
            orientation: self.orientation,
            icc: self.icc.clone(),
        })
    }

    /// For the job document.
    pub fn facts(&self) -> InputFacts {
        InputFacts {
            width: self.stored.width,
            height: self.stored.height,
            format: self.format.as_str().to_owned(),
            bit_depth: self.layout.depth.bits(),
            channels: self.layout.channels.count() as u8,
            icc: self.icc.as_deref().and_then(color::description),
            orientation: self.orientation,
            pictures: self.sequence.pictures() as u64,
        }
    }
}

/// Reads the header.
///
/// # Errors
/// [`CodecError`]: everything that can be known to be wrong without decoding.
pub fn probe(path: &Path, limits: &DecodeLimits) -> Result<ImageHeader, CodecError> {
    let found = file::accept(path, limits)?;
    let mut facts = decoder_facts(path, &found, limits)?;
    let mut warnings = found.outline.warnings.clone();
    let icc = facts
        .icc
        .take()
        .filter(|icc| match misfit(icc, facts.layout.channels) {
            Some(warning) => {
                warnings.push(warning);
                false
            }
            None => true,
        });
    let exif = facts.exif.take().and_then(|exif| {
        let tiff = exif::tiff_structure(exif);
        if tiff.is_none() {
            warnings.push("the EXIF data are damaged and are not carried over".to_owned());
        }
        tiff
    });
    let more = gather::gather(path, &found.file, found.format, &found.outline, exif.as_deref());
    warnings.extend(more.warnings);
    let (exif, xmp, iptc) = (exif.or(more.exif), more.xmp, more.iptc);
    let metadata_bytes = metadata_bytes([&icc, &exif, &xmp, &iptc]);
    let orientation = facts
        .orientation
        .or_else(|| exif.as_deref().and_then(exif::orientation))
        .unwrap_or(1);
    let rows_held = source::rows_held(found.size, orientation, found.outline.band_rows);
    let row_bytes = facts.layout.row_bytes(found.size.width) as u64;
    let decode_bytes = row_bytes
        .saturating_mul(rows_held.into())
        .saturating_add(found.outline.work_bytes)
        .saturating_add(metadata_bytes);
    file::check_bytes(path, found.size, decode_bytes, limits)?;
    Ok(ImageHeader {
        format: found.format,
        stored: found.size,
        layout: facts.layout,
        stored_bits: found.outline.stored_bits,
        orientation,
        icc,
        exif,
        xmp,
        iptc,
        sequence: Sequence::Single,
        warnings,
        decode_bytes,
    })
}

/// What metadata take while the picture is decoded: themselves, and what patching them takes besides.
fn metadata_bytes(held: [&Option<Vec<u8>>; 4]) -> u64 {
    let [_, _, xmp, _] = held;
    let work = if xmp.is_some() { gather::WORK_BYTES } else { 0 };
    let bytes: usize = held.into_iter().flatten().map(Vec::len).sum();
    bytes as u64 + work
}

/// What only a decoder tells: it inflates profiles, joins them from segments and decides how rows come out.
struct DecoderFacts {
    layout: PixelLayout,
    icc: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
    /// Where the format has a place of its own for it (TIFF).
    orientation: Option<u8>,
}

fn decoder_facts(path: &Path, source: &Source, limits: &DecodeLimits) -> Result<DecoderFacts, CodecError> {
    // Of a JPEG only the headers: its decoder would take in the whole file.
    let header_bytes = source.outline.header_end.unwrap_or(u64::MAX);
    let read = fenced(|| -> Result<_, ImageError> {
        let mut decoder = decoder::new(source.format, (&source.file).take(header_bytes), limits)?;
        let orientation = match source.format {
            SourceFormat::Tiff => Some(decoder.orientation()?.to_exif()),
            _ => None,
        };
        let facts = (
            decoder::size(&decoder),
            decoder.color_type(),
            orientation,
            // What is wrong with a profile or with EXIF does not keep the picture from being read.
            match source.format {
                SourceFormat::Tiff => None,
                _ => decoder.icc_profile().ok().flatten(),
            },
            decoder.exif_metadata().ok().flatten(),
        );
        Ok(facts)
    });
    let (size, color, orientation, mut icc, exif) = match read {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => return Err(file::decoder_error(path, error)),
        Err(Panicked) => return Err(file::unreadable(path, "its header is damaged")),
    };
    if size != source.size {
        return Err(file::unreadable(path, "its headers contradict each other"));
    }
    if source.format == SourceFormat::Tiff {
        icc = fenced(|| decoder::tiff_profile(&source.file)).ok().flatten();
    }
    let Some(layout) = decoder::layout(color) else {
        let detail = "its samples are not 8- or 16-bit integers; save it as PNG or TIFF with 16 bits";
        return Err(file::unsupported(path, detail));
    };
    Ok(DecoderFacts {
        layout,
        icc,
        exif,
        orientation,
    })
}

/// Why a profile cannot be used for such samples.
fn misfit(icc: &[u8], channels: Channels) -> Option<String> {
    if !color::is_profile(icc) {
        return Some("the ICC profile is damaged and is not carried over".to_owned());
    }
    if color::fits(icc, channels) {
        return None;
    }
    let name = color::description(icc).unwrap_or_else(|| "without a name".to_owned());
    let (its, pixels) = (
        color::space(icc),
        if channels.count() < 3 { "grey" } else { "RGB" },
    );
    Some(format!(
        "the ICC profile ({name}) is for {its} and is not carried over: the pixels are {pixels}; colours may differ"
    ))
}
