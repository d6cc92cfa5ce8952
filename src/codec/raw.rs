//! Owns the words for samples as files have them, of which a [`PixelLayout`] can say only the usual ones. Plain data.

use super::layout::{Channels, Depth, PixelLayout};

/// What the samples of a pixel mean together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Model {
    /// Luminance.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Cyan, magenta, yellow, black.
    Cmyk(Ink),
    /// Luminance and two differences of colour, and how much red and blue count in the luminance.
    YCbCr {
        /// Share of red.
        red: f32,
        /// Share of blue.
        blue: f32,
    },
    /// The same of cyan, magenta and yellow, and black, as JPEGs of Adobe have it: more is less ink.
    Ycck,
    /// CIE L*a*b*, white is D50; a and b are shifted by half of their range.
    Lab {
        /// Sixteen bits as old ICC profiles have them: L* is 100 at 0xFF00.
        icc: bool,
    },
}

/// What the largest value of a CMYK sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// All that the paper takes.
    Full,
    /// None: JPEGs of Adobe are inverted.
    None,
}

impl Model {
    /// Samples of a pixel, without alpha.
    pub(super) fn samples(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::YCbCr { .. } | Self::Lab { .. } => 3,
            Self::Cmyk(_) | Self::Ycck => 4,
        }
    }
}

/// Alpha behind the samples of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    /// There is none.
    None,
    /// It is there.
    Straight,
    /// It is there, and the colours are multiplied by it.
    Premultiplied,
}

/// How a sample is stored in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    /// One byte.
    Eight,
    /// Two bytes in the machine's order.
    Sixteen,
    /// `f32` in the machine's order, 0.0 to 1.0.
    Float,
}

impl Sample {
    /// Bytes of one.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
            Self::Float => 4,
        }
    }
}

/// How the rows lie that a decoder gives: pixel by pixel, without padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RawLayout {
    pub(super) model: Model,
    pub(super) alpha: Alpha,
    pub(super) sample: Sample,
}

impl RawLayout {
    /// Samples of a pixel, alpha included.
    pub(super) fn samples(self) -> usize {
        self.model.samples() + usize::from(self.alpha != Alpha::None)
    }

    /// Bytes of a pixel: 1 to 20.
    pub(super) fn bytes_per_pixel(self) -> usize {
        self.samples() * self.sample.bytes()
    }

    /// Bytes of a row of so many pixels.
    pub(super) fn row_bytes(self, width: u32) -> usize {
        self.bytes_per_pixel() * width as usize
    }

    /// The same as what everybody else has, if it is.
    pub(super) fn plain(self) -> Option<PixelLayout> {
        let depth = match self.sample {
            Sample::Eight => Depth::Eight,
            Sample::Sixteen => Depth::Sixteen,
            Sample::Float => return None,
        };
        match self.model {
            Model::Grey | Model::Rgb => Some(PixelLayout {
                channels: self.channels(),
                depth,
            }),
            _ => None,
        }
    }

    /// What it becomes: grey stays grey, all else is made of red, green and blue.
    pub(super) fn channels(self) -> Channels {
        match (self.model, self.alpha) {
            (Model::Grey, Alpha::None) => Channels::Grey,
            (Model::Grey, _) => Channels::GreyAlpha,
            (_, Alpha::None) => Channels::Rgb,
            _ => Channels::Rgba,
        }
    }
}

impl From<PixelLayout> for RawLayout {
    fn from(layout: PixelLayout) -> Self {
        Self {
            model: match layout.channels {
                Channels::Grey | Channels::GreyAlpha => Model::Grey,
                Channels::Rgb | Channels::Rgba => Model::Rgb,
            },
            alpha: if layout.channels.has_alpha() {
                Alpha::Straight
            } else {
                Alpha::None
            },
            sample: match layout.depth {
                Depth::Eight => Sample::Eight,
                Depth::Sixteen => Sample::Sixteen,
            },
        }
    }
}
