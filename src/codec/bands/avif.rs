//! Owns the pixels of an AVIF: its parts are decoded one after the other and written where they belong. Holds one of
//! them. Never knows how the picture is turned.
//!
//! The decoder runs on a thread of its own ([`fenced_apart`]): its functions cannot be unwound through.

use std::fs::File;

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use re_rav1d::dav1d::pixel::{ChromaLocation, MatrixCoefficients, YUVRange};
use re_rav1d::dav1d::{
    Decoder, Error, Picture as Decoded, PixelLayout as Sampling, PlanarImageComponent, Settings,
};

use super::parts::Parts;
use super::yuv::{Matrix, Plane, Planes, Target, Window, suits};
use super::{Bands, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::guard::{Panicked, fenced_apart};
use crate::codec::outline::{Extent, Grid, Heif};
use crate::size::Size;

/// An AVIF whose parts are known.
pub(super) struct Picture {
    file: File,
    heif: Heif,
    shape: Shape,
}

impl Picture {
    pub(super) fn new(source: Source, shape: Shape) -> Result<Self, Trouble> {
        Ok(Self {
            file: source.file,
            heif: source.outline.heif.ok_or(Trouble::Changed)?,
            shape,
        })
    }

    /// Decodes each part of a grid and hands it on with its place.
    fn each(
        &self,
        grid: &Grid,
        mut write: impl FnMut(&Planes<'_>, Window) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        for (index, tile) in (0u32..).zip(&grid.tiles) {
            let corner = (
                index % grid.columns * grid.tile.width,
                index / grid.columns * grid.tile.height,
            );
            let Some(window) = self.window(corner, grid.tile) else {
                continue;
            };
            let decoded = decode(&self.file, tile, grid.tile)?;
            let planes = [
                PlanarImageComponent::Y,
                PlanarImageComponent::U,
                PlanarImageComponent::V,
            ];
            let is_grey = decoded.pixel_layout() == Sampling::I400;
            let held = planes[..if is_grey { 1 } else { 3 }]
                .iter()
                .map(|plane| (decoded.plane(*plane), decoded.stride(*plane) as usize));
            let held: Vec<_> = held.collect();
            let plane = |at: usize| Plane {
                bytes: &held[at].0,
                stride: held[at].1,
            };
            write(
                &self.planes(&decoded, plane(0), (!is_grey).then(|| [plane(1), plane(2)]))?,
                window,
            )?;
        }
        Ok(())
    }

    /// What of a part is seen, and where.
    fn window(&self, corner: (u32, u32), tile: Size) -> Option<Window> {
        let side = |corner: u32, side: u32, crop: u32, whole: u32| {
            let begin = corner.max(crop);
            let end = corner.saturating_add(side).min(crop.saturating_add(whole));
            (begin < end).then(|| (begin - corner, end - begin, begin - crop))
        };
        let whole = self.shape.size;
        let (from_x, wide, to_x) = side(corner.0, tile.width, self.heif.left, whole.width)?;
        let (from_y, high, to_y) = side(corner.1, tile.height, self.heif.top, whole.height)?;
        Some(Window {
            from: (from_x, from_y),
            size: Size::new(wide, high),
            to: (to_x, to_y),
        })
    }

    fn planes<'a>(
        &self,
        decoded: &Decoded,
        luma: Plane<'a>,
        chroma: Option<[Plane<'a>; 2]>,
    ) -> Result<Planes<'a>, Trouble> {
        let (matrix, full_range) = self.heif.matrix.unwrap_or_else(|| {
            let full = decoded.color_range() == YUVRange::Full;
            (decoded.matrix_coefficients().number(), full)
        });
        let matrix = Matrix::numbered(matrix)
            .ok_or_else(|| unsupported(format!("matrix coefficients of kind {matrix}")))?;
        let halved = match decoded.pixel_layout() {
            Sampling::I420 => (true, true),
            Sampling::I422 => (true, false),
            Sampling::I400 | Sampling::I444 => (false, false),
        };
        Ok(Planes {
            luma,
            chroma,
            size: Size::new(decoded.width(), decoded.height()),
            halved,
            bits: decoded
                .bits_per_component()
                .and_then(|bits| u8::try_from(bits.0).ok())
                .ok_or(Trouble::Changed)?,
            full_range,
            matrix,
            left_sited: decoded.chroma_location() == ChromaLocation::Left,
        })
    }
}

impl Bands for Picture {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let layout = self.shape.layout;
        let mut target = Target {
            rows,
            layout,
            width: self.shape.size.width,
        };
        self.each(&self.heif.color, |planes, window| {
            if !suits(layout, planes.chroma.is_none()) {
                return Err(Trouble::Changed);
            }
            planes.write_colors(window, &mut target);
            Ok(())
        })?;
        if let Some(alpha) = &self.heif.alpha {
            self.each(alpha, |planes, window| {
                planes.write_alpha(window, &mut target);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Decodes a part, which must be as large as the container says.
fn decode(file: &File, tile: &[Extent], size: Size) -> Result<Decoded, Trouble> {
    let packed = Parts::new(file, tile).all().map_err(ImageError::IoError)?;
    if packed.is_empty() {
        return Err(damaged("a part of it is empty").into());
    }
    let pixels = u32::try_from(size.pixels()).unwrap_or(u32::MAX);
    let decoded = match fenced_apart(move || decode_apart(packed, pixels)) {
        Ok(decoded) => decoded.map_err(image_error)?,
        Err(Panicked) => return Err(damaged("its pixels are damaged").into()),
    };
    if Size::new(decoded.width(), decoded.height()) != size {
        return Err(damaged("its headers contradict each other").into());
    }
    Ok(decoded)
}

fn decode_apart(packed: Vec<u8>, pixels: u32) -> Result<Decoded, Error> {
    let mut settings = Settings::new();
    // One thread and one frame: more of them hold more memory than was promised.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_frame_size_limit(pixels);
    let mut decoder = Decoder::with_settings(&settings)?;
    let mut sent = decoder.send_data(packed, None, None, None);
    loop {
        match decoder.get_picture() {
            Ok(decoded) => return Ok(decoded),
            Err(Error::Again) => match sent {
                // It took everything and gives nothing.
                Ok(()) => return Err(Error::InvalidArgument),
                Err(Error::Again) => sent = decoder.send_pending_data(),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

/// As H.273 numbers it.
trait Numbered {
    fn number(self) -> u16;
}

impl Numbered for MatrixCoefficients {
    fn number(self) -> u16 {
        match self {
            Self::Identity => 0,
            Self::BT709 => 1,
            Self::Unspecified => 2,
            Self::BT470M => 4,
            Self::BT470BG => 5,
            Self::ST170M => 6,
            Self::ST240M => 7,
            Self::YCgCo => 8,
            Self::BT2020NonConstantLuminance => 9,
            Self::BT2020ConstantLuminance => 10,
            Self::ST2085 => 11,
            Self::ChromaticityDerivedNonConstantLuminance => 12,
            Self::ChromaticityDerivedConstantLuminance => 13,
            Self::ICtCp => 14,
            _ => u16::MAX,
        }
    }
}

fn hint() -> ImageFormatHint {
    ImageFormatHint::Name("AVIF".to_owned())
}

fn damaged(what: &'static str) -> ImageError {
    ImageError::Decoding(DecodingError::new(hint(), what))
}

fn unsupported(what: String) -> ImageError {
    let kind = UnsupportedErrorKind::GenericFeature(what);
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(hint(), kind))
}

/// In the words that the `image` crate has for it.
fn image_error(error: Error) -> ImageError {
    match error {
        Error::NotEnoughMemory => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        Error::UnsupportedBitstream => unsupported("features of AV1".to_owned()),
        // The only one for whatever is wrong with the bits.
        _ => damaged("its pixels are damaged"),
    }
}
