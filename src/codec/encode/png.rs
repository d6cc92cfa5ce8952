//! Owns PNG files: a stream of filtered rows. Never holds more than a chunk of rows.

use std::borrow::Cow;
use std::io::Write;

use png::chunk::ChunkType;
use png::{
    BitDepth, ColorType, DeflateCompression, EncodingError, Filter, Info, PixelDimensions, Unit, Writer,
};

use super::out::BUFFER_BYTES;
use super::{Output, Rows, Stop};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, ResultFormat};
use crate::codec::sink::SinkSpec;
use crate::codec::splice;
use crate::config::PngEffort;

/// Bytes of an IDAT chunk: each costs 12 more bytes and a look by the decoder.
const IDAT_BYTES: usize = 256 << 10;

/// More than 100 MB of rows a second on one core (`cargo bench --bench codec`), many times what inference on a CPU
/// gives. Measured on enlarged pictures with zlib-rs: the fastest mode is three times as fast and as small on smooth
/// photos, but a sixth larger on drawings, whose repetitions it does not look for; level 1 is nearly half as large
/// again; level 3 saves a thirtieth for a sixth of the speed, level 6 a tenth for two thirds of it and more.
const BALANCED: DeflateCompression = DeflateCompression::Level(2);

/// A tenth smaller than [`BALANCED`], at a third of its speed and less.
const SMALL: DeflateCompression = DeflateCompression::Level(6);

/// How the rows are compressed.
pub(super) fn deflate(effort: PngEffort) -> DeflateCompression {
    match effort {
        PngEffort::Fast => DeflateCompression::FdeflateUltraFast,
        PngEffort::Balanced => BALANCED,
        PngEffort::Small => SMALL,
    }
}

/// Picks the best filter of each row; as fast as a fixed one next to the compression.
pub(super) const FILTER: Filter = Filter::Adaptive;

/// Window, hash chains and output of the deflate encoder; half of it was measured.
pub(super) const DEFLATE_BYTES: u64 = 1 << 20;

/// Writes the picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    stream(spec, rows, out).map_err(|stop| stop.into_error(ResultFormat::Png, out))?;
    Ok(Vec::new())
}

fn stream(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<(), Stop> {
    let mut encoder = png::Encoder::with_info(out, info(spec))?;
    encoder.set_deflate_compression(deflate(spec.settings.png_effort));
    encoder.set_filter(FILTER);
    let mut writer = encoder.write_header()?;
    write_texts(spec, &mut writer)?;
    let mut stream = writer.stream_writer_with_size(IDAT_BYTES)?;
    let mut spent = Vec::new();
    while let Some(mut chunk) = rows.next_chunk(spent)? {
        if spec.layout.depth == Depth::Sixteen {
            to_big_endian(&mut chunk);
        }
        stream.write_all(&chunk)?;
        spent = chunk;
    }
    stream.finish()?;
    writer.finish()?;
    Ok(())
}

pub(super) fn info(spec: &SinkSpec) -> Info<'_> {
    let mut info = Info::with_size(spec.size.width, spec.size.height);
    info.color_type = match spec.layout.channels {
        Channels::Grey => ColorType::Grayscale,
        Channels::GreyAlpha => ColorType::GrayscaleAlpha,
        Channels::Rgb => ColorType::Rgb,
        Channels::Rgba => ColorType::Rgba,
    };
    info.bit_depth = match spec.layout.depth {
        Depth::Eight => BitDepth::Eight,
        Depth::Sixteen => BitDepth::Sixteen,
    };
    info.icc_profile = spec.metadata.icc.as_deref().map(Cow::Borrowed);
    info.exif_metadata = spec.metadata.exif.as_deref().map(Cow::Borrowed);
    (info.utf8_text, info.compressed_latin1_text) = splice::png(&spec.metadata);
    info.pixel_dims = spec.metadata.notes.density.and_then(|density| {
        let ([xppu, yppu], is_of_a_metre) = density.png()?;
        let unit = if is_of_a_metre {
            Unit::Meter
        } else {
            Unit::Unspecified
        };
        Some(PixelDimensions { xppu, yppu, unit })
    });
    info
}

/// The texts that were in the source, as they were there.
pub(super) fn write_texts<W: Write>(spec: &SinkSpec, writer: &mut Writer<W>) -> Result<(), EncodingError> {
    for text in &spec.metadata.notes.texts {
        writer.write_chunk(ChunkType(text.name), &text.chunk)?;
    }
    Ok(())
}

/// PNG's byte order, in place.
pub(super) fn to_big_endian(samples: &mut [u8]) {
    for sample in samples.as_chunks_mut::<2>().0 {
        *sample = u16::from_ne_bytes(*sample).to_be_bytes();
    }
}

/// Most bytes held besides the rows: three rows being filtered, a chunk being compressed, the file's buffer.
pub fn bytes(spec: &SinkSpec) -> u64 {
    3 * spec.layout.row_bytes(spec.size.width) as u64 + (IDAT_BYTES + BUFFER_BYTES) as u64 + DEFLATE_BYTES
}
