//! Owns image files: headers, rows out of them, rows into them, and the metadata that travels along. The only
//! module that names image codecs. Never scales a pixel and never gives a file its name.

mod bands;
#[cfg(test)]
mod carry_tests;
mod color;
mod convert;
mod decoder;
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

use crate::config::Format;

pub use ending::{Ending, ends_properly};
pub use error::CodecError;
pub use layout::{Channels, Depth, PixelLayout, ResultFormat, SourceFormat};
pub use metadata::{Carried, carry, carry_sidecar};
pub use probe::{DecodeLimits, ImageHeader, probe};
pub use sequence::{Animation, Delay, Page, Sequence};
pub use sink::{
    Encoded, FeedStopped, RowFeed, SinkSpec, encode, encode_bytes, side_limit, streaming_alternative,
};
pub use source::{RowSource, open};
pub use turn::Turn;
pub use verify::verify;
pub use xmp::Provenance;

/// Whether a file of this format holds such a sequence.
pub fn holds(format: ResultFormat, sequence: &Sequence) -> bool {
    match sequence {
        Sequence::Single => true,
        Sequence::Animation(_) => false,
        Sequence::Pages(_) => format == ResultFormat::Tiff,
    }
}

/// The format of a result: the one that was asked for, or the source's own. A source that cannot be written as it
/// is becomes PNG where its format may be lossless, and JPEG where it hardly ever is.
pub fn result_format(wanted: Format, source: SourceFormat) -> ResultFormat {
    match (wanted, source) {
        (Format::Jpeg, _) | (Format::Same, SourceFormat::Jpeg | SourceFormat::Avif | SourceFormat::Heic) => {
            ResultFormat::Jpeg
        }
        (Format::Png, _)
        | (Format::Same, SourceFormat::Png | SourceFormat::Bmp | SourceFormat::Gif | SourceFormat::Jxl) => {
            ResultFormat::Png
        }
        (Format::Webp, _) | (Format::Same, SourceFormat::Webp) => ResultFormat::Webp,
        (Format::Tiff, _) | (Format::Same, SourceFormat::Tiff) => ResultFormat::Tiff,
    }
}
