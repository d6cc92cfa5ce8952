//! Owns the frames of an animated PNG, each as a whole canvas. Holds one frame besides the canvas.

use png::{BlendOp, DisposeOp};

use super::canvas::{Blend, Canvas, Disposal, Place};
use super::png::{image_error, layout};
use super::{Bands, Bounded, Shape, Trouble, bounded};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

/// An animated PNG whose header is read.
pub(super) struct Frames {
    reader: png::Reader<Bounded>,
    canvas: Canvas,
    shape: Shape,
    /// As the decoder gives them.
    stored: PixelLayout,
    frame: Vec<u8>,
    /// The first picture is none of the frames.
    understudy: bool,
    first: bool,
}

impl Frames {
    pub(super) fn open(source: Source, shape: Shape, limits: &DecodeLimits) -> Result<Self, Trouble> {
        let understudy = source.outline.understudy;
        let bytes = usize::try_from(limits.decode_bytes).unwrap_or(usize::MAX);
        let mut decoder = png::Decoder::new_with_limits(bounded(source), png::Limits { bytes });
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_ignore_text_chunk(true);
        decoder.set_transformations(png::Transformations::EXPAND);
        let reader = decoder.read_info().map_err(image_error)?;
        let (width, height) = reader.info().size();
        let stored = layout(reader.output_color_type()).ok_or(Trouble::Changed)?;
        let with_alpha = PixelLayout {
            channels: stored.channels.with_alpha(),
            ..stored
        };
        if shape.layout != stored && shape.layout != with_alpha {
            return Err(Trouble::Changed);
        }
        shape.insist(Size::new(width, height), Some(shape.layout))?;
        let frame_bytes = reader.output_buffer_size().ok_or(Trouble::Changed)?;
        Ok(Self {
            reader,
            canvas: Canvas::new(shape.size, shape.layout),
            shape,
            stored,
            // Room for the alpha that the canvas may have besides.
            frame: vec![0; frame_bytes.max(shape.row_bytes() * height as usize)],
            understudy,
            first: true,
        })
    }
}

impl Bands for Frames {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        if std::mem::take(&mut self.understudy) {
            self.reader.next_frame(&mut self.frame).map_err(image_error)?;
        }
        let read = self.reader.next_frame(&mut self.frame).map_err(image_error)?;
        let control = self.reader.info().frame_control.ok_or(Trouble::Changed)?;
        let place = Place {
            left: control.x_offset,
            top: control.y_offset,
            size: Size::new(read.width, read.height),
        };
        let pixels = place.size.pixels() as usize;
        if self.stored.depth == Depth::Sixteen {
            for sample in self.frame.as_chunks_mut::<2>().0 {
                *sample = u16::from_be_bytes(*sample).to_ne_bytes();
            }
        }
        if self.stored != self.shape.layout {
            add_alpha(&mut self.frame, pixels, self.stored);
        }
        let first = std::mem::take(&mut self.first);
        let disposal = match control.dispose_op {
            DisposeOp::None => Disposal::Keep,
            DisposeOp::Background => Disposal::Clear,
            // Before the first frame there was nothing.
            DisposeOp::Previous if first => Disposal::Clear,
            DisposeOp::Previous => Disposal::Restore,
        };
        let blend = match control.blend_op {
            BlendOp::Source => Blend::Replace,
            BlendOp::Over => Blend::Over,
        };
        self.canvas.lay(&self.frame, place, blend, disposal);
        self.canvas.write(rows, self.shape.layout);
        Ok(())
    }
}

/// Makes room for alpha behind the colours of each of so many pixels, from the last one on, in place.
fn add_alpha(frame: &mut [u8], pixels: usize, stored: PixelLayout) {
    let (from, alpha) = (stored.bytes_per_pixel(), stored.depth.bytes());
    for pixel in (0..pixels).rev() {
        frame.copy_within(pixel * from..(pixel + 1) * from, pixel * (from + alpha));
        frame[pixel * (from + alpha) + from..][..alpha].fill(0xFF);
    }
}

impl Channels {
    /// The same colours with alpha.
    pub(in crate::codec) fn with_alpha(self) -> Self {
        match self {
            Self::Grey | Self::GreyAlpha => Self::GreyAlpha,
            Self::Rgb | Self::Rgba => Self::Rgba,
        }
    }
}
