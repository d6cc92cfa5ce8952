//! Owns animated WebP files: each frame is what changed, coded by libwebp as a still picture and written at once.
//! Holds two frames and what libwebp makes of one. libwebp's own muxer would hold the whole file.

use std::io::{self, Seek, SeekFrom, Write};

use super::canvas::Area;
use super::webp::{self, FLAG_ALPHA, FLAG_EXIF, FLAG_ICC, FLAG_XMP, image_chunks, write_chunk};
use super::{Output, Rows, failed, refused};
use crate::codec::error::CodecError;
use crate::codec::layout::ResultFormat;
use crate::codec::sequence::{Animation, Sequence, Ticks};
use crate::codec::sink::SinkSpec;
use crate::size::Size;

/// A further flag of the extended file format.
const FLAG_ANIMATION: u8 = 0x02;

/// Of a frame: its pixels replace what was there instead of being laid over it.
const NO_BLENDING: u8 = 0x02;

/// Longest delay, in thousandths of a second: 24 bits.
const DELAY_MOST: u32 = (1 << 24) - 1;

/// Writes the frames.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let Sequence::Animation(animation) = &spec.sequence else {
        return Err(refused(ResultFormat::Webp, "it holds frames, not pages"));
    };
    let layout = webp::layout(spec)?;
    begin(spec, animation, out).map_err(|error| failed(out, ResultFormat::Webp, error))?;
    let mut clock = Ticks::new(1000, DELAY_MOST);
    let (mut before, mut now) = (Vec::new(), Vec::new());
    for (index, delay) in animation.delays.iter().enumerate() {
        now.clear();
        rows.read_picture(&mut now)?;
        let area = match index {
            0 => Area::whole(spec.size),
            _ => Area::changed(&before, &now, spec.size).even(),
        };
        let pixels = area.cut(&now, spec.size.width, spec.layout.bytes_per_pixel());
        let coded = webp::compress(spec, &pixels, layout, area.size)?;
        write_frame(out, area, clock.of(*delay), &coded)
            .map_err(|error| failed(out, ResultFormat::Webp, error))?;
        std::mem::swap(&mut before, &mut now);
        rows.next_picture();
    }
    end(spec, out).map_err(|error| failed(out, ResultFormat::Webp, error))?;
    Ok(Vec::new())
}

/// What stands before the frames. The file's length is written by [`end`].
fn begin(spec: &SinkSpec, animation: &Animation, out: &mut Output) -> io::Result<()> {
    let metadata = &spec.metadata;
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = FLAG_ANIMATION
        | flag(metadata.icc.is_some(), FLAG_ICC)
        | flag(metadata.exif.is_some(), FLAG_EXIF)
        | flag(metadata.xmp.is_some(), FLAG_XMP)
        | flag(spec.layout.channels.has_alpha(), FLAG_ALPHA);
    out.write_all(b"RIFF\0\0\0\0WEBP")?;
    let mut canvas = vec![flags, 0, 0, 0];
    push_size(&mut canvas, spec.size);
    write_chunk(out, *b"VP8X", &canvas)?;
    if let Some(icc) = &metadata.icc {
        write_chunk(out, *b"ICCP", icc)?;
    }
    // A background of full transparency, and how often it is shown.
    let mut control = vec![0; 4];
    let loops = u16::try_from(animation.loops).unwrap_or(u16::MAX);
    control.extend(loops.to_le_bytes());
    write_chunk(out, *b"ANIM", &control)
}

fn write_frame(out: &mut Output, area: Area, delay_ms: u32, coded: &[u8]) -> io::Result<()> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let (image, _) = image_chunks(coded).ok_or_else(|| invalid("libwebp's file is not whole"))?;
    let mut head = Vec::with_capacity(16);
    head.extend(&(area.x / 2).to_le_bytes()[..3]);
    head.extend(&(area.y / 2).to_le_bytes()[..3]);
    push_size(&mut head, area.size);
    head.extend(&delay_ms.to_le_bytes()[..3]);
    head.push(NO_BLENDING);
    let length = u32::try_from(head.len() + image.len()).map_err(|_| invalid("a frame exceeds 4 GiB"))?;
    out.write_all(b"ANMF")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&head)?;
    // Chunks, and so even in length.
    out.write_all(image)
}

/// What stands behind the frames, and the length at the file's beginning.
fn end(spec: &SinkSpec, out: &mut Output) -> io::Result<()> {
    if let Some(exif) = &spec.metadata.exif {
        write_chunk(out, *b"EXIF", exif)?;
    }
    if let Some(xmp) = &spec.metadata.xmp {
        write_chunk(out, *b"XMP ", xmp)?;
    }
    let end = out.stream_position()?;
    let length = u32::try_from(end - 8)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file would exceed 4 GiB"))?;
    out.seek(SeekFrom::Start(4))?;
    out.write_all(&length.to_le_bytes())?;
    out.seek(SeekFrom::Start(end))?;
    Ok(())
}

/// Width and height, less one, in 24 bits each.
fn push_size(bytes: &mut Vec<u8>, size: Size) {
    bytes.extend(&(size.width - 1).to_le_bytes()[..3]);
    bytes.extend(&(size.height - 1).to_le_bytes()[..3]);
}

/// Most bytes held besides the rows: two frames, what changed, and what libwebp makes of it.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let frame = spec.layout.row_bytes(spec.size.width) as u64 * u64::from(spec.size.height);
    // One of the three is libwebp's input, which is counted there.
    2 * frame + webp::bytes(spec)
}
