//! Owns the last look at a result before it gets its name. Never decodes it: the encoder is trusted with the
//! pixels, the disk is not trusted with the file.

use std::io;
use std::path::Path;

use super::error::CodecError;
use super::file::{Opened, open_regular};
use super::layout::{ResultFormat, SourceFormat};
use super::outline::{self, Flaw};
use super::sniff::Kind;
use crate::size::Size;

/// Checks that a staged result is what it should be: its format, its size, its pictures, its end.
///
/// # Errors
/// [`CodecError::Output`] if it cannot be read back, [`CodecError::Encode`] if it is something else.
pub fn verify(path: &Path, size: Size, pictures: u64, format: ResultFormat) -> Result<(), CodecError> {
    let wrong = |detail: String| CodecError::Encode {
        format: format.as_str(),
        detail,
    };
    let (file, bytes, kind) = match open_regular(path).map_err(CodecError::Output)? {
        Opened::Regular(file, bytes, kind) => (file, bytes, kind),
        Opened::Other(what) => return Err(wrong(format!("{what} is in the place of the file"))),
    };
    let wanted = match format {
        ResultFormat::Jpeg => SourceFormat::Jpeg,
        ResultFormat::Png => SourceFormat::Png,
        ResultFormat::Webp => SourceFormat::Webp,
        ResultFormat::Tiff => SourceFormat::Tiff,
        ResultFormat::Avif => SourceFormat::Avif,
        ResultFormat::Jxl => SourceFormat::Jxl,
        ResultFormat::Gif => SourceFormat::Gif,
    };
    if kind != Kind::Image(wanted) {
        return Err(wrong("the file reads back as something else".to_owned()));
    }
    let (outline, flaw) = outline::examine(wanted, file, bytes);
    match flaw {
        Some(Flaw::Io(error)) => return Err(CodecError::Output(error)),
        Some(Flaw::Short) => return Err(CodecError::Output(io::ErrorKind::UnexpectedEof.into())),
        Some(Flaw::Damaged(detail)) => return Err(wrong(format!("reading the file back, {detail}"))),
        None => {}
    }
    if outline.pictures != pictures {
        return Err(wrong(format!(
            "the file reads back with {} pictures, not {pictures}",
            outline.pictures
        )));
    }
    match outline.size {
        Some(found) if found == size => Ok(()),
        Some(found) => Err(wrong(format!(
            "the file reads back as {found} pixels, not {size}"
        ))),
        None => Err(wrong("the file reads back without a size".to_owned())),
    }
}
