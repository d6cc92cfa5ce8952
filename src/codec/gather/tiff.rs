//! Owns the metadata in a TIFF's directories: XMP, IPTC, and EXIF, which is spread over the file and comes out as a
//! block of its own. Reads hostile directories: each is read once, and what is too large is left out.

use std::fs::File;

use super::{EXIF_BYTES_MAX, Found, IPTC_BYTES_MAX, bytes, photoshop};
use crate::codec::exif::{is_of_a_picture, knows_its_order};
use crate::codec::outline::{Flaw, Stream};
use crate::codec::xmp::XMP_BYTES_MAX;

const XMP: u16 = 700;
const IPTC: u16 = 33_723;
const PHOTOSHOP: u16 = 34_377;
const EXIF_DIRECTORY: u16 = 34_665;
const GPS_DIRECTORY: u16 = 34_853;
const INTEROPERABILITY_DIRECTORY: u16 = 40_965;
const MAKER_NOTE: u16 = 37_500;

/// Most entries of a directory. The standards know about two hundred tags.
const ENTRIES_MAX: u64 = 1024;

/// A MakerNote that begins and ends before this can stay where it is: the block is filled up to there, and JPEG holds
/// it still.
const IN_PLACE_MAX: u64 = 60_000;

const LONG: u16 = 4;

/// Reads the first directory, and those that it points to.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    let order: [u8; 2] = stream.bytes()?;
    let mut reader = Reader {
        stream,
        big_endian: order == *b"MM",
        wide: false,
        left: EXIF_BYTES_MAX,
    };
    reader.wide = reader.number(2)? == 43;
    if reader.wide {
        reader.stream.skip(4)?;
    }
    let first = reader.number(reader.offset_bytes())?;
    let entries = reader.directory(first)?;
    for entry in &entries {
        match entry.tag {
            XMP => match reader.value(entry, XMP_BYTES_MAX)? {
                Some(packet) => found.take_xmp(packet),
                None => found.warn("the XMP is too large and is not carried over"),
            },
            IPTC => {
                if let Some(records) = reader.value(entry, IPTC_BYTES_MAX)? {
                    found.take_iptc(photoshop::unpadded(&in_order(records)).to_vec());
                }
            }
            PHOTOSHOP => {
                let block = reader.value(entry, 2 * XMP_BYTES_MAX)?.unwrap_or_default();
                found.take_photoshop(&block);
            }
            _ => {}
        }
    }
    match reader.exif(&entries) {
        Ok(Some((exif, warning))) => {
            found.exif = Some(exif);
            found.warnings.extend(warning);
        }
        Ok(None) => {}
        Err(_) => found.warn("the EXIF data are damaged and are not carried over"),
    }
    Ok(())
}

/// Records that Photoshop wrote as numbers and another program turned around, in their order.
fn in_order(mut records: Vec<u8>) -> Vec<u8> {
    if records.first() != Some(&photoshop::RECORD) && records.get(3) == Some(&photoshop::RECORD) {
        for number in records.as_chunks_mut::<4>().0 {
            number.reverse();
        }
    }
    records
}

/// A directory's entry, its value or the value's place in the bytes of the file.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    field: [u8; 8],
}

/// A block, and a warning for what it lacks.
type ExifOfTiff = (Vec<u8>, Option<String>);

impl Entry {
    /// Bytes of a value; `None` for kinds that only a large TIFF knows.
    fn value_bytes(&self) -> Option<u64> {
        match self.kind {
            1 | 2 | 6 | 7 | 129 => Some(1),
            3 | 8 => Some(2),
            4 | 9 | 11 | 13 => Some(4),
            5 | 10 | 12 => Some(8),
            _ => None,
        }
    }

    fn bytes(&self) -> Option<u64> {
        self.value_bytes()?.checked_mul(self.count)
    }
}

struct Reader<'s, 'f> {
    stream: &'s mut Stream<&'f File>,
    big_endian: bool,
    wide: bool,
    /// What EXIF may still take.
    left: usize,
}

impl Reader<'_, '_> {
    fn offset_bytes(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    fn unsigned(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }

    fn number(&mut self, count: usize) -> Result<u64, Flaw> {
        let mut field = [0; 8];
        self.stream.fill(&mut field[..count])?;
        Ok(self.unsigned(&field[..count]))
    }

    fn directory(&mut self, at: u64) -> Result<Vec<Entry>, Flaw> {
        self.stream.seek_to(at)?;
        let count = self.number(if self.wide { 8 } else { 2 })?;
        if count > ENTRIES_MAX {
            return Err(Flaw::Damaged("one of its directories is damaged"));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let (tag, kind) = (self.number(2)? as u16, self.number(2)? as u16);
            let count = self.number(self.offset_bytes())?;
            let mut field = [0; 8];
            let width = self.offset_bytes();
            self.stream.fill(&mut field[..width])?;
            entries.push(Entry {
                tag,
                kind,
                count,
                field,
            });
        }
        Ok(entries)
    }

    /// Where an entry's value is; `None` if it is in the entry.
    fn place(&self, entry: &Entry) -> Option<u64> {
        let width = self.offset_bytes();
        (entry.bytes()? > width as u64).then(|| self.unsigned(&entry.field[..width]))
    }

    /// The bytes of an entry's value; `None` for one that is too large or of an unknown kind.
    fn value(&mut self, entry: &Entry, most: usize) -> Result<Option<Vec<u8>>, Flaw> {
        let Some(length) = entry.bytes() else {
            return Ok(None);
        };
        match self.place(entry) {
            None => Ok(Some(entry.field[..length as usize].to_vec())),
            Some(at) => {
                self.stream.seek_to(at)?;
                bytes(self.stream, length, most)
            }
        }
    }

    /// The directory that an entry of this tag points to.
    fn pointed(&mut self, entries: &[Entry], tag: u16) -> Result<Vec<Entry>, Flaw> {
        let Some(entry) = entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(Vec::new());
        };
        let width = match entry.kind {
            16 | 18 => 8,
            _ => 4,
        };
        let at = self.unsigned(&entry.field[..width.min(self.offset_bytes())]);
        if at == 0 {
            return Ok(Vec::new());
        }
        self.directory(at)
    }

    /// EXIF as a block of its own, if there is any, and what it lacks.
    fn exif(&mut self, entries: &[Entry]) -> Result<Option<ExifOfTiff>, Flaw> {
        let details = self.pointed(entries, EXIF_DIRECTORY)?;
        let gps = self.pointed(entries, GPS_DIRECTORY)?;
        let interoperability = self.pointed(&details, INTEROPERABILITY_DIRECTORY)?;
        let primary = || entries.iter().filter(|entry| is_of_a_picture(entry.tag));
        if details.is_empty() && gps.is_empty() && primary().next().is_none() {
            return Ok(None);
        }
        let mut block = Block::new(self.big_endian);
        let mut warning = None;
        let note = match details.iter().find(|entry| entry.tag == MAKER_NOTE) {
            Some(entry) => {
                let note = self.maker_note(entry, &mut block)?;
                if note.is_none() {
                    let why =
                        "its offsets count from the beginning of the file, in which it lies too far behind";
                    warning = Some(format!("the MakerNote was not carried: {why}"));
                }
                note
            }
            None => None,
        };
        let mut details = self.values(details.iter().filter(|entry| entry.tag != MAKER_NOTE))?;
        details.extend(note);
        if !interoperability.is_empty() {
            let values = self.values(interoperability.iter())?;
            details.push(block.pointer(INTEROPERABILITY_DIRECTORY, values));
        }
        let mut primary = self.values(primary())?;
        if !details.is_empty() {
            primary.push(block.pointer(EXIF_DIRECTORY, details));
        }
        if !gps.is_empty() {
            let values = self.values(gps.iter())?;
            primary.push(block.pointer(GPS_DIRECTORY, values));
        }
        let first = block.directory(primary);
        Ok(Some((block.finish(first), warning)))
    }

    /// Puts the MakerNote where its own offsets hold: anywhere, if they count from itself, else where it was.
    fn maker_note(&mut self, entry: &Entry, block: &mut Block) -> Result<Option<Value>, Flaw> {
        let (Some(at), Some(length)) = (self.place(entry), entry.bytes()) else {
            return Ok(None);
        };
        let Some(note) = self.value(entry, self.left)? else {
            return Ok(None);
        };
        self.left -= note.len();
        let is_in_place = at >= HEADER_BYTES && at.saturating_add(length) <= IN_PLACE_MAX;
        let at = match (knows_its_order(&note), is_in_place) {
            (_, true) => at as usize,
            (true, false) => block.bytes.len(),
            (false, false) => return Ok(None),
        };
        block.bytes.resize(at, 0);
        block.bytes.extend(&note);
        Ok(Some(Value {
            tag: entry.tag,
            kind: entry.kind,
            count: entry.count as u32,
            content: Content::At(at as u32),
        }))
    }

    /// Values that a block can hold; pointers are made anew.
    fn values<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) -> Result<Vec<Value>, Flaw> {
        let mut values = Vec::new();
        for entry in entries {
            if matches!(
                entry.tag,
                EXIF_DIRECTORY | GPS_DIRECTORY | INTEROPERABILITY_DIRECTORY
            ) {
                continue;
            }
            if let Some(value) = self.value(entry, self.left)? {
                self.left -= value.len();
                values.push(Value {
                    tag: entry.tag,
                    kind: entry.kind,
                    count: entry.count as u32,
                    content: Content::Bytes(value),
                });
            }
        }
        Ok(values)
    }
}

const HEADER_BYTES: u64 = 8;

enum Content {
    Bytes(Vec<u8>),
    /// In the block already.
    At(u32),
}

struct Value {
    tag: u16,
    kind: u16,
    count: u32,
    content: Content,
}

/// EXIF as JPEG holds it, being written.
struct Block {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Block {
    fn new(big_endian: bool) -> Self {
        let header = if big_endian {
            b"MM\0\x2a\0\0\0\0"
        } else {
            b"II\x2a\0\0\0\0\0"
        };
        Self {
            bytes: header.to_vec(),
            big_endian,
        }
    }

    fn short(&self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn long(&self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// Writes a directory and gives the entry that points to it.
    fn pointer(&mut self, tag: u16, values: Vec<Value>) -> Value {
        let at = self.directory(values);
        Value {
            tag,
            kind: LONG,
            count: 1,
            content: Content::Bytes(self.long(at).to_vec()),
        }
    }

    /// Writes values and the directory that names them; tells where.
    fn directory(&mut self, mut values: Vec<Value>) -> u32 {
        values.sort_by_key(|value| value.tag);
        let mut directory = self.short(values.len() as u16).to_vec();
        for value in values {
            directory.extend(self.short(value.tag));
            directory.extend(self.short(value.kind));
            directory.extend(self.long(value.count));
            match value.content {
                Content::Bytes(mut bytes) if bytes.len() <= 4 => {
                    bytes.resize(4, 0);
                    directory.extend(bytes);
                }
                Content::Bytes(bytes) => {
                    let at = self.align();
                    directory.extend(self.long(at));
                    self.bytes.extend(bytes);
                }
                Content::At(at) => directory.extend(self.long(at)),
            }
        }
        let at = self.align();
        self.bytes.extend(directory);
        self.bytes.extend([0; 4]);
        at
    }

    /// Everything begins at an even offset.
    fn align(&mut self) -> u32 {
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        self.bytes.len() as u32
    }

    fn finish(mut self, first: u32) -> Vec<u8> {
        let first = self.long(first);
        self.bytes[4..8].copy_from_slice(&first);
        self.bytes
    }
}
