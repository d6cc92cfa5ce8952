//! Owns the walk through a GIF's blocks, from the signature to the trailer. Never unpacks one.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Facts, Flaw, MOST_METADATA_BYTES, Outline, delay};
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::size::Size;

const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

/// XMP lies there as it is, and its text would be taken for lengths; a ramp behind it leads every reader to a zero.
const XMP_RAMP_BYTES: usize = 257;

/// Disposal: the frame gives way to what was there before it.
const RESTORE: u8 = 3;
const CLEAR: u8 = 2;

/// Bytes that are held for a pixel of a frame: colours, alpha and the index in the palette.
const FRAME_PIXEL_BYTES: u64 = 5;

/// What stands before a frame.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    disposal: u8,
    transparent: bool,
    hundredths: u16,
}

/// What is known of all frames so far.
#[derive(Debug, Default)]
struct Walk {
    frames: u64,
    control: Control,
    largest_frame_px: u64,
    restores: bool,
    /// How often it is shown; 1 without a word about it.
    loops: Option<u32>,
    icc: Option<Vec<u8>>,
    xmp: Option<Vec<u8>>,
}

/// Finds the trailer.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(6)?;
    let size = Size::new(stream.u16_le()?.into(), stream.u16_le()?.into());
    let [flags, _, _] = stream.bytes()?;
    outline.size = (size.pixels() > 0).then_some(size);
    skip_palette(stream, flags)?;
    let mut walk = Walk::default();
    loop {
        match stream.byte()? {
            FRAME => walk.frame(stream, outline)?,
            EXTENSION => walk.extension(stream, outline)?,
            TRAILER if walk.frames == 0 => return Err(Flaw::Damaged("it holds no picture")),
            TRAILER => break,
            _ => return Err(Flaw::Damaged("one of its blocks is damaged")),
        }
    }
    outline.image_end = Some(stream.at());
    let canvas_px = outline.size.map_or(0, Size::pixels);
    let canvases = if walk.restores { 2 } else { 1 };
    outline.add_work(canvas_px.saturating_mul(4 * canvases));
    outline.add_work(walk.largest_frame_px.saturating_mul(FRAME_PIXEL_BYTES));
    if let Some(animation) = &mut outline.animation {
        animation.loops = walk.loops.unwrap_or(1);
    }
    let channels = if outline.holes {
        Channels::Rgba
    } else {
        Channels::Rgb
    };
    outline.facts = Some(Facts {
        raw: PixelLayout {
            channels,
            depth: Depth::Eight,
        }
        .into(),
        orientation: None,
        icc: walk.icc,
        exif: None,
        xmp: walk.xmp,
    });
    Ok(())
}

fn skip_palette<R: Read + Seek>(stream: &mut Stream<R>, flags: u8) -> Result<(), Flaw> {
    if flags & 0x80 != 0 {
        stream.skip(3 << ((flags & 7) + 1))?;
    }
    Ok(())
}

impl Walk {
    fn frame<R: Read + Seek>(&mut self, stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
        let (left, top) = (stream.u16_le()?, stream.u16_le()?);
        let size = Size::new(stream.u16_le()?.into(), stream.u16_le()?.into());
        let flags = stream.byte()?;
        let control = std::mem::take(&mut self.control);
        self.frames += 1;
        outline.pictures = self.frames;
        if self.frames == 1 {
            // As browsers do: a canvas that does not even hold the first frame is a mistake of its writer.
            let canvas = outline.size.unwrap_or(Size::new(0, 0));
            if canvas.width < size.width || canvas.height < size.height {
                outline.size = Some(size);
            }
            let covered = (left, top) == (0, 0) && outline.size == Some(size);
            outline.holes |= !covered;
        }
        outline.holes |= control.transparent || matches!(control.disposal, CLEAR | RESTORE);
        self.restores |= control.disposal == RESTORE;
        self.largest_frame_px = self.largest_frame_px.max(size.pixels());
        let canvas_px = outline.size.map_or(0, Size::pixels);
        outline.add_frame(
            canvas_px.max(size.pixels()),
            delay(control.hundredths.into(), 100),
        );
        skip_palette(stream, flags)?;
        // The width of the first code; then the data.
        stream.skip(1)?;
        skip_blocks(stream)
    }

    fn extension<R: Read + Seek>(
        &mut self,
        stream: &mut Stream<R>,
        outline: &mut Outline,
    ) -> Result<(), Flaw> {
        match stream.byte()? {
            GRAPHIC_CONTROL => {
                let length = stream.byte()?;
                if length == 4 {
                    let [flags, low, high, _] = stream.bytes()?;
                    self.control = Control {
                        disposal: flags >> 2 & 7,
                        transparent: flags & 1 != 0,
                        hundredths: u16::from_le_bytes([low, high]),
                    };
                } else {
                    stream.skip(length.into())?;
                    if length == 0 {
                        return Ok(());
                    }
                }
                skip_blocks(stream)
            }
            APPLICATION => self.application(stream, outline),
            _ => skip_blocks(stream),
        }
    }

    fn application<R: Read + Seek>(
        &mut self,
        stream: &mut Stream<R>,
        outline: &mut Outline,
    ) -> Result<(), Flaw> {
        let length = stream.byte()?;
        if length != 11 {
            stream.skip(length.into())?;
            return if length == 0 { Ok(()) } else { skip_blocks(stream) };
        }
        match &stream.bytes::<11>()? {
            b"NETSCAPE2.0" | b"ANIMEXTS1.0" => {
                let mut data = Vec::new();
                blocks(stream, |block| data.extend_from_slice(block))?;
                if let [1, low, high, ..] = data[..] {
                    // Repetitions, which come after the first time.
                    self.loops = Some(match u16::from_le_bytes([low, high]) {
                        0 => 0,
                        repetitions => u32::from(repetitions) + 1,
                    });
                }
            }
            b"ICCRGBG1012" => self.icc = gather(stream, outline, "the ICC profile", false)?,
            b"XMP DataXMP" => {
                self.xmp = gather(stream, outline, "the XMP", true)?.map(|mut xmp| {
                    // The last zero ended the blocks and is not among them.
                    xmp.truncate(xmp.len().saturating_sub(XMP_RAMP_BYTES));
                    xmp
                });
            }
            _ => skip_blocks(stream)?,
        }
        Ok(())
    }
}

/// Reads blocks up to the one of length zero.
pub(in super::super) fn blocks<R: Read + Seek>(
    stream: &mut Stream<R>,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Flaw> {
    let mut block = [0; 255];
    loop {
        let length = usize::from(stream.byte()?);
        if length == 0 {
            return Ok(());
        }
        stream.fill(&mut block[..length])?;
        each(&block[..length]);
    }
}

fn skip_blocks<R: Read + Seek>(stream: &mut Stream<R>) -> Result<(), Flaw> {
    loop {
        match stream.byte()? {
            0 => return Ok(()),
            length => stream.skip(length.into())?,
        }
    }
}

/// All blocks as one, with their lengths between them where those are data too.
fn gather<R: Read + Seek>(
    stream: &mut Stream<R>,
    outline: &mut Outline,
    what: &str,
    with_lengths: bool,
) -> Result<Option<Vec<u8>>, Flaw> {
    let (mut data, mut too_long) = (Vec::new(), false);
    blocks(stream, |block| {
        if data.len() as u64 + 256 > MOST_METADATA_BYTES {
            too_long = true;
            return;
        }
        if with_lengths {
            data.push(block.len() as u8);
        }
        data.extend_from_slice(block);
    })?;
    // In a buffer that doubled.
    outline.add_work(data.len() as u64 * 2);
    if too_long {
        outline
            .warnings
            .push(format!("{what} is longer than 16 MiB and is not carried over"));
        return Ok(None);
    }
    Ok((!data.is_empty()).then_some(data))
}
