//! Owns what all targets of decoders do: any bytes as a file of one format, from the header to the last row of the last
//! frame, as a job reads them.

use std::path::PathBuf;

use upscaled::codec::{self, CodecError, DecodeLimits};
use upscaled::error::Fault;

/// What begins a file of the format, and where.
pub struct Magic(pub usize, pub &'static [u8]);

/// Reads `bytes`, whose beginning is made that of the format.
pub fn decode(magics: &[Magic], bytes: &[u8]) {
    let mut file = bytes.to_vec();
    for Magic(at, magic) in magics {
        let Some(place) = file.get_mut(*at..at + magic.len()) else {
            return;
        };
        place.copy_from_slice(magic);
    }
    let path = path();
    std::fs::write(&path, &file).expect("room for a small file");
    // The end is asked for before anything else is, of whatever lies in a folder.
    codec::ends_properly(&path).expect("a regular file");
    if let Err(error) = read(&path) {
        let reason = Fault::from(error).reason;
        assert!(!reason.message.is_empty() && !reason.message.contains('\n'), "one line");
    }
}

/// Small enough that a claimed size cannot make a run slow.
fn limits() -> DecodeLimits {
    DecodeLimits {
        pixels: 1 << 18,
        decode_bytes: 1 << 28,
        frames: 20,
        sequence_pixels: 1 << 19,
        ..DecodeLimits::default()
    }
}

fn read(path: &std::path::Path) -> Result<(), CodecError> {
    let header = codec::probe(path, &limits())?;
    let mut rows = codec::open(path, &header, &limits())?;
    for index in 0..header.sequence.pictures() {
        let page = header.page(index);
        let mut row = vec![0; page.layout.row_bytes(page.upright().width)];
        for _ in 0..page.upright().height {
            rows.read_row(&mut row)?;
        }
    }
    Ok(())
}

/// A file of this process, in memory where there is such a place.
fn path() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("upscaled-fuzz-{}", std::process::id()))
}
