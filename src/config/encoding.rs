//! Owns the settings of the encoders: everything about a result's file beside its format and quality. Plain data.
//!
//! Part of the recipe, and so of the key of a job: what is at its default is left out when a recipe is stored, so that
//! an update that adds a setting does not ask for every result again.

use serde::{Deserialize, Serialize};

use super::values::Word;

/// Settings of the encoders, each for one format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncodeSettings {
    /// Resolution of JPEG's colours.
    #[serde(skip_serializing_if = "is_default")]
    pub jpeg_chroma: JpegChroma,
    /// JPEG in several scans, coarse to fine.
    #[serde(skip_serializing_if = "is_default")]
    pub jpeg_progressive: bool,
    /// How hard PNG tries.
    #[serde(skip_serializing_if = "is_default")]
    pub png_effort: PngEffort,
    /// Whether WebP loses anything.
    #[serde(skip_serializing_if = "is_default")]
    pub webp_mode: WebpMode,
    /// Compression of TIFF.
    #[serde(skip_serializing_if = "is_default")]
    pub tiff_compression: TiffCompression,
}

impl EncodeSettings {
    /// Whether WebP of this quality loses nothing.
    pub fn webp_is_lossless(self, quality: u8) -> bool {
        match self.webp_mode {
            WebpMode::Auto => quality >= 100,
            WebpMode::Lossy => false,
            WebpMode::Lossless => true,
        }
    }
}

/// Whether a setting need not be stored.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `animation`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnimationFormat {
    /// The source's.
    #[default]
    Same,
    /// Animated WebP.
    Webp,
    /// Animated PNG.
    Png,
    /// GIF.
    Gif,
}

/// `jpeg_chroma`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JpegChroma {
    /// As fine as the light.
    #[default]
    #[serde(rename = "4:4:4")]
    Full,
    /// Half of it on both sides.
    #[serde(rename = "4:2:0")]
    Quarter,
}

/// `png_effort`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PngEffort {
    /// As fast as it can be.
    Fast,
    /// Nearly as small as it can be without being slow.
    #[default]
    Balanced,
    /// As small as it can be.
    Small,
}

/// `webp_mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebpMode {
    /// Lossless at quality 100, lossy below.
    #[default]
    Auto,
    /// Lossy, whatever the quality.
    Lossy,
    /// Lossless, whatever the quality.
    Lossless,
}

/// `tiff_compression`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TiffCompression {
    /// LZW for 8 bits, deflate for 16.
    #[default]
    Auto,
    /// LZW.
    Lzw,
    /// Deflate.
    Deflate,
    /// None.
    None,
}

impl Word for AnimationFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("same", Self::Same),
        ("webp", Self::Webp),
        ("png", Self::Png),
        ("gif", Self::Gif),
    ];
}

impl Word for JpegChroma {
    const WORDS: &'static [(&'static str, Self)] = &[("4:4:4", Self::Full), ("4:2:0", Self::Quarter)];
}

impl Word for PngEffort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("fast", Self::Fast),
        ("balanced", Self::Balanced),
        ("small", Self::Small),
    ];
}

impl Word for WebpMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("lossy", Self::Lossy),
        ("lossless", Self::Lossless),
    ];
}

impl Word for TiffCompression {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("lzw", Self::Lzw),
        ("deflate", Self::Deflate),
        ("none", Self::None),
    ];
}
