//! Owns WebP files: libwebp's picture, with profile, EXIF and XMP muxed around it. Holds the whole picture, because
//! libwebp does.

use std::io::{self, Write};

use webp::{Encoder, PixelLayout, WebPConfig, WebPMemory};

use super::out::BUFFER_BYTES;
use super::{Output, Rows, failed, refused};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, ResultFormat};
use crate::codec::metadata::Carried;
use crate::codec::sink::SinkSpec;
use crate::size::Size;

/// libwebp's default balance of time and size.
const METHOD: i32 = 4;

/// What `quality` means to the lossless coder: effort. libwebp's own tools use this one.
const LOSSLESS_EFFORT: f32 = 75.0;

/// Writes the picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let layout = layout(spec)?;
    let mut picture = Vec::new();
    rows.read_picture(&mut picture)?;
    let coded = compress(spec, &picture, layout, spec.size)?;
    drop(picture);
    write(out, &coded, spec.size, &spec.metadata).map_err(|error| failed(out, ResultFormat::Webp, error))
}

/// What libwebp calls the samples.
pub(super) fn layout(spec: &SinkSpec) -> Result<PixelLayout, CodecError> {
    match (spec.layout.channels, spec.layout.depth) {
        (Channels::Rgb, Depth::Eight) => Ok(PixelLayout::Rgb),
        (Channels::Rgba, Depth::Eight) => Ok(PixelLayout::Rgba),
        _ => Err(refused(ResultFormat::Webp, "it has 8 bits and three colours")),
    }
}

/// Libwebp's file for a picture of this size.
pub(super) fn compress(
    spec: &SinkSpec,
    picture: &[u8],
    layout: PixelLayout,
    size: Size,
) -> Result<WebPMemory, CodecError> {
    let mut config = WebPConfig::new().map_err(|()| refused(ResultFormat::Webp, "libwebp does not start"))?;
    config.method = METHOD;
    if spec.settings.webp_is_lossless(spec.quality) {
        config.lossless = 1;
        config.quality = LOSSLESS_EFFORT;
        // Else colours below full transparency would be changed for a smaller file.
        config.exact = 1;
    } else {
        config.lossless = 0;
        config.quality = f32::from(spec.quality);
        // A third slower. Without it libwebp holds every coefficient as a list of decisions, up to 25 bytes a
        // pixel more, and all that would have to be reserved.
        config.low_memory = 1;
    }
    Encoder::new(picture, layout, size.width, size.height)
        .encode_advanced(&config)
        .map_err(|error| refused(ResultFormat::Webp, format_args!("libwebp says {error:?}")))
}

/// The extended file format's flags.
pub(super) const FLAG_ICC: u8 = 0x20;
pub(super) const FLAG_ALPHA: u8 = 0x10;
pub(super) const FLAG_EXIF: u8 = 0x08;
pub(super) const FLAG_XMP: u8 = 0x04;

/// Bytes of `RIFF`, the length and `WEBP`.
const RIFF_HEADER_BYTES: usize = 12;

/// Writes libwebp's file as it is, or its chunks with profile and EXIF in the order that the format demands.
fn write(out: &mut Output, coded: &[u8], size: Size, metadata: &Carried) -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if [&metadata.icc, &metadata.exif, &metadata.xmp]
        .iter()
        .all(|part| part.is_none())
    {
        out.write_all(coded)?;
        return Ok(warnings);
    }
    let (image, alpha) = image_chunks(coded)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "libwebp's file is not whole"))?;
    let (icc, exif) = (metadata.icc.as_deref(), metadata.exif.as_deref());
    let xmp = metadata.xmp.as_deref();
    let flags = icc.map_or(0, |_| FLAG_ICC)
        | exif.map_or(0, |_| FLAG_EXIF)
        | xmp.map_or(0, |_| FLAG_XMP)
        | if alpha { FLAG_ALPHA } else { 0 };
    let mut canvas = [0; 10];
    canvas[0] = flags;
    canvas[4..7].copy_from_slice(&(size.width - 1).to_le_bytes()[..3]);
    canvas[7..10].copy_from_slice(&(size.height - 1).to_le_bytes()[..3]);

    let chunk_bytes = |data: &[u8]| 8 + data.len().next_multiple_of(2);
    let carried: usize = [icc, exif, xmp].into_iter().flatten().map(chunk_bytes).sum();
    let riff_bytes = 4 + chunk_bytes(&canvas) + image.len() + carried;
    let Ok(riff_bytes) = u32::try_from(riff_bytes) else {
        out.write_all(coded)?;
        let warning = "webp: ICC profile, EXIF and XMP were not carried: the file would exceed 4 GiB";
        warnings.push(warning.to_owned());
        return Ok(warnings);
    };
    out.write_all(b"RIFF")?;
    out.write_all(&riff_bytes.to_le_bytes())?;
    out.write_all(b"WEBP")?;
    write_chunk(out, *b"VP8X", &canvas)?;
    if let Some(icc) = icc {
        write_chunk(out, *b"ICCP", icc)?;
    }
    out.write_all(image)?;
    if let Some(exif) = exif {
        write_chunk(out, *b"EXIF", exif)?;
    }
    if let Some(xmp) = xmp {
        write_chunk(out, *b"XMP ", xmp)?;
    }
    Ok(warnings)
}

/// A chunk; even in length, as RIFF wants it. Its length fits: the whole file's was checked.
pub(super) fn write_chunk(out: &mut Output, name: [u8; 4], data: &[u8]) -> io::Result<()> {
    out.write_all(&name)?;
    out.write_all(&(data.len() as u32).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&[0][..data.len() % 2])
}

/// The chunks that make up the picture in libwebp's file, and whether it has alpha: `VP8L` alone, `VP8 ` alone,
/// or `VP8X`, which is replaced, before `ALPH` and `VP8 `.
pub(super) fn image_chunks(coded: &[u8]) -> Option<(&[u8], bool)> {
    let chunks = coded.get(RIFF_HEADER_BYTES..)?;
    match chunks.first_chunk::<4>()? {
        b"VP8X" => Some((chunks.get(18..)?, chunks.get(8)? & FLAG_ALPHA != 0)),
        // A signature byte, 14 bits of width, 14 of height, then the bit for alpha.
        b"VP8L" => Some((chunks, chunks.get(12)? & 0x10 != 0)),
        _ => Some((chunks, false)),
    }
}

/// What libwebp was measured to hold at its peak, its own copy of the picture and the result included, with a
/// margin: on noise, which costs it most, and on small pictures, where the tables of the lossless coder weigh
/// most. Alpha goes through that coder in a lossy picture too.
const LOSSLESS_BYTES_PER_PIXEL: u64 = 40;
const LOSSLESS_TABLE_BYTES: u64 = 48 << 20;
const LOSSY_BYTES_PER_PIXEL: u64 = 10;
const LOSSY_TABLE_BYTES: u64 = 4 << 20;

/// Most bytes held besides the rows: the picture, and what libwebp makes of it.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let exact = spec.settings.webp_is_lossless(spec.quality) || spec.layout.channels.has_alpha();
    let (per_pixel, tables) = if exact {
        (LOSSLESS_BYTES_PER_PIXEL, LOSSLESS_TABLE_BYTES)
    } else {
        (LOSSY_BYTES_PER_PIXEL, LOSSY_TABLE_BYTES)
    };
    spec.size.pixels() * (spec.layout.bytes_per_pixel() as u64 + per_pixel) + tables + BUFFER_BYTES as u64
}
