//! Owns the metadata in a PNG's chunks: XMP as a text, EXIF in its own chunk or, like IPTC, as a profile in
//! hexadecimal digits, as ImageMagick writes it. Also behind the picture, where exiftool puts it.

use std::collections::BTreeSet;
use std::fs::File;

use super::{EXIF_BYTES_MAX, Found, bytes};
use crate::codec::density::{Density, Length};
use crate::codec::exif;
use crate::codec::notes::text::{Text, content, cut, word};
use crate::codec::notes::{TEXT_BYTES_MAX, TEXTS_MAX};
use crate::codec::outline::{Flaw, Stream};
use crate::codec::xmp::XMP_BYTES_MAX;

const SIGNATURE_BYTES: u64 = 8;
const CRC_BYTES: u64 = 4;

/// A chunk is read up to here: a packet in hexadecimal digits.
const CHUNK_BYTES_MAX: usize = 2 * XMP_BYTES_MAX;

/// All texts of a file are unpacked up to here: two packets. A hostile file has thousands that a few bytes unpack to.
const UNPACKED_BYTES_MAX: usize = 2 * CHUNK_BYTES_MAX;

/// Damaged texts that are told: more would be no line that anybody reads.
const NAMES_MAX: usize = 8;

const XMP: &[u8] = b"XML:com.adobe.xmp";
const PROFILE: &[u8] = b"Raw profile type ";
const XMP_IN_APP1: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Walks the chunks to the last.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(SIGNATURE_BYTES)?;
    let mut texts = Texts {
        found,
        may_unpack: UNPACKED_BYTES_MAX,
        may_keep: TEXT_BYTES_MAX,
        left_out: BTreeSet::new(),
    };
    let walked = walk(stream, &mut texts);
    let left_out: Vec<_> = texts.left_out.into_iter().collect();
    if !left_out.is_empty() {
        found.warn(format!(
            "texts of the PNG are damaged, too large or too many and are not carried over: {}",
            left_out.join(", ")
        ));
    }
    walked
}

fn walk(stream: &mut Stream<&File>, texts: &mut Texts<'_>) -> Result<(), Flaw> {
    loop {
        let length = u64::from(stream.u32_be()?);
        let name: [u8; 4] = stream.bytes()?;
        let end = stream.at() + length + CRC_BYTES;
        let found = &mut *texts.found;
        match &name {
            b"IEND" => return Ok(()),
            b"caBX" => found.warn("Content Credentials were not carried: they vouch for the source's pixels"),
            b"eXIf" => found.exif = bytes(stream, length, EXIF_BYTES_MAX)?.and_then(exif::tiff_structure),
            b"pHYs" if length == 9 => found.notes.density = resolution(stream.bytes()?),
            b"iTXt" | b"zTXt" | b"tEXt" => match bytes(stream, length, CHUNK_BYTES_MAX)? {
                Some(chunk) => texts.take(name, &chunk),
                None => found.warn("a text is too large and is not carried over"),
            },
            _ => {}
        }
        stream.seek_to(end)?;
    }
}

/// Two numbers, and whether they are of a metre or of nothing.
fn resolution([a, b, c, d, e, f, g, h, unit]: [u8; 9]) -> Option<Density> {
    let [across, down] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
    match unit {
        1 => Density::per_metre(across, down),
        _ => Density::new((across, 1), (down, 1), Length::None),
    }
}

/// The texts of a file, as they are taken.
struct Texts<'f> {
    found: &'f mut Found,
    /// Bytes that may still be unpacked, and bytes of texts that may still be kept.
    may_unpack: usize,
    may_keep: usize,
    /// Names of those that are not kept.
    left_out: BTreeSet<String>,
}

impl Texts<'_> {
    /// Takes what is known to where it belongs, and the rest as it is.
    fn take(&mut self, name: [u8; 4], chunk: &[u8]) {
        let keyword = cut(chunk).map_or(&[][..], |(keyword, _)| keyword);
        if keyword == XMP {
            match self.unpack(name, chunk) {
                Some(packet) => self.found.take_xmp(packet),
                None => self.found.warn("the XMP is damaged and is not carried over"),
            }
        } else if let Some(kind) = keyword.strip_prefix(PROFILE) {
            match self.unpack(name, chunk).as_deref().and_then(unhex) {
                Some(profile) => take_profile(kind, profile, self.found),
                None => self.found.warn(format!(
                    "the {} profile is damaged and is not carried over",
                    word(kind)
                )),
            }
        } else if !is_about_the_file(keyword) {
            self.keep(name, chunk);
        }
    }

    /// What is behind a chunk's keyword.
    fn unpack(&mut self, name: [u8; 4], chunk: &[u8]) -> Option<Vec<u8>> {
        let (text, spent) = content(name, chunk, CHUNK_BYTES_MAX.min(self.may_unpack));
        self.may_unpack = self.may_unpack.saturating_sub(spent);
        text
    }

    /// Keeps a text that only this format has.
    fn keep(&mut self, name: [u8; 4], chunk: &[u8]) {
        let (text, spent) = Text::read(name, chunk, self.may_keep.min(self.may_unpack));
        self.may_unpack = self.may_unpack.saturating_sub(spent);
        match text.filter(|_| self.found.notes.texts.len() < TEXTS_MAX) {
            Some(text) => {
                self.may_keep = self.may_keep.saturating_sub(spent.max(chunk.len()));
                self.found.notes.texts.push(text);
            }
            None if self.left_out.len() < NAMES_MAX => {
                let keyword = cut(chunk).map_or(chunk, |(keyword, _)| keyword);
                self.left_out.insert(word(&keyword[..keyword.len().min(80)]));
            }
            None => {}
        }
    }
}

/// Whether a text tells of the file and not of the picture: ImageMagick's times and settings, what it repeats of other
/// metadata, and what a thumbnail is of.
fn is_about_the_file(keyword: &[u8]) -> bool {
    let prefixes: [&[u8]; 6] = [b"date:", b"png:", b"exif:", b"tiff:", b"xmp:", b"Thumb::"];
    prefixes.iter().any(|prefix| keyword.starts_with(prefix))
}

fn take_profile(kind: &[u8], profile: Vec<u8>, found: &mut Found) {
    match kind {
        b"xmp" => found.take_xmp(profile),
        b"iptc" | b"8bim" => found.take_photoshop(&profile),
        b"exif" | b"APP1" => {
            if let Some(packet) = profile.strip_prefix(XMP_IN_APP1) {
                found.take_xmp(packet.to_vec());
            } else if let Some(exif) = exif::tiff_structure(profile)
                && exif.len() <= EXIF_BYTES_MAX
            {
                found.exif.get_or_insert(exif);
            }
        }
        _ => {}
    }
}

/// `\nexif\n    1234\n45786966…`: a name, a length, and digits in lines.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.strip_prefix(b"\n")?.splitn(3, |byte| *byte == b'\n');
    let (_, length, digits) = (lines.next()?, lines.next()?, lines.next()?);
    let length: usize = std::str::from_utf8(length).ok()?.trim().parse().ok()?;
    let mut digits = digits.iter().filter(|byte| !byte.is_ascii_whitespace());
    let mut profile = Vec::with_capacity(length.min(digits.clone().count() / 2));
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        profile.push((digit(*high)? << 4 | digit(*low)?) as u8);
    }
    (profile.len() == length).then_some(profile)
}
