//! Owns the walk through the boxes of a HEIF: which item is the picture, where its parts lie, how it is turned, and
//! what travels with it. AVIF and HEIC differ in the coding of the parts only. Never decodes one.

use std::io::{Read, Seek};

use super::boxes::{self, Cursor, behind_offset};
use super::stream::Stream;
use super::{Extent, Facts, Flaw, MOST_METADATA_BYTES, Outline};
use crate::codec::layout::{Channels, Depth, PixelLayout, SourceFormat};
use crate::codec::raw::{Alpha, RawLayout};
use crate::size::Size;

mod crop;
mod hevc;
mod items;

use items::Items;

/// Most bytes of the box that describes everything. Real ones have a few kilobytes, those of large grids a hundred.
const MOST_META_BYTES: u64 = 8 << 20;

/// Most parts of a picture. A photo of 200 million pixels in parts of 512×512 has 800.
const MOST_TILES: usize = 4096;

/// Bytes that the AV1 decoder holds for a pixel of a part with 8 bits: planes, twice for film grain, and what is
/// known of blocks; twice that for more bits.
const PIXEL_BYTES: u64 = 12;

/// What it holds besides, of any picture.
const BASE_BYTES: u64 = 16 << 20;

/// Bytes that libheif holds for a pixel of the whole picture with 8 bits, and its decoder for one of a part: planes of
/// both, the whole once more as it is given, alpha. At most 12 were measured of one part of all. Twice that for more bits.
const HEVC_WHOLE_BYTES: u64 = 10;
const HEVC_PART_BYTES: u64 = 6;

/// Tables of both.
const HEVC_BASE_BYTES: u64 = 4 << 20;

/// Pictures that lie side by side: one, mostly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::codec) struct Grid {
    pub(in crate::codec) columns: u32,
    /// Row by row, each in one or several places.
    pub(in crate::codec) tiles: Vec<Vec<Extent>>,
    /// Of each of them.
    pub(in crate::codec) tile: Size,
    /// Columns × rows of all, before it is cropped.
    pub(in crate::codec) size: Size,
}

/// Where the parts of the picture lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::codec) struct Heif {
    pub(in crate::codec) color: Grid,
    pub(in crate::codec) alpha: Option<Grid>,
    /// What is seen begins here.
    pub(in crate::codec) left: u32,
    pub(in crate::codec) top: u32,
    /// Matrix and full range, as the container says; else as the coded picture says.
    pub(in crate::codec) matrix: Option<(u16, bool)>,
}

/// Walks all boxes, so that the end is known, and looks into the one that describes the picture.
pub(super) fn walk<R: Read + Seek>(
    stream: &mut Stream<R>,
    outline: &mut Outline,
    format: SourceFormat,
) -> Result<(), Flaw> {
    let mut meta = None;
    while let Some(found) = boxes::next(stream)? {
        if found.name == *b"meta" && meta.is_none() {
            let bytes = found.end - stream.at();
            if bytes > MOST_META_BYTES {
                return Err(Flaw::Damaged("its description is longer than 8 MiB"));
            }
            if found.end > stream.len() {
                return Err(Flaw::Short);
            }
            let at = stream.at();
            let mut content = vec![0; bytes as usize];
            stream.fill(&mut content)?;
            meta = Some((at, content));
        }
        // What is there is told before what is missing, so that a giant is called one.
        if found.end > stream.len()
            && let Some((at, content)) = &meta
        {
            // What it does not tell is missing, too.
            let _ = describe(stream, *at, content, outline, format);
            return Err(Flaw::Short);
        }
        outline.open_ended = found.open_ended;
        stream.seek_to(found.end)?;
    }
    // The whole file is there: its last box, if it has no length, is what was meant to be the rest.
    outline.open_ended = false;
    let Some((at, content)) = meta else {
        return Err(Flaw::Short);
    };
    // It is held while it is taken apart, and so are the lists that come of it.
    outline.add_work(content.len() as u64 * 4);
    let described = describe(stream, at, &content, outline, format)?;
    let parts = [Some(&described.heif.color), described.heif.alpha.as_ref()];
    for extent in parts
        .into_iter()
        .flatten()
        .flat_map(|grid| grid.tiles.iter().flatten())
    {
        if extent.at.saturating_add(extent.bytes) > stream.len() {
            return Err(Flaw::Short);
        }
    }
    let exif = gather(stream, outline, described.exif, "the EXIF")?;
    outline.facts = Some(Facts {
        raw: described.raw,
        orientation: Some(described.orientation),
        icc: described.icc,
        exif: exif.and_then(behind_offset),
        xmp: gather(stream, outline, described.xmp, "the XMP")?,
    });
    outline.heif = Some(described.heif);
    Ok(())
}

/// What the description says, and where the rest lies.
struct Described {
    heif: Heif,
    raw: RawLayout,
    orientation: u8,
    icc: Option<Vec<u8>>,
    exif: Vec<Extent>,
    xmp: Vec<Extent>,
}

const DAMAGED: Flaw = Flaw::Damaged("the description of its items is damaged");

fn describe<R: Read + Seek>(
    stream: &mut Stream<R>,
    at: u64,
    meta: &[u8],
    outline: &mut Outline,
    format: SourceFormat,
) -> Result<Described, Flaw> {
    let mut items = Items::read(at, meta).ok_or(DAMAGED)?;
    // How a grid is laid out is the content of an item of a few bytes.
    for (item, extent) in items.grids(items.primary) {
        let mut layout = vec![0; extent.bytes as usize];
        stream.seek_to(extent.at)?;
        stream.fill(&mut layout)?;
        items.layouts.insert(item, layout);
    }
    let primary = items.primary;
    let coding: &[u8; 4] = if format == SourceFormat::Heic {
        b"hvc1"
    } else {
        b"av01"
    };
    let mut color = items.grid(primary, coding, MOST_TILES, &mut outline.refusal)?;
    let traits = items.traits(primary).ok_or(DAMAGED)?;
    outline.stored_bits = traits.bits;
    let mut size = color.size;
    let (mut left, mut top) = (0, 0);
    if let Some(crop) = traits.crop {
        match crop.within(color.size) {
            Some((begin_left, begin_top, cropped)) => (left, top, size) = (begin_left, begin_top, cropped),
            None => {
                let refusal = "it is cropped to parts of pixels; save it as PNG or JPEG".to_owned();
                outline.refusal.get_or_insert(refusal);
            }
        }
    }
    outline.size = Some(size);
    let alpha = match items.alpha_of(primary) {
        Some(alpha) => {
            let grid = items.grid(alpha, coding, MOST_TILES, &mut outline.refusal)?;
            // Smaller alpha would have to be enlarged; nobody writes it.
            (grid.size == color.size).then_some(grid)
        }
        None => None,
    };
    if alpha.is_none() && items.alpha_of(primary).is_some() {
        let warning = "its transparency has another size and is not carried over";
        outline.warnings.push(warning.to_owned());
    }
    if format == SourceFormat::Heic {
        promise_libheif(outline, &color, items.room().ok_or(DAMAGED)?, stream.len());
    } else {
        promise(outline, &color, alpha.as_ref(), traits.bits);
    }
    if color.tiles.iter().all(Vec::is_empty) {
        color.tiles.clear();
    }
    let channels = match (traits.is_grey, alpha.is_some()) {
        (true, false) => Channels::Grey,
        (true, true) => Channels::GreyAlpha,
        (false, false) => Channels::Rgb,
        (false, true) => Channels::Rgba,
    };
    let depth = if traits.bits > 8 {
        Depth::Sixteen
    } else {
        Depth::Eight
    };
    let mut raw = RawLayout::from(PixelLayout { channels, depth });
    if alpha.is_some() && items.is_premultiplied(primary) {
        raw.alpha = Alpha::Premultiplied;
    }
    // A profile says the same and more.
    if traits.icc.is_none() {
        outline.colors.cicp = traits.cicp;
        outline.refusal = outline.refusal.take().or_else(|| outline.colors.refusal());
    }
    Ok(Described {
        raw,
        orientation: traits.orientation,
        icc: traits.icc,
        exif: items.described_by(primary, b"Exif"),
        xmp: items.described_by(primary, b"mime"),
        heif: Heif {
            color,
            alpha,
            left,
            top,
            matrix: traits.matrix,
        },
    })
}

/// One part is decoded at a time; alpha after the colours.
fn promise(outline: &mut Outline, color: &Grid, alpha: Option<&Grid>, bits: u8) {
    let depth_bytes = if bits > 8 { 2 } else { 1 };
    let grids = [Some(color), alpha];
    let largest_px = grids.iter().flatten().map(|grid| grid.tile.pixels()).max();
    let pixels = largest_px.unwrap_or(0).saturating_mul(PIXEL_BYTES * depth_bytes);
    outline.add_work(pixels);
    outline.add_work(BASE_BYTES);
    let tiles = grids.into_iter().flatten().flat_map(|grid| &grid.tiles);
    let packed = tiles.map(|tile| {
        tile.iter()
            .map(|extent| extent.bytes)
            .fold(0, u64::saturating_add)
    });
    outline.add_work(packed.max().unwrap_or(0).saturating_mul(2));
}

/// Libheif has the whole file, puts the parts together itself, and makes room for what their own settings say.
fn promise_libheif(outline: &mut Outline, color: &Grid, room: hevc::Room, file_bytes: u64) {
    let depth_bytes = if outline.stored_bits.max(room.bits) > 8 {
        2
    } else {
        1
    };
    let whole = color
        .size
        .pixels()
        .max(room.pixels)
        .saturating_mul(HEVC_WHOLE_BYTES);
    let part = room.pixels.saturating_mul(HEVC_PART_BYTES);
    outline.add_work(whole.saturating_add(part).saturating_mul(depth_bytes));
    // Beside the file a part of it, twice; of most files there is but one.
    outline.add_work(file_bytes.saturating_mul(3));
    outline.add_work(HEVC_BASE_BYTES);
}

/// Whether the coded part of a HEIC is one picture that brings no settings of its own.
#[cfg(feature = "heic")]
pub(in crate::codec) fn is_one_picture(packed: &[u8]) -> bool {
    hevc::is_one_picture(Cursor(packed))
}

/// Reads an item that is not a picture.
fn gather<R: Read + Seek>(
    stream: &mut Stream<R>,
    outline: &mut Outline,
    extents: Vec<Extent>,
    what: &str,
) -> Result<Option<Vec<u8>>, Flaw> {
    let bytes = extents
        .iter()
        .fold(0u64, |sum, extent| sum.saturating_add(extent.bytes));
    if bytes == 0 {
        return Ok(None);
    }
    if bytes > MOST_METADATA_BYTES {
        outline
            .warnings
            .push(format!("{what} is longer than 16 MiB and is not carried over"));
        return Ok(None);
    }
    outline.add_work(bytes);
    let mut data = vec![0; bytes as usize];
    let mut rest = &mut data[..];
    for extent in extents {
        let (part, behind) = rest.split_at_mut(extent.bytes as usize);
        stream.seek_to(extent.at)?;
        stream.fill(part)?;
        rest = behind;
    }
    Ok(Some(data))
}
