//! Owns telling camera raw files from TIFFs, which they are by their form. Never looks at a pixel.
//!
//! DNG, NEF, ARW, PEF, SRW, 3FR and their like put a thumbnail, or a large preview, into the first directory and the
//! sensor's data elsewhere: decoded as a TIFF they would give the thumbnail.

use std::io::{Read, Seek};

use super::{Dialect, Entry};
use crate::codec::outline::Flaw;
use crate::codec::outline::stream::Stream;

/// What is said of them.
pub(super) const REFUSAL: &str = "it is a camera raw file; develop it and save it as TIFF or JPEG";

const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const MAKE: u16 = 271;
const SUB_DIRECTORIES: u16 = 330;
const CFA_PATTERN: u16 = 33_422;
const DNG_VERSION: u16 = 50_706;

/// Colours of a sensor's filters, or as linear as it saw them.
const SENSOR_COLORS: [u64; 2] = [32_803, 34_892];

/// Compression schemes of Nikon, Sony, Pentax, Samsung and others, and the one for all that is unpacked by nobody else.
const SENSOR_COMPRESSIONS: [u64; 6] = [32_767, 32_769, 32_770, 34_713, 65_000, 65_535];

/// Most directories below the first one that are looked at: cameras have up to five.
const MOST_SUB_DIRECTORIES: u64 = 8;

/// Whether the first directory, or one of those below it, describes a sensor's data.
pub(super) fn is_raw<R: Read + Seek>(
    stream: &mut Stream<R>,
    dialect: Dialect,
    entries: &[Entry],
) -> Result<bool, Flaw> {
    if entries
        .iter()
        .any(|entry| matches!(entry.tag, DNG_VERSION | CFA_PATTERN))
    {
        return Ok(true);
    }
    if describes_sensor(dialect, entries) {
        return Ok(true);
    }
    // Scanners and editors put smaller versions there; those are not made by a camera's sensor.
    let has = |tag| entries.iter().find(|entry| entry.tag == tag);
    let (Some(_), Some(below)) = (has(MAKE), has(SUB_DIRECTORIES)) else {
        return Ok(false);
    };
    for place in dialect.values(stream, below, 0, MOST_SUB_DIRECTORIES)? {
        // What is wrong with them does not keep the picture from being read.
        let found = stream.seek_to(place).and_then(|()| dialect.directory(stream));
        match found {
            Ok((entries, _)) if describes_sensor(dialect, &entries) => return Ok(true),
            Err(Flaw::Io(error)) => return Err(Flaw::Io(error)),
            _ => {}
        }
    }
    Ok(false)
}

/// Both values lie in the directory itself.
fn describes_sensor(dialect: Dialect, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| {
        let width = usize::try_from(entry.value_bytes)
            .unwrap_or(1)
            .min(entry.field.len());
        let value = dialect.value(&entry.field[..width]);
        match entry.tag {
            PHOTOMETRIC => SENSOR_COLORS.contains(&value),
            COMPRESSION => SENSOR_COMPRESSIONS.contains(&value),
            CFA_PATTERN => true,
            _ => false,
        }
    })
}
