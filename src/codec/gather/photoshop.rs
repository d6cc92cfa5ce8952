//! Owns Photoshop's blocks of resources, in which IPTC travels. Never reads another resource.

/// Begins every record of IPTC.
pub(super) const RECORD: u8 = 0x1c;

/// Begins a resource.
const SIGNATURE: &[u8] = b"8BIM";

const IPTC: [u8; 2] = [0x04, 0x04];

/// The records in a block of resources, or the records themselves where nothing was wrapped around them.
pub(super) fn iptc(block: &[u8]) -> Option<&[u8]> {
    if block.first() == Some(&RECORD) {
        return Some(block);
    }
    let mut rest = block;
    while let Some(resource) = rest.strip_prefix(SIGNATURE) {
        let id = resource.get(..2)?;
        // A name with its length, then the length of the data; each padded to an even number.
        let name = (usize::from(*resource.get(2)?) + 1).next_multiple_of(2);
        let data = resource.get(2 + name..)?;
        let length = u32::from_be_bytes(*data.first_chunk()?) as usize;
        let data = data.get(4..)?;
        if id == IPTC {
            return data.get(..length);
        }
        rest = data.get(length.checked_next_multiple_of(2)?..)?;
    }
    None
}

/// Records without the zeros that fill them up to whole numbers.
pub(super) fn unpadded(records: &[u8]) -> &[u8] {
    let mut rest = records;
    // A marker, two numbers, a length, which is longer where its first bit says so.
    while let [RECORD, _, _, high @ 0..=0x7f, low, data @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match data.get(length..) {
            Some(next) => rest = next,
            None => return records,
        }
    }
    if rest.len() < 4 && rest.iter().all(|byte| *byte == 0) {
        &records[..records.len() - rest.len()]
    } else {
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fills_records_up_is_taken_off() {
        for (records, bytes) in [
            (&b"\x1c\x02\x05\0\x01\0\0\0"[..], 6),
            (b"\x1c\x02\x05\0\x01a", 6),
            (b"\x1c\x02\x05\0\x01\0\0\0\0\0", 10),
            (b"\x1c\x02\x05\0\x09\0", 6),
            (b"\x1c\x02\x05\x80\x04\0\0\0\x01a\0\0", 12),
        ] {
            assert_eq!(unpadded(records).len(), bytes, "{records:?}");
        }
    }

    #[test]
    fn records_are_found_among_other_resources_and_a_wrong_length_ends_the_search() {
        let mut block = b"8BIM\x03\xed\x03dpi\0\0\0\x03abc\0".to_vec();
        assert_eq!(iptc(&block), None);
        block.extend(b"8BIM\x04\x04\0\0\0\0\0\x05\x1c\x02\x05\0\0\0");
        assert_eq!(iptc(&block), Some(&b"\x1c\x02\x05\0\0"[..]));
        assert_eq!(iptc(b"\x1c\x02\x05\0\0"), Some(&b"\x1c\x02\x05\0\0"[..]));
        for length in 0..block.len() {
            let _ = iptc(&block[..length]);
        }
        assert_eq!(iptc(b"8BIM\x04\x04\0\0\xff\xff\xff\xff"), None);
        assert_eq!(iptc(b"8BIM\x03\xed\0\0\xff\xff\xff\xff\0"), None);
    }
}
