//! Owns JPEG files: baseline, a row of blocks at a time, or progressive, for which the encoder holds the picture
//! and all its coefficients.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};

use jpeg_encoder::{
    ChromaSubsamplingMethod, Encoder, EncodingError, ImageBuffer, JpegColorType, PixelDensity,
    PixelDensityUnit, SamplingFactor, rgb_to_ycbcr,
};

use super::out::BUFFER_BYTES;
use super::{Output, Rows, failed, refused};
use crate::codec::density::{Density, Length};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, ResultFormat};
use crate::codec::sink::SinkSpec;
use crate::codec::splice;
use crate::config::JpegChroma;

/// An APP1 segment holds 65,533 bytes, of which `Exif\0\0` takes 6.
const EXIF_BYTES: usize = 65_527;

/// 254 APP2 segments of 65,519 bytes each: the sequence number is one byte.
const ICC_BYTES: usize = 254 * 65_519;

/// What a segment holds besides its length.
const COMMENT_BYTES: usize = 65_533;

/// Begins a comment.
const COMMENT: [u8; 2] = [0xFF, 0xFE];

/// The beginning of a file and JFIF's segment, which must come first.
const HEADER_BYTES: usize = 2 + 18;

/// Writes the picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let (Ok(width), Ok(height)) = (u16::try_from(spec.size.width), u16::try_from(spec.size.height)) else {
        return Err(refused(ResultFormat::Jpeg, format_args!("{} pixels", spec.size)));
    };
    let color = match (spec.layout.channels, spec.layout.depth) {
        (Channels::Grey, Depth::Eight) => JpegColorType::Luma,
        (Channels::Rgb, Depth::Eight) => JpegColorType::Ycbcr,
        _ => return Err(refused(ResultFormat::Jpeg, "it has 8 bits and no alpha")),
    };
    let stopped = Cell::new(false);
    let picture = Picture {
        width,
        height,
        color,
        at: RefCell::new(At::new(rows)),
        stopped: &stopped,
    };
    let mut warnings = Vec::new();
    let writer = Writer {
        out,
        stopped: &stopped,
        comments: comments(spec, &mut warnings),
        header_left: HEADER_BYTES,
    };
    let outcome = write(spec, &picture, writer, &mut warnings);
    if stopped.get() {
        return Err(CodecError::FeedStopped);
    }
    outcome.map_err(|error| failed(out, ResultFormat::Jpeg, error))?;
    Ok(warnings)
}

fn write(
    spec: &SinkSpec,
    picture: &Picture<'_, '_>,
    writer: Writer<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), EncodingError> {
    let mut encoder = Encoder::new(writer, spec.quality.clamp(1, 100));
    // Said either way: the default would choose by the quality.
    encoder.set_sampling_factor(match spec.settings.jpeg_chroma {
        JpegChroma::Full => SamplingFactor::F_1_1,
        JpegChroma::Quarter => SamplingFactor::F_2_2,
    });
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    if spec.settings.jpeg_progressive {
        encoder.set_progressive(true);
        // The coefficients are there: tables made for them.
        encoder.set_optimized_huffman_tables(true);
    }
    if let Some(exif) = fitting(&spec.metadata.exif, "EXIF", EXIF_BYTES, warnings) {
        encoder.add_exif_metadata(exif)?;
    }
    for (number, segment) in splice::jpeg(&spec.metadata, warnings) {
        encoder.add_app_segment(number, segment)?;
    }
    if let Some(icc) = fitting(&spec.metadata.icc, "ICC profile", ICC_BYTES, warnings) {
        encoder.add_icc_profile(icc)?;
    }
    if let Some((density, unit)) = spec.metadata.notes.density.and_then(Density::jfif) {
        encoder.set_density(PixelDensity {
            density: density.into(),
            unit: match unit {
                Length::None => PixelDensityUnit::PixelAspectRatio,
                Length::Inch => PixelDensityUnit::Inches,
                Length::Centimetre => PixelDensityUnit::Centimeters,
            },
        });
    }
    encoder.encode_image(picture)
}

/// Segments of comments.
fn comments(spec: &SinkSpec, warnings: &mut Vec<String>) -> Vec<u8> {
    let mut segments = Vec::new();
    for comment in &spec.metadata.notes.comments {
        match u16::try_from(comment.len() + 2) {
            Ok(length) => {
                segments.extend(COMMENT);
                segments.extend(length.to_be_bytes());
                segments.extend(comment);
            }
            Err(_) => warnings.push(format!(
                "jpeg: a comment was not carried: it has {} bytes, the format holds {COMMENT_BYTES}",
                comment.len()
            )),
        }
    }
    segments
}

/// What fits into the format; a warning for what does not.
fn fitting<'a>(
    data: &'a Option<Vec<u8>>,
    what: &str,
    limit: usize,
    warnings: &mut Vec<String>,
) -> Option<&'a [u8]> {
    let data = data.as_deref()?;
    if data.len() > limit {
        warnings.push(format!(
            "jpeg: {what} was not carried: it has {} bytes, the format holds {limit}",
            data.len()
        ));
        return None;
    }
    Some(data)
}

/// The picture as the encoder wants to see it: row by row from the top, the last row again where blocks reach
/// below it.
struct Picture<'p, 'feed> {
    width: u16,
    height: u16,
    color: JpegColorType,
    at: RefCell<At<'p, 'feed>>,
    stopped: &'p Cell<bool>,
}

/// Where in the feed the encoder is.
struct At<'p, 'feed> {
    rows: &'p mut Rows<'feed>,
    chunk: Vec<u8>,
    /// Number of the row that `chunk` begins with.
    first: usize,
}

impl<'p, 'feed> At<'p, 'feed> {
    fn new(rows: &'p mut Rows<'feed>) -> Self {
        Self {
            rows,
            chunk: Vec::new(),
            first: 0,
        }
    }

    /// Row `y`; `None` when the feed has stopped. `y` never goes back beyond the chunk.
    fn row(&mut self, y: usize) -> Option<&[u8]> {
        let row_bytes = self.rows.row_bytes();
        while y >= self.first + self.chunk.len() / row_bytes {
            self.first += self.chunk.len() / row_bytes;
            let spent = std::mem::take(&mut self.chunk);
            self.chunk = self.rows.next_chunk(spent).ok()??;
        }
        let from = (y - self.first) * row_bytes;
        Some(&self.chunk[from..from + row_bytes])
    }
}

impl ImageBuffer for &Picture<'_, '_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        self.color
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, planes: &mut [Vec<u8>; 4]) {
        let mut at = self.at.borrow_mut();
        let row = if self.stopped.get() {
            None
        } else {
            at.row(usize::from(y))
        };
        let [first, second, third, _] = planes;
        match (row, self.color) {
            (Some(row), JpegColorType::Luma) => first.extend_from_slice(row),
            (Some(row), _) => {
                // A pass for each plane: three simple loops, which the compiler turns into vector code.
                let pixels = row.as_chunks::<3>().0.iter();
                first.extend(pixels.clone().map(|&[r, g, b]| rgb_to_ycbcr(r, g, b).0));
                second.extend(pixels.clone().map(|&[r, g, b]| rgb_to_ycbcr(r, g, b).1));
                third.extend(pixels.map(|&[r, g, b]| rgb_to_ycbcr(r, g, b).2));
            }
            (None, color) => {
                // The encoder has no way to be told, but it needs a full row. What it makes of it never gets
                // past the writer.
                self.stopped.set(true);
                let width = usize::from(self.width);
                let planes = if color == JpegColorType::Luma { 1 } else { 3 };
                for plane in [first, second, third].into_iter().take(planes) {
                    plane.resize(plane.len() + width, 0);
                }
            }
        }
    }
}

/// The file, closed as soon as the feed has stopped: so the encoder ends at its next write and not after
/// thousands of black rows. Puts comments, which the encoder does not know, behind the header, where libjpeg's users
/// put them.
struct Writer<'a> {
    out: &'a mut Output,
    stopped: &'a Cell<bool>,
    comments: Vec<u8>,
    /// Bytes before they are due.
    header_left: usize,
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped.get() {
            return Err(io::Error::other("the rows ended early"));
        }
        if self.header_left == 0 {
            return self.out.write(bytes);
        }
        let written = self.out.write(&bytes[..bytes.len().min(self.header_left)])?;
        self.header_left -= written;
        if self.header_left == 0 {
            self.out.write_all(&self.comments)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Most bytes held besides the rows: the rows of the largest blocks as planes, the file's buffer; if progressive,
/// all rows as planes and, at two bytes each, all coefficients.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let block = match spec.settings.jpeg_chroma {
        JpegChroma::Full => 8,
        JpegChroma::Quarter => 16,
    };
    let rows_bytes = |rows: u64| {
        rows * u64::from(spec.size.width).next_multiple_of(block) * spec.layout.channels.count() as u64
    };
    let planes_bytes = if spec.settings.jpeg_progressive {
        3 * rows_bytes(u64::from(spec.size.height).next_multiple_of(block))
    } else {
        rows_bytes(block)
    };
    planes_bytes + BUFFER_BYTES as u64
}
