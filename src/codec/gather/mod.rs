//! Owns finding a source's metadata that its decoder does not give: XMP, IPTC, EXIF where a format hides it, comments,
//! texts, resolution, and what else lies in the file beside its picture. Never fails a picture: what is damaged is left out with a word.

mod beside;
mod bmp;
mod gif;
mod jpeg;
mod photoshop;
mod png;
mod tiff;
mod webp;

use std::fs::File;
use std::path::Path;

use super::layout::SourceFormat;
use super::notes::{COMMENT_BYTES_MAX, COMMENTS_MAX, Notes, RESOURCE_BYTES_MAX, resources};
use super::outline::{Flaw, Outline, Stream};
use super::xmp;

/// Most bytes of EXIF. Cameras write 64 kB, as JPEG holds no more; some programs put a preview into a MakerNote.
pub(super) const EXIF_BYTES_MAX: usize = 4 << 20;

/// Most bytes of IPTC: captions and keywords.
const IPTC_BYTES_MAX: usize = 1 << 20;

/// Most bytes of what is held while it is looked for: a packet as the file has it, and as it is read.
pub(super) const WORK_BYTES: u64 = xmp::WORK_BYTES;

/// Most lines that are said of a source: a hostile one has thousands of reasons.
const WARNINGS_MAX: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where the decoder gives none.
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<Vec<u8>>,
    pub(super) iptc: Option<Vec<u8>>,
    pub(super) notes: Notes,
    pub(super) warnings: Vec<String>,
}

impl Found {
    fn warn(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }

    /// Takes a packet: the first one counts, and only if it can be read.
    fn take_xmp(&mut self, packet: Vec<u8>) {
        if self.xmp.is_some() {
            return;
        }
        match xmp::said(&packet) {
            Ok(_) => self.xmp = Some(packet),
            Err(xmp::Malformed) => self.warn("the XMP is damaged and is not carried over"),
        }
    }

    /// Takes records of IPTC, which begin with a marker.
    fn take_iptc(&mut self, records: Vec<u8>) {
        if records.first() == Some(&photoshop::RECORD) && records.len() <= IPTC_BYTES_MAX {
            self.iptc.get_or_insert(records);
        } else if !records.is_empty() {
            self.warn("the IPTC records are damaged and are not carried over");
        }
    }

    /// Takes Photoshop's resources, of which IPTC is one: the first block counts.
    fn take_photoshop(&mut self, block: &[u8]) {
        if let Some(records) = photoshop::iptc(block).filter(|_| self.iptc.is_none()) {
            self.take_iptc(records.to_vec());
        }
        let kept = resources::kept(block);
        if kept.len() > RESOURCE_BYTES_MAX {
            self.warn(format!(
                "Photoshop's resources have {} bytes and are not carried over; at most {RESOURCE_BYTES_MAX} are",
                kept.len()
            ));
        } else if self.notes.resources.is_empty() {
            self.notes.resources = kept;
        }
    }

    /// Takes a comment, unless it is known to lack something or there are too many already.
    fn take_comment(&mut self, comment: Vec<u8>, is_whole: bool) {
        let held: usize = self.notes.comments.iter().map(Vec::len).sum();
        if !is_whole || held + comment.len() > COMMENT_BYTES_MAX || self.notes.comments.len() == COMMENTS_MAX
        {
            self.warn(format!(
                "a comment was not carried: of more than {COMMENTS_MAX}, or of more than {COMMENT_BYTES_MAX} bytes"
            ));
        } else if !comment.is_empty() {
            self.notes.comments.push(comment);
        }
    }
}

/// Looks through a file that was accepted. `exif` is what its decoder gave.
pub(super) fn gather(
    path: &Path,
    file: &File,
    format: SourceFormat,
    outline: &Outline,
    exif: Option<&[u8]>,
) -> Found {
    let mut found = Found::default();
    let Ok(mut stream) = begin(file) else {
        return found;
    };
    // A walk that ends early has found what there was before: the picture itself was looked at already.
    let _ = match format {
        SourceFormat::Jpeg => jpeg::gather(&mut stream, outline, &mut found),
        SourceFormat::Png => png::gather(&mut stream, &mut found),
        SourceFormat::Webp => webp::gather(&mut stream, &mut found),
        SourceFormat::Tiff => tiff::gather(&mut stream, &mut found),
        SourceFormat::Gif => gif::gather(&mut stream, &mut found),
        SourceFormat::Bmp => bmp::gather(&mut stream, &mut found),
        _ => Ok(()),
    };
    if let Some(exif) = exif.or(found.exif.as_deref()) {
        let video = beside::live_photo(path, exif);
        found.warnings.extend(video);
    }
    found
}

fn begin(file: &File) -> std::io::Result<Stream<&File>> {
    use std::io::Seek as _;
    let mut file = file;
    file.rewind()?;
    let bytes = file.metadata()?.len();
    Ok(Stream::new(file, bytes))
}

/// So many bytes, if they are not more than `most`.
fn bytes(stream: &mut Stream<&File>, count: u64, most: usize) -> Result<Option<Vec<u8>>, Flaw> {
    let left = stream.len().saturating_sub(stream.at());
    match usize::try_from(count) {
        Ok(count) if count <= most && count as u64 <= left => {
            let mut bytes = vec![0; count];
            stream.fill(&mut bytes)?;
            Ok(Some(bytes))
        }
        _ => Ok(None),
    }
}
