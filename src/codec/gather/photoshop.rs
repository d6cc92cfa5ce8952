//! Owns IPTC as it is found: records in Photoshop's resources or bare, and the zeros behind them. Never reads a record.

use crate::codec::notes::resources;

/// Begins every record of IPTC.
pub(super) const RECORD: u8 = 0x1c;

/// The records in a block of resources, or the records themselves where nothing was wrapped around them.
pub(super) fn iptc(block: &[u8]) -> Option<&[u8]> {
    if block.first() == Some(&RECORD) {
        return Some(block);
    }
    resources::iptc(block)
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
    fn records_are_found_bare_and_in_a_resource() {
        let records = &b"\x1c\x02\x05\0\0"[..];
        assert_eq!(iptc(records), Some(records));
        assert_eq!(iptc(&resources::of_iptc(records)), Some(records));
        assert_eq!(iptc(b"8BIM"), None);
    }
}
