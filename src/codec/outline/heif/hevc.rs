//! Owns what an HEVC decoder is told of a picture's size: by its settings, which count, and not by the container, which
//! can say anything. Decodes nothing else.

use super::Cursor;
use crate::size::Size;

/// Kind of a unit that holds the settings of a sequence.
const SEQUENCE_SETTINGS: u8 = 33;

/// Units of this kind and below hold slices of pictures.
#[cfg(feature = "heic")]
const LAST_SLICE: u8 = 31;

/// Settings longer than this tell nothing more about sizes.
const MOST_SETTINGS_BYTES: usize = 256;

/// What a decoder makes room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) pixels: u64,
    /// Of a sample.
    pub(super) bits: u8,
}

/// The largest pictures of a configuration (`hvcC`): as many pixels as the largest, as many bits as the deepest.
pub(super) fn room(mut config: Cursor<'_>) -> Option<Room> {
    let mut room = Room::default();
    config.take(22)?;
    for _ in 0..config.u8()? {
        config.u8()?;
        for _ in 0..config.u16()? {
            let length = config.u16()?;
            let unit = config.take(length.into())?;
            if kind(unit) == Some(SEQUENCE_SETTINGS) {
                let (size, bits) = settings(unit)?;
                room.pixels = room.pixels.max(size.pixels());
                room.bits = room.bits.max(bits);
            }
        }
    }
    (room.pixels > 0).then_some(room)
}

/// Whether these units, each behind its length, are of one picture and leave the settings as they are.
#[cfg(feature = "heic")]
pub(super) fn is_one_picture(mut units: Cursor<'_>) -> bool {
    let mut pictures = 0;
    while let Some(unit) = units.u32().and_then(|length| units.take(length as usize)) {
        match kind(unit) {
            Some(SEQUENCE_SETTINGS) => return false,
            // Behind the two bytes of its kind, the first bit of a slice says that a picture begins.
            Some(0..=LAST_SLICE) if unit.get(2).is_some_and(|byte| byte & 0x80 != 0) => pictures += 1,
            _ => {}
        }
    }
    pictures <= 1
}

fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|byte| byte >> 1 & 0x3F)
}

/// Columns × rows, and bits of a sample.
fn settings(unit: &[u8]) -> Option<(Size, u8)> {
    let plain = plain(unit.get(2..)?);
    let mut bits = Bits { bytes: &plain, at: 0 };
    bits.take(4)?;
    let sub_layers = bits.take(3)?;
    bits.take(1)?;
    // Profile and level, in general and of the layers below.
    bits.skip(96)?;
    let mut more = 0;
    for _ in 0..sub_layers {
        more += if bits.take(1)? == 1 { 88 } else { 0 };
        more += if bits.take(1)? == 1 { 8 } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    bits.skip(more)?;
    bits.number()?;
    // Of three colours that are coded apart.
    if bits.number()? == 3 {
        bits.take(1)?;
    }
    let size = Size::new(bits.number()?, bits.number()?);
    if bits.take(1)? == 1 {
        for _ in 0..4 {
            bits.number()?;
        }
    }
    let luma = bits.number()?;
    // Deeper than 16 is no picture.
    let more = u8::try_from(luma.max(bits.number()?))
        .ok()
        .filter(|more| *more <= 8)?;
    Some((size, 8 + more))
}

/// Without the bytes that are put in so that nothing looks like the beginning of a unit.
fn plain(coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut zeros = 0;
    for byte in coded.iter().take(MOST_SETTINGS_BYTES) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// Bits, the highest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    /// A number of any size: as many zeros as it has bits behind its first.
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            (zeros < 32).then_some(())?;
        }
        let rest = self.take(zeros)?;
        Some(((1u32 << zeros) - 1).saturating_add(rest))
    }
}

#[cfg(all(test, feature = "heic"))]
mod tests {
    use super::{Cursor, SEQUENCE_SETTINGS, is_one_picture};

    /// A unit of this kind, whose slice begins a picture or goes on with it.
    fn unit(kind: u8, begins: bool) -> Vec<u8> {
        let unit = [kind << 1, 1, if begins { 0x80 } else { 0 }, 7];
        [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
    }

    /// The decoder would hold each of several; its promise is for one.
    #[test]
    fn a_part_is_one_picture_however_many_slices_it_has() {
        let (first, more, words) = (unit(19, true), unit(19, false), unit(39, true));
        let is_one = |units: &[&[u8]]| is_one_picture(Cursor(&units.concat()));
        assert!(is_one(&[&first]));
        assert!(is_one(&[&words, &first, &more, &more]));
        assert!(!is_one(&[&first, &more, &first]), "two pictures");
        assert!(!is_one(&[&unit(SEQUENCE_SETTINGS, true), &first]), "another size");
        assert!(
            is_one(&[&first[..], &[0, 0, 0, 200, 38]]),
            "what is cut off is the decoder's to refuse"
        );
    }
}
