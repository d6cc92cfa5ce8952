//! Owns EXIF inside of a TIFF: the block lies at the beginning of the file, so that every offset in it counts from
//! where it did, also those that only a MakerNote's maker knows. Never moves a value; turns the byte order around
//! where the file has the other one.

use std::ops::Range;

use super::exif::{is_of_a_picture, knows_its_order};
use super::exif_patch::Malformed;

const EXIF_DIRECTORY: u16 = 0x8769;
const GPS_DIRECTORY: u16 = 0x8825;
const INTEROPERABILITY_DIRECTORY: u16 = 0xa005;
const MAKER_NOTE: u16 = 0x927c;

/// What EXIF's table of tags (Exif 2.32, 4.6.8) has not in a TIFF, of the details: the order of components that a JPEG has,
/// its bits for a pixel, its size. A TIFF's own directory says what it is like.
const NOT_IN_A_TIFF: [u16; 4] = [0x9101, 0x9102, 0xa002, 0xa003];

/// Some writers sign their blocks behind the header; readers would take a whole TIFF for such a block.
const SIGNATURE: &[u8] = b"ExifMeta";

/// Byte order, 42, offset of the first directory: the file has its own.
pub(super) const HEADER_BYTES: usize = 8;

const ENTRY_BYTES: usize = 12;

/// A block as a TIFF holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// What follows the file's header.
    pub(super) bytes: Vec<u8>,
    /// Entries for the file's first directory, in this machine's byte order.
    pub(super) entries: Vec<PlacedEntry>,
    /// The MakerNote may be read in the wrong byte order.
    pub(super) note_is_unsure: bool,
}

/// An entry whose value is in it or in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedEntry {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u32,
    pub(super) field: [u8; 4],
}

/// Makes a block ready for a TIFF in this machine's byte order.
///
/// # Errors
/// [`Malformed`].
pub(super) fn place(exif: &[u8]) -> Result<Placed, Malformed> {
    let mut block = Block::open(exif.to_vec())?;
    let turns = block.big_endian != cfg!(target_endian = "big");
    let first = block.u32(4)? as usize;
    if block.bytes[HEADER_BYTES..].starts_with(SIGNATURE) && first >= HEADER_BYTES + SIGNATURE.len() {
        block.bytes[HEADER_BYTES..][..SIGNATURE.len()].fill(0);
    }
    let mut entries = block.directory(first, turns)?;
    let details = pointer(&entries, EXIF_DIRECTORY);
    if let Some(at) = details {
        let details = block.directory(at, turns)?;
        if let Some(at) = pointer(&details, INTEROPERABILITY_DIRECTORY) {
            block.directory(at, turns)?;
        }
    }
    if let Some(at) = pointer(&entries, GPS_DIRECTORY) {
        block.directory(at, turns)?;
    }
    entries.retain(|entry| is_of_a_picture(entry.tag) || matches!(entry.tag, EXIF_DIRECTORY | GPS_DIRECTORY));
    // Readers rely on the order, and some writers do not.
    entries.sort_by_key(|entry| entry.tag);
    entries.dedup_by_key(|entry| entry.tag);
    block.bytes.drain(..HEADER_BYTES);
    Ok(Placed {
        bytes: block.bytes,
        entries,
        note_is_unsure: block.note_is_unsure,
    })
}

/// Leaves out of a block what only a JPEG may say of itself.
///
/// # Errors
/// [`Malformed`].
pub(super) fn forget_jpeg(exif: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut block = Block::open(exif.clone())?;
    let first = block.u32(4)? as usize;
    let entries = block.directory(first, false)?;
    // As it stands there: a directory that is not turned around keeps what fits into an entry as it is.
    let index = entries.iter().position(|entry| entry.tag == EXIF_DIRECTORY);
    let value = index
        .map(|index| block.u32(first + 2 + index * ENTRY_BYTES + 8))
        .transpose()?;
    if let Some(at) = value.map(|at| at as usize).filter(|at| *at != 0) {
        let details = block.directory(at, false)?;
        if !block.leave_out(at, &details, &NOT_IN_A_TIFF) {
            block.leave_out(first, &entries, &[EXIF_DIRECTORY]);
        }
    }
    *exif = block.bytes;
    Ok(())
}

fn pointer(entries: &[PlacedEntry], tag: u16) -> Option<usize> {
    let entry = entries.iter().find(|entry| entry.tag == tag)?;
    let at = u32::from_ne_bytes(entry.field) as usize;
    (at != 0).then_some(at)
}

struct Block {
    bytes: Vec<u8>,
    big_endian: bool,
    /// What has changed its byte order, so many bytes at a time, or must not: a second time would undo it.
    turned: Vec<(Range<usize>, usize)>,
    note_is_unsure: bool,
}

impl Block {
    fn open(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let big_endian = match bytes.first_chunk::<4>() {
            Some([b'I', b'I', 42, 0]) => false,
            Some([b'M', b'M', 0, 42]) => true,
            _ => return Err(Malformed),
        };
        Ok(Self {
            bytes,
            big_endian,
            turned: Vec::new(),
            note_is_unsure: false,
        })
    }

    fn field<const N: usize>(&self, at: usize) -> Result<[u8; N], Malformed> {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<N>);
        bytes.copied().ok_or(Malformed)
    }

    fn u16(&self, at: usize) -> Result<u16, Malformed> {
        let bytes = self.field(at)?;
        Ok(if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32(&self, at: usize) -> Result<u32, Malformed> {
        let bytes = self.field(at)?;
        Ok(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// Reads a directory, and turns it and its values around if so wished. Its entries come out in this machine's
    /// order. No other directory follows one of EXIF's, so that what would point to it stays: 0.
    fn directory(&mut self, at: usize, turns: bool) -> Result<Vec<PlacedEntry>, Malformed> {
        if at < HEADER_BYTES {
            return Err(Malformed);
        }
        let count = usize::from(self.u16(at)?);
        let end = at + 2 + count * ENTRY_BYTES;
        let mut entries = Vec::with_capacity(count);
        let mut values = Vec::new();
        for from in (at + 2..end).step_by(ENTRY_BYTES) {
            let (tag, kind, count) = (self.u16(from)?, self.u16(from + 2)?, self.u32(from + 4)?);
            let width = width(kind);
            let length = (count as usize).checked_mul(bytes_each(kind)).ok_or(Malformed)?;
            let mut field = self.field::<4>(from + 8)?;
            if length > 4 {
                let begin = self.u32(from + 8)? as usize;
                let value = begin..begin.checked_add(length).ok_or(Malformed)?;
                if begin < HEADER_BYTES || value.end > self.bytes.len() {
                    return Err(Malformed);
                }
                if tag == MAKER_NOTE {
                    self.note_is_unsure = turns && !knows_its_order(&self.bytes[value.clone()]);
                    self.claim(value.clone(), 1)?;
                }
                values.push((value, width));
                field = (begin as u32).to_ne_bytes();
            } else if turns {
                reverse(&mut field, width);
            }
            entries.push(PlacedEntry {
                tag,
                kind,
                count,
                field,
            });
        }
        if turns {
            self.turn(at, &entries, values)?;
        }
        Ok(entries)
    }

    /// Leaves these tags out of a directory that was read, and not turned around; `false` if none is left.
    fn leave_out(&mut self, at: usize, entries: &[PlacedEntry], tags: &[u16]) -> bool {
        let kept: Vec<usize> = (0..entries.len())
            .filter(|index| !tags.contains(&entries[*index].tag))
            .collect();
        if kept.len() == entries.len() {
            return true;
        }
        let place = |index: usize| at + 2 + index * ENTRY_BYTES;
        for (to, from) in kept.iter().enumerate() {
            self.bytes.copy_within(place(*from)..place(from + 1), place(to));
        }
        let count = kept.len() as u16;
        self.bytes[at..at + 2].copy_from_slice(&if self.big_endian {
            count.to_be_bytes()
        } else {
            count.to_le_bytes()
        });
        // No other directory follows.
        self.bytes[place(kept.len())..place(entries.len())].fill(0);
        !kept.is_empty()
    }

    fn turn(
        &mut self,
        at: usize,
        entries: &[PlacedEntry],
        values: Vec<(Range<usize>, usize)>,
    ) -> Result<(), Malformed> {
        self.claim(at..at + 2 + entries.len() * ENTRY_BYTES, 1)?;
        for (value, width) in values {
            if width > 1 && self.claim(value.clone(), width)? {
                reverse(&mut self.bytes[value], width);
            }
        }
        let mut directory = (entries.len() as u16).to_ne_bytes().to_vec();
        for entry in entries {
            directory.extend(entry.tag.to_ne_bytes());
            directory.extend(entry.kind.to_ne_bytes());
            directory.extend(entry.count.to_ne_bytes());
            directory.extend(entry.field);
        }
        self.bytes[at..at + directory.len()].copy_from_slice(&directory);
        Ok(())
    }

    /// Takes a range that nothing else has; `false` where two entries share one value.
    fn claim(&mut self, range: Range<usize>, width: usize) -> Result<bool, Malformed> {
        if width > 1 && self.turned.contains(&(range.clone(), width)) {
            return Ok(false);
        }
        let touches = |(other, _): &(Range<usize>, usize)| range.start < other.end && other.start < range.end;
        if self.turned.iter().any(touches) {
            return Err(Malformed);
        }
        self.turned.push((range, width));
        Ok(true)
    }
}

/// Bytes of a value.
fn bytes_each(kind: u16) -> usize {
    match kind {
        5 | 10 | 12 => 8,
        _ => width(kind),
    }
}

/// Bytes that belong together, in one order or the other.
fn width(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 5 | 9..=11 | 13 => 4,
        12 => 8,
        _ => 1,
    }
}

fn reverse(bytes: &mut [u8], width: usize) {
    bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed behind the header, as exiftool does in a WebP; details with these tags.
    fn block(big_endian: bool, tags: &[u16]) -> Vec<u8> {
        let short = |value: u16| {
            if big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let long = |value: u32| {
            if big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut block = if big_endian {
            b"MM\0\x2a".to_vec()
        } else {
            b"II\x2a\0".to_vec()
        };
        block.extend(long(16));
        block.extend(SIGNATURE);
        block.extend(
            [
                &short(1)[..],
                &short(EXIF_DIRECTORY),
                &short(4),
                &long(1),
                &long(34),
                &long(0),
            ]
            .concat(),
        );
        block.extend(short(tags.len() as u16));
        for tag in tags {
            block.extend([&short(*tag)[..], &short(4), &long(1), &long(u32::from(*tag))].concat());
        }
        block.extend(long(0));
        block
    }

    fn details(placed: &Placed) -> Vec<(u16, u32)> {
        let at = |at: usize| at - HEADER_BYTES;
        let number = |from: usize| u16::from_ne_bytes([placed.bytes[at(from)], placed.bytes[at(from) + 1]]);
        let value = |from: usize| {
            let bytes = &placed.bytes[at(from)..at(from) + 4];
            u32::from_ne_bytes(bytes.try_into().unwrap())
        };
        let entries = (0..usize::from(number(34))).map(|index| 36 + index * ENTRY_BYTES);
        let entries: Vec<_> = entries.map(|from| (number(from), value(from + 8))).collect();
        assert_eq!(value(36 + entries.len() * ENTRY_BYTES), 0, "no directory follows");
        entries
    }

    #[test]
    fn what_only_a_jpeg_may_say_of_itself_is_left_out_of_a_tiff() {
        for big_endian in [false, true] {
            let forgotten = |tags: &[u16]| {
                let mut exif = block(big_endian, tags);
                let bytes = exif.len();
                forget_jpeg(&mut exif).unwrap();
                assert_eq!(exif.len(), bytes, "nothing else has moved");
                exif
            };
            let all = [0x9000, 0x9101, 0x9102, 0x9209, 0xa002, 0xa003, 0xa402];
            let kept = [0x9000, 0x9209, 0xa402].map(|tag| (tag, u32::from(tag)));
            assert_eq!(details(&place(&forgotten(&all)).unwrap()), kept);
            assert_eq!(
                details(&place(&block(big_endian, &all)).unwrap()).len(),
                all.len(),
                "a TIFF's own stay"
            );
            // Nothing is left of the details: nothing points to them.
            assert_eq!(place(&forgotten(&[0xa002, 0xa003])).unwrap().entries, []);
            assert_eq!(forgotten(&[0x9000]), block(big_endian, &[0x9000]));
        }
        assert_eq!(forget_jpeg(&mut b"II*\0\xff\0\0\0".to_vec()), Err(Malformed));
    }

    #[test]
    fn a_signature_behind_the_header_does_not_make_a_block_of_the_file() {
        let placed = place(&block(false, &[0x9000])).unwrap();
        assert_eq!(placed.bytes[..SIGNATURE.len()], [0; 8]);
        // A directory that begins there has whatever bytes it has.
        let mut other = block(false, &[0x9000]);
        other[4] = 8;
        assert!(place(&other).is_err(), "this one is none");
    }
}
