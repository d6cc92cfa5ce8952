//! Owns what is known of each picture of an accepted file before it is decoded: how its samples lie, what becomes of
//! them, what that holds in memory. Asked for twice, by those who plan a job and by those who read the rows. Never
//! decodes a pixel.

use std::io::Read;
use std::path::Path;

use image::{ImageDecoder, ImageError};

use super::bands::{self, JxlTold};
use super::convert::{self, Plan};
use super::decoder;
use super::density::Density;
use super::error::CodecError;
use super::exif;
use super::file::{self, Source};
use super::gather;
use super::guard::{Panicked, fenced};
use super::layout::{Channels, SourceFormat};
use super::notes::Notes;
use super::outline::{ColorChunks, Facts, Outline, Stream};
use super::raw::RawLayout;
use super::sequence::Animation;
use super::source;
use crate::size::Size;

/// Most warnings of a file: a document may have the same one on each of its pages.
const MOST_WARNINGS: usize = 8;

/// One of the pictures of a file.
pub(super) struct Picture {
    /// As stored.
    pub(super) size: Size,
    /// As EXIF has it.
    pub(super) orientation: u8,
    /// Pixels in a unit of length, where each page has its own (TIFF).
    pub(super) density: Option<Density>,
    /// What becomes of its samples.
    pub(super) plan: Plan,
    /// Rows that are held at once.
    pub(super) rows_held: u32,
}

/// All that is known of a file.
pub(super) struct Known {
    /// One, or the pages of a document.
    pub(super) pictures: Vec<Picture>,
    /// How the frames run, where the one picture is an animation.
    pub(super) animation: Option<Animation>,
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<Vec<u8>>,
    pub(super) iptc: Option<Vec<u8>>,
    pub(super) notes: Notes,
    pub(super) warnings: Vec<String>,
    /// Most bytes that are held at any time.
    pub(super) decode_bytes: u64,
}

/// Reads the rest of the headers and decides what becomes of the pictures.
pub(super) fn know(path: &Path, source: &Source, limits: &super::DecodeLimits) -> Result<Known, CodecError> {
    let mut warnings = Vec::new();
    let mut pictures = Vec::new();
    let (mut exif, mut xmp, mut iptc, mut notes) = (None, None, None, Notes::default());
    let mut animation = source.outline.animation.clone();
    let outlines = std::iter::once(&source.outline).chain(&source.outline.more);
    let (mut most_bytes, mut kept_bytes) = (0, 0);
    for outline in outlines {
        let mut density = None;
        let mut work_bytes = outline.work_bytes;
        let mut facts = match (&outline.facts, &outline.tiff) {
            (Some(facts), _) => facts.clone(),
            (None, Some(page)) => {
                let mut stream = Stream::of(&source.file).map_err(|error| file::read_error(path, error))?;
                density = page.density(&mut stream);
                Facts {
                    raw: outline.raw.ok_or_else(|| unknown_samples(path))?,
                    icc: page.icc(&mut stream),
                    exif: None,
                    xmp: None,
                    orientation: Some(page.orientation()),
                }
            }
            (None, None) if source.format == SourceFormat::Jxl => {
                let told = jxl_told(path, source, limits)?;
                animation = told.animation;
                work_bytes = work_bytes.saturating_add(told.work_bytes);
                told.facts
            }
            (None, None) => decoder_facts(path, source, limits)?,
        };
        let size = outline.size.unwrap_or(source.size);
        add(&mut warnings, &outline.warnings);
        if let Some(block) = facts.exif.take() {
            exif = exif::tiff_structure(block);
            if exif.is_none() {
                warnings.push("the EXIF data are damaged and are not carried over".to_owned());
            }
        }
        // Of the first picture, as everything that is told of the file.
        if pictures.is_empty() {
            let more = gather::gather(path, &source.file, source.format, outline, exif.as_deref());
            add(&mut warnings, &more.warnings);
            (exif, xmp, iptc) = (exif.or(more.exif), more.xmp.or(facts.xmp.take()), more.iptc);
            notes = more.notes;
            notes.density = density.or(notes.density);
        }
        let orientation = facts
            .orientation
            .or_else(|| exif.as_deref().and_then(exif::orientation))
            .unwrap_or(1);
        let icc = described(outline, facts.raw, facts.icc.take());
        let plan = Plan::new(facts.raw, icc);
        add(&mut warnings, &plan.warnings);
        let rows_held = source::rows_held(size, orientation, outline.band_rows);
        let bytes = (facts.raw.row_bytes(size.width) as u64)
            .saturating_mul(rows_held.into())
            .saturating_add(work_bytes)
            .saturating_add(plan.work_bytes(size.width));
        kept_bytes += plan.kept_bytes();
        most_bytes = bytes.max(most_bytes);
        pictures.push(Picture {
            size,
            orientation,
            density,
            plan,
            rows_held,
        });
    }
    kept_bytes += metadata_bytes([&exif, &xmp, &iptc]) + notes.bytes() as u64;
    let decode_bytes = most_bytes.saturating_add(kept_bytes);
    file::check_bytes(path, source.size, decode_bytes, limits)?;
    Ok(Known {
        pictures,
        animation,
        exif,
        xmp,
        iptc,
        notes,
        warnings,
        decode_bytes,
    })
}

/// What metadata take while the picture is decoded: themselves, and what patching them takes besides.
fn metadata_bytes(held: [&Option<Vec<u8>>; 3]) -> u64 {
    let [_, xmp, _] = held;
    let work = if xmp.is_some() { gather::WORK_BYTES } else { 0 };
    let bytes: usize = held.into_iter().flatten().map(Vec::len).sum();
    bytes as u64 + work
}

/// Each warning once.
fn add(warnings: &mut Vec<String>, more: &[String]) {
    for warning in more {
        if warnings.len() < MOST_WARNINGS && !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
}

/// The profile of samples: the one that is there, unless a PNG says something that counts more; else what it says
/// that counts less.
fn described(outline: &Outline, raw: RawLayout, icc: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let ColorChunks {
        cicp,
        srgb,
        gamma,
        chromaticities,
    } = outline.colors;
    let grey = matches!(raw.channels(), Channels::Grey | Channels::GreyAlpha);
    match cicp {
        Some([primaries, transfer, ..]) if !grey && convert::is_known(primaries, transfer) => {
            convert::profile_of(primaries, transfer)
        }
        _ if icc.is_some() || srgb => icc,
        _ if grey => convert::grey_profile_of_png(gamma),
        _ if gamma.is_some() || chromaticities.is_some() => convert::profile_of_png(gamma, chromaticities),
        _ => None,
    }
}

/// What only a decoder tells: it inflates profiles, joins them from segments and decides how rows come out.
fn decoder_facts(path: &Path, source: &Source, limits: &super::DecodeLimits) -> Result<Facts, CodecError> {
    // Of a JPEG only the headers: its decoder would take in the whole file.
    let header_bytes = source.outline.header_end.unwrap_or(u64::MAX);
    let read = fenced(|| -> Result<_, ImageError> {
        let mut decoder = decoder::new(source.format, (&source.file).take(header_bytes), limits)?;
        Ok((
            decoder::size(&decoder),
            decoder.color_type(),
            // What is wrong with a profile or with EXIF does not keep the picture from being read.
            decoder.icc_profile().ok().flatten(),
            decoder.exif_metadata().ok().flatten(),
        ))
    });
    let (size, color, icc, exif) = match read {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => return Err(file::decoder_error(path, error)),
        Err(Panicked) => return Err(file::unreadable(path, "its header is damaged")),
    };
    if size != source.size {
        return Err(file::unreadable(path, "its headers contradict each other"));
    }
    let mut layout = decoder::layout(color).ok_or_else(|| unknown_samples(path))?;
    if source.outline.framed && source.outline.holes {
        layout.channels = layout.channels.with_alpha();
    }
    Ok(Facts {
        raw: source.outline.raw.unwrap_or(layout.into()),
        icc,
        exif,
        xmp: None,
        orientation: None,
    })
}

/// As [`decoder_facts`]; also whether it is an animation, which a JPEG XL tells only to its decoder.
fn jxl_told(path: &Path, source: &Source, limits: &super::DecodeLimits) -> Result<JxlTold, CodecError> {
    let mut told = match fenced(|| bands::jxl_told(&source.file, &source.outline)) {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => return Err(file::decoder_error(path, error)),
        Err(Panicked) => return Err(file::unreadable(path, "its header is damaged")),
    };
    told.animation = told.animation.filter(|animation| animation.delays.len() > 1);
    if let Some(animation) = &told.animation {
        let frames = animation.delays.len() as u64;
        let pixels = source.size.pixels().saturating_mul(frames);
        file::check_count(path, "frames", frames, pixels, limits)?;
    }
    Ok(told)
}

fn unknown_samples(path: &Path) -> CodecError {
    let detail = "its samples are not 8- or 16-bit integers; save it as PNG or TIFF with 16 bits";
    file::unsupported(path, detail)
}
