//! Owns the metadata in a PNG's chunks: XMP as a text, EXIF in its own chunk or, like IPTC, as a profile in
//! hexadecimal digits, as ImageMagick writes it. Also behind the picture, where exiftool puts it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::{EXIF_BYTES_MAX, Found, bytes, photoshop};
use crate::codec::exif;
use crate::codec::outline::{Flaw, Stream};
use crate::codec::xmp::XMP_BYTES_MAX;

const SIGNATURE_BYTES: u64 = 8;
const CRC_BYTES: u64 = 4;

/// A chunk is read up to here: a packet in hexadecimal digits.
const CHUNK_BYTES_MAX: usize = 2 * XMP_BYTES_MAX;

/// The format allows a keyword so many characters.
const KEYWORD_CHARS_MAX: usize = 79;

/// Names that are told: more would be no line that anybody reads.
const NAMES_MAX: usize = 8;

const XMP: &[u8] = b"XML:com.adobe.xmp";
const PROFILE: &[u8] = b"Raw profile type ";
const XMP_IN_APP1: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Walks the chunks to the last.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(SIGNATURE_BYTES)?;
    let mut left_out = BTreeSet::new();
    let walked = walk(stream, found, &mut left_out);
    if !left_out.is_empty() {
        let names: Vec<_> = left_out.into_iter().collect();
        found.warn(format!("texts of the PNG were not carried: {}", names.join(", ")));
    }
    walked
}

/// `left_out`: names of texts that other formats do not have.
fn walk(stream: &mut Stream<&File>, found: &mut Found, left_out: &mut BTreeSet<String>) -> Result<(), Flaw> {
    loop {
        let length = u64::from(stream.u32_be()?);
        let name: [u8; 4] = stream.bytes()?;
        let end = stream.at() + length + CRC_BYTES;
        match &name {
            b"IEND" => return Ok(()),
            b"caBX" => found.warn("Content Credentials were not carried: they vouch for the source's pixels"),
            b"eXIf" => found.exif = bytes(stream, length, EXIF_BYTES_MAX)?.and_then(exif::tiff_structure),
            b"iTXt" | b"zTXt" | b"tEXt" => match bytes(stream, length, CHUNK_BYTES_MAX)? {
                Some(chunk) => {
                    let name = take_text(&name, &chunk, found);
                    left_out.extend(name.filter(|_| left_out.len() < NAMES_MAX));
                }
                None => found.warn("a text is too large and is not carried over"),
            },
            _ => {}
        }
        stream.seek_to(end)?;
    }
}

/// Takes what is known; gives the name of what is not.
fn take_text(name: &[u8; 4], chunk: &[u8], found: &mut Found) -> Option<String> {
    let (keyword, rest) = cut(chunk)?;
    if keyword == XMP && name == b"iTXt" {
        match international(rest) {
            Some(packet) => found.take_xmp(packet),
            None => found.warn("the XMP is damaged and is not carried over"),
        }
    } else if let Some(kind) = keyword.strip_prefix(PROFILE) {
        let text = match name {
            b"zTXt" => rest.split_first().and_then(|(_, data)| inflate(data)),
            b"iTXt" => international(rest),
            _ => Some(rest.to_vec()),
        };
        match text.as_deref().and_then(unhex) {
            Some(profile) => take_profile(kind, profile, found),
            None => found.warn(format!(
                "the {} profile is damaged and is not carried over",
                word(kind)
            )),
        }
    } else if !is_about_the_file(keyword) {
        return Some(word(keyword));
    }
    None
}

/// A keyword for a message.
fn word(keyword: &[u8]) -> String {
    let word = crate::error::one_line(&String::from_utf8_lossy(keyword));
    word.chars().take(KEYWORD_CHARS_MAX).collect()
}

/// Whether a text tells of the file and not of the picture: programs, and ImageMagick's times and settings.
fn is_about_the_file(keyword: &[u8]) -> bool {
    let prefixes: [&[u8]; 4] = [b"date:", b"png:", b"exif:", b"xmp:"];
    keyword == b"Software" || prefixes.iter().any(|prefix| keyword.starts_with(prefix))
}

fn take_profile(kind: &[u8], profile: Vec<u8>, found: &mut Found) {
    match kind {
        b"xmp" => found.take_xmp(profile),
        b"iptc" | b"8bim" => {
            if let Some(records) = photoshop::iptc(&profile) {
                found.take_iptc(records.to_vec());
            }
        }
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

/// Before and after the next zero.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The text of an iTXt behind its keyword: whether it is compressed and how, a language, a translated keyword.
fn international(rest: &[u8]) -> Option<Vec<u8>> {
    let (&[compressed, _], rest) = rest.split_first_chunk::<2>()?;
    let (_, rest) = cut(rest)?;
    let (_, text) = cut(rest)?;
    if compressed == 0 {
        Some(text.to_vec())
    } else {
        inflate(text)
    }
}

fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(data)
        .take(CHUNK_BYTES_MAX as u64 + 1)
        .read_to_end(&mut inflated);
    (read.is_ok() && inflated.len() <= CHUNK_BYTES_MAX).then_some(inflated)
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
