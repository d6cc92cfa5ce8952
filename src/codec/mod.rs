//! Owns image files: headers, rows out of them, rows into them, and the metadata that travels along. The only
//! module that names image codecs. Never scales a pixel and never gives a file its name.

mod bands;
#[cfg(test)]
mod carry_tests;
mod color;
mod convert;
mod decoder;
mod density;
mod encode;
mod ending;
mod error;
mod exif;
mod exif_patch;
mod exif_place;
mod file;
#[doc(hidden)]
pub mod fuzz;
mod gather;
mod guard;
mod layout;
mod metadata;
mod notes;
mod outline;
mod picture;
mod probe;
mod raw;
#[cfg(test)]
mod read_tests;
mod sequence;
mod sink;
mod sniff;
mod source;
mod splice;
mod turn;
mod verify;
mod xmp;

use crate::config::{AnimationFormat, Format, Recipe};

pub use ending::{Ending, ends_properly};
pub use error::CodecError;
pub use layout::{Channels, Depth, PixelLayout, ResultFormat, SourceFormat};
pub use metadata::{Carried, carry, carry_sidecar};
pub use notes::Notes;
pub use probe::{DecodeLimits, ImageHeader, probe};
pub use sequence::{Animation, Delay, Page, Sequence};
pub use sink::{
    Encoded, FeedStopped, RowFeed, SinkSpec, encode, encode_bytes, holds, side_limit, streaming_alternative,
};
pub use source::{RowSource, open};
pub use turn::Turn;
pub use verify::verify;
pub use xmp::Provenance;

/// The format of a source's result, by what its recipe says about pictures and about animations.
pub fn target_format(recipe: &Recipe, header: &ImageHeader) -> ResultFormat {
    match header.sequence {
        Sequence::Animation(_) if !header.sequence.is_single() => {
            animation_format(recipe.animation, header.format)
        }
        _ => result_format(recipe.format, header.format),
    }
}

/// The format of a picture's result: the one that was asked for, or the source's own. A lossless source that cannot be
/// written as it is becomes PNG.
pub fn result_format(wanted: Format, source: SourceFormat) -> ResultFormat {
    match (wanted, source) {
        (Format::Jpeg, _) | (Format::Same, SourceFormat::Jpeg | SourceFormat::Heic) => ResultFormat::Jpeg,
        (Format::Png, _) | (Format::Same, SourceFormat::Png | SourceFormat::Bmp | SourceFormat::Gif) => {
            ResultFormat::Png
        }
        (Format::Webp, _) | (Format::Same, SourceFormat::Webp) => ResultFormat::Webp,
        (Format::Tiff, _) | (Format::Same, SourceFormat::Tiff) => ResultFormat::Tiff,
        (Format::Avif, _) | (Format::Same, SourceFormat::Avif) => ResultFormat::Avif,
        (Format::Jxl, _) | (Format::Same, SourceFormat::Jxl) => ResultFormat::Jxl,
    }
}

/// The format of an animation's result: the one that was asked for, or the source's own. What cannot be written
/// as it is becomes WebP, which holds any number of colours.
fn animation_format(wanted: AnimationFormat, source: SourceFormat) -> ResultFormat {
    match (wanted, source) {
        (AnimationFormat::Png, _) | (AnimationFormat::Same, SourceFormat::Png) => ResultFormat::Png,
        (AnimationFormat::Gif, _) | (AnimationFormat::Same, SourceFormat::Gif) => ResultFormat::Gif,
        (AnimationFormat::Webp | AnimationFormat::Same, _) => ResultFormat::Webp,
    }
}
