//! Owns the walk through a TIFF's directories, classic and big: its pages, and whether every strip or tile of each
//! lies inside the file. Never decodes one.

mod page;
mod raw;
mod refusal;

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline};

pub(in crate::codec) use page::{Compression, Page, Photometric};

/// Most directories that are followed. More pages are as good as endless.
const MOST_DIRECTORIES: u64 = 4096;

/// Most entries of a directory. The standards know about two hundred tags.
const MOST_ENTRIES: u64 = 4096;

/// Follows the chain of directories. Smaller versions of pages and masks are no pages, unless there is nothing else.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    let (dialect, mut next) = Dialect::read(stream)?;
    // Written last by those who write front to back.
    if next == 0 {
        return Err(Flaw::Short);
    }
    let mut directories = Vec::new();
    let mut seen = BTreeSet::new();
    for index in 0..MOST_DIRECTORIES {
        if !seen.insert(next) {
            return Err(Flaw::Damaged("its directories form a loop"));
        }
        stream.seek_to(next)?;
        let (entries, following) = dialect.directory(stream)?;
        if index == 0 || !dialect.is_reduced(&entries) {
            directories.push(next);
        }
        next = following;
        if next == 0 {
            break;
        }
    }
    // Tables that lie apart, as they should, are shorter than the file.
    let mut table_bytes = stream.len();
    let mut is_first = true;
    for (index, place) in directories.iter().enumerate() {
        stream.seek_to(*place)?;
        let (entries, _) = dialect.directory(stream)?;
        // A thumbnail in front of the pages.
        let is_raw = entries.iter().any(|entry| entry.tag == 330);
        if index == 0 && directories.len() > 1 && !is_raw && dialect.is_reduced(&entries) {
            continue;
        }
        let page = Page::read(stream, dialect, &entries)?;
        if is_first {
            is_first = false;
            let is_raw = raw::is_raw(stream, dialect, &entries)?;
            let described = page.describe(stream, &mut table_bytes, outline);
            if is_raw {
                outline.refusal = Some(raw::REFUSAL.to_owned());
                return Ok(());
            }
            described?;
        } else {
            let mut further = Outline::new();
            page.describe(stream, &mut table_bytes, &mut further)?;
            further.settle();
            outline.more.push(further);
        }
    }
    outline.pictures = 1 + outline.more.len() as u64;
    Ok(())
}

/// A smaller version of another page, or the mask of one.
const REDUCED_OR_MASK: u64 = 0b101;

/// Byte order and width of offsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::codec) struct Dialect {
    pub(in crate::codec) big_endian: bool,
    wide: bool,
}

/// A directory's entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::codec) struct Entry {
    tag: u16,
    value_bytes: u64,
    pub(in crate::codec) count: u64,
    /// The value itself where it fits, else its place; the first bytes of eight.
    field: [u8; 8],
}

impl Dialect {
    /// Reads the file header; also gives the place of the first directory.
    fn read<R: Read + Seek>(stream: &mut Stream<R>) -> Result<(Self, u64), Flaw> {
        let order: [u8; 2] = stream.bytes()?;
        let mut dialect = Self {
            big_endian: order == *b"MM",
            wide: false,
        };
        dialect.wide = dialect.number(stream, 2)? == 43;
        if dialect.wide {
            stream.skip(4)?;
        }
        let first = dialect.offset(stream)?;
        Ok((dialect, first))
    }

    fn number<R: Read + Seek>(self, stream: &mut Stream<R>, bytes: usize) -> Result<u64, Flaw> {
        let mut field = [0; 8];
        stream.fill(&mut field[..bytes])?;
        Ok(self.value(&field[..bytes]))
    }

    /// An unsigned number of up to eight bytes.
    fn value(self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }

    fn offset<R: Read + Seek>(self, stream: &mut Stream<R>) -> Result<u64, Flaw> {
        self.number(stream, self.offset_bytes())
    }

    fn offset_bytes(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// The entries at this place, and where the next directory is.
    fn directory<R: Read + Seek>(self, stream: &mut Stream<R>) -> Result<(Vec<Entry>, u64), Flaw> {
        let count = self.number(stream, if self.wide { 8 } else { 2 })?;
        if count > MOST_ENTRIES {
            return Err(Flaw::Damaged("one of its directories is damaged"));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let tag = self.number(stream, 2)?;
            let value_bytes = match self.number(stream, 2)? {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16 | 17 | 18 => 8,
                _ => 1,
            };
            let count = self.offset(stream)?;
            let mut field = [0; 8];
            stream.fill(&mut field[..self.offset_bytes()])?;
            entries.push(Entry {
                tag: u16::try_from(tag).unwrap_or(0),
                value_bytes,
                count,
                field,
            });
        }
        Ok((entries, self.offset(stream)?))
    }

    /// Whether a further directory is no page of its own. Looks at what lies in the directory only: a hostile
    /// chain of them could make every value a leap through the file.
    fn is_reduced(self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| {
            let width = usize::try_from(entry.value_bytes).unwrap_or(1);
            entry.tag == 254 && self.value(&entry.field[..width]) & REDUCED_OR_MASK != 0
        })
    }

    /// The bytes of an entry, if they are no more than `most`.
    pub(in crate::codec) fn bytes<R: Read + Seek>(
        self,
        stream: &mut Stream<R>,
        entry: &Entry,
        most: u64,
    ) -> Result<Vec<u8>, Flaw> {
        let length = entry.count.saturating_mul(entry.value_bytes);
        let inline = self.offset_bytes();
        if length <= inline as u64 {
            return Ok(entry.field[..length as usize].to_vec());
        }
        if length > most.min(stream.len()) {
            return Err(Flaw::Short);
        }
        stream.seek_to(self.value(&entry.field[..inline]))?;
        let mut bytes = vec![0; length as usize];
        stream.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Values of an entry, from one of them on.
    pub(in crate::codec) fn values<R: Read + Seek>(
        self,
        stream: &mut Stream<R>,
        entry: &Entry,
        first: u64,
        count: u64,
    ) -> Result<Vec<u64>, Flaw> {
        let bytes = usize::try_from(entry.value_bytes).unwrap_or(1);
        let count = count.min(entry.count - first.min(entry.count));
        if entry.count.saturating_mul(entry.value_bytes) <= self.offset_bytes() as u64 {
            let values = entry.field.chunks_exact(bytes).map(|value| self.value(value));
            let (first, count) = (usize::try_from(first), usize::try_from(count));
            return Ok(values.skip(first.unwrap_or(0)).take(count.unwrap_or(0)).collect());
        }
        let place = self.value(&entry.field[..self.offset_bytes()]);
        stream.seek_to(place.saturating_add(first.saturating_mul(entry.value_bytes)))?;
        (0..count).map(|_| self.number(stream, bytes)).collect()
    }
}
