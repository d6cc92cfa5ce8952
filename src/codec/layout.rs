//! Owns the words for samples: which channels, how deep, in which file format. Plain data.

/// A file format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// TIFF.
    Tiff,
    /// BMP.
    Bmp,
    /// GIF.
    Gif,
    /// AVIF.
    Avif,
    /// JPEG XL, as a bare codestream or in its container.
    Jxl,
    /// HEIC: HEVC in a HEIF container.
    Heic,
}

impl SourceFormat {
    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
            Self::Avif => "avif",
            Self::Jxl => "jxl",
            Self::Heic => "heic",
        }
    }
}

/// A file format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP: lossy or lossless.
    Webp,
    /// TIFF.
    Tiff,
    /// AVIF.
    Avif,
    /// JPEG XL, lossless.
    Jxl,
    /// GIF.
    Gif,
}

impl ResultFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Jpeg,
        Self::Png,
        Self::Webp,
        Self::Tiff,
        Self::Avif,
        Self::Jxl,
        Self::Gif,
    ];

    /// The name in documents and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Tiff => "tiff",
            Self::Avif => "avif",
            Self::Jxl => "jxl",
            Self::Gif => "gif",
        }
    }

    /// The inverse of [`ResultFormat::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The extensions that name this format, the usual one first.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Png => &["png"],
            Self::Webp => &["webp"],
            Self::Tiff => &["tif", "tiff"],
            Self::Avif => &["avif"],
            Self::Jxl => &["jxl"],
            Self::Gif => &["gif"],
        }
    }
}

/// Channels of a pixel, in the order in which they lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Luminance.
    Grey,
    /// Luminance and alpha, not premultiplied.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and alpha, not premultiplied.
    Rgba,
}

impl Channels {
    /// Samples of a pixel: 1 to 4.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Whether the last sample is alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }
}

/// Bits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// 0..=255, one byte.
    Eight,
    /// 0..=65535, two bytes in the machine's byte order.
    Sixteen,
}

impl Depth {
    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }

    /// Bits of a sample.
    pub fn bits(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// How the samples of a row lie in memory: pixel by pixel, without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelLayout {
    /// Samples of a pixel.
    pub channels: Channels,
    /// Bits of a sample.
    pub depth: Depth,
}

impl PixelLayout {
    /// Bytes of a pixel: 1 to 8.
    pub fn bytes_per_pixel(self) -> usize {
        self.channels.count() * self.depth.bytes()
    }

    /// Bytes of a row of so many pixels.
    pub fn row_bytes(self, width: u32) -> usize {
        self.bytes_per_pixel() * width as usize
    }
}
