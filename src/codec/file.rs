//! Owns the way from a path to an accepted source: a regular file, of a known kind, within the limits, whole.
//! Never waits for anything and never decodes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytesize::ByteSize;
use image::ImageError;

use super::error::CodecError;
use super::layout::SourceFormat;
use super::outline::{self, Flaw, Outline};
use super::probe::DecodeLimits;
use super::sniff::{self, Kind, SNIFF_BYTES};
use crate::error::{one_line, plain};
use crate::size::Size;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Opened {
    /// A regular file, at its beginning; its length, and what its first bytes say.
    Regular(File, u64, Kind),
    /// Something else: what.
    Other(&'static str),
}

/// Opens without following a symlink and without waiting for a FIFO's other end.
pub(super) fn open_regular(path: &Path) -> io::Result<Opened> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ELOOP) => Ok(Opened::Other("a symbolic link")),
                Some(libc::ENXIO) => Ok(Opened::Other("a socket or a device")),
                _ => Err(error),
            };
        }
    };
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Ok(Opened::Other("a directory"));
    }
    if !meta.is_file() {
        return Ok(Opened::Other("a pipe or a device"));
    }
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    file.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let kind = sniff::sniff(&head);
    Ok(Opened::Regular(file, meta.len(), kind))
}

/// A file that is worth decoding.
#[derive(Debug)]
pub(super) struct Source {
    /// At its beginning.
    pub(super) file: File,
    pub(super) format: SourceFormat,
    pub(super) size: Size,
    pub(super) outline: Outline,
}

impl Source {
    /// The same file for one of its pictures: 0 is the first.
    pub(super) fn page(&self, index: usize) -> io::Result<Self> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let outline = match index.checked_sub(1).and_then(|at| self.outline.more.get(at)) {
            Some(outline) => outline.clone(),
            None => Outline {
                more: Vec::new(),
                ..self.outline.clone()
            },
        };
        Ok(Self {
            file,
            format: self.format,
            size: outline.size.unwrap_or(self.size),
            outline,
        })
    }
}

/// Opens a source and looks at all that can be known without a decoder.
pub(super) fn accept(path: &Path, limits: &DecodeLimits) -> Result<Source, CodecError> {
    let (mut file, file_bytes, kind) = match open_regular(path).map_err(|error| read_error(path, error))? {
        Opened::Regular(file, bytes, kind) => (file, bytes, kind),
        Opened::Other(what) => return Err(unreadable(path, format!("it is {what}"))),
    };
    let format = match kind {
        Kind::Image(format) => format,
        Kind::Foreign(what) => return Err(unsupported(path, what)),
        Kind::Unknown if file_bytes == 0 => return Err(unreadable(path, "the file is empty")),
        Kind::Unknown => return Err(unreadable(path, "it is not an image of a known format")),
    };
    if format == SourceFormat::Heic && cfg!(not(feature = "heic")) {
        return Err(unsupported(path, HEIC_UNREAD));
    }
    let (outline, flaw) = outline::examine(format, &mut file, file_bytes);
    if let Some(Flaw::Io(error)) = flaw {
        return Err(read_error(path, error));
    }
    for page in pages(&outline) {
        if let Some(size) = page.size {
            check_size(path, size, limits)?;
        }
    }
    check_sequence(path, format, &outline, limits)?;
    for (index, page) in pages(&outline).enumerate() {
        match &page.refusal {
            Some(refusal) if index == 0 => return Err(unsupported(path, refusal)),
            Some(refusal) => return Err(unsupported(path, format!("of page {}, {refusal}", index + 1))),
            None => {}
        }
    }
    match (flaw, outline.size) {
        (Some(Flaw::Damaged(detail)), _) => Err(unreadable(path, detail)),
        (Some(_), _) => Err(truncated(
            path,
            format!("the picture is not complete after {file_bytes} bytes"),
        )),
        (None, None) => Err(unreadable(path, "its header gives no size")),
        (None, Some(size)) => {
            for page in pages(&outline) {
                check_bytes(path, page.size.unwrap_or(size), page.work_bytes, limits)?;
            }
            file.seek(SeekFrom::Start(0))
                .map_err(|error| read_error(path, error))?;
            Ok(Source {
                file,
                format,
                size,
                outline,
            })
        }
    }
}

/// The first picture and the pages after it.
fn pages(outline: &Outline) -> impl Iterator<Item = &Outline> {
    std::iter::once(outline).chain(&outline.more)
}

/// Refuses more pictures than allowed, and those of which only the first would be read.
fn check_sequence(
    path: &Path,
    format: SourceFormat,
    outline: &Outline,
    limits: &DecodeLimits,
) -> Result<(), CodecError> {
    let count = outline.pictures;
    let what = if format == SourceFormat::Tiff {
        "pages"
    } else {
        "frames"
    };
    if count > 1 && format != SourceFormat::Tiff && outline.animation.is_none() {
        let detail = format!("it holds {count} {what}; save the one you want as a file of its own");
        return Err(unsupported(path, detail));
    }
    let pages = pages(outline).filter_map(|page| page.size);
    let pixels = match outline.animation {
        Some(_) => outline.frames_px,
        None => pages.fold(0, |sum, size| size.pixels().saturating_add(sum)),
    };
    check_count(path, what, count, pixels, limits)
}

/// Refuses a sequence that nobody would wait for. The limit of all pixels is for few pictures that are large.
pub(super) fn check_count(
    path: &Path,
    what: &str,
    count: u64,
    pixels: u64,
    limits: &DecodeLimits,
) -> Result<(), CodecError> {
    let most = u64::from(limits.frames).min(outline::MOST_FRAMES);
    if count > most {
        let detail = format!("it holds {count} {what}, and at most {most} are allowed");
        return Err(too_large(path, detail));
    }
    if count > 1 && pixels > limits.sequence_pixels {
        let (has, most) = (millions(pixels), millions(limits.sequence_pixels));
        let detail =
            format!("its {count} {what} are {has} million pixels, and at most {most} million are allowed");
        return Err(too_large(path, detail));
    }
    Ok(())
}

/// What a build without libheif says.
const HEIC_UNREAD: &str =
    "it is a HEIC; convert it with heif-convert, or build upscaled with --features heic, which needs libheif";

fn check_size(path: &Path, size: Size, limits: &DecodeLimits) -> Result<(), CodecError> {
    let Size { width, height } = size;
    if width == 0 || height == 0 {
        return Err(unreadable(path, format!("its size is {size} pixels")));
    }
    if width.max(height) > limits.side_px {
        let most = limits.side_px;
        return Err(too_large(
            path,
            format!("{size} pixels, and a side may have at most {most}"),
        ));
    }
    if size.pixels() > limits.pixels {
        let (has, most) = (millions(size.pixels()), millions(limits.pixels));
        let detail = format!("{size} are {has} million pixels, and at most {most} million are allowed");
        return Err(too_large(path, detail));
    }
    Ok(())
}

/// Refuses what would take more memory than allowed.
pub(super) fn check_bytes(
    path: &Path,
    size: Size,
    bytes: u64,
    limits: &DecodeLimits,
) -> Result<(), CodecError> {
    if bytes <= limits.decode_bytes {
        return Ok(());
    }
    let (needs, most) = (ByteSize(bytes), ByteSize(limits.decode_bytes));
    Err(too_large(
        path,
        format!("decoding {size} pixels takes {needs}, and at most {most} are allowed"),
    ))
}

/// Rounded up, so that what is a little over a limit does not look equal to it.
fn millions(pixels: u64) -> String {
    let tenths = pixels.div_ceil(100_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The kernel does not give the file.
pub(super) fn read_error(path: &Path, error: io::Error) -> CodecError {
    CodecError::Read {
        path: path.to_owned(),
        error,
    }
}

/// Not an image, or a damaged one.
pub(super) fn unreadable(path: &Path, detail: impl Into<String>) -> CodecError {
    CodecError::Unreadable {
        path: path.to_owned(),
        detail: one_line(&detail.into()),
    }
}

/// A kind that is not processed.
pub(super) fn unsupported(path: &Path, detail: impl Into<String>) -> CodecError {
    CodecError::Unsupported {
        path: path.to_owned(),
        detail: one_line(&detail.into()),
    }
}

/// The end is missing.
pub(super) fn truncated(path: &Path, detail: impl Into<String>) -> CodecError {
    CodecError::Truncated {
        path: path.to_owned(),
        detail: one_line(&detail.into()),
    }
}

/// Beyond a limit.
pub(super) fn too_large(path: &Path, detail: impl Into<String>) -> CodecError {
    CodecError::TooLarge {
        path: path.to_owned(),
        detail: one_line(&detail.into()),
    }
}

/// What a decoder says, and whose fault it is. The decoders' own words are kept: they are all that tells a
/// flipped bit from a kind of file that nobody thought of.
pub(super) fn decoder_error(path: &Path, error: ImageError) -> CodecError {
    match error {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            truncated(path, "the picture's data end early")
        }
        ImageError::IoError(error) if error.raw_os_error().is_some() => read_error(path, error),
        ImageError::IoError(error) => unreadable(path, format!("it is damaged ({})", plain(&error))),
        ImageError::Limits(_) => too_large(path, "decoding it takes more memory than is allowed"),
        ImageError::Unsupported(error) => unsupported(
            path,
            format!("this kind of image is not known ({error}); save it as PNG or TIFF with 8 or 16 bits"),
        ),
        other => unreadable(path, format!("it is damaged ({other})")),
    }
}
