//! Owns what is to be known of an ICC profile without interpreting it: its colour space and its name.
//! Never converts a colour.

use super::layout::Channels;

/// Longest description that is told, in characters: it stands in a line of a document.
const LONGEST_DESCRIPTION: usize = 80;

/// Bytes of a profile's header; the tag table follows.
const HEADER_BYTES: usize = 128;

/// Most tags looked at. Real profiles have about twenty.
const MOST_TAGS: usize = 200;

/// Whether the bytes are an ICC profile at all.
pub(super) fn is_profile(icc: &[u8]) -> bool {
    icc.len() > HEADER_BYTES && icc.get(36..40) == Some(b"acsp")
}

/// Whether the profile describes samples of such channels.
pub(super) fn fits(icc: &[u8], channels: Channels) -> bool {
    let wanted: &[u8; 4] = match channels {
        Channels::Grey | Channels::GreyAlpha => b"GRAY",
        Channels::Rgb | Channels::Rgba => b"RGB ",
    };
    icc.get(16..20) == Some(wanted)
}

/// The colour space as people write it: `RGB`, `CMYK`, `GRAY`, `Lab`.
pub(super) fn space(icc: &[u8]) -> String {
    let space = icc.get(16..20).unwrap_or_default();
    clean(space.iter().map(|byte| char::from(*byte))).unwrap_or_else(|| "unknown".to_owned())
}

/// The profile's name for itself: `Display P3`. `None` where it has none that can be read.
pub(super) fn description(icc: &[u8]) -> Option<String> {
    let tag = find_tag(icc, *b"desc")?;
    match tag.get(..4)? {
        b"desc" => {
            let length = u32_at(tag, 8)? as usize;
            let text = tag.get(12..)?;
            let text = &text[..length.min(text.len())];
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            clean(text.iter().map(|byte| char::from(*byte)))
        }
        b"mluc" => {
            let records = u32_at(tag, 8)? as usize;
            let record_bytes = u32_at(tag, 12)? as usize;
            // The English one if it is near, else the first: profiles list it first.
            let record = (0..records.min(MOST_TAGS))
                .map_while(|index| tag.get(16 + index.checked_mul(record_bytes)?..)?.get(..12))
                .find(|record| record.starts_with(b"en"))
                .or_else(|| tag.get(16..28))?;
            let (length, offset) = (u32_at(record, 4)? as usize, u32_at(record, 8)? as usize);
            let units = tag
                .get(offset..offset.checked_add(length)?)?
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .take_while(|unit| *unit != 0);
            clean(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)))
        }
        _ => None,
    }
}

fn find_tag(icc: &[u8], signature: [u8; 4]) -> Option<&[u8]> {
    let count = u32_at(icc, HEADER_BYTES)? as usize;
    icc.get(HEADER_BYTES + 4..)?
        .chunks_exact(12)
        .take(count.min(MOST_TAGS))
        .find(|entry| entry.starts_with(&signature))
        .and_then(|entry| {
            let (offset, length) = (u32_at(entry, 4)? as usize, u32_at(entry, 8)? as usize);
            icc.get(offset..offset.checked_add(length)?)
        })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

/// One line of bounded length, or `None` if nothing visible is left.
fn clean(text: impl Iterator<Item = char>) -> Option<String> {
    let text: String = text
        .filter(|c| !c.is_control())
        .take(LONGEST_DESCRIPTION)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A profile with no more than a colour space and a name, for tests.
#[cfg(test)]
pub(super) fn test_profile(space: &[u8; 4], name: &str) -> Vec<u8> {
    let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut tag = Vec::new();
    tag.extend_from_slice(b"mluc\0\0\0\0");
    tag.extend_from_slice(&1u32.to_be_bytes());
    tag.extend_from_slice(&12u32.to_be_bytes());
    tag.extend_from_slice(b"enUS");
    tag.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    tag.extend_from_slice(&28u32.to_be_bytes());
    tag.extend_from_slice(&text);
    wrap_tag(space, &tag)
}

#[cfg(test)]
fn wrap_tag(space: &[u8; 4], tag: &[u8]) -> Vec<u8> {
    let mut icc = vec![0; HEADER_BYTES];
    icc[16..20].copy_from_slice(space);
    icc[36..40].copy_from_slice(b"acsp");
    icc.extend_from_slice(&1u32.to_be_bytes());
    icc.extend_from_slice(b"desc");
    icc.extend_from_slice(&144u32.to_be_bytes());
    icc.extend_from_slice(&u32::try_from(tag.len()).unwrap().to_be_bytes());
    icc.extend_from_slice(tag);
    let length = u32::try_from(icc.len()).unwrap();
    icc[..4].copy_from_slice(&length.to_be_bytes());
    icc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_kinds_of_descriptions_are_read() {
        assert_eq!(
            description(&test_profile(b"RGB ", "Display P3")).as_deref(),
            Some("Display P3")
        );
        let mut old = b"desc\0\0\0\0\0\0\0\x0aAdobe RGB\0".to_vec();
        old.extend_from_slice(&[0; 20]);
        assert_eq!(
            description(&wrap_tag(b"RGB ", &old)).as_deref(),
            Some("Adobe RGB")
        );
    }

    #[test]
    fn a_profile_fits_only_samples_of_its_own_colour_space() {
        let cmyk = test_profile(b"CMYK", "FOGRA39");
        assert!(is_profile(&cmyk));
        assert!(!fits(&cmyk, Channels::Rgb));
        assert_eq!(space(&cmyk), "CMYK");
        assert!(fits(&test_profile(b"GRAY", "g"), Channels::GreyAlpha));
        assert!(!fits(&test_profile(b"RGB ", "c"), Channels::Grey));
    }

    proptest! {
        #[test]
        fn a_damaged_profile_never_panics(
            at in 0..200usize, byte: u8, cut in 0..220usize
        ) {
            let mut icc = test_profile(b"RGB ", "A profile with a name of some length");
            let at = at.min(icc.len() - 1);
            icc[at] = byte;
            icc.truncate(cut);
            let name = description(&icc);
            prop_assert!(name.is_none_or(|name| name.chars().count() <= LONGEST_DESCRIPTION));
            let _ = (is_profile(&icc), space(&icc), fits(&icc, Channels::Rgb));
        }
    }
}
