//! Owns the finding of entries in a zip archive as `torch.save` writes it: stored, not compressed, so that an entry is a
//! range of the file. Never unpacks, so no small archive can become a large one; a library that also unpacks, decrypts
//! and writes is not needed for this.

use std::collections::BTreeMap;

use super::super::error::ImportError;
use super::super::weights::TENSORS_MAX;

/// Entries of one archive: one for each storage, and some around them.
const ENTRIES_MAX: usize = TENSORS_MAX + 64;

/// The longest comment that the end of an archive can have, and that end.
const END_SEARCH: usize = 65_535 + END_SIZE;

/// Bytes of the end record without its comment.
const END_SIZE: usize = 22;

/// Bytes of the record that tells where the large end record is.
const LOCATOR_SIZE: usize = 20;

/// A size or offset that is told elsewhere because it may not fit into four bytes.
const ELSEWHERE: u32 = u32::MAX;

/// Where the local header of an entry is, and how long its data.
#[derive(Debug, Clone, Copy)]
struct Entry {
    header: u64,
    size: u64,
    stored: bool,
}

/// The entries of an archive by their names.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
}

impl<'a> Archive<'a> {
    /// Whether this is the beginning of an archive.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    /// Reads the directory at the end of the file.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ImportError> {
        let missing = || damaged("its end is missing, as of a download that broke off");
        let (count, mut at) = directory(bytes).ok_or_else(missing)?;
        if count > ENTRIES_MAX as u64 {
            return Err(ImportError::TooLarge(format!("the archive has {count} entries")));
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry, next) =
                central(bytes, at).ok_or_else(|| damaged("the archive's directory is broken"))?;
            // Names that are not text are none of ours.
            if let Ok(name) = str::from_utf8(name) {
                entries.insert(name, entry);
            }
            at = next;
        }
        Ok(Self { bytes, entries })
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// The data of an entry; none if there is no such entry.
    pub fn get(&self, name: &str) -> Result<Option<&'a [u8]>, ImportError> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        if !entry.stored {
            return Err(ImportError::Format(
                "its archive is compressed or encrypted, as PyTorch never writes it; save it again with torch.save"
                    .to_owned(),
            ));
        }
        match data(self.bytes, *entry) {
            Some(data) => Ok(Some(data)),
            None => Err(damaged("an entry of the archive lies outside of it")),
        }
    }
}

fn damaged(what: &str) -> ImportError {
    ImportError::Damaged(what.to_owned())
}

/// Number of entries, and where the directory begins.
fn directory(bytes: &[u8]) -> Option<(u64, usize)> {
    let from = bytes.len().saturating_sub(END_SEARCH);
    let tail = bytes.get(from..)?;
    let end = from + tail.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let (count, offset) = (u16_at(bytes, end + 10)?, u32_at(bytes, end + 16)?);
    bytes.get(end + END_SIZE + usize::from(u16_at(bytes, end + 20)?)..)?;
    let large = || {
        let locator = end.checked_sub(LOCATOR_SIZE)?;
        let end = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        let known =
            bytes.get(locator..)?.starts_with(b"PK\x06\x07") && bytes.get(end..)?.starts_with(b"PK\x06\x06");
        known.then_some(())?;
        let offset = usize::try_from(u64_at(bytes, end.checked_add(48)?)?).ok()?;
        Some((u64_at(bytes, end.checked_add(32)?)?, offset))
    };
    if count == u16::MAX || offset == ELSEWHERE {
        return large();
    }
    Some((u64::from(count), usize::try_from(offset).ok()?))
}

/// An entry of the directory: its name, itself, and where the next one begins.
fn central(bytes: &[u8], at: usize) -> Option<(&[u8], Entry, usize)> {
    let record = bytes.get(at..)?;
    record.starts_with(b"PK\x01\x02").then_some(())?;
    let (flags, method) = (u16_at(record, 8)?, u16_at(record, 10)?);
    let lengths = [28, 30, 32].map(|field| u16_at(record, field).map(usize::from));
    let [name, extra, comment] = lengths;
    let (name, extra, comment) = (name?, extra?, comment?);
    let name_end = 46 + name;
    let extra = record.get(name_end..name_end + extra)?;
    let next = at.checked_add(name_end + extra.len() + comment)?;

    // The large sizes stand in this order, and only those that did not fit.
    let mut large = large_sizes(extra);
    let mut size = |field| {
        let small = u32_at(record, field)?;
        if small != ELSEWHERE {
            return Some(u64::from(small));
        }
        let value = u64_at(large, 0)?;
        large = large.get(8..)?;
        Some(value)
    };
    let (unpacked, packed, header) = (size(24)?, size(20)?, size(42)?);
    let entry = Entry {
        header,
        size: unpacked,
        stored: method == 0 && flags & 1 == 0 && packed == unpacked,
    };
    Some((record.get(46..name_end)?, entry, next))
}

/// The extra field for sizes that do not fit into four bytes; empty if there is none.
fn large_sizes(mut extra: &[u8]) -> &[u8] {
    while let (Some(kind), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let end = 4 + usize::from(len);
        let Some(field) = extra.get(4..end) else {
            break;
        };
        if kind == 1 {
            return field;
        }
        extra = &extra[end..];
    }
    &[]
}

/// The data behind an entry's local header, whose extra field may differ from the directory's: PyTorch aligns with it.
fn data(bytes: &[u8], entry: Entry) -> Option<&[u8]> {
    let header = bytes.get(usize::try_from(entry.header).ok()?..)?;
    header.starts_with(b"PK\x03\x04").then_some(())?;
    let start = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    let end = start.checked_add(usize::try_from(entry.size).ok()?)?;
    header.get(start..end)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
