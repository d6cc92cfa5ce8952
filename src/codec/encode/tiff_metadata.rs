//! Owns the metadata of a TIFF that is being written: EXIF at the beginning of the file, profile, XMP,
//! IPTC and Photoshop's resources behind
//! the picture. Never touches a sample.

use tiff::decoder::ifd::Entry;
use tiff::encoder::{DirectoryEncoder, TiffKind};
use tiff::tags::{Tag, Type};
use tiff::{Directory, TiffError};

use super::Output;
use crate::codec::exif_patch::Malformed;
use crate::codec::exif_place::{HEADER_BYTES, Placed, PlacedEntry, place};
use crate::codec::metadata::Carried;

const IPTC: u16 = 33_723;
const XMP: u16 = 700;
const PHOTOSHOP: u16 = 34_377;

/// Resolution and its unit: they belong together.
const RESOLUTION: [u16; 3] = [282, 283, 296];

/// Puts EXIF at the beginning of the file, before anything else is written, and gives the entries that point into it.
pub(super) fn begin<K: TiffKind>(
    metadata: &Carried,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PlacedEntry>, TiffError> {
    let Some(exif) = &metadata.exif else {
        return Ok(Vec::new());
    };
    let refusal = match place(exif) {
        Err(Malformed) => "its directories lie in each other",
        // Its entries are longer, and so would be those of EXIF's own directories.
        Ok(_) if size_of::<K::OffsetType>() != size_of::<u32>() => "the file may exceed 4 GiB",
        Ok(Placed {
            mut bytes,
            entries,
            note_is_unsure,
        }) => {
            // The picture begins at an even offset.
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            let at = file.write_data(bytes.as_slice())?;
            debug_assert_eq!(at, HEADER_BYTES as u64);
            if note_is_unsure {
                warnings.push(
                    "tiff: the MakerNote was carried in the source's byte order, the rest of EXIF is in the other: \
                     some programs may not read it"
                        .to_owned(),
                );
            }
            return Ok(entries);
        }
    };
    warnings.push(format!("tiff: EXIF was not carried: {refusal}"));
    Ok(Vec::new())
}

/// Writes the other parts, and the entries.
pub(super) fn end<K: TiffKind>(
    metadata: &Carried,
    exif: Vec<PlacedEntry>,
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
) -> Result<(), TiffError> {
    let has_resolution = RESOLUTION
        .iter()
        .all(|tag| exif.iter().any(|entry| entry.tag == *tag));
    let entries = exif
        .into_iter()
        .filter(|entry| has_resolution || !RESOLUTION.contains(&entry.tag));
    let entries = entries.filter_map(|entry| {
        let kind = Type::from_u16(entry.kind)?;
        Some((
            Tag::from_u16_exhaustive(entry.tag),
            Entry::new(kind, entry.count, entry.field),
        ))
    });
    file.extend_from(&Directory::from_iter(entries));
    // The crate would call a profile BYTE; readers look for UNDEFINED.
    write(file, Tag::IccProfile, Type::UNDEFINED, metadata.icc.as_deref())?;
    write(
        file,
        Tag::from_u16_exhaustive(XMP),
        Type::BYTE,
        metadata.xmp.as_deref(),
    )?;
    // LONG, as Photoshop writes it and libtiff expects it.
    let iptc = metadata.iptc.as_ref().map(|records| {
        let mut records = records.clone();
        records.resize(records.len().next_multiple_of(4), 0);
        records
    });
    write(file, Tag::from_u16_exhaustive(IPTC), Type::LONG, iptc.as_deref())?;
    let resources = &metadata.notes.resources;
    write(
        file,
        Tag::from_u16_exhaustive(PHOTOSHOP),
        Type::BYTE,
        (!resources.is_empty()).then_some(resources),
    )
}

fn write<K: TiffKind>(
    file: &mut DirectoryEncoder<'_, &mut Output, K>,
    tag: Tag,
    kind: Type,
    bytes: Option<&[u8]>,
) -> Result<(), TiffError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let entry = file.write_entry_bytes(kind, bytes)?;
    file.extend_from(&Directory::from_iter([(tag, entry)]));
    if bytes.len() % 2 == 1 {
        file.write_data(0u8)?;
    }
    Ok(())
}
