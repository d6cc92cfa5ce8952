//! Owns the changes that make a source's EXIF true for its result. In place and of the same length: a block
//! that is written anew moves its MakerNote, whose own offsets then point nowhere. Reads hostile bytes: every
//! offset is checked, none is followed twice.

use std::ops::Range;

use super::turn::Turn;

mod tag {
    pub(super) const RELATED_WIDTH: u16 = 0x1001;
    pub(super) const RELATED_LENGTH: u16 = 0x1002;
    pub(super) const IMAGE_WIDTH: u16 = 0x0100;
    pub(super) const IMAGE_LENGTH: u16 = 0x0101;
    pub(super) const ORIENTATION: u16 = 0x0112;
    pub(super) const X_RESOLUTION: u16 = 0x011a;
    pub(super) const Y_RESOLUTION: u16 = 0x011b;
    pub(super) const XMP: u16 = 0x02bc;
    pub(super) const EXIF_DIRECTORY: u16 = 0x8769;
    pub(super) const GPS_DIRECTORY: u16 = 0x8825;
    pub(super) const SUBJECT_AREA: u16 = 0x9214;
    pub(super) const MAKER_NOTE: u16 = 0x927c;
    pub(super) const PIXEL_X_DIMENSION: u16 = 0xa002;
    pub(super) const PIXEL_Y_DIMENSION: u16 = 0xa003;
    pub(super) const INTEROPERABILITY_DIRECTORY: u16 = 0xa005;
    pub(super) const FOCAL_PLANE_X_RESOLUTION: u16 = 0xa20e;
    pub(super) const FOCAL_PLANE_Y_RESOLUTION: u16 = 0xa20f;
    pub(super) const SUBJECT_LOCATION: u16 = 0xa214;
}

const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

/// Byte order, 42, offset of the first directory.
const HEADER_BYTES: usize = 8;

/// Tag, type, count, value or its offset.
const ENTRY_BYTES: usize = 12;

/// The block is damaged or contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Whether the place may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As it was.
    Keep,
    /// Overwritten with zeros, not merely unlinked.
    Erase,
}

/// Makes a block true for the upright, enlarged picture: orientation, sizes, where its subject is, how dense the
/// sensor's pixels would be, no thumbnail of the source, and without its place if so wished.
///
/// # Errors
/// [`Malformed`]; the bytes are then in no particular state and must not be used.
pub fn patch(exif: &mut [u8], turn: Turn, place: Place) -> Result<(), Malformed> {
    let mut block = Block::parse(exif)?;
    let primary = block.directory(block.first()?)?;
    let mut details = match block.pointer(&primary, tag::EXIF_DIRECTORY)? {
        Some(offset) => Some(block.directory(offset)?),
        None => None,
    };
    let kept = block.kept(&primary, details.as_ref())?;

    let size = turn.result();
    block.set(&primary, tag::ORIENTATION, 1);
    block.set(&primary, tag::IMAGE_WIDTH, size.width);
    block.set(&primary, tag::IMAGE_LENGTH, size.height);
    if turn.swaps() {
        block.swap_resolution(&primary, &kept);
    }
    let thumbnail = block.unlink_next(&primary);
    if let Some(details) = &mut details {
        block.set(details, tag::PIXEL_X_DIMENSION, size.width);
        block.set(details, tag::PIXEL_Y_DIMENSION, size.height);
        block.set_related(details, turn, &kept)?;
        block.scale_density(details, turn, &kept)?;
        for tag in [tag::SUBJECT_AREA, tag::SUBJECT_LOCATION] {
            block.turn_subject(details, tag, turn, &kept)?;
        }
    }
    if place == Place::Erase {
        // A thumbnail's directory that is none was unlinked, and what it says is found by nobody.
        let thumbnail = thumbnail.and_then(|offset| block.directory(offset).ok());
        if let Some(thumbnail) = &thumbnail {
            apart(&thumbnail.range(), &kept)?;
        }
        for mut directory in [Some(primary), details, thumbnail].into_iter().flatten() {
            block.erase_place(&mut directory, &kept)?;
        }
    }
    Ok(())
}

/// That a range touches none of the others.
fn apart(range: &Range<usize>, others: &[Range<usize>]) -> Result<(), Malformed> {
    let touches = |other: &Range<usize>| range.start < other.end && other.start < range.end;
    if others.iter().any(touches) {
        Err(Malformed)
    } else {
        Ok(())
    }
}

/// A fraction in two numbers of 32 bits, exactly if that can be.
fn fraction(above: u64, below: u64) -> (u32, u32) {
    let (mut a, mut b) = (above, below);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (mut above, mut below) = (above / a.max(1), below / a.max(1));
    while above.max(below) > u64::from(u32::MAX) {
        above >>= 1;
        below >>= 1;
    }
    (above as u32, below as u32)
}

/// A directory whose entries lie within the block.
#[derive(Debug, Clone)]
struct Directory {
    at: usize,
    entries: usize,
}

impl Directory {
    fn entry(&self, index: usize) -> usize {
        self.at + 2 + index * ENTRY_BYTES
    }

    /// Where the offset of the next directory is; that may lie behind the end of a block that lacks it.
    fn next_at(&self) -> usize {
        self.entry(self.entries)
    }

    /// From the count of entries to the end of the last. Without the offset of the next directory: some
    /// writers leave that out where there is none, and begin with values.
    fn range(&self) -> Range<usize> {
        self.at..self.next_at()
    }
}

struct Block<'a> {
    bytes: &'a mut [u8],
    little: bool,
}

impl<'a> Block<'a> {
    fn parse(bytes: &'a mut [u8]) -> Result<Self, Malformed> {
        let little = match bytes.first_chunk::<4>() {
            Some([b'I', b'I', 42, 0]) => true,
            Some([b'M', b'M', 0, 42]) => false,
            _ => return Err(Malformed),
        };
        Ok(Self { bytes, little })
    }

    fn u16(&self, at: usize) -> Result<u16, Malformed> {
        let bytes = *self
            .bytes
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(Malformed)?;
        Ok(if self.little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn u32(&self, at: usize) -> Result<u32, Malformed> {
        let bytes = *self
            .bytes
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(Malformed)?;
        Ok(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    /// Writes two bytes inside a directory that was checked to lie within the block.
    fn put_u16(&mut self, at: usize, value: u16) {
        let bytes = if self.little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        self.bytes[at..at + 2].copy_from_slice(&bytes);
    }

    /// Writes four bytes inside a directory that was checked to lie within the block.
    fn put_u32(&mut self, at: usize, value: u32) {
        let bytes = if self.little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        self.bytes[at..at + 4].copy_from_slice(&bytes);
    }

    /// Offset of the first directory.
    fn first(&self) -> Result<usize, Malformed> {
        Ok(self.u32(4)? as usize)
    }

    /// The directory there, all its entries within the block.
    fn directory(&self, at: usize) -> Result<Directory, Malformed> {
        if at < HEADER_BYTES {
            return Err(Malformed);
        }
        let directory = Directory {
            at,
            entries: usize::from(self.u16(at)?),
        };
        if directory.next_at() > self.bytes.len() {
            return Err(Malformed);
        }
        Ok(directory)
    }

    fn find(&self, directory: &Directory, tag: u16) -> Option<usize> {
        (0..directory.entries)
            .map(|index| directory.entry(index))
            .find(|&at| self.u16(at) == Ok(tag))
    }

    /// The offset that an entry of this tag holds.
    fn pointer(&self, directory: &Directory, tag: u16) -> Result<Option<usize>, Malformed> {
        self.find(directory, tag)
            .map(|at| Ok(self.u32(at + 8)? as usize))
            .transpose()
    }

    /// Where an entry's value lies, if it has one outside of the entry; cut off at the end of the block.
    fn outside_value(&self, entry: usize) -> Option<Range<usize>> {
        let bytes_each: u64 = match self.u16(entry + 2).ok()? {
            // 129 is EXIF 3.0's UTF-8.
            1 | 2 | 6 | 7 | 129 => 1,
            SHORT | 8 => 2,
            LONG | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = bytes_each * u64::from(self.u32(entry + 4).ok()?);
        let from = u64::from(self.u32(entry + 8).ok()?);
        let to = (from + length).min(self.bytes.len() as u64);
        (length > 4 && from < to).then_some(from as usize..to as usize)
    }

    /// What no change may touch by accident: header, directories, MakerNote. They must not overlap, or a change
    /// to one would change another.
    fn kept(&self, primary: &Directory, details: Option<&Directory>) -> Result<Vec<Range<usize>>, Malformed> {
        let mut kept = vec![0..HEADER_BYTES, primary.at..primary.next_at() + 4];
        if let Some(details) = details {
            kept.push(details.range());
            kept.extend(
                self.find(details, tag::MAKER_NOTE)
                    .and_then(|entry| self.outside_value(entry)),
            );
        }
        kept.sort_by_key(|range| range.start);
        if kept.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(Malformed);
        }
        Ok(kept)
    }
}

/// Changes.
impl Block<'_> {
    /// Gives every entry of this tag this one number; absent ones stay absent.
    fn set(&mut self, directory: &Directory, tag: u16, value: u32) {
        for index in 0..directory.entries {
            let at = directory.entry(index);
            if self.u16(at) != Ok(tag) {
                continue;
            }
            self.put_u32(at + 4, 1);
            match u16::try_from(value) {
                Ok(short) if self.u16(at + 2) != Ok(LONG) => {
                    self.put_u16(at + 2, SHORT);
                    self.put_u16(at + 8, short);
                    self.put_u16(at + 10, 0);
                }
                // Both types are allowed, and LONG fits into the same field.
                _ => {
                    self.put_u16(at + 2, LONG);
                    self.put_u32(at + 8, value);
                }
            }
        }
    }

    /// The sizes that the interoperability directory repeats.
    fn set_related(
        &mut self,
        details: &Directory,
        turn: Turn,
        kept: &[Range<usize>],
    ) -> Result<(), Malformed> {
        let Some(offset) = self.pointer(details, tag::INTEROPERABILITY_DIRECTORY)? else {
            return Ok(());
        };
        // One that is none is read by nobody.
        let Ok(directory) = self.directory(offset) else {
            return Ok(());
        };
        apart(&directory.range(), kept)?;
        self.set(&directory, tag::RELATED_WIDTH, turn.result().width);
        self.set(&directory, tag::RELATED_LENGTH, turn.result().height);
        Ok(())
    }

    /// Pixels in a unit of length, of rows and columns that have changed places. Values that lie where no value may
    /// stay: nearly always both are the same.
    fn swap_resolution(&mut self, primary: &Directory, kept: &[Range<usize>]) {
        let mut places = [tag::X_RESOLUTION, tag::Y_RESOLUTION].map(|tag| {
            let entry = self.find(primary, tag)?;
            let value = self.outside_value(entry)?;
            let is_fraction = self.u16(entry + 2) == Ok(RATIONAL) && value.len() == 8;
            (is_fraction && apart(&value, kept).is_ok()).then_some(value)
        });
        if let [Some(across), Some(down)] = &mut places
            && apart(across, std::slice::from_ref(down)).is_ok()
        {
            for (a, b) in across.zip(down) {
                self.bytes.swap(a, b);
            }
        }
    }

    /// Pixels of the sensor in a unit of length: as many more as the picture has now, along its new sides.
    fn scale_density(
        &mut self,
        details: &Directory,
        turn: Turn,
        kept: &[Range<usize>],
    ) -> Result<(), Malformed> {
        let tags = [tag::FOCAL_PLANE_X_RESOLUTION, tag::FOCAL_PLANE_Y_RESOLUTION];
        let mut found = Vec::new();
        for tag in tags {
            let entry = self.find(details, tag);
            let value = entry.filter(|&at| self.u16(at + 2) == Ok(RATIONAL) && self.u32(at + 4) == Ok(1));
            if let Some(range) = value.and_then(|at| self.outside_value(at)) {
                apart(&range, kept)?;
                found.push((range.start, self.u32(range.start)?, self.u32(range.start + 4)?));
            }
        }
        let &[(x_at, ..), (y_at, ..)] = found.as_slice() else {
            return Ok(());
        };
        if turn.swaps() {
            found.swap(0, 1);
        }
        for (at, &(_, above, below), (to, from)) in
            [(x_at, &found[0], turn.across()), (y_at, &found[1], turn.down())]
        {
            let (above, below) = fraction(
                u64::from(above) * u64::from(to),
                u64::from(below) * u64::from(from),
            );
            self.put_u32(at, above);
            self.put_u32(at + 4, below);
        }
        Ok(())
    }

    /// A point, a circle (point and diameter) or a rectangle (middle, width, height). What no SHORT can hold any
    /// more is taken out: there is no room for a longer number.
    fn turn_subject(
        &mut self,
        details: &mut Directory,
        tag: u16,
        turn: Turn,
        kept: &[Range<usize>],
    ) -> Result<(), Malformed> {
        let Some(entry) = self.find(details, tag) else {
            return Ok(());
        };
        let count = self.u32(entry + 4)?;
        if self.u16(entry + 2)? != SHORT || !(2..=4).contains(&count) {
            return Ok(());
        }
        let at = match self.outside_value(entry) {
            Some(range) => {
                apart(&range, kept)?;
                range.start
            }
            None if count == 2 => entry + 8,
            None => return Ok(()),
        };
        let mut numbers = [0; 4];
        for (index, number) in numbers.iter_mut().enumerate().take(count as usize) {
            *number = u32::from(self.u16(at + 2 * index)?);
        }
        let [x, y, width, height] = numbers;
        let (x, y) = turn.point(x, y);
        let (width, height) = turn.extent(width, if count == 3 { width } else { height });
        let turned: Result<Vec<u16>, _> = [x, y, width, height].into_iter().map(u16::try_from).collect();
        match turned {
            Ok(turned) => {
                for (index, number) in turned.into_iter().enumerate().take(count as usize) {
                    self.put_u16(at + 2 * index, number);
                }
            }
            Err(_) => self.remove(details, entry),
        }
        Ok(())
    }

    /// Makes this the last directory and tells the offset of the one that followed.
    fn unlink_next(&mut self, directory: &Directory) -> Option<usize> {
        let next = self.u32(directory.next_at()).ok()?;
        self.put_u32(directory.next_at(), 0);
        (next != 0).then_some(next as usize)
    }

    /// Overwrites what tells the place: the GPS directory with its values, and XMP, which repeats them.
    /// A MakerNote may know it too, but only its maker knows where.
    fn erase_place(&mut self, directory: &mut Directory, kept: &[Range<usize>]) -> Result<(), Malformed> {
        while let Some(entry) = self.find(directory, tag::GPS_DIRECTORY) {
            let offset = self.u32(entry + 8)? as usize;
            // Offset 0 is how other programs unlink it.
            if offset != 0 {
                let gps = self.directory(offset)?;
                // Found before the first is erased: hostile values may lie in the directory itself.
                let values: Vec<_> = (0..gps.entries)
                    .filter_map(|index| self.outside_value(gps.entry(index)))
                    .collect();
                for range in values.into_iter().chain([gps.range()]) {
                    self.erase(range, kept)?;
                }
            }
            self.remove(directory, entry);
        }
        while let Some(entry) = self.find(directory, tag::XMP) {
            if let Some(value) = self.outside_value(entry) {
                self.erase(value, kept)?;
            }
            self.remove(directory, entry);
        }
        Ok(())
    }

    fn erase(&mut self, range: Range<usize>, kept: &[Range<usize>]) -> Result<(), Malformed> {
        apart(&range, kept)?;
        self.bytes.get_mut(range).ok_or(Malformed)?.fill(0);
        Ok(())
    }

    /// Takes an entry out: the later ones move up, because readers rely on their order. The zeros that remain
    /// begin with the offset of a next directory: none.
    fn remove(&mut self, directory: &mut Directory, entry: usize) {
        let end = directory.next_at();
        self.bytes.copy_within(entry + ENTRY_BYTES..end, entry);
        self.bytes[end - ENTRY_BYTES..end].fill(0);
        directory.entries -= 1;
        self.put_u16(directory.at, directory.entries as u16);
    }
}

#[cfg(test)]
mod tests;
