//! Owns the forms in which formats hold XMP, IPTC and Photoshop's resources: segments, texts. Never writes a file.

use png::text_metadata::{ITXtChunk, ZTXtChunk};

use super::metadata::Carried;
use super::notes::resources;
use super::xmp;

/// What a segment of JPEG holds besides its length.
const SEGMENT_BYTES: usize = 65_533;

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

/// Name, length and place of a part of an extended packet.
const PART_HEADER_BYTES: usize = 32 + 4 + 4;

/// A JPEG's segments, number and content: XMP, in parts where it is long, IPTC and resources.
pub(super) fn jpeg(metadata: &Carried, warnings: &mut Vec<String>) -> Vec<(u8, Vec<u8>)> {
    let mut segments = Vec::new();
    if let Some(packet) = &metadata.xmp {
        let room = SEGMENT_BYTES - XMP.len();
        if packet.len() <= room {
            segments.push((1, [XMP, packet].concat()));
        } else if let Some(parts) = xmp::split(packet, room) {
            segments.push((1, [XMP, &parts.main].concat()));
            segments.extend(extended(&parts));
        } else {
            warnings.push(format!(
                "jpeg: XMP was not carried: it has {} bytes and cannot be divided",
                packet.len()
            ));
        }
    }
    let iptc = metadata.iptc.as_deref().map(resources::of_iptc);
    let block = [iptc.as_deref().unwrap_or_default(), &metadata.notes.resources].concat();
    if !block.is_empty() {
        // Resources run on from one segment to the next.
        let parts = block.chunks(SEGMENT_BYTES - PHOTOSHOP.len());
        segments.extend(parts.map(|part| (13, [PHOTOSHOP, part].concat())));
    }
    segments
}

fn extended(parts: &xmp::Extended) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let room = SEGMENT_BYTES - EXTENDED.len() - PART_HEADER_BYTES;
    parts.rest.chunks(room).enumerate().map(move |(index, part)| {
        let (of, at) = (parts.rest.len() as u32, (index * room) as u32);
        let header = [
            EXTENDED,
            parts.guid.as_bytes(),
            &of.to_be_bytes(),
            &at.to_be_bytes(),
        ];
        (1, [header.concat().as_slice(), part].concat())
    })
}

/// A PNG's texts: XMP as Adobe has it, IPTC and resources as ImageMagick and exiftool do, for there is no other.
pub(super) fn png(metadata: &Carried) -> (Vec<ITXtChunk>, Vec<ZTXtChunk>) {
    let xmp = metadata.xmp.as_deref().map(String::from_utf8_lossy);
    let xmp = xmp.map(|packet| ITXtChunk::new("XML:com.adobe.xmp", packet));
    let mut profiles = Vec::new();
    if let Some(records) = &metadata.iptc {
        profiles.push(profile("iptc", &resources::of_iptc(records)));
    }
    if !metadata.notes.resources.is_empty() {
        profiles.push(profile("8bim", &metadata.notes.resources));
    }
    (xmp.into_iter().collect(), profiles)
}

/// A profile in hexadecimal digits.
fn profile(kind: &str, block: &[u8]) -> ZTXtChunk {
    let mut text = format!("\n{kind}\n{:8}\n", block.len());
    for line in block.chunks(36) {
        text += &crate::report::hex(line);
        text.push('\n');
    }
    ZTXtChunk::new(format!("Raw profile type {kind}"), text)
}
