//! Owns the metadata in a JPEG's segments, and what follows its picture. Never looks at an image's data.

use std::fs::File;

use super::{Found, bytes};
use crate::codec::density::{Density, Length};
use crate::codec::notes::RESOURCE_BYTES_MAX;
use crate::codec::outline::{Flaw, Outline, Stream};
use crate::codec::xmp::{self, XMP_BYTES_MAX};

const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP11: u8 = 0xEB;
const APP13: u8 = 0xED;
const COM: u8 = 0xFE;

const JFIF: &[u8] = b"JFIF\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
const PICTURES: &[u8] = b"MPF\0";
const GAIN_MAP: &[u8] = b"urn:iso:std:iso:ts:21496:-1\0";
const CREDENTIALS: &[u8] = b"jumb";

/// Parts of an extended packet that are remembered: enough for the largest, in parts of 64 kB.
const PARTS_MAX: usize = XMP_BYTES_MAX / 65_000 + 1;

/// Bytes of resources, thumbnails and IPTC among them.
const PHOTOSHOP_BYTES_MAX: usize = 2 * RESOURCE_BYTES_MAX;

/// Read after the picture: what Samsung puts before a video has less.
const TAIL_BYTES: u64 = 64 << 10;

/// A part of an extended packet.
struct Part {
    guid: [u8; 32],
    of: u32,
    offset: u32,
    at: u64,
    bytes: u64,
}

/// What the segments hold.
#[derive(Default)]
struct Held {
    parts: Vec<Part>,
    photoshop: Vec<u8>,
    pictures: bool,
    gain_map: bool,
    credentials: bool,
}

/// Walks the segments before the picture, and looks behind it.
pub(super) fn gather(stream: &mut Stream<&File>, outline: &Outline, found: &mut Found) -> Result<(), Flaw> {
    let mut held = Held::default();
    let walked = walk(stream, outline.header_end.unwrap_or(0), &mut held, found);
    extend(stream, &held.parts, found);
    found.take_photoshop(&held.photoshop);
    let video = video_behind(stream, outline).unwrap_or(false);
    let said = found
        .xmp
        .as_deref()
        .and_then(|packet| xmp::said(packet).ok())
        .unwrap_or_default();
    if video || said.video {
        found.warn("Motion Photo: its video was not carried; the still was upscaled");
    }
    if held.gain_map || said.gain_map {
        found.warn("Ultra HDR: its gain map was not carried; the result is the picture without it");
    } else if held.pictures || (said.listed && !said.video) {
        found.warn("further pictures in the file, such as previews or a depth map, were not carried");
    }
    if held.credentials {
        found.warn("Content Credentials were not carried: they vouch for the source's pixels");
    }
    walked
}

fn walk(stream: &mut Stream<&File>, end: u64, held: &mut Held, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(2)?;
    loop {
        stream.skip_past(0xFF)?;
        let mut marker = stream.byte()?;
        while marker == 0xFF {
            marker = stream.byte()?;
        }
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let begin = stream.at();
        let length = u64::from(stream.u16_be()?);
        let segment_end = begin + length;
        if segment_end > end || length < 2 {
            return Ok(());
        }
        if matches!(marker, APP0 | APP1 | APP2 | APP11 | APP13 | COM) {
            // At most 64 kB; the limit is the format's.
            let data = bytes(stream, length - 2, usize::from(u16::MAX))?.unwrap_or_default();
            segment(marker, &data, begin + 2, held, found);
        }
        stream.seek_to(segment_end)?;
    }
}

fn segment(marker: u8, data: &[u8], at: u64, held: &mut Held, found: &mut Found) {
    match marker {
        APP0 => {
            let said = data.strip_prefix(JFIF).and_then(resolution);
            found.notes.density = found.notes.density.or(said);
        }
        COM => found.take_comment(data.to_vec(), true),
        APP1 => {
            if let Some(packet) = data.strip_prefix(XMP) {
                found.take_xmp(packet.to_vec());
            } else if let Some(part) = data.strip_prefix(EXTENDED)
                && held.parts.len() < PARTS_MAX
            {
                let at = at + EXTENDED.len() as u64;
                held.parts.extend(Part::read(part, at));
            }
        }
        APP2 => {
            held.pictures |= data.starts_with(PICTURES);
            held.gain_map |= data.starts_with(GAIN_MAP);
        }
        APP11 => held.credentials |= data.windows(4).take(64).any(|window| window == CREDENTIALS),
        _ => {
            if let Some(resources) = data.strip_prefix(PHOTOSHOP) {
                if held.photoshop.len() + resources.len() <= PHOTOSHOP_BYTES_MAX {
                    held.photoshop.extend_from_slice(resources);
                } else {
                    found.warn("Photoshop's resources are too large, and a part of them is not carried over");
                }
            }
        }
    }
}

/// What JFIF says behind its name: a version, a unit, two numbers.
fn resolution(jfif: &[u8]) -> Option<Density> {
    let [_, _, unit, numbers @ ..] = jfif.first_chunk::<7>()?;
    let unit = match unit {
        0 => Length::None,
        1 => Length::Inch,
        2 => Length::Centimetre,
        _ => return None,
    };
    let [across, down] = [[numbers[0], numbers[1]], [numbers[2], numbers[3]]].map(u16::from_be_bytes);
    Density::new((across.into(), 1), (down.into(), 1), unit)
}

impl Part {
    fn read(part: &[u8], at: u64) -> Option<Self> {
        let (guid, rest) = part.split_first_chunk::<32>()?;
        let (of, rest) = rest.split_first_chunk::<4>()?;
        let (offset, data) = rest.split_first_chunk::<4>()?;
        Some(Self {
            guid: *guid,
            of: u32::from_be_bytes(*of),
            offset: u32::from_be_bytes(*offset),
            at: at + 40,
            bytes: data.len() as u64,
        })
    }
}

/// Puts the extended packet into the main one, which names it.
fn extend(stream: &mut Stream<&File>, parts: &[Part], found: &mut Found) {
    let Some(main) = &found.xmp else { return };
    let Some(guid) = xmp::extension(main) else { return };
    let mut parts: Vec<&Part> = parts
        .iter()
        .filter(|part| part.guid == *guid.as_bytes())
        .collect();
    parts.sort_by_key(|part| part.offset);
    let whole = read_parts(stream, &parts).and_then(|rest| xmp::join(main, &rest).ok());
    match whole {
        Some(packet) => found.xmp = Some(packet),
        None => found.warn("a part of the XMP is missing or damaged and is not carried over"),
    }
}

fn read_parts(stream: &mut Stream<&File>, parts: &[&Part]) -> Option<Vec<u8>> {
    let whole = parts.first()?.of as usize;
    let mut packet = Vec::new();
    for part in parts {
        if part.offset as usize == packet.len() && packet.len() < whole {
            stream.seek_to(part.at).ok()?;
            packet.extend(bytes(stream, part.bytes, XMP_BYTES_MAX - packet.len()).ok()??);
        }
    }
    (packet.len() == whole).then_some(packet)
}

/// Whether a video follows the picture.
fn video_behind(stream: &mut Stream<&File>, outline: &Outline) -> Result<bool, Flaw> {
    let end = outline.image_end.unwrap_or(stream.len());
    stream.seek_to(end)?;
    let count = (stream.len() - end).min(TAIL_BYTES);
    let tail = bytes(stream, count, TAIL_BYTES as usize)?.unwrap_or_default();
    let holds = |what: &[u8]| tail.windows(what.len()).any(|window| window == what);
    Ok(tail.get(4..8) == Some(b"ftyp") || holds(b"MotionPhoto_Data"))
}
